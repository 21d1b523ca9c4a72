"""Tickets that open one WebSocket for a program, which has no session."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import signing
from redis.exceptions import RedisError

from payments import budget
from shops import tenancy


logger = logging.getLogger(__name__)

SALT = "websocket ticket"


def issue(user: Any) -> str:
    """Return a signed ticket for this person, good once within WS_TICKET_S.

    Who came by PIN hears the shop of that PIN alone, as in the session that asked.
    """
    claims = {
        "user": user.pk,
        "pin_shop": tenancy.pin_shop_of(user),
        "nonce": secrets.token_hex(8),
    }
    return signing.dumps(claims, salt=SALT)


def redeem(ticket: str) -> Any:
    """Return the person of a ticket and spend it; None if it is not good."""
    try:
        claims = signing.loads(ticket, salt=SALT, max_age=settings.WS_TICKET_S)
    except signing.BadSignature:
        return None
    try:
        is_first = budget.use_once(f"ws-ticket:{claims['nonce']}", 2 * lifetime_s())
    except (RedisError, OSError):
        logger.warning("the counters cannot be reached: a ticket is refused")
        return None
    if not is_first:
        return None
    user = get_user_model().objects.filter(pk=claims["user"], is_active=True).first()
    if user is not None:
        tenancy.came_by_pin(user, claims["pin_shop"])
    return user


def lifetime_s() -> int:
    """How long a ticket lives, in seconds."""
    return int(settings.WS_TICKET_S)
