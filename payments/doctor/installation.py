"""How the installation itself is set up: for its operator."""

from __future__ import annotations

from django.conf import settings
from django.core import checks
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from payments.doctor.findings import Finding, Who
from payments.enums import Health


BACKUPS = (
    "Nobody can see from here whether there are any, and whether one can be restored."
)
BACKUPS_REMEDY = (
    "Copy the database each night to another place, with the keys of the environment"
    " kept apart from it, and try once a month to restore it on another machine."
)
NAMED = 5


def findings() -> tuple[Finding, ...]:
    """Look at the settings and the tables."""
    return (mode(), callers(), deployment(), tables(), backups())


def mode() -> Finding:
    """Whether real money moves at all."""
    words = {
        "production": "Real money moves here.",
        "sandbox": "M-Pesa's sandbox: no real money moves here.",
        "simulator": "Practice mode: no real money moves here.",
    }[settings.MPESA_ENV]
    if settings.MPESA_ENV == "production":
        return _finding("mode", "Real money", Health.FINE, words)
    remedy = "To go live set MPESA_ENV=production, and the settings that it asks for."
    return _finding("mode", "Real money", Health.LOOK, words, remedy)


def callers() -> Finding:
    """Whether messages from foreign addresses are doubted."""
    name, now = "Who may bring messages", settings.MPESA_CALLBACK_IP_MODE
    if settings.MPESA_ENV != "production":
        words = f"Addresses of callers: {now}. That is right while practising."
        return _finding("callers", name, Health.FINE, words)
    if now == "enforce":
        words = "What does not come from Safaricom's addresses is doubted, and asked."
        return _finding("callers", name, Health.FINE, words)
    words = f"MPESA_CALLBACK_IP_MODE is {now}: anybody's message is taken for M-Pesa's."
    return _finding(
        "callers", name, Health.LOOK, words, "Set it to enforce, which is the default."
    )


def deployment() -> Finding:
    """What `manage.py check --deploy` says."""
    name = "Settings for the open internet"
    found = checks.run_checks(include_deployment_checks=True)
    serious = [
        one
        for one in found
        if one.level >= checks.WARNING and one.id not in settings.SILENCED_SYSTEM_CHECKS
    ]
    if not serious:
        words = "DEBUG is off, and manage.py check --deploy finds nothing."
        return _finding("deploy", name, Health.FINE, words)
    listed = ", ".join(str(one.id) for one in serious[:NAMED])
    words = f"manage.py check --deploy finds {len(serious)}: {listed}."
    if settings.DEBUG:
        words = f"DEBUG is on: errors show what nobody should see. {words}"
    is_live = settings.MPESA_ENV == "production"
    is_error = any(one.level >= checks.ERROR for one in serious)
    health = Health.BROKEN if is_live or is_error else Health.LOOK
    remedy = "Run manage.py check --deploy: it says what each of them wants."
    return _finding("deploy", name, health, words, remedy)


def tables() -> Finding:
    """Whether the database has the tables of this version."""
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        words = f"{len(missing)} migrations were not applied to the database."
        return _finding(
            "tables", "Tables", Health.BROKEN, words, "Run manage.py migrate."
        )
    words = "The database has the tables of this version."
    return _finding("tables", "Tables", Health.FINE, words)


def backups() -> Finding:
    """What nobody can know from here."""
    name = "Copies of the database"
    return _finding("backups", name, Health.UNKNOWN, BACKUPS, BACKUPS_REMEDY)


def _finding(
    key: str, name: str, health: Health, words: str, remedy: str = ""
) -> Finding:
    return Finding(key, name, health, words, remedy, Who.OPERATOR)
