"""Ratios out of loads, each within one repetition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from bench.engine import ONE_STATEMENT, STATEMENTS
from bench.load import Load
from bench.sizes import AT_ONCE, UPSTREAM_S
from bench.table import Figure, figure, quantile


if TYPE_CHECKING:
    from bench.measurement import Measurement

Value = Callable[[Load], float]
# Nothing but what a transaction needs to begin and end.
TRANSACTION_WORDS = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")


def rate(load: Load) -> float:
    return load.rate


def p50_ms(load: Load) -> float:
    return quantile(load.latencies, 0.50) * 1000


def p99_ms(load: Load) -> float:
    return quantile(load.latencies, 0.99) * 1000


def cpu_ms(load: Load) -> float:
    """The server's processor time for one answer: waiting for others is not in it."""
    return load.cpu / len(load.latencies) * 1000


def of_callbacks(done: Measurement) -> Iterator[Figure]:
    """Compare durable callbacks with pgbench and with doing nothing."""
    comparisons: list[tuple[str, str, Value, str, str]] = [
        ("together", "rate / pgbench, one statement", rate, "/s", ONE_STATEMENT),
        ("together", "rate / pgbench, a statement per row", rate, "/s", STATEMENTS),
        ("together", "rate / a view that does nothing", rate, "/s", ""),
        ("together", "processor time / a view that does nothing", cpu_ms, "ms", ""),
        ("together", "p50 / pgbench, one statement", p50_ms, "ms", ONE_STATEMENT),
        ("together", "p99 / pgbench, one statement", p99_ms, "ms", ONE_STATEMENT),
        ("alone", "p50 / pgbench, one statement", p50_ms, "ms", ONE_STATEMENT),
        ("alone", "p99 / pgbench, one statement", p99_ms, "ms", ONE_STATEMENT),
    ]
    for how, name, value, unit, against in comparisons:
        at_once = AT_ONCE if how == "together" else 1
        for server in done.place.servers:
            ours = done.loads[how, server]
            theirs = done.loads[how, against] if against else done.loads["idle", server]
            yield _compared(
                f"Callbacks, {at_once} at a time",
                name,
                server,
                value,
                unit,
                ours,
                theirs,
            )
    for how, at_once in (("together", AT_ONCE), ("alone", 1)):
        for word, value, unit in (
            ("rate", rate, "/s"),
            ("p50", p50_ms, "ms"),
            ("p99", p99_ms, "ms"),
        ):
            yield _compared(
                f"pgbench itself, {at_once} at a time",
                f"{word}, a statement per row / one statement",
                "",
                value,
                unit,
                done.loads[how, STATEMENTS],
                done.loads[how, ONE_STATEMENT],
            )


def of_pushes(done: Measurement) -> Iterator[Figure]:
    """Compare what a push takes on top of its upstream with the upstream's time."""
    for in_flight in done.sizes.in_flight:
        part = f"Pushes, {in_flight} in flight, the upstream takes {UPSTREAM_S:.1f} s"
        for name, share in (("p50", 0.50), ("p95", 0.95)):
            for through in (*done.place.servers, "simulator"):
                over = [
                    quantile(one.latencies, share) - UPSTREAM_S
                    for one in done.loads[f"push {in_flight}", through]
                ]
                yield _share_of_upstream(part, f"overhead {name}", through, over)
        for server in done.place.servers:
            loads = done.loads[f"push {in_flight}", server]
            cpu = [cpu_ms(one) / 1000 for one in loads]
            yield _share_of_upstream(part, "processor time", server, cpu)


def _share_of_upstream(
    part: str, what: str, through: str, seconds: Sequence[float]
) -> Figure:
    return figure(
        part,
        f"{what} / upstream",
        through,
        ratios=[one / UPSTREAM_S for one in seconds],
        absolutes=[one * 1000 for one in seconds],
        unit="ms",
    )


def statements_of_a_callback(done: Measurement) -> str:
    """Count what one callback sends to the database, one round trip each."""
    control = [one for one in done.statements if one.startswith(TRANSACTION_WORDS)]
    return (
        f"One callback sends {len(done.statements)} statements to the database,"
        f" {len(control)} of them to begin and end transactions."
    )


def _compared(
    part: str,
    name: str,
    server: str,
    value: Value,
    unit: str,
    ours: Sequence[Load],
    theirs: Sequence[Load],
) -> Figure:
    pairs = zip(ours, theirs, strict=True)
    return figure(
        part,
        name,
        server,
        ratios=[value(one) / value(other) for one, other in pairs],
        absolutes=[value(one) for one in ours],
        unit=unit,
    )
