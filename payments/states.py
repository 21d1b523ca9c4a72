"""Payments and orders as the API, the sockets and the pages show them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from payments.enums import FailureReason, Method, PaymentStatus
from payments.gateways import result_codes
from payments.models import Payment
from smartduka.lib import clock
from smartduka.lib.money import whole


SENT_BACK = result_codes.Words(
    "M-Pesa sent this money back to the customer.",
    "The sale counts it as refunded.",
    "M-Pesa imemrudishia mteja pesa hizi.",
    "Mauzo yanaihesabu kuwa imerudishwa.",
)
NO_ANSWER = result_codes.Words(
    "M-Pesa has not answered yet: the customer must not pay again.",
    "Ask the customer to check the phone. If it is paid, it shows here by itself.",
    "M-Pesa haijajibu bado: mteja asilipe tena.",
    "Mwambie mteja aangalie simu. Ikilipwa, itaonekana hapa yenyewe.",
)
EXPIRED = result_codes.Words(
    "M-Pesa never told us: the customer must not pay again yet.",
    "Check the customer's M-Pesa message. If it is paid, it shows here by itself.",
    "M-Pesa haikutujulisha: mteja asilipe tena kwa sasa.",
    "Angalia ujumbe wa M-Pesa wa mteja. Ikilipwa, itaonekana hapa yenyewe.",
)
STOPPED = result_codes.Words(
    "Stopped waiting. If the customer pays after all, the money is recorded.",
    "If it is paid, it shows here by itself.",
    "Tumeacha kusubiri. Mteja akilipa, pesa zitarekodiwa.",
    "Ikilipwa, itaonekana hapa yenyewe.",
)
STOPPED_UNPAID = result_codes.Words(
    "Stopped waiting; it was not paid.",
    "Try again, or pay another way.",
    "Tumeacha kusubiri; haijalipwa.",
    "Jaribu tena, au alipe kwa njia nyingine.",
)


def explain(payment: Payment) -> result_codes.Words:
    """The sentences that fit the payment as it stands: reason and remedy."""
    if payment.status == PaymentStatus.COMPLETED:
        return result_codes.PAID_WORDS
    if payment.status == PaymentStatus.REVERSED:
        return SENT_BACK
    if payment.status == PaymentStatus.FAILED:
        return result_codes.words(payment.result_code, payment.failure_reason)
    if payment.is_undecided and payment.result_code:
        return result_codes.UNKNOWN
    if payment.status == PaymentStatus.PENDING:
        return result_codes.WAITING
    if payment.status == PaymentStatus.CREATED:
        return NO_ANSWER
    if payment.is_undecided:
        return EXPIRED if payment.status == PaymentStatus.EXPIRED else STOPPED
    if payment.result_code:
        return result_codes.words(payment.result_code, payment.failure_reason)
    return STOPPED_UNPAID


def payment_state(payment: Payment, *, language: str = "en") -> dict[str, Any]:
    """The State of the API contract. Reads `payment.order`."""
    return {
        "transactionId": str(payment.pk),
        "orderId": str(payment.order_id),
        "orderNumber": payment.order.number,
        "method": payment.method,
        "status": payment.status,
        "amount": whole(payment.amount),
        "phoneNumber": payment.masked_phone,
        "checkoutRequestId": payment.checkout_request_id,
        "mpesaReceiptNumber": payment.receipt or None,
        "resultCode": payment.result_code or None,
        "resultDesc": payment.result_desc or None,
        "errorCode": error_code(payment),
        "message": explain(payment).reason(language),
        "retryable": payment.retryable,
        "undecided": payment.is_undecided,
        "canResendAt": clock.iso(can_resend_at(payment)),
        "expiresAt": clock.iso(payment.expires_at),
        "completedAt": clock.iso(payment.completed_at),
        "orderStatus": payment.order.status,
    }


def error_code(payment: Payment) -> str | None:
    """MPESA_004 for a push refused for certain, MPESA_005 for an expired one."""
    if payment.status == PaymentStatus.EXPIRED:
        return "MPESA_005"
    return payment.error_code or None


def prompt_until(payment: Payment) -> datetime:
    """When the prompt leaves the customer's screen."""
    return payment.created_at + clock.seconds(settings.PROMPT_S)


def can_resend_at(payment: Payment) -> datetime | None:
    """When the guards let the same prompt be sent again; None when they never do.

    Computed from the payment alone: another shop may keep the phone longer.
    """
    if payment.method != Method.MPESA_STK:
        return None
    if payment.status in (PaymentStatus.COMPLETED, PaymentStatus.REVERSED):
        return None
    if payment.decided_at is None:
        return payment.created_at + clock.seconds(
            max(settings.PHONE_GUARD_SAME_AMOUNT_S, settings.SPOKEN_FOR_S)
        )
    wait_s = max(_wish_of_mpesa_s(payment), settings.PHONE_GUARD_AFTER_FAILURE_S)
    return payment.decided_at + timedelta(seconds=wait_s)


def _wish_of_mpesa_s(payment: Payment) -> int:
    """How long M-Pesa wants to be left alone after this failure, in seconds."""
    if payment.result_code:
        return result_codes.judge(payment.result_code).wait_s
    if payment.failure_reason == FailureReason.TOO_SOON:
        # Refused at the push, without a code: the subscriber is locked.
        return result_codes.judge(result_codes.SUBSCRIBER_LOCKED).wait_s
    return 0
