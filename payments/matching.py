"""Whose money is a receipt? Decided once, by the best reason there is.

In this order: the collection that has the number already; the reference that was
paid to; the one payment that amount, time and payer fit (law 5), also one that M-Pesa
called unpaid, which is asked about once more; the sale for which
somebody typed the code; nobody, and then it is unmatched money for a person to decide
about. While a payment that may own it is undecided, a receipt is held: kept, seen,
not counted and not to be spent.

What the C2B address tells is a claim: it fills a receipt number that is missing, but
it counts as money only when M-Pesa's own books have it, or up to the shop's limit.

`resolve` may be called at any time and any number of times.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q

from orders import lifecycle as order_lifecycle
from orders.enums import OrderStatus
from orders.models import Order
from payments import direct, payer, precedence, receipts, schedule, settlement
from payments.enums import Binding, ClaimState, PaymentStatus, ReceiptState, Source
from payments.models import (
    CodeClaim,
    Collection,
    MpesaSettings,
    Payment,
    Receipt,
)
from payments.settlement import Outcome, Proof
from shops.models import Shop
from smartduka.lib import clock, later
from smartduka.lib.money import format_kes, shillings_in
from smartduka.lib.transactions import repeated


logger = logging.getLogger(__name__)

MATCH_TASK = "payments.tasks.match"
TRIES = 5
ASKED_AT_ONCE = 5  # of the payments that a receipt may belong to


class Step(StrEnum):
    """What is to be done with a receipt."""

    LINK = "link"  # a collection has its number
    SETTLE = "settle"  # it is this payment's money
    HOLD = "hold"  # it may be some payment's: wait and ask
    CODE = "code"  # somebody typed it for a sale
    CLAIM = "claim"  # nobody's, and M-Pesa has not confirmed it
    UNMATCHED = "unmatched"  # nobody's, and true


@dataclass(frozen=True, slots=True)
class Decision:
    """What a look at a receipt says; equal looks are equal decisions."""

    step: Step
    collection_id: int | None = None
    payment_id: uuid.UUID | None = None
    binding: Binding = Binding.FIT
    ask: tuple[uuid.UUID, ...] = ()
    claim_id: uuid.UUID | None = None
    shop_id: int | None = None


def look(receipt_id: int) -> ReceiptState | None:
    """Resolve a receipt, and if that breaks look again later; None then."""
    try:
        return resolve(receipt_id)
    except Exception:
        logger.exception("receipt %s could not be resolved", receipt_id)
        Receipt.objects.filter(pk=receipt_id, collection__isnull=True).update(
            look_at=clock.now() + clock.seconds(settings.RECEIPT_LOOK_LATER_S)
        )
        return None


def due(limit: int, now: datetime | None = None) -> list[int]:
    """The receipts that are to be looked at, the longest waiting first.

    Another environment's settle nothing here (law 13).
    """
    rows = Receipt.objects.filter(
        look_at__lte=now or clock.now(), account__environment=settings.MPESA_ENV
    )
    return list(rows.order_by("look_at").values_list("pk", flat=True)[:limit])


def resolve(receipt_id: int) -> ReceiptState:
    """Find whose money a receipt is, and book it; return where it then stands.

    Opens transactions; locks order, payment, collection, receipt, in that order. What
    was seen before the locks is looked at again under them. Raises what settlement
    raises; then nothing was booked.
    """
    for _ in range(TRIES):
        receipt = Receipt.objects.select_related("account", "collection").get(
            pk=receipt_id
        )
        decision = decide(receipt)
        try:
            done = _carry_out(receipt_id, decision)
        except IntegrityError:
            # Its number was counted this moment by another road.
            logger.info("receipt %s was counted meanwhile", receipt.number)
            continue
        if done is not None:
            return done
    raise RuntimeError(f"receipt {receipt_id} never stood still")


def decide(receipt: Receipt) -> Decision:
    """Say what is to be done with a receipt as things are. Writes nothing."""
    collection = Collection.objects.filter(
        environment=receipt.account.environment,
        account_id=receipt.account_id,
        receipt=receipt.number,
    ).first()
    is_contradicted = receipts.is_contradicted(receipt)
    if collection is not None and (
        is_contradicted or not _is_for_reference(receipt, collection)
    ):
        return Decision(Step.LINK, collection_id=collection.pk)
    named = _named(receipt)
    if is_contradicted:
        return _decide_nobodys(receipt, named)
    if named is not None and named.amount == receipt.amount:
        return _decide_named(receipt, named)
    if named is None:
        candidates = receipts.candidates(receipt)
        if candidates:
            return _decide_among(receipt, candidates)
        doubted = receipts.doubted_by(receipt)[:ASKED_AT_ONCE]
        if doubted:
            return Decision(Step.HOLD, ask=tuple(one.pk for one in doubted))
    return _decide_nobodys(receipt, named)


def may_spend(receipt: Receipt, shop: Shop | None) -> bool:
    """Whether a receipt's money may pay a sale of the shop.

    What M-Pesa's books have, always; a claim up to the limit that the shop's manager
    set, unless M-Pesa or another notice contradicts it.
    """
    if receipt.is_proven:
        return True
    if shop is None or receipt.alarm:
        return False
    limit = (
        MpesaSettings.objects.filter(shop=shop)
        .values_list("claimed_limit", flat=True)
        .first()
    )
    return receipt.amount <= Decimal(limit or 0)


def _is_for_reference(receipt: Receipt, collection: Collection) -> bool:
    """Whether a reference that we know by now has the better right to a collection.

    Only once M-Pesa's books have it: a claim would have to wait, and it is counted.
    """
    named = _named(receipt)
    if named is None or named.amount != receipt.amount or not receipt.is_proven:
        return False
    holder = collection.payment
    if holder is None and not collection.allocated:
        return True
    return holder != named and _takes_used(receipt, named, collection)


def _takes_used(receipt: Receipt, named: Payment, collection: Collection) -> bool:
    """Whether a reference takes money that people used, or that was guessed.

    If M-Pesa's own books name it, the named payment still lacks its money, and a person
    did not pay its very sale with this. Else what people did stands.
    """
    holder = collection.payment
    sale_id = holder.order_id if holder is not None else None
    if collection.binding == Binding.PERSON and sale_id == named.order_id:
        return False
    books = receipt.sightings.filter(
        source__in=Source.PROOF, reference=receipt.reference
    )
    proof = Proof(direct.best_source(receipt), binding=Binding.REFERENCE)
    return (
        precedence.yields(collection, named, proof)
        and _lacks_money(named)
        and books.exists()
    )


def _lacks_money(payment: Payment) -> bool:
    """Whether a payment was not paid as far as we know, or its receipt is missing."""
    is_paid = payment.status in (PaymentStatus.COMPLETED, PaymentStatus.REVERSED)
    return not is_paid or receipts.receiptless().filter(payment=payment).exists()


def _named(receipt: Receipt) -> Payment | None:
    """The payment whose reference was paid to, if it is one of ours."""
    if not receipts.names_reference(receipt):
        return None
    return (
        Payment.objects.filter(
            account_id=receipt.account_id, reference=receipts.reference_key(receipt)
        )
        .select_related("shop")
        .first()
    )


def _decide_named(receipt: Receipt, payment: Payment) -> Decision:
    settle = Decision(Step.SETTLE, payment_id=payment.pk, binding=Binding.REFERENCE)
    hold = Decision(Step.HOLD, payment_id=payment.pk, ask=(payment.pk,))
    lacks_receipt = receipts.receiptless().filter(payment=payment).exists()
    if lacks_receipt or receipt.is_proven:
        return settle
    if payment.decided_at is None:
        if payment.checkout_request_id is None and may_spend(receipt, payment.shop):
            return settle
        return hold
    if payment.asked_at is None or payment.asked_at < receipt.seen_at:
        is_failed = payment.status == PaymentStatus.FAILED
        if is_failed and payment.checkout_request_id is not None:
            return hold
    return settle if may_spend(receipt, payment.shop) else Decision(Step.CLAIM)


def _decide_among(receipt: Receipt, candidates: list[Payment]) -> Decision:
    """One payment fits this receipt and one receipt that payment: joined.

    Several fit: the askable are asked first, the likeliest at once. When all that is
    left lacks only the receipt, and there are at least as many receipts as payments,
    any order of them makes the same books: the best fit is taken.
    """
    undecided = [one for one in candidates if one.decided_at is None]
    askable = [one for one in undecided if one.checkout_request_id is not None]
    if askable:
        askable.sort(key=lambda one: _rank(receipt, one))
        # The others have questions of their own, and a hook has no time for hundreds.
        return Decision(Step.HOLD, ask=tuple(one.pk for one in askable[:ASKED_AT_ONCE]))
    rivals = {rival.pk for one in candidates for rival in receipts.uncounted_for(one)}
    is_over = _age_s(receipt) > settings.RECEIPT_WINDOW_S
    # Money that is proved has a receipt somewhere: that is looked for first.
    lacking = [one for one in candidates if one.decided_at is not None]
    if not lacking:
        (only, *more) = undecided
        is_sure = not more and len(rivals) == 1 and receipts.fits_surely(receipt, only)
        if is_sure and may_spend(receipt, only.shop):
            return Decision(Step.SETTLE, payment_id=only.pk)
        # Nobody can be asked about them: they hold nothing for ever.
        return _decide_nobodys(receipt, None) if is_over else Decision(Step.HOLD)
    if len(rivals) < len(lacking) and not is_over:
        surely = [one for one in lacking if receipts.fits_surely(receipt, one)]
        if len(surely) != 1:
            return Decision(Step.HOLD)
        lacking = surely
    best = min(lacking, key=lambda one: _rank(receipt, one))
    if min(_rivals_rank(best), default=receipt.pk) != receipt.pk:
        return Decision(Step.HOLD)
    return Decision(Step.SETTLE, payment_id=best.pk)


def _rank(receipt: Receipt, payment: Payment) -> tuple[bool, float, str]:
    moment = receipt.paid_at or receipt.seen_at
    distance = abs((moment - payment.created_at).total_seconds())
    return (not receipts.fits_surely(receipt, payment), distance, str(payment.pk))


def _rivals_rank(payment: Payment) -> list[int]:
    """The receipt that fits a payment best, of those not counted yet."""
    rivals = receipts.uncounted_for(payment)
    if not rivals:
        return []
    return [min(rivals, key=lambda one: (_rank(one, payment), one.pk)).pk]


def _decide_nobodys(receipt: Receipt, named: Payment | None) -> Decision:
    shop_id = named.shop_id if named is not None else receipt.account.shop_id
    claim = (
        CodeClaim.objects.filter(
            account_id=receipt.account_id,
            number=receipt.number,
            state=ClaimState.WAITING,
            order__status=OrderStatus.OPEN,
        )
        .select_related("shop")
        .first()
    )
    if (
        claim is not None
        and named is None
        and may_spend(receipt, claim.shop)
        # Money on a shared account reaches a shop by its reference or by the operator.
        and shop_id == claim.shop_id
    ):
        return Decision(Step.CODE, claim_id=claim.pk, shop_id=claim.shop_id)
    if receipt.is_proven:
        return Decision(Step.UNMATCHED, shop_id=shop_id)
    return Decision(Step.CLAIM, shop_id=shop_id)


@repeated
def _carry_out(receipt_id: int, decision: Decision) -> ReceiptState | None:
    """Do what was decided, if it is still so under the locks; None if it is not."""
    with transaction.atomic(durable=True):
        order, payment, claim = _locked_for(decision)
        _lock_collections(receipt_id, decision)
        receipt = (
            Receipt.objects.select_for_update(no_key=True, of=("self",))
            .select_related("account", "collection")
            .get(pk=receipt_id)
        )
        if decide(receipt) != decision:
            return None
        if decision.step == Step.LINK:
            _link(receipt, decision)
        elif decision.step == Step.SETTLE:
            assert order is not None
            assert payment is not None
            if not _settle(order, payment, receipt, decision.binding):
                _wait(receipt, ReceiptState.HELD, "Its number is another payment's.")
        elif decision.step == Step.CODE:
            assert order is not None
            assert claim is not None
            _pay_claimed_sale(order, receipt, claim)
        elif decision.step == Step.UNMATCHED:
            shop = None
            if decision.shop_id is not None:
                shop = Shop.objects.get(pk=decision.shop_id)
            direct.collect(receipt, shop=shop)
        elif decision.step == Step.HOLD:
            _wait(receipt, ReceiptState.HELD)
        else:
            _wait(receipt, ReceiptState.CLAIMED)
        receipt.refresh_from_db()
        if receipt.collection_id is not None:
            _close_claims(receipt)
    for payment_id in decision.ask:
        _bring_forward(payment_id)
    return ReceiptState(receipt.state)


def _locked_for(
    decision: Decision,
) -> tuple[Order | None, Payment | None, CodeClaim | None]:
    if decision.payment_id is not None:
        return *settlement.locked(decision.payment_id), None
    if decision.claim_id is None:
        return None, None, None
    claim = CodeClaim.objects.select_related("created_by").get(pk=decision.claim_id)
    return order_lifecycle.locked(claim.order_id), None, claim


def _lock_collections(receipt_id: int, decision: Decision) -> None:
    """Lock the money that the receipt may be about, before the receipt (law 12)."""
    told = Receipt.objects.values("account_id", "number").get(pk=receipt_id)
    about = Q(account_id=told["account_id"], receipt=told["number"])
    if decision.payment_id is not None:
        about |= Q(payment_id=decision.payment_id)
    rows = Collection.objects.select_for_update(no_key=True).filter(about)
    list(rows.order_by("pk").values_list("pk", flat=True))


@repeated
def _bring_forward(payment_id: uuid.UUID) -> None:
    with transaction.atomic(durable=True):
        _, payment = settlement.locked(payment_id)
        schedule.bring_forward(payment)


def _settle(order: Order, payment: Payment, receipt: Receipt, binding: Binding) -> bool:
    """Book it as the payment's; False if its number is another's by a better right."""
    proof = Proof(
        source=direct.best_source(receipt),
        receipt=receipt.number,
        binding=binding,
        is_proven=receipt.is_proven,
        phone=payer.full_number(receipt.payer),
        paid_at=receipt.paid_at,
    )
    outcome = settlement.record_success(order, payment, proof)
    return outcome != Outcome.RECEIPT_TAKEN


def _link(receipt: Receipt, decision: Decision) -> None:
    """Its collection is there: one more source agrees, or disagrees."""
    assert decision.collection_id is not None
    collection = Collection.objects.get(pk=decision.collection_id)
    Receipt.objects.filter(pk=receipt.pk).update(
        state=ReceiptState.COUNTED, collection=collection, look_at=None
    )
    changes = news_for(collection, receipt)
    if changes:
        Collection.objects.filter(pk=collection.pk).update(**changes)


def news_for(collection: Collection, receipt: Receipt) -> dict[str, Any]:
    """What its receipt says of a collection that it did not know. Writes nothing."""
    changes: dict[str, Any] = {}
    told = receipts.told_amount(receipt, counted=collection.amount)
    agrees = collection.amount == told
    is_other_source = receipt.is_proven or collection.source != Source.C2B
    if agrees and is_other_source and collection.confirmed_at is None:
        changes["confirmed_at"] = clock.now()
    if receipts.is_better(receipt.payer, collection.phone):
        changes["phone"] = receipt.payer
    if collection.paid_at is None and receipt.paid_at is not None:
        changes["paid_at"] = receipt.paid_at
    if not agrees and not collection.disputed:
        changes["disputed"] = (
            f"We counted {format_kes(collection.amount)},"
            f" M-Pesa told of {format_kes(told)}."
        )
        changes["disputed_at"] = clock.now()
    return changes


def _pay_claimed_sale(order: Order, receipt: Receipt, claim: CodeClaim) -> None:
    """Pay it with whole shillings; cents stay with the money, for a person."""
    collection = direct.collect(receipt, shop=claim.shop)
    shillings = shillings_in(receipt.amount)
    if not shillings:
        return
    direct.pay(
        order,
        collection,
        shillings,
        actor=claim.created_by,
        reason=f"The code {receipt.number} was typed for this sale",
        source=direct.best_source(receipt),
    )


def _close_claims(receipt: Receipt) -> None:
    """Tell those who typed this code what became of it.

    Money of a shared account that is no shop's yet decides nothing: they wait until
    the operator says whose it is.
    """
    collection = receipt.collection
    if collection is not None and collection.shop_id is None:
        return
    waiting = CodeClaim.objects.filter(
        account_id=receipt.account_id,
        number=receipt.number,
        state=ClaimState.WAITING,
    )
    for claim in waiting:
        paid = Payment.objects.filter(
            collections__receipt_row=receipt, order_id=claim.order_id
        ).exists()
        CodeClaim.objects.filter(pk=claim.pk).update(
            state=ClaimState.USED if paid else ClaimState.DENIED,
            why="" if paid else "M-Pesa says that this money is for something else.",
            closed_at=clock.now(),
        )


def _wait(receipt: Receipt, state: ReceiptState, alarm: str = "") -> None:
    """Leave it uncounted, and look again while it is held.

    A look that is handed out already stays the only one, whoever looked in between.
    """
    look_at = receipt.look_at if state == ReceiptState.HELD else None
    now = clock.now()
    if state == ReceiptState.HELD and (look_at is None or look_at <= now):
        wait_s = _look_gap_s(_seen_s(receipt))
        look_at = now + clock.seconds(wait_s)
        later.enqueue_later(MATCH_TASK, receipt.pk, seconds=wait_s)
    Receipt.objects.filter(pk=receipt.pk).update(
        state=state, look_at=look_at, alarm=alarm or receipt.alarm
    )


def _look_gap_s(age_s: float) -> int:
    """How long until a receipt of that age is looked at again, in seconds."""
    passed = 0
    for gap_s in settings.RECEIPT_LOOK_S:
        passed += gap_s * 2
        if age_s < passed:
            return gap_s
    return settings.RECEIPT_LOOK_LATER_S


def _seen_s(receipt: Receipt) -> float:
    return (clock.now() - receipt.seen_at).total_seconds()


def _age_s(receipt: Receipt) -> float:
    moment: datetime = receipt.paid_at or receipt.seen_at
    return (clock.now() - moment).total_seconds()
