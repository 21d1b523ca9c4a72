"""Why no shilling can be counted twice, and none gets lost.

Everything that anybody tells us about a payment ends here, in one transaction
that holds the order's lock and then the payment's (law 12):

1. *Money arrived* (`record_success`). It is recorded whatever else objects. One
   receipt is one collection: UNIQUE (environment, account, receipt). A question
   proves money without a receipt: at most one such collection per payment, and a
   receipt that comes later fills it instead of counting again. A receipt that was
   told before the proof, and that fits nobody else, is taken with it. The order takes
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
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db import (
    InterfaceError,
    OperationalError,
    connection,
    transaction,
)

from orders import lifecycle as order_lifecycle
from orders.enums import OrderStatus
from orders.models import Order
from payments import guards, ledger, lifecycle, news, payer, receipts, schedule
from payments.enums import (
    AllocationKind,
    Binding,
    PaymentStatus,
    ReceiptState,
    Source,
)
from payments.gateways import result_codes
from payments.models import (
    Allocation,
    Collection,
    Payment,
    PaymentEvent,
    Receipt,
)
from smartduka.lib import clock
from smartduka.lib.money import format_kes


logger = logging.getLogger(__name__)

# No longer there to be shared out: on its way back, gone back, or corrected away.
GONE = (AllocationKind.RESERVED, AllocationKind.REFUNDED, AllocationKind.CORRECTION)
WAS_CREDIT = "Its money had been kept as a customer's credit, which is gone by that."
WENT_BACK = "Its money was given back or corrected before we knew whose it was."
ANOTHER_SALES = "This money was another sale's: ask the customer to pay."
SAME_SALES = "This money was another payment's of this sale."
ANOTHERS = "This money was another payment's."
WAS_KEPT = "Its money was kept as a customer's credit before we knew whose it was."


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

    `receipt` is None when M-Pesa's answer to a question is all there is. `binding`:
    why it is this payment's; a stronger one takes a receipt from a weaker one.
    `is_proven` is False for a claim that the shop's settings let through.
    """

    source: Source
    receipt: str | None = None
    phone: str = ""
    paid_at: datetime | None = None
    description: str = ""
    notice_id: int | None = None
    binding: Binding = Binding.TOKEN
    is_proven: bool = True


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
        return _confirm(payment, known, proof)
    if known is not None and not _yields(known, payment, proof):
        return Outcome.RECEIPT_TAKEN
    is_completed = payment.status in (PaymentStatus.COMPLETED, PaymentStatus.REVERSED)
    if known is not None and (known.payment_id is not None or known.allocated):
        known = _take_from_another(payment, known, proof)
    if known is not None:
        if not is_completed:
            return _complete(order, payment, proof, known)
        if _swap(payment, known, proof) or _merge(payment, known, proof):
            return Outcome.FILLED
        _adopt(order, payment, proof, known)
        return Outcome.ADDED
    if not is_completed:
        return _complete(order, payment, proof)
    if _fill_receipt(payment, proof) or _correct_guess(payment, proof):
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
        told = _told_before(payment)
        if told is None:
            return _complete(order, payment, proof)
        proof = replace(
            proof,
            receipt=told.number,
            phone=payer.full_number(told.payer),
            paid_at=told.paid_at,
            binding=_binding_of(told),
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


def _told_before(payment: Payment) -> Receipt | None:
    """The receipt that we know already and that is this payment's, if any is.

    Counted as nobody's: the nearest in time, for the money must not count twice. Not
    counted: only if it fits no other payment and no other receipt fits this one.
    """
    unbound = receipts.unbound_for(payment)
    named = [one for one in unbound if receipts.names_reference(one)]
    for nearest in sorted(named or unbound, key=lambda one: _distance(one, payment)):
        if _is_still_nobodys(nearest.collection_id):
            return nearest
    held = receipts.uncounted_for(payment)
    named = [one for one in held if receipts.names_reference(one)]
    if not held:
        return _spent_before(payment)
    if len(named or held) != 1:
        return None
    (only,) = named or held
    if not named and [one.pk for one in receipts.candidates(only)] != [payment.pk]:
        return None
    return only


def _spent_before(payment: Payment) -> Receipt | None:
    """The receipt of money that people gave back or kept, and that is this payment's.

    It cannot be counted again: the payment is told that its money is gone. The nearest
    in time. Locks it.
    """
    spent = receipts.spent_for(payment)
    named = [one for one in spent if receipts.names_reference(one)]
    rows = Collection.objects.select_for_update(no_key=True)
    for nearest in sorted(named or spent, key=lambda one: _distance(one, payment)):
        known = rows.filter(receipt_row=nearest, payment__isnull=True).first()
        if known is not None and known.amount == payment.amount:
            nearest.collection = known
            return nearest
    return None


def _is_still_nobodys(collection_id: int | None) -> bool:
    """Lock money that was nobody's when we looked; False if somebody took it."""
    if collection_id is None:
        return False
    rows = Collection.objects.select_for_update(no_key=True)
    return bool(
        rows.filter(pk=collection_id, payment__isnull=True, allocated=0).first()
    )


def _distance(receipt: Receipt, payment: Payment) -> float:
    moment = receipt.paid_at or receipt.seen_at
    return abs((moment - payment.created_at).total_seconds())


def _binding_of(receipt: Receipt) -> Binding:
    if receipts.names_reference(receipt):
        return Binding.REFERENCE
    return Binding.FIT


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
        _collect(order, payment, proof)
    else:
        _bind(order, payment, proof, known)
    guards.release_after_success(payment)
    schedule.ask_at_once_if_due(payment)
    news.publish(payment, order, "payment.completed")
    return Outcome.COMPLETED


def _collect(order: Order, payment: Payment, proof: Proof) -> None:
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
    for kinds, words in ((GONE, WENT_BACK), ((AllocationKind.CREDIT,), WAS_KEPT)):
        if used.intersection(kinds):
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
    _bind(order, payment, proof, known)
    _note_added(order, payment, proof)


def _note_added(order: Order, payment: Payment, proof: Proof) -> None:
    lifecycle.note(
        payment,
        source=proof.source,
        reason=f"Another receipt for this payment: {proof.receipt}",
        notice_id=proof.notice_id,
        alarm="Paid twice: another receipt came for the same prompt.",
    )
    news.publish(payment, order, "payment.updated")


def _confirm(payment: Payment, known: Collection, proof: Proof) -> Outcome:
    """The same payment and the same receipt: a better reason for it is kept."""
    if known.binding != proof.binding and _outranks(proof.binding, known.binding):
        Collection.objects.filter(pk=known.pk).update(
            binding=proof.binding, confirmed_at=known.confirmed_at or clock.now()
        )
    return Outcome.DUPLICATE


def _outranks(binding: str, other: str) -> bool:
    ranks = list(Binding.values)
    return other in ranks and ranks.index(binding) < ranks.index(other)


def _yields(known: Collection, payment: Payment, proof: Proof) -> bool:
    """Whether a collection with this receipt gives way to a proof.

    One that is nobody's and unspent does, and one that was guessed or that a person
    used or kept as a credit. One whose row at M-Pesa carries the other payment's reference does not: two
    of M-Pesa's words contradict each other.
    """
    if known.amount != payment.amount:
        return False
    if known.payment_id is None:
        return known.allocated == 0 or _outranks(proof.binding, Binding.PERSON)
    if known.binding not in (Binding.FIT, Binding.PERSON):
        return False
    return _outranks(proof.binding, known.binding)


def _take_from_another(
    taker: Payment, known: Collection, proof: Proof
) -> Collection | None:
    """Take a receipt from the payment, or the person, that had it for a weaker reason.

    Money that M-Pesa itself had said was that payment's stays there, only its receipt
    was guessed wrongly: None then. Else the money moves: its portions are freed, and
    a person is told which sales have none. What is for the taker's own sale already
    stays there, and what is gone, or on its way back, stays gone. Locks the other
    orders and payments after ours; a deadlock repeats the transaction.
    """
    if known.payment_id is not None:
        other_order, other = locked(known.payment_id)
        is_guess = known.binding == Binding.FIT and known.reversed_at is None
        if is_guess and _is_proved_apart(other):
            return _take_guessed_receipt(other_order, other, known, proof)
    portions = [
        one
        for one in ledger.current(known).select_related("collection")
        if one.order_id != taker.order_id and one.kind not in GONE
    ]
    orders = order_lifecycle.locked_all(
        one.order_id for one in portions if one.order_id is not None
    )
    for portion in portions:
        ledger.release(portion, actor=None, reason="The money is another payment's")
        if portion.order_id is None:
            continue
        order = orders[portion.order_id]
        if portion.kind == AllocationKind.SURPLUS:
            order_lifecycle.give_up_surplus(order, portion.amount)
        elif portion.kind == AllocationKind.SALE and order.status == OrderStatus.OPEN:
            # It needs the money again; one that is closed stays closed.
            order_lifecycle.give_back(order, portion.amount, actor=None, restocks=False)
    _tell_who_lost(taker, known, portions, proof)
    Collection.objects.filter(pk=known.pk).update(payment=None)
    known.refresh_from_db()
    return known


def _tell_who_lost(
    taker: Payment, known: Collection, portions: list[Allocation], proof: Proof
) -> None:
    """Say at each payment that was made of this money that it has none.

    What a sale did not need may have been moved on to the next one. A customer whose
    credit it was is named nowhere else, so that is said at the payment that takes it.
    """
    if any(one.kind == AllocationKind.CREDIT for one in portions):
        lifecycle.note(taker, source=proof.source, reason=WAS_CREDIT, alarm=WAS_CREDIT)
    sold = [one for one in portions if one.kind == AllocationKind.SALE]
    losers = {one.payment_id or known.payment_id for one in sold}
    made_of_it = [pk for pk in losers | {known.payment_id} if pk is not None]
    for payment in (
        Payment.objects.select_for_update(no_key=True, of=("self",))
        .select_related("order")
        .filter(pk__in=made_of_it)
        .order_by("pk")
    ):
        lost = payment.pk in losers
        other = SAME_SALES if payment.order_id == taker.order_id else ANOTHERS
        lifecycle.note(
            payment,
            source=proof.source,
            reason=f"Receipt {proof.receipt} is another payment's",
            receipt="",
            alarm=ANOTHER_SALES if lost else other,
        )
        news.publish(payment, payment.order, "payment.updated")


def _take_guessed_receipt(
    order: Order, other: Payment, known: Collection, proof: Proof
) -> Collection | None:
    """Take a receipt that was guessed to be this payment's, and leave it its money.

    Where money lies that was counted as nobody's and fits it, that is its own: the two
    collections change receipts, and the one that is nobody's is returned. Else its
    receipt is to follow; None then.
    """
    spare = next(
        (
            one.collection
            for one in receipts.unbound_for(other)
            if _is_still_nobodys(one.collection_id)
        ),
        None,
    )
    if spare is None:
        receipts.uncount(known)
        Collection.objects.filter(pk=known.pk).update(receipt=None)
    else:
        _exchange_receipts(known, spare)
    lifecycle.note(
        other,
        source=proof.source,
        reason=f"Receipt {proof.receipt} is another payment's: "
        + (f"ours is {known.receipt}" if spare else "ours is to follow"),
        receipt=(known.receipt or "") if spare else "",
    )
    news.publish(other, order, "payment.updated")
    return spare


def _exchange_receipts(bound: Collection, unbound: Collection) -> None:
    """Let two collections of one amount change receipts, and what was told with them.

    No shilling moves. Locks both, in the order of their ids.
    """
    pair = (bound.pk, unbound.pk)
    list(
        Collection.objects.select_for_update(no_key=True)
        .filter(pk__in=pair)
        .order_by("pk")
    )
    rows = list(Receipt.objects.filter(collection__in=pair))
    Receipt.objects.filter(pk__in=[row.pk for row in rows]).update(
        state=ReceiptState.HELD, collection=None
    )
    told = {one.pk: (one.receipt, one.phone, one.paid_at) for one in (bound, unbound)}
    Collection.objects.filter(pk=unbound.pk).update(receipt=None)
    for one, other in ((bound, unbound), (unbound, bound)):
        one.receipt, one.phone, one.paid_at = told[other.pk]
        Collection.objects.filter(pk=one.pk).update(
            receipt=one.receipt, phone=one.phone, paid_at=one.paid_at
        )
        receipts.count(one)


def _is_proved_apart(payment: Payment) -> bool:
    """Whether M-Pesa said that this prompt was paid, not only that money came."""
    return PaymentEvent.objects.filter(
        payment=payment,
        new=PaymentStatus.COMPLETED,
        source__in=(Source.QUERY, Source.CALLBACK),
    ).exists()


def _was_paid_by_hand(payment: Payment) -> bool:
    """Whether its money came without its prompt, as far as M-Pesa ever said."""
    return (
        not _is_proved_apart(payment)
        and Collection.objects.filter(
            payment=payment, binding__in=(Binding.REFERENCE, Binding.FIT)
        ).exists()
    )


def _correct_guess(payment: Payment, proof: Proof) -> bool:
    """Put the receipt that M-Pesa names in the place of one that was guessed."""
    if not _outranks(proof.binding, Binding.FIT):
        return False
    guessed = _guessed(payment)
    if guessed is None:
        return False
    receipts.uncount(guessed)
    Collection.objects.filter(pk=guessed.pk).update(receipt=None)
    return _fill_receipt(payment, proof)


def _guessed(payment: Payment) -> Collection | None:
    """The payment's money whose receipt was guessed.

    What M-Pesa sent back under that number was that number's money: no guess any more.
    """
    return Collection.objects.filter(
        payment=payment,
        binding=Binding.FIT,
        receipt__isnull=False,
        reversed_at__isnull=True,
    ).first()


def _swap(payment: Payment, known: Collection, proof: Proof) -> bool:
    """Exchange receipts: this payment's was guessed, and its own lies unbound.

    Both are of the same amount, so no shilling moves. A payment whose receipt is
    missing gives its lack to the other, which is then merged by `matching`.
    """
    if not _outranks(proof.binding, Binding.FIT) or known.amount != payment.amount:
        return False
    guessed = _guessed(payment)
    if guessed is None:
        return False
    number = guessed.receipt
    _exchange_receipts(guessed, known)
    Collection.objects.filter(pk=guessed.pk).update(
        binding=proof.binding, phone=proof.phone or payment.phone
    )
    lifecycle.note(
        payment,
        source=proof.source,
        reason=f"Receipt {proof.receipt} filled in, instead of {number}",
        notice_id=proof.notice_id,
        receipt=proof.receipt,
    )
    news.publish(payment, payment.order, "payment.updated")
    return True


def _merge(payment: Payment, known: Collection, proof: Proof) -> bool:
    """Join what a question proved with its receipt, which was counted as nobody's.

    One shilling was counted twice, for nobody could see that the row was this prompt's.
    The payment's money gets the receipt; the other collection is corrected away, whole.
    """
    answered = Collection.objects.filter(
        payment=payment, receipt__isnull=True, amount=known.amount
    ).first()
    if answered is None or known.allocated:
        return False
    _exchange_receipts(answered, known)
    Collection.objects.filter(pk=answered.pk).update(
        binding=proof.binding,
        phone=proof.phone or payment.phone,
        confirmed_at=clock.now(),
    )
    reason = f"Counted twice: it is the money of receipt {proof.receipt}"
    ledger.allocate(
        known,
        [ledger.Portion(AllocationKind.CORRECTION, known.amount, reason=reason)],
    )
    lifecycle.note(
        payment,
        source=proof.source,
        reason=f"Receipt {proof.receipt} filled in; it had been counted as nobody's",
        notice_id=proof.notice_id,
        receipt=proof.receipt,
        next_ask_at=None,
    )
    news.publish(payment, payment.order, "payment.updated")
    return True


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
    filled = Collection.objects.filter(payment=payment, receipt__isnull=True).update(
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
