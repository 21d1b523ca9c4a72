"""Booking a statement's rows, step by step, by whoever may be stopped at any moment.

Payments first, for a reversal needs what it reverses: all of them are kept, then
matched, so that equal ones are seen together; then what else moved; then the books are
compared. Each step commits by itself and may be repeated, so that a death in between,
the same work twice, or by two workers at once, changes nothing.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from typing import TypeVar

from django.db.models import Exists, OuterRef, Q, QuerySet

from payments import disputes, matching, receipt_batches, retention, reversals
from payments.enums import (
    Binding,
    ImportStage,
    MovementKind,
    ReceiptState,
    RefundState,
    Source,
)
from payments.models import (
    Collection,
    Movement,
    MpesaAccount,
    Receipt,
    Refund,
    Sighting,
    StatementImport,
)
from payments.receipts import Told
from payments.statements import BadRow, RowKind, Statement, StatementRow
from smartduka.lib import clock
from smartduka.lib.money import format_kes


logger = logging.getLogger(__name__)

KINDS = {
    RowKind.CHARGE: MovementKind.CHARGE,
    RowKind.SWEEP: MovementKind.SWEEP,
    RowKind.REVERSAL: MovementKind.REVERSAL,
    RowKind.OTHER: MovementKind.OTHER,
}
LOOKED_UP_AT_ONCE = 500  # numbers in one query
# Rows in one transaction: a second's work at most, on a small machine.
TOLD_AT_ONCE = 250
MATCHED_AT_ONCE = 100
MOVED_AT_ONCE = 500

T = TypeVar("T")
# Told after each step, and how far that got: whether to go on.
GoesOn = Callable[[ImportStage, int], bool]
Step = Callable[[StatementImport, Statement, int], Iterator[int]]


def book(row: StatementImport, statement: Statement, goes_on: GoesOn) -> bool:
    """Book an import from where it stands; False if `goes_on` said to stop.

    Call outside any transaction. It may be called again with the same file at any
    time, also while another does the same.
    """
    if row.stage == ImportStage.NEW:
        _open(row, statement)
    stages = list(STEPS)
    for stage in stages[stages.index(ImportStage(row.stage)) :]:
        if row.stage != stage:
            row.stage, row.reached = stage, 0
            if not goes_on(stage, 0):
                return False
        for reached in STEPS[stage](row, statement, row.reached):
            row.reached = reached
            if not goes_on(stage, reached):
                return False
    _settle_reversals(row, statement)
    _finish(row, statement)
    return True


def prove_reversals(account: MpesaAccount) -> Iterator[bool]:
    """Prove what the reversal rows of an account undo, as far as it is known by now.

    Only of a whole payment; a part of one is disputed. Opens a transaction for each
    and yields whether it was proved: a broken one spoils no other.
    """
    original = Collection.objects.filter(
        account=account,
        receipt=OuterRef("linked"),
        amount=-OuterRef("amount"),
        reversed_at__isnull=True,
    )
    for moved in Movement.objects.filter(
        Exists(original), account=account, kind=MovementKind.REVERSAL, amount__lt=0
    ).exclude(linked=""):
        collection = Collection.objects.get(account=account, receipt=moved.linked)
        try:
            reversals.prove_reversed(
                collection,
                receipt=moved.number,
                source=Source.STATEMENT,
                at=moved.at,
            )
        except Exception:
            # Tried again when statements are reviewed.
            logger.exception("reversal %s could not be booked", moved.number)
            yield False
        else:
            yield True


def _open(row: StatementImport, statement: Statement) -> None:
    """Write down what the file has, before anything of it is booked."""
    covers = disputes.coverage(row.account, statement, row.imported_at)
    StatementImport.objects.filter(pk=row.pk, stage=ImportStage.NEW).update(
        stage=ImportStage.TELLING,
        reached=0,
        covers_from=covers.first if covers else None,
        covers_to=covers.end if covers else None,
        rows=statement.length,
        payments=len(statement.payments),
        bad_rows=[asdict(bad) for bad in statement.bad],
    )
    row.refresh_from_db()


def _tell(row: StatementImport, statement: Statement, _reached: int) -> Iterator[int]:
    """Keep all payments, but those that a statement told before.

    What is there is looked up and not remembered: no row is left out, whatever
    happened before.
    """
    told = _told(row.account, statement)
    left = [one for one in statement.payments if _is_news(one, told)]
    done = len(statement.payments) - len(left)
    for some in _chunks(left, TOLD_AT_ONCE):
        receipt_batches.sight_all(row, [_told_by(payment) for payment in some])
        done += len(some)
        yield done


# Receipt and amount as statements told them, and with which references.
Known = dict[tuple[str, Decimal], set[str]]


def _is_news(payment: StatementRow, told: Known) -> bool:
    """Whether a row says what no statement said: some exports have no references.

    What was masked since, for its time is over, is no news.
    """
    references = told.get((payment.receipt, payment.amount))
    if references is None:
        return True
    is_fuller = bool(payment.reference) and not any(references)
    return is_fuller and not retention.is_past(payment.completed_at)


def _told(account: MpesaAccount, statement: Statement) -> Known:
    found: Known = defaultdict(set)
    for some in _chunks(statement.payments, LOOKED_UP_AT_ONCE):
        rows = Sighting.objects.filter(
            receipt__account=account,
            receipt__number__in=[payment.receipt for payment in some],
            source=Source.STATEMENT,
        )
        for number, amount, said in rows.values_list(
            "receipt__number", "amount", "reference"
        ):
            found[number, amount].add(said)
    return found


def _told_by(payment: StatementRow) -> Told:
    party = payment.other_party
    return Told(
        number=payment.receipt,
        amount=payment.amount,
        payer=party.number if party else "",
        payer_name=party.name if party else "",
        reference=payment.reference,
        paid_at=payment.completed_at,
    )


def _match(row: StatementImport, statement: Statement, reached: int) -> Iterator[int]:
    """Find whose money they are, now that all of them are told."""
    for some in _chunks(statement.payments[reached:], MATCHED_AT_ONCE):
        waiting = list(_waiting(row.account, some))
        if waiting:
            receipt_batches.look_all(row.account, waiting)
        reached += len(some)
        yield reached


def _match_again(
    row: StatementImport, statement: Statement, reached: int
) -> Iterator[int]:
    """Look again at those that wait: what one look decided may decide another.

    What was counted meanwhile is asked whether its sources agree. What stays held is
    the sweep's; so is the rest of this when the turn ends.
    """
    if reached:
        return
    held: list[int] = []
    for some in _chunks(statement.payments, LOOKED_UP_AT_ONCE):
        waiting = _waiting(row.account, some)
        held += waiting.filter(state=ReceiptState.HELD)
        counted = list(waiting.filter(state=ReceiptState.COUNTED))
        for few in _chunks(counted, MATCHED_AT_ONCE):
            receipt_batches.look_all(row.account, few)
            yield 1
    while held:
        still = []
        for receipt_id in held:
            if matching.look(receipt_id) == ReceiptState.HELD:
                still.append(receipt_id)
            yield 1
        if len(still) == len(held):
            return
        held = still


def _waiting(
    account: MpesaAccount, payments: Sequence[StatementRow]
) -> QuerySet[Receipt, int]:
    """The receipts of these payments that are to be looked at, by id."""
    done = Q(state=ReceiptState.COUNTED, look_at__isnull=True)
    return (
        Receipt.objects.filter(
            ~done, account=account, number__in=[payment.receipt for payment in payments]
        )
        .order_by("pk")
        .values_list("pk", flat=True)
    )


def _move(row: StatementImport, statement: Statement, reached: int) -> Iterator[int]:
    """Keep what moved beside payments; what another statement told stays its.

    Some exports do not say what a reversal undoes: then a later one does.
    """
    moved = [one for one in statement.rows if one.kind in KINDS]
    for some in _chunks(moved[reached:], MOVED_AT_ONCE):
        Movement.objects.bulk_create(
            [_movement(row, one) for one in some], ignore_conflicts=True
        )
        for one in (_movement(row, two) for two in some if two.linked):
            Movement.objects.filter(
                account=row.account,
                kind=one.kind,
                number=one.number,
                amount=one.amount,
                linked="",
            ).update(linked=one.linked)
        reached += len(some)
        yield reached
    for _ in prove_reversals(row.account):
        yield reached


def _movement(row: StatementImport, moved: StatementRow) -> Movement:
    return Movement(
        account=row.account,
        kind=KINDS[moved.kind],
        number=moved.receipt,
        amount=moved.amount if moved.paid_in else -moved.amount,
        at=moved.completed_at,
        details=moved.details[:200],
        linked=moved.linked,
        statement=row,
    )


def _compare(
    row: StatementImport, _statement: Statement, reached: int
) -> Iterator[int]:
    yield from disputes.compare(row, after=reached)


STEPS: dict[ImportStage, Step] = {
    ImportStage.TELLING: _tell,
    ImportStage.MATCHING: _match,
    ImportStage.AGAIN: _match_again,
    ImportStage.MOVING: _move,
    ImportStage.COMPARING: _compare,
}


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


def _unexplained(row: StatementImport, statement: Statement) -> list[BadRow]:
    """Money that went back, where the row does not name the payment.

    It undoes nothing in our books, for many payments may have its amount: a person
    must look. Not what one of our own refunds is known to be.
    """
    unnamed = [
        one
        for one in statement.rows
        if one.kind is RowKind.REVERSAL and one.withdrawn and not one.linked
    ]
    ours: set[str] = set()
    for some in _chunks(unnamed, LOOKED_UP_AT_ONCE):
        refunds = Refund.objects.filter(
            collection__account=row.account,
            receipt__in=[one.receipt for one in some],
            state=RefundState.DONE,
        )
        ours.update(refunds.values_list("receipt", flat=True))
    return [
        BadRow(
            one.line,
            f"{format_kes(one.amount)} went back ({one.receipt}), and the row does not"
            " name the payment: look in M-Pesa's portal",
        )
        for one in unnamed
        if one.receipt not in ours
    ]


def _finish(row: StatementImport, statement: Statement) -> None:
    """Count what came of it. Counted from the rows, so a crash loses no figure."""
    earlier = Sighting.objects.filter(
        receipt=OuterRef("receipt"), pk__lt=OuterRef("pk")
    )
    first = Sighting.objects.filter(~Exists(earlier), statement=row)
    # A callback names the number too, and then it was no news.
    told = first.filter(receipt__collection__source=Source.CALLBACK)
    row.new_receipts = first.count() - told.count()
    row.filled = first.filter(
        receipt__collection__source=Source.QUERY,
        receipt__collection__binding__in=(Binding.FIT, Binding.REFERENCE),
    ).count()
    bad_rows = [*statement.bad, *_unexplained(row, statement)]
    row.bad_rows = [asdict(bad) for bad in sorted(bad_rows, key=lambda bad: bad.line)]
    row.movements = Movement.objects.filter(statement=row).count()
    row.disputed = len(disputes.disputed_in(row))
    row.finished_at = clock.now()
    row.next_try_at = None
    row.attempts = 0
    row.error = ""
    row.save(
        update_fields=[
            *("stage", "reached", "new_receipts", "filled", "movements", "disputed"),
            *("bad_rows", "finished_at", "next_try_at", "attempts", "error"),
        ]
    )


def _chunks(rows: Sequence[T], length: int) -> Iterator[Sequence[T]]:
    return (rows[start : start + length] for start in range(0, len(rows), length))
