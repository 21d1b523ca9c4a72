"""Where our books and M-Pesa's statement differ, and how two people correct ours.

A complete statement is believed: money of ours in its time that it does not have, or
has with another amount, is disputed. Nothing is undone by that; a person looks, asks
for a correction, and a second one books it. A later statement that has the row clears
the dispute.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from orders import lifecycle as order_lifecycle
from payments import ledger, lifecycle
from payments.enums import (
    AllocationKind,
    CorrectionState,
    Source,
)
from payments.models import Collection, Correction, Payment, StatementImport
from payments.statements import Statement
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.errors import DomainError, Forbidden, NotFound
from smartduka.lib.money import format_kes
from smartduka.lib.transactions import repeated


# Money proved by a question has our time and not M-Pesa's: not judged at the edges.
MARGIN = timedelta(hours=1)
MISSING = "M-Pesa's statement does not have this payment."
ALARM = "M-Pesa's statement does not agree: see the money's page."


class NotCorrectable(DomainError):
    """The correction cannot be booked; the message says why."""

    code = "NOT_CORRECTABLE"
    message = "This correction cannot be booked."
    http_status = 409


def compare(row: StatementImport, statement: Statement) -> int:
    """Dispute what the statement contradicts, clear what it confirms.

    Returns how many collections are newly disputed. A transaction for each; locks it.
    A statement that does not say its time is complete for no time: it only clears.
    """
    told = {one.receipt: one.amount for one in statement.payments}
    bad = bool(statement.bad)
    _clear(row, told)
    if row.covers_from is None or row.covers_to is None or bad:
        return 0
    disputed = 0
    for collection in _covered(row):
        why = _why(collection, told)
        if why and _dispute(collection.pk, why):
            disputed += 1
    return disputed


def ask_correction(
    *, access: Access, collection_id: object, amount: Decimal, reason: str
) -> Correction:
    """Ask for a correction of a collection, in KES; a second person books it.

    Below zero: so much was never there; at most the collection. Above: so much more.
    Raises Forbidden, NotFound, NotCorrectable.
    """
    access.require_manager()
    collection = _collection_of(access, collection_id)
    if not reason.strip():
        raise NotCorrectable("Say why, in a few words.")
    if amount == 0 or amount != amount.quantize(Decimal("0.01")):
        raise NotCorrectable("Say by how much, in shillings.")
    with transaction.atomic(durable=True):
        locked = Collection.objects.select_for_update(no_key=True).get(pk=collection.pk)
        if -amount > locked.amount:
            raise NotCorrectable("More cannot be missing than there was.")
        if locked.corrections.filter(state=CorrectionState.ASKED).exists():
            raise NotCorrectable("A correction of this money waits already.")
        return Correction.objects.create(
            collection=locked,
            amount=amount,
            reason=reason.strip()[:200],
            asked_by=access.user,
            asked_at=clock.now(),
        )


@repeated
def book(*, access: Access, correction_id: object) -> Correction:
    """Book a correction that somebody else asked for; return it.

    Opens a transaction; locks orders, payments, the collection, the correction. Below
    zero takes free money first, then the sale's, and what is left of a portion stays
    where it was. Above zero the shillings become a collection of their own, matched to
    nobody. Raises Forbidden, NotFound, NotCorrectable.
    """
    access.require_manager()
    found = _correction_of(access, correction_id)
    with transaction.atomic(durable=True):
        orders = order_lifecycle.locked_all(
            {
                portion.order_id
                for portion in ledger.current(found.collection)
                if portion.order_id is not None
            }
        )
        list(
            Payment.objects.select_for_update(no_key=True, of=("self",))
            .filter(collections=found.collection)
            .order_by("pk")
        )
        collection = Collection.objects.select_for_update(no_key=True).get(
            pk=found.collection_id
        )
        correction = _asked(found.pk)
        if correction.asked_by_id == access.user.pk:
            raise Forbidden("Somebody else must book it: two people correct the books.")
        if correction.amount < 0:
            _take(collection, -correction.amount, orders, access.user, correction)
        else:
            _add(collection, correction.amount)
        _decide(correction, CorrectionState.BOOKED, access)
        Collection.objects.filter(pk=collection.pk).update(disputed="")
        if collection.payment is not None:
            lifecycle.note(
                collection.payment,
                source=Source.PERSON,
                actor=access.user,
                reason=f"Corrected by {format_kes(correction.amount)}:"
                f" {correction.reason}",
            )
    return correction


def refuse(*, access: Access, correction_id: object) -> Correction:
    """Refuse a correction that waits, also one's own; return it.

    Raises Forbidden, NotFound, NotCorrectable.
    """
    access.require_manager()
    found = _correction_of(access, correction_id)
    with transaction.atomic(durable=True):
        correction = _asked(found.pk)
        _decide(correction, CorrectionState.REFUSED, access)
    return correction


def _covered(row: StatementImport) -> QuerySet[Collection]:
    """M-Pesa's money of ours that the statement must have."""
    assert row.covers_from is not None
    assert row.covers_to is not None
    inside = Q(paid_at__gte=row.covers_from, paid_at__lt=row.covers_to) | Q(
        paid_at__isnull=True,
        sighted_at__gte=row.covers_from + MARGIN,
        sighted_at__lt=row.covers_to - MARGIN,
    )
    return Collection.objects.filter(
        inside, account=row.account, corrects__isnull=True
    ).order_by("pk")


def _why(collection: Collection, told: dict[str, Decimal]) -> str:
    if collection.receipt is None or collection.receipt not in told:
        return MISSING
    amount = told[collection.receipt]
    if amount != collection.amount:
        return (
            f"We counted {format_kes(collection.amount)},"
            f" M-Pesa's statement has {format_kes(amount)}."
        )
    return ""


@repeated
def _dispute(collection_id: int, why: str) -> bool:
    with transaction.atomic(durable=True):
        payment_id = Collection.objects.values_list("payment_id", flat=True).get(
            pk=collection_id
        )
        payment = None
        if payment_id is not None:
            payment = Payment.objects.select_for_update(no_key=True, of=("self",)).get(
                pk=payment_id
            )
        collection = Collection.objects.select_for_update(no_key=True).get(
            pk=collection_id
        )
        if collection.disputed:
            return False
        if collection.corrections.filter(state=CorrectionState.BOOKED).exists():
            return False
        Collection.objects.filter(pk=collection_id).update(disputed=why)
        if payment is not None:
            lifecycle.note(
                payment,
                source=Source.STATEMENT,
                reason=why,
                alarm=payment.alarm or ALARM,
            )
    return True


def _clear(row: StatementImport, told: dict[str, Decimal]) -> None:
    """End the disputes of money that this statement has after all."""
    rows = Collection.objects.filter(account=row.account).exclude(disputed="")
    for collection in rows.select_related("payment"):
        if collection.receipt and told.get(collection.receipt) == collection.amount:
            with transaction.atomic(durable=True):
                Collection.objects.filter(pk=collection.pk).update(disputed="")
                if collection.payment is not None:
                    alarm = collection.payment.alarm
                    lifecycle.note(
                        collection.payment,
                        source=Source.STATEMENT,
                        reason="M-Pesa's statement has this payment after all",
                        alarm="" if alarm == ALARM else alarm,
                    )


def _take(
    collection: Collection,
    amount: Decimal,
    orders: dict[Any, Any],
    actor: Any,
    correction: Correction,
) -> None:
    """Take so much of the money out of the books: free portions first."""
    reason = f"Corrected: {correction.reason}"
    left = amount - (collection.amount - collection.allocated)
    portions = sorted(
        ledger.current(collection).select_related("collection", "order", "payment"),
        key=lambda one: (one.kind not in AllocationKind.FREE, one.pk),
    )
    for portion in portions:
        if left <= 0:
            break
        if portion.kind not in (*AllocationKind.FREE, AllocationKind.SALE):
            continue
        taken = min(left, portion.amount)
        portion.collection = collection
        ledger.release(portion, actor=actor, reason=reason)
        ledger.allocate(
            collection,
            [
                ledger.Portion(
                    AllocationKind(portion.kind),
                    portion.amount - taken,
                    portion.order,
                    portion.reason,
                    portion.payment,
                    portion.customer,
                )
            ],
            actor=actor,
        )
        if portion.kind == AllocationKind.SURPLUS and portion.order_id in orders:
            order_lifecycle.give_up_surplus(orders[portion.order_id], taken)
        left -= taken
    if left > 0:
        raise NotCorrectable("Part of this money is on its way back to the customer.")
    ledger.allocate(
        collection,
        [ledger.Portion(AllocationKind.CORRECTION, amount, reason=reason)],
        actor=actor,
    )


def _add(collection: Collection, amount: Decimal) -> None:
    now = clock.now()
    Collection.objects.create(
        account=collection.account,
        environment=collection.environment,
        shop=collection.shop,
        amount=amount,
        phone=collection.phone,
        source=Source.STATEMENT,
        paid_at=collection.paid_at,
        sighted_at=now,
        confirmed_at=now,
        corrects=collection,
    )


def _asked(correction_id: int) -> Correction:
    correction = Correction.objects.select_for_update(no_key=True, of=("self",)).get(
        pk=correction_id
    )
    if correction.state != CorrectionState.ASKED:
        raise NotCorrectable("Somebody decided this correction already.")
    return correction


def _decide(correction: Correction, state: CorrectionState, access: Access) -> None:
    correction.state = state
    correction.decided_by = access.user
    correction.decided_at = clock.now()
    correction.save(update_fields=["state", "decided_by", "decided_at"])


def _collection_of(access: Access, collection_id: object) -> Collection:
    found = Collection.objects.filter(
        pk=_key(collection_id), shop=access.shop, account__isnull=False
    ).first()
    if found is None:
        raise NotFound("This money is not in your shop's books.")
    return found


def _correction_of(access: Access, correction_id: object) -> Correction:
    found = (
        Correction.objects.filter(pk=_key(correction_id), collection__shop=access.shop)
        .select_related("collection")
        .first()
    )
    if found is None:
        raise NotFound("This correction is not in your shop's books.")
    return found


def _key(value: object) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0
