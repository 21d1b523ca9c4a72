"""Who owns a commit, how long to wait for a lock, and when to try again."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction
from django.http import HttpRequest, HttpResponseBase


P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)

TRIES = 3
# PostgreSQL: serialization_failure, deadlock_detected.
REPEATABLE = frozenset({"40001", "40P01"})


def require_no_transaction() -> None:
    """Raise unless no transaction is open: none may be held across the network.

    The transaction that a test case wraps around itself does not count.
    """
    blocks = [
        b for b in connection.atomic_blocks if not getattr(b, "_from_testcase", False)
    ]
    if blocks:
        raise RuntimeError("a network call inside a transaction")


def give_back_connection() -> None:
    """Return the database connection before a slow call, so others may have it.

    A call to M-Pesa takes seconds; a connection held across it would cap the
    whole installation at a handful of sales at once.
    """
    if not connection.in_atomic_block:
        connection.close()


class GiveBackMiddleware:
    """Gives the connection back in the thread that used it, however a request ends.

    Under ASGI a client that goes away ends its request early, while the view runs
    on in its thread; Django's own clean-up has run by then, elsewhere. Without this
    each such view would keep a connection of the pool for ever.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return self.get_response(request)
        finally:
            give_back_connection()


@contextmanager
def hasty_transaction(limit_s: float) -> Iterator[None]:
    """Open a durable transaction that waits for a lock at most so long.

    Raises OperationalError when a lock was not to be had in time.
    """
    if connection.vendor == "sqlite":
        before = _pragma("PRAGMA busy_timeout")
        _pragma(f"PRAGMA busy_timeout = {int(limit_s * 1000)}")
        try:
            with transaction.atomic(durable=True):
                yield
        finally:
            _pragma(f"PRAGMA busy_timeout = {before}")
        return
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            limit_ms = int(limit_s * 1000)
            cursor.execute(
                f"SET LOCAL lock_timeout = {limit_ms};"
                f" SET LOCAL statement_timeout = {limit_ms}"
            )
        yield


@contextmanager
def hasty(limit_s: float) -> Iterator[None]:
    """Let the transactions that are opened inside wait for a lock at most so long.

    For work that owns several of them. Call outside any transaction, and give no
    connection back inside. Raises OperationalError when a lock was not to be had.
    """
    limit_ms = int(limit_s * 1000)
    if connection.vendor == "sqlite":
        before = _pragma("PRAGMA busy_timeout")
        _pragma(f"PRAGMA busy_timeout = {limit_ms}")
        try:
            yield
        finally:
            _pragma(f"PRAGMA busy_timeout = {before}")
        return
    with connection.cursor() as cursor:
        cursor.execute(
            f"SET lock_timeout = {limit_ms}; SET statement_timeout = {limit_ms}"
        )
    hurried = connection.connection
    try:
        yield
    finally:
        # A connection that broke takes its settings with it.
        if connection.connection is hurried and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout; RESET statement_timeout")


def repeated(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function that owns its transaction again after a deadlock.

    Up to three times in all, only when the database says that the transaction
    was rolled back for another's sake (law 12).
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        for number in range(1, TRIES + 1):
            try:
                return function(*args, **kwargs)
            except OperationalError as error:
                state = getattr(error.__cause__, "sqlstate", None)
                if state not in REPEATABLE or number == TRIES:
                    raise
                if connection.in_atomic_block:
                    raise
                logger.info("transaction repeated after %s", state)
                time.sleep(0.02 * number)
        raise AssertionError("unreachable")

    return wrapper


def _pragma(statement: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone()
    return int(row[0]) if row else 0
