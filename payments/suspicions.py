"""Who does more of something than is usual: flagged for a person, never refused.

A periodic task looks at the last hour (refunds: day) with one bounded query for each
question. A subject has one open flag of a kind; what was before somebody had seen the
last one is not counted again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, Q, Sum

from payments.enums import Method, PaymentStatus, SuspicionKind, Verdict
from payments.models import Notice, Payment, Refund, Suspicion
from smartduka.lib import clock
from smartduka.lib.errors import DomainError
from smartduka.lib.transactions import repeated


logger = logging.getLogger(__name__)

# More subjects than this in one round are not flagged in this round.
AT_ONCE = 200
REASON_LENGTH = 200
EVERYBODY = Q()


class ReasonMissing(DomainError):
    """Whoever has looked says what they found."""

    message = "Say what you found, in a few words."


@dataclass(frozen=True, slots=True)
class Found:
    """So many of something by one subject, more than is usual."""

    kind: SuspicionKind
    count: int
    shop_id: int | None
    person_id: int | None = None
    address: str | None = None

    @property
    def subject(self) -> str:
        """Whose acts they are, as the constraint compares it."""
        parts = (
            ("shop", self.shop_id),
            ("person", self.person_id),
            ("from", self.address),
        )
        return " ".join(f"{name}:{value}" for name, value in parts if value is not None)


def look() -> int:
    """Flag what is there now; return how many flags are new.

    Two workers at once flag each subject once: the constraint decides.
    """
    now = clock.now()
    found = [
        *_by_cashiers(now - clock.seconds(settings.SUSPICION_WINDOW_S)),
        *_refunds(now - clock.seconds(settings.SUSPICION_REFUNDS_WINDOW_S)),
        *_forged(now - clock.seconds(settings.SUSPICION_WINDOW_S)),
    ]
    return sum(_flag(one, now) for one in _not_seen_yet(found))


@repeated
def mark_seen(row: Suspicion, *, actor: Any, reason: str) -> bool:
    """Close a flag: `actor` has looked, and says what it was. False if it is closed.

    Opens a transaction, locks the row. Raises ReasonMissing. The caller has made sure
    that the actor may.
    """
    reason = reason.strip()[:REASON_LENGTH]
    if not reason:
        raise ReasonMissing
    with transaction.atomic(durable=True):
        changed = Suspicion.objects.filter(pk=row.pk, seen_at__isnull=True).update(
            seen_at=clock.now(), seen_by=actor, seen_reason=reason
        )
    return bool(changed)


def _by_cashiers(since: datetime, whose: Q = EVERYBODY) -> Iterator[Found]:
    """Prompts that failed, and different phones that did not pay, by who sent them."""
    prompts = Payment.objects.filter(
        whose, method=Method.MPESA_STK, created_at__gte=since,
        created_by__isnull=False,
    )  # fmt: skip
    not_paid = Q(status__in=PaymentStatus.NOT_PAID)
    rows = (
        prompts.order_by()
        .values("shop_id", "created_by_id")
        .annotate(
            failures=Count("pk", filter=Q(status=PaymentStatus.FAILED)),
            phones=Count("phone", filter=not_paid, distinct=True),
        )
        .filter(
            Q(failures__gte=settings.SUSPICION_FAILURES)
            | Q(phones__gte=settings.SUSPICION_PHONES)
        )
    )
    for row in rows.order_by("-failures", "-phones")[:AT_ONCE]:
        of = (row["shop_id"], row["created_by_id"])
        if row["failures"] >= settings.SUSPICION_FAILURES:
            yield Found(SuspicionKind.FAILURES, row["failures"], *of)
        if row["phones"] >= settings.SUSPICION_PHONES:
            yield Found(SuspicionKind.PHONES, row["phones"], *of)


def _refunds(since: datetime, whose: Q = EVERYBODY) -> Iterator[Found]:
    """Refunds that one person asked for."""
    rows = (
        Refund.objects.filter(whose, asked_at__gte=since, asked_by__isnull=False)
        .order_by()
        .values("shop_id", "asked_by_id")
        .annotate(count=Count("pk"))
        .filter(count__gte=settings.SUSPICION_REFUNDS)
    )
    for row in rows.order_by("-count")[:AT_ONCE]:
        yield Found(
            SuspicionKind.REFUNDS, row["count"], row["shop_id"], row["asked_by_id"]
        )


def _forged(since: datetime, whose: Q = EVERYBODY) -> Iterator[Found]:
    """Messages with a wrong token, or that do not fit, by the address that sent them.

    What does not fit may come from M-Pesa itself, so there its address must be no
    listed one. Those about a payment are its shop's; the others are the operator's.
    """
    foreign = Q(verdict=Verdict.REJECTED) | Q(address_is_listed=False)
    rows = (
        Notice.objects.filter(
            whose, foreign, verdict__in=Verdict.FORGED, received_at__gte=since,
            address__isnull=False,
        )
        .order_by()
        .values("payment__shop_id", "address")
        .annotate(count=Sum("copies"))
        .filter(count__gte=settings.SUSPICION_FORGED)
    )  # fmt: skip
    for row in rows.order_by("-count")[:AT_ONCE]:
        yield Found(
            SuspicionKind.FORGED, row["count"], row["payment__shop_id"],
            address=row["address"],
        )  # fmt: skip


AGAIN = {
    SuspicionKind.FAILURES: _by_cashiers,
    SuspicionKind.PHONES: _by_cashiers,
    SuspicionKind.REFUNDS: _refunds,
    SuspicionKind.FORGED: _forged,
}


def _not_seen_yet(found: list[Found]) -> Iterator[Found]:
    """Count again, since then, what somebody has seen within the window."""
    seen = {
        (kind, subject): at
        for kind, subject, at in Suspicion.objects.filter(
            subject__in={one.subject for one in found}, seen_at__isnull=False
        )
        .order_by()
        .values_list("kind", "subject")
        .annotate(at=Max("seen_at"))
    }
    for one in found:
        seen_at = seen.get((one.kind, one.subject))
        if seen_at is None:
            yield one
        else:
            yield from _since(one, seen_at)


def _since(one: Found, seen_at: datetime) -> Iterator[Found]:
    window_s = (
        settings.SUSPICION_REFUNDS_WINDOW_S
        if one.kind == SuspicionKind.REFUNDS
        else settings.SUSPICION_WINDOW_S
    )
    since = max(seen_at, clock.now() - clock.seconds(window_s))
    whose = {
        SuspicionKind.REFUNDS: Q(shop=one.shop_id, asked_by=one.person_id),
        SuspicionKind.FORGED: Q(payment__shop=one.shop_id, address=one.address),
    }.get(one.kind, Q(shop=one.shop_id, created_by=one.person_id))
    yield from (
        again for again in AGAIN[one.kind](since, whose) if again.kind == one.kind
    )


@repeated
def _flag(one: Found, now: datetime) -> bool:
    """Open the flag, or say of the open one that it goes on; True for a new one."""
    with transaction.atomic(durable=True):
        row, is_new = Suspicion.objects.get_or_create(
            kind=one.kind,
            subject=one.subject,
            seen_at=None,
            defaults={
                "shop_id": one.shop_id,
                "person_id": one.person_id,
                "address": one.address,
                "count": one.count,
                "first_at": now,
                "last_at": now,
            },
        )
        if not is_new:
            row.count, row.last_at = max(row.count, one.count), now
            row.save(update_fields=["count", "last_at"])
    if is_new:
        logger.warning("suspicion %s: %s, %s times", one.kind, one.subject, one.count)
    return is_new
