"""Pull Transactions: M-Pesa's own list of what was paid in, read on a schedule.

It has what callbacks and C2B notices lost, for 48 hours, and it is proof. Reading it
twice changes nothing; what it told before costs one look per page. Which zone its
times mean is not documented, so the window is wide and receipts decide (portal
page PullTransaction).
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from payments import accounts, gateways, matching, receipts
from payments.enums import ReceiptState, Source
from payments.gateways.base import GatewayError
from payments.gateways.daraja_organisation import pull_pages
from payments.gateways.organisation import PullRegistration
from payments.models import Collection, MpesaAccount, Payment, Sighting
from payments.notices_pull import PullPage, PullRow
from payments.receipts import Told
from smartduka.lib import clock, later, phone
from smartduka.lib.errors import DomainError
from smartduka.lib.redaction import redacted
from smartduka.lib.transactions import give_back_connection, repeated


logger = logging.getLogger(__name__)

PULL_TASK = "payments.tasks.pull_account"
# M-Pesa keeps its list so long.
KEPT = timedelta(hours=48)
# One reading: a shop that was away for two days is read in several.
STEP = timedelta(hours=12)
# A row may appear later than its time says, and the zone of the window is in doubt.
OVERLAP = timedelta(hours=1)
ZONE_DOUBT = timedelta(hours=3)
# What one step asks for at most; M-Pesa's times have no less than a second.
WHOLE_S = int((STEP + OVERLAP + 2 * ZONE_DOUBT).total_seconds())
LEAST_S = 1
# Two clocks that mean the same moment.
SKEW = timedelta(minutes=5)
# The list is one of payments; should it ever have others, they are no money of ours.
NO_PAYMENT = re.compile(r"revers|b2c|withdraw", re.IGNORECASE)
# Where M-Pesa may post about the list (`hooks.pull`): kept, and nothing is believed.
CALLBACK_PATH = "/hooks/pull"
# Any will do there; elsewhere it is one that M-Pesa has for the account.
SIMULATORS_NUMBER = "254700000000"
TOO_LONG = "M-Pesa's list takes too long to be read at once: it is read in parts."
NOT_BOOKED = "M-Pesa's list could not be booked: the log says why."


class NotRegistered(DomainError):
    """M-Pesa did not take the registration; the reason is in the message."""

    code = "PULL_NOT_REGISTERED"
    message = "M-Pesa did not take the registration."
    http_status = 502

    def __init__(self, message: str, *, may_retry: bool = False) -> None:
        super().__init__(message)
        self.may_retry = may_retry


class NotPullable(DomainError):
    """The account is not registered for its list, or not in use here."""

    code = "PULL_NOT_REGISTERED"
    message = "This account is not registered for M-Pesa's list of payments."
    http_status = 409


class _LeaseLost(Exception):
    """Another reader has taken over: this one was too slow."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one reading brought: rows seen, new ones, rows not understood, why not.

    `is_busy`: somebody else reads the list at this moment.
    """

    rows: int = 0
    new: int = 0
    bad: int = 0
    error: str = ""
    is_busy: bool = False

    def __add__(self, other: Pulled) -> Pulled:
        return Pulled(
            self.rows + other.rows,
            self.new + other.new,
            self.bad + other.bad,
            other.error or self.error,
            self.is_busy or other.is_busy,
        )


def register(account: MpesaAccount, nominated_number: str) -> bool:
    """Ask M-Pesa once that payments of this account may be pulled; False: it could.

    `nominated_number` is a Safaricom number of the account's KYC, in any spelling.
    Raises NotRegistered, InvalidPhone, and NotConfigured. Call outside any
    transaction.
    """
    if not account.is_active or account.environment != settings.MPESA_ENV:
        raise accounts.NotConfigured("This account is not in use here.")
    number = phone.parse(nominated_number)
    credentials = accounts.credentials(account)
    give_back_connection()
    try:
        answer = gateways.organisation().register_pull(
            credentials,
            PullRegistration(number, settings.MPESA_CALLBACK_URL + CALLBACK_PATH),
            limit_s=settings.PUSH_READ_TIMEOUT_S,
        )
    except GatewayError as error:
        logger.info("pull of %s not registered: %s", account, error)
        raise NotRegistered(_in_words(error), may_retry=error.may_retry) from error
    MpesaAccount.objects.filter(pk=account.pk, pull_registered_at=None).update(
        pull_registered_at=clock.now()
    )
    return not answer.already


def register_with_simulator(account: MpesaAccount) -> bool:
    """Register an account with the simulator; False if that may be tried again.

    It forgets whatever it knew when it ends. Does nothing in any other environment.
    """
    if settings.MPESA_ENV != "simulator":
        return True
    try:
        register(account, SIMULATORS_NUMBER)
    except NotRegistered as error:
        return not error.may_retry
    except accounts.NotConfigured:
        return True
    return True


def hand_out() -> int:
    """Have each registered account's list read by a worker; return how many."""
    ids = list(registered().values_list("pk", flat=True))
    for account_id in ids:
        later.enqueue(PULL_TASK, str(account_id))
    return len(ids)


def pull(account_id: uuid.UUID | str) -> Pulled:
    """Read an account's list up to now, for a worker: what is left is handed out.

    One reader per account at a time; the other one gets an empty answer. Call outside
    any transaction. Never raises: why not is in the answer and on the account.
    """
    account = registered().filter(pk=account_id).first()
    if account is None:
        return Pulled()
    until = time.monotonic() + settings.TASK_TIMEOUT_S / 2
    pulled, is_done = _read(account, until)
    if not is_done:
        later.enqueue(PULL_TASK, str(account.pk))
    return pulled


def pull_now(account: MpesaAccount) -> Pulled:
    """Read an account's list up to now, because a person wants to know.

    Raises NotPullable. Else as `pull`.
    """
    found = registered().filter(pk=account.pk).first()
    if found is None:
        raise NotPullable
    return _read(found, None)[0]


def pull_all_now() -> Pulled:
    """Read the lists of all accounts up to now, one after the other."""
    read = [_read(account, None)[0] for account in registered()]
    return sum(read, Pulled())


def registered() -> QuerySet[MpesaAccount]:
    """The accounts whose lists may be read; old ones too, as long as they are asked."""
    return MpesaAccount.objects.filter(
        pull_registered_at__isnull=False, environment=settings.MPESA_ENV
    ).order_by("created_at", "pk")


def _read(account: MpesaAccount, until: float | None) -> tuple[Pulled, bool]:
    """Read step by step, until `until` (monotonic s); say whether nothing is left."""
    lease = _Lease(account)
    if not lease.take():
        return Pulled(is_busy=True), True
    pulled, is_done = Pulled(), False
    try:
        account.refresh_from_db(
            fields=[
                *("pulled_until", "pull_part_until", "pull_part_began", "pull_part_s")
            ]
        )
        while not is_done and not _is_over(until):
            step, is_done = _step(account, lease, until)
            pulled += step
    except _LeaseLost:
        return pulled + Pulled(is_busy=True), True
    except GatewayError as error:
        logger.warning("account %s could not be pulled: %s", account.pk, error)
        pulled, is_done = pulled + Pulled(error=_in_words(error)), True
    except accounts.NotConfigured as error:
        pulled, is_done = pulled + Pulled(error=error.message), True
    except Exception:
        logger.exception("the list of account %s could not be booked", account.pk)
        pulled, is_done = pulled + Pulled(error=NOT_BOOKED), True
    lease.give_back(pulled.error[:200])
    return pulled, is_done


def _step(
    account: MpesaAccount, lease: _Lease, until: float | None
) -> tuple[Pulled, bool]:
    """Read one window, and advance when all its pages were read.

    A window that takes too long is read in parts, each written down when all its pages
    were read. One that was not is halved, one that was doubles the next. Parts and not
    pages, for nobody says in which order rows come, and new ones come meanwhile. So a
    window ends when its first part was begun, however much later its last one is read:
    what was paid since is in the next window.
    """
    now = clock.now()
    oldest = now - KEPT
    reached = max(account.pulled_until or oldest, oldest)
    began = max(account.pull_part_began or now, oldest)
    end = min(reached + STEP, began)
    part_s = account.pull_part_s or WHOLE_S
    part_until = account.pull_part_until if account.pull_part_began else None
    start = max(part_until or reached - OVERLAP - ZONE_DOUBT, oldest)
    stop = min(start + timedelta(seconds=part_s), end + ZONE_DOUBT)
    pulled, is_whole = _read_pages(account, lease, start, stop, until)
    if not is_whole:
        length_s = int((stop - start).total_seconds())
        lease.keep(pull_part_s=max(length_s // 2, LEAST_S))
        # Shorter than that it does not get: the clock tries again, no task does.
        return pulled + Pulled(error=TOO_LONG), length_s <= LEAST_S
    if pulled.bad:
        logger.error("%s rows of the list of %s not read", pulled.bad, account.pk)
        rows = "1 row" if pulled.bad == 1 else f"{pulled.bad} rows"
        pulled += Pulled(error=f"{rows} of M-Pesa's list could not be read.")
    longer_s = part_s * 2 if part_s * 2 < WHOLE_S else None
    if stop < end + ZONE_DOUBT:
        lease.keep(pull_part_until=stop, pull_part_began=began, pull_part_s=longer_s)
        return pulled, False
    lease.keep(
        pulled_until=end, pull_part_until=None, pull_part_began=None,
        pull_part_s=longer_s,
    )  # fmt: skip
    # A person wants all up to now; a worker leaves what was paid since to the clock, or
    # a list that always takes parts would never let go of it.
    return pulled, end >= (now if until is None else began)


def _read_pages(
    account: MpesaAccount,
    lease: _Lease,
    start: datetime,
    stop: datetime,
    until: float | None,
) -> tuple[Pulled, bool]:
    """Book what the list has between two moments; say whether that was all of it."""
    credentials = accounts.credentials(account)
    give_back_connection()
    pages = pull_pages(
        gateways.organisation(),
        credentials,
        start,
        stop,
        limit_s=settings.PUSH_READ_TIMEOUT_S,
    )
    pulled = Pulled()
    for page in pages:
        lease.keep()
        new, skipped = _book(account, page)
        pulled += Pulled(len(page.rows), new, len(page.bad) + skipped)
        if _is_over(until):
            return pulled, False
        give_back_connection()
    return pulled, True


def _is_over(until: float | None) -> bool:
    return until is not None and time.monotonic() >= until


class _Lease:
    """One reader's right to an account's list, kept by conditional updates."""

    def __init__(self, account: MpesaAccount) -> None:
        self._account = account
        self._until: datetime | None = None

    def take(self) -> bool:
        now = clock.now()
        free = Q(pull_leased_until__isnull=True) | Q(pull_leased_until__lte=now)
        self._until = now + clock.seconds(settings.PULL_LEASE_S)
        return bool(
            MpesaAccount.objects.filter(free, pk=self._account.pk).update(
                pull_leased_until=self._until
            )
        )

    def keep(self, **facts: Any) -> None:
        """Keep it for another while, and how far the list was read. Raises _LeaseLost."""
        leased_until = clock.now() + clock.seconds(settings.PULL_LEASE_S)
        if self._mine().update(pull_leased_until=leased_until, **facts) != 1:
            raise _LeaseLost
        self._until = leased_until
        for name, value in facts.items():
            setattr(self._account, name, value)

    def give_back(self, error: str) -> None:
        self._mine().update(pull_leased_until=None, pull_error=error)

    def _mine(self) -> QuerySet[MpesaAccount]:
        return MpesaAccount.objects.filter(
            pk=self._account.pk, pull_leased_until=self._until
        )


def _book(account: MpesaAccount, page: PullPage) -> tuple[int, int]:
    """Book what the list had not told before; return how many, and how many are none.

    All of a page is told first: which payment a receipt is for may depend on others.
    """
    numbers = [row.receipt for row in page.rows]
    told = set(
        Sighting.objects.filter(
            receipt__account=account, receipt__number__in=numbers, source=Source.PULL
        ).values_list("receipt__number", "amount")
    )
    paid = [row for row in page.rows if not NO_PAYMENT.search(row.type)]
    fresh = [row for row in paid if (row.receipt, row.amount) not in told]
    zone = _zone(account, page.rows)
    receipt_ids = [_sight(account, row, _moment(row, zone)) for row in fresh]
    held = [pk for pk in receipt_ids if matching.look(pk) == ReceiptState.HELD]
    for receipt_id in held:
        matching.look(receipt_id)
    return len(fresh), len(page.rows) - len(paid)


@repeated
def _sight(account: MpesaAccount, row: PullRow, paid_at: datetime | None) -> int:
    with transaction.atomic(durable=True):
        receipt = receipts.sight(
            account,
            Told(
                number=row.receipt,
                amount=row.amount,
                payer=row.msisdn,
                payer_name=row.sender,
                reference=row.reference,
                paid_at=paid_at,
            ),
            Source.PULL,
        )
    return receipt.pk


def _zone(account: MpesaAccount, rows: Iterable[PullRow]) -> int | None:
    """Say which of a row's two moments M-Pesa means: 0, 1, or None if nothing tells.

    Other sources know the time of some receipts, or a prompt was sent just then whose
    receipt is missing; and a moment that lies ahead of our clock was not meant.
    """
    stamped_rows = [row for row in rows if len(row.times) == 2]
    stamped = {row.receipt: row.times for row in stamped_rows}
    numbers = list(stamped)
    sighted = Sighting.objects.filter(
        receipt__account=account,
        receipt__number__in=numbers,
        source__in=(Source.C2B, Source.STATUS, Source.STATEMENT),
    )
    called_back = Collection.objects.filter(
        account=account, receipt__in=numbers, source=Source.CALLBACK
    )
    votes: Counter[int] = Counter()
    for number, paid_at in (
        *sighted.values_list("receipt__number", "paid_at"),
        *called_back.values_list("receipt", "paid_at"),
    ):
        if number is None or paid_at is None:
            continue
        for place, moment in enumerate(stamped[number]):
            votes[place] += abs(moment - paid_at) <= SKEW
    if votes[0] == votes[1]:
        votes = _told_by_prompts(account, stamped_rows)
    if votes[0] != votes[1]:
        return 0 if votes[0] > votes[1] else 1
    latest = clock.now() + SKEW
    return 0 if any(times[1] > latest for times in stamped.values()) else None


def _told_by_prompts(account: MpesaAccount, rows: list[PullRow]) -> Counter[int]:
    """Count the rows that are a proved prompt's of that amount, sent just before."""
    votes: Counter[int] = Counter()
    if not rows:
        return votes
    moments = [moment for row in rows for moment in row.times]
    prompts = list(
        Payment.objects.filter(
            receipts.without_receipt(),
            account=account,
            created_at__gte=min(moments) - SKEW,
            created_at__lte=max(moments) + SKEW,
        ).values_list("amount", "created_at")
    )
    for row in rows:
        for place, moment in enumerate(row.times):
            votes[place] += any(
                amount == row.amount and abs(moment - sent_at) <= SKEW
                for amount, sent_at in prompts
            )
    return votes


def _moment(row: PullRow, zone: int | None) -> datetime | None:
    """When it was paid; None if nobody can say and the row is young.

    For a young one the moment when we saw it serves. An old one is taken at its word,
    for then that would be further from the truth.
    """
    if len(row.times) != 2:
        return None
    if zone is not None:
        return row.times[zone]
    is_old = clock.now() - row.times[1] > clock.seconds(settings.RECEIPT_WINDOW_S)
    return row.times[1] if is_old else None


def _in_words(error: GatewayError) -> str:
    said = redacted(str(error))
    if not error.certain:
        return f"M-Pesa did not answer as it should: {said}."
    if error.may_retry:
        return f"M-Pesa could not be reached or is busy: {said}."
    return f"M-Pesa refused: {said}."
