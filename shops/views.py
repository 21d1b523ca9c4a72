"""The API of a shop's goods."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from shops import catalog, queries
from shops.api import Pages, ShopView
from shops.models import Product
from shops.rights import Right
from smartduka.lib.api import StrictText, WholeNumber


class ProductInput(serializers.Serializer[Any]):
    """A product as an owner or manager describes it; price in KES."""

    name = StrictText(max_length=120)
    barcode = StrictText(max_length=48, allow_blank=True, required=False)
    category = StrictText(max_length=60, allow_blank=True, required=False)
    price = serializers.DecimalField(
        max_digits=10, decimal_places=2, min_value=Decimal("0.01")
    )
    stock = WholeNumber(min_value=0, max_value=1_000_000_000, required=False)


class ProductOutput(serializers.Serializer[Any]):
    """A product as everybody of the shop sees it."""

    id = serializers.CharField()
    name = serializers.CharField()
    barcode = serializers.CharField()
    category = serializers.CharField()
    price = serializers.CharField()
    stock = serializers.IntegerField()


def product_state(product: Product) -> dict[str, Any]:
    """A product as the API shows it."""
    return {
        "id": str(product.pk),
        "name": product.name,
        "barcode": product.barcode,
        "category": product.category,
        "price": f"{product.price:.2f}",
        "stock": product.stock,
    }


class ByName(Pages):
    """Goods are listed by name."""

    ordering = ("name", "id")
    page_size = 100
    max_page_size = 500

    def is_place(self, text: str) -> bool:
        """Whether it can be a name."""
        return "\0" not in text


class Products(ShopView):
    """List the shop's goods; add one."""

    @extend_schema(
        parameters=[OpenApiParameter("search", str)],
        responses=ProductOutput(many=True),
    )
    def get(self, request: Request) -> Response:
        """Goods by name or barcode."""
        rows = queries.products(
            self.access.shop, search=request.query_params.get("search", "")
        )
        pages = ByName()
        page = pages.paginate_queryset(rows, request, view=self) or []
        return pages.get_paginated_response([product_state(row) for row in page])

    @extend_schema(request=ProductInput, responses={201: ProductOutput})
    def post(self, request: Request) -> Response:
        """Add a product. Owners and managers."""
        self.access.require(Right.GOODS)
        fields = ProductInput(data=request.data)
        fields.is_valid(raise_exception=True)
        product = catalog.add_product(access=self.access, **fields.validated_data)
        return Response(product_state(product), status=201)


class ProductDetail(ShopView):
    """One product."""

    @extend_schema(responses=ProductOutput)
    def get(self, request: Request, product_id: str) -> Response:
        """The product."""
        product = queries.product_for(self.access.shop, product_id)
        return Response(product_state(product))

    @extend_schema(request=ProductInput(partial=True), responses=ProductOutput)
    def patch(self, request: Request, product_id: str) -> Response:
        """Change some of it. A stock given is what was counted."""
        self.access.require(Right.GOODS)
        product = queries.product_for(self.access.shop, product_id)
        fields = ProductInput(data=request.data, partial=True)
        fields.is_valid(raise_exception=True)
        product = catalog.change_product(
            product, access=self.access, **fields.validated_data
        )
        return Response(product_state(product))
