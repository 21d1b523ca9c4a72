"""The net below the delayed tasks: finds what is due and hands it out.

The sweep never asks itself: it claims due payments by a lease, young ones first
and half of its budget for the old, and hands out one task for each. Notices whose
processing broke or never happened, and claims that M-Pesa has not confirmed, are
handed out the same way.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from payments import claim_questions, inbox, matching, pulling, questions, schedule
from payments.models import Payment
from smartduka.lib import clock, later


# A delayed task that is only a little late is not lost.
GRACE = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep handed out."""

    questions: int
    notices: int
    receipts: int = 0
    claims: int = 0


@dataclass(frozen=True, slots=True)
class Round:
    """What one round by hand did.

    Payments asked about, decided, expired; notices processed; receipts that M-Pesa's
    lists brought.
    """

    looked_at: int
    asked: int
    decided: int
    expired: int
    notices: int
    pulled: int = 0


def sweep() -> Swept:
    """Hand out what is due and was not picked up by its own task.

    Opens a transaction per kind; skips rows that another sweep has locked.
    """
    payment_ids = _lease(grace=GRACE)
    notice_ids = inbox.due(settings.SWEEP_LIMIT)
    for notice_id in notice_ids:
        later.enqueue(inbox.NOTICE_TASK, notice_id)
    receipt_ids = matching.due(settings.SWEEP_LIMIT, clock.now() - GRACE)
    for receipt_id in receipt_ids:
        later.enqueue(matching.MATCH_TASK, receipt_id)
    claim_ids = claim_questions.due(settings.SWEEP_LIMIT, clock.now() - GRACE)
    for receipt_id in claim_ids:
        later.enqueue(claim_questions.CONFIRM_TASK, receipt_id)
    return Swept(len(payment_ids), len(notice_ids), len(receipt_ids), len(claim_ids))


def sweep_now() -> Round:
    """One round by hand: process due notices, ask about undecided payments.

    Due or not, for a person wants to know now; at most SWEEP_LIMIT, the young first,
    within the budget, and still not twice within the least gap. Then M-Pesa's lists,
    held receipts that are due and claims. Call outside any transaction.
    """
    notices = sum(
        inbox.attempt(notice_id) is not None
        for notice_id in inbox.due(settings.SWEEP_LIMIT)
    )
    waiting = Q(decided_at__isnull=True) | Q(next_ask_at__isnull=False)
    payment_ids = _young_and_old(Q(account__isnull=False) & waiting)
    asked = expired = 0
    for payment_id in payment_ids:
        asked += questions.ask(payment_id)
        expired += questions.expire_if_over(payment_id)
    pulled = pulling.pull_all_now().new
    for receipt_id in matching.due(settings.SWEEP_LIMIT):
        matching.look(receipt_id)
    for receipt_id in claim_questions.due(settings.SWEEP_LIMIT):
        claim_questions.attend(receipt_id)
    decided = Payment.objects.filter(
        pk__in=payment_ids, decided_at__isnull=False
    ).count()
    return Round(len(payment_ids), asked, decided, expired, notices, pulled)


def _lease(*, grace: timedelta) -> list[uuid.UUID]:
    now = clock.now()
    free = Q(leased_until__isnull=True) | Q(leased_until__lte=now)
    due = Q(next_ask_at__lte=now - grace) & free
    with transaction.atomic(durable=True):
        candidates = _young_and_old(due)
        payment_ids = list(
            Payment.objects.select_for_update(skip_locked=True, no_key=True)
            .filter(due, pk__in=candidates)
            .values_list("pk", flat=True)
        )
        Payment.objects.filter(pk__in=payment_ids).update(
            leased_until=now + clock.seconds(settings.SWEEP_EVERY_S)
        )
        for payment_id in payment_ids:
            later.enqueue(schedule.ASK_TASK, str(payment_id))
    return payment_ids


def _young_and_old(condition: Q) -> list[uuid.UUID]:
    """Up to the limit: half from the youngest, the rest from the longest due."""
    rows = Payment.objects.filter(condition)
    young_since = clock.now() - clock.seconds(settings.PAYMENT_EXPIRES_S)
    limit = settings.SWEEP_LIMIT
    young = list(
        rows.filter(created_at__gte=young_since)
        .order_by("-created_at")
        .values_list("pk", flat=True)[:limit]
    )
    old = list(
        rows.filter(created_at__lt=young_since)
        .order_by(F("next_ask_at").asc(nulls_last=True), "created_at")
        .values_list("pk", flat=True)[:limit]
    )
    kept_for_old = min(len(old), limit // 2)
    chosen = young[: limit - kept_for_old]
    return chosen + old[: limit - len(chosen)]
