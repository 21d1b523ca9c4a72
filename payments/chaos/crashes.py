"""Our process dies, or its database is away for a moment.

It dies right before or after a commit, or around a call to M-Pesa.

A crash is no Exception, so nothing in the domain can catch it. From then on the
process is dead: what `finally` blocks would still write does not reach the
database. Then it is started again, and knows only what was committed.

A database that is away raises what Django raises: at a statement, at a commit that
did not happen, or at one that did although nobody was told.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import OperationalError, connection
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
        self.trouble = ""  # what the database will do, and did
        self.trouble_left = NEVER
        self.was_away = False
        self.places: Counter[str] = Counter()
        self._commit = BaseDatabaseWrapper.commit

    def arm(self, points: int) -> None:
        """Let the next step die after so many points, if it has as many."""
        self.left = points

    def trouble_database(self, kind: str, points: int) -> None:
        """Let the database be away once in the next step, after so many points.

        `kind`: "statement", "commit" (nothing was kept), "answer" (it was).
        """
        self.trouble, self.trouble_left, self.was_away = kind, points, False

    def disarm(self) -> None:
        """Let nothing die, and the database be there."""
        self.left = self.trouble_left = NEVER
        self.trouble = ""

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
        if self.trouble == "commit" and self._is_trouble_due():
            wrapper.rollback()
            raise self._away()
        self._commit(wrapper)
        if self.trouble == "answer" and self._is_trouble_due():
            wrapper.run_on_commit = []
            raise self._away()
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
        if self.trouble == "statement" and self._is_trouble_due():
            raise self._away()
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

    def _is_trouble_due(self) -> bool:
        if self.trouble_left == NEVER:
            return False
        self.trouble_left -= 1
        return self.trouble_left == NEVER

    def _away(self) -> OperationalError:
        self.was_away = True
        return OperationalError("the database is away")

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
        return "the queue"
