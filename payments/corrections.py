"""Correcting our books where M-Pesa's say otherwise: two people, and a row of its own.

Nothing is rewritten (law 11). Below zero: so much of a collection never was there, and
an allocation takes it out of what it was for. Above zero: so much more was there, and
becomes a collection that is nobody's yet, and that is disputed as long as the first
one is: a correction that added too much is corrected there.
"""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from orders import lifecycle as order_lifecycle
from orders.enums import OrderStatus
from payments import disputes, ledger, lifecycle, news, refund_money
from payments.enums import AllocationKind, CorrectionState, Source
from payments.models import Allocation, Collection, Correction
from payments.refund_money import Held
from payments.refunds import Operator, left_of
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.errors import DomainError, Forbidden, InvalidRequest, NotFound
from smartduka.lib.money import CENT, format_kes
from smartduka.lib.transactions import repeated


REASON_LENGTH = 200
# Free money goes first, then the sales'.
TAKEN_FROM = (AllocationKind.SURPLUS, AllocationKind.CREDIT, AllocationKind.SALE)
ALARM = "M-Pesa never had this sale's money: ask the customer to pay."


class NotDisputed(DomainError):
    """M-Pesa's books do not contradict this money."""

    code = "NOT_DISPUTED"
    message = "M-Pesa's books do not contradict this money: nothing is to correct."
    http_status = 409


class CorrectionWaits(DomainError):
    """Another correction of the same money is not decided."""

    code = "CORRECTION_WAITS"
    message = "A correction of this money waits for a second person already."
    http_status = 409


class CorrectionDecided(DomainError):
    """The correction does not wait."""

    code = "CORRECTION_DECIDED"
    message = "Somebody decided this correction already."
    http_status = 409


class MoreThanThere(DomainError):
    """More is to be taken away than is left of this money."""

    code = "CORRECTION_TOO_LARGE"
    http_status = 409


class SamePerson(Forbidden):
    """Who asked for a correction cannot book it."""

    message = "You asked for this correction: somebody else must book it."


def ask_correction(
    *,
    access: Access | Operator,
    collection_id: object,
    amount: Decimal,
    reason: str,
) -> Correction:
    """Ask for a correction of disputed money, in KES; a second person books it.

    Opens a transaction; locks the collection. Raises Forbidden, NotFound,
    InvalidRequest, NotDisputed, MoreThanThere, CorrectionWaits.
    """
    _require_right(access)
    found = _collections_of(access).filter(pk=_key(collection_id)).first()
    if found is None:
        raise NotFound("This money is not in your shop's books.")
    if not reason.strip():
        raise InvalidRequest("Say why, in a few words.")
    if amount == 0 or amount != amount.quantize(CENT):
        raise InvalidRequest("Say by how many shillings.")
    try:
        return _ask(access, found.pk, amount, reason.strip()[:REASON_LENGTH])
    except IntegrityError as error:
        # The constraint is the net below the lock: somebody was faster.
        raise CorrectionWaits from error


@repeated
def _ask(
    access: Access | Operator, collection_id: int, amount: Decimal, reason: str
) -> Correction:
    with transaction.atomic(durable=True):
        collection = Collection.objects.select_for_update(no_key=True).get(
            pk=collection_id
        )
        if not collection.disputed:
            raise NotDisputed
        if collection.corrections.filter(state=CorrectionState.ASKED).exists():
            raise CorrectionWaits
        if -amount > left_of(collection):
            raise MoreThanThere(_too_much(left_of(collection)))
        return Correction.objects.create(
            collection=collection,
            amount=amount,
            reason=reason,
            asked_by=access.user,
            asked_at=clock.now(),
        )


def book(*, access: Access | Operator, correction_id: object) -> Correction:
    """Book a correction that somebody else asked for; return it.

    Opens a transaction, and then one for each of the money that it is about, to judge
    it anew; locks orders, payments, the collection, the correction. Below
    zero takes unmatched and free money first, then the sale's; what is left of a
    portion stays what it was. A sale that was paid stays paid, with an alarm: its goods
    are gone. An open one needs the money again. What M-Pesa's books confirmed since it
    was asked for is not corrected: refusing is left. Raises Forbidden, NotFound,
    SamePerson, CorrectionDecided, NotDisputed, MoreThanThere.
    """
    _require_right(access)
    found = _correction_of(access, correction_id)
    correction = _book(found, access)
    disputes.look_again(found.collection)
    return correction


@repeated
def _book(found: Correction, access: Access | Operator) -> Correction:
    with transaction.atomic(durable=True):
        held = refund_money.locked(found.collection_id)
        correction = _waiting(found)
        if correction.asked_by_id == access.user.pk:
            raise SamePerson
        if not held.collection.disputed:
            raise NotDisputed
        losers: set[uuid.UUID] = set()
        if correction.amount < 0:
            losers = _take(held, correction, access.user)
        else:
            _add(held.collection, correction.amount)
        _decide(correction, CorrectionState.BOOKED, access.user)
        _tell(held, correction, access.user, losers)
    return correction


@repeated
def refuse(*, access: Access | Operator, correction_id: object) -> Correction:
    """Refuse a correction that waits; who asked for it may take it back.

    Opens a transaction. Raises Forbidden, NotFound, CorrectionDecided.
    """
    _require_right(access)
    found = _correction_of(access, correction_id)
    with transaction.atomic(durable=True):
        correction = _waiting(found)
        _decide(correction, CorrectionState.REFUSED, access.user)
    return correction


def corrections_of(access: Access | Operator) -> QuerySet[Correction]:
    """The corrections that a person may decide about, newest first."""
    return Correction.objects.filter(
        collection__in=_collections_of(access)
    ).select_related("collection")


def _take(held: Held, correction: Correction, actor: Any) -> set[uuid.UUID]:
    """Take so much out of the books; return the payments whose sales lose money."""
    collection, left = held.collection, -correction.amount
    reason = f"Corrected: {correction.reason}"
    unmatched = min(left, collection.amount - collection.allocated)
    gone = [ledger.Portion(AllocationKind.CORRECTION, unmatched, reason=reason)]
    left -= unmatched
    losers = set()
    for portion in _portions(collection):
        taken = min(left, portion.amount)
        if not taken:
            break
        left -= taken
        loser = portion.payment_id or collection.payment_id
        if portion.kind == AllocationKind.SALE and loser is not None:
            losers.add(loser)
        _free(held, portion, taken, actor, reason)
        gone.append(
            ledger.Portion(AllocationKind.CORRECTION, taken, portion.order, reason)
        )
    if left:
        raise MoreThanThere(_too_much(-correction.amount - left))
    ledger.allocate(collection, gone, actor=actor)
    return losers


def _portions(collection: Collection) -> list[Allocation]:
    rows = ledger.current(collection).filter(kind__in=TAKEN_FROM)
    return sorted(
        rows.select_related("order", "payment"),
        key=lambda one: (TAKEN_FROM.index(AllocationKind(one.kind)), one.pk),
    )


def _free(
    held: Held, portion: Allocation, taken: Decimal, actor: Any, reason: str
) -> None:
    """Free so much of a portion; the rest of it stays what it was."""
    portion.collection = held.collection
    ledger.release(portion, actor=actor, reason=reason)
    ledger.allocate(
        held.collection,
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
    if portion.order_id is None:
        return
    order = held.orders[portion.order_id]
    if portion.kind == AllocationKind.SURPLUS:
        order_lifecycle.give_up_surplus(order, taken)
    elif portion.kind == AllocationKind.SALE and order.status == OrderStatus.OPEN:
        order_lifecycle.give_back(order, taken, actor=actor, restocks=False)


def _add(collection: Collection, amount: Decimal) -> None:
    """Count so much more, as money of nobody yet; disputed until it is judged."""
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
        disputed=collection.disputed,
        disputed_at=collection.disputed_at,
        corrects_id=collection.corrects_id or collection.pk,
    )


def _tell(
    held: Held, correction: Correction, actor: Any, losers: set[uuid.UUID]
) -> None:
    """Say on the payments what was booked, and end the dispute if that settles it."""
    collection = held.collection
    owner_id = collection.payment_id
    payment = held.payments[owner_id] if owner_id is not None else None
    sign = "+" if correction.amount > 0 else "-"
    for payment_id in sorted(losers | ({owner_id} if owner_id is not None else set())):
        one = held.payments[payment_id]
        lifecycle.note(
            one,
            source=Source.PERSON,
            actor=actor,
            reason=f"Corrected by {sign}{format_kes(abs(correction.amount))}:"
            f" {correction.reason}",
            alarm=ALARM if payment_id in losers else one.alarm,
        )
        news.publish(one, one.order, "payment.updated")
    assert collection.account is not None
    why = disputes.judge(collection, disputes.spans_of(collection.account))
    disputes.settle(collection, payment, why or "")


def _waiting(found: Correction) -> Correction:
    correction = Correction.objects.select_for_update(no_key=True, of=("self",)).get(
        pk=found.pk
    )
    if correction.state != CorrectionState.ASKED:
        raise CorrectionDecided
    return correction


def _decide(correction: Correction, state: CorrectionState, actor: Any) -> None:
    correction.state = state
    correction.decided_by = actor
    correction.decided_at = clock.now()
    correction.save(update_fields=["state", "decided_by", "decided_at"])


def _require_right(access: Access | Operator) -> None:
    if isinstance(access, Access):
        access.require(Right.CORRECT)
    elif not access.user.is_superuser:
        raise Forbidden("Only the platform's operator may do this.")


def _collections_of(access: Access | Operator) -> QuerySet[Collection]:
    rows = Collection.objects.filter(account__isnull=False)
    if isinstance(access, Access):
        return rows.filter(shop=access.shop)
    return rows.filter(shop__isnull=True)


def _correction_of(access: Access | Operator, correction_id: object) -> Correction:
    found = corrections_of(access).filter(pk=_key(correction_id)).first()
    if found is None:
        raise NotFound("This correction is not in your shop's books.")
    return found


def _key(value: object) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


def _too_much(left: Decimal) -> str:
    return (
        f"Only {format_kes(left)} of this money is left: the rest went back, or is on"
        " its way back."
    )
