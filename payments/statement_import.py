"""Importing M-Pesa's organisation statement: the last source of truth.

A file is kept as it came, before it is believed, and booked by a worker in turns: a
large one takes minutes, and nobody waits for it in a web request. Only customers'
payments paid in make or fill collections; whatever else moved is account movements. The
same file again finishes what broke off and changes nothing else.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from payments import disputes, statement_booking, statements
from payments.enums import ImportStage
from payments.models import (
    Collection,
    MpesaAccount,
    Receipt,
    StatementFile,
    StatementImport,
)
from payments.spreadsheets import UnreadableFile
from payments.statements import Statement
from smartduka.lib import clock, later
from smartduka.lib.errors import DomainError
from smartduka.lib.transactions import repeated


logger = logging.getLogger(__name__)

IMPORT_TASK = "payments.tasks.import_statement"
# Of a file without an account's number, so many payments are looked up.
LOOKED_UP = 500
BROKE_OFF = "The import broke off again and again: the log says why."


class NotThisAccount(DomainError):
    """The statement is another account's, or does not fit this one."""

    code = "STATEMENT_OF_ANOTHER_ACCOUNT"
    message = "This statement is of another account. Nothing was imported."
    http_status = 409


class _LeaseLost(Exception):
    """Another worker has taken over: this one was too slow."""


@dataclass(frozen=True, slots=True)
class Received:
    """A file that is kept. `is_new`: these bytes were never uploaded before."""

    row: StatementImport
    is_new: bool


def receive(
    *, account: MpesaAccount, data: bytes, file_name: str, actor: Any
) -> Received:
    """Keep a statement, and have a worker import it.

    What can be seen at a glance is checked: raises UnreadableFile and NotThisAccount,
    and then nothing is kept. The same file again is its first import, tried once more
    if that had stopped. Opens a transaction.
    """
    _require_account(statements.glance(data), account)
    return _kept(account, data, file_name, actor, now_due=True)


def imported(
    *, account: MpesaAccount, data: bytes, file_name: str, actor: Any
) -> StatementImport:
    """Import a statement at once, however long that takes; return what came of it.

    As `receive` and a worker would. Raises UnreadableFile and NotThisAccount: then
    nothing was imported. Call outside any transaction.
    """
    statement = statements.parse(data)
    _require_account(statement, account)
    row = _kept(account, data, file_name, actor, now_due=False).row
    if row.finished_at is None:
        statement_booking.book(row, statement, lambda stage, reached: True)
    return row


def attend(import_id: int) -> None:
    """Go on with an import, for a worker; what is left is handed out.

    One worker at a time holds its lease; another one does nothing, and the lease of
    one that died lapses. Call outside any transaction. Never raises: why not is on
    the import.
    """
    until = time.monotonic() + settings.TASK_TIMEOUT_S / 2
    lease = _Lease.taken(import_id, until)
    if lease is None:
        return
    try:
        is_done = _work(lease)
    except _LeaseLost:
        logger.warning("import %s was taken over", import_id)
    except (UnreadableFile, NotThisAccount) as refusal:
        lease.stop(refusal.message)
    except Exception:
        logger.exception("import %s broke off", import_id)
        lease.fail()
    else:
        if not is_done:
            lease.hand_on()


def try_again(row: StatementImport) -> bool:
    """Have an import that stopped tried once more; False if there is nothing to try.

    Opens a transaction.
    """
    with transaction.atomic(durable=True):
        found = _stopped().filter(pk=row.pk, file__isnull=False)
        changed = found.update(next_try_at=clock.now(), attempts=0, error="")
        if changed:
            later.enqueue(IMPORT_TASK, row.pk)
    return bool(changed)


def hand_out() -> int:
    """Hand out the imports that no worker is at: one died, or its task was lost."""
    rows = StatementImport.objects.filter(next_try_at__lte=clock.now())
    ids = list(rows.order_by("next_try_at").values_list("pk", flat=True))
    for import_id in ids[: settings.SWEEP_LIMIT]:
        later.enqueue(IMPORT_TASK, import_id)
    return len(ids)


def catch_up() -> None:
    """Do what imports of some days ago could not: their receipts were held then.

    For every account with statements. Call outside any transaction.
    """
    with_statements = StatementImport.objects.filter(account=OuterRef("pk"))
    for account in MpesaAccount.objects.filter(
        Exists(with_statements), environment=settings.MPESA_ENV
    ):
        for _ in statement_booking.prove_reversals(account):
            pass
        disputes.review(account)


def _work(lease: _Lease) -> bool:
    row = lease.row
    body = StatementFile.objects.values_list("body", flat=True).get(statement=row)
    statement = statements.parse(bytes(body))
    if row.stage == ImportStage.NEW:
        _require_account(statement, row.account)
    return statement_booking.book(row, statement, lease.goes_on)


def _require_account(statement: Statement, account: MpesaAccount) -> None:
    """Raise NotThisAccount for a file of another account, if it can be told."""
    if account.environment != settings.MPESA_ENV:
        raise NotThisAccount(
            "This account is of another environment. Nothing was imported."
        )
    numbers = {account.shortcode, account.party_b}
    if statement.shortcode and statement.shortcode not in numbers:
        raise NotThisAccount(
            f"This statement is of {statement.shortcode}, not of"
            f" {account.get_type_display()} {account.party_b}. Nothing was imported."
        )
    if statement.shortcode:
        return
    # A receipt number is one of the whole of M-Pesa.
    told = [row.receipt for row in statement.payments[:LOOKED_UP]]
    others = Q(account__environment=account.environment) & ~Q(account=account)
    if (
        Receipt.objects.filter(others, number__in=told).exists()
        or Collection.objects.filter(others, receipt__in=told).exists()
    ):
        raise NotThisAccount(
            "Payments of this statement went to another account. Nothing was imported."
        )


def _stopped() -> QuerySet[StatementImport]:
    return StatementImport.objects.filter(
        finished_at__isnull=True, next_try_at__isnull=True
    )


@repeated
def _kept(
    account: MpesaAccount, data: bytes, file_name: str, actor: Any, *, now_due: bool
) -> Received:
    """Commit a file, born due: the sweep has it if whoever imports it dies."""
    now = clock.now()
    due = now if now_due else now + clock.seconds(settings.STATEMENT_LEASE_S)
    with transaction.atomic(durable=True):
        row, is_new = StatementImport.objects.get_or_create(
            account=account,
            file_hash=hashlib.sha256(data).hexdigest(),
            defaults={
                "file_name": file_name[:120],
                "imported_by": actor,
                "imported_at": now,
                "next_try_at": due,
            },
        )
        if row.finished_at is None:
            StatementFile.objects.get_or_create(statement=row, defaults={"body": data})
            restarted = (
                _stopped()
                .filter(pk=row.pk)
                .update(next_try_at=due, attempts=0, error="")
            )
            if now_due and (is_new or restarted):
                later.enqueue(IMPORT_TASK, row.pk)
    return Received(row, is_new)


def _due_as(row: StatementImport) -> QuerySet[StatementImport]:
    """The import, if nobody took it since it was read."""
    return StatementImport.objects.filter(pk=row.pk, next_try_at=row.next_try_at)


def _claim(row: StatementImport, held_until: datetime) -> bool:
    """Take what is due, unless another worker was faster; the attempt is counted."""
    changed = _due_as(row).update(next_try_at=held_until, attempts=F("attempts") + 1)
    return bool(changed)


class _Lease:
    """One worker's right to an import, kept by conditional updates.

    It is the moment at which somebody else may have it: `next_try_at`.
    """

    def __init__(
        self, row: StatementImport, held_until: datetime, until: float
    ) -> None:
        self.row = row
        self._held_until = held_until
        self._until = until
        self._began_at = (row.stage, row.reached)

    @classmethod
    def taken(cls, import_id: int, until: float) -> _Lease | None:
        """Take what is due, counting the attempt before it is made; None: it is not.

        `until` is when to end this turn, in monotonic seconds.
        """
        now = clock.now()
        row = (
            StatementImport.objects.filter(pk=import_id, next_try_at__lte=now)
            .select_related("account")
            .first()
        )
        if row is None:
            return None
        if row.attempts > len(settings.STATEMENT_BACKOFF_S):
            # Each of them died, and none said why.
            _due_as(row).update(next_try_at=None, error=BROKE_OFF)
            return None
        held_until = now + clock.seconds(settings.STATEMENT_LEASE_S)
        if not _claim(row, held_until):
            return None
        row.attempts += 1
        return cls(row, held_until, until)

    def goes_on(self, stage: ImportStage, reached: int) -> bool:
        """Write down how far the work got. Raises _LeaseLost."""
        changes: dict[str, Any] = {"stage": stage, "reached": reached}
        if (stage, reached) != self._began_at:
            changes["attempts"] = self.row.attempts = 0
        held_until = clock.now() + clock.seconds(settings.STATEMENT_LEASE_S)
        if not self._mine().update(next_try_at=held_until, **changes):
            raise _LeaseLost
        self._held_until = held_until
        return time.monotonic() < self._until

    @repeated
    def hand_on(self) -> None:
        """Have the rest done in a turn of its own."""
        self._end(clock.now(), wait_s=0)

    @repeated
    def fail(self) -> None:
        """Let it wait after a failure, longer each time; at last a person must look."""
        gaps = settings.STATEMENT_BACKOFF_S
        attempts = max(self.row.attempts, 1)
        if attempts > len(gaps):
            self.stop(BROKE_OFF)
            return
        wait_s = gaps[attempts - 1]
        self._end(clock.now() + clock.seconds(wait_s), wait_s=wait_s)

    def stop(self, why: str) -> None:
        """Say why it is not imported. A person may have it tried again."""
        self._mine().update(next_try_at=None, error=why[:300])

    def _end(self, due: datetime, *, wait_s: float) -> None:
        with transaction.atomic(durable=True):
            if self._mine().update(next_try_at=due):
                later.enqueue_later(IMPORT_TASK, self.row.pk, seconds=wait_s)

    def _mine(self) -> QuerySet[StatementImport]:
        return StatementImport.objects.filter(
            pk=self.row.pk, finished_at__isnull=True, next_try_at=self._held_until
        )
