"""When a phone may be prompted: one row per number, across all shops (law 6).

M-Pesa allows one open prompt per phone, and refuses the same amount twice within
two minutes (its code 17). A guard is claimed by one conditional update in the
transaction that stores the intent, so of two tills only one wins; it is locked
last of all.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db.models import Q

from payments.models import Payment, PhoneGuard
from smartduka.lib import clock


def claim(payment: Payment) -> int:
    """Claim the payment's phone; return 0, or the seconds to wait instead.

    Call inside the transaction that stores the payment: rolled back, the claim
    is gone.
    """
    now = clock.now()
    values = {
        "payment_id": payment.pk,
        "amount": payment.amount,
        "free_at": now + clock.seconds(settings.PHONE_GUARD_S),
        "free_same_at": now + clock.seconds(settings.PHONE_GUARD_SAME_AMOUNT_S),
    }
    PhoneGuard.objects.bulk_create(
        [
            PhoneGuard(
                phone=payment.phone, amount=Decimal(0), free_at=now, free_same_at=now
            )
        ],
        ignore_conflicts=True,
    )
    free = Q(free_at__lte=now) & (Q(free_same_at__lte=now) | ~Q(amount=payment.amount))
    if PhoneGuard.objects.filter(free, phone=payment.phone).update(**values):
        return 0
    free_at = free_for(payment.phone, payment.amount)
    return max(1, _seconds_until(free_at, now))


def free_for(phone: str, amount: Decimal) -> datetime | None:
    """When this phone may be prompted for this amount; None for at once."""
    guard = PhoneGuard.objects.filter(phone=phone).first()
    if guard is None:
        return None
    if guard.amount == amount:
        return max(guard.free_at, guard.free_same_at)
    return guard.free_at


def release_after_success(payment: Payment) -> None:
    """The phone is free, but not for the same amount: M-Pesa would refuse it."""
    now = clock.now()
    _release(payment, now, now + clock.seconds(settings.PHONE_GUARD_SAME_AMOUNT_S))


def release_after_failure(payment: Payment, wait_s: int = 0) -> None:
    """It was not paid for certain: a queue is waiting. `wait_s`: M-Pesa's wish."""
    wait = max(wait_s, settings.PHONE_GUARD_AFTER_FAILURE_S)
    free_at = clock.now() + clock.seconds(wait)
    _release(payment, free_at, free_at)


def _release(payment: Payment, free_at: datetime, free_same_at: datetime) -> None:
    PhoneGuard.objects.filter(phone=payment.phone, payment_id=payment.pk).update(
        free_at=free_at, free_same_at=free_same_at
    )


def _seconds_until(moment: datetime | None, now: datetime) -> int:
    if moment is None:
        return 0
    return -(-(moment - now) // timedelta(seconds=1))
