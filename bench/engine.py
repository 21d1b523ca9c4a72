"""pgbench writing what callbacks write: what the database could do by itself."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from bench.load import LIMIT_S, Load
from scripts import services


SQL = Path(__file__).parent / "sql"
ONE_STATEMENT, STATEMENTS = "one_statement", "statements"
DATABASE = "engine"
RATE = re.compile(r"tps = ([0-9.]+) \(without initial connection time\)")


class CannotMeasure(Exception):
    """pgbench is missing or failed; the text says why."""


def program() -> Path:
    """Return pgbench: the system's, or the one that came with the requirements."""
    found = services.postgres_binaries(Path(), None) / "pgbench"
    if not found.exists():
        raise CannotMeasure("there is no pgbench here")
    return found


def run(socket_dir: str, script: str, *, first: int, count: int, clients: int) -> Load:
    """Write `count` callbacks, the prepared ones from `first` on; each exactly once.

    `count` must be a multiple of `clients`.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(program(), "--no-vacuum", "--protocol=prepared", "--log"),
            *("--log-prefix", f"{folder}/log"),
            *("--client", clients, "--jobs", min(2, clients)),
            *("--transactions", count // clients),
            *("--file", SQL / f"{script}.sql"),
            *("-D", f"base={first}", "-D", f"clients={clients}", "-D", "k=0"),
            *("-h", socket_dir, "-U", "postgres", DATABASE),
        ]
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        rate = RATE.search(done.stdout)
        if done.returncode or rate is None:
            raise CannotMeasure(f"pgbench failed:\n{done.stderr[-2000:]}")
        load = Load(latencies=_latencies(Path(folder)))
    load.statuses[200] = len(load.latencies)
    load.elapsed = len(load.latencies) / float(rate[1])
    return load


def _latencies(folder: Path) -> list[float]:
    """Read the third column of the logs: microseconds of each transaction."""
    return [
        int(line.split()[2]) / 1e6
        for log in folder.glob("log*")
        for line in log.read_text(encoding="ascii").splitlines()
    ]
