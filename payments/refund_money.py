"""Where the money of a refund stands: reserved, put back, gone. And its states.

The only writer of `Refund.state`. What a refund takes is freed from where it was and
reserved; a certain failure puts it back there, portion by portion; proof books it as
sent back. Callers hold the locks that `locked` takes (law 12).
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Sum

from orders import lifecycle as order_lifecycle
from orders.enums import OrderStatus
from orders.models import Order
from payments import ledger, lifecycle, news, precedence
from payments.enums import AllocationKind, Binding, RefundState, Source
from payments.models import (
    Allocation,
    Collection,
    Payment,
    Refund,
    RefundEvent,
    RefundPart,
)
from smartduka.lib import clock
from smartduka.lib.errors import DomainError
from smartduka.lib.money import format_kes


# What may be taken from, in this order; goods that come back turn it around.
TAKEN_FROM = (AllocationKind.SURPLUS, AllocationKind.CREDIT, AllocationKind.SALE)
MOVES = {
    "": frozenset({RefundState.ASKED, RefundState.SENDING, RefundState.DONE}),
    RefundState.ASKED: frozenset(
        {
            RefundState.SENDING,
            RefundState.DONE,
            RefundState.REFUSED,
            RefundState.FAILED,
        }
    ),
    RefundState.SENDING: frozenset(
        {RefundState.UNKNOWN, RefundState.DONE, RefundState.FAILED}
    ),
    RefundState.UNKNOWN: frozenset({RefundState.DONE, RefundState.FAILED}),
}
DECIDED = frozenset({RefundState.DONE, RefundState.FAILED, RefundState.REFUSED})


class IllegalMove(Exception):
    """This state cannot follow that one: a programming error, nothing written."""


class MoreThanLeft(DomainError):
    """More than what is left of this money."""

    code = "REFUND_TOO_LARGE"
    http_status = 409


@dataclass(frozen=True, slots=True)
class Held:
    """A collection under its lock, with every order and payment it ever touched."""

    collection: Collection
    orders: dict[uuid.UUID, Order]
    payments: dict[uuid.UUID, Payment]

    @property
    def left(self) -> Decimal:
        """What a refund may take, in KES: unmatched, free, or a sale's."""
        portions = ledger.total_of(
            ledger.current(self.collection).filter(kind__in=TAKEN_FROM)
        )
        return self.collection.amount - self.collection.allocated + portions


@dataclass(frozen=True, slots=True)
class Reserved:
    """Money set aside: its allocation, and what was taken from which portion.

    `begin` stores the parts.
    """

    allocation: Allocation
    parts: tuple[RefundPart, ...]

    @property
    def from_sale(self) -> Decimal:
        """How much of it was sales' money, in KES."""
        return sum(
            (one.amount for one in self.parts if _is_sales(one)),
            Decimal(0),
        )


def locked(collection_id: int) -> Held:
    """Lock a collection with its orders and payments, in the lawful order.

    Which they are is read first without a lock; who joined them meanwhile is locked
    at the end, and a deadlock repeats the transaction. Raises Collection.DoesNotExist.
    """
    assert connection.in_atomic_block, "call inside a transaction"
    orders: dict[uuid.UUID, Order] = {}
    payments: dict[uuid.UUID, Payment] = {}
    for _ in range(2):
        order_ids, payment_ids = _touched(collection_id)
        orders |= order_lifecycle.locked_all(order_ids - set(orders))
        for payment_id in sorted(payment_ids - set(payments)):
            payments[payment_id] = (
                Payment.objects.select_for_update(no_key=True, of=("self",))
                .select_related("created_by")
                .get(pk=payment_id)
            )
        collection = (
            Collection.objects.select_for_update(no_key=True, of=("self",))
            .select_related("account")
            .get(pk=collection_id)
        )
    for payment in payments.values():
        payment.order = orders[payment.order_id]
    return Held(collection, orders, payments)


def _touched(collection_id: int) -> tuple[set[uuid.UUID], set[uuid.UUID]]:
    rows = Allocation.objects.filter(collection=collection_id)
    payment_ids = set(rows.exclude(payment=None).values_list("payment_id", flat=True))
    payment_ids |= set(
        Collection.objects.filter(pk=collection_id)
        .exclude(payment=None)
        .values_list("payment_id", flat=True)
    )
    payment_ids |= set(
        Refund.objects.filter(collection=collection_id)
        .exclude(payment=None)
        .values_list("payment_id", flat=True)
    )
    order_ids = set(rows.exclude(order=None).values_list("order_id", flat=True))
    order_ids |= set(
        Payment.objects.filter(pk__in=payment_ids).values_list("order_id", flat=True)
    )
    return {one for one in order_ids if one}, {one for one in payment_ids if one}


def undecided_of(collection: Collection) -> Refund | None:
    """The one undecided refund of a collection, under its lock."""
    return (
        Refund.objects.select_for_update(no_key=True, of=("self",))
        .select_related("reserved")
        .filter(collection=collection, state__in=RefundState.UNDECIDED)
        .first()
    )


def reserve(
    held: Held, amount: Decimal, *, sale_first: bool, actor: Any, reason: str
) -> Reserved:
    """Set money aside for a refund: free money first, then the sale's.

    `sale_first`: the other way round, for goods that come back. A sale that is open
    needs the money again at once: it must not close with what is on its way back. Needs
    the locks. Raises MoreThanLeft, and then nothing is written.
    """
    collection = held.collection
    if amount > held.left:
        raise MoreThanLeft(f"Only {format_kes(held.left)} of this money is left.")
    parts = []
    left = amount
    for portion, there in _sources(held, sale_first=sale_first):
        taken = min(left, there)
        if taken and portion is not None:
            was_open = _take(held, portion, taken, actor=actor, reason=reason)
            parts.append(RefundPart(source=portion, amount=taken, was_open=was_open))
        left -= taken
    [allocation] = ledger.allocate(
        collection,
        [
            ledger.Portion(
                AllocationKind.RESERVED, amount, _main_order(held), reason,
                collection.payment,
            )
        ],
        actor=actor,
    )  # fmt: skip
    return Reserved(allocation, tuple(parts))


def put_back(
    held: Held, refund: Refund, *, actor: Any, reason: str, is_gone: bool = False
) -> None:
    """Free what a refund reserved, to where it was. Needs the locks.

    What is another payment's by now goes to that one's sale, unless it `is_gone` by
    another road. Locks the products of a sale that becomes paid.
    """
    _release_reserved(held, refund, actor=actor, reason=reason)
    owner = new_owner(held, refund)
    if owner is not None and not is_gone:
        _give_to(owner, held, refund, actor=actor)
        return
    for part in _parts(refund):
        _restore(held, part, actor=actor)


def book(held: Held, refund: Refund, *, actor: Any, reason: str) -> None:
    """Write down that what a refund reserved has gone back. Needs the locks.

    Tells each order how much of its money that was; the goods are those of the
    refund's own sale, when the last of its money goes. Locks their products.
    """
    _release_reserved(held, refund, actor=actor, reason=reason)
    per_order: dict[uuid.UUID | None, Decimal] = defaultdict(Decimal)
    from_sales: dict[uuid.UUID, Decimal] = defaultdict(Decimal)
    rest = refund.amount
    for part in _parts(refund):
        per_order[part.source.order_id] += part.amount
        rest -= part.amount
        if _is_sales(part) and part.source.order_id and not part.was_open:
            from_sales[part.source.order_id] += part.amount
    per_order[None] += rest
    ledger.allocate(
        held.collection,
        [
            ledger.Portion(
                AllocationKind.REFUNDED, amount,
                held.orders[order_id] if order_id else None, reason,
            )
            for order_id, amount in per_order.items()
        ],
        actor=actor,
    )  # fmt: skip
    for order_id in sorted(from_sales):
        order_lifecycle.give_back(
            held.orders[order_id],
            from_sales[order_id],
            actor=actor,
            restocks=order_id == refund.order_id and _restocks(refund),
        )


def _restocks(refund: Refund) -> bool:
    """Whether somebody said that all goods came back: with this refund, or before."""
    earlier = Refund.objects.filter(
        order=refund.order_id, restocks=True, state=RefundState.DONE
    )
    return refund.restocks or earlier.exists()


def begin(refund: Refund, reserved: Reserved, *, actor: Any, reason: str) -> None:
    """Store a new refund with what it took and its first event."""
    assert connection.in_atomic_block, "call inside a transaction"
    if refund.state not in MOVES[""]:
        raise IllegalMove(f"a refund does not begin as {refund.state}")
    refund.reserved = reserved.allocation
    refund.from_sale = reserved.from_sale
    refund.save(force_insert=True)
    for part in reserved.parts:
        part.refund = refund
    RefundPart.objects.bulk_create(reserved.parts)
    _record(refund, "", actor, reason)


def move(
    refund: Refund, new: RefundState, *, actor: Any = None, reason: str, **changes: Any
) -> None:
    """Move a refund to another state, with what changes beside it, and one event.

    Call inside a transaction with its lock. Raises IllegalMove; nothing is written.
    """
    assert connection.in_atomic_block, "call inside a transaction"
    old = refund.state
    if new not in MOVES.get(RefundState(old), frozenset()):
        raise IllegalMove(f"{old} → {new}")
    if new in DECIDED:
        changes |= {"decided_at": clock.now(), "next_ask_at": None}
    changes["state"] = new
    if Refund.objects.filter(pk=refund.pk, state=old).update(**changes) != 1:
        raise IllegalMove(f"{old} → {new}: it is {old} no longer")
    for name, value in changes.items():
        setattr(refund, name, value)
    _record(refund, old, actor, reason)


def note(refund: Refund, *, actor: Any = None, reason: str) -> None:
    """Record something that happened to a refund without moving it."""
    _record(refund, refund.state, actor, reason)


def _sources(
    held: Held, *, sale_first: bool
) -> Iterator[tuple[Allocation | None, Decimal]]:
    """What is there to take, in the order of taking; None is unmatched money."""
    collection = held.collection
    unmatched = collection.amount - collection.allocated
    portions = list(
        ledger.current(collection)
        .filter(kind__in=TAKEN_FROM)
        .select_related("order", "payment")
        .order_by("id")
    )
    main = _main_order(held)
    portions.sort(
        key=lambda one: (
            list(TAKEN_FROM).index(AllocationKind(one.kind)),
            main is None or one.order_id != main.pk,
        )
    )
    sales = [one for one in portions if one.kind == AllocationKind.SALE]
    free = [one for one in portions if one.kind != AllocationKind.SALE]
    in_order = [*sales, None, *free] if sale_first else [None, *free, *sales]
    for portion in in_order:
        yield portion, unmatched if portion is None else portion.amount


def _take(
    held: Held, portion: Allocation, taken: Decimal, *, actor: Any, reason: str
) -> bool:
    """Free a portion; what the refund does not need stays what it was.

    True if it had paid a sale that is open.
    """
    portion.collection = held.collection
    ledger.release(portion, actor=actor, reason=reason)
    ledger.allocate(
        held.collection,
        [
            ledger.Portion(
                AllocationKind(portion.kind), portion.amount - taken, portion.order,
                portion.reason, portion.payment, portion.customer,
            )
        ],
        actor=actor,
    )  # fmt: skip
    if portion.order_id is None:
        return False
    order = held.orders[portion.order_id]
    if portion.kind == AllocationKind.SURPLUS:
        order_lifecycle.give_up_surplus(order, taken)
    was_open = portion.kind == AllocationKind.SALE and order.status == OrderStatus.OPEN
    if was_open:
        order_lifecycle.give_back(order, taken, actor=actor, restocks=False)
        _tell_screens(held, portion)
    return was_open


def to_go_back(order: Order) -> Decimal:
    """How much an open order was paid that undecided refunds took, in KES.

    It counts as not paid there, and is not given back yet.
    """
    total = RefundPart.objects.filter(
        source__order=order, was_open=True, refund__state__in=RefundState.UNDECIDED
    ).aggregate(total=Sum("amount"))["total"]
    return total or Decimal(0)


def _is_sales(part: RefundPart) -> bool:
    return part.source.kind == AllocationKind.SALE


def _tell_screens(held: Held, portion: Allocation) -> None:
    """Let who looks at the sale see that it has more or less of its money."""
    payment_id = portion.payment_id or held.collection.payment_id
    if payment_id in held.payments:
        payment = held.payments[payment_id]
        news.publish(payment, payment.order, "payment.updated")


def new_owner(held: Held, refund: Refund) -> Payment | None:
    """The payment whose the money became after its refund was asked for.

    M-Pesa said so, or it was guessed when a question proved that payment. A person who
    paid a sale with another part of it decided nothing about this one.
    """
    collection = held.collection
    if collection.payment_id in (None, refund.payment_id):
        return None
    is_its = collection.binding in (Binding.TOKEN, Binding.REFERENCE, Binding.FIT)
    return held.payments[collection.payment_id] if is_its else None


def _give_to(owner: Payment, held: Held, refund: Refund, *, actor: Any) -> None:
    """Let the sale of its owner take what was to go back; tell the sales that lose it.

    A guess takes only what was nobody's: what a person had kept or used stays that.
    """
    is_guess = held.collection.binding == Binding.FIT
    kept = Decimal(0)
    for part in _parts(refund):
        source = part.source
        if is_guess or source.order_id == owner.order_id:
            kept += _restore(held, part, actor=actor)
        elif source.kind == AllocationKind.SALE and source.order_id is not None:
            order = held.orders[source.order_id]
            if order.status == OrderStatus.OPEN and not part.was_open:
                order_lifecycle.give_back(
                    order, part.amount, actor=None, restocks=False
                )
            needs_it = order.status == OrderStatus.OPEN or not part.was_open
            words = precedence.ANOTHER_SALES if needs_it else precedence.ANOTHERS
            _tell(held, source.payment_id or refund.payment_id, words)
    taken = order_lifecycle.take_payment(
        owner.order, refund.amount - kept, actor=owner.created_by
    )
    ledger.allocate(
        held.collection,
        [
            ledger.Portion(AllocationKind.SALE, taken.to_sale, owner.order),
            ledger.Portion(AllocationKind.SURPLUS, taken.surplus, owner.order),
        ],
        actor=owner.created_by,
    )
    reason = "Its money did not go back: it is there"
    alarm = _alarm_of(owner, held.collection)
    lifecycle.note(owner, source=Source.PERSON, reason=reason, alarm=alarm)
    news.publish(owner, owner.order, "payment.updated")


def _alarm_of(owner: Payment, collection: Collection) -> str:
    """The alarm of a payment whose money was used, as far as it still is."""
    if owner.alarm not in (precedence.WENT_BACK, precedence.WAS_KEPT):
        return owner.alarm
    used = set(ledger.current(collection).values_list("kind", flat=True))
    return ["", *precedence.words_for(used)][-1]


def _tell(held: Held, payment_id: uuid.UUID | None, words: str) -> None:
    """Say at the payment that was made of it whose the money is."""
    if payment_id is None or held.payments[payment_id].alarm == words:
        return
    payment = held.payments[payment_id]
    lifecycle.note(payment, source=Source.PERSON, reason=words, alarm=words)
    news.publish(payment, payment.order, "payment.updated")


def _restore(held: Held, part: RefundPart, *, actor: Any) -> Decimal:
    """Put back a part of a refund to where it was; return how much it is, in KES.

    A sale that was open takes what it still needs of it. Locks its products if it
    becomes paid.
    """
    source = part.source
    if part.was_open:
        _offer_again(held, part)
        return part.amount
    portion = ledger.Portion(
        AllocationKind(source.kind), part.amount, source.order, source.reason,
        source.payment, source.customer,
    )  # fmt: skip
    ledger.allocate(held.collection, [portion], actor=actor)
    if source.kind == AllocationKind.SURPLUS and source.order_id is not None:
        order_lifecycle.regain_surplus(held.orders[source.order_id], part.amount)
    return part.amount


def _offer_again(held: Held, part: RefundPart) -> None:
    source = part.source
    assert source.order_id is not None
    order = held.orders[source.order_id]
    taken = order_lifecycle.take_payment(order, part.amount, actor=part.refund.asked_by)
    ledger.allocate(
        held.collection,
        [
            ledger.Portion(
                AllocationKind.SALE, taken.to_sale, order, source.reason, source.payment
            ),
            ledger.Portion(
                AllocationKind.SURPLUS, taken.surplus, order, payment=source.payment
            ),
        ],
        actor=part.refund.asked_by,
    )
    _tell_screens(held, source)


def _release_reserved(held: Held, refund: Refund, *, actor: Any, reason: str) -> None:
    refund.reserved.collection = held.collection
    ledger.release(refund.reserved, actor=actor, reason=reason)


def _parts(refund: Refund) -> list[RefundPart]:
    return list(refund.parts.select_related("source__order", "source__payment"))


def _main_order(held: Held) -> Order | None:
    """The sale of the payment by which the money came."""
    payment_id = held.collection.payment_id
    return held.payments[payment_id].order if payment_id is not None else None


def _record(refund: Refund, old: str, actor: Any, reason: str) -> None:
    RefundEvent.objects.create(
        refund=refund,
        old=old,
        new=refund.state,
        actor=actor,
        reason=reason[:300],
        created_at=clock.now(),
    )
