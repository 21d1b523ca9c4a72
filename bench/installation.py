"""A whole installation to measure, thrown away at the end."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from scripts import services


ROOT = Path(__file__).resolve().parent.parent
# As a shop would run it: fsync and synchronous_commit stay as they are, on.
POSTGRES_OPTIONS = (
    *("-c", "listen_addresses="),
    *("-c", "max_connections=200"),
    *("-c", "shared_buffers=256MB"),
    *("-c", "max_wal_size=4GB"),
)
POOL = 20
THREADS = 256  # of gunicorn: a push in flight holds one


@dataclass(frozen=True, slots=True)
class Installation:
    """Where everything listens: a socket directory, and ports on 127.0.0.1."""

    socket_dir: str
    simulator: int
    servers: dict[str, int]
    processes: dict[int, subprocess.Popen[bytes]]

    def cpu_s(self, port: int) -> float:
        """Return the processor time that this port's process and children took."""
        pid = self.processes[port].pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        stats = [Path(f"/proc/{one}/stat").read_text() for one in (pid, *children)]
        fields = [stat.rpartition(")")[2].split() for stat in stats]
        ticks = sum(int(one[11]) + int(one[12]) for one in fields)
        return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def databases() -> Iterator[str]:
    """Run PostgreSQL and Redis; point the environment at them; yield the socket dir.

    Everything that is ours and was set outside is taken out of the environment.
    """
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(services.postgres(POSTGRES_OPTIONS))
        redis = stack.enter_context(services.redis()) if services.redis_binary() else ""
        for name in list(os.environ):
            if name.startswith(("MPESA_", "T_", "SMARTDUKA_", "DATABASE_")):
                del os.environ[name]
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "smartduka.settings",
            "SMARTDUKA_ENV_FILE": os.devnull,
            "SECRET_KEY": secrets.token_hex(32),
            "MPESA_ENCRYPTION_KEYS": secrets.token_hex(32),
            "HOOK_SIGNING_KEYS": "",
            "DEBUG": "False",
            "ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": url,
            "DATABASE_POOL_MAX": str(POOL),
            "REDIS_URL": redis,
            "STK_RATE_PER_SHOP": "1000000/m",
            "STK_RATE_PER_PHONE": "1000000/m",
            "STK_RATE_PER_IP": "1000000/m",
            "MPESA_BASE_URL": f"http://127.0.0.1:{services.free_port()}",
            "PYTHONUNBUFFERED": "1",
        }
        yield parse_qs(urlsplit(url).query)["host"][0]


@contextlib.contextmanager
def serving(socket_dir: str) -> Iterator[Installation]:
    """Run both servers and the simulator on the environment's databases."""
    simulator = urlsplit(os.environ["MPESA_BASE_URL"]).port
    assert simulator is not None
    ports = {"daphne": services.free_port(), "gunicorn": services.free_port()}
    commands = {
        simulator: ("payments.simulator", "--port", str(simulator)),
        ports["daphne"]: (
            *("daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(ports["daphne"])),
            "smartduka.asgi:application",
        ),
        ports["gunicorn"]: (
            *("gunicorn", "--bind", f"127.0.0.1:{ports['gunicorn']}"),
            *("--worker-class", "gthread", "--workers", "1"),
            *("--threads", str(THREADS), "--keep-alive", "60"),
            *("--log-level", "error", "--no-control-socket"),
            "smartduka.wsgi:application",
        ),
    }
    processes = {}
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory("-bench")))
        log = scratch / "log"
        output = stack.enter_context(log.open("ab"))
        for port, command in commands.items():
            server = processes[port] = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            stack.callback(services.stop, server, signal.SIGTERM)
            services.wait_until(
                lambda port=port: services.answers(port), server, command[0], log
            )
        yield Installation(socket_dir, simulator, ports, processes)
