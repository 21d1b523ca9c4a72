"""The only writer of `Order.status`, and of the money facts beside it.

Callers lock the order first (law 12); these functions look again, write, and
record the event. They never refuse money: they answer what the sale took.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from orders.enums import OrderStatus
from orders.models import Order, OrderEvent
from shops import stock
from smartduka.lib import clock
from smartduka.lib.errors import DomainError
from smartduka.lib.transactions import repeated


class OrderNotOpen(DomainError):
    """The order is paid, cancelled or refunded."""

    code = "ORDER_NOT_OPEN"
    message = "This sale is closed already."
    http_status = 409


class OrderHasMoney(DomainError):
    """Money lies on the order, so it cannot simply be cancelled."""

    code = "ORDER_HAS_MONEY"
    message = "Money was already paid for this sale, so it cannot be cancelled."
    http_status = 409


@dataclass(frozen=True, slots=True)
class Taken:
    """What an order made of money that arrived, in KES; the two add up to it."""

    to_sale: Decimal
    surplus: Decimal
    became_paid: bool = False


def locked(order_id: uuid.UUID | str) -> Order:
    """Return the order under its lock. Call inside a transaction."""
    assert connection.in_atomic_block, "call inside a transaction"
    return Order.objects.select_for_update(no_key=True).get(pk=order_id)


def locked_all(order_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Order]:
    """Return several orders under their locks, taken in the order of their ids."""
    assert connection.in_atomic_block, "call inside a transaction"
    return {order_id: locked(order_id) for order_id in sorted(set(order_ids))}


def require_open(order: Order) -> None:
    """Raise OrderNotOpen, in words that fit, unless the order is open."""
    if order.status == OrderStatus.PAID:
        raise OrderNotOpen("This sale is paid already.")
    if order.status == OrderStatus.CANCELLED:
        raise OrderNotOpen("This sale was cancelled. Start a new one.")
    if order.status != OrderStatus.OPEN:
        raise OrderNotOpen


def freeze(order: Order) -> None:
    """Fix the lines, because a payment is begun for them. Needs the order's lock."""
    if order.frozen_at is None:
        order.frozen_at = clock.now()
        order.save(update_fields=["frozen_at"])


def take_payment(order: Order, amount: Decimal, *, actor: Any) -> Taken:
    """Let the order take what it needs of money that arrived; close it if full.

    Needs the order's lock; locks the products when the sale becomes paid. An
    order that is not open takes nothing, and what is not needed is surplus.
    Stock may go below zero: the order is flagged, the sale stands.
    """
    taken = _share(order, amount)
    order.paid += taken.to_sale
    order.surplus += taken.surplus
    if taken.became_paid:
        _close(order, actor)
    order.save(update_fields=["paid", "surplus", "status", "paid_at", "stock_short"])
    return taken


def give_up_surplus(order: Order, amount: Decimal) -> None:
    """Count so much surplus less, in KES: somebody used it. Needs the order's lock."""
    order.surplus -= amount
    order.save(update_fields=["surplus"])


def regain_surplus(order: Order, amount: Decimal) -> None:
    """Count so much surplus more, in KES: it was freed. Needs the order's lock."""
    order.surplus += amount
    order.save(update_fields=["surplus"])


def give_back(order: Order, amount: Decimal, *, actor: Any, restocks: bool) -> None:
    """Count so much of what was paid, in KES, as gone back to the customer.

    Needs the order's lock; locks the products when it restocks. A paid order of which
    all went back becomes refunded; it never opens again. An open one needs the money
    again, so there it counts as not paid. Goods return with the last of the money, all
    together and once: which pieces a part of it was for, nobody said.
    """
    if order.status == OrderStatus.OPEN:
        order.paid -= amount
        order.save(update_fields=["paid"])
        return
    order.refunded += amount
    if order.status == OrderStatus.PAID and order.refunded == order.paid:
        _move(order, OrderStatus.REFUNDED, actor=actor)
        if restocks:
            quantities = dict(order.lines.values_list("product_id", "quantity"))
            stock.give_back(quantities, reference=order.stock_reference, actor=actor)
    order.save(update_fields=["refunded", "status"])


@repeated
def cancel(order_id: uuid.UUID | str, *, actor: Any) -> Order:
    """Cancel an open order without money on it; return it.

    Opens a transaction, locks the order. Cancelling twice is one cancelling.
    Raises OrderHasMoney. A prompt may still be undecided: if it is paid later,
    the money becomes surplus and a person decides.
    """
    with transaction.atomic(durable=True):
        order = locked(order_id)
        if order.paid > 0 or order.status == OrderStatus.REFUNDED:
            raise OrderHasMoney
        if order.status == OrderStatus.OPEN:
            order.cancelled_at = clock.now()
            _move(order, OrderStatus.CANCELLED, actor=actor)
            order.save(update_fields=["status", "cancelled_at"])
    return order


def _share(order: Order, amount: Decimal) -> Taken:
    to_sale = min(order.balance, amount)
    return Taken(
        to_sale=to_sale,
        surplus=amount - to_sale,
        became_paid=to_sale > 0 and to_sale == order.balance,
    )


def _close(order: Order, actor: Any) -> None:
    quantities = dict(order.lines.values_list("product_id", "quantity"))
    below_zero = stock.deduct(quantities, reference=order.stock_reference, actor=actor)
    order.stock_short = bool(below_zero)
    order.paid_at = clock.now()
    _move(order, OrderStatus.PAID, actor=actor)


def _move(order: Order, new: OrderStatus, *, actor: Any) -> None:
    old, order.status = order.status, new
    OrderEvent.objects.create(
        order=order, old=old, new=new, actor=actor, created_at=clock.now()
    )
