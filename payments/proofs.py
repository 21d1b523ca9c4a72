"""A proof that a payment's money arrived, and the locks under which it is judged."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from orders import lifecycle as order_lifecycle
from orders.models import Order
from payments.enums import Binding, Source
from payments.models import Collection, Payment


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


def outranks(binding: str, other: str) -> bool:
    """Whether a reason for whose money it is is stronger than another."""
    ranks = list(Binding.values)
    return other in ranks and ranks.index(binding) < ranks.index(other)


def is_still_nobodys(collection_id: int | None) -> bool:
    """Lock money that was nobody's when we looked; False if somebody took it."""
    if collection_id is None:
        return False
    rows = Collection.objects.select_for_update(no_key=True)
    return bool(
        rows.filter(pk=collection_id, payment__isnull=True, allocated=0).first()
    )
