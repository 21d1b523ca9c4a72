"""Reading a shop's orders."""

from __future__ import annotations

import uuid

from django.db.models import QuerySet

from orders.models import Order
from shops.models import Shop
from smartduka.lib.errors import NotFound


def orders_of(shop: Shop) -> QuerySet[Order]:
    """The shop's orders with their lines, newest first."""
    return (
        Order.objects.filter(shop=shop)
        .prefetch_related("lines")
        .order_by("-created_at", "-id")
    )


def tests_of(shop: Shop) -> QuerySet[Order]:
    """The shop's sales without goods that were made to try out how it is paid."""
    return Order.objects.filter(shop=shop, is_test=True)


def order_for(shop: Shop, order_id: object) -> Order:
    """The shop's order of that id. Raises NotFound, also for nonsense."""
    try:
        key = uuid.UUID(str(order_id))
    except ValueError:
        raise NotFound("This sale does not exist in your shop.") from None
    order = Order.objects.filter(shop=shop, pk=key).first()
    if order is None:
        raise NotFound("This sale does not exist in your shop.")
    return order
