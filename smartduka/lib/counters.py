"""Counters that several processes share without Redis: a cache in the database.

Every step is one statement, so a limit of ten lets exactly ten through, which
Django's own DatabaseCache does not (it reads, then writes). Values are integers; it
is enough of a cache for rate limits. Decision 0012.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import connection

from smartduka.lib import clock


# One write in this many also removes what has expired: tidy enough, and no task.
TIDY_ONE_IN = 200
FOR_EVER = 32_503_680_000.0  # the year 3000, as Unix time


class CounterCache(BaseCache):
    """A cache backend over one table (key, value, until); LOCATION is its name.

    It takes part in the caller's transaction: what is counted in one that rolls back
    was not counted.
    """

    def __init__(self, table: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.table = table

    def add(
        self,
        key: str,
        value: int,
        timeout: float | object | None = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> bool:
        """Store the value unless a live one is there; say whether it was stored."""
        now = clock.now().timestamp()
        row = self._one(
            "INSERT INTO {table} (key, value, until) VALUES (%s, %s, %s)"
            " ON CONFLICT (key) DO UPDATE"
            " SET value = excluded.value, until = excluded.until"
            " WHERE {table}.until <= %s RETURNING value",
            *(self._key(key, version), value, self._until(timeout), now),
        )
        self._tidy_now_and_then(now)
        return row is not None

    def set(
        self,
        key: str,
        value: int,
        timeout: float | object | None = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> None:
        self._one(
            "INSERT INTO {table} (key, value, until) VALUES (%s, %s, %s)"
            " ON CONFLICT (key) DO UPDATE"
            " SET value = excluded.value, until = excluded.until RETURNING value",
            *(self._key(key, version), value, self._until(timeout)),
        )
        self._tidy_now_and_then(clock.now().timestamp())

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """Add to a live value and return the sum; ValueError where there is none."""
        row = self._one(
            "UPDATE {table} SET value = value + %s"
            " WHERE key = %s AND until > %s RETURNING value",
            *(delta, self._key(key, version), clock.now().timestamp()),
        )
        if row is None:
            raise ValueError(f"Key {key!r} not found")
        return int(row[0])

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        row = self._one(
            "SELECT value FROM {table} WHERE key = %s AND until > %s",
            *(self._key(key, version), clock.now().timestamp()),
        )
        return default if row is None else int(row[0])

    def touch(
        self,
        key: str,
        timeout: float | object | None = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> bool:
        row = self._one(
            "UPDATE {table} SET until = %s WHERE key = %s AND until > %s"
            " RETURNING value",
            *(self._until(timeout), self._key(key, version), clock.now().timestamp()),
        )
        return row is not None

    def delete(self, key: str, version: int | None = None) -> bool:
        row = self._one(
            "DELETE FROM {table} WHERE key = %s RETURNING value",
            self._key(key, version),
        )
        return row is not None

    def delete_many(self, keys: Iterable[str], version: int | None = None) -> None:
        for key in keys:
            self.delete(key, version)

    def clear(self) -> None:
        self._one("DELETE FROM {table}")

    def _key(self, key: str, version: int | None) -> str:
        return self.make_and_validate_key(key, version=version)

    def _until(self, timeout: float | object | None) -> float:
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if timeout is None:
            return FOR_EVER
        assert isinstance(timeout, int | float)
        return clock.now().timestamp() + timeout

    def _one(self, sql: str, *values: str | float) -> tuple[Any, ...] | None:
        table = connection.ops.quote_name(self.table)
        with connection.cursor() as cursor:
            cursor.execute(sql.format(table=table), values)
            return cursor.fetchone() if cursor.description else None

    def _tidy_now_and_then(self, now: float) -> None:
        if random.randrange(TIDY_ONE_IN) == 0:  # noqa: S311 -- a broom, not a secret
            self._one("DELETE FROM {table} WHERE until <= %s", now)
