"""Shop-days in which everything goes wrong, on a virtual clock."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from payments.chaos import database, run
from payments.chaos.network import Rates
from payments.chaos.run import Result
from payments.chaos.safeguards import SAFEGUARDS


RATES = ("lost", "doubled", "reordered", "forged")


class Command(BaseCommand):
    """`manage.py chaos --seed N --days D`: exits 1 when an invariant breaks."""

    help = (
        "Run shop-days in which callbacks get lost and processes die, on a virtual"
        " clock and a database of its own, and check every shilling after each step."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add seeds, length, rates and the safeguard to do without."""
        parser.add_argument("--seed", type=int, default=1, help="the first seed")
        parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
        parser.add_argument("--days", type=int, default=1, help="shop-days per seed")
        parser.add_argument("--events", type=int, help="at most so many per seed")
        parser.add_argument("--minutes", type=int, help="begin no seed after so many")
        parser.add_argument("--off", choices=sorted(SAFEGUARDS), help="do without it")
        defaults = Rates()
        for name in RATES:
            parser.add_argument(
                f"--{name}", type=int, default=getattr(defaults, name),
                help="percent of the callbacks",
            )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the seeds one after the other; stop at the first that fails."""
        if settings.MPESA_ENV == "production":
            raise CommandError("Chaos has no place in production.")
        if options["off"] == "lock" and connection.vendor == "sqlite":
            raise CommandError(
                "SQLite has one writer at a time, so nothing happens without row"
                " locks there: try it on PostgreSQL."
            )
        rates = Rates(**{name: options[name] for name in RATES})
        results: list[Result] = []
        began = time.monotonic()
        with database.of_its_own():
            for seed in range(options["seed"], options["seed"] + options["seeds"]):
                minutes = (time.monotonic() - began) / 60
                if options["minutes"] and minutes >= options["minutes"]:
                    break
                result = run.play(
                    seed, days=options["days"], events=options["events"],
                    rates=rates, off=options["off"],
                )  # fmt: skip
                database.clear()
                results.append(result)
                if result.wrong:
                    self._tell(result, options)
                    raise CommandError(f"Seed {seed} failed at {result.wrong}")
                self.stdout.write(f"Seed {seed}: {result.events} events, all agree.")
        self._sum_up(results, time.monotonic() - began)

    def _tell(self, result: Result, options: dict[str, Any]) -> None:
        self.stderr.write("\n".join(result.trace))
        names = ("days", "events", "off", *RATES)
        again = [
            f"--{name} {options[name]}" for name in names if options[name] is not None
        ]
        self.stderr.write(
            f"Again: manage.py chaos --seed {result.seed} {' '.join(again)}"
        )

    def _sum_up(self, results: list[Result], seconds: float) -> None:
        total = run.figures_of(results)
        for name, number in sorted(total.items()):
            self.stdout.write(f"{number:>10,} {name}")
        callbacks = max(1, total["callbacks"])
        for name in ("callbacks lost", "callbacks doubled", "callbacks reordered",
                     "callbacks late", "callbacks contradicted", "notices forged"):  # fmt: skip
            share = 100 * total[name] / callbacks
            self.stdout.write(f"{share:>9.1f}% {name}")
        places = {place for result in results for place in result.places}
        self.stdout.write(f"{len(places):>10} different places to die")
        self.stdout.write(
            f"{len(results)} seeds, {total['events']:,} events in {seconds:.0f} s:"
            " nothing lost, nothing doubled, nothing unexplained."
        )
