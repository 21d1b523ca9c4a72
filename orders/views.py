"""The API of sales. Paying and cancelling need M-Pesa: see the payments app."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orders import checkout, queries
from orders.serializers import OrderInput, OrderOutput
from orders.states import order_state
from shops.api import ShopView
from shops.rights import Right


class Orders(ShopView):
    """List the shop's sales; open one."""

    @extend_schema(responses=OrderOutput(many=True))
    def get(self, request: Request) -> Response:
        """Sales, newest first."""
        return self.paginated(queries.orders_of(self.access.shop), order_state)

    @extend_schema(request=OrderInput, responses={201: OrderOutput})
    def post(self, request: Request) -> Response:
        """Open a sale at today's prices. Cashier and up."""
        self.access.require(Right.SELL)
        fields = OrderInput(data=request.data)
        fields.is_valid(raise_exception=True)
        items = [
            checkout.Item(item["productId"], item["quantity"])
            for item in fields.validated_data["items"]
        ]
        order = checkout.place_order(
            shop=self.access.shop, actor=self.access.user, items=items
        )
        return Response(order_state(order), status=201)


class OrderDetail(ShopView):
    """One sale."""

    @extend_schema(responses=OrderOutput)
    def get(self, request: Request, order_id: str) -> Response:
        """The sale as it stands."""
        return Response(order_state(queries.order_for(self.access.shop, order_id)))
