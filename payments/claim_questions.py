"""Asking M-Pesa about what only the C2B address told of, until its books say so.

A claim has a question due while its `next_ask_at` is set. The first has a task of its
own, the sweep hands out the others. Whoever asks takes the question first and sets the
next: a spent budget, a refusal and a result that got lost cost time and nothing else.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import F, Window
from django.db.models.functions import RowNumber

from payments import budget, inquiries
from payments.enums import ReceiptState
from payments.models import MpesaAccount, Receipt
from smartduka.lib import clock, later
from smartduka.lib.transactions import repeated


CONFIRM_TASK = "payments.tasks.confirm_receipt"


@repeated
def begin(account: MpesaAccount, receipt_id: int, state: ReceiptState) -> None:
    """Have a claim asked about: now, or once its prompt was asked about.

    In a task, for no hook waits for the network. A question that waits already stays,
    and one that is too old for questions gets none. Opens a transaction.
    """
    receipt = Receipt.objects.select_related("collection").get(pk=receipt_id)
    now = clock.now()
    wait_s = 0 if state == ReceiptState.CLAIMED else settings.RECEIPT_LOOK_S[0]
    if not _is_claim(receipt) or _next(receipt, now) is None:
        return
    if not inquiries.can_ask(account):
        return
    with transaction.atomic(durable=True):
        is_first = Receipt.objects.filter(pk=receipt_id, next_ask_at=None).update(
            next_ask_at=now + clock.seconds(wait_s)
        )
        if is_first:
            later.enqueue_later(CONFIRM_TASK, receipt_id, seconds=wait_s)


def attend(receipt_id: int) -> bool:
    """Ask the due question about a claim; False if none was due or asked.

    What M-Pesa's books have by now is not asked about any more, nor what nobody can
    ask about. Doing it twice asks once. Call outside any transaction.
    """
    now = clock.now()
    receipt = (
        Receipt.objects.filter(pk=receipt_id, next_ask_at__lte=now)
        .select_related("account", "collection")
        .first()
    )
    if receipt is None:
        return False
    may_ask = _is_claim(receipt) and inquiries.can_ask(receipt.account)
    affordable = may_ask and budget.take(receipt.account_id, young=False)
    is_ours = Receipt.objects.filter(
        pk=receipt.pk, next_ask_at=receipt.next_ask_at
    ).update(next_ask_at=_next(receipt, now) if may_ask else None)
    if not (is_ours and affordable):
        return False
    return inquiries.ask_status(receipt.account, receipt.number) is not None


def due(limit: int, now: datetime | None = None) -> list[int]:
    """The claims whose question is due, the youngest first.

    Of one account at most half of what it may be asked in a minute about all that is
    not young: the other half is for its payments.
    """
    most = max(1, budget.old_share() // 2)
    rank = Window(RowNumber(), partition_by=F("account"), order_by=("-seen_at", "-pk"))
    rows = (
        Receipt.objects.filter(next_ask_at__lte=now or clock.now())
        .annotate(rank=rank)
        .filter(rank__lte=most)
        .order_by("-seen_at", "-pk")
    )
    return [row.pk for row in rows.only("pk")[:limit]]


def _is_claim(receipt: Receipt) -> bool:
    """Whether nobody but the C2B address told of it."""
    money = receipt.collection
    return not receipt.is_proven and (money is None or money.confirmed_at is None)


def _next(receipt: Receipt, now: datetime) -> datetime | None:
    """When to ask after a question made now: after as long again as it has waited.

    None when that is too late to ask.
    """
    waited = now - receipt.seen_at
    due_at = now + max(waited, clock.seconds(settings.CLAIM_QUESTION_GAP_S))
    last = receipt.seen_at + clock.seconds(settings.QUESTIONS_UNTIL_S)
    return due_at if due_at <= last else None
