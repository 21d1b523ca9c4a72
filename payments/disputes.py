"""Where our books and M-Pesa's statements differ, and which money that makes doubtful.

A statement that is complete for some time is believed: money of ours in that time that
it does not have, or has with another amount, is disputed. Nothing is undone by that; a
person looks, and two may book a correction (`payments.corrections`). A later statement
that has the row clears the dispute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Sum

from payments import ledger, lifecycle, news, receipts
from payments.enums import AllocationKind, CorrectionState, MovementKind, Source
from payments.models import (
    Collection,
    Correction,
    Movement,
    MpesaAccount,
    Payment,
    Receipt,
    Sighting,
    StatementImport,
)
from payments.statements import Statement
from smartduka.lib import clock
from smartduka.lib.money import format_kes
from smartduka.lib.transactions import repeated


# Money without M-Pesa's own time: not judged so near the edge of a statement.
MARGIN = timedelta(hours=1)
# The list's times may be in either zone.
PULL_DOUBT = timedelta(hours=3)
MISSING = "M-Pesa's statement does not have this payment."
TWICE = "Sent back twice:"
ALARM = "M-Pesa's statement does not agree: see the money's page."
ANSWERED_ALARM = "M-Pesa's answer does not agree: see the money's page."
ALARMS = frozenset({ALARM, ANSWERED_ALARM})


@dataclass(frozen=True, slots=True)
class Span:
    """A time from its first moment to the first one after it."""

    first: datetime
    end: datetime

    def holds(self, other: Span) -> bool:
        """Whether the other lies within this one."""
        return self.first <= other.first and other.end <= self.end


def coverage(
    account: MpesaAccount, statement: Statement, uploaded_at: datetime
) -> Span | None:
    """Return the time for which a file is complete, as far as that is certain.

    Only its preamble can say so, and only of a file that names its account, was read
    to the last row and has customers' payments: the portal exports one purse, and
    another one's has none. It ends when it was uploaded at the latest; and at its last
    row, if M-Pesa told us of a payment after that which is not in the file: then it was
    downloaded before its time was over. By whatever road: a receipt, or an answer to
    our question without one.
    """
    is_whole = statement.shortcode and statement.payments and not statement.bad
    if statement.covers is None or statement.span is None or not is_whole:
        return None
    first, end = statement.covers
    end = min(end, uploaded_at)
    last = statement.span[1]
    if _was_told_of_one(account, last, end):
        end = last + timedelta(seconds=1)
    return Span(first, end) if first < end else None


def _was_told_of_one(account: MpesaAccount, after: datetime, before: datetime) -> bool:
    """Whether M-Pesa told us of a payment that was made in between."""
    numbered = {"paid_at__gt": after, "paid_at__lt": before}
    collections = Collection.objects.filter(account=account)
    answered = collections.filter(
        receipt__isnull=True,
        payment__created_at__gt=after,
        payment__created_at__lt=before,
    )
    return (
        collections.filter(receipt__isnull=False, **numbered).exists()
        or Receipt.objects.filter(account=account, **numbered).exists()
        or answered.exists()
    )


def compare(row: StatementImport, after: int = 0) -> Iterator[int]:
    """Dispute what an import contradicts, and clear what it confirms.

    Call when all its rows are told. Opens a transaction for each collection; locks
    payment and collection. Yields each one's id when that is done, so that who was
    interrupted goes on `after` it.
    """
    spans = _spans(row.account, also=row)
    doubtful = _disputed(row.account) | _unconfirmed(row)
    for collection_id in sorted(doubtful | _added_to(doubtful)):
        if collection_id > after:
            _judge_one(collection_id, spans)
            yield collection_id


def review(account: MpesaAccount) -> None:
    """Look again at all that is disputed, and at what the last imports may dispute.

    A receipt that was held during an import may have found its money since.
    """
    spans = _spans(account)
    since = clock.now() - clock.seconds(settings.DISPUTES_REVIEWED_S)
    doubtful = _disputed(account)
    for row in StatementImport.objects.filter(
        account=account, finished_at__gte=since, covers_to__isnull=False
    ):
        doubtful |= _unconfirmed(row)
    for collection_id in sorted(doubtful | _added_to(doubtful)):
        _judge_one(collection_id, spans)


def look_again(collection: Collection) -> None:
    """Judge money with all that corrections added to it, after one was booked.

    Opens a transaction for each. If that is cut off, `review` has the rest.
    """
    assert collection.account is not None
    first = collection.corrects_id or collection.pk
    spans = _spans(collection.account)
    for collection_id in sorted({first} | _added_to({first})):  # the first one first
        _judge_one(collection_id, spans)


def disputed_in(row: StatementImport) -> list[Collection]:
    """The collections in the time of an import that stand disputed, oldest first."""
    rows = _in_time(row).exclude(disputed="").select_related("payment", "shop")
    return list(rows.order_by("pk"))


def sent_back_twice(given: Decimal) -> str:
    """Why money is disputed that M-Pesa sent back too, after so much was given, in KES.

    No statement ends that: it only has M-Pesa's side.
    """
    return f"{TWICE} {format_kes(given)} had been given back before."


def judge(collection: Collection, spans: list[Span]) -> str | None:
    """Say why a collection is disputed; "" if it is confirmed; None: no opinion.

    What two people corrected counts as they corrected it. What that added is as
    doubtful as the money that it was added to, as long as any of it is counted.
    """
    if collection.disputed.startswith(TWICE):
        return collection.disputed
    counted = counted_of(collection)
    if collection.corrects is not None:
        return collection.corrects.disputed if counted else ""
    amounts = _told_amounts(collection)
    if amounts:
        return _why_different(counted, amounts, _went_in_part(collection))
    if counted == 0:
        return ""
    payment = collection.payment
    if collection.receipt is None and payment and receipts.uncounted_for(payment):
        return None  # its row may be one of those, which wait for an answer
    time = _time_of(collection)
    return MISSING if any(span.holds(time) for span in spans) else None


def counted_of(collection: Collection) -> Decimal:
    """What the books say of a collection with its corrections, in KES.

    With what they added to it, less what was corrected away of either.
    """
    added = collection.corrected_by.aggregate(total=Sum("amount"))["total"]
    gone = ledger.current().filter(
        Q(collection=collection) | Q(collection__corrects=collection),
        kind=AllocationKind.CORRECTION,
    )
    return collection.amount + (added or Decimal(0)) - ledger.total_of(gone)


def spans_of(account: MpesaAccount) -> list[Span]:
    """The times for which statements of an account were imported, joined."""
    return _spans(account)


@repeated
def dispute_claimed(account: MpesaAccount, number: str, why: str) -> None:
    """Dispute money that was counted on a notice's word alone, and that M-Pesa denies.

    It may have paid a sale by then: nothing is undone, a person is told. What M-Pesa's
    books confirmed before stays, and a statement that has the row clears the dispute.
    Opens a transaction; locks payment and collection.
    """
    row = Collection.objects.filter(account=account, receipt=number).first()
    if row is None:
        return
    with transaction.atomic(durable=True):
        collection, payment = _held(row.pk)
        is_proven = Receipt.objects.filter(
            account=account, number=number, proven_at__isnull=False
        ).exists()
        is_claim = collection.confirmed_at is None and not is_proven
        if is_claim and collection.receipt == number and not collection.disputed:
            # A payment that it found or lost this moment is not ours to write to.
            owner = payment if collection.payment == payment else None
            settle(collection, owner, why, source=Source.STATUS)


def settle(
    collection: Collection,
    payment: Payment | None,
    why: str,
    *,
    source: Source = Source.STATEMENT,
) -> None:
    """Write down that a collection is disputed, or no longer ("").

    `source`: what says so of M-Pesa's. Call inside a transaction with the locks of the
    payment and the collection.
    """
    assert connection.in_atomic_block, "call inside a transaction"
    if why == collection.disputed:
        return
    since = (collection.disputed_at or clock.now()) if why else None
    Collection.objects.filter(pk=collection.pk).update(disputed=why, disputed_at=since)
    collection.disputed, collection.disputed_at = why, since
    if payment is None:
        return
    alarm = payment.alarm
    own = ALARM if source == Source.STATEMENT else ANSWERED_ALARM
    lifecycle.note(
        payment,
        source=source,
        reason=why or "M-Pesa's statement and our books agree",
        alarm=(alarm or own) if why else ("" if alarm in ALARMS else alarm),
    )
    news.publish(payment, payment.order, "payment.updated")


@repeated
def _judge_one(collection_id: int, spans: list[Span]) -> None:
    with transaction.atomic(durable=True):
        collection, payment = _held(collection_id)
        if collection.payment != payment:
            return  # it found its payment this moment; it is looked at again
        why = judge(collection, spans)
        if why is not None:
            settle(collection, payment, why)


def _held(collection_id: int) -> tuple[Collection, Payment | None]:
    """Lock a collection, and before it the payment that it has, if it has one yet."""
    payment_id = Collection.objects.values_list("payment_id", flat=True).get(
        pk=collection_id
    )
    payment = (
        Payment.objects.select_for_update(no_key=True, of=("self",))
        .select_related("order")
        .filter(pk=payment_id)
        .first()
    )
    collection = (
        Collection.objects.select_for_update(no_key=True, of=("self",))
        .select_related("payment")
        .get(pk=collection_id)
    )
    return collection, payment


def _disputed(account: MpesaAccount) -> set[int]:
    rows = Collection.objects.filter(account=account).exclude(disputed="")
    return set(rows.values_list("pk", flat=True))


def _added_to(collection_ids: set[int]) -> set[int]:
    """What corrections added to some money."""
    rows = Collection.objects.filter(corrects__in=collection_ids)
    return set(rows.values_list("pk", flat=True))


def _unconfirmed(row: StatementImport) -> set[int]:
    """Money in the time of an import that no statement confirms as it was counted."""
    confirmed = Sighting.objects.filter(
        receipt__account=row.account,
        receipt__number=OuterRef("receipt"),
        amount=OuterRef("amount"),
        source=Source.STATEMENT,
    )
    partly = Movement.objects.filter(
        account=row.account, kind=MovementKind.REVERSAL, linked=OuterRef("receipt")
    )
    corrected = Correction.objects.filter(
        collection=OuterRef("pk"), state=CorrectionState.BOOKED
    )
    rows = _in_time(row, PULL_DOUBT).filter(
        ~Exists(confirmed)
        | Exists(corrected)
        | (Exists(partly) & Q(reversed_at__isnull=True))
    )
    return set(rows.values_list("pk", flat=True))


def _in_time(
    row: StatementImport, around: timedelta = timedelta(0)
) -> QuerySet[Collection]:
    """Money that may have come in the time of an import; seen later, perhaps.

    `around`: and so long before and after it.
    """
    if row.covers_from is None or row.covers_to is None:
        return Collection.objects.none()
    first, end = row.covers_from - around, row.covers_to + around
    inside = (
        Q(paid_at__gte=first, paid_at__lt=end)
        | Q(paid_at=None, payment=None, sighted_at__gte=first, sighted_at__lt=end)
        | Q(paid_at=None, sighted_at__gte=first, payment__created_at__lt=end)
    )
    return Collection.objects.filter(inside, account=row.account, corrects=None)


def _spans(account: MpesaAccount, also: StatementImport | None = None) -> list[Span]:
    """Join the times of the finished imports where they touch."""
    told = Q(finished_at__isnull=False)
    if also is not None:
        told |= Q(pk=also.pk)
    joined: list[Span] = []
    for row in StatementImport.objects.filter(told, account=account).order_by(
        "covers_from"
    ):
        if row.covers_from is None or row.covers_to is None:
            continue
        if joined and row.covers_from <= joined[-1].end:
            end = max(joined[-1].end, row.covers_to)
            joined[-1] = Span(joined[-1].first, end)
        else:
            joined.append(Span(row.covers_from, row.covers_to))
    return joined


def _time_of(collection: Collection) -> Span:
    """The time in which the customer must have paid."""
    if collection.paid_at is not None:
        doubt = PULL_DOUBT if collection.source == Source.PULL else timedelta(0)
        after = collection.paid_at + doubt + timedelta(seconds=1)
        return Span(collection.paid_at - doubt, after)
    first = end = collection.sighted_at
    if collection.payment is not None:
        first = collection.payment.created_at
        end = min(end, first + clock.seconds(settings.RECEIPT_WINDOW_S))
    return Span(first - MARGIN, end + MARGIN)


def _told_amounts(collection: Collection) -> set[Decimal]:
    """The amounts that statements have for its receipt."""
    if collection.receipt is None:
        return set()
    rows = Sighting.objects.filter(
        receipt__account_id=collection.account_id,
        receipt__number=collection.receipt,
        source=Source.STATEMENT,
    )
    return set(rows.values_list("amount", flat=True))


def _why_different(counted: Decimal, told: set[Decimal], went: Decimal) -> str:
    """Why the books do not fit the amounts that statements have; "" if they do.

    `went`: how much of it went back in parts. Two people take that out of the books.
    """
    if counted + went in told:
        return ""
    if counted in told:
        return (
            f"M-Pesa's statement says that {format_kes(went)}"
            f" of {format_kes(counted)} went back."
        )
    return (
        f"We counted {format_kes(counted)},"
        f" M-Pesa's statement has {format_kes(max(told) - went)}."
    )


def _went_in_part(collection: Collection) -> Decimal:
    """What reversal rows undo of money that did not go back whole, in KES.

    One row of the whole amount proves that it was reversed (`statement_booking`).
    """
    if collection.reversed_at is not None:
        return Decimal(0)
    rows = Movement.objects.filter(
        account_id=collection.account_id,
        kind=MovementKind.REVERSAL,
        linked=collection.receipt,
        amount__lt=0,
    ).values_list("amount", flat=True)
    parts = [-amount for amount in rows]
    return Decimal(0) if collection.amount in parts else sum(parts, Decimal(0))
