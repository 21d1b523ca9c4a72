"""Processes of the installation itself, on the database of the running test.

For tests with transaction=True: what the test commits, the process sees.
"""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from django.conf import settings


ROOT = Path(__file__).resolve().parent.parent.parent


def database_url() -> str:
    """Return the address of the test's own database."""
    database = settings.DATABASES["default"]
    name = str(database["NAME"])
    if not settings.ON_POSTGRESQL:
        return f"sqlite:///{name}"
    user, password = quote(database["USER"]), quote(database["PASSWORD"])
    login = f"{user}:{password}" if password else user
    host, port = database["HOST"], database["PORT"]
    if host.startswith("/"):
        return f"postgresql://{login}@/{name}?host={host}"
    return f"postgresql://{login}@{host}:{port or 5432}/{name}"


def environment(**values: object) -> dict[str, str]:
    """Return an environment for our processes: that of the tests, and these."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.support.process_settings",
        "DATABASE_URL": database_url(),
        "PYTHONUNBUFFERED": "1",
        **{name: str(value) for name, value in values.items()},
    }


def start(*command: str, log: Path, **values: object) -> subprocess.Popen[bytes]:
    """Start our Python with these arguments in the project; output goes to the log."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment(**values),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
