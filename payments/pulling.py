"""Pull Transactions: M-Pesa's own list of what was paid in, read on a schedule.

It has what callbacks and C2B notices lost, for 48 hours, and it is proof. Reading it
twice changes nothing; what it told before costs one look per page. Times are matched
by nobody: which zone the list means is not documented, so the window is wide and
receipts decide (daraja dossier section 8).
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from payments import accounts, gateways, matching, payer, receipts
from payments.enums import Source
from payments.gateways.base import GatewayError
from payments.gateways.daraja_organisation import pull_pages
from payments.gateways.organisation import PullRegistration
from payments.models import MpesaAccount, Sighting
from payments.notices_pull import PullPage, PullRow
from payments.receipts import Told
from smartduka.lib import clock, later
from smartduka.lib.errors import DomainError
from smartduka.lib.transactions import give_back_connection


logger = logging.getLogger(__name__)

PULL_TASK = "payments.tasks.pull_account"
# M-Pesa keeps its list so long.
KEPT = timedelta(hours=48)
# A row may appear later than its time says, and the zone of the window is in doubt.
OVERLAP = timedelta(hours=1)
ZONE_DOUBT = timedelta(hours=3)
# A row's time may lie so far ahead of our clock.
SKEW = timedelta(minutes=5)


class NotRegistered(DomainError):
    """M-Pesa did not take the registration; the reason is in the message."""

    code = "PULL_NOT_REGISTERED"
    message = "M-Pesa did not take the registration."
    http_status = 502


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one reading brought: rows seen, new ones, rows not understood, why not."""

    rows: int = 0
    new: int = 0
    bad: int = 0
    error: str = ""


def register(account: MpesaAccount, nominated_number: str) -> None:
    """Ask M-Pesa once that payments of this account may be pulled.

    `nominated_number` is a Safaricom number of the account's KYC, in any spelling.
    "Registered before" is fine. Raises NotRegistered, InvalidPhone, and NotConfigured.
    Call outside any transaction.
    """
    credentials = accounts.credentials(account)
    number = payer.full_number(nominated_number)
    if not number:
        raise NotRegistered("Give a Safaricom number that is in the account's KYC.")
    give_back_connection()
    try:
        gateways.organisation().register_pull(
            credentials,
            PullRegistration(number, settings.MPESA_CALLBACK_URL),
            limit_s=settings.PUSH_READ_TIMEOUT_S,
        )
    except GatewayError as error:
        raise NotRegistered(f"M-Pesa did not take it: {error}") from error
    MpesaAccount.objects.filter(pk=account.pk).update(pull_registered_at=clock.now())


def hand_out() -> int:
    """Have each registered account's list read by a worker; return how many."""
    ids = registered()
    for account_id in ids:
        later.enqueue(PULL_TASK, str(account_id))
    return len(ids)


def registered() -> list[uuid.UUID]:
    """The accounts whose lists M-Pesa lets us read."""
    return list(_registered().values_list("pk", flat=True))


def pull(account_id: object) -> Pulled:
    """Read an account's list since the last complete reading, and book what is new.

    One reader per account at a time: the other one gets an empty answer. What was
    read stays read when a later page fails; then the next reading begins where this
    one did. Call outside any transaction. Never raises what M-Pesa answers.
    """
    account = _registered().filter(pk=account_id).first()
    if account is None or not _lease(account):
        return Pulled()
    began = clock.now()
    since = max(account.pulled_until or began - KEPT, began - KEPT) - OVERLAP
    try:
        pulled = _read(account, since - ZONE_DOUBT, began + ZONE_DOUBT)
    except (GatewayError, accounts.NotConfigured) as error:
        logger.warning("account %s could not be pulled: %s", account.pk, error)
        pulled = Pulled(error=str(error)[:200])
    facts: dict[str, Any] = {"pull_error": pulled.error, "pull_leased_until": None}
    if not pulled.error:
        facts["pulled_until"] = began
    MpesaAccount.objects.filter(pk=account.pk).update(**facts)
    return pulled


def _registered() -> Any:
    return MpesaAccount.objects.filter(
        pull_registered_at__isnull=False, environment=settings.MPESA_ENV
    )


def _lease(account: MpesaAccount) -> bool:
    """Claim the account's reading by a conditional update; False if another has it."""
    now = clock.now()
    free = Q(pull_leased_until__isnull=True) | Q(pull_leased_until__lte=now)
    return bool(
        MpesaAccount.objects.filter(free, pk=account.pk).update(
            pull_leased_until=now + clock.seconds(settings.PULL_LEASE_S)
        )
    )


def _read(account: MpesaAccount, start: datetime, end: datetime) -> Pulled:
    credentials = accounts.credentials(account)
    give_back_connection()
    pages = pull_pages(
        gateways.organisation(),
        credentials,
        start,
        end,
        limit_s=settings.PUSH_READ_TIMEOUT_S,
    )
    rows = new = bad = 0
    for page in pages:
        rows += len(page.rows)
        bad += len(page.bad)
        new += _book(account, page)
        give_back_connection()
    return Pulled(rows, new, bad)


def _book(account: MpesaAccount, page: PullPage) -> int:
    """Book the rows of a page that the list had not told before; return how many."""
    told = set(
        Sighting.objects.filter(
            receipt__account=account,
            receipt__number__in=[row.receipt for row in page.rows],
            source=Source.PULL,
        ).values_list("receipt__number", "amount")
    )
    fresh = [row for row in page.rows if (row.receipt, row.amount) not in told]
    for row in fresh:
        with transaction.atomic(durable=True):
            receipt = receipts.sight(
                account,
                Told(
                    number=row.receipt,
                    amount=row.amount,
                    payer=row.msisdn,
                    payer_name=row.sender,
                    reference=row.reference,
                    paid_at=_moment(row),
                ),
                Source.PULL,
            )
        matching.look(receipt.pk)
    return len(fresh)


def _moment(row: PullRow) -> datetime | None:
    """When it was paid, if only one of the two moments it may mean can be.

    The later one lies in the future for what was paid in the last three hours; for an
    older row nobody can tell, and the receipt's other sources know.
    """
    possible = [at for at in row.times if at <= clock.now() + SKEW]
    return possible[0] if len(possible) == 1 else None
