"""Whether the secrets in the database open, and with which keys."""

from __future__ import annotations

from django.conf import settings

from payments.doctor.findings import Finding, Who
from payments.enums import Health
from smartduka.lib import resealing


# So many rows are opened: a few seconds at most. `manage.py rotate_keys` opens all.
MOST = 20_000
NAMED = 5
ROTATE = "Run manage.py rotate_keys while everything goes on."


def findings() -> tuple[Finding, ...]:
    """Open what is sealed, and look at the keys that sign addresses."""
    return (sealed(), signing())


def sealed() -> Finding:
    """Whether every secret opens, under the first of MPESA_ENCRYPTION_KEYS alone."""
    survey = resealing.survey(most=MOST)
    old_keys = len(settings.MPESA_ENCRYPTION_KEYS) - 1
    if survey.unreadable:
        listed = "; ".join(survey.unreadable[:NAMED])
        words = f"{len(survey.unreadable)} secrets do not open: {listed}"
        remedy = (
            "Give the key that sealed them in MPESA_ENCRYPTION_KEYS again, or have"
            " their owners enter them anew."
        )
        return _sealed(Health.BROKEN, words, remedy)
    looked = f"Rows with secrets that were opened: {survey.looked_at}"
    if survey.is_cut:
        looked += " (there are more)"
    if survey.stale:
        words = f"{looked}. Still under an old key: {survey.stale}."
        return _sealed(Health.LOOK, words, ROTATE)
    if old_keys:
        words = f"{looked}. All are under the first key; {_keys(old_keys)} left over."
        remedy = f"{ROTATE} Then take what is left over out of MPESA_ENCRYPTION_KEYS."
        return _sealed(Health.LOOK, words, remedy)
    return _sealed(Health.FINE, f"{looked}. All are under the only key.")


def signing() -> Finding:
    """Whether the addresses that M-Pesa knows outlive a change of the keys."""
    name = "Keys that sign M-Pesa's addresses"
    if settings.HOOK_KEYS_ARE_DERIVED:
        words = (
            "They come from MPESA_ENCRYPTION_KEYS. Taking an old key out there would end"
            " the addresses of prompts and requests that are under way. Those of"
            " payments by hand, which M-Pesa registers once, go on."
        )
        remedy = (
            "Run manage.py rotate_keys --print-hook-keys once, and set HOOK_SIGNING_KEYS"
            " to what it prints."
        )
        health = Health.LOOK
        return Finding("signing", name, health, words, remedy, Who.OPERATOR)
    words = f"They have {_keys(len(settings.HOOK_SIGNING_KEYS)).lower()} of their own."
    return Finding("signing", name, Health.FINE, words, who=Who.OPERATOR)


def _keys(count: int) -> str:
    return "1 key" if count == 1 else f"{count} keys"


def _sealed(health: Health, words: str, remedy: str = "") -> Finding:
    name = "Secrets in the database"
    return Finding("encryption", name, health, words, remedy, Who.OPERATOR)
