"""Shapes of what comes in, and of what the schema promises to go out."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from smartduka.lib.api import StrictText, WholeNumber


class CashInput(serializers.Serializer[Any]):
    """Cash given, in KES."""

    amount = WholeNumber()
    idempotencyKey = StrictText(max_length=200, required=False, allow_null=True)


class InitiateInput(serializers.Serializer[Any]):
    """A prompt, in KES; without an amount, the order's balance."""

    orderId = StrictText(max_length=64)
    phoneNumber = StrictText(max_length=60, allow_blank=True)
    amount = WholeNumber(required=False, allow_null=True)
    idempotencyKey = StrictText(max_length=200, required=False, allow_null=True)
    acceptRisk = serializers.BooleanField(required=False, default=False)

    def validate_acceptRisk(self, value: bool) -> bool:  # noqa: FBT001, N802 -- DRF's hook for the field acceptRisk
        """Only true and false are a yes or no; text and numbers are not."""
        if not isinstance(self.initial_data.get("acceptRisk", False), bool):
            raise serializers.ValidationError("Must be true or false.")
        return value


class InitiateOutput(serializers.Serializer[Any]):
    """The answer to a prompt."""

    success = serializers.BooleanField()
    transactionId = serializers.CharField()
    checkoutRequestId = serializers.CharField(allow_null=True)
    status = serializers.CharField()
    expiresAt = serializers.CharField()
    message = serializers.CharField()
    isIdempotent = serializers.BooleanField()


class State(serializers.Serializer[Any]):
    """A payment's state; amount in KES."""

    transactionId = serializers.CharField()
    orderId = serializers.CharField()
    orderNumber = serializers.IntegerField()
    method = serializers.CharField()
    status = serializers.CharField()
    amount = serializers.IntegerField()
    phoneNumber = serializers.CharField()
    checkoutRequestId = serializers.CharField(allow_null=True)
    mpesaReceiptNumber = serializers.CharField(allow_null=True)
    resultCode = serializers.CharField(allow_null=True)
    resultDesc = serializers.CharField(allow_null=True)
    errorCode = serializers.CharField(allow_null=True)
    message = serializers.CharField()
    retryable = serializers.BooleanField()
    undecided = serializers.BooleanField()
    canResendAt = serializers.CharField(allow_null=True)
    expiresAt = serializers.CharField(allow_null=True)
    completedAt = serializers.CharField(allow_null=True)
    orderStatus = serializers.CharField()


class AskedState(State):
    """A state, and whether M-Pesa was asked for it."""

    asked = serializers.BooleanField()


class CashOutput(serializers.Serializer[Any]):
    """Cash as taken; change and balance in KES."""

    success = serializers.BooleanField()
    transactionId = serializers.CharField()
    change = serializers.IntegerField()
    balance = serializers.IntegerField()
    orderStatus = serializers.CharField()
    undecided = serializers.ListField(child=serializers.CharField())


class TicketOutput(serializers.Serializer[Any]):
    """A ticket that opens one WebSocket."""

    ticket = serializers.CharField()
    expiresIn = serializers.IntegerField()
