"""Many receipts at once, as a statement tells them: kept and counted in batches.

A batch is one transaction of a few statements. It does what `receipts.sight` and
`matching.resolve` do for one, and only where that needs no thought: money that has its
collection already, and money that nothing here can be waiting for. Every other receipt
is looked at by itself, by `matching`.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, QuerySet, Subquery

from payments import matching, receipts
from payments.enums import Binding, ClaimState, ReceiptState, Source
from payments.models import (
    CodeClaim,
    Collection,
    MpesaAccount,
    Payment,
    Receipt,
    Sighting,
    StatementImport,
)
from payments.receipts import Told
from smartduka.lib import clock
from smartduka.lib.transactions import repeated


logger = logging.getLogger(__name__)

# What a source may change about a receipt that was told before; most become proven.
MERGED = (
    *("amount", "payer", "payer_name", "reference", "paid_at"),
    *("proven_at", "look_at", "alarm"),
)
MOMENTS = frozenset({"proven_at", "look_at"})


class _TypedMeanwhile(Exception):
    """Somebody typed one of the codes at a till this moment."""


@repeated
def sight_all(row: StatementImport, told: Sequence[Told]) -> None:
    """Keep what a statement says of some receipts; as `receipts.sight` for each.

    Opens a transaction; locks the receipts, in order. Saying it again changes nothing.
    """
    now = clock.now()
    with transaction.atomic(durable=True):
        Receipt.objects.bulk_create(
            [_new_receipt(row.account, one, now) for one in told],
            ignore_conflicts=True,
        )
        held = Receipt.objects.select_for_update(no_key=True).filter(
            account=row.account, number__in=[one.number for one in told]
        )
        by_number = {one.number: one for one in held.order_by("pk")}
        Sighting.objects.bulk_create(
            [
                Sighting(
                    receipt=by_number[one.number],
                    source=Source.STATEMENT,
                    amount=one.amount,
                    payer=one.payer[:64],
                    reference=one.reference[: receipts.REFERENCE_LENGTH],
                    paid_at=one.paid_at,
                    statement=row,
                    seen_at=now,
                )
                for one in told
            ],
            ignore_conflicts=True,
        )
        _fill_references(by_number, told)
        before = {one.pk: _facts(one) for one in by_number.values()}
        for one in told:
            receipts.merge(by_number[one.number], one, Source.STATEMENT, now)
        _save(by_number.values(), before, now)


def _fill_references(by_number: Mapping[str, Receipt], told: Iterable[Told]) -> None:
    """Add the reference to what an export without references told of the same rows.

    Else the books would not name the payment, and the rows would be news for ever.
    """
    named = {
        (by_number[one.number].pk, one.amount): one.reference
        for one in told
        if one.reference
    }
    bare = [
        one
        for one in Sighting.objects.filter(
            receipt__in={pk for pk, _ in named}, source=Source.STATEMENT, reference=""
        )
        if (one.receipt_id, one.amount) in named
    ]
    for one in bare:
        reference = named[one.receipt_id, one.amount]
        one.reference = reference[: receipts.REFERENCE_LENGTH]
    Sighting.objects.bulk_update(bare, ["reference"])


def look_all(account: MpesaAccount, receipt_ids: Sequence[int]) -> None:
    """Find whose money some receipts are, which a statement told of.

    Call outside any transaction. One that breaks is looked at again later, and spoils
    no other.
    """
    try:
        plain = _count_plain(account, receipt_ids)
    except (IntegrityError, _TypedMeanwhile):
        # One of them was counted or typed by another road, while we counted.
        plain = set()
    except Exception:
        logger.exception("receipts of %s could not be counted at once", account.pk)
        plain = set()
    for receipt_id in receipt_ids:
        if receipt_id not in plain:
            matching.look(receipt_id)


def _new_receipt(account: MpesaAccount, told: Told, now: datetime) -> Receipt:
    return Receipt(
        account=account,
        number=told.number,
        amount=told.amount,
        payer=told.payer[:64],
        payer_name=told.payer_name[:120],
        reference=told.reference[: receipts.REFERENCE_LENGTH],
        paid_at=told.paid_at,
        seen_at=now,
        proven_at=now,
        look_at=now,
    )


def _facts(receipt: Receipt) -> dict[str, object]:
    return {name: getattr(receipt, name) for name in MERGED}


def _save(
    rows: Iterable[Receipt], before: Mapping[int, Mapping[str, object]], now: datetime
) -> None:
    """Save what became different; alike ones in one statement."""
    alike = defaultdict(list)
    for one in rows:
        was = before[one.pk]
        changed = frozenset(name for name in MERGED if getattr(one, name) != was[name])
        if changed and changed <= MOMENTS:
            alike[changed].append(one.pk)
        elif changed:
            one.save(update_fields=changed)
    for changed, keys in alike.items():
        Receipt.objects.filter(pk__in=keys).update(**dict.fromkeys(changed, now))


@repeated
def _count_plain(account: MpesaAccount, receipt_ids: Sequence[int]) -> set[int]:
    """Count those that need no thought; return which.

    Opens a transaction; locks their collections, then the receipts (law 12). What is
    decided about each is what `matching.decide` would decide. Raises IntegrityError
    and _TypedMeanwhile: then nothing was counted.
    """
    with transaction.atomic(durable=True):
        numbers = list(
            Receipt.objects.filter(pk__in=receipt_ids).values_list("number", flat=True)
        )
        collections = {
            one.receipt: one
            for one in Collection.objects.select_for_update(no_key=True)
            .filter(
                environment=account.environment, account=account, receipt__in=numbers
            )
            .order_by("pk")
        }
        rows = list(
            Receipt.objects.select_for_update(no_key=True)
            .filter(pk__in=receipt_ids)
            .order_by("pk")
        )
        typed = _typed(account, numbers)
        rows = [one for one in rows if one.number not in typed]
        known = [
            (one, collections[one.number])
            for one in rows
            if one.number in collections
            and _is_surely_its(collections[one.number], one)
        ]
        nobodys = _nobodys(
            account, [one for one in rows if one.number not in collections]
        )
        _agree(known)
        _collect(account, nobodys)
        plain = {one.pk for one, _ in known} | {one.pk for one in nobodys}
        _mark_counted(account, plain)
        if _typed(account, numbers) - typed:
            raise _TypedMeanwhile
    return plain


def _typed(account: MpesaAccount, numbers: Iterable[str]) -> set[str]:
    """The codes among them that somebody typed for a sale and waits for."""
    rows = CodeClaim.objects.filter(
        account=account, number__in=list(numbers), state=ClaimState.WAITING
    )
    return set(rows.values_list("number", flat=True))


def _is_surely_its(collection: Collection, receipt: Receipt) -> bool:
    """Whether no reference can name another payment for money that is counted."""
    is_named = collection.binding in (Binding.TOKEN, Binding.REFERENCE)
    return is_named or not receipts.names_reference(receipt)


def _nobodys(account: MpesaAccount, rows: list[Receipt]) -> list[Receipt]:
    """Those that no reference names and no payment can be waiting for."""
    free = [
        one
        for one in rows
        if one.collection_id is None
        and one.is_proven
        and not receipts.names_reference(one)
    ]
    if not free:
        return []
    times = [one.paid_at or one.seen_at for one in free]
    wanted = _amounts_of(receipts.waiting_payments(account.pk, min(times), max(times)))
    young = [
        moment
        for moment in times
        if clock.now() - moment <= clock.seconds(settings.RECEIPT_WINDOW_S)
    ]
    if young:
        unpaid = receipts.unpaid_payments(account.pk, min(young), max(young))
        wanted |= _amounts_of(unpaid)
    return [one for one in free if one.amount not in wanted]


def _amounts_of(payments: QuerySet[Payment]) -> set[Decimal]:
    return set(payments.order_by().values_list("amount", flat=True).distinct())


def _agree(known: list[tuple[Receipt, Collection]]) -> None:
    """Tell collections what their receipts say. Most hear that it is confirmed."""
    confirmed, now = [], clock.now()
    for receipt, collection in known:
        changes = matching.news_for(collection, receipt)
        if set(changes) == {"confirmed_at"}:
            confirmed.append(collection.pk)
        elif changes:
            Collection.objects.filter(pk=collection.pk).update(**changes)
    if confirmed:
        Collection.objects.filter(pk__in=confirmed).update(confirmed_at=now)


def _collect(account: MpesaAccount, nobodys: list[Receipt]) -> None:
    """Count money as nobody's, as `direct.collect` does. Raises IntegrityError."""
    now = clock.now()
    Collection.objects.bulk_create(
        [
            Collection(
                account=account,
                environment=account.environment,
                shop_id=account.shop_id,
                receipt=one.number,
                amount=one.amount,
                phone=one.payer,
                source=Source.STATEMENT,
                paid_at=one.paid_at,
                sighted_at=now,
                confirmed_at=now,
            )
            for one in nobodys
        ]
    )


def _mark_counted(account: MpesaAccount, receipt_ids: set[int]) -> None:
    its = Collection.objects.filter(
        environment=account.environment, account=account, receipt=OuterRef("number")
    )
    Receipt.objects.filter(pk__in=receipt_ids).update(
        state=ReceiptState.COUNTED,
        look_at=None,
        collection_id=Subquery(its.values("pk")[:1]),
    )
