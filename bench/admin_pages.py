"""`python -m bench.admin_pages [--payments N] [--repetitions N]`.

Builds an installation on a PostgreSQL of its own and opens the pages of the admin, first
with a few thousand payments and then with a million. Prints for each what it costs:
statements, time, and which big tables are read row by row instead of by an index. A scan
that stops after a page's worth of rows is none. Exits with 1 if there is one, or if a page
costs more statements than it did with few rows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import django

from bench import engine, installation
from bench.__main__ import processor, say, stop
from scripts import services


PAYMENTS, FEW, REPETITIONS = 1_000_000, 4_000, 5
# So many rows are no page's worth: the lists count to a thousand.
MANY = 10_000
PAGES = (
    ("Home", "/admin/"),
    ("Home, the figures alone", "/admin/home/figures/"),
    ("Home, what waits", "/admin/home/waiting/"),
    ("Home, a day of last month", "/admin/home/figures/?day={month_ago}"),
    ("Payments", "/admin/payments/payment/"),
    ("Payments of today", "/admin/payments/payment/?day=today"),
    ("Payments, by phone", "/admin/payments/payment/?q=0700007919"),
    ("Payments, by receipt", "/admin/payments/payment/?q=UB00000077"),
    ("Failed payments", "/admin/payments/failedpayment/"),
    ("Failed payments, one reason", "/admin/payments/failedpayment/?why=wrong_pin"),
    ("Failed payments, seen too", "/admin/payments/failedpayment/?seen=all"),
    ("Sales", "/admin/orders/order/"),
    ("Sales, the last page", "/admin/orders/order/?p=20"),
    ("Sales with surplus", "/admin/orders/order/?look=surplus"),
    ("Money received", "/admin/payments/collection/"),
    ("Money that no sale took", "/admin/payments/collection/?look=rest"),
    ("Where money went", "/admin/payments/allocation/"),
    ("M-Pesa receipts", "/admin/payments/receipt/"),
    ("M-Pesa messages", "/admin/payments/notice/"),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one page costs: statements, milliseconds, and what its plans scan."""

    statements: int
    ms: float
    slowest_ms: float
    slowest: str
    scans: tuple[str, ...]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.admin_pages")
    parser.add_argument("--payments", type=int, default=PAYMENTS)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--explain", help="print the slowest statement of this page")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    with installation.databases():
        # The client asks in this process, by this name.
        os.environ["ALLOWED_HOSTS"] = "testserver"
        os.environ["SECURE_SSL_REDIRECT"] = "False"
        django.setup()
        return measure(options)


def measure(options: argparse.Namespace) -> int:
    """Measure with few rows and with many; print; return the exit code."""
    # They need the settings, which need the databases.
    from django.core.management import call_command  # noqa: PLC0415 -- see above
    from django.db import connection  # noqa: PLC0415 -- see above

    from bench import admin_rows  # noqa: PLC0415 -- see above

    say("Preparing")
    call_command("migrate", verbosity=0)
    made = admin_rows.few()
    admin_rows.multiply(made, 1, FEW, options.payments)
    people = (("owner", made.owner), ("operator", made.operator))
    before = {
        (who, page): cost.statements
        for who, page, cost in costs(people, repetitions=1, explained=False)
    }
    say(f"Making {options.payments:,} payments")
    started_at = time.monotonic()
    tables = admin_rows.multiply(made, FEW + 1, options.payments, options.payments)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    say(f"Made in {time.monotonic() - started_at:.0f} s; measuring")
    faults = []
    print(
        f"Machine   {os.cpu_count()} cores, {processor()}; load average"
        f" {os.getloadavg()[0]:.1f}; Python {platform.python_version()}",
        "Rows      " + ", ".join(f"{name} {count:,}" for name, count in tables.items()),
        f"The owner's shop has {admin_rows.TENTHS}0 % of them, in {admin_rows.DAYS} days.",
        "",
        f"{'page':32} {'who':9} {'statements':>10} {'before':>9} {'ms':>8}"
        f" {'slowest':>8}  scanned",
        sep="\n",
    )
    for who, page, cost in costs(people, repetitions=options.repetitions):
        few = before[who, page]
        print(
            f"{page:32} {who:9} {cost.statements:10} {few:9} {cost.ms:8.1f}"
            f" {cost.slowest_ms:8.1f}  {', '.join(cost.scans) or 'nothing'}",
            flush=True,
        )
        if options.explain == page:
            print(cost.slowest)
        faults += [f"{page} ({who}): scans {table}" for table in cost.scans]
        if cost.statements > few:
            faults.append(f"{page} ({who}): {cost.statements} statements, not {few}")
    told = [f"WRONG: {fault}" for fault in faults]
    print(
        "",
        *(told or ["No page scans a big table or costs more than before."]),
        sep="\n",
    )
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    return 1 if faults else 0


def costs(
    people: Sequence[tuple[str, Any]], *, repetitions: int, explained: bool = True
) -> Iterator[tuple[str, str, Cost]]:
    """Open every page as each of them; yield who, which page, and its cost."""
    from django.test import Client  # noqa: PLC0415 -- it needs the settings

    from smartduka.lib import clock  # noqa: PLC0415 -- it needs the settings

    month_ago = (clock.now() - clock.seconds(30 * 86400)).date().isoformat()
    for who, person in people:
        client = Client()
        client.force_login(person)
        for page, address in PAGES:
            address = address.format(month_ago=month_ago)
            yield who, page, cost_of(client, address, repetitions, explained=explained)


def cost_of(client: Any, address: str, repetitions: int, *, explained: bool) -> Cost:
    """Open a page so often, after a first time that fills the caches."""
    ran, times = opened(client, address), []
    for _ in range(repetitions):
        started_at = time.perf_counter()
        ran = opened(client, address)
        times.append((time.perf_counter() - started_at) * 1000)
    slowest = max(ran, key=lambda one: one[2])
    scans = sorted({table for one in ran for table in scanned(*one[:2])})
    plan = explained_text(*slowest[:2]) if explained else ""
    return Cost(
        statements=len(ran),
        ms=statistics.median(times),
        slowest_ms=slowest[2],
        slowest=f"{slowest[0]}\n{plan}",
        scans=tuple(scans) if explained else (),
    )


Ran = tuple[str, Any, float]


def opened(client: Any, address: str) -> list[Ran]:
    """Open a page; return its statements, each with its parameters and milliseconds."""
    from django.db import connection  # noqa: PLC0415 -- it needs the settings

    ran: list[Ran] = []

    def keep(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001 -- Django calls it so
        started_at = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            ran.append((sql, params, (time.perf_counter() - started_at) * 1000))

    with connection.execute_wrapper(keep):
        response = client.get(address)
    if response.status_code != 200:
        raise engine.CannotMeasure(f"{address}: {response.status_code}")
    return ran


def scanned(sql: str, params: Any) -> set[str]:
    """Return the tables of which a statement looks at many rows without an index."""
    from django.db import connection  # noqa: PLC0415 -- it needs the settings

    if not sql.lstrip().upper().startswith("SELECT"):
        return set()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", params)
        told = cursor.fetchone()[0]
    plan = told if isinstance(told, list) else json.loads(told)
    return {
        node["Relation Name"]
        for node in nodes(plan[0]["Plan"])
        if node["Node Type"] == "Seq Scan" and looked_at(node) > MANY
    }


def looked_at(node: dict[str, Any]) -> float:
    """Return how many rows a step of a plan looked at, in all its turns."""
    each = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return float(each * node["Actual Loops"])


def explained_text(sql: str, params: Any) -> str:
    """Return what PostgreSQL did for a statement, as it tells it."""
    from django.db import connection  # noqa: PLC0415 -- it needs the settings

    if not sql.lstrip().upper().startswith("SELECT"):
        return ""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {sql}", params)
        return "\n".join(row[0] for row in cursor.fetchall())


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every step of a plan."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (services.CannotStart, engine.CannotMeasure) as error:
        sys.exit(f"Nothing can be measured: {error}")
