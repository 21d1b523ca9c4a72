"""How often an account may be asked: M-Pesa blocks those who ask too much.

Questions per account and minute; most of them are kept for payments under five
minutes old, for whom a customer stands waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.conf import settings
from django.core.cache import cache
from django_ratelimit.core import get_usage
from redis.exceptions import RedisError


logger = logging.getLogger(__name__)


def take(account_id: object, *, young: bool) -> bool:
    """Take one question from the account's budget; False when it is spent."""
    if not young and not _counted("ask-old", account_id, old_share()):
        return False
    return _counted("ask", account_id, settings.QUESTIONS_PER_ACCOUNT_PER_MINUTE)


def old_share() -> int:
    """How many questions of an account's minute are for those that are not young."""
    total = settings.QUESTIONS_PER_ACCOUNT_PER_MINUTE
    return max(1, int(total * settings.QUESTIONS_OLD_SHARE))


def _counted(group: str, account_id: object, limit: int) -> bool:
    usage = usage_of(group, str(account_id), f"{limit}/m")
    return usage is None or not usage["should_limit"]


def usage_of(
    group: str,
    key: str,
    rate: str,
    count: bool = True,  # noqa: FBT001, FBT002 -- most callers count, and name three
) -> dict[str, int] | None:
    """Count one use, or only look, and return django-ratelimit's account of it.

    None when the counters cannot be reached: a limit that cannot be counted does
    not stop a sale.
    """
    try:
        usage: dict[str, int] | None = get_usage(
            None, group=group, key=lambda _group, _request: key, rate=rate,
            increment=count,
        )  # fmt: skip
    except (RedisError, OSError):
        logger.warning("the counters of %s cannot be reached", group)
        return None
    return usage


def wait_for_room(limits: Sequence[tuple[str, str, str]]) -> tuple[str, int] | None:
    """Count one use of each (group, key, rate), or return the one that is spent.

    With it come the seconds until it has room. What is spent already is found before
    anything is counted, so that a refusal by one limit uses up none of the others.
    """
    for only_look in (True, False):
        for group, key, rate in limits:
            usage = usage_of(group, key, rate, not only_look)
            if usage is None:
                continue
            is_full = usage["count"] >= usage["limit"] if only_look else False
            if is_full or usage["should_limit"]:
                return group, seconds_to_room(usage)
    return None


def seconds_to_room(usage: dict[str, int]) -> int:
    """Return the seconds until a spent limit has room again; at least 1.

    The second in which a window ends still belongs to it (django-ratelimit's
    `_get_window`), so that room comes one second after `time_left`.
    """
    return max(1, usage["time_left"] + 1)


def use_once(key: str, lifetime_s: int) -> bool:
    """Say whether this key is used for the first time in its lifetime."""
    return bool(cache.add(f"once:{key}", 1, lifetime_s))
