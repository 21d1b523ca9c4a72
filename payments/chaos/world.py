"""One course of events: the clock, the agenda, the parts, and what was seen."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import OperationalError

from payments.chaos.bank import Bank, Prompt
from payments.chaos.clock import VirtualClock
from payments.chaos.crashes import NEVER, Crash, Crashes
from payments.chaos.desk import Desk
from payments.chaos.dice import Dice
from payments.chaos.invariants import Books
from payments.chaos.network import Line, Rates
from payments.chaos.pairs import Pairs
from payments.chaos.sources import Sources
from payments.chaos.worker import Worker
from smartduka.lib import later
from smartduka.lib.clock import NAIROBI
from smartduka.lib.errors import DomainError


Act = Callable[[], str | None]
REMEMBERED = 30
CRASHES, TROUBLES, OUTAGES = 4, 3, 0.03  # percent of the steps
POINTS = 10  # a step has seldom more
CALM_S = 3 * 3600
AFTER_BOOKS_S = 3600
HARD_LIMIT = 2_000_000


class Wrong(Exception):
    """An invariant is broken: what, at which step, and what went before."""

    def __init__(self, what: str, world: World) -> None:
        super().__init__(what)
        self.what = what
        self.step = world.step
        self.trace = list(world.trace)


@dataclass(order=True, slots=True)
class Event:
    """Something that will happen at a moment."""

    at: datetime
    number: int
    label: str = field(compare=False)
    act: Act = field(compare=False)
    again: Act | None = field(compare=False, default=None)
    is_round: bool = field(compare=False, default=False)
    is_floor: bool = field(compare=False, default=False)


class World:
    """Everything of one run; `seed` decides all of it."""

    def __init__(self, seed: int, start: datetime, rates: Rates) -> None:
        self.dice = Dice(f"world {seed}")
        self.clock = VirtualClock(start)
        self.bank = Bank(Dice(f"bank {seed}"))
        self.crashes = Crashes()
        self.line = Line(self, rates)
        self.sources = Sources(self)
        self.desk = Desk(self)
        self.worker = Worker(self)
        self.books = Books(self)
        self.pairs: Pairs | None = None
        self.figures: Counter[str] = Counter()
        self.trace: deque[str] = deque(maxlen=REMEMBERED)
        self.step = 0
        self.is_calm = False  # nothing goes wrong any more
        self.is_ending = False  # no new lies
        self._agenda: list[Event] = []
        self._numbers = itertools.count()

    # What the parts use.

    def after(
        self, wait_s: float, label: str, act: Act, *,
        again: Act | None = None, is_round: bool = False, is_floor: bool = False,
    ) -> None:  # fmt: skip
        """Put something on the agenda. `again`: what to do if it crashes."""
        at = self.clock.now() + timedelta(seconds=max(wait_s, 0.001))
        heapq.heappush(
            self._agenda,
            Event(at, next(self._numbers), label, act, again, is_round, is_floor),
        )

    def count(self, name: str) -> None:
        """Count one of something."""
        self.figures[name] += 1

    def note(self, text: str) -> None:
        """Add to what the present step will be remembered by."""
        self.trace[-1] += f"; {text}"

    def wrong(self, what: str) -> None:
        """Raise Wrong: an invariant is broken."""
        raise Wrong(what, self)

    def apart(self, act: Callable[[], object]) -> None:
        """Do something in another process: it does not crash with this one."""
        crashes = self.crashes
        left, trouble_left = crashes.left, crashes.trouble_left
        crashes.left = crashes.trouble_left = NEVER
        try:
            act()
        finally:
            crashes.left, crashes.trouble_left = left, trouble_left

    def at_once(self, prompt: Prompt, first: Callable[[], str]) -> str:
        """Let a callback arrive, where it can with a rival at the same moment."""
        return self.pairs.deliver(prompt, first) if self.pairs else first()

    @property
    def events(self) -> int:
        """Payment events so far: all but the rounds of the sweep and the seals."""
        names = ("steps", "pushes", "questions", "callbacks lost")
        return sum(self.figures[name] for name in names)

    # How time goes on.

    def run_until(self, end: datetime, *, limit: int | None = None) -> None:
        """Let everything happen that is due before the end, in its order."""
        while limit is None or self.events < limit:
            task_at = self.worker.next_due()
            event_at = self._agenda[0].at if self._agenda else None
            moments = [at for at in (task_at, event_at) if at is not None]
            if not moments or min(moments) > end:
                self.clock.turn_to(end)
                return
            if event_at is None or (task_at is not None and task_at < event_at):
                assert task_at is not None
                self.clock.turn_to(task_at)
                self._do("worker", self.worker.run_one)
            else:
                event = heapq.heappop(self._agenda)
                self.clock.turn_to(event.at)
                self._do(event.label, event.act, event)
            if self.step > HARD_LIMIT:
                self.wrong("time does not pass")

    def start_rounds(self) -> None:
        """Begin what is handed out by the clock: sweep and seals."""
        for path, every_s in settings.PERIODIC_TASKS.items():
            self._round(path, every_s)

    def calm_down(self) -> None:
        """End the day: the till closes, every source answers, all is delivered."""
        self.is_calm = self.is_ending = True
        self.worker.down_until = None
        self._agenda = [event for event in self._agenda if not event.is_floor]
        heapq.heapify(self._agenda)
        self.run_until(self.clock.now() + timedelta(seconds=CALM_S))

    def close_books(self, since: datetime) -> None:
        """Import the day's statements, and let what follows from them happen."""
        self.sources.import_statements(since)
        self.run_until(self.clock.now() + timedelta(seconds=AFTER_BOOKS_S))
        self._agenda = [event for event in self._agenda if not event.is_round]
        heapq.heapify(self._agenda)

    def wake_up(self, at: datetime) -> None:
        """Begin another day."""
        self.run_until(at)
        self.is_calm = self.is_ending = False

    def _round(self, path: str, every_s: int) -> None:
        def hand_out() -> str:
            later.enqueue(path)
            return "handed out"

        def once() -> str:
            self.after(every_s, label, once, again=again, is_round=True)
            return hand_out()

        def again() -> str:
            return hand_out()

        label = path.rsplit(".", 1)[1]
        self.after(every_s, label, once, again=again, is_round=True)

    def _do(self, label: str, act: Act, event: Event | None = None) -> None:
        self.step += 1
        # No two steps at the same moment: what came first can be told by the times.
        self.clock.advance(0.000_001)
        is_round = label == "worker" or (event is not None and event.is_round)
        self.figures["rounds" if is_round else "steps"] += 1
        moment = self.clock.now().astimezone(NAIROBI).strftime("%a %H:%M:%S.%f")[:-3]
        self.trace.append(f"{self.step:>6} {moment} {label}")
        self.line.asked.clear()
        self.line.waited_s = 0
        self.crashes.was_away = False
        if not self.is_calm:
            self._prepare_misfortune()
        try:
            outcome = act()
        except Crash:
            outcome = f"CRASH {self.crashes.last}"
            self.crashes.restart()
            self.count("crashes")
            self._do_again(label, event)
        except OperationalError as error:
            if not self.crashes.was_away:
                raise Wrong(f"{label} raised {error}", self) from error
            outcome = "the database was away"
            self._do_again(label, event)
        except DomainError as refusal:
            outcome = f"refused, {refusal.code}"
            self.count(f"refused {refusal.code}")
        except Wrong:
            raise
        except Exception as error:
            raise Wrong(
                f"{label} raised {type(error).__name__}: {error}", self
            ) from error
        finally:
            self.crashes.disarm()
        if self.crashes.was_away:
            self.count("times the database was away")
        if outcome:
            self.note(outcome)
        self.books.check_step()

    def _do_again(self, label: str, event: Event | None) -> None:
        if event is None or event.again is None:
            return
        wait_s = self.dice.uniform(1, 30)
        label = f"{label.removesuffix(' (again)')} (again)"
        self.after(
            wait_s, label, event.again, again=event.again, is_floor=event.is_floor
        )

    def _prepare_misfortune(self) -> None:
        if self.dice.chance(CRASHES):
            self.crashes.arm(self.dice.randint(0, POINTS))
        elif self.dice.chance(TROUBLES):
            kind = self.dice.choice(["statement", "commit", "answer"])
            most = 40 if kind == "statement" else 4
            self.crashes.trouble_database(kind, self.dice.randint(0, most))
        if self.dice.chance(OUTAGES):
            down_s = self.dice.uniform(30, 600)
            self.worker.down_until = self.clock.now() + timedelta(seconds=down_s)
            self.count("worker outages")
