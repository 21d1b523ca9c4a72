"""The only writer of stock levels.

Every change locks its products in the order of their ids (law 12), writes the
level and one movement beside it. Selling never refuses: the money is there
already, so a level may go below zero and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import connection

from shops.enums import StockReason
from shops.models import Product, StockMovement
from smartduka.lib.errors import DomainError


class NothingToMove(DomainError):
    """A movement of no pieces, or of a negative number of received ones."""

    message = "Say how many pieces, at least one."


def receive(product: Product, *, quantity: int, actor: Any, reference: str = "") -> int:
    """Add pieces that came in; return the new level.

    Call inside a transaction. Locks the product. Raises NothingToMove.
    """
    if quantity < 1:
        raise NothingToMove
    levels = _move({product.pk: quantity}, StockReason.RECEIVED, reference, actor)
    return levels[product.pk]


def count_correction(product: Product, *, counted: int, actor: Any) -> int:
    """Set the level to what was counted; return it. No movement if it was right.

    Call inside a transaction. Locks the product.
    """
    missing = counted - _locked([product.pk])[product.pk].stock
    if missing:
        _move({product.pk: missing}, StockReason.COUNTED, "", actor)
    return counted


def deduct(quantities: Mapping[int, int], *, reference: str, actor: Any) -> list[int]:
    """Take sold pieces out; return the ids whose level went below zero.

    Call inside a transaction. Locks the products. Never refuses: an unknown
    product id is the only error (KeyError), and foreign keys exclude it.
    """
    taken = {product_id: -quantity for product_id, quantity in quantities.items()}
    levels = _move(taken, StockReason.SOLD, reference, actor)
    return [product_id for product_id, level in levels.items() if level < 0]


def give_back(
    quantities: Mapping[int, int], *, reference: str, actor: Any
) -> dict[int, int]:
    """Put the pieces of a sale back, once per sale; return the new levels.

    Call inside a transaction. Locks the products. What was given back for the same
    reference before is left out.
    """
    _locked(quantities)
    returned = StockMovement.objects.filter(
        reason=StockReason.RETURNED, reference=reference, product_id__in=quantities
    ).values_list("product_id", flat=True)
    missing = {key: pieces for key, pieces in quantities.items() if key not in returned}
    return _move(missing, StockReason.RETURNED, reference, actor) if missing else {}


def _move(
    changes: Mapping[int, int], reason: StockReason, reference: str, actor: Any
) -> dict[int, int]:
    products = _locked(changes)
    for product_id, change in changes.items():
        products[product_id].stock += change
    StockMovement.objects.bulk_create(
        StockMovement(
            product_id=product_id,
            quantity=change,
            level_after=products[product_id].stock,
            reason=reason,
            reference=reference,
            actor=actor,
        )
        for product_id, change in changes.items()
    )
    Product.objects.bulk_update(products.values(), ["stock"])
    return {product_id: products[product_id].stock for product_id in changes}


def _locked(product_ids: Iterable[int]) -> dict[int, Product]:
    assert connection.in_atomic_block, "call inside a transaction"
    rows = Product.objects.select_for_update(no_key=True).filter(
        pk__in=list(product_ids)
    )
    return {product.pk: product for product in rows.order_by("pk")}
