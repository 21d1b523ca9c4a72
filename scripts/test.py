"""Run the whole suite: on SQLite and on PostgreSQL with Redis, then in a browser.

`python -m scripts.test [--only PASS]... [--] [pytest arguments]`. What is missing on
this machine is told; with CI=true it is an error instead.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from scripts import services


IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
NOTHING_COLLECTED = 5  # pytest's exit status


@dataclass(frozen=True, slots=True)
class Pass:
    """One run of pytest: its name, its markers, and what it wants.

    `where`: the paths of its tests, if not all; `without`: those that are left out.
    `parts`: the paths of what is run by itself where the whole suite runs, so that the
    passes take about as long as each other. `rounds`: how often crowds are let loose
    (tests/concurrency/racing.py).
    """

    name: str
    markers: str
    wants_postgres: bool = False
    wants_browser: bool = False
    where: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    parts: tuple[tuple[str, ...], ...] = ()
    rounds: int = 5


def _browser_files(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/browser/test_{name}.py" for name in names)


PASSES = {
    "sqlite": Pass(
        "SQLite",
        "not browser and not race",
        parts=(("tests/journeys", "tests/payments/test_chaos.py", "tests/smartduka"),),
    ),
    "fast": Pass("SQLite, fast ones", "not browser and not race and not slow"),
    "postgres": Pass(
        "PostgreSQL and Redis",
        "not browser",
        wants_postgres=True,
        parts=(
            ("tests/concurrency", "tests/crashes", "tests/isolation", "tests/journeys"),
        ),
    ),
    "race": Pass("races on PostgreSQL", "race", wants_postgres=True, rounds=20),
    "browser": Pass(
        "browser",
        "browser",
        wants_browser=True,
        where=("tests/browser",),
        parts=(
            _browser_files("books", "doctor", "settings"),
            _browser_files("by_hand", "failures", "second_step"),
        ),
    ),
}
WHOLE_SUITE = ("sqlite", "postgres", "browser")
CORES = 2
# A third of their time the passes wait, for processes and browsers: so many run side by
# side. Small parts fill the lanes to the end.
LANES = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", choices=PASSES)
    parser.add_argument("pytest_arguments", nargs="*")
    options, unknown = parser.parse_known_args()
    chosen = [PASSES[name] for name in options.only or WHOLE_SUITE]
    arguments = [*unknown, *options.pytest_arguments]
    if missing := what_is_missing(chosen):
        print("Missing here: " + "; ".join(missing) + ".")
        if IN_CI:
            print("With CI=true nothing may be missing.")
            return 1
    results = run_all(chosen, arguments)
    print()
    for name, status, seconds in results:
        print(f"{verdict(status):8} {name} pass, {seconds:.0f} s")
    return max(status for _, status, _ in results)


def what_is_missing(chosen: list[Pass]) -> list[str]:
    missing = []
    if any(one.wants_postgres for one in chosen) and not services.redis_binary():
        missing.append("redis-server (the PostgreSQL pass runs without Redis)")
    if PASSES["browser"] in chosen and not services.chromium_binary():
        missing.append("Chromium (the browser pass is left out)")
    return missing


def run_all(chosen: list[Pass], arguments: list[str]) -> list[tuple[str, int, float]]:
    """Run the passes, side by side on two cores, and return how they ended."""
    if {PASSES["sqlite"], PASSES["postgres"]} <= set(chosen):
        os.environ["BOTH_PASSES_RUN"] = "1"  # tests/support/passes.py parts them
    if (os.cpu_count() or 1) < CORES:
        return [(one.name, *run(one, arguments)) for one in chosen]
    if not any(map(is_path, arguments)):
        parts = [part for one in chosen for part in parts_of(one)]
        # What takes longest, the rest of a pass, begins first.
        chosen = sorted(parts, key=lambda one: bool(one.where))
    first, *others = chosen
    with contextlib.ExitStack() as stack:
        kept = {
            one: stack.enter_context(tempfile.TemporaryFile("w+")) for one in others
        }
        lanes = ThreadPoolExecutor(LANES)
        stack.callback(lanes.shutdown, cancel_futures=True)  # when interrupted
        if others:
            print(f"What {first.name} says comes first, the rest when it is over.")
        running = [lanes.submit(run, one, arguments, kept.get(one)) for one in chosen]
        results = []
        for one, ended in zip(chosen, running, strict=True):
            results.append((one.name, *ended.result()))
            if one in kept:
                kept[one].seek(0)
                print(kept[one].read(), flush=True)
        return results


def parts_of(one: Pass) -> list[Pass]:
    """Cut a pass: the rest of it, then its parts."""
    apart = tuple(path for paths in one.parts for path in paths)
    numbered = enumerate(one.parts, start=2)
    return [
        replace(one, without=apart),
        *(replace(one, name=f"{one.name} {n}", where=paths) for n, paths in numbered),
    ]


def run(
    one: Pass, arguments: list[str], output: IO[str] | None = None
) -> tuple[int, float]:
    """Run one pass and return pytest's status and how long it took.

    `output`: the file that it writes to instead of the screen.
    """
    print(f"\n=== {one.name} pass ===", flush=True, file=output)
    started_at = time.monotonic()
    if one.wants_browser and not services.chromium_binary():
        print("Left out: there is no Chromium here.", file=output)
        return 0, 0.0
    where: list[str] = []
    if not any(map(is_path, arguments)):
        where = [*one.where, *(f"--ignore={path}" for path in one.without)]
    with environment_for(one) as environment:
        status = subprocess.run(
            [sys.executable, "-m", "pytest", "-m", one.markers, *arguments, *where],
            env=environment,
            check=False,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
        ).returncode
    if status == NOTHING_COLLECTED and arguments:
        status = 0  # the files that were asked for have no test for this pass
    return status, time.monotonic() - started_at


def is_path(argument: str) -> bool:
    return Path(argument.partition("::")[0]).exists()


@contextlib.contextmanager
def environment_for(one: Pass) -> Iterator[dict[str, str]]:
    # Hundreds of processes are started: each would compile all our files anew.
    outside = ("DATABASE_URL", "REDIS_URL", "SMARTDUKA_PROCESS", NO_BYTECODE)
    environment = {k: v for k, v in os.environ.items() if k not in outside}
    environment["RACE_ROUNDS"] = str(one.rounds)
    with contextlib.ExitStack() as stack:
        if one.wants_postgres:
            environment["DATABASE_URL"] = stack.enter_context(services.postgres())
            if services.redis_binary():
                environment["REDIS_URL"] = stack.enter_context(services.redis())
        if browser := services.chromium_binary():
            environment["CHROMIUM"] = browser
        yield environment


def verdict(status: int) -> str:
    return "passed" if status == 0 else "FAILED"


if __name__ == "__main__":
    # Services are stopped by `finally`, so an interrupt must arrive as an exception.
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except services.CannotStart as error:
        sys.exit(f"The tests cannot run: {error}")
