"""OAuth tokens, cached until shortly before they end.

One token per consumer key: a new one may invalidate the one before (daraja
dossier section 1), so all processes share it where Redis is there, and only one
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

from smartduka.lib import sealing


EARLY_S = 60
DEFAULT_LIFETIME_S = 3600.0
FETCH_LIMIT_S = 20

_locks: dict[str, threading.Lock] = {}
_local: dict[str, tuple[str, float]] = {}
_guard = threading.Lock()


def obtain(
    name: str,
    secret: str,
    fetch: Callable[[], tuple[str, float]],
    *,
    fresh: bool = False,
) -> str:
    """Return a living token of that name, fetching it once for all who wait.

    `secret` is part of the key, so that changed credentials never meet an old
    token. Raises what `fetch` raises.
    """
    key = _key(name, secret)
    if not fresh and (token := _read(key)):
        return token
    with _guard:
        lock = _locks.setdefault(key, threading.Lock())
    with lock, _shared_lock(key):
        if not fresh and (token := _read(key)):
            return token
        token, lifetime_s = fetch()
        _write(key, token, max(lifetime_s - EARLY_S, 1.0))
        return token


def forget(name: str, secret: str, token: str) -> None:
    """Drop a token that was refused, unless somebody has replaced it already."""
    key = _key(name, secret)
    if _read(key) == token:
        _local.pop(key, None)
        if settings.REDIS_URL:
            _quietly(lambda: cache.delete(key))


def forget_all() -> None:
    """Drop what this process remembers."""
    _local.clear()


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
    if not settings.REDIS_URL:
        return None
    entry = _quietly(lambda: cache.get(key))
    if entry is None:
        return None
    try:
        token = sealing.unseal(entry[0], bound_to=key)
    except (sealing.Unsealable, TypeError, IndexError):
        return None
    _local[key] = (token, entry[1])
    return token if entry[1] > time.time() else None


def _write(key: str, token: str, lifetime: float) -> None:
    until = time.time() + lifetime
    _local[key] = (token, until)
    if settings.REDIS_URL:
        sealed = sealing.seal(token, bound_to=key)
        _quietly(lambda: cache.set(key, (sealed, until), lifetime))


def _shared_lock(key: str) -> AbstractContextManager[Any]:
    if not settings.REDIS_URL:
        return nullcontext()
    return _RedisLock(key)


class _RedisLock:
    """Best effort across processes: where Redis fails, two may fetch."""

    def __init__(self, key: str) -> None:
        self._key = key + ":lock"
        self._held = False

    def __enter__(self) -> None:
        deadline = time.monotonic() + FETCH_LIMIT_S
        while time.monotonic() < deadline:
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
