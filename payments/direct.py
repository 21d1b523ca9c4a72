"""Payments that are made of money which is there already: method c2b.

A customer paid the till by hand, or a surplus is used for another sale. The payment
is complete the moment it is made, like cash; its money is a collection, or a portion
of one, and is allocated in the same transaction.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from orders import lifecycle as order_lifecycle
from orders.models import Order
from payments import ledger, lifecycle, news, payer, receipts
from payments.enums import AllocationKind, Binding, Method, PaymentStatus, Source
from payments.models import Collection, Payment, Receipt
from shops.models import Shop
from smartduka.lib import clock
from smartduka.lib.money import format_kes


def collect(
    receipt: Receipt,
    *,
    shop: Shop | None,
    payment: Payment | None = None,
    binding: str = "",
) -> Collection:
    """Count a receipt's money: a collection without allocations.

    Call inside a transaction with the receipt's lock. Raises IntegrityError when the
    receipt was counted meanwhile; then nothing is written.
    """
    now = clock.now()
    source = best_source(receipt)
    collection = Collection.objects.create(
        account=receipt.account,
        environment=receipt.account.environment,
        shop=shop,
        payment=payment,
        receipt=receipt.number,
        amount=receipt.amount,
        phone=receipt.payer,
        binding=binding,
        source=source,
        paid_at=receipt.paid_at,
        sighted_at=now,
        confirmed_at=now if receipt.is_proven else None,
    )
    receipts.count(collection)
    receipt.refresh_from_db()
    return collection


def pay(
    order: Order,
    collection: Collection,
    amount: Decimal,
    *,
    actor: Any,
    reason: str,
    source: Source = Source.PERSON,
) -> Payment:
    """Pay an order with free money of a collection, in KES; return the payment.

    Call inside a transaction with the order's lock, and with `amount` of the
    collection unallocated. Locks the collection and, when the sale becomes paid, its
    products. What the sale does not need is surplus. Raises ledger.Overdrawn.
    """
    now = clock.now()
    payment = Payment(
        shop_id=order.shop_id,
        order=order,
        method=Method.C2B,
        amount=amount,
        created_by=actor,
        created_at=now,
        account=collection.account,
        environment=collection.environment,
        shortcode=collection.account.shortcode if collection.account else "",
        party_b=collection.account.party_b if collection.account else "",
        phone=payer.full_number(collection.phone),
        receipt=collection.receipt or "",
    )
    lifecycle.begin(payment, source=source, actor=actor, reason=reason)
    if collection.payment_id is None and collection.allocated == 0:
        Collection.objects.filter(pk=collection.pk, payment__isnull=True).update(
            payment=payment, shop_id=order.shop_id, binding=Binding.PERSON
        )
        collection.payment = payment
    lifecycle.move(
        payment,
        PaymentStatus.COMPLETED,
        source=source,
        actor=actor,
        reason=f"{format_kes(amount)} arrived"
        + (f", receipt {collection.receipt}" if collection.receipt else ""),
        result_code="0",
    )
    order_lifecycle.freeze(order)
    taken = order_lifecycle.take_payment(order, amount, actor=actor)
    ledger.allocate(
        collection,
        [
            ledger.Portion(AllocationKind.SALE, taken.to_sale, order, reason, payment),
            ledger.Portion(
                AllocationKind.SURPLUS,
                taken.surplus,
                order,
                f"The sale needed no more: it is {order.get_status_display().lower()}",
                payment,
            ),
        ],
        actor=actor,
    )
    news.publish(payment, order, "payment.completed")
    return payment


def best_source(receipt: Receipt) -> Source:
    """The strongest source that told of it."""
    told = set(receipt.sightings.values_list("source", flat=True))
    for source in (Source.STATEMENT, Source.STATUS, Source.PULL, Source.C2B):
        if source in told:
            return source
    return Source.C2B
