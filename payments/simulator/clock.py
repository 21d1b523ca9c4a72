"""A clock that tests can turn, and what is due when.

Times are aware and in UTC; East Africa Time (no daylight saving) only at the edge.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone


logger = logging.getLogger(__name__)

EAST_AFRICA = timezone(timedelta(hours=3), "EAT")


class Clock:
    """The one clock of the simulator."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def now_in_nairobi(self) -> datetime:
        return self.now().astimezone(EAST_AFRICA)

    def advance(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)

    def reset(self) -> None:
        self._ahead = timedelta()


class Agenda:
    """Runs jobs when the clock says so, in one thread, in order of time.

    A job is quick: it changes state and starts threads, it never waits.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._jobs: list[tuple[datetime, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def start(self) -> None:
        threading.Thread(target=self._run, name="agenda", daemon=True).start()

    def after(self, seconds: float, job: Callable[[], None]) -> None:
        """Run the job in so many seconds of the simulator's clock."""
        due_at = self._clock.now() + timedelta(seconds=seconds)
        with self._changed:
            heapq.heappush(self._jobs, (due_at, next(self._numbers), job))
            self._changed.notify()

    def look_again(self) -> None:
        """Wake up: the clock was turned."""
        with self._changed:
            self._changed.notify()

    def clear(self) -> None:
        with self._changed:
            self._jobs.clear()

    def _run(self) -> None:
        while True:
            job = self._next_job()
            try:
                job()
            except Exception:
                # One broken job must not stop the clock for all others.
                logger.exception("a scheduled job broke")

    def _next_job(self) -> Callable[[], None]:
        with self._changed:
            while True:
                wait_s = self._seconds_to_next()
                if wait_s is not None and wait_s <= 0:
                    return heapq.heappop(self._jobs)[2]
                self._changed.wait(wait_s)

    def _seconds_to_next(self) -> float | None:
        if not self._jobs:
            return None
        return (self._jobs[0][0] - self._clock.now()).total_seconds()
