"""Asking M-Pesa what became of a reversal: by the clock, or because a person asks.

A question is claimed under the refund's lock before it is asked, and sets the next.
Nothing is sent a second time: only questions are.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from django.conf import settings
from django.db import transaction

from payments import errands, inquiries, refund_money, refunds, reversals
from payments.enums import RefundState, RequestState
from payments.models import OrganisationRequest, Refund
from payments.refund_refusals import NotUndecided
from payments.refunds import Operator
from shops.tenancy import Access
from smartduka.lib import clock, later
from smartduka.lib.transactions import repeated


ATTEND_TASK = "payments.tasks.attend_refund"


def ask_mpesa(
    *, access: Access | Operator, refund_id: object
) -> OrganisationRequest | None:
    """Ask M-Pesa now what became of a reversal; None if it was asked a moment ago.

    Call outside any transaction. Raises Forbidden, NotFound, NotUndecided, NoInitiator.
    """
    refund = refunds.refund_for(access, refund_id)
    if refund.state not in reversals.REVERSIBLE or refund.request is None:
        raise NotUndecided
    if not errands.can_ask(refund.request.account):
        raise errands.NoInitiator
    return inquiries.ask_about(refund.request, asked_by=access.user)


def attend(refund_id: uuid.UUID | str) -> bool:
    """Ask the due question about a reversal; False if none was due or asked.

    A request whose process died before M-Pesa answered is unknown from then on, as is
    a result that did not come. Doing it twice asks once. Call outside any transaction.
    """
    request = _claim_question(refund_id)
    return request is not None and inquiries.ask_about(request) is not None


def due(limit: int, now: datetime | None = None) -> list[uuid.UUID]:
    """The refunds whose next question is due, the longest waiting first."""
    rows = Refund.objects.filter(next_ask_at__lte=now or clock.now())
    return list(rows.order_by("next_ask_at").values_list("pk", flat=True)[:limit])


def sweep() -> int:
    """Hand out a task for each refund that is due; return how many."""
    found = due(settings.SWEEP_LIMIT)
    for refund_id in found:
        later.enqueue(ATTEND_TASK, str(refund_id))
    return len(found)


@repeated
def _claim_question(refund_id: uuid.UUID | str) -> OrganisationRequest | None:
    """Take the due question about a refund and set the next; None if there is none."""
    now = clock.now()
    if not Refund.objects.filter(pk=refund_id, next_ask_at__lte=now).exists():
        return None
    with transaction.atomic(durable=True):
        refund = Refund.objects.select_for_update(no_key=True, of=("self",)).get(
            pk=refund_id
        )
        if refund.next_ask_at is None or refund.next_ask_at > now:
            return None
        if refund.state not in reversals.REVERSIBLE or refund.request_id is None:
            Refund.objects.filter(pk=refund.pk).update(next_ask_at=None)
            return None
        request = OrganisationRequest.objects.select_related("account").get(
            pk=refund.request_id
        )
        Refund.objects.filter(pk=refund.pk).update(next_ask_at=_next(refund, now))
        if refund.state == RefundState.SENDING:
            lost = request.state == RequestState.MADE
            refund_money.move(
                refund,
                RefundState.UNKNOWN,
                reason=(
                    "It is not known whether M-Pesa was asked: it may be on its way"
                    if lost
                    else "M-Pesa has not said what came of it: it is asked"
                ),
            )
    return request


def _next(refund: Refund, now: datetime) -> datetime | None:
    """When to ask after a question made now; None when we stop asking."""
    age_s = (now - (refund.sent_at or refund.asked_at)).total_seconds()
    if age_s >= settings.QUESTIONS_UNTIL_S:
        return None
    passed = 0
    for gap_s in settings.REFUND_QUESTION_GAPS_S:
        passed += gap_s
        if age_s < passed:
            return now + clock.seconds(gap_s)
    return now + clock.seconds(settings.REFUND_QUESTION_GAPS_S[-1])
