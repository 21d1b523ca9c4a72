"""Putting a sale together while it is open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import F

from orders import lifecycle, pricing, queries
from orders.enums import OrderStatus
from orders.models import Order, OrderEvent, OrderLine
from shops.models import Product, Shop
from smartduka.lib import clock
from smartduka.lib.errors import DomainError, InvalidRequest, NotFound
from smartduka.lib.transactions import repeated


MOST_LINES = 300
MOST_PIECES = 10_000
LARGEST_TOTAL = Decimal("99999999.00")
TEST_TOTAL = pricing.Total(payable=Decimal("1.00"), rounding=Decimal("0.00"))
TEST_REASON = "To test M-Pesa: no goods"


class InvalidItems(InvalidRequest):
    """The list of goods makes no sale."""

    message = "A sale needs at least one product, and at least one piece of each."


class TooManyGoods(InvalidItems):
    """More products, or more pieces of one, than a sale takes."""

    said_as = "TOO_MANY_GOODS"


class OutOfStock(DomainError):
    """Less is there than was asked for."""

    code = "OUT_OF_STOCK"
    http_status = 409


class LinesFrozen(DomainError):
    """A payment was begun for the lines as they are."""

    code = "ORDER_NOT_OPEN"
    message = "A payment was already begun for this sale. Finish it, or cancel it."
    http_status = 409


@dataclass(frozen=True, slots=True)
class Item:
    """So many pieces of one product."""

    product_id: str
    quantity: int


@repeated
def place_order(*, shop: Shop, actor: Any, items: Sequence[Item]) -> Order:
    """Open a sale with these goods at today's prices; return it with its lines.

    Opens a transaction and locks the shop's number counter. Stock is looked at,
    not reserved: two tills may both sell the last piece, and both sales stand.
    Raises InvalidItems, NotFound (a product), OutOfStock.
    """
    lines = _lines(shop, items)
    total = _total(lines)
    with transaction.atomic(durable=True):
        order = _open(shop, actor, total)
        _save_lines(order, lines)
    return order


@repeated
def place_test(*, shop: Shop, actor: Any) -> Order:
    """Open a sale of KES 1 without goods, to try out how it is paid.

    One that nobody paid is taken again. Opens a transaction.
    """
    with transaction.atomic(durable=True):
        # Whoever else tries at the same time waits here.
        Shop.objects.select_for_update(no_key=True).get(pk=shop.pk)
        unpaid = queries.tests_of(shop).filter(status=OrderStatus.OPEN).first()
        return unpaid or _open(
            shop, actor, TEST_TOTAL, is_test=True, reason=TEST_REASON
        )


@repeated
def replace_lines(
    order_id: object, *, shop: Shop, actor: Any, items: Sequence[Item]
) -> Order:
    """Change the goods of an open sale for which no payment was begun.

    Opens a transaction, locks the order. Raises what `place_order` raises, and
    OrderNotOpen, LinesFrozen, NotFound (the order).
    """
    found = queries.order_for(shop, order_id)
    lines = _lines(shop, items)
    total = _total(lines)
    with transaction.atomic(durable=True):
        order = lifecycle.locked(found.pk)
        lifecycle.require_open(order)
        if order.frozen_at is not None:
            raise LinesFrozen
        order.lines.all().delete()
        _save_lines(order, lines)
        order.total, order.rounding = total.payable, total.rounding
        order.save(update_fields=["total", "rounding"])
    return order


def _open(
    shop: Shop,
    actor: Any,
    total: pricing.Total,
    *,
    is_test: bool = False,
    reason: str = "",
) -> Order:
    Shop.objects.filter(pk=shop.pk).update(last_order_number=F("last_order_number") + 1)
    order = Order.objects.create(
        shop=shop,
        number=Shop.objects.values_list("last_order_number", flat=True).get(pk=shop.pk),
        total=total.payable,
        rounding=total.rounding,
        is_test=is_test,
        created_by=actor,
        created_at=clock.now(),
    )
    OrderEvent.objects.create(
        order=order,
        new=OrderStatus.OPEN,
        actor=actor,
        reason=reason,
        created_at=order.created_at,
    )
    return order


def _lines(shop: Shop, items: Sequence[Item]) -> list[OrderLine]:
    quantities = _quantities(items)
    found = {
        str(product.pk): product
        for product in Product.objects.filter(
            shop=shop,
            is_active=True,
            pk__in=[int(key) for key in quantities if _is_id(key)],
        )
    }
    unknown = [key for key in quantities if key not in found]
    if unknown:
        raise NotFound(
            "A product of this sale does not exist in your shop.",
            details={"productIds": unknown},
        )
    _require_stock(found, quantities)
    return [
        OrderLine(
            product=found[key],
            name=found[key].name,
            quantity=quantity,
            unit_price=found[key].price,
            line_total=pricing.line_total(found[key].price, quantity),
        )
        for key, quantity in quantities.items()
    ]


def _quantities(items: Sequence[Item]) -> dict[str, int]:
    quantities: dict[str, int] = {}
    for item in items:
        if item.quantity < 1:
            raise InvalidItems
        quantities[item.product_id] = quantities.get(item.product_id, 0) + item.quantity
    if not quantities:
        raise InvalidItems
    if len(quantities) > MOST_LINES or max(quantities.values()) > MOST_PIECES:
        raise TooManyGoods(
            f"A sale takes at most {MOST_LINES} products"
            f" and {MOST_PIECES:,} pieces of each."
        )
    return quantities


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _require_stock(found: dict[str, Product], quantities: dict[str, int]) -> None:
    short = [
        found[key] for key, count in quantities.items() if found[key].stock < count
    ]
    if short:
        raise OutOfStock(
            "; ".join(
                f"Only {max(product.stock, 0)} left of {product.name}"
                for product in short
            )
            + ".",
            details={
                "products": [
                    {"productId": str(product.pk), "stock": max(product.stock, 0)}
                    for product in short
                ]
            },
        )


def _total(lines: Sequence[OrderLine]) -> pricing.Total:
    total = pricing.total(line.line_total for line in lines)
    if total.payable < 1:
        raise InvalidItems("This sale comes to less than one shilling.")
    if total.payable > LARGEST_TOTAL:
        raise InvalidItems("This sale is too large. Split it.")
    return total


def _save_lines(order: Order, lines: Sequence[OrderLine]) -> None:
    for line in lines:
        line.order = order
    OrderLine.objects.bulk_create(lines)
