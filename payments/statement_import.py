"""Importing M-Pesa's organisation statement: the last source of truth.

Only customers' payments paid in make or fill collections. Charges, sweeps to the bank
and whatever else moved are account movements; a reversal row proves that its original
went back. Each row is booked by itself, so a broken one spoils no other, and the same
file again finishes what broke off and changes nothing else.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from payments import disputes, matching, receipts, reversals, statements
from payments.enums import (
    Binding,
    MovementKind,
    ReceiptState,
    Source,
)
from payments.models import (
    Collection,
    Movement,
    MpesaAccount,
    Receipt,
    Sighting,
    StatementImport,
)
from payments.receipts import Told
from payments.statements import RowKind, Statement, StatementRow
from smartduka.lib import clock
from smartduka.lib.errors import DomainError
from smartduka.lib.transactions import repeated


logger = logging.getLogger(__name__)

KINDS = {
    RowKind.CHARGE: MovementKind.CHARGE,
    RowKind.SWEEP: MovementKind.SWEEP,
    RowKind.REVERSAL: MovementKind.REVERSAL,
    RowKind.OTHER: MovementKind.OTHER,
}
AT_ONCE = 500  # numbers in one query

T = TypeVar("T")


class NotThisAccount(DomainError):
    """The statement is another account's, or does not fit this one."""

    code = "STATEMENT_OF_ANOTHER_ACCOUNT"
    message = "This statement is of another account. Nothing was imported."
    http_status = 409


def imported(
    *, account: MpesaAccount, data: bytes, file_name: str, actor: Any
) -> StatementImport:
    """Import a statement; return what came of it.

    The same file again returns its first import, finished if it had broken off. Each
    row has transactions of its own. Raises UnreadableFile and NotThisAccount: then
    nothing was imported. Call outside any transaction.
    """
    statement = statements.parse(data)
    _require_account(statement, account)
    covers = disputes.coverage(account, statement)
    row, _ = StatementImport.objects.get_or_create(
        account=account,
        file_hash=hashlib.sha256(data).hexdigest(),
        defaults={
            "file_name": file_name[:120],
            "imported_by": actor,
            "imported_at": clock.now(),
            "covers_from": covers.first if covers else None,
            "covers_to": covers.end if covers else None,
            "bad_rows": [asdict(bad) for bad in statement.bad],
        },
    )
    if row.finished_at is None:
        _book(row, statement)
    return row


def catch_up() -> None:
    """Do what imports of some days ago could not: their receipts were held then.

    For every account with statements. Call outside any transaction.
    """
    with_statements = StatementImport.objects.filter(account=OuterRef("pk"))
    for account in MpesaAccount.objects.filter(
        Exists(with_statements), environment=settings.MPESA_ENV
    ):
        prove_reversals(account)
        disputes.review(account)


def prove_reversals(account: MpesaAccount) -> int:
    """Prove what the reversal rows of an account undo, as far as it is known by now.

    Only of a whole payment; a part of one is disputed. Returns how many were proved.
    Opens a transaction for each.
    """
    original = Collection.objects.filter(
        account=account,
        receipt=OuterRef("linked"),
        amount=-OuterRef("amount"),
        reversed_at__isnull=True,
    )
    proved = 0
    for moved in Movement.objects.filter(
        Exists(original), account=account, kind=MovementKind.REVERSAL, amount__lt=0
    ).exclude(linked=""):
        collection = Collection.objects.get(account=account, receipt=moved.linked)
        try:
            reversals.prove_reversed(
                collection.pk,
                receipt=moved.number,
                source=Source.STATEMENT,
                at=moved.at,
            )
        except Exception:
            # Tried again by `catch_up`; the other rows do not wait for it.
            logger.exception("reversal %s could not be booked", moved.number)
        else:
            proved += 1
    return proved


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
    told = [row.receipt for row in statement.payments[:AT_ONCE]]
    others = Q(account__environment=account.environment) & ~Q(account=account)
    if (
        Receipt.objects.filter(others, number__in=told).exists()
        or Collection.objects.filter(others, receipt__in=told).exists()
    ):
        raise NotThisAccount(
            "Payments of this statement went to another account. Nothing was imported."
        )


def _book(row: StatementImport, statement: Statement) -> None:
    """Book all rows, payments first: a reversal needs what it reverses."""
    done = _told_and_counted(row.account, statement)
    waiting = [
        _sight(row, payment)
        for payment in statement.payments
        if (payment.receipt, payment.amount) not in done
    ]
    _resolve(waiting)
    _move(row, [one for one in statement.rows if one.kind in KINDS])
    prove_reversals(row.account)
    disputes.compare(row)
    _settle_reversals(row, statement)
    _finish(row, statement)


def _told_and_counted(
    account: MpesaAccount, statement: Statement
) -> set[tuple[str, Decimal]]:
    """What a statement told before and what is counted since: nothing is left to do."""
    found: set[tuple[str, Decimal]] = set()
    for numbers in _chunks([payment.receipt for payment in statement.payments]):
        rows = Sighting.objects.filter(
            receipt__account=account,
            receipt__number__in=numbers,
            receipt__state=ReceiptState.COUNTED,
            receipt__look_at__isnull=True,
            source=Source.STATEMENT,
        )
        found.update(rows.values_list("receipt__number", "amount"))
    return found


def _chunks(keys: list[T]) -> Iterable[list[T]]:
    return (keys[start : start + AT_ONCE] for start in range(0, len(keys), AT_ONCE))


@repeated
def _sight(row: StatementImport, payment: StatementRow) -> int:
    party = payment.other_party
    with transaction.atomic(durable=True):
        receipt = receipts.sight(
            row.account,
            Told(
                number=payment.receipt,
                amount=payment.amount,
                payer=party.number if party else "",
                payer_name=party.name if party else "",
                reference=payment.reference,
                paid_at=payment.completed_at,
            ),
            Source.STATEMENT,
            statement=row,
        )
    return receipt.pk


def _resolve(receipt_ids: list[int]) -> None:
    """Find whose money they are, when all of them are told: they may fit the same.

    What one look decides may decide another; what stays held is the sweep's. What was
    counted is looked at once more, as the sweep would: do its sources agree?
    """
    waiting = receipt_ids
    while waiting:
        states = [(pk, matching.look(pk)) for pk in waiting]
        held = [pk for pk, state in states if state == ReceiptState.HELD]
        if len(held) == len(waiting):
            break
        waiting = held
    for keys in _chunks(receipt_ids):
        counted = Receipt.objects.filter(
            pk__in=keys, state=ReceiptState.COUNTED, look_at__isnull=False
        )
        for receipt_id in list(counted.values_list("pk", flat=True)):
            matching.look(receipt_id)


def _move(row: StatementImport, rows: list[StatementRow]) -> None:
    """Keep what moved beside payments; what another statement told stays its."""
    Movement.objects.bulk_create(
        [
            Movement(
                account=row.account,
                kind=KINDS[moved.kind],
                number=moved.receipt,
                amount=moved.amount if moved.paid_in is not None else -moved.amount,
                at=moved.completed_at,
                details=moved.details[:200],
                linked=moved.linked,
                statement=row,
            )
            for moved in rows
        ],
        batch_size=AT_ONCE,
        ignore_conflicts=True,
    )


def _settle_reversals(row: StatementImport, statement: Statement) -> None:
    """Decide the reversals that the statement surely does not have.

    That frees money, so nothing behind its last row is judged.
    """
    if row.covers_from is None or row.covers_to is None or statement.span is None:
        return
    last = statement.span[1] + timedelta(seconds=1)
    reversals.settle_by_statement(
        row.account, covers_from=row.covers_from, covers_to=min(row.covers_to, last)
    )


def _finish(row: StatementImport, statement: Statement) -> None:
    """Count what came of it. Counted from the rows, so a crash loses no figure."""
    earlier = Sighting.objects.filter(
        receipt=OuterRef("receipt"), pk__lt=OuterRef("pk")
    )
    first = Sighting.objects.filter(~Exists(earlier), statement=row)
    # A callback names the number too, and then it was no news.
    told = first.filter(receipt__collection__source=Source.CALLBACK)
    row.payments = len(statement.payments)
    row.new_receipts = first.count() - told.count()
    row.filled = first.filter(
        receipt__collection__source=Source.QUERY,
        receipt__collection__binding__in=(Binding.FIT, Binding.REFERENCE),
    ).count()
    row.movements = Movement.objects.filter(statement=row).count()
    row.disputed = len(disputes.disputed_in(row))
    row.finished_at = clock.now()
    row.save()
