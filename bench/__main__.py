"""`python -m bench [--quick] [--repetitions N] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import django
import psycopg

from bench import engine, figures, installation, table
from bench.sizes import FULL, QUICK, Sizes
from scripts import services


if TYPE_CHECKING:
    from bench.measurement import Measurement

PACKAGES = ("django", "daphne", "gunicorn", "psycopg", "channels-redis")
SYNCS = 200


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--quick", action="store_true", help="small, for a look")
    parser.add_argument("--repetitions", type=int, help="of the callbacks")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    if options.repetitions:
        sizes = replace(sizes, repetitions=options.repetitions)
    signal.signal(signal.SIGTERM, stop)
    started_at, load_before = time.monotonic(), os.getloadavg()[0]
    with installation.databases() as socket_dir:
        django.setup()
        done = measure(socket_dir, sizes)
        about = describe(socket_dir, load_before, sizes)
    found = [*figures.of_callbacks(done), *figures.of_pushes(done)]
    verdict = [f"WRONG: {fault}" for fault in done.faults] or ["All facts are right."]
    print(
        *about,
        "Ratios: the median (lowest .. highest) [median of the absolute values]",
        table.text(found),
        "",
        figures.statements_of_a_callback(done),
        f"{time.monotonic() - started_at:.0f} s in all.",
        *verdict,
        sep="\n",
    )
    if options.json:
        rows = {"about": about, "figures": table.as_rows(found), "faults": done.faults}
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 1 if done.faults else 0


def measure(socket_dir: str, sizes: Sizes) -> Measurement:
    """Prepare the rows, copy them for pgbench, start the servers, run the loads."""
    # They need the settings, which need the databases.
    from django.core.management import call_command  # noqa: PLC0415 -- see above
    from django.db import connection  # noqa: PLC0415 -- see above

    from bench import measurement, prepared  # noqa: PLC0415 -- see above

    say("Preparing")
    call_command("migrate", verbosity=0)
    rows = prepared.prepare(
        callbacks=sizes.callbacks,
        spare=max(0, sizes.writes - sizes.callbacks),
        pushes=sizes.pushes,
    )
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    with psycopg.connect(
        host=socket_dir, user="postgres", dbname="template1", autocommit=True
    ) as other:
        other.execute(f"CREATE DATABASE {engine.DATABASE} TEMPLATE postgres".encode())
    for name in ("postgres", engine.DATABASE):
        with psycopg.connect(
            host=socket_dir, user="postgres", dbname=name, autocommit=True
        ) as database:
            database.execute("VACUUM ANALYZE")
            database.execute("CHECKPOINT")
    statements = measurement.statements(rows)
    with installation.serving(socket_dir) as place:
        done = measurement.Measurement(place, rows, sizes, statements)
        say("Callbacks")
        done.measure_callbacks()
        say("Pushes")
        done.measure_pushes()
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    return done


def describe(socket_dir: str, load_before: float, sizes: Sizes) -> list[str]:
    """Say on what, with what and how often it was measured."""
    with psycopg.connect(host=socket_dir, user="postgres") as connection:
        postgres = connection.info.parameter_status("server_version")
        row = connection.execute("SHOW fsync").fetchone()
        assert row == ("on",)
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return [
        f"Machine   {os.cpu_count()} cores, {processor()}; load average"
        f" {load_before:.1f} before, {os.getloadavg()[0]:.1f} after;"
        f" a durable 8 kB write takes {sync_ms(Path(socket_dir)):.2f} ms",
        f"Versions  PostgreSQL {postgres} (fsync on), {redis()}, Python"
        f" {platform.python_version()}, {packages}",
        f"Repeated  callbacks {sizes.repetitions} times, pushes"
        f" {sizes.push_repetitions} times, everything in turn; one server process",
    ]


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if "model name" in line]
    return names[0] if names else platform.machine()


def redis() -> str:
    program = services.redis_binary()
    if program is None:
        return "no Redis"
    told = subprocess.run([program, "--version"], capture_output=True, check=True)
    return "Redis " + told.stdout.decode().partition("v=")[2].split()[0]


def sync_ms(folder: Path) -> float:
    """Return the mean time of a durable write where the database lies."""
    probe = folder / "probe"
    with probe.open("wb", buffering=0) as file:
        started_at = time.perf_counter()
        for _ in range(SYNCS):
            file.seek(0)
            file.write(b"\0" * 8192)
            os.fdatasync(file.fileno())
    probe.unlink()
    return (time.perf_counter() - started_at) / SYNCS * 1000


def say(what: str) -> None:
    print(what, "…", flush=True)


def stop(signal_number: int, frame: FrameType | None) -> None:
    # An exception, so that everything started is stopped on the way out.
    sys.exit(128 + signal_number)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (services.CannotStart, engine.CannotMeasure) as error:
        sys.exit(f"Nothing can be measured: {error}")
