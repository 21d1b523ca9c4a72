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
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

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
# In less time than this no answer comes: better not to ask.
SHORTEST_S = 0.5


@dataclass(frozen=True, slots=True)
class _Claim:
    """A question that is ours to ask."""

    payment_id: uuid.UUID
    account: MpesaAccount
    checkout_request_id: str
    asked_at: datetime


def ask(payment_id: uuid.UUID | str, *, limit_s: float | None = None) -> bool:
    """Ask M-Pesa about a payment now; False if it was not asked.

    Not asked: its money is recorded and confirmed, its id at M-Pesa is not known, it
    was asked within the last ten seconds, the account's budget is spent, or M-Pesa
    could not be reached. A failed one may be asked about: people show SMS. Whatever
    M-Pesa says is applied before this returns. Call outside any transaction.
    """
    return _ask(payment_id, Q(checkout_request_id__isnull=False), limit_s)


def attend(payment_id: uuid.UUID | str) -> bool:
    """Carry out a payment's due question, then let it expire if its time is over.

    What the delayed tasks and the sweep call. Doing it twice asks once. Call outside
    any transaction.
    """
    try:
        return _ask(payment_id, Q(next_ask_at__lte=clock.now() + EARLY), None)
    finally:
        expire_if_over(payment_id)


def ask_first(payments: Iterable[Payment]) -> None:
    """Ask about payments before acting on their order (law 6), within a short limit.

    All of them together get ASK_FIRST_LIMIT_S; who was asked a moment ago is not.
    Somebody stands waiting, so the budget is the one of young payments. Call outside
    any transaction.
    """
    known = Q(checkout_request_id__isnull=False)
    until = clock.now() + clock.seconds(settings.ASK_FIRST_LIMIT_S)
    for payment in payments:
        left_s = (until - clock.now()).total_seconds()
        if left_s < SHORTEST_S:
            return
        _ask(payment.pk, known, left_s, is_urgent=True)


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


def _ask(
    payment_id: uuid.UUID | str,
    due: Q,
    limit_s: float | None,
    *,
    is_urgent: bool = False,
) -> bool:
    claim = _claim(payment_id, due, is_urgent=is_urgent)
    if claim is None:
        return False
    answer = _query(claim, limit_s or settings.PUSH_READ_TIMEOUT_S)
    if answer.kind == Answered.NOT_ASKED:
        # It never left: nobody needs to rest from it.
        Payment.objects.filter(pk=claim.payment_id, asked_at=claim.asked_at).update(
            asked_at=None
        )
        logger.info("payment %s not asked: %s", payment_id, answer.description)
        return False
    try:
        _apply(claim.payment_id, answer)
    except IntegrityError:
        # The receipt that we found for it was counted this moment by another road.
        _apply(claim.payment_id, answer)
    return True


def _claim(
    payment_id: uuid.UUID | str, due: Q, *, is_urgent: bool = False
) -> _Claim | None:
    """Claim the next question: counted, the one after it set, in one transaction.

    Returns None when somebody else has it, or nothing is to be asked. A payment
    whose id at M-Pesa is unknown is claimed too, so that it expires in time. The
    budget is asked before the row is locked: its counters may be slow.
    """
    found = _askable(due).filter(pk=payment_id).select_related("account").first()
    if found is None or found.account is None:
        return None
    # Only the installation's own environment answers for money (law 13).
    can_ask = (
        found.checkout_request_id is not None
        and found.environment == settings.MPESA_ENV
    )
    young_since = clock.now() - clock.seconds(settings.PAYMENT_EXPIRES_S)
    affordable = not can_ask or budget.take(
        found.account_id, young=is_urgent or found.created_at > young_since
    )
    now = clock.now()
    if not _set_next(found, due, now, asks=can_ask and affordable, counts=affordable):
        return None
    if not (can_ask and affordable):
        return None
    assert found.checkout_request_id is not None
    return _Claim(found.pk, found.account, found.checkout_request_id, now)


@repeated
def _set_next(
    found: Payment, due: Q, now: datetime, *, asks: bool, counts: bool
) -> bool:
    """Take the question if it is still there; True for the one who took it.

    Opens a transaction, locks the payment. A payment that is decided and has no
    question due (somebody wants to know anyway) gets no next one.
    """
    with transaction.atomic(durable=True):
        payment = (
            _askable(due).select_for_update(no_key=True).filter(pk=found.pk).first()
        )
        if payment is None:
            return False
        next_ask_at = None
        if payment.decided_at is None or payment.next_ask_at is not None:
            next_ask_at = schedule.next_question(payment, now)
        Payment.objects.filter(pk=payment.pk).update(
            asked_at=now if asks else payment.asked_at,
            ask_count=payment.ask_count + counts,
            next_ask_at=next_ask_at,
            leased_until=None,
        )
        if next_ask_at is not None:
            wait_s = (next_ask_at - now).total_seconds()
            later.enqueue_later(schedule.ASK_TASK, str(payment.pk), seconds=wait_s)
    return True


def _askable(due: Q) -> QuerySet[Payment]:
    """Payments that may be asked about now: rested, and worth a question."""
    rested_since = clock.now() - clock.seconds(settings.QUESTION_MIN_GAP_S)
    rested = Q(asked_at__isnull=True) | Q(asked_at__lte=rested_since)
    unsettled = ~Q(status__in=(PaymentStatus.COMPLETED, PaymentStatus.REVERSED))
    wanted = unsettled | Q(next_ask_at__isnull=False)
    return Payment.objects.filter(rested, wanted, due, account__isnull=False)


def _query(claim: _Claim, limit_s: float) -> QueryAnswer:
    try:
        credentials = accounts.credentials(claim.account)
    except accounts.NotConfigured as error:
        return QueryAnswer(Answered.NOT_ASKED, description=error.message)
    give_back_connection()
    try:
        return gateways.mpesa().query(
            credentials, claim.checkout_request_id, limit_s=limit_s
        )
    except Exception as error:
        logger.exception("a question broke off")
        return QueryAnswer(Answered.UNKNOWN, description=type(error).__name__)


@repeated
def _apply(payment_id: uuid.UUID | str, answer: QueryAnswer) -> Outcome | None:
    """Apply an answer. Opens a transaction, locks order and payment."""
    if answer.kind != Answered.FINAL:
        logger.info("payment %s: %s %s", payment_id, answer.kind, answer.description)
        return None
    judged = result_codes.judge(answer.code).query
    facts: dict[str, Any] = {
        "source": Source.QUERY,
        "description": answer.description,
    }
    with transaction.atomic(durable=True):
        order, payment = settlement.locked(payment_id)
        if judged == result_codes.Class.PAID:
            proof = settlement.Proof(**facts)
            return settlement.record_success(order, payment, proof)
        if judged in (result_codes.Class.FINAL, result_codes.Class.CONFIG):
            return settlement.record_failure(order, payment, answer.code, **facts)
        return settlement.record_uncertainty(order, payment, answer.code, **facts)
