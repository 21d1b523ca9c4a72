"""How the installation is set up."""

import pytest
from django.core import checks

from payments.doctor import installation
from tests.payments.doctor.conftest import BROKEN, FINE, LOOK, UNKNOWN, state


pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("environment", "health"),
    [("production", FINE), ("sandbox", LOOK), ("simulator", LOOK)],
)
def test_environment_is_told(settings, environment, health):
    settings.MPESA_ENV = environment

    assert state(installation.mode()) == health


@pytest.mark.parametrize(
    ("environment", "mode", "health"),
    [
        ("production", "enforce", FINE), ("production", "log", LOOK),
        ("simulator", "off", FINE),
    ],
)  # fmt: skip
def test_callers_are_doubted_in_production(settings, environment, mode, health):
    settings.MPESA_ENV, settings.MPESA_CALLBACK_IP_MODE = environment, mode

    assert state(installation.callers()) == health


def test_what_the_deployment_check_says_is_told(settings, monkeypatch):
    said = []
    monkeypatch.setattr(checks, "run_checks", lambda **kwargs: said)
    assert state(installation.deployment()) == FINE

    said.append(checks.Warning("x", id="security.W004"))
    assert state(installation.deployment()) == LOOK
    settings.MPESA_ENV = "production"
    assert state(installation.deployment()) == BROKEN
    settings.SILENCED_SYSTEM_CHECKS = ["security.W004"]
    assert state(installation.deployment()) == FINE


def test_debug_is_named(settings):
    settings.DEBUG = True

    assert "security.W018" in installation.deployment().words
    assert installation.deployment().words.startswith("DEBUG is on")


def test_tables_of_this_version_must_be_there(monkeypatch):
    assert state(installation.tables()) == FINE
    monkeypatch.setattr(
        installation.MigrationExecutor, "migration_plan", lambda *a: [("x", False)]
    )
    assert state(installation.tables()) == BROKEN


def test_copies_can_never_be_known():
    assert state(installation.backups()) == UNKNOWN
