"""Running seeds, one after the other, and saying what came of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.test.utils import override_settings

from payments import gateways
from payments.chaos import clock, database, dice
from payments.chaos.network import Rates
from payments.chaos.office import Office
from payments.chaos.pairs import Pairs
from payments.chaos.patches import replaced
from payments.chaos.safeguards import SAFEGUARDS
from payments.chaos.shopfloor import Shopfloor
from payments.chaos.world import World, Wrong
from smartduka.lib import realtime


# A Monday, eight in the morning in Nairobi.
START = datetime(2026, 1, 5, 5, 0, tzinfo=UTC)
OPEN_S = 12 * 3600
# Whatever this installation is set to, a seed means the same.
INSTALLATION: dict[str, Any] = {
    "MPESA_ENV": "simulator",
    "MPESA_TYPE": "paybill",
    "MPESA_SHORTCODE": "600100",
    "MPESA_PARTY_B": "600100",
    "MPESA_CONSUMER_KEY": "chaos-key",
    "MPESA_CONSUMER_SECRET": "chaos-secret",
    "MPESA_PASSKEY": "chaos-passkey",
    "MPESA_CALLBACK_IP_MODE": "enforce",
    "MPESA_CALLBACK_IPS": ("196.201.214.200",),
    "STK_RATE_PER_SHOP": "10/m",
    "STK_RATE_PER_PHONE": "60/h",
    "STK_RATE_PER_IP": "120/m",
    # Counters on the same database and clock as the rest, also where Redis has them.
    "CACHES": {
        "default": {
            "BACKEND": "smartduka.lib.counters.CounterCache",
            "LOCATION": "smartduka_counter",
        },
        "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    },
}
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to. `wrong` is empty where all invariants held."""

    seed: int
    steps: int
    events: int
    figures: Counter[str]
    places: Counter[str]
    wrong: str = ""
    trace: list[str] = field(default_factory=list)


def play(
    seed: int,
    *,
    days: int = 1,
    events: int | None = None,
    rates: Rates | None = None,
    off: str | None = None,
    at_once: bool = True,
) -> Result:
    """Run whole shop-days of one seed and check the books all along.

    Until `days` are over or so many payment events have happened; then the day is
    ended in calm and everything must agree. `off` names a safeguard to do without.
    `at_once`: on PostgreSQL, let things about one sale happen in two threads; how
    they meet is not wholly the seed's.
    Call outside any transaction, on an empty database. Raises NotOurs.
    """
    database.require_empty()
    world = World(seed, START, rates or Rates())
    if at_once and connection.vendor == "postgresql":
        world.pairs = Pairs(world)
    wrong = ""
    with _alone(world, seed, off):
        try:
            _live(world, days, events)
        except Wrong as found:
            wrong = f"step {found.step}: {found.what}"
        trace = list(world.trace)
    return Result(
        seed=seed,
        steps=world.step,
        events=world.events,
        figures=world.figures,
        places=world.crashes.places,
        wrong=wrong,
        trace=trace,
    )


def _live(world: World, days: int, events: int | None) -> None:
    floor = Shopfloor(world)
    office = Office(world, floor)
    floor.set_up()
    office.set_up()
    world.sources.set_up()
    with world.crashes.watched():
        world.books.check_step()
        for day in range(days):
            morning = START + day * DAY
            world.wake_up(morning)
            world.start_rounds()
            floor.open(OPEN_S)
            office.open(OPEN_S)
            world.run_until(morning + timedelta(seconds=OPEN_S), limit=events)
            world.calm_down()
            world.close_books(morning - timedelta(hours=5))
            office.correct()
            world.books.check_day()
            world.figures["sales"] = floor.sales
            if events is not None and world.events >= events:
                return


@contextmanager
def _alone(world: World, seed: int, off: str | None) -> Iterator[None]:
    """Turn the process into this world's: clock, chance, gateway, counters."""
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        if off is not None:
            stack.enter_context(SAFEGUARDS[off]())
        stack.enter_context(override_settings(**INSTALLATION))
        stack.enter_context(clock.turned(world.clock))
        stack.enter_context(dice.determined(seed))
        stack.enter_context(gateways.using(world.line))
        # Screens are told nothing: what they were told is gone with a crash anyway.
        stack.enter_context(replaced(realtime, "publish", lambda groups, message: None))
        try:
            yield
        finally:
            world.crashes.restart()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the log: hundreds of contradictions are wanted here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def figures_of(results: list[Result]) -> Counter[str]:
    """Add the figures of several runs."""
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.figures)
        total["events"] += result.events
    return total
