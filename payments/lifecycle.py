"""The only writer of `Payment.status`.

A move is one conditional update and one event. The caller holds the payment's
lock; the condition and the unique event are the net below it.
"""

from __future__ import annotations

from typing import Any

from django.db import connection

from payments.enums import PaymentStatus, Source
from payments.models import Payment, PaymentEvent
from smartduka.lib import clock


class IllegalMove(Exception):
    """This status cannot follow that one: a programming error, nothing written."""


def begin(payment: Payment, *, source: Source, actor: Any, reason: str) -> None:
    """Store a new payment with its first event. Call inside a transaction.

    Raises IntegrityError when a constraint forbids it: a used key or reference, a
    second open prompt for the same order, phone and amount.
    """
    assert connection.in_atomic_block, "call inside a transaction"
    payment.status = PaymentStatus.CREATED
    payment.save(force_insert=True)
    _record(payment, old="", source=source, actor=actor, reason=reason, notice_id=None)


def move(
    payment: Payment,
    new: PaymentStatus,
    *,
    source: Source,
    reason: str,
    actor: Any = None,
    notice_id: int | None = None,
    **changes: Any,
) -> None:
    """Move a payment to another status, with the fields that change beside it.

    Call inside a transaction, with the payment's lock. Raises IllegalMove when
    the table of moves forbids it, or the row has moved since it was read; then
    nothing is written.
    """
    assert connection.in_atomic_block, "call inside a transaction"
    old = payment.status
    if new not in PaymentStatus.MOVES[old]:
        raise IllegalMove(f"{old} → {new}")
    now = clock.now()
    if new in (PaymentStatus.COMPLETED, PaymentStatus.FAILED):
        changes["decided_at"] = now
    if new == PaymentStatus.COMPLETED:
        changes["completed_at"] = now
    changed = Payment.objects.filter(pk=payment.pk, status=old).update(
        status=new, **changes
    )
    if changed != 1:
        raise IllegalMove(f"{old} → {new}: it is {old} no longer")
    for name, value in {"status": new, **changes}.items():
        setattr(payment, name, value)
    _record(
        payment, old=old, source=source, actor=actor, reason=reason, notice_id=notice_id
    )


def note(
    payment: Payment,
    *,
    source: Source,
    reason: str,
    actor: Any = None,
    notice_id: int | None = None,
    **changes: Any,
) -> None:
    """Record something that happened to a payment without moving it.

    Call inside a transaction, with the payment's lock.
    """
    assert connection.in_atomic_block, "call inside a transaction"
    if changes:
        Payment.objects.filter(pk=payment.pk).update(**changes)
        for name, value in changes.items():
            setattr(payment, name, value)
    _record(
        payment,
        old=payment.status,
        source=source,
        actor=actor,
        reason=reason,
        notice_id=notice_id,
    )


def _record(
    payment: Payment,
    *,
    old: str,
    source: Source,
    actor: Any,
    reason: str,
    notice_id: int | None,
) -> None:
    PaymentEvent.objects.create(
        payment=payment,
        old=old,
        new=payment.status,
        source=source,
        actor=actor,
        reason=reason[:300],
        notice_id=notice_id,
        created_at=clock.now(),
    )
