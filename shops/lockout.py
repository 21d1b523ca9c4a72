"""Wrong passwords and codes are counted, and too many must wait.

Per name and address: somebody's slips, or one guesser. Per name: guessers from many
places. A name that does not exist is counted like one that does, so that nothing is
learnt from the answer. Only what was wrong counts, and the limit is looked at again
once a password was found right: a burst of guesses gets no more tries than the limit.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError

from smartduka.lib import clock
from smartduka.lib.errors import DomainError


logger = logging.getLogger(__name__)

STEPS = ("password", "code")
# How long an unlocking is remembered: longer than any count lives.
UNLOCKED_S = 7 * 24 * 3600


class LockedOut(DomainError):
    """Too many wrong tries; `retryAfter` seconds in the details."""

    code = "RATE_LIMITED"
    message = "Too many wrong tries. Wait, or ask the owner to unlock you."
    http_status = 429

    def __init__(self, wait_s: int) -> None:
        self.minutes = max(1, math.ceil(wait_s / 60))
        super().__init__(details={"retryAfter": wait_s})


def require_open(name: str, address: str, *, step: str = "password") -> None:
    """Raise LockedOut while this name must wait."""
    for key, limit in _keys(name, address, step):
        wait_s = _wait_s(key)
        if wait_s > 0 and (_read(key) or 0) >= limit:
            raise LockedOut(wait_s)


@contextmanager
def counted(
    name: str, address: str, *wrong: type[Exception], step: str = "password"
) -> Iterator[None]:
    """Count the body where it raises one of `wrong`; raise LockedOut before or after."""
    require_open(name, address, step=step)
    try:
        yield
    except wrong:
        for key, _ in _keys(name, address, step):
            _add(key)
        raise
    require_open(name, address, step=step)


def unlock(name: str) -> None:
    """Forget what was counted for a name, from wherever it came."""
    key = _turn_key(name)
    try:
        cache.add(key, 0, UNLOCKED_S)
        cache.incr(key)
        cache.touch(key, UNLOCKED_S)
    except (RedisError, OSError, ValueError):
        logger.warning("the counters cannot be reached: nobody was unlocked")


def wrong_tries(name: str) -> int:
    """How many wrong passwords and codes are counted now for a name, from anywhere."""
    return sum(_read(_keys(name, "", step)[1][0]) or 0 for step in STEPS)


def _keys(name: str, address: str, step: str) -> list[tuple[str, int]]:
    who = f"{_digest(name.strip().lower())}:{_read(_turn_key(name)) or 0}"
    return [
        (f"wrong:{step}:{who}:{_digest(address)}", settings.SIGN_IN_TRIES),
        (f"wrong:{step}:{who}", settings.SIGN_IN_TRIES_ANYWHERE),
    ]


def _turn_key(name: str) -> str:
    return f"unlocked:{_digest(name.strip().lower())}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]


def _add(key: str) -> None:
    """Count one more; the wait begins anew with each wrong try."""
    until = int(clock.now().timestamp()) + settings.SIGN_IN_WAIT_S
    try:
        if not cache.add(key, 1, settings.SIGN_IN_WAIT_S):
            cache.incr(key)
            cache.touch(key, settings.SIGN_IN_WAIT_S)
        cache.set(f"{key}:until", until, settings.SIGN_IN_WAIT_S)
    except ValueError:
        cache.add(key, 1, settings.SIGN_IN_WAIT_S)
    except (RedisError, OSError):
        logger.warning("the counters of wrong tries cannot be reached")


def _wait_s(key: str) -> int:
    """How many seconds are left; by our clock, not by the counters' own."""
    until = _read(f"{key}:until") or 0
    return until - int(clock.now().timestamp())


def _read(key: str) -> int | None:
    try:
        found: int | None = cache.get(key)
    except (RedisError, OSError):
        return None
    return found
