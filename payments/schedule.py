"""When M-Pesa is asked next: the clockwork of questions, no network.

A payment has a question due while `next_ask_at` is set. One delayed task per
payment carries it out; the sweep finds those whose task was lost.
"""

from __future__ import annotations

import random
from datetime import datetime

from django.conf import settings

from payments.enums import PaymentStatus, Source
from payments.models import Payment
from smartduka.lib import clock, later


ASK_TASK = "payments.tasks.ask"
HOUR_S = 3600


def first_question(pushed_at: datetime) -> datetime:
    """When a payment just pushed is asked about for the first time."""
    return pushed_at + clock.seconds(settings.QUESTION_GAPS_S[0])


def next_question(payment: Payment, now: datetime) -> datetime | None:
    """When to ask after a question made now; None when we stop asking.

    The gaps follow the number of questions asked, with jitter; a question falls
    at the payment's expiry, so that it never expires unasked.
    """
    age_s = (now - payment.created_at).total_seconds()
    if age_s >= settings.QUESTIONS_UNTIL_S:
        return None
    gaps = settings.QUESTION_GAPS_S[1:]
    if payment.ask_count < len(gaps):
        gap_s = float(gaps[payment.ask_count])
    elif age_s < HOUR_S:
        gap_s = float(settings.QUESTION_GAP_FIRST_HOUR_S)
    else:
        gap_s = float(settings.QUESTION_GAP_LATER_S)
    gap_s *= 1 + settings.QUESTION_JITTER * random.random()  # noqa: S311 -- jitter
    due = now + clock.seconds(gap_s)
    if payment.is_open and payment.expires_at and now < payment.expires_at < due:
        return payment.expires_at
    return due


def confirmation_due(payment: Payment, source: Source) -> datetime | None:
    """When a success is confirmed by a question: at once above a threshold."""
    if source != Source.CALLBACK:
        return None
    now = clock.now()
    if payment.amount >= settings.CONFIRM_AT_ONCE_FROM:
        return now
    return now + clock.seconds(settings.CONFIRM_GAP_S)


def ask_at_once_if_due(payment: Payment) -> None:
    """Hand out the question's task now, if it is due now. In the transaction."""
    if payment.next_ask_at is not None and payment.next_ask_at <= clock.now():
        later.enqueue(ASK_TASK, str(payment.pk))


def bring_forward(payment: Payment) -> None:
    """Put the payment's next question at the front of the queue.

    Call inside a transaction with the payment's lock. Never earlier than the
    least gap after the last question; one that is there already stays. A failed
    payment is asked about again: M-Pesa has been seen to contradict itself. Money
    that was recorded has its own confirmation.
    """
    recorded = payment.status in (PaymentStatus.COMPLETED, PaymentStatus.REVERSED)
    if recorded or payment.checkout_request_id is None:
        return
    now = clock.now()
    due = now
    if payment.asked_at is not None:
        due = max(now, payment.asked_at + clock.seconds(settings.QUESTION_MIN_GAP_S))
    if payment.next_ask_at is not None and payment.next_ask_at <= due:
        return
    Payment.objects.filter(pk=payment.pk).update(next_ask_at=due, leased_until=None)
    payment.next_ask_at = due
    wait_s = max(0.0, (due - now).total_seconds())
    later.enqueue_later(ASK_TASK, str(payment.pk), seconds=wait_s)
