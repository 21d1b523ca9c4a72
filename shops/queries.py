"""Reading a shop's goods."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from shops.models import Product, Shop
from smartduka.lib.errors import NotFound


def products(shop: Shop, *, search: str = "", category: str = "") -> QuerySet[Product]:
    """What the shop sells, by name; `search` looks in names and barcodes."""
    found = Product.objects.filter(shop=shop, is_active=True)
    if category:
        found = found.filter(category=category)
    for word in search.replace("\0", " ").split():
        found = found.filter(Q(name__icontains=word) | Q(barcode__startswith=word))
    return found.order_by("name", "pk")


def product_for(shop: Shop, product_id: str) -> Product:
    """The shop's product of that id. Raises NotFound."""
    if product_id.isascii() and product_id.isdigit() and len(product_id) < 19:
        product = Product.objects.filter(shop=shop, pk=int(product_id)).first()
        if product is not None:
            return product
    raise NotFound("This product does not exist in your shop.")


def product_by_barcode(shop: Shop, code: str) -> Product | None:
    """The shop's product with exactly that barcode."""
    if not code or "\0" in code:
        return None
    return products(shop).filter(barcode=code).first()


def categories(shop: Shop) -> list[str]:
    """The categories in use, by name."""
    names = products(shop).exclude(category="").order_by("category")
    return list(names.values_list("category", flat=True).distinct())
