"""Run every check that needs no database, and say at the end which ones failed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Check:
    """A command, and what it needs in its environment."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


PYTHON = sys.executable
# As a real installation would be; the values are worth nothing.
PRODUCTION = {
    "SMARTDUKA_ENV_FILE": os.devnull,
    "MPESA_ENV": "production",
    "SECRET_KEY": "only to check the deployment settings, 0123456789 abcdef",
    "MPESA_ENCRYPTION_KEYS": "ab" * 32,
    "ALLOWED_HOSTS": "duka.example.co.ke",
    "CSRF_TRUSTED_ORIGINS": "https://duka.example.co.ke",
    "MPESA_CALLBACK_URL": "https://duka.example.co.ke",
    "TRUSTED_PROXY_COUNT": "1",
}
TESTS = {"DJANGO_SETTINGS_MODULE": "tests.settings"}

CHECKS = (
    Check("format", (PYTHON, "-m", "ruff", "format", "--check", "--quiet", ".")),
    Check("lint", (PYTHON, "-m", "ruff", "check", "--quiet", ".")),
    Check("types", (PYTHON, "-m", "mypy", ".")),
    Check(
        "migrations",
        (PYTHON, "manage.py", "makemigrations", "--check", "--dry-run"),
        TESTS,
    ),
    Check(
        "deployment",
        (PYTHON, "manage.py", "check", "--deploy", "--fail-level", "WARNING"),
        PRODUCTION,
    ),
    Check(
        "architecture",
        (PYTHON, "-m", "pytest", "--quiet", "tests/test_architecture.py"),
    ),
)


def main() -> int:
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        for check in CHECKS:
            print(f"--- {check.name}", flush=True)
            environment = {
                **{k: v for k, v in os.environ.items() if not is_ours(k)},
                "DATABASE_URL": f"sqlite:///{scratch}/checks.sqlite3",
                **check.environment,
            }
            if subprocess.run(check.command, env=environment, check=False).returncode:
                failed.append(check.name)
    print("All checks passed." if not failed else f"Failed: {', '.join(failed)}.")
    return 1 if failed else 0


def is_ours(name: str) -> bool:
    """Say whether the caller's variable could change what a check sees."""
    return name.startswith("MPESA_") or name in {*PRODUCTION, "DEBUG", "REDIS_URL"}


if __name__ == "__main__":
    sys.exit(main())
