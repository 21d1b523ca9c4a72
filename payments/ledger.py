"""Collections and how they are shared out: the only writer of both.

A collection's `allocated` is raised by a conditional update in the statement that
checks it, and CHECK (allocated <= amount) stands below that. Nothing is rewritten: a
portion is freed by another row that names it, and each is freed at most once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import F, QuerySet, Sum

from orders.models import Order
from payments.enums import AllocationKind
from payments.models import Allocation, Collection, Payment
from smartduka.lib import clock
from smartduka.lib.errors import DomainError


class Overdrawn(Exception):
    """More was to be allocated than the collection still has; nothing is written."""


class SpentAlready(DomainError):
    """Somebody else used this money first."""

    code = "SPENT_ALREADY"
    message = "Somebody has used this money already. Look at the list again."
    http_status = 409


@dataclass(frozen=True, slots=True)
class Portion:
    """So much of a collection, in KES, for one purpose."""

    kind: AllocationKind
    amount: Decimal
    order: Order | None = None
    reason: str = ""
    payment: Payment | None = None
    customer: str = ""


def allocate(
    collection: Collection, portions: Sequence[Portion], *, actor: Any = None
) -> list[Allocation]:
    """Share out money of one collection. Call inside a transaction.

    The conditional update locks the collection. Raises Overdrawn.
    """
    assert connection.in_atomic_block, "call inside a transaction"
    portions = [portion for portion in portions if portion.amount > 0]
    total = sum((portion.amount for portion in portions), Decimal(0))
    if not portions:
        return []
    changed = Collection.objects.filter(
        pk=collection.pk, amount__gte=F("allocated") + total
    ).update(allocated=F("allocated") + total)
    if changed != 1:
        raise Overdrawn(f"collection {collection.pk} has less than {total} left")
    collection.allocated += total
    return Allocation.objects.bulk_create(
        Allocation(
            collection=collection,
            kind=portion.kind,
            order=portion.order,
            payment=portion.payment,
            customer=portion.customer,
            amount=portion.amount,
            actor=actor,
            reason=portion.reason[:200],
            created_at=clock.now(),
        )
        for portion in portions
    )


def release(allocation: Allocation, *, actor: Any, reason: str) -> None:
    """Free a portion, so that its money can be allocated anew.

    Call inside a transaction. Locks the collection. Two who free the same portion at
    once: one wins, the other gets SpentAlready and has written nothing. Raises
    Overdrawn where the collection never gave so much, ValueError for a release.
    """
    assert connection.in_atomic_block, "call inside a transaction"
    if allocation.kind == AllocationKind.RELEASE:
        raise ValueError("a release cannot be released")
    collection = allocation.collection
    Collection.objects.select_for_update(no_key=True).get(pk=collection.pk)
    try:
        with transaction.atomic():
            Allocation.objects.create(
                collection=collection,
                kind=AllocationKind.RELEASE,
                releases=allocation,
                order=allocation.order,
                amount=allocation.amount,
                actor=actor,
                reason=reason[:200],
                created_at=clock.now(),
            )
    except IntegrityError as error:
        raise SpentAlready from error
    changed = Collection.objects.filter(
        pk=collection.pk, allocated__gte=allocation.amount
    ).update(allocated=F("allocated") - allocation.amount)
    if changed != 1:
        raise Overdrawn(f"collection {collection.pk} never gave {allocation.amount}")
    collection.allocated -= allocation.amount


def current(collection: Collection | None = None) -> QuerySet[Allocation]:
    """The portions that stand: not freed, and no freeing themselves."""
    rows = Allocation.objects.exclude(kind=AllocationKind.RELEASE).filter(
        released_by__isnull=True
    )
    return rows if collection is None else rows.filter(collection=collection)


def given_back(order: Order) -> Decimal:
    """How much of an order's money went back to the customer, in KES.

    By M-Pesa, in cash or by hand; of the sale's money as of its surplus.
    """
    return total_of(current().filter(kind=AllocationKind.REFUNDED, order=order))


def total_of(rows: QuerySet[Allocation]) -> Decimal:
    """The sum of portions, in KES."""
    return rows.aggregate(total=Sum("amount"))["total"] or Decimal(0)
