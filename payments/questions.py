"""Asking M-Pesa what became of a prompt, and giving up waiting, never asking.

A question is claimed by a conditional update before it is asked, so each payment
has at most one in ten seconds, whoever wants to know; the claim sets the next one
and hands out its delayed task in the same transaction. No transaction or connection
is held during the call. The answer is applied by `settlement` under its locks.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from payments import accounts, budget, gateways, lifecycle, news, schedule, settlement
from payments.enums import PaymentStatus, Source
from payments.gateways import result_codes
from payments.gateways.base import Answered, QueryAnswer
from payments.models import MpesaAccount, Payment
from payments.settlement import Outcome
from smartduka.lib import clock, later
from smartduka.lib.transactions import give_back_connection, repeated


logger = logging.getLogger(__name__)

# A task may run a moment before the time it was set for.
EARLY = timedelta(seconds=0.5)


def ask(payment_id: uuid.UUID | str, *, limit_s: float | None = None) -> bool:
    """Ask M-Pesa about a payment now; False if it was not asked.

    Not asked: it is decided and confirmed, its id at M-Pesa is not known, it was
    asked within the last ten seconds, or the account's budget is spent. Whatever
    M-Pesa says is applied before this returns. Call outside any transaction.
    """
    return _ask(payment_id, Q(checkout_request_id__isnull=False), limit_s)


def attend(payment_id: uuid.UUID | str) -> bool:
    """Carry out a payment's due question, then let it expire if its time is over.

    What the delayed tasks and the sweep call. Doing it twice asks once.
    """
    asked = _ask(payment_id, Q(next_ask_at__lte=clock.now() + EARLY), None)
    expire_if_over(payment_id)
    return asked


def ask_first(payments: Iterable[Payment]) -> None:
    """Ask about payments before acting on their order (law 6), within a short limit.

    All of them together get ASK_FIRST_LIMIT_S; who was asked a moment ago is not.
    """
    until = clock.now() + clock.seconds(settings.ASK_FIRST_LIMIT_S)
    for payment in payments:
        left_s = (until - clock.now()).total_seconds()
        if left_s <= 0:
            return
        ask(payment.pk, limit_s=left_s)


@repeated
def expire_if_over(payment_id: uuid.UUID | str) -> bool:
    """Stop waiting for an open payment whose time is over; True if it expired.

    Opens a transaction, locks order and payment. Expired is not decided: we go on
    asking. Call after a last question.
    """
    now = clock.now()
    over = Payment.objects.filter(
        pk=payment_id, status__in=PaymentStatus.OPEN, expires_at__lte=now
    )
    if not over.exists():
        return False
    with transaction.atomic(durable=True):
        order, payment = settlement.locked(payment_id)
        if not payment.is_open or payment.expires_at is None:
            return False
        lifecycle.move(
            payment,
            PaymentStatus.EXPIRED,
            source=Source.CLOCK,
            reason="M-Pesa did not tell us in time; we go on asking",
        )
        if payment.checkout_request_id is None:
            # Nothing can be asked without its id: only other evidence helps.
            Payment.objects.filter(pk=payment.pk).update(next_ask_at=None)
        news.publish(payment, order, "payment.expired")
    return True


def _ask(payment_id: uuid.UUID | str, due: Q, limit_s: float | None) -> bool:
    payment = _claim(payment_id, due)
    if payment is None or payment.account is None:
        return False
    if payment.checkout_request_id is None:
        return False
    answer = _query(payment.account, payment.checkout_request_id, limit_s)
    _apply(payment.pk, answer)
    return True


@repeated
def _claim(payment_id: uuid.UUID | str, due: Q) -> Payment | None:
    """Claim the next question: counted, the one after it set, in one transaction.

    Returns None when somebody else has it, or nothing is to be asked. A payment
    whose id at M-Pesa is unknown is claimed too, so that it expires in time.
    """
    now = clock.now()
    rested = Q(asked_at__isnull=True) | Q(
        asked_at__lte=now - clock.seconds(settings.QUESTION_MIN_GAP_S)
    )
    wanted = Q(decided_at__isnull=True) | Q(next_ask_at__isnull=False)
    with transaction.atomic(durable=True):
        payment = (
            Payment.objects.select_for_update(no_key=True, of=("self",))
            .select_related("account")
            .filter(rested, wanted, due, pk=payment_id, account__isnull=False)
            .first()
        )
        if payment is None:
            return None
        young = payment.created_at > now - clock.seconds(settings.PAYMENT_EXPIRES_S)
        next_ask_at = schedule.next_question(payment, now)
        # Only the installation's own environment answers for money (law 13).
        askable = (
            payment.checkout_request_id is not None
            and payment.environment == settings.MPESA_ENV
        )
        if askable and not budget.take(payment.account_id, young=young):
            askable = False
        Payment.objects.filter(pk=payment.pk).update(
            asked_at=now if askable else payment.asked_at,
            ask_count=payment.ask_count + 1,
            next_ask_at=next_ask_at,
            leased_until=None,
        )
        if next_ask_at is not None:
            later.enqueue_later(
                schedule.ASK_TASK,
                str(payment.pk),
                seconds=(next_ask_at - now).total_seconds(),
            )
    return payment if askable else None


def _query(
    account: MpesaAccount, checkout_request_id: str, limit_s: float | None
) -> QueryAnswer:
    try:
        credentials = accounts.credentials(account)
    except accounts.NotConfigured as error:
        return QueryAnswer(Answered.UNKNOWN, description=error.message)
    give_back_connection()
    return gateways.mpesa().query(
        credentials,
        checkout_request_id,
        limit_s=limit_s or settings.PUSH_READ_TIMEOUT_S,
    )


@repeated
def _apply(payment_id: uuid.UUID | str, answer: QueryAnswer) -> Outcome | None:
    """Apply an answer. Opens a transaction, locks order and payment."""
    if answer.kind != Answered.FINAL:
        logger.info("payment %s: %s %s", payment_id, answer.kind, answer.description)
        return None
    judged = result_codes.judge(answer.code).query
    facts: dict[str, Any] = {
        "source": Source.QUERY,
        "description": answer.description.replace("\0", ""),
    }
    with transaction.atomic(durable=True):
        order, payment = settlement.locked(payment_id)
        if judged == result_codes.Class.PAID:
            proof = settlement.Proof(**facts)
            return settlement.record_success(order, payment, proof)
        if judged in (result_codes.Class.FINAL, result_codes.Class.CONFIG):
            return settlement.record_failure(order, payment, answer.code, **facts)
        return settlement.record_uncertainty(order, payment, answer.code, **facts)
