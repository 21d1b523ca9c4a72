"""Start web, worker and simulator for a demonstration, and stop them together.

Ctrl-C or SIGTERM ends all of it. A worker that dies is started again; when the web
server or the simulator dies, everything ends and says so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from scripts import write_env


ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 15.0
# A worker that dies so often, each time so soon, is beyond help.
WORKER_QUICK_DEATHS = 3
WORKER_LIVED_WELL_S = 30.0


@dataclass
class Part:
    """One of our processes, its output marked with its name."""

    name: str
    command: list[str]
    process: subprocess.Popen[str]
    started_at: float


class Stopped(Exception):
    """Somebody asked us to end, or a part ended by itself."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--web-port", type=int, default=8000)
    parser.add_argument("--sim-port", type=int, default=8010)
    options = parser.parse_args()
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, stop_by_signal)
    signal.signal(signal.SIGINT, stop_by_signal)
    parts: list[Part] = []
    try:
        for port, name in ((options.web_port, "web"), (options.sim_port, "simulator")):
            require_free(port, name)
        write_env.main()
        environment = environment_for(options.web_port, options.sim_port)
        logins = prepare(environment)
        for name, command in commands(options.web_port, options.sim_port).items():
            parts.append(start(name, command, environment))
        wait_until_up(options.web_port, options.sim_port, parts)
        print(welcome(logins, options.web_port, options.sim_port), flush=True)
        watch(parts, environment)
    except Stopped as reason:
        print(f"\n{reason}", flush=True)
        return 0 if str(reason) == STOPPED_BY_USER else 1
    finally:
        stop_all(parts)
    return 0


STOPPED_BY_USER = "Stopping."


def stop_by_signal(signum: int, frame: FrameType | None) -> None:
    # Once is enough: a second Ctrl-C must not break the stopping itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped(STOPPED_BY_USER)


def require_free(port: int, name: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            variable = {"web": "WEB_PORT", "simulator": "SIM_PORT"}[name]
            raise Stopped(
                f"Port {port} ({name}) is taken by another program. End that one, or "
                f"choose another port: make run {variable}={port + 100}"
            ) from error


def environment_for(web_port: int, sim_port: int) -> dict[str, str]:
    """Return our environment; ports other than the usual ones change the addresses."""
    environment = dict(os.environ) | {"PYTHONUNBUFFERED": "1"}
    if web_port != 8000:
        environment["MPESA_CALLBACK_URL"] = f"http://{HOST}:{web_port}"
    if sim_port != 8010:
        environment["MPESA_BASE_URL"] = f"http://{HOST}:{sim_port}"
    return environment


def prepare(environment: dict[str, str]) -> dict[str, Any]:
    """Migrate, load the demo data, and return its logins."""
    print("Preparing the database and the demo shops.", flush=True)
    manage = [sys.executable, "manage.py"]
    try:
        subprocess.run(
            [*manage, "migrate", "--verbosity", "0"], env=environment, check=True
        )
        answer = subprocess.run(
            [*manage, "demo_data", "--json"],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
        )
    except subprocess.CalledProcessError as error:
        raise Stopped(f"It did not work: {' '.join(error.cmd[1:])}") from error
    logins: dict[str, Any] = json.loads(answer.stdout)
    return logins


def commands(web_port: int, sim_port: int) -> dict[str, list[str]]:
    python = sys.executable
    return {
        "simulator": [python, "manage.py", "simulator", "--port", str(sim_port)],
        # -v 0: no line for every request.
        "web": [
            *(python, "-m", "daphne", "-v", "0", "-b", HOST, "-p", str(web_port)),
            "smartduka.asgi:application",
        ],
        "worker": [python, "manage.py", "worker"],
    }


def start(name: str, command: list[str], environment: dict[str, str]) -> Part:
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
    )
    threading.Thread(target=repeat, args=(name, process), daemon=True).start()
    return Part(name, command, process, time.monotonic())


def repeat(name: str, process: subprocess.Popen[str]) -> None:
    """Print what the process prints, marked with its name."""
    assert process.stdout is not None
    for line in process.stdout:
        print(f"{name:9} | {line}", end="", flush=True)


def wait_until_up(web_port: int, sim_port: int, parts: list[Part]) -> None:
    waiting = [
        f"http://{HOST}:{web_port}/readyz",
        f"http://{HOST}:{sim_port}/__sim__/prompts",
    ]
    end = time.monotonic() + START_LIMIT_S
    while waiting:
        for part in parts:
            if part.process.poll() is not None:
                raise Stopped(f"The {part.name} ended while starting; see above.")
        if time.monotonic() > end:
            raise Stopped(f"No answer from {waiting[0]} after {START_LIMIT_S:.0f} s.")
        if answers(waiting[0]):
            waiting.pop(0)
        else:
            time.sleep(0.2)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 -- our own http address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def welcome(logins: dict[str, Any], web_port: int, sim_port: int) -> str:
    web, sim = f"http://{HOST}:{web_port}", f"http://{HOST}:{sim_port}"
    lines = [
        "",
        f"  Till           {web}/",
        f"  Admin          {web}/admin/",
        f"  API            {web}/api/docs",
        f"  Virtual phone  {sim}/phone/254708374149",
        f"  M-Pesa log     {sim}/log",
        "",
        login_line("Platform", "admin", logins["admin"]),
    ]
    for shop in logins["shops"]:
        for role in ("owner", "manager", "cashier"):
            lines.append(login_line(shop["name"], role, shop[role]))
    return "\n".join([*lines, "", "  Ctrl-C stops everything.", ""])


def login_line(place: str, role: str, login: dict[str, str]) -> str:
    return f"  {place:22} {role:8} {login['username']:16} {login['password']}"


def watch(parts: list[Part], environment: dict[str, str]) -> None:
    """Stay until a part ends; the worker is started again."""
    quick_deaths = 0
    while True:
        time.sleep(0.5)
        for number, part in enumerate(parts):
            status = part.process.poll()
            if status is None:
                continue
            lived_s = time.monotonic() - part.started_at
            quick_deaths = 0 if lived_s > WORKER_LIVED_WELL_S else quick_deaths + 1
            if part.name != "worker" or quick_deaths > WORKER_QUICK_DEATHS:
                raise Stopped(f"The {part.name} ended by itself, status {status}.")
            print(f"The worker ended (status {status}); starting it again.", flush=True)
            parts[number] = start(part.name, part.command, environment)


def stop_all(parts: list[Part]) -> None:
    """Ask each to end, wait, and end by force whatever is left of its group."""
    for part in parts:
        if part.process.poll() is None:
            part.process.terminate()
    end = time.monotonic() + STOP_LIMIT_S
    for part in parts:
        with contextlib.suppress(subprocess.TimeoutExpired):
            part.process.wait(max(0.1, end - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(part.process.pid, signal.SIGKILL)
        part.process.wait()


if __name__ == "__main__":
    sys.exit(main())
