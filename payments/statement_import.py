"""Importing M-Pesa's organisation statement: the last source of truth.

Only customers' payments paid in make or fill collections. Charges, sweeps to the bank
and whatever else moved are account movements; a reversal row proves that its original
went back. Each row is booked by itself, so a broken one spoils no other, and the same
file again finishes what broke off and changes nothing else.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from django.db import transaction

from payments import disputes, matching, receipts, reversals, statements
from payments.enums import AccountType, MovementKind, Source
from payments.models import (
    Collection,
    Movement,
    MpesaAccount,
    Receipt,
    Sighting,
    StatementImport,
)
from payments.receipts import Told
from payments.spreadsheets import UnreadableFile
from payments.statements import RowKind, Statement, StatementRow
from smartduka.lib import clock
from smartduka.lib.errors import DomainError


logger = logging.getLogger(__name__)

LARGEST = 20 * 1024 * 1024
KINDS = {
    RowKind.CHARGE: MovementKind.CHARGE,
    RowKind.SWEEP: MovementKind.SWEEP,
    RowKind.REVERSAL: MovementKind.REVERSAL,
    RowKind.OTHER: MovementKind.OTHER,
}


class NotThisAccount(DomainError):
    """The statement is another account's, or does not fit this one."""

    code = "STATEMENT_OF_ANOTHER_ACCOUNT"
    message = "This statement is of another account. Nothing was imported."


class TooLarge(DomainError):
    """The file is larger than a statement can be."""

    message = "This file is too large. Download the statement for a shorter time."


def imported(
    *, account: MpesaAccount, data: bytes, file_name: str, actor: Any
) -> StatementImport:
    """Import a statement; return what came of it.

    The same file again returns its first import, finished if it had broken off. Each
    row has transactions of its own. Raises UnreadableFile, NotThisAccount, TooLarge:
    then nothing was imported. Call outside any transaction.
    """
    if len(data) > LARGEST:
        raise TooLarge
    statement = statements.parse(data)
    _require_account(statement, account)
    row, _ = StatementImport.objects.get_or_create(
        account=account,
        file_hash=hashlib.sha256(data).hexdigest(),
        defaults={
            "file_name": file_name[:120],
            "imported_by": actor,
            "imported_at": clock.now(),
            "covers_from": statement.covers[0] if statement.covers else None,
            "covers_to": statement.covers[1] if statement.covers else None,
            "bad_rows": [asdict(bad) for bad in statement.bad],
        },
    )
    if row.finished_at is None:
        _book(row, statement)
    return row


def _require_account(statement: Statement, account: MpesaAccount) -> None:
    numbers = {account.shortcode, account.party_b}
    if statement.shortcode and statement.shortcode not in numbers:
        raise NotThisAccount(
            f"This statement is of {statement.shortcode}, not of"
            f" {_named(account)}. Nothing was imported."
        )


def _named(account: MpesaAccount) -> str:
    return f"{AccountType(account.type).label} {account.party_b}"


def _book(row: StatementImport, statement: Statement) -> None:
    """Book all rows, payments first: a reversal needs what it reverses."""
    known = _told_before(row.account, statement)
    new = filled = 0
    for payment in statement.payments:
        if (payment.receipt, payment.amount) in known:
            continue
        was_counted = _is_counted(row.account, payment.receipt)
        _sight(row, payment)
        new += not was_counted
        filled += was_counted is False and _fills(row.account, payment.receipt)
    moved = [_move(row, one) for one in statement.rows if one.kind in KINDS]
    for one in statement.rows:
        if one.kind is RowKind.REVERSAL and one.linked:
            _prove_reversed(row.account, one)
    disputed = disputes.compare(row, statement)
    if row.covers_from is not None and row.covers_to is not None:
        reversals.settle_by_statement(
            row.account, covers_from=row.covers_from, covers_to=row.covers_to
        )
    row.payments = len(statement.payments)
    row.new_receipts, row.filled = new, filled
    row.movements, row.disputed = sum(moved), disputed
    row.finished_at = clock.now()
    row.save()


def _told_before(
    account: MpesaAccount, statement: Statement
) -> set[tuple[str, Decimal]]:
    """What an earlier statement told, and what is counted since: nothing is left."""
    numbers = [payment.receipt for payment in statement.payments]
    found: set[tuple[str, Decimal]] = set()
    for start in range(0, len(numbers), 500):
        rows = Sighting.objects.filter(
            receipt__account=account,
            receipt__number__in=numbers[start : start + 500],
            receipt__collection__isnull=False,
            source=Source.STATEMENT,
        )
        found.update(rows.values_list("receipt__number", "amount"))
    return found


def _is_counted(account: MpesaAccount, number: str) -> bool:
    return Collection.objects.filter(account=account, receipt=number).exists()


def _fills(account: MpesaAccount, number: str) -> bool:
    """Whether the receipt went to money that was there before it."""
    return Collection.objects.filter(
        account=account, receipt=number, source__in=(Source.QUERY, Source.CALLBACK)
    ).exists()


def _sight(row: StatementImport, payment: StatementRow) -> None:
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
    matching.look(receipt.pk)


def _move(row: StatementImport, moved: StatementRow) -> int:
    """Book a movement; 1 if it was not there."""
    amount = moved.paid_in if moved.paid_in is not None else -moved.amount
    _, is_new = Movement.objects.get_or_create(
        account=row.account,
        number=moved.receipt,
        kind=KINDS[moved.kind],
        amount=amount,
        at=moved.completed_at,
        defaults={
            "details": moved.details[:200],
            "linked": moved.linked,
            "statement": row,
        },
    )
    return int(is_new)


def _prove_reversed(account: MpesaAccount, row: StatementRow) -> None:
    """Tell that a payment went back, if it is one of ours and all of it went."""
    original = (
        Receipt.objects.filter(account=account, number=row.linked)
        .values_list("collection_id", "amount")
        .first()
    )
    collection_id = original[0] if original else None
    if collection_id is None:
        collection_id = (
            Collection.objects.filter(account=account, receipt=row.linked)
            .values_list("pk", flat=True)
            .first()
        )
    if collection_id is None:
        return
    amount = Collection.objects.values_list("amount", flat=True).get(pk=collection_id)
    if row.withdrawn != amount:
        logger.error("reversal %s is not of the whole payment", row.receipt)
        return
    reversals.prove_reversed(
        collection_id,
        receipt=row.receipt,
        source=Source.STATEMENT,
        at=row.completed_at,
    )


__all__ = ["NotThisAccount", "TooLarge", "UnreadableFile", "imported"]
