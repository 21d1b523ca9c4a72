"""Personal data ends after its time; the money rows stay (law 11).

Phones, names, typed references, addresses, the bytes of messages and of statements are
masked once they are older than RETENTION_DAYS. What is not decided yet keeps what is
needed to decide it: undecided payments, parked messages, held receipts, money that
nobody has used, credit that stands, suspicions that nobody has looked at.

The audit chain stays valid: nothing that is masked is in a digest (`payments.audit`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Model, Q, QuerySet, Value
from django.db.models.fields import CharField
from django.db.models.functions import Cast, Concat

from payments.enums import AllocationKind, ReceiptState, Verdict
from payments.models import (
    Act,
    Allocation,
    Collection,
    Movement,
    Notice,
    Payment,
    PhoneGuard,
    Receipt,
    Sighting,
    StatementFile,
    StatementImport,
    Suspicion,
)
from smartduka.lib import clock
from smartduka.lib.transactions import repeated


logger = logging.getLogger(__name__)

# A phone may not be empty where a prompt was sent: the database wants to know whom.
MASKED = "masked"
REMOVED = b"(removed after its time)"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is masked in which rows, that are older than a moment and not masked yet."""

    model: type[Model]
    due: Callable[[datetime], Q]
    values: Mapping[str, Any]

    def rows(self, before: datetime) -> QuerySet[Any]:
        """Return what is due, in the order of the keys."""
        return self.model._default_manager.filter(self.due(before)).order_by("pk")


RULES = (
    Rule(
        Payment,
        lambda before: (
            Q(created_at__lt=before, decided_at__isnull=False)
            & ~Q(phone__in=("", MASKED))
        ),
        # Nobody can be asked again at a number that is not there.
        {"phone": MASKED, "may_retry": False},
    ),
    Rule(
        Collection,
        lambda before: Q(sighted_at__lt=before, allocated=F("amount")) & ~Q(phone=""),
        {"phone": ""},
    ),
    Rule(
        Receipt,
        lambda before: (
            Q(seen_at__lt=before, state=ReceiptState.COUNTED)
            & ~Q(payer="", payer_name="", reference="")
        ),
        {"payer": "", "payer_name": "", "reference": ""},
    ),
    Rule(
        Sighting,
        lambda before: (
            Q(seen_at__lt=before, receipt__state=ReceiptState.COUNTED)
            & ~Q(payer="", reference="")
        ),
        {"payer": "", "reference": ""},
    ),
    Rule(
        Notice,
        lambda before: (
            Q(received_at__lt=before, next_try_at__isnull=True)
            & ~Q(verdict=Verdict.PARKED)
            & (~Q(body=REMOVED) | Q(address__isnull=False) | ~Q(error=""))
        ),
        {"body": REMOVED, "address": None, "error": ""},
    ),
    Rule(
        StatementFile,
        lambda before: (
            Q(statement__imported_at__lt=before, statement__finished_at__isnull=False)
            & ~Q(body=REMOVED)
        ),
        {"body": REMOVED},
    ),
    Rule(
        StatementImport,
        lambda before: (
            Q(imported_at__lt=before, finished_at__isnull=False) & ~Q(bad_rows=[])
        ),
        {"bad_rows": []},
    ),
    Rule(
        Movement,
        lambda before: Q(at__lt=before) & ~Q(details=""),
        {"details": ""},
    ),
    Rule(
        Allocation,
        lambda before: (
            Q(
                created_at__lt=before,
                kind=AllocationKind.CREDIT,
                released_by__isnull=False,
            )
            & ~Q(customer__in=("", MASKED))
        ),
        {"customer": MASKED},
    ),
    Rule(
        Act,
        lambda before: Q(at__lt=before, address__isnull=False),
        {"address": None},
    ),
    Rule(
        Suspicion,
        lambda before: Q(seen_at__lt=before, address__isnull=False),
        {
            "address": None,
            "subject": Concat(Value(f"{MASKED}:"), Cast("pk", CharField())),
        },
    ),
)


def cutoff() -> datetime | None:
    """Return the moment before which data is masked; None where nothing is."""
    if not settings.RETENTION_DAYS:
        return None
    return clock.now() - timedelta(days=settings.RETENTION_DAYS)


def is_past(at: datetime) -> bool:
    """Whether personal data of that moment is masked, or about to be."""
    before = cutoff()
    return before is not None and at < before


def mask() -> dict[str, int]:
    """Mask what is due, up to the round's limit; return how many rows of each model.

    Opens a transaction for each batch. Doing it again, or by two workers at once,
    masks each row once. Rows are updated, never deleted; only the guards of phones,
    which are no money, go.
    """
    before = cutoff()
    if before is None:
        return {}
    done = {rule.model.__name__: _mask_all(rule, before) for rule in RULES}
    done[PhoneGuard.__name__] = _forget_guards(before)
    done = {name: count for name, count in done.items() if count}
    if done:
        told = ", ".join(f"{count} {name}" for name, count in done.items())
        logger.info("personal data masked: %s", told)
    return done


def _mask_all(rule: Rule, before: datetime) -> int:
    done = 0
    while done < settings.RETENTION_ROWS:
        size = min(settings.RETENTION_BATCH, settings.RETENTION_ROWS - done)
        count = _mask_batch(rule, before, size)
        done += count
        if count < size:
            break
    return done


@repeated
def _mask_batch(rule: Rule, before: datetime, size: int) -> int:
    with transaction.atomic(durable=True):
        keys = list(rule.rows(before).values_list("pk", flat=True)[:size])
        # Once more with the condition: what was decided anew meanwhile is left.
        rows = rule.model._default_manager.filter(rule.due(before), pk__in=keys)
        return rows.order_by().update(**rule.values) if keys else 0


def _forget_guards(before: datetime) -> int:
    old = PhoneGuard.objects.filter(free_at__lt=before, free_same_at__lt=before)
    phones = list(
        old.order_by("pk").values_list("pk", flat=True)[: settings.RETENTION_ROWS]
    )
    old.filter(pk__in=phones).delete()
    return len(phones)
