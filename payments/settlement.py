"""Why no shilling can be counted twice, and none gets lost.

Everything that anybody tells us about a payment ends here, in one transaction
that holds the order's lock and then the payment's (law 12):

1. *Money arrived* (`record_success`). It is recorded whatever else objects. One
   receipt is one collection: UNIQUE (environment, account, receipt). A question
   proves money without a receipt: at most one such collection per payment, and a
   receipt that comes later fills it instead of counting again. The order takes
   what it needs, the rest is surplus, and together they are the collection:
   CHECK (allocated <= amount).
2. *It was not paid* (`record_failure`). Success is sticky: a failure after money
   is a contradiction that raises an alarm and undoes nothing.
3. *Nobody is sure* (`record_uncertainty`). Nothing moves; M-Pesa is asked.

Functions here must be called inside a transaction with both locks held, as
`locked` returns them; `payments.inbox` and `payments.questions` do that.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db import (
    InterfaceError,
    OperationalError,
    connection,
    transaction,
)

from orders import lifecycle as order_lifecycle
from orders.models import Order
from payments import guards, ledger, lifecycle, news, schedule
from payments.enums import AllocationKind, PaymentStatus, Source
from payments.gateways import result_codes
from payments.models import Collection, Payment
from smartduka.lib import clock
from smartduka.lib.money import format_kes


logger = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of a claim."""

    COMPLETED = "completed"  # the payment became completed by it
    FILLED = "filled"  # its collection got the receipt it lacked
    ADDED = "added"  # another receipt: more money on a completed payment
    CONFIRMED = "confirmed"  # a second source agreed
    FAILED = "failed"  # the payment became failed by it
    DECIDED = "decided"  # not paid; the till had stopped waiting already
    UNCERTAIN = "uncertain"
    DUPLICATE = "duplicate"  # nothing new
    CONTRADICTION = "contradiction"  # an alarm; nothing undone
    RECEIPT_TAKEN = "receipt_taken"  # the receipt is another payment's


@dataclass(frozen=True, slots=True)
class Proof:
    """Evidence, verified by the caller, that a payment's money arrived.

    `receipt` is None when M-Pesa's answer to a question is all there is.
    """

    source: Source
    receipt: str | None = None
    phone: str = ""
    paid_at: datetime | None = None
    description: str = ""
    notice_id: int | None = None


def locked(
    payment_id: uuid.UUID | str, *, order_id: uuid.UUID | None = None
) -> tuple[Order, Payment]:
    """Return a payment and its order under their locks, in the lawful order.

    `order_id` of a payment never changes, so it is read first without a lock,
    unless the caller knows it. Call inside a transaction. Raises
    Payment.DoesNotExist.
    """
    assert connection.in_atomic_block, "call inside a transaction"
    if order_id is None:
        order_id = Payment.objects.values_list("order_id", flat=True).get(pk=payment_id)
    order = order_lifecycle.locked(order_id)
    payment = (
        Payment.objects.select_for_update(no_key=True, of=("self",))
        .select_related("created_by")  # who sold: needed when stock and money move
        .get(pk=payment_id)
    )
    payment.order = order
    return order, payment


def record_success(order: Order, payment: Payment, proof: Proof) -> Outcome:
    """Record that the payment's money arrived; complete it; tell the order.

    The amount is the payment's own: the caller has compared it. Locks the
    collection and, when the sale becomes paid, its products. What can still go
    wrong: the order side fails for a reason of its own; then the money stands
    on the payment, unallocated, with an alarm for a person.
    """
    if proof.receipt is None:
        return _record_answer(order, payment, proof)
    known = Collection.objects.filter(
        environment=payment.environment,
        account_id=payment.account_id,
        receipt=proof.receipt,
    ).first()
    if known is not None and known.payment_id == payment.pk:
        return Outcome.DUPLICATE
    if known is not None:
        return Outcome.RECEIPT_TAKEN
    if payment.status not in (PaymentStatus.COMPLETED, PaymentStatus.REVERSED):
        return _complete(order, payment, proof)
    if _fill_receipt(payment, proof):
        return Outcome.FILLED
    _collect(order, payment, proof)
    lifecycle.note(
        payment,
        source=proof.source,
        reason=f"Another receipt for this payment: {proof.receipt}",
        notice_id=proof.notice_id,
        alarm="Paid twice: another receipt came for the same prompt.",
    )
    news.publish(payment, order, "payment.updated")
    return Outcome.ADDED


def record_failure(
    order: Order,
    payment: Payment,
    code: str,
    *,
    source: Source,
    description: str = "",
    notice_id: int | None = None,
) -> Outcome:
    """Record a final answer that the payment was not paid.

    An open payment becomes failed. One that the till stopped waiting for keeps
    its status and is decided. A completed one stays completed, with an alarm.
    """
    if payment.status in (PaymentStatus.COMPLETED, PaymentStatus.REVERSED):
        return _contradict(payment, code, source, description, notice_id)
    if payment.decided_at is not None:
        _ask_no_more(payment)
        return Outcome.DUPLICATE
    row = result_codes.judge(code)
    facts: dict[str, Any] = {
        "result_code": code,
        "result_desc": description,
        "failure_reason": row.reason,
        "may_retry": row.may_retry,
        "next_ask_at": None,
        "leased_until": None,
    }
    reason = f"{row.words.reason_en} (code {code})"
    if payment.is_open:
        lifecycle.move(
            payment,
            PaymentStatus.FAILED,
            source=source,
            reason=reason,
            notice_id=notice_id,
            **facts,
        )
        outcome, event = Outcome.FAILED, "payment.failed"
    else:
        lifecycle.note(
            payment,
            source=source,
            reason=reason,
            notice_id=notice_id,
            decided_at=clock.now(),
            **facts,
        )
        outcome, event = Outcome.DECIDED, "payment.updated"
    guards.release_after_failure(payment, row.wait_s)
    news.publish(payment, order, event)
    return outcome


def record_uncertainty(
    order: Order,
    payment: Payment,
    code: str,
    *,
    source: Source,
    description: str = "",
    notice_id: int | None = None,
) -> Outcome:
    """Record a code that decides nothing: shown, and M-Pesa is asked again."""
    if payment.decided_at is not None:
        if source == Source.QUERY:
            _ask_no_more(payment)
        return Outcome.DUPLICATE
    if payment.result_code == code and source == Source.QUERY:
        return Outcome.DUPLICATE
    lifecycle.note(
        payment,
        source=source,
        reason=f"Uncertain code {code}: M-Pesa is asked",
        notice_id=notice_id,
        result_code=code,
        result_desc=description,
    )
    news.publish(payment, order, "payment.updated")
    return Outcome.UNCERTAIN


def _record_answer(order: Order, payment: Payment, proof: Proof) -> Outcome:
    """M-Pesa answered our question: paid. It says no receipt."""
    if payment.status not in (PaymentStatus.COMPLETED, PaymentStatus.REVERSED):
        return _complete(order, payment, proof)
    confirmed = Collection.objects.filter(
        payment=payment, confirmed_at__isnull=True
    ).update(confirmed_at=clock.now())
    _ask_no_more(payment)
    if not confirmed:
        return Outcome.DUPLICATE
    lifecycle.note(payment, source=proof.source, reason="M-Pesa confirmed the payment")
    return Outcome.CONFIRMED


def _complete(order: Order, payment: Payment, proof: Proof) -> Outcome:
    confirm_at = schedule.confirmation_due(payment, proof.source)
    lifecycle.move(
        payment,
        PaymentStatus.COMPLETED,
        source=proof.source,
        reason=f"{format_kes(payment.amount)} arrived"
        + (f", receipt {proof.receipt}" if proof.receipt else ", receipt to follow"),
        notice_id=proof.notice_id,
        receipt=proof.receipt or "",
        result_code="0",
        result_desc=proof.description,
        failure_reason="",
        error_code="",
        may_retry=False,
        next_ask_at=confirm_at,
        leased_until=None,
    )
    _collect(order, payment, proof)
    guards.release_after_success(payment)
    schedule.ask_at_once_if_due(payment)
    news.publish(payment, order, "payment.completed")
    return Outcome.COMPLETED


def _collect(order: Order, payment: Payment, proof: Proof) -> None:
    """Store the money as a collection and share it out."""
    now = clock.now()
    collection = Collection.objects.create(
        account_id=payment.account_id,
        environment=payment.environment,
        shop_id=payment.shop_id,
        payment=payment,
        receipt=proof.receipt,
        amount=payment.amount,
        phone=proof.phone or payment.phone,
        source=proof.source,
        paid_at=proof.paid_at,
        sighted_at=now,
        confirmed_at=None if proof.source == Source.CALLBACK else now,
    )
    portions = _offer(order, payment)
    ledger.allocate(collection, portions, actor=payment.created_by)


def _offer(order: Order, payment: Payment) -> list[ledger.Portion]:
    """Let the order take what it needs. It may not stand in the money's way.

    The savepoint undoes a half-done order when orders or stock raise what they
    never should, also when the database refuses them; only a lost connection, a
    deadlock or a lock that is held too long repeats the whole.
    """
    try:
        with transaction.atomic():
            taken = order_lifecycle.take_payment(
                order, payment.amount, actor=payment.created_by
            )
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("order %s could not take money", order.pk)
        order.refresh_from_db()
        lifecycle.note(
            payment,
            source=Source.CLOCK,
            reason="The sale could not take this money: a person must look",
            alarm="The money arrived, but the sale could not take it.",
        )
        return []
    return [
        ledger.Portion(AllocationKind.SALE, taken.to_sale, order),
        ledger.Portion(
            AllocationKind.SURPLUS, taken.surplus, order, _why_surplus(order)
        ),
    ]


def _why_surplus(order: Order) -> str:
    return f"The sale needed no more: it is {order.get_status_display().lower()}"


def _fill_receipt(payment: Payment, proof: Proof) -> bool:
    """Give the receipt to the collection that a question had proved."""
    filled = Collection.objects.filter(payment=payment, receipt__isnull=True).update(
        receipt=proof.receipt,
        phone=proof.phone or payment.phone,
        paid_at=proof.paid_at,
        confirmed_at=clock.now(),
    )
    if not filled:
        return False
    lifecycle.note(
        payment,
        source=proof.source,
        reason=f"Receipt {proof.receipt} filled in",
        notice_id=proof.notice_id,
        receipt=proof.receipt,
        next_ask_at=None,
    )
    news.publish(payment, payment.order, "payment.updated")
    return True


def _ask_no_more(payment: Payment) -> None:
    """End a chain of questions that have nothing to decide."""
    if payment.next_ask_at is not None or payment.leased_until is not None:
        Payment.objects.filter(pk=payment.pk).update(
            next_ask_at=None, leased_until=None
        )
        payment.next_ask_at = payment.leased_until = None


def _contradict(
    payment: Payment,
    code: str,
    source: Source,
    description: str,
    notice_id: int | None,
) -> Outcome:
    alarm = f"M-Pesa also said that this was not paid (code {code})."
    changes: dict[str, Any] = {"alarm": alarm}
    if source == Source.QUERY:
        changes |= {"next_ask_at": None, "leased_until": None}
    if payment.alarm == alarm:
        Payment.objects.filter(pk=payment.pk).update(**changes)
        return Outcome.DUPLICATE
    logger.error("payment %s: contradiction, code %s", payment.pk, code)
    lifecycle.note(
        payment,
        source=source,
        reason=f"Contradiction: code {code} after the money was recorded",
        notice_id=notice_id,
        **changes,
    )
    return Outcome.CONTRADICTION
