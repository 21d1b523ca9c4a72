"""Who has the better right to money that is counted already.

A token or a reference beats what was guessed or what a person decided. Then receipts
change places, or the money moves; no shilling is made or lost by it, what is gone
stays gone, and every payment that loses says so. Call under the locks of `settlement`.
"""

from __future__ import annotations

from django.db.models import F, Sum

from orders import lifecycle as order_lifecycle
from orders.enums import OrderStatus
from orders.models import Order
from payments import ledger, lifecycle, news, receipts
from payments.enums import (
    AllocationKind,
    Binding,
    PaymentStatus,
    ReceiptState,
    RefundState,
    Source,
)
from payments.models import (
    Allocation,
    Collection,
    Payment,
    PaymentEvent,
    Receipt,
    RefundPart,
)
from payments.proofs import Proof, is_still_nobodys, locked, outranks
from smartduka.lib import clock


# No longer there to be shared out: on its way back, gone back, or corrected away.
GONE = (AllocationKind.RESERVED, AllocationKind.REFUNDED, AllocationKind.CORRECTION)
WAS_CREDIT = "Its money had been kept as a customer's credit, which is gone by that."
WENT_BACK = "Its money was given back or corrected before we knew whose it was."
ANOTHER_SALES = "This money was another sale's: ask the customer to pay."
SAME_SALES = "This money was another payment's of this sale."
ANOTHERS = "This money was another payment's."
DOUBLE = "Counted twice: its receipt came with money that people had used already."
PERHAPS = "Perhaps counted twice: a receipt that fits it was used for another end."
GUESSED = "Its own money was used before; what it has was guessed to be its money."
CAME_LATE = (
    "Its own money came late: the surplus is what its sale lacks, not to go back."
)
WAS_KEPT = "Its money was kept as a customer's credit before we knew whose it was."


def yields(known: Collection, payment: Payment, proof: Proof) -> bool:
    """Whether a collection with this receipt gives way to a proof.

    One that is nobody's and unspent does, and one that was guessed or that a person
    used or kept as a credit. One whose row at M-Pesa carries the other payment's
    reference does not: two of M-Pesa's words contradict each other.
    """
    if known.amount != payment.amount:
        return False
    if known.payment_id is None:
        return known.allocated == 0 or outranks(proof.binding, Binding.PERSON)
    if known.binding not in (Binding.FIT, Binding.PERSON):
        return False
    return outranks(proof.binding, known.binding)


def take(taker: Payment, known: Collection, proof: Proof) -> Collection | None:
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
        if is_guess and is_proved_apart(other) and not _has_its_own(other):
            return _take_guessed_receipt(other_order, other, known, proof, taker)
    _tell_who_lost(taker, known, _freed(taker, known), proof)
    Collection.objects.filter(pk=known.pk).update(payment=None)
    known.refresh_from_db()
    return known


def regain(payment: Payment, known: Collection, proof: Proof) -> bool:
    """Free what people used of money that M-Pesa now says is this payment's for sure.

    They used it when it was nobody's, and then it was guessed to be this payment's.
    What is gone stays gone. Locks as `take`; False if nothing was to be freed.
    """
    if not _was_used_first(payment, known):
        return False
    portions = _freed(payment, known)
    if not portions:
        return False
    if payment.alarm == WAS_KEPT:
        lifecycle.note(payment, source=proof.source, reason=WAS_CREDIT, alarm="")
    _tell_who_lost(payment, known, portions, proof)
    known.refresh_from_db()
    payment.refresh_from_db(fields=["alarm"])
    return True


def _freed(taker: Payment, known: Collection) -> list[Allocation]:
    """Free the portions that are for other ends than the taker's sale; return them."""
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
    return portions


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
    losers_and_owner = losers | {known.payment_id}
    made_of_it = [pk for pk in losers_and_owner if pk not in (None, taker.pk)]
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
    order: Order, other: Payment, known: Collection, proof: Proof, taker: Payment
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
            if is_still_nobodys(one.collection_id)
        ),
        None,
    )
    if spare is None:
        receipts.uncount(known)
        Collection.objects.filter(pk=known.pk).update(receipt=None)
        known.receipt = None
    else:
        _exchange_receipts(known, spare)
    lifecycle.note(
        other,
        source=proof.source,
        reason=f"Receipt {proof.receipt} is another payment's: "
        + (f"ours is {known.receipt}" if spare else "ours is to follow"),
        receipt=known.receipt or "",
    )
    if spare is None:
        doubt_answered(other, known, proof, taker)
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


def is_proved_apart(payment: Payment) -> bool:
    """Whether M-Pesa said that this prompt was paid, not only that money came."""
    return PaymentEvent.objects.filter(
        payment=payment,
        new=PaymentStatus.COMPLETED,
        source__in=(Source.QUERY, Source.CALLBACK),
    ).exists()


def _has_its_own(payment: Payment) -> bool:
    """Whether M-Pesa itself named a receipt for it: what it has besides is no more its."""
    return Collection.objects.filter(
        payment=payment, binding__in=(Binding.TOKEN, Binding.REFERENCE)
    ).exists()


def part(payment: Payment, spent: Collection, proof: Proof) -> None:
    """Part a payment from money that people had used before it was guessed to be its.

    M-Pesa names another receipt for the payment, or another payment for the receipt:
    what was given back or kept was that one's. Whose it is, is open then. A sale that
    got the rest of it needs that again.
    """
    for portion in _own(spent, payment):
        if portion.payment_id not in (None, payment.pk):
            continue  # a person paid the sale with it, as they may with nobody's money
        portion.collection = spent
        ledger.release(portion, actor=None, reason="The money is another payment's")
        order_lifecycle.give_back(
            payment.order, portion.amount, actor=None, restocks=False
        )
    asked = spent.refunds.order_by("asked_at").first()
    spent.payment, spent.binding = None, ""
    spent.shop_id = asked.shop_id if asked is not None else spent.shop_id
    spent.save(update_fields=["payment", "binding", "shop"])
    alarm = "" if payment.alarm in (WENT_BACK, WAS_KEPT) else payment.alarm
    lifecycle.note(
        payment,
        source=proof.source,
        reason=f"Receipt {spent.receipt} is another payment's: ours is to follow",
        receipt="",
        alarm=alarm,
    )


def used_before(payment: Payment) -> Collection | None:
    """Money that was guessed to be this payment's, and that people had used by then.

    All of it, or a part, and the payment's sale is open yet. Locks it.
    """
    rows = Collection.objects.select_for_update(no_key=True)
    guessed = rows.filter(
        payment=payment,
        binding=Binding.FIT,
        reversed_at__isnull=True,
        allocated=F("amount"),
    ).first()
    if guessed is None:
        return None
    if not _was_used_first(payment, guessed):
        return None
    own = _own(guessed, payment)
    is_sold = {one.kind for one in own} <= {AllocationKind.SALE}
    is_open = payment.order.status == OrderStatus.OPEN
    return guessed if not own or (is_sold and is_open) else None


def was_sent_back(payment: Payment, known: Collection) -> bool:
    """Whether M-Pesa sent back what was only guessed to be this payment's money.

    Its own, for M-Pesa called it paid, is somewhere then.
    """
    return (
        known.binding == Binding.FIT
        and known.reversed_at is not None
        and is_proved_apart(payment)
        and not Collection.objects.filter(payment=payment).exclude(pk=known.pk).exists()
    )


def _was_used_first(payment: Payment, known: Collection) -> bool:
    """Whether people used the money for another end before it was this payment's."""
    first_use = known.allocations.order_by("pk").first()
    return first_use is not None and first_use.order_id != payment.order_id


def _own(known: Collection, payment: Payment) -> list[Allocation]:
    """The portions of money that are for a payment's own sale."""
    return list(ledger.current(known).filter(order_id=payment.order_id))


def drop_guess(payment: Payment, proof: Proof) -> bool:
    """Take a guessed receipt from its payment, for which M-Pesa names another."""
    if not outranks(proof.binding, Binding.FIT):
        return False
    guessed = _guessed(payment)
    if guessed is None:
        return False
    receipts.uncount(guessed)
    Collection.objects.filter(pk=guessed.pk).update(receipt=None)
    return True


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


def swap(payment: Payment, known: Collection, proof: Proof) -> bool:
    """Exchange receipts: this payment's was guessed, and its own lies unbound.

    Both are of the same amount, so no shilling moves. Never with money that was used: it
    went back, or pays, under its own number; but a credit is only kept, and stays its
    customer's if the receipt that it gets is seen to be that customer's too. A payment
    whose receipt is missing gives its lack to the other, which is then merged by
    `matching`.
    """
    if not outranks(proof.binding, Binding.FIT) or known.amount != payment.amount:
        return False
    guessed = _guessed(payment)
    if guessed is None or known.payment_id is not None:
        return False
    if known.allocated and not _stays_credit(payment, known, guessed):
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


def _stays_credit(payment: Payment, known: Collection, guessed: Collection) -> bool:
    """Whether money kept as a credit may be that of the receipt guessed for a payment.

    The payer of both is the payment's, as far as their numbers are shown.
    """
    kinds = {one.kind for one in ledger.current(known)}
    row = Receipt.objects.filter(collection=guessed).first()
    return (
        kinds == {AllocationKind.CREDIT}
        and row is not None
        and receipts.fits_surely(row, payment)
    )


def merge(payment: Payment, known: Collection, proof: Proof) -> bool:
    """Join what a question proved with its receipt, which was counted as nobody's.

    One shilling was counted twice, for nobody could see that the row was this prompt's.
    The payment's money gets the receipt; the other collection is corrected away, whole.
    """
    answered = (
        receipts.receiptless().filter(payment=payment, amount=known.amount).first()
    )
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
        alarm=no_longer_double(payment, proof.receipt),
        next_ask_at=None,
    )
    news.publish(payment, payment.order, "payment.updated")
    return True


def doubt_other_money(payment: Payment, proof: Proof) -> None:
    """Doubt what else a payment has, for its receipt came with money that was used.

    What a question proved is that very money, counted twice: two people correct it.
    What was guessed to be its money is there, and somebody else's perhaps.
    """
    answered = Collection.objects.filter(
        pk__in=receipts.receiptless().filter(payment=payment).values("pk")
    )
    if answered.update(disputed=DOUBLE, disputed_at=clock.now()):
        lifecycle.note(payment, source=proof.source, reason=DOUBLE, alarm=DOUBLE)
    elif _guessed(payment) is not None:
        lifecycle.note(payment, source=proof.source, reason=GUESSED, alarm=GUESSED)


def doubt_answered(
    payment: Payment,
    answered: Collection,
    proof: Proof,
    taker: Payment | None = None,
) -> None:
    """Doubt money that a question proved where a receipt that fits it was used before.

    A person, or a guess, gave that receipt to another end, and M-Pesa has no number for
    this money yet. It counts for its sale; a person is told, until its receipt comes.
    A payment that M-Pesa called paid has money of its own, whatever its receipt is; and
    the receipt that the proof itself names is another payment's for sure: the `taker`'s,
    for which any other one was a wrong guess.
    """
    used = [
        one
        for one in receipts.used_elsewhere(payment)
        if one.number != proof.receipt
        and not (
            one.collection is not None
            and one.collection.binding == Binding.FIT
            and one.collection.payment is not None
            and one.collection.payment != taker
            and is_proved_apart(one.collection.payment)
            and not _has_its_own(one.collection.payment)
        )
    ]
    if not used:
        return
    answered.disputed, answered.disputed_at = PERHAPS, clock.now()
    answered.save(update_fields=["disputed", "disputed_at"])
    ours = [
        one.number
        for one in used
        if one.collection is not None and one.collection.shop_id == payment.shop_id
    ]
    lifecycle.note(
        payment,
        source=proof.source,
        reason=f"Perhaps its money: receipt {', '.join(ours)}" if ours else PERHAPS,
        alarm=PERHAPS,
    )


def wrongly_guessed(payment: Payment, proof: Proof) -> Collection | None:
    """Money that was used or sent back and guessed to be this payment's, wrongly.

    M-Pesa names another receipt for the payment now.
    """
    is_completed = payment.status in (PaymentStatus.COMPLETED, PaymentStatus.REVERSED)
    if not is_completed or not outranks(proof.binding, Binding.FIT):
        return None
    guessed = Collection.objects.filter(
        payment=payment,
        binding=Binding.FIT,
        receipt__isnull=False,
        allocated=F("amount"),
    )
    return guessed.exclude(receipt=proof.receipt).first()


def doubt_who_lacks(known: Collection, proof: Proof) -> None:
    """Doubt money without a receipt of a payment that this receipt may be.

    People used it, or M-Pesa sent it back, while it was guessed to be another's. Locks
    that payment's order and it, as `take` does.
    """
    known.refresh_from_db()
    is_named = known.payment_id is not None and known.binding != Binding.FIT
    row = Receipt.objects.select_related("account").filter(collection=known).first()
    if row is None or is_named:
        return
    for one in receipts.candidates(row):
        order, other = locked(one.pk)
        answered = receipts.receiptless().filter(payment=other, disputed="").first()
        if answered is not None and answered.amount == known.amount:
            doubt_answered(other, answered, proof)
            news.publish(other, order, "payment.updated")
            return


def alarm_of_late(order: Order, payment: Payment) -> str:
    """The alarm of a payment that had lost its money, now that its own has come.

    A sale that was closed stays closed and takes nothing, so what came is surplus.
    """
    if order.status != OrderStatus.OPEN and _is_short(order):
        return CAME_LATE
    return (
        "" if payment.alarm in (ANOTHER_SALES, SAME_SALES, ANOTHERS) else payment.alarm
    )


def _is_short(order: Order) -> bool:
    """Whether money that had paid a sale turned out not to be its own."""
    sold = ledger.total_of(
        ledger.current().filter(kind=AllocationKind.SALE, order=order)
    )
    reserved = RefundPart.objects.filter(
        source__order=order,
        source__kind=AllocationKind.SALE,
        was_open=False,
        refund__state__in=RefundState.UNDECIDED,
    ).aggregate(total=Sum("amount"))["total"]
    return order.paid - order.refunded > sold + (reserved or 0)


def no_longer_double(payment: Payment, receipt: str | None) -> str:
    """End that doubt where the money got a receipt of its own; return the alarm then.

    It is there. What came to the payment besides was guessed to be its own.
    """
    Collection.objects.filter(
        payment=payment, receipt=receipt, disputed__in=(DOUBLE, PERHAPS)
    ).update(disputed="", disputed_at=None)
    return {DOUBLE: GUESSED, PERHAPS: ""}.get(payment.alarm, payment.alarm)


def words_for(used: set[str]) -> list[str]:
    """What a payment is told whose money people used before, by kinds of portions."""
    words = []
    if used.intersection(GONE):
        words.append(WENT_BACK)
    if AllocationKind.CREDIT in used:
        words.append(WAS_KEPT)
    return words
