"""What M-Pesa said to the push itself: taken, refused, or nothing at all.

No money moves here; `settlement` is where it does. Called inside a transaction with
the order's and the payment's locks, as `settlement.locked` returns them.
"""

from __future__ import annotations

import logging
from typing import Any

from django.db import (
    IntegrityError,
    transaction,
)

from orders.models import Order
from payments import guards, lifecycle, news
from payments.enums import FailureReason, PaymentStatus, Source
from payments.gateways.base import GatewayError
from payments.models import Payment
from smartduka.lib import clock


logger = logging.getLogger(__name__)


def accept(order: Order, payment: Payment, source: Source) -> None:
    """M-Pesa has the push, by whichever road we learn it: created → pending."""
    if payment.status == PaymentStatus.CREATED:
        lifecycle.move(
            payment,
            PaymentStatus.PENDING,
            source=source,
            reason="M-Pesa accepted the prompt",
        )
        news.publish(payment, order, "payment.pending")


def learn_ids(
    payment: Payment,
    merchant_request_id: str,
    checkout_request_id: str,
    *,
    source: Source,
) -> bool:
    """Keep what M-Pesa calls this payment; written once, by whoever is first.

    An id that differs from the one we have, or that is another payment's, raises an
    alarm and changes nothing; False then. The rest of an answer to our push still
    counts; a callback that says so is no proof.
    """
    if payment.checkout_request_id == checkout_request_id:
        return True
    if payment.checkout_request_id is not None:
        _alarm(payment, "M-Pesa named this payment twice, differently.", source)
        return False
    try:
        with transaction.atomic():
            Payment.objects.filter(
                pk=payment.pk, checkout_request_id__isnull=True
            ).update(
                checkout_request_id=checkout_request_id,
                merchant_request_id=merchant_request_id,
            )
    except IntegrityError:
        _alarm(payment, "M-Pesa gave this payment the id of another.", source)
        return False
    payment.checkout_request_id = checkout_request_id
    payment.merchant_request_id = merchant_request_id
    return True


def refuse(order: Order, payment: Payment, error: GatewayError) -> None:
    """M-Pesa refused the push for certain: the customer was not asked.

    A subscriber lock frees the idempotency key: the same request may come again
    when M-Pesa's waiting time is over.
    """
    code = "MPESA_006" if error.reason == FailureReason.TOO_SOON else "MPESA_004"
    facts: dict[str, Any] = {
        "error_code": code,
        "failure_reason": error.reason,
        "result_desc": str(error)[:255],
        "may_retry": error.may_retry,
        "next_ask_at": None,
    }
    if code == "MPESA_006":
        facts["idempotency_key"] = None
    reason = f"M-Pesa refused the prompt: {error}"
    if payment.status == PaymentStatus.CREATED:
        lifecycle.move(
            payment, PaymentStatus.FAILED, source=Source.PUSH, reason=reason, **facts
        )
        event = "payment.failed"
    elif payment.decided_at is None:
        facts["decided_at"] = clock.now()
        lifecycle.note(payment, source=Source.PUSH, reason=reason, **facts)
        event = "payment.updated"
    else:
        lifecycle.note(payment, source=Source.PUSH, reason=reason, alarm=reason[:200])
        event = "payment.updated"
    if payment.status not in (PaymentStatus.COMPLETED, PaymentStatus.REVERSED):
        guards.release_after_failure(payment, error.wait_s)
    news.publish(payment, order, event)


def stay_unknown(order: Order, payment: Payment, why: str) -> None:
    """The push's answer was lost: it stays as it is, and says so."""
    changes: dict[str, Any] = {}
    if not payment.is_open and payment.checkout_request_id is None:
        # Nothing can be asked without its id: only other evidence helps.
        changes["next_ask_at"] = None
    lifecycle.note(
        payment,
        source=Source.PUSH,
        reason=f"No answer to the push, the outcome is unknown: {why}",
        **changes,
    )
    news.publish(payment, order, "payment.updated")


def _alarm(payment: Payment, alarm: str, source: Source) -> None:
    logger.error("payment %s: %s", payment.pk, alarm)
    lifecycle.note(payment, source=source, reason=alarm, alarm=alarm)
