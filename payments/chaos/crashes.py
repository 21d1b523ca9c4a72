"""Our process dies: right before or after a commit, or around a call to M-Pesa.

A crash is no Exception, so nothing in the domain can catch it. From then on the
process is dead: what `finally` blocks would still write does not reach the
database. Then it is started again, and knows only what was committed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from payments.chaos.patches import replaced
from smartduka.lib import sealing


WRITES = ("INSERT", "UPDATE", "DELETE")
OURS = ("/payments/", "/orders/", "/shops/", "/smartduka/")
NOT_PLACES = ("/chaos/", "lib/transactions.py", "lib/later.py")
NEVER = -1


class Crash(BaseException):
    """The process died here."""


class Crashes:
    """Counts down the points at which a step may die, and kills it at one."""

    def __init__(self) -> None:
        self.left = NEVER
        self.is_dead = False
        self.last = ""
        self.places: Counter[str] = Counter()
        self._commit = BaseDatabaseWrapper.commit

    def arm(self, points: int) -> None:
        """Let the next step die after so many points, if it has as many."""
        self.left = points

    def disarm(self) -> None:
        """Let nothing die."""
        self.left = NEVER

    def here(self, place: str) -> None:
        """A point around a call to M-Pesa."""
        if self._is_due():
            self._die(place)

    def restart(self) -> None:
        """Start the process again: what was only in memory is gone."""
        self.disarm()
        self.is_dead = False
        connection.close()
        sealing.ring.cache_clear()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Make every commit and every single write a point."""
        crashes = self

        def commit(wrapper: BaseDatabaseWrapper) -> None:
            crashes._at_commit(wrapper)

        with ExitStack() as stack:
            stack.enter_context(replaced(BaseDatabaseWrapper, "commit", commit))
            stack.enter_context(connection.execute_wrapper(self._at_statement))
            yield

    def _at_commit(self, wrapper: BaseDatabaseWrapper) -> None:
        if self.is_dead:
            wrapper.rollback()
            raise Crash
        if self._is_due():
            wrapper.rollback()
            self._die("before the commit of " + self._place())
        self._commit(wrapper)
        if self._is_due():
            # Nobody is left to run what was to follow the commit.
            wrapper.run_on_commit = []
            self._die("after the commit of " + self._place())

    def _at_statement(
        self, execute: Callable[..., Any], sql: str, params: Any, many: object, context: Any
    ) -> Any:  # fmt: skip
        if self.is_dead:
            raise Crash
        is_point = (
            self.left != NEVER
            and not context["connection"].in_atomic_block
            and sql.startswith(WRITES)
        )
        if is_point and self._is_due():
            self._die("before the write of " + self._place())
        done = execute(sql, params, many, context)
        if is_point and self._is_due():
            self._die("after the write of " + self._place())
        return done

    def _is_due(self) -> bool:
        if self.left == NEVER:
            return False
        self.left -= 1
        return self.left == NEVER

    def _die(self, place: str) -> None:
        self.places[place] += 1
        self.last = place
        self.is_dead = True
        raise Crash(place)

    def _place(self) -> str:
        """The innermost function of the domain that is at work."""
        frame = sys._getframe(2)
        while frame.f_back is not None:
            path = frame.f_code.co_filename
            is_ours = any(part in path for part in OURS)
            if is_ours and not any(part in path for part in NOT_PLACES):
                return f"{path.rsplit('/', 1)[1][:-3]}.{frame.f_code.co_name}"
            frame = frame.f_back
        return "somewhere"
