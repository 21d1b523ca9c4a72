"""Why no shilling can be counted twice, and none gets lost.

Everything that anybody tells us about a payment ends here, in one transaction
that holds the order's lock and then the payment's (law 12):

1. *Money arrived* (`record_success`). It is recorded whatever else objects. One
   receipt is one collection: UNIQUE (environment, account, receipt). A question
   proves money without a receipt: at most one such collection per payment, and a
   receipt that comes later fills it instead of counting again. A receipt that was
   told before the proof, and that fits nobody else, is taken with it. The order takes
   what it needs, the rest is surplus, and together they are the collection:
   CHECK (allocated <= amount). Where the receipt is counted already for a weaker
   reason, `payments.precedence` says who has the better right to it.
2. *It was not paid* (`record_failure`). Success is sticky: a failure after money
   is a contradiction that raises an alarm and undoes nothing.
3. *Nobody is sure* (`record_uncertainty`). Nothing moves; M-Pesa is asked.

Functions here must be called inside a transaction with both locks held, as
`locked` returns them; `payments.inbox`, `payments.questions` and `payments.matching`
do that.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db import (
    InterfaceError,
    OperationalError,
    transaction,
)

from orders import lifecycle as order_lifecycle
from orders.models import Order
from payments import (
    guards,
    ledger,
    lifecycle,
    news,
    payer,
    precedence,
    proofs,
    receipts,
    schedule,
)
from payments.earlier_receipts import binding_of, told_before
from payments.enums import (
    AllocationKind,
    Binding,
    PaymentStatus,
    Source,
)
from payments.gateways import result_codes
from payments.models import (
    Collection,
    Payment,
)
from smartduka.lib import clock
from smartduka.lib.money import format_kes


logger = logging.getLogger(__name__)

Proof = proofs.Proof
locked = proofs.locked


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


def record_success(order: Order, payment: Payment, proof: Proof) -> Outcome:
    """Record that the payment's money arrived; complete it; tell the order.

    The amount is the payment's own: the caller has compared it. Locks the
    collection and, when the sale becomes paid, its products. What can still go
    wrong: the order side fails for a reason of its own; then the money stands
    on the payment, unallocated, with an alarm for a person.
    """
    if proof.receipt is None:
        return _record_answer(order, payment, proof)
    guessed = precedence.wrongly_guessed(payment, proof)
    outcome = _record_receipt(order, payment, proof)
    if guessed is not None and outcome != Outcome.RECEIPT_TAKEN:
        precedence.doubt_who_lacks(guessed, proof)
    return outcome


def _record_receipt(order: Order, payment: Payment, proof: Proof) -> Outcome:
    """M-Pesa says a receipt with it: a new one, or one that is counted already."""
    known = (
        Collection.objects.select_for_update(no_key=True)
        .filter(
            environment=payment.environment,
            account_id=payment.account_id,
            receipt=proof.receipt,
        )
        .first()
    )
    if known is not None and known.payment_id == payment.pk:
        return _confirm(order, payment, known, proof)
    if known is not None and not precedence.yields(known, payment, proof):
        return Outcome.RECEIPT_TAKEN
    is_completed = payment.status in (PaymentStatus.COMPLETED, PaymentStatus.REVERSED)
    if is_completed and proofs.outranks(proof.binding, Binding.FIT):
        spent = precedence.used_before(payment)
        if spent is not None:
            precedence.part(payment, spent, proof)
    if known is not None and (known.payment_id is not None or known.allocated):
        # Of what is used a credit may stay, under the receipt that was guessed.
        if is_completed and precedence.swap(payment, known, proof):
            return Outcome.FILLED
        _give_its_own(order, payment, known, proof)
        known = precedence.take(payment, known, proof)
    if known is not None:
        if not is_completed:
            return _complete(order, payment, proof, known)
        if precedence.swap(payment, known, proof):
            return Outcome.FILLED
        if precedence.merge(payment, known, proof):
            return Outcome.FILLED
        _adopt(order, payment, proof, known)
        return Outcome.ADDED
    if not is_completed:
        return _complete(order, payment, proof)
    if _fill_receipt(payment, proof):
        return Outcome.FILLED
    if precedence.drop_guess(payment, proof) and _fill_receipt(payment, proof):
        return Outcome.FILLED
    _collect(order, payment, proof)
    _note_added(order, payment, proof)
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
    """M-Pesa answered our question: paid. It says no receipt.

    A receipt that we were told already, and that fits this payment and no other,
    comes with it. One that was counted as nobody's is this money, so it is not
    counted again.
    """
    if payment.status not in (PaymentStatus.COMPLETED, PaymentStatus.REVERSED):
        told = told_before(payment)
        if told is None:
            return _complete(order, payment, proof)
        proof = replace(
            proof,
            receipt=told.number,
            phone=payer.full_number(told.payer),
            paid_at=told.paid_at,
            binding=binding_of(told),
        )
        return _complete(order, payment, proof, told.collection)
    confirmed = Collection.objects.filter(
        payment=payment, confirmed_at__isnull=True
    ).update(confirmed_at=clock.now())
    _ask_no_more(payment)
    if not confirmed:
        return Outcome.DUPLICATE
    lifecycle.note(payment, source=proof.source, reason="M-Pesa confirmed the payment")
    return Outcome.CONFIRMED


def _complete(
    order: Order, payment: Payment, proof: Proof, known: Collection | None = None
) -> Outcome:
    """Complete the payment with its money: new, or counted as nobody's before."""
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
    if known is None:
        collection = _collect(order, payment, proof)
        if proof.receipt is None:
            precedence.doubt_answered(payment, collection, proof)
    else:
        _bind(order, payment, proof, known)
    guards.release_after_success(payment)
    schedule.ask_at_once_if_due(payment)
    news.publish(payment, order, "payment.completed")
    return Outcome.COMPLETED


def _collect(order: Order, payment: Payment, proof: Proof) -> Collection:
    """Store the money as a collection and share it out."""
    now = clock.now()
    is_second_hand = proof.source == Source.CALLBACK or not proof.is_proven
    collection = Collection.objects.create(
        account_id=payment.account_id,
        environment=payment.environment,
        shop_id=payment.shop_id,
        payment=payment,
        receipt=proof.receipt,
        amount=payment.amount,
        phone=proof.phone or payment.phone,
        binding=proof.binding,
        source=proof.source,
        paid_at=proof.paid_at,
        sighted_at=now,
        confirmed_at=None if is_second_hand else now,
    )
    receipts.count(collection)
    portions = _offer(order, payment, collection.amount)
    ledger.allocate(collection, portions, actor=payment.created_by)
    return collection


def _give_its_own(
    order: Order, taker: Payment, known: Collection, proof: Proof
) -> None:
    """Count the own money of a payment for which other money was guessed wrongly.

    People had used it, or M-Pesa sent it back. M-Pesa said that the payment was paid, so
    its money is somewhere: the receipt is to follow.
    `order`, the taker's, is under its lock; the other payment's is locked.
    """
    if known.payment_id is None:
        return
    other_order, other = locked(known.payment_id)
    if other_order == order:
        other_order = other.order = order
    if precedence.used_before(other) == known:
        precedence.part(other, known, proof)
        known.refresh_from_db()
    elif not precedence.was_sent_back(other, known):
        return
    own = _collect(other_order, other, Proof(Source.QUERY))
    precedence.doubt_answered(other, own, proof, taker)
    news.publish(other, other_order, "payment.updated")


def _bind(order: Order, payment: Payment, proof: Proof, known: Collection) -> None:
    """Give money that was nobody's to its payment, and share it out."""
    changed = Collection.objects.filter(
        pk=known.pk,
        payment__isnull=True,
        allocated=known.allocated,
        amount=payment.amount,
    ).update(
        payment=payment,
        shop_id=payment.shop_id,
        binding=proof.binding,
        phone=proof.phone or payment.phone,
        confirmed_at=known.confirmed_at or clock.now(),
    )
    if changed != 1:
        raise AssertionError("somebody used the money under our locks")
    portions = _offer(order, payment, known.amount - known.allocated)
    ledger.allocate(known, portions, actor=payment.created_by)
    used = set(ledger.current(known).values_list("kind", flat=True))
    for words in precedence.words_for(used):
        lifecycle.note(payment, source=proof.source, reason=words, alarm=words)
    if known.reversed_at is not None and payment.status == PaymentStatus.COMPLETED:
        _reverse_at_once(payment, proof)


def _reverse_at_once(payment: Payment, proof: Proof) -> None:
    """Say that M-Pesa had sent the money back already, unless other money stands."""
    stands = Collection.objects.filter(payment=payment, reversed_at__isnull=True)
    if not stands.exists():
        lifecycle.move(
            payment,
            PaymentStatus.REVERSED,
            source=proof.source,
            reason="M-Pesa had sent this money back already",
            next_ask_at=None,
            leased_until=None,
        )


def _adopt(order: Order, payment: Payment, proof: Proof, known: Collection) -> None:
    """More money on a completed payment, which was counted as nobody's before."""
    was_used = known.allocated > 0
    _bind(order, payment, proof, known)
    _note_added(order, payment, proof)
    if was_used:
        precedence.doubt_other_money(payment, proof)


def _note_added(order: Order, payment: Payment, proof: Proof) -> None:
    """Say that more money came for a payment: a second time, or what it had lost."""
    others = Collection.objects.filter(payment=payment).exclude(receipt=proof.receipt)
    if not receipts.not_corrected_away(others).exists():
        lifecycle.note(
            payment,
            source=proof.source,
            reason=f"{format_kes(payment.amount)} arrived, receipt {proof.receipt}",
            notice_id=proof.notice_id,
            receipt=proof.receipt,
            alarm=precedence.alarm_of_late(order, payment),
        )
        news.publish(payment, order, "payment.updated")
        return
    lifecycle.note(
        payment,
        source=proof.source,
        reason=f"Another receipt for this payment: {proof.receipt}",
        notice_id=proof.notice_id,
        alarm="Paid twice: another receipt came for the same prompt.",
    )
    news.publish(payment, order, "payment.updated")


def _confirm(
    order: Order, payment: Payment, known: Collection, proof: Proof
) -> Outcome:
    """The same payment and the same receipt: a better reason for it is kept.

    What people used of it before it was guessed to be this payment's is its sale's now,
    as if nobody had guessed.
    """
    if not proofs.outranks(proof.binding, known.binding):
        return Outcome.DUPLICATE
    Collection.objects.filter(pk=known.pk).update(
        binding=proof.binding, confirmed_at=known.confirmed_at or clock.now()
    )
    if not precedence.regain(payment, known, proof):
        return Outcome.DUPLICATE
    portions = _offer(order, payment, known.amount - known.allocated)
    ledger.allocate(known, portions, actor=payment.created_by)
    news.publish(payment, order, "payment.updated")
    return Outcome.CONFIRMED


def _was_paid_by_hand(payment: Payment) -> bool:
    """Whether its money came without its prompt, as far as M-Pesa ever said."""
    return (
        not precedence.is_proved_apart(payment)
        and Collection.objects.filter(
            payment=payment, binding__in=(Binding.REFERENCE, Binding.FIT)
        ).exists()
    )


def _offer(order: Order, payment: Payment, amount: Decimal) -> list[ledger.Portion]:
    """Let the order take what it needs, in KES. It may not stand in the money's way.

    The savepoint undoes a half-done order when orders or stock raise what they
    never should, also when the database refuses them; only a lost connection, a
    deadlock or a lock that is held too long repeats the whole.
    """
    try:
        with transaction.atomic():
            taken = order_lifecycle.take_payment(
                order, amount, actor=payment.created_by
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
    lacking = (
        receipts.receiptless().filter(payment=payment).values_list("pk", flat=True)
    )
    filled = Collection.objects.filter(
        pk__in=list(lacking), receipt__isnull=True
    ).update(
        receipt=proof.receipt,
        phone=proof.phone or payment.phone,
        paid_at=proof.paid_at,
        binding=proof.binding,
        confirmed_at=clock.now(),
    )
    if not filled:
        return False
    receipts.count(Collection.objects.get(payment=payment, receipt=proof.receipt))
    lifecycle.note(
        payment,
        source=proof.source,
        reason=f"Receipt {proof.receipt} filled in",
        notice_id=proof.notice_id,
        receipt=proof.receipt,
        alarm=precedence.no_longer_double(payment, proof.receipt),
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
    if _was_paid_by_hand(payment):
        # The prompt failed, and the customer paid the till instead.
        changes["alarm"] = payment.alarm
        Payment.objects.filter(pk=payment.pk).update(**changes)
        return Outcome.DUPLICATE
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
