"""Cash: a payment that is complete the moment it is made."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from django.db import IntegrityError, transaction

from orders import lifecycle as order_lifecycle
from orders.models import Order
from orders.queries import order_for
from payments import ledger, lifecycle, news, queries, questions
from payments.enums import AllocationKind, Method, PaymentStatus, Source
from payments.intents import fingerprint, payment_of_key
from payments.models import Collection, Payment
from payments.refusals import AmountTooSmall, InFlight
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.errors import InvalidRequest
from smartduka.lib.money import format_kes, whole
from smartduka.lib.transactions import repeated


MOST_CASH = 100_000_000
CENTS = "The sale needed cents less than whole shillings"


@dataclass(frozen=True, slots=True)
class CashTaken:
    """Cash as taken: the payment, the change to give back in KES, the order after.

    `undecided`: M-Pesa payments of the order that may still be paid.
    """

    payment: Payment
    change: int
    order: Order
    undecided: list[Payment]
    is_new: bool = True


def take(
    *, access: Access, order_id: object, amount: int, key: str | None
) -> CashTaken:
    """Take cash for an order, whole shillings; more than the balance gives change.

    Less than the balance is a part payment; of a balance with cents the next shilling
    is kept, and what it is too much is surplus. Asks about undecided prompts first
    (law 6) and says which remain: cash is always possible. The same key returns
    the payment it made. Call outside any transaction, for M-Pesa is asked; opens one,
    locks the order, its products.

    Raises Forbidden, NotFound, IdempotencyMismatch, AmountTooSmall, InvalidRequest,
    OrderNotOpen, InFlight.
    """
    access.require(Right.SELL)
    order = order_for(access.shop, order_id)
    request_hash = fingerprint("cash", order.pk, amount)
    if key and (twin := payment_of_key(access.shop, key, request_hash)):
        return _as_taken(twin)
    if amount < 1:
        raise AmountTooSmall
    if amount > MOST_CASH:
        raise InvalidRequest("This is more cash than a till can take.")
    questions.ask_first(queries.undecided_of_order(order))
    try:
        return _take(access, order, amount, key, request_hash)
    except IntegrityError:
        twin = payment_of_key(access.shop, key, request_hash) if key else None
        if twin is None:
            raise InFlight(details={"retryAfter": 1}) from None
        return _as_taken(twin)


@repeated
def _take(
    access: Access, found: Order, amount: int, key: str | None, request_hash: str
) -> CashTaken:
    with transaction.atomic(durable=True):
        order = order_lifecycle.locked(found.pk)
        if key and (twin := payment_of_key(access.shop, key, request_hash)):
            return _as_taken(twin)
        order_lifecycle.require_open(order)
        kept = min(Decimal(amount), order.to_pay)
        payment = _payment(access, order, kept, amount, key, request_hash)
        _collect(access, order, payment)
        order_lifecycle.freeze(order)
        news.publish(payment, order, "payment.completed")
        undecided = list(queries.undecided_of_order(order))
    return CashTaken(payment, amount - whole(kept), order, undecided)


def _payment(
    access: Access,
    order: Order,
    kept: Decimal,
    tendered: int,
    key: str | None,
    request_hash: str,
) -> Payment:
    payment = Payment(
        shop=access.shop,
        order=order,
        method=Method.CASH,
        amount=kept,
        tendered=Decimal(tendered),
        created_by=access.user,
        created_at=clock.now(),
        answered_at=clock.now(),
        idempotency_key=key,
        request_hash=request_hash,
    )
    lifecycle.begin(
        payment,
        source=Source.DRAWER,
        actor=access.user,
        reason=f"{format_kes(tendered)} given in cash",
    )
    lifecycle.move(
        payment,
        PaymentStatus.COMPLETED,
        source=Source.DRAWER,
        actor=access.user,
        reason=f"{format_kes(kept)} kept",
    )
    return payment


def _collect(access: Access, order: Order, payment: Payment) -> None:
    now = clock.now()
    collection = Collection.objects.create(
        shop=access.shop,
        payment=payment,
        amount=payment.amount,
        source=Source.DRAWER,
        paid_at=now,
        sighted_at=now,
        confirmed_at=now,
    )
    taken = order_lifecycle.take_payment(order, payment.amount, actor=access.user)
    portions = [
        ledger.Portion(AllocationKind.SALE, taken.to_sale, order),
        ledger.Portion(AllocationKind.SURPLUS, taken.surplus, order, CENTS),
    ]
    ledger.allocate(collection, portions, actor=access.user)


def _as_taken(payment: Payment) -> CashTaken:
    assert payment.tendered is not None
    return CashTaken(
        payment,
        whole(payment.tendered - payment.amount),
        payment.order,
        list(queries.undecided_of_order(payment.order)),
        is_new=False,
    )
