"""Sending a payment back through M-Pesa, and believing it only on proof.

M-Pesa takes the request and says later what came of it. Until it does the money stays
reserved: a lost answer or result is unknown, and nothing is sent a second time by a
machine. Proof is the result of our own request, the state of that request's
transaction, or the reversal row of a statement, also of one that nobody here asked
for. It is booked once, whatever was done meanwhile.
"""

from __future__ import annotations

import logging
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from payments import (
    disputes,
    errands,
    ledger,
    lifecycle,
    news,
    receipts,
    refund_money,
)
from payments.enums import (
    AllocationKind,
    MovementKind,
    PaymentStatus,
    RefundMethod,
    RefundState,
    RequestKind,
    RequestState,
    Source,
    Verdict,
)
from payments.errands import Errand
from payments.gateways.base import GatewayError
from payments.gateways.organisation import Acknowledged, ReversalRequest
from payments.models import (
    Collection,
    Movement,
    MpesaAccount,
    OrganisationRequest,
    Payment,
    Refund,
    StatementImport,
)
from payments.notices_results import (
    RequestResult,
    ReversalResult,
    Reversed,
    TransactionState,
    TransactionStatus,
    read_reversal,
)
from smartduka.lib import clock
from smartduka.lib.money import whole
from smartduka.lib.transactions import repeated


logger = logging.getLogger(__name__)

UNASKED = "Sent back at M-Pesa"
REVERSIBLE = (RefundState.SENDING, RefundState.UNKNOWN)
# Certain codes of a reversal's result, in words for the manager.
REFUSALS = {
    "1": "The M-Pesa account has too little money: it may be at the bank already.",
    "11": "M-Pesa says that the payer's account cannot take it.",
    "21": "The initiator may not send money back: it lacks that role.",
    "2001": "M-Pesa refused the initiator's password.",
    "2006": "M-Pesa says that the account is not active.",
    "2028": "M-Pesa does not allow it for this account or amount.",
    "8006": "The initiator is locked: the business administrator must unlock it.",
    "R000002": "M-Pesa does not know this receipt number.",
}
# What is carried out so much later than it was asked for is no result of the asking.
STATEMENT_MARGIN = timedelta(hours=1)
ANOTHERS = "The receipt number was found to be another payment's."
ENDED_UNDONE = (
    TransactionState.CANCELLED,
    TransactionState.DECLINED,
    TransactionState.EXPIRED,
)


class ReceiptNotCounted(Exception):
    """A receipt that was sent back moves from one collection to another."""


def begin(refund: Refund, collection: Collection, *, asked_by: Any) -> Errand:
    """Phase 1: store the request of a refund. Call inside its transaction.

    Sets the refund's request and its first question; the caller writes the row.
    """
    assert collection.account is not None
    errand = errands.begin(
        RequestKind.REVERSAL,
        collection.account,
        collection.receipt or "",
        asked_by=asked_by,
    )
    now = clock.now()
    refund.request = errand.request
    refund.sent_at = now
    refund.next_ask_at = now + clock.seconds(settings.REFUND_QUESTION_GAPS_S[0])
    return errand


def send(refund_id: uuid.UUID, errand: Errand, amount: Decimal) -> None:
    """Phases 2 and 3: call M-Pesa, commit what it said. Call outside transactions."""
    receipt = errand.request.receipt
    answer = errands.call(
        errand,
        lambda gateway, account, initiator, urls: gateway.reverse(
            account,
            initiator,
            ReversalRequest(urls, receipt, whole(amount)),
            limit_s=settings.PUSH_READ_TIMEOUT_S,
        ),
    )
    errands.kept(lambda: _record_answer(refund_id, answer))


@repeated
def _record_answer(refund_id: uuid.UUID, answer: Acknowledged | GatewayError) -> None:
    with transaction.atomic(durable=True):
        held, refund, request = _locked(refund_id)
        is_first = request.state == RequestState.MADE
        errands.record(request, answer)
        if refund.state != RefundState.SENDING or not is_first:
            return
        if isinstance(answer, Acknowledged):
            refund_money.note(refund, reason="M-Pesa took it; the result comes later")
        elif answer.certain:
            _fail(held, refund, f"M-Pesa was not asked: {request.result_desc}")
        else:
            _stay_unknown(refund, "M-Pesa's answer was lost: it may be on its way")


@repeated
def apply_result(request_id: uuid.UUID, result: RequestResult) -> Verdict:
    """Apply the result of a reversal to its refund; the caller has matched the ids.

    Opens a transaction; locks orders, payments, collection, refund, request. Raises
    ReceiptNotCounted when it must be tried again.
    """
    said = read_reversal(result)
    refund_id = Refund.objects.values_list("pk", flat=True).get(request_id=request_id)
    if said.outcome == Reversed.DONE:
        _prove_where_the_receipt_is(refund_id, said)
    with transaction.atomic(durable=True):
        held, refund, request = _locked(refund_id)
        was_answered = request.state == RequestState.ANSWERED
        verdict = _judge(held, refund, request, said)
        if verdict != Verdict.CONTRADICTION and not (
            was_answered and verdict != Verdict.APPLIED
        ):
            _answered(request, result, said)
    return verdict


def apply_status(request_id: uuid.UUID, status: TransactionStatus) -> Verdict:
    """Apply what M-Pesa says of the transaction of a reversal that we asked for.

    `request_id` is of the reversal. Proof: completed, the whole amount, another receipt
    than the payment's, and out of our account. Opens a transaction. Raises
    ReceiptNotCounted when it must be tried again.
    """
    refund = Refund.objects.select_related("request__account", "collection").get(
        request_id=request_id
    )
    request = refund.request
    assert request is not None
    account = request.account
    numbers = {account.shortcode, account.party_b}
    payer, payee = status.debit_party, status.credit_party
    is_ours = (
        status.amount == refund.amount
        and status.receipt not in (None, request.receipt)
        and (payer is None or payer.number in numbers)
        and (payee is None or payee.number not in numbers)
    )
    if not is_ours:
        return Verdict.UNVERIFIED
    if status.state == TransactionState.COMPLETED:
        holder = _holder_of(refund, request)
        if holder is None and refund.collection.receipt != request.receipt:
            raise ReceiptNotCounted(f"receipt {request.receipt} is nobody's yet")
        prove_reversed(
            refund.collection if holder is None else holder,
            receipt=status.receipt or "",
            source=Source.STATUS,
            at=status.finalised_at or clock.now(),
        )
        if holder is not None:
            _undone(refund.pk, ANOTHERS)
        return Verdict.APPLIED
    if status.state in ENDED_UNDONE:
        return _undone(refund.pk, f"M-Pesa says: {status.word}")
    return Verdict.UNCERTAIN


@repeated
def doubt(request_id: uuid.UUID, why: str) -> None:
    """Say that a reversal's result is unknown, and ask soon. Opens a transaction."""
    refund_id = Refund.objects.values_list("pk", flat=True).get(request_id=request_id)
    with transaction.atomic(durable=True):
        _, refund, _ = _locked(refund_id)
        _stay_unknown(refund, why)


@repeated
def prove_reversed(
    found: Collection, *, receipt: str, source: Source, at: datetime
) -> None:
    """Book that M-Pesa sent a collection's money back: once, whoever says it first.

    `found`: the collection as it was found by the receipt that M-Pesa names. `receipt`
    is the reversal's own number, or "". All that is left of the money becomes refunded;
    its sales count it; its payments become reversed. An undecided reversal is done by
    it; another refund that waited has failed, for its money is gone; if nobody here
    asked for it, a refund row is made that says so. Cash that went out before is told
    to a person: by its payment's alarm, and what has no payment is disputed. Opens a
    transaction; locks as `refund_money.locked`. Raises ReceiptNotCounted where the
    receipt was found to be other money's since: look for it anew.
    """
    with transaction.atomic(durable=True):
        held = refund_money.locked(found.pk)
        if held.collection.receipt != found.receipt:
            raise ReceiptNotCounted(f"receipt {found.receipt} moved meanwhile")
        _book_reversal(held, receipt=receipt, source=source, at=at)


def settle_by_statement(
    account: MpesaAccount, *, covers_from: datetime, covers_to: datetime
) -> int:
    """Decide reversals that a complete statement does not have; return how many.

    Call when all rows of the statement are applied: what it had is proved by then. A
    reversal sent within its time, STATEMENT_MARGIN before its end, and not in it, was
    certainly not carried out. Nothing is decided by one with rows that could not be
    read, nor where money went back that might be it. Opens a transaction for each.
    """
    read = StatementImport.objects.filter(
        account=account, covers_from=covers_from, covers_to=covers_to
    )
    if any(one.bad_rows for one in read):
        return 0
    missing = Refund.objects.filter(
        state__in=REVERSIBLE,
        request__account=account,
        sent_at__gte=covers_from,
        sent_at__lte=covers_to - STATEMENT_MARGIN,
    ).select_related("request")
    verdicts = [
        _undone(refund.pk, "M-Pesa's statement does not have it")
        for refund in missing
        if not _may_have_gone(account, refund)
    ]
    return verdicts.count(Verdict.APPLIED)


def _may_have_gone(account: MpesaAccount, refund: Refund) -> bool:
    """Whether a statement has a reversal that may be this one: named, or unnamed."""
    assert refund.request is not None
    assert refund.sent_at is not None
    named = Q(linked=refund.request.receipt)
    since = refund.sent_at - receipts.CLOCK_SKEW
    unnamed = Q(linked="", amount=-refund.amount, at__gte=since)
    return Movement.objects.filter(
        named | unnamed, account=account, kind=MovementKind.REVERSAL
    ).exists()


def _locked(
    refund_id: uuid.UUID,
) -> tuple[refund_money.Held, Refund, OrganisationRequest]:
    """A refund by reversal under all its locks, in the lawful order."""
    assert connection.in_atomic_block, "call inside a transaction"
    collection_id = Refund.objects.values_list("collection_id", flat=True).get(
        pk=refund_id
    )
    held = refund_money.locked(collection_id)
    refund = (
        Refund.objects.select_for_update(no_key=True, of=("self",))
        .select_related("reserved")
        .get(pk=refund_id)
    )
    assert refund.request_id is not None
    return held, refund, errands.locked(refund.request_id)


def _judge(
    held: refund_money.Held,
    refund: Refund,
    request: OrganisationRequest,
    said: ReversalResult,
) -> Verdict:
    if said.outcome == Reversed.DONE:
        return _judge_done(held, refund, request, said)
    if refund.state == RefundState.DONE:
        if said.outcome == Reversed.REFUSED:
            logger.error("refund %s: refused after it was done", refund.pk)
            return Verdict.CONTRADICTION
        return Verdict.DUPLICATE
    if refund.state not in REVERSIBLE:
        return Verdict.DUPLICATE
    if said.outcome == Reversed.REFUSED:
        words = REFUSALS.get(said.code, "M-Pesa refused it.")
        _fail(held, refund, f"{words} (code {said.code})")
        return Verdict.APPLIED
    if said.outcome == Reversed.ALREADY:
        _stay_unknown(
            refund,
            "M-Pesa says that it was sent back before: a statement must show it",
        )
        return Verdict.UNCERTAIN
    _stay_unknown(refund, f"M-Pesa's result decides nothing (code {said.code})")
    return Verdict.UNCERTAIN


def _judge_done(
    held: refund_money.Held,
    refund: Refund,
    request: OrganisationRequest,
    said: ReversalResult,
) -> Verdict:
    if said.original_receipt != request.receipt or said.amount != refund.amount:
        if refund.state in REVERSIBLE:
            _stay_unknown(refund, "M-Pesa's result does not fit: it is asked")
        return Verdict.UNVERIFIED
    if held.collection.receipt != request.receipt:
        holder = _holder_of(refund, request)
        if holder is None or holder.reversed_at is None:
            raise ReceiptNotCounted(f"receipt {request.receipt} is not booked yet")
        # The number was another payment's, where it is booked by now.
        if refund.state in REVERSIBLE:
            _fail(held, refund, ANOTHERS)
        return Verdict.APPLIED
    if held.collection.reversed_at is not None:
        _fill_receipt(held.collection, said.receipt or "")
        return Verdict.DUPLICATE
    _book_reversal(
        held,
        receipt=said.receipt or "",
        source=Source.CALLBACK,
        at=said.completed_at or clock.now(),
    )
    return Verdict.APPLIED


def _prove_where_the_receipt_is(refund_id: uuid.UUID, said: ReversalResult) -> None:
    """Book a reversal on the collection that has the receipt by now, if it moved.

    A receipt that was guessed may be found to be another payment's while its reversal
    is under way.
    """
    refund = Refund.objects.select_related("request").get(pk=refund_id)
    assert refund.request is not None
    if said.original_receipt != refund.request.receipt or said.amount != refund.amount:
        return
    holder = _holder_of(refund, refund.request)
    if holder is not None:
        prove_reversed(
            holder,
            receipt=said.receipt or "",
            source=Source.CALLBACK,
            at=said.completed_at or clock.now(),
        )


def _holder_of(refund: Refund, request: OrganisationRequest) -> Collection | None:
    """The other collection that has the receipt of a reversal by now."""
    rows = Collection.objects.filter(
        account_id=request.account_id, receipt=request.receipt
    )
    return rows.exclude(pk=refund.collection_id).first()


def _answered(
    request: OrganisationRequest, result: RequestResult, said: ReversalResult
) -> None:
    request.state = RequestState.ANSWERED
    request.answered_at = clock.now()
    request.result_code = result.code
    request.result_desc = result.description
    request.result_receipt = said.receipt or ""
    request.save(
        update_fields=[
            "state", "answered_at", "result_code", "result_desc", "result_receipt",
        ]
    )  # fmt: skip


def _book_reversal(
    held: refund_money.Held, *, receipt: str, source: Source, at: datetime
) -> None:
    """Book a proved reversal under the locks of `held`; nothing if it was booked."""
    collection = held.collection
    if collection.reversed_at is not None:
        _fill_receipt(collection, receipt)
        return
    reason = f"M-Pesa sent it back: {Source(source).label}"
    given = ledger.total_of(
        ledger.current(collection).filter(kind=AllocationKind.REFUNDED)
    )
    undecided = refund_money.undecided_of(collection)
    paid = _paid_by(collection, undecided)
    if undecided is not None and undecided.method == RefundMethod.REVERSAL:
        _done(held, undecided, receipt, reason)
    elif undecided is not None:
        words = "M-Pesa sent this money back meanwhile"
        _fail(held, undecided, words, is_gone=True)
    if held.left > 0:
        _book_unasked(held, receipt, reason)
    Collection.objects.filter(pk=collection.pk).update(reversed_at=at)
    collection.reversed_at = at
    if given:
        logger.error("collection %s went back twice in part", collection.pk)
        if collection.payment_id is None:
            disputes.settle(collection, None, disputes.sent_back_twice(given))
    for payment_id in sorted(paid):
        _reverse_payment(held, held.payments[payment_id], source, reason, given)


def _paid_by(collection: Collection, undecided: Refund | None) -> set[uuid.UUID]:
    """The payments whose money this is: its own, and those made of a part of it."""
    portions = ledger.current(collection).filter(payment__isnull=False)
    found = {collection.payment_id, *portions.values_list("payment_id", flat=True)}
    if undecided is not None:
        found |= set(undecided.parts.values_list("source__payment_id", flat=True))
    return {payment_id for payment_id in found if payment_id is not None}


def _done(held: refund_money.Held, refund: Refund, receipt: str, reason: str) -> None:
    refund_money.book(held, refund, actor=refund.asked_by, reason=reason)
    refund_money.move(refund, RefundState.DONE, reason=reason, receipt=receipt)


def _book_unasked(held: refund_money.Held, receipt: str, reason: str) -> None:
    """Make the row of a reversal that nobody here asked for, and book it."""
    collection, amount = held.collection, held.left
    refund = Refund(
        shop_id=collection.shop_id,
        collection=collection,
        payment_id=collection.payment_id,
        order=_order_of(held),
        method=RefundMethod.REVERSAL,
        amount=amount,
        reason=UNASKED,
        state=RefundState.DONE,
        receipt=receipt,
        asked_at=clock.now(),
        decided_at=clock.now(),
    )
    reserved = refund_money.reserve(
        held, amount, sale_first=False, actor=None, reason=UNASKED
    )
    refund_money.begin(refund, reserved, actor=None, reason=reason)
    refund_money.book(held, refund, actor=None, reason=reason)


def _order_of(held: refund_money.Held) -> Any:
    payment_id = held.collection.payment_id
    return held.payments[payment_id].order if payment_id is not None else None


def _reverse_payment(
    held: refund_money.Held,
    payment: Payment,
    source: Source,
    reason: str,
    given: Decimal,
) -> None:
    """Move a payment of this money to reversed, unless other money of it stands.

    It stands where a second receipt came for the same prompt.
    """
    alarm = ""
    if given and payment.pk == held.collection.payment_id:
        alarm = disputes.sent_back_twice(given)
    changes: dict[str, Any] = {"alarm": alarm} if alarm else {}
    stands = Collection.objects.filter(payment=payment, reversed_at__isnull=True)
    event = "payment.updated"
    if payment.status == PaymentStatus.COMPLETED and not stands.exists():
        lifecycle.move(
            payment,
            PaymentStatus.REVERSED,
            source=source,
            reason=reason,
            next_ask_at=None,
            leased_until=None,
            **changes,
        )
        event = "payment.reversed"
    else:
        lifecycle.note(payment, source=source, reason=reason, **changes)
    news.publish(payment, payment.order, event)


def _fill_receipt(collection: Collection, receipt: str) -> None:
    """Keep the reversal's own number, if the proof before it did not tell it."""
    if receipt:
        Refund.objects.filter(
            collection=collection,
            method=RefundMethod.REVERSAL,
            state=RefundState.DONE,
            receipt="",
        ).update(receipt=receipt)


@repeated
def _undone(refund_id: uuid.UUID, why: str) -> Verdict:
    with transaction.atomic(durable=True):
        held, refund, _ = _locked(refund_id)
        if refund.state not in REVERSIBLE:
            return Verdict.DUPLICATE
        _fail(held, refund, why)
    return Verdict.APPLIED


def _fail(
    held: refund_money.Held, refund: Refund, why: str, *, is_gone: bool = False
) -> None:
    """Certainly nothing went back by it: the money is what it was, or `is_gone`."""
    refund_money.put_back(
        held, refund, actor=None, reason=f"Not sent back: {why}", is_gone=is_gone
    )
    refund_money.move(refund, RefundState.FAILED, reason=why, why_failed=why[:200])


def _stay_unknown(refund: Refund, why: str) -> None:
    """Nobody knows: nothing is freed, M-Pesa is asked, and it is not sent again."""
    if refund.state not in REVERSIBLE:
        return
    if refund.state == RefundState.SENDING:
        refund_money.move(
            refund,
            RefundState.UNKNOWN,
            reason=why,
            next_ask_at=clock.now() + clock.seconds(settings.REFUND_QUESTION_GAPS_S[0]),
        )
    else:
        refund_money.note(refund, reason=why)
