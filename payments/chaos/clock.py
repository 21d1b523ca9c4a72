"""The virtual clock: time passes only when something takes time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta

from django.utils import timezone
from django_ratelimit import core as ratelimit

from payments import errands, prompting, pulling, pushing
from payments.chaos.patches import replaced


class VirtualClock:
    """A clock that is turned by hand, and never back."""

    def __init__(self, start: datetime) -> None:
        self.moment = start

    def now(self) -> datetime:
        """Return the virtual moment, aware, in UTC."""
        return self.moment

    def turn_to(self, moment: datetime) -> None:
        """Let it become that moment, unless it is later already."""
        self.moment = max(self.moment, moment)

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.moment += timedelta(seconds=seconds)

    # What modules use of the module `time`.
    def time(self) -> float:
        """Return Unix time."""
        return self.moment.timestamp()

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        return self.moment.timestamp()

    def sleep(self, seconds: float) -> None:
        """Wait, in no time."""
        self.advance(seconds)


@contextmanager
def turned(clock: VirtualClock) -> Iterator[None]:
    """Make this clock the only one of the process, also for what libraries ask."""
    with ExitStack() as stack:
        # smartduka.lib.clock reads this one too.
        stack.enter_context(replaced(timezone, "now", clock.now))
        for module in (errands, prompting, pulling, pushing, ratelimit):
            stack.enter_context(replaced(module, "time", clock))
        yield
