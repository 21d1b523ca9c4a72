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
from dataclasses import dataclass
from typing import IO

from scripts import services


IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
NOTHING_COLLECTED = 5  # pytest's exit status


@dataclass(frozen=True, slots=True)
class Pass:
    """One run of pytest: its name, its markers, and the services it wants."""

    name: str
    markers: str
    wants_postgres: bool = False


PASSES = {
    "sqlite": Pass("SQLite", "not browser and not race"),
    "fast": Pass("SQLite, fast ones", "not browser and not race and not slow"),
    "postgres": Pass("PostgreSQL and Redis", "not browser", wants_postgres=True),
    "race": Pass("races on PostgreSQL", "race", wants_postgres=True),
    "browser": Pass("browser", "browser"),
}
WHOLE_SUITE = ("sqlite", "postgres", "browser")
# These two share nothing but the machine. A browser wants it for itself.
TOGETHER = (PASSES["sqlite"], PASSES["postgres"])


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
    """Run the passes; on two cores those side by side that can be."""
    if not all(one in chosen for one in TOGETHER) or (os.cpu_count() or 1) < 2:
        return [(one.name, *run(one, arguments)) for one in chosen]
    first, second = TOGETHER
    os.environ["BOTH_PASSES_RUN"] = "1"  # tests/support/passes.py parts them
    results = []
    with tempfile.TemporaryFile("w+") as kept, ThreadPoolExecutor() as pool:
        print(f"Beside it runs the {second.name} pass; what it says comes after.")
        beside = pool.submit(run, second, arguments, kept)
        results.append((first.name, *run(first, arguments)))
        results.append((second.name, *beside.result()))
        kept.seek(0)
        print(kept.read(), flush=True)
    rest = [one for one in chosen if one not in TOGETHER]
    return results + [(one.name, *run(one, arguments)) for one in rest]


def run(
    one: Pass, arguments: list[str], output: IO[str] | None = None
) -> tuple[int, float]:
    """Run one pass and return pytest's status and how long it took.

    `output`: the file that it writes to instead of the screen.
    """
    print(f"\n=== {one.name} pass ===", flush=True, file=output)
    started_at = time.monotonic()
    if one is PASSES["browser"] and not services.chromium_binary():
        print("Left out: there is no Chromium here.")
        return 0, 0.0
    with environment_for(one) as environment:
        status = subprocess.run(
            [sys.executable, "-m", "pytest", "-m", one.markers, *arguments],
            env=environment,
            check=False,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
        ).returncode
    if status == NOTHING_COLLECTED and arguments:
        status = 0  # the files that were asked for have no test for this pass
    return status, time.monotonic() - started_at


@contextlib.contextmanager
def environment_for(one: Pass) -> Iterator[dict[str, str]]:
    outside = ("DATABASE_URL", "REDIS_URL", "SMARTDUKA_PROCESS")
    environment = {k: v for k, v in os.environ.items() if k not in outside}
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
