"""Receipt numbers as M-Pesa tells them: kept once, from however many sources.

What C2B, Pull, Transaction Status and statements say becomes one row per account
and number, with what each source said below it. A notice at the C2B address is a
claim; the others are M-Pesa's own books. Whose money it is, `matching` says.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery, Sum

from payments import payer as payers
from payments import references
from payments.enums import (
    AccountType,
    AllocationKind,
    Binding,
    PaymentStatus,
    ReceiptState,
    Source,
)
from payments.models import (
    Allocation,
    Collection,
    MpesaAccount,
    Notice,
    Payment,
    Receipt,
    Sighting,
    StatementImport,
)
from smartduka.lib import clock
from smartduka.lib.money import format_kes


logger = logging.getLogger(__name__)

# Our clock and M-Pesa's may differ, and a push is stored before it is sent.
CLOCK_SKEW = timedelta(minutes=2)
# The clocks of our own machines differ by less.
OWN_CLOCKS = timedelta(seconds=5)
# Of a masked number: fewer visible digits fit too many people.
TELLING_DIGITS = 3
REFERENCE_LENGTH = 40  # of what is kept of it
# Counted, and no payment's.
NOBODYS = Q(collection__isnull=False, collection__payment__isnull=True)
# A claim that M-Pesa denied, or that another notice contradicts: it is no payment's.
CONTRADICTED = Q(proven_at__isnull=True) & ~Q(alarm="")


@dataclass(frozen=True, slots=True)
class Told:
    """What one source says of a receipt. Amount in KES, exact."""

    number: str
    amount: Decimal
    payer: str = ""
    payer_name: str = ""
    reference: str = ""
    paid_at: datetime | None = None


def sight(
    account: MpesaAccount,
    told: Told,
    source: Source,
    *,
    notice: Notice | None = None,
    statement: StatementImport | None = None,
) -> Receipt:
    """Keep what a source says; return the receipt under its lock.

    Call inside a transaction that holds no other lock. Saying it again changes
    nothing. A full number is never replaced by a masked one. Another amount than
    before raises an alarm on the row; only M-Pesa's books correct a claim.
    """
    assert connection.in_atomic_block, "call inside a transaction"
    now = clock.now()
    Receipt.objects.bulk_create(
        [
            Receipt(
                account=account,
                number=told.number,
                amount=told.amount,
                payer=told.payer[:64],
                payer_name=told.payer_name[:120],
                reference=told.reference[:REFERENCE_LENGTH],
                paid_at=told.paid_at,
                seen_at=now,
                look_at=now,
            )
        ],
        ignore_conflicts=True,
    )
    receipt = Receipt.objects.select_for_update(no_key=True).get(
        account=account, number=told.number
    )
    Sighting.objects.bulk_create(
        [
            Sighting(
                receipt=receipt,
                source=source,
                amount=told.amount,
                payer=told.payer[:64],
                reference=told.reference[:REFERENCE_LENGTH],
                paid_at=told.paid_at,
                notice=notice,
                statement=statement,
                seen_at=now,
            )
        ],
        ignore_conflicts=True,
    )
    merge(receipt, told, source, now)
    receipt.save()
    return receipt


def merge(receipt: Receipt, told: Told, source: Source, now: datetime) -> None:
    """Take what a source says into a receipt under its lock. Saves nothing."""
    is_proof = source in Source.PROOF
    reference = receipt.reference
    if told.amount != receipt.amount:
        receipt.alarm = (
            f"{Source(source).label} says {format_kes(told.amount)},"
            f" before it was {format_kes(receipt.amount)}."
        )
        logger.error("receipt %s: %s", receipt.number, receipt.alarm)
        if is_proof and not receipt.is_proven and receipt.collection_id is None:
            receipt.amount = told.amount
        if is_proof:
            # Is it counted, its money is to be compared.
            receipt.look_at = now
    if is_better(told.payer, receipt.payer):
        receipt.payer = told.payer[:64]
    receipt.payer_name = receipt.payer_name or told.payer_name[:120]
    if source != Source.C2B or not receipt.reference:
        receipt.reference = told.reference[:REFERENCE_LENGTH] or receipt.reference
    receipt.paid_at = receipt.paid_at or told.paid_at
    if is_proof and not receipt.is_proven:
        # Is it counted, its money is confirmed by that.
        receipt.proven_at = receipt.look_at = now
    is_named_now = receipt.reference != reference and names_reference(receipt)
    if receipt.collection_id is None or is_named_now:
        receipt.look_at = now


def is_contradicted(receipt: Receipt) -> bool:
    """Whether M-Pesa denied this claim, or another notice contradicts it.

    It holds no other money and is no prompt's receipt, until M-Pesa's books have it.
    """
    return bool(receipt.alarm) and not receipt.is_proven


def told_amount(receipt: Receipt, *, counted: Decimal) -> Decimal:
    """The amount that M-Pesa told of a receipt whose money was counted, in KES.

    A claim that was counted keeps its amount, so only what was told says that M-Pesa's
    own books have another one. Of several that they have, the counted one is taken.
    """
    if not receipt.alarm or not receipt.is_proven:
        return receipt.amount
    rows = receipt.sightings.filter(source__in=Source.PROOF)
    proven = set(rows.values_list("amount", flat=True))
    return counted if counted in proven else max(proven, default=receipt.amount)


def is_better(new: str, old: str) -> bool:
    """Whether a payer's number says more than the one we have."""
    return payers.visible_digits(new) > payers.visible_digits(old) or not old


def count(collection: Collection) -> None:
    """Say that a receipt's money is this collection, if its row is there.

    It is looked at once more afterwards: do its sources agree with the collection?
    """
    if collection.receipt:
        Receipt.objects.filter(
            account_id=collection.account_id,
            number=collection.receipt,
            collection__isnull=True,
        ).update(state=ReceiptState.COUNTED, collection=collection, look_at=clock.now())


def uncount(collection: Collection) -> None:
    """Take a receipt from its collection: somebody has a better right to it."""
    Receipt.objects.filter(collection=collection).update(
        state=ReceiptState.HELD, collection=None, look_at=clock.now()
    )


def without_receipt() -> Exists:
    """The payment's money was proved by a question, and its receipt is missing."""
    return Exists(receiptless().filter(payment=OuterRef("pk")))


def receiptless() -> QuerySet[Collection]:
    """Money that was proved by a question, and whose receipt is missing.

    What two people corrected away, all of it, waits for no receipt any more; what a
    correction added came under the number of the money that it corrects.
    """
    return not_corrected_away(
        Collection.objects.filter(receipt__isnull=True, corrects__isnull=True)
    )


def not_corrected_away(rows: QuerySet[Collection]) -> QuerySet[Collection]:
    """Leave out what the books say was never there, as a whole."""
    corrected = (
        Allocation.objects.filter(
            collection=OuterRef("pk"), kind=AllocationKind.CORRECTION
        )
        .order_by()
        .values("collection")
        .values(total=Sum("amount"))
    )
    return rows.annotate(corrected=Subquery(corrected)).filter(
        Q(corrected__isnull=True) | Q(corrected__lt=F("amount"))
    )


def candidates(receipt: Receipt) -> list[Payment]:
    """Payments that this receipt's money may be, by amount, time and payer (law 5).

    Those that lack a receipt, and the undecided ones, of the same account. One that
    cannot be asked about any more counts for QUESTIONS_UNTIL_S.
    """
    paid_at = receipt.paid_at or receipt.seen_at
    rows = waiting_payments(receipt.account_id, paid_at, paid_at)
    rows = rows.filter(amount=receipt.amount).order_by("created_at", "id")
    return [one for one in rows if may_be(receipt, one)]


def doubted_by(receipt: Receipt) -> list[Payment]:
    """Payments that M-Pesa called unpaid, and that this receipt's money may be yet.

    M-Pesa has been seen to contradict itself: who was not asked about since we saw the
    receipt is asked once more, before the money is nobody's. The nearest in time first.
    None when the receipt is older than RECEIPT_WINDOW_S: it does not wait for ever.
    """
    paid_at = receipt.paid_at or receipt.seen_at
    if clock.now() - paid_at > clock.seconds(settings.RECEIPT_WINDOW_S):
        return []
    rows = unpaid_payments(receipt.account_id, paid_at, paid_at)
    rows = rows.filter(amount=receipt.amount).exclude(asked_at__gte=receipt.seen_at)
    return [one for one in rows.order_by("-created_at", "id") if may_be(receipt, one)]


def unpaid_payments(
    account_id: uuid.UUID, first: datetime, last: datetime
) -> QuerySet[Payment]:
    """Payments called unpaid that money paid between two moments may be."""
    return Payment.objects.filter(
        status__in=PaymentStatus.NOT_PAID,
        decided_at__isnull=False,
        checkout_request_id__isnull=False,
        account_id=account_id,
        created_at__gte=first - clock.seconds(settings.RECEIPT_WINDOW_S),
        created_at__lte=last + CLOCK_SKEW,
    )


def spent_for(payment: Payment) -> list[Receipt]:
    """Receipts counted as nobody's that may be this payment's, and that people spent.

    Kept as a credit, given back, or on their way back; not what pays another sale, not
    even in part. Law 9.
    """
    return [
        one
        for one in _around(payment, NOBODYS & Q(collection__allocated__gt=0))
        if _is_open_to(payment, one) and not _pays_a_sale(one)
    ]


def _is_open_to(payment: Payment, receipt: Receipt) -> bool:
    """Whether nobody's money can be this payment's, as we know it.

    None that we saw before the payment was made: it cannot have been paid yet, whatever
    M-Pesa's clock says. Not what is another shop's: only its reference takes that away.
    Not what two people corrected away: it never was there.
    """
    known = receipt.collection
    return (
        known is not None
        and receipt.seen_at >= payment.created_at - OWN_CLOCKS
        and (known.shop_id in (None, payment.shop_id) or names_reference(receipt))
        and not_corrected_away(Collection.objects.filter(pk=known.pk)).exists()
    )


def _pays_a_sale(receipt: Receipt) -> bool:
    return Allocation.objects.filter(
        collection=receipt.collection_id,
        kind__in=(AllocationKind.SALE, AllocationKind.SURPLUS),
        released_by__isnull=True,
    ).exists()


def used_elsewhere(payment: Payment) -> list[Receipt]:
    """Receipts that may be this payment's money, and that were used for another end.

    A person decided so, or a machine guessed it: M-Pesa itself gave no word on whose
    money it is. None that we saw before the payment was made. What the operator gave to
    another shop is used by that.
    """
    guessed = Q(collection__binding__in=(Binding.FIT, Binding.PERSON))
    handed_out = Q(collection__shop__isnull=False) & ~Q(
        collection__shop=payment.shop_id
    )
    weak = (NOBODYS & (Q(collection__allocated__gt=0) | handed_out)) | (
        guessed & ~Q(collection__payment=payment)
    )
    since = payment.created_at - OWN_CLOCKS
    used = [one for one in _around(payment, weak) if one.seen_at >= since]
    there = not_corrected_away(
        Collection.objects.filter(pk__in=[one.collection_id for one in used])
    )
    kept = set(there.values_list("pk", flat=True)) if used else set()
    return [one for one in used if one.collection_id in kept]


def waiting_payments(
    account_id: uuid.UUID, first: datetime, last: datetime
) -> QuerySet[Payment]:
    """Payments that money paid between two moments may be, of whatever amount."""
    window = clock.seconds(settings.RECEIPT_WINDOW_S)
    since = clock.now() - clock.seconds(settings.QUESTIONS_UNTIL_S)
    undecided = Q(decided_at__isnull=True) & (
        Q(next_ask_at__isnull=False) | Q(created_at__gte=since)
    )
    return Payment.objects.filter(
        undecided | Q(without_receipt()),
        account_id=account_id,
        created_at__gte=first - window,
        created_at__lte=last + CLOCK_SKEW,
    )


def uncounted_for(payment: Payment) -> list[Receipt]:
    """Receipts that belong to no collection yet and may be this payment's money."""
    return _around(payment, Q(collection__isnull=True) & ~CONTRADICTED)


def unbound_for(payment: Payment) -> list[Receipt]:
    """Receipts counted as nobody's that may be this payment's money, unspent."""
    unspent = NOBODYS & Q(collection__allocated=0)
    return [one for one in _around(payment, unspent) if _is_open_to(payment, one)]


def _around(payment: Payment, which: Q) -> list[Receipt]:
    """Receipts that may be this payment's money, by amount, time and payer."""
    window = clock.seconds(settings.RECEIPT_WINDOW_S)
    first, last = payment.created_at - CLOCK_SKEW, payment.created_at + window
    rows: QuerySet[Receipt] = (
        Receipt.objects.filter(
            which,
            Q(paid_at__range=(first, last))
            | Q(paid_at__isnull=True, seen_at__range=(first, last)),
            account_id=payment.account_id,
            amount=payment.amount,
        )
        .select_related("collection", "account")
        .order_by("paid_at", "id")
    )
    return [one for one in rows if may_be(one, payment)]


def may_be(receipt: Receipt, payment: Payment) -> bool:
    """Whether a receipt's money may be this payment's; never whether it is.

    A reference of ours names one payment. A paybill's row with something else typed
    was no prompt: prompts carry the reference. On the platform's account, where
    several shops sell, the payer must be seen to fit.
    """
    if names_reference(receipt):
        return reference_key(receipt) == payment.reference
    if receipt.reference and receipt.account.type == AccountType.PAYBILL:
        return False
    fit = payers.fits(payment.phone, receipt.payer)
    if receipt.account.shop_id is None:
        return fit in (payers.Fit.EQUAL, payers.Fit.HASHED, payers.Fit.VISIBLE)
    return fit.may_be


def fits_surely(receipt: Receipt, payment: Payment) -> bool:
    """Whether the payer's number, as far as it is shown, is the payment's."""
    fit = payers.fits(payment.phone, receipt.payer)
    if fit is payers.Fit.VISIBLE:
        return payers.visible_digits(receipt.payer) >= TELLING_DIGITS
    return fit in (payers.Fit.EQUAL, payers.Fit.HASHED)


def reference_key(receipt: Receipt) -> str:
    """The typed reference as ours are written: capitals, letters and digits only."""
    return references.normalised(receipt.reference)


def names_reference(receipt: Receipt) -> bool:
    """Whether what was typed can be a reference of ours: its check character fits."""
    return references.is_valid(reference_key(receipt))
