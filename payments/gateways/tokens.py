"""OAuth tokens, cached until shortly before they end.

One token per consumer key: a new one may invalidate the one before (portal
page Authorization, FAQ), so all processes share it where Redis is there, and only one
thread fetches at a time. Without Redis each process has its own.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError

from payments.enums import FailureReason
from payments.gateways.base import GatewayError
from smartduka.lib import sealing


EARLY_S = 60
DEFAULT_LIFETIME_S = 3600.0
FETCH_LIMIT_S = 20

_locks: dict[str, threading.Lock] = {}
_local: dict[str, tuple[str, float]] = {}
_failures: dict[str, tuple[float, GatewayError]] = {}
_guard = threading.Lock()


def obtain(
    name: str,
    secret: str,
    fetch: Callable[[float], tuple[str, float]],
    *,
    limit_s: float,
) -> str:
    """Return a living token of that name, fetching it once for all who wait.

    `secret` is part of the key, so that changed credentials never meet an old
    token. `fetch` gets the seconds that are left and returns token and lifetime.
    Raises what `fetch` raises: the failure of one is the failure of all who waited
    for it, so that a slow Daraja does not queue them up. Raises GatewayError
    (certain) when the time is over.
    """
    key = _key(name, secret)
    until = time.monotonic() + limit_s
    if token := _read(key):
        return token
    asked_at = time.monotonic()
    with _guard:
        lock = _locks.setdefault(key, threading.Lock())
    if not lock.acquire(timeout=max(0.0, limit_s)):
        raise _too_late()
    try:
        with _shared_lock(key, until):
            if token := _read(key):
                return token
            failed_at, failure = _failures.get(key, (0.0, None))
            if failure is not None and failed_at > asked_at:
                raise failure
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise _too_late()
            return _fetched(key, fetch, left_s)
    finally:
        lock.release()


def _fetched(
    key: str, fetch: Callable[[float], tuple[str, float]], left_s: float
) -> str:
    try:
        token, lifetime = fetch(left_s)
    except GatewayError as failure:
        _failures[key] = (time.monotonic(), failure)
        raise
    _write(key, token, max(lifetime - EARLY_S, 1.0))
    return token


def _too_late() -> GatewayError:
    return GatewayError(
        "no token in time",
        certain=True,
        reason=FailureReason.MPESA_UNREACHABLE,
    )


def forget(name: str, secret: str, token: str) -> None:
    """Drop a token that was refused, unless somebody has replaced it already.

    Here and in Redis apart: another process may have put a newer one there since.
    """
    key = _key(name, secret)
    if _local.get(key, ("", 0.0))[0] == token:
        _local.pop(key, None)
    shared = _shared(key)
    if shared is not None and shared[0] == token:
        _quietly(lambda: cache.delete(key))


def forget_all() -> None:
    """Drop what this process remembers."""
    _local.clear()
    _failures.clear()


def lifetime_s(expires_in: object) -> float:
    """Return the seconds Daraja gives a token: a string or a number, or an hour."""
    try:
        seconds = float(str(expires_in))
    except ValueError:
        return DEFAULT_LIFETIME_S
    return seconds if 0 < seconds < 86_400 else DEFAULT_LIFETIME_S


def _key(name: str, secret: str) -> str:
    return "daraja:" + hashlib.sha256(f"{name}|{secret}".encode()).hexdigest()


def _read(key: str) -> str | None:
    token, until = _local.get(key, ("", 0.0))
    if until > time.time():
        return token
    shared = _shared(key)
    if shared is None:
        return None
    _local[key] = shared
    token, until = shared
    return token if until > time.time() else None


def _shared(key: str) -> tuple[str, float] | None:
    """The token that the processes share, and until when it lives."""
    if not settings.REDIS_URL:
        return None
    entry = _quietly(lambda: cache.get(key))
    if entry is None:
        return None
    try:
        return sealing.unseal(entry[0], bound_to=key), entry[1]
    except (sealing.Unsealable, TypeError, IndexError):
        return None


def _write(key: str, token: str, lifetime: float) -> None:
    until = time.time() + lifetime
    _local[key] = (token, until)
    if settings.REDIS_URL:
        sealed = sealing.seal(token, bound_to=key)
        _quietly(lambda: cache.set(key, (sealed, until), lifetime))


def _shared_lock(key: str, until: float) -> AbstractContextManager[Any]:
    if not settings.REDIS_URL:
        return nullcontext()
    return _RedisLock(key, until)


class _RedisLock:
    """Best effort across processes: where Redis fails, two may fetch."""

    def __init__(self, key: str, until: float) -> None:
        self._key = key + ":lock"
        self._until = until
        self._held = False

    def __enter__(self) -> None:
        while time.monotonic() < self._until:
            taken = _quietly(lambda: cache.add(self._key, 1, FETCH_LIMIT_S))
            if taken is None:
                return
            if taken:
                self._held = True
                return
            time.sleep(0.05)

    def __exit__(self, *exc: object) -> None:
        if self._held:
            _quietly(lambda: cache.delete(self._key))


def _quietly(call: Callable[[], Any]) -> Any:
    """Ask Redis; a Redis that is down costs a token, never a payment."""
    try:
        return call()
    except (OSError, RedisError):
        return None
