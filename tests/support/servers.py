"""Web and worker as real processes on a database of their own, for the tests.

Every wait is bounded. What a process prints is kept in the installation's folder.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests


ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
START_LIMIT_S = 40.0
STOP_LIMIT_S = 20.0
COMMAND_LIMIT_S = 90.0
SETTINGS = {
    "SMARTDUKA_ENV_FILE": os.devnull,
    "DJANGO_SETTINGS_MODULE": "smartduka.settings",
    "SECRET_KEY": "tests only " * 6,
    "MPESA_ENCRYPTION_KEYS": "33" * 32,
    "MPESA_ENV": "simulator",
    "REDIS_URL": "",
    "DEBUG": "False",
    "Q_WORKERS": "1",
}


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


# What `manage.py demo_data --json` loads. What it tells the simulator besides, a worker
# tells it too.
LOAD = "import json; from payments import demo; print(json.dumps(demo.load()))"


@functools.cache
def _demo_shops() -> tuple[Path, str]:
    """Migrate a database and load the demo shops: once for all installations.

    Returns it and what was loaded, in JSON.
    """
    folder = Path(tempfile.mkdtemp(prefix="demo-shops-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    database = folder / "shop.sqlite3"
    environment = os.environ | SETTINGS | {"DATABASE_URL": f"sqlite:///{database}"}
    _manage(environment, "migrate", "--verbosity", "0")
    return database, _manage(environment, "shell", "--no-imports", "-c", LOAD)


def _copy_of_the_demo_shops(path: Path) -> dict[str, Any]:
    database, loaded = _demo_shops()
    with (
        contextlib.closing(sqlite3.connect(database)) as origin,
        contextlib.closing(sqlite3.connect(path)) as copy,
    ):
        origin.backup(copy)
    return json.loads(loaded)


def _manage(environment: Mapping[str, str], *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout


class Installation:
    """A fresh SQLite database with the demo shops, and the environment around it.

    `demo` is what `manage.py demo_data --json` would print. Keyword arguments become
    environment variables of every process.
    """

    def __init__(self, folder: Path, *, simulator_url: str, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        database = folder / "shop.sqlite3"
        self.environment = {
            **os.environ,
            **SETTINGS,
            "MPESA_BASE_URL": simulator_url,
            "MPESA_CALLBACK_URL": self.url,
            "DATABASE_URL": f"sqlite:///{database}",
            **environment,
        }
        self.demo = _copy_of_the_demo_shops(database)

    def manage(self, *command: str) -> str:
        """Run a management command; return what it printed."""
        return _manage(self.environment, *command)


class _Process:
    """One process of ours in a group of its own; a context manager."""

    name = ""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *details: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        """Where its output is."""
        return self.installation.folder / f"{self.name}.log"

    def command(self) -> list[str]:
        """Return what starts it."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether it does its work already."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=ROOT,
                env=self.installation.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        give_up_at = time.monotonic() + START_LIMIT_S
        while not self.is_ready():
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < give_up_at, f"{self.name} did not start"
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask it to end, then end by force what is left of its group."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None


class WebProcess(_Process):
    """Daphne on the installation's port: pages, API, hooks and sockets."""

    name = "web"

    def command(self) -> list[str]:
        """Return what starts Daphne."""
        return [
            *(sys.executable, "-m", "daphne", "-v", "0"),
            *("-b", HOST, "-p", str(self.installation.port)),
            "smartduka.asgi:application",
        ]

    def is_ready(self) -> bool:
        """Whether it answers its probe."""
        try:
            answer = requests.get(f"{self.installation.url}/readyz", timeout=5)
        except requests.RequestException:
            return False
        return answer.status_code == 200


class WorkerProcess(_Process):
    """`manage.py worker`: the tasks' cluster under its watchdog."""

    name = "worker"

    def command(self) -> list[str]:
        """Return what starts the worker."""
        return [sys.executable, "manage.py", "worker"]

    def is_ready(self) -> bool:
        """Whether its cluster was started; the tasks wait for it in the database."""
        return self._process is not None
