"""Collections and how they are shared out: the only writer of both.

A collection's `allocated` is raised by a conditional update in the statement that
checks it, and CHECK (allocated <= amount) stands below that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import F

from orders.models import Order
from payments.enums import AllocationKind
from payments.models import Allocation, Collection
from smartduka.lib import clock


class Overdrawn(Exception):
    """More was to be allocated than the collection still has; nothing is written."""


@dataclass(frozen=True, slots=True)
class Portion:
    """So much of a collection, in KES, for one purpose."""

    kind: AllocationKind
    amount: Decimal
    order: Order | None = None
    reason: str = ""


def allocate(
    collection: Collection, portions: Sequence[Portion], *, actor: Any = None
) -> None:
    """Share out money of one collection. Call inside a transaction.

    The conditional update locks the collection. Raises Overdrawn.
    """
    assert connection.in_atomic_block, "call inside a transaction"
    portions = [portion for portion in portions if portion.amount > 0]
    total = sum((portion.amount for portion in portions), Decimal(0))
    if not portions:
        return
    changed = Collection.objects.filter(
        pk=collection.pk, amount__gte=F("allocated") + total
    ).update(allocated=F("allocated") + total)
    if changed != 1:
        raise Overdrawn(f"collection {collection.pk} has less than {total} left")
    collection.allocated += total
    Allocation.objects.bulk_create(
        Allocation(
            collection=collection,
            kind=portion.kind,
            order=portion.order,
            amount=portion.amount,
            actor=actor,
            reason=portion.reason,
            created_at=clock.now(),
        )
        for portion in portions
    )
