"""Shapes of orders, in and out."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from smartduka.lib.api import StrictText, WholeNumber


class OrderItemInput(serializers.Serializer[Any]):
    """So many pieces of a product."""

    productId = StrictText(max_length=40)
    quantity = WholeNumber()


class OrderInput(serializers.Serializer[Any]):
    """A sale."""

    items = OrderItemInput(many=True, allow_empty=True)


class LineOutput(serializers.Serializer[Any]):
    """A line of an order."""

    productId = serializers.CharField()
    name = serializers.CharField()
    quantity = serializers.IntegerField()
    unitPrice = serializers.CharField()
    lineTotal = serializers.CharField()


class OrderOutput(serializers.Serializer[Any]):
    """An order; money as decimal strings in KES."""

    id = serializers.CharField()
    number = serializers.IntegerField()
    status = serializers.CharField()
    total = serializers.CharField()
    paid = serializers.CharField()
    balance = serializers.CharField()
    surplus = serializers.CharField()
    rounding = serializers.CharField()
    createdAt = serializers.CharField()
    lines = LineOutput(many=True)
