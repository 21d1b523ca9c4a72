"""Putting goods on the shelf list."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from shops import stock
from shops.models import Product
from shops.tenancy import Access
from smartduka.lib.errors import InvalidRequest
from smartduka.lib.transactions import repeated


class BarcodeTaken(InvalidRequest):
    """Another product of the shop has this barcode."""

    message = "Another product of your shop has this barcode."


@repeated
def add_product(*, access: Access, **fields: Any) -> Product:
    """Add a product, with a first stock if one is given.

    Opens a transaction. Raises BarcodeTaken.
    """
    pieces = fields.pop("stock", 0)
    try:
        with transaction.atomic(durable=True):
            product = Product.objects.create(shop=access.shop, **fields)
            if pieces:
                stock.receive(product, quantity=pieces, actor=access.user)
    except IntegrityError:
        raise BarcodeTaken(details={"barcode": ["taken"]}) from None
    product.refresh_from_db()
    return product


@repeated
def change_product(product: Product, *, access: Access, **fields: Any) -> Product:
    """Change a product; `stock` is a count and becomes a movement.

    Opens a transaction; locks the product when it is counted. Raises BarcodeTaken.
    """
    counted = fields.pop("stock", None)
    try:
        with transaction.atomic(durable=True):
            for name, value in fields.items():
                setattr(product, name, value)
            if fields:
                product.save(update_fields=list(fields))
            if counted is not None:
                stock.count_correction(product, counted=counted, actor=access.user)
    except IntegrityError:
        raise BarcodeTaken(details={"barcode": ["taken"]}) from None
    product.refresh_from_db()
    return product
