"""PINs: another cashier takes over the till in a second, with little to gain by it.

Only people of the same shop, on a till where somebody of that shop signed in with a
password today. Who comes by PIN sells and nothing more, whatever their role. A try is
counted before it is looked at, by a conditional update: no burst gets more than five.
"""

from __future__ import annotations

import itertools
from typing import Any

from django.contrib.auth.hashers import check_password, make_password
from django.db.models import F, QuerySet
from django.utils import timezone

from shops import rights, tenancy
from shops.models import CashierPin, Membership
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.errors import DomainError, Forbidden, InvalidRequest


LEAST, MOST = 4, 6


class WeakPin(InvalidRequest):
    """Not of the right length, or the first that others try."""

    message = "A PIN has 4 to 6 digits, not all the same and not in a row."


class WrongPin(DomainError):
    """Not the PIN of this person; or they have none."""

    message = "This is not the PIN of this person."


class PinSpent(DomainError):
    """Too many wrong ones: only the password helps now."""

    message = "Too many wrong PINs. Sign in with the password."
    http_status = 429


class NeedsPassword(Forbidden):
    """Nobody whose PIN-mates may follow signed in here today."""

    message = "Nobody of this shop signed in with a password here today. Sign in first."


class NeedsMore(Forbidden):
    """A PIN is not enough for this page."""

    message = "You came with a PIN, and can only sell. Sign in with your password."


def set_pin(access: Access, pin: str) -> None:
    """Give the person a PIN for this shop, instead of the one before.

    Raises Forbidden, WeakPin.
    """
    access.require(Right.SELL)
    if access.is_by_pin:
        raise NeedsPassword
    if not _is_fit(pin):
        raise WeakPin
    member = tenancy.memberships(access.user).get(shop=access.shop)
    CashierPin.objects.update_or_create(
        member=member,
        defaults={
            "pin_hash": make_password(pin),
            "tries_left": CashierPin.TRIES,
            "set_at": clock.now(),
        },
    )


def renew(user: Any) -> None:
    """Make the PINs of somebody good again, who signed in with the password."""
    spent = CashierPin.objects.filter(
        member__user=user, tries_left__lt=CashierPin.TRIES
    )
    spent.update(tries_left=CashierPin.TRIES)


def people_of(access: Access) -> QuerySet[Membership]:
    """Who may take over this shop's till by PIN, by name."""
    return (
        Membership.objects.filter(
            shop=access.shop,
            is_active=True,
            user__is_active=True,
            user__is_superuser=False,
            role__in=rights.roles_with(Right.SELL),
            pin__isnull=False,
        )
        .select_related("user", "pin")
        .order_by("user__username")
    )


def require_holder(access: Access, holder: Any, signed_in_at: int | None) -> None:
    """Raise NeedsPassword unless `holder` opened this till, of this shop, today.

    `holder`: who signed in with the password, as they are in the database now, or None.
    `signed_in_at`: when, as Unix time.
    """
    if holder is None or signed_in_at is None or not holder.is_active:
        raise NeedsPassword
    day = timezone.localtime(clock.now(), clock.NAIROBI).date()
    start, _ = clock.day_bounds(day)
    is_theirs = tenancy.memberships(holder).filter(shop=access.shop).exists()
    if signed_in_at < start.timestamp() or not is_theirs:
        raise NeedsPassword


def check(access: Access, member_id: str, pin: str) -> Membership:
    """Return who has this PIN and takes over. Raises WrongPin, PinSpent."""
    is_id = member_id.isascii() and member_id.isdigit() and len(member_id) < 19
    member = people_of(access).filter(pk=int(member_id)).first() if is_id else None
    if member is None:
        raise WrongPin
    row = member.pin
    tries = CashierPin.objects.filter(pk=row.pk, tries_left__gt=0)
    if tries.update(tries_left=F("tries_left") - 1) != 1:
        raise PinSpent
    if not check_password(pin, row.pin_hash):
        raise WrongPin
    CashierPin.objects.filter(pk=row.pk).update(tries_left=CashierPin.TRIES)
    return member


def _is_fit(pin: str) -> bool:
    if not (pin.isascii() and pin.isdigit() and LEAST <= len(pin) <= MOST):
        return False
    steps = {int(b) - int(a) for a, b in itertools.pairwise(pin)}
    return steps not in ({0}, {1}, {-1})
