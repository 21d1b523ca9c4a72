"""A real installation's settings pass Django's own deployment check, and ours."""

import os
import subprocess
import sys
from pathlib import Path

from scripts.check import PRODUCTION


ROOT = Path(__file__).resolve().parents[2]
CHECK = ("check", "--deploy", "--fail-level", "WARNING")
DEPLOYMENT = (
    "shell", "-v0", "-c",
    "from payments.doctor import installation; print(installation.deployment().health)",
)  # fmt: skip


def manage(*command, **more):
    kept = {"PATH": os.environ["PATH"], "DATABASE_URL": "sqlite:///var/deploy.sqlite3"}
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT, env=kept | PRODUCTION | more, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


def test_production_passes_the_deployment_check():
    done = manage(*CHECK)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("System check identified no issues (")


def test_doctor_says_the_same():
    assert manage(*DEPLOYMENT).stdout.split()[-1] == "fine"


def test_check_fails_without_https():
    done = manage(*CHECK, SECURE_SSL_REDIRECT="False")

    assert done.returncode == 1
    assert "security.W008" in done.stderr
    told = manage(*DEPLOYMENT, SECURE_SSL_REDIRECT="False")
    assert told.stdout.split()[-1] == "broken"
