"""An examination: every check once, each on its own, and the result kept.

M-Pesa and our own public address are called, so never inside a transaction; a person
or a command begins it, nothing else. A check that breaks says so, and hides no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet

from payments import accounts
from payments.doctor import account as account_checks
from payments.doctor import (
    address,
    installation,
    machinery,
    messages,
    mpesa,
    proxies,
    safekeeping,
)
from payments.doctor.findings import Finding, Report, Who, restored
from payments.doctor.proxies import Seen
from payments.enums import Health
from payments.models import Examination, MpesaAccount, MpesaSettings
from shops.models import Shop
from smartduka.lib import clock
from smartduka.lib.transactions import give_back_connection, require_no_transaction


logger = logging.getLogger(__name__)

Check = Callable[[], Finding | tuple[Finding, ...]]
# What every account needs, and an owner should know of; the rest is the operator's.
COMMON = frozenset(
    {"mpesa", "clock", "address", "reach", "worker", "sweep", "machinery"}
)
# A button that is pressed twice asks M-Pesa once.
LEAST_GAP = timedelta(seconds=10)


def examine_account(
    account: MpesaAccount, *, by: Any = None, common: Report | None = None
) -> Report:
    """Look at all that this account needs, keep what was found, and return it.

    `common` is a report that has what is the same for all accounts, made just now.
    Takes seconds, and at most about half a minute. Call outside any transaction.
    """
    own = _examined(
        ("account", partial(account_checks.findings, account)),
        ("messages", partial(messages.findings, account)),
    )
    if common is None:
        common = _examined(*_common())
    shared = (one for one in common.findings if one.key in COMMON)
    report = Report((*own.findings, *shared))
    _keep(str(account.pk), account, report, by)
    return report


def examine_installation(*, by: Any = None, came: Seen | None = None) -> Report:
    """Look at all that every account needs, keep what was found, and return it.

    `came` is how the request of the person who asked came in. Call outside any
    transaction.
    """
    report = _examined(
        ("settings", installation.findings),
        *_common(),
        ("proxies", partial(proxies.finding, came)),
        ("safekeeping", safekeeping.findings),
    )
    _keep(Examination.INSTALLATION, None, report, by)
    return report


def no_account(shop: Shop) -> Report:
    """What there is to say of a shop that has no account to look at."""
    try:
        accounts.account_of(shop)
        words = "The shop has no account of its own."
    except accounts.NotConfigured as error:
        words = error.message
    remedy = account_checks.SETTINGS + "Enter the shop's own, or choose the platform's."
    return Report((Finding("used", "In use", Health.BROKEN, words, remedy),))


def report_of(examination: Examination) -> Report:
    """Return what an examination found."""
    return restored(examination.findings)


def was_just_made(subject: str) -> bool:
    """Whether the last examination is only seconds old."""
    since = clock.now() - LEAST_GAP
    rows = Examination.objects.filter(subject=subject, examined_at__gt=since)
    return rows.exists()


def living_accounts() -> QuerySet[MpesaAccount]:
    """The accounts that matter: of this environment, or chosen by a shop."""
    chosen = MpesaSettings.objects.exclude(account=None).values("account")
    here = Q(environment=settings.MPESA_ENV, is_active=True)
    rows = MpesaAccount.objects.filter(here | Q(pk__in=chosen))
    return rows.select_related("shop").order_by("created_at", "pk")


def _common() -> tuple[tuple[str, Check], ...]:
    return (
        ("mpesa", mpesa.findings),
        ("address", address.rules),
        ("reach", address.reach),
        ("machinery", machinery.findings),
    )


def _examined(*checks: tuple[str, Check]) -> Report:
    require_no_transaction()
    found: list[Finding] = []
    for name, check in checks:
        found.extend(_made(name, check))
        give_back_connection()
    return Report(tuple(found))


def _made(name: str, check: Check) -> Iterable[Finding]:
    try:
        made = check()
    except Exception as error:
        logger.exception("the doctor could not look at %s", name)
        words = f"This could not be looked at ({type(error).__name__}): see the log."
        return (Finding(name, name.title(), Health.UNKNOWN, words, who=Who.OPERATOR),)
    return made if isinstance(made, tuple) else (made,)


def _keep(subject: str, account: MpesaAccount | None, report: Report, by: Any) -> None:
    Examination.objects.update_or_create(
        subject=subject,
        defaults={
            "account": account,
            "health": report.health,
            "findings": report.stored(),
            "examined_at": clock.now(),
            "examined_by": by,
        },
    )
