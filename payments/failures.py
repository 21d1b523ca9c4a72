"""Payments that were not paid, for whoever runs the shop: why, and what is next.

A failure is shown until somebody has seen it. What is unclear (no final answer, and
the usual time is over) is shown beside it: it is where customers pay twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from orders.enums import OrderStatus
from payments import lifecycle, prompting, queries, questions, settlement, states
from payments.enums import PaymentStatus, Source
from payments.gateways import result_codes
from payments.models import Payment
from payments.refusals import PromptInTheWay
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.transactions import repeated


SEEN = "Seen in the list of failed payments"
EARLIER_ONE = (
    "an earlier prompt of this sale is still undecided. Ask the customer whether it was"
    " paid; if it was not, another can be sent at the till"
)
PAID_ANOTHER_WAY = result_codes.Words(
    "It was not paid by this prompt.",
    "Nothing: the sale is paid another way.",
    "Haikulipwa kwa ombi hili.",
    "Hakuna: mauzo yamelipwa kwa njia nyingine.",
)
SALE_CANCELLED = result_codes.Words(
    "It was not paid.",
    "Nothing: the sale was cancelled.",
    "Haikulipwa.",
    "Hakuna: mauzo yalighairiwa.",
)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an act on one payment, as the end of a sentence."""

    said: str
    is_good: bool


def not_paid(now: datetime) -> Q:
    """Which payments belong on the list: no money came, and it is over or unclear.

    The first condition repeats that of the index, so that it is used.
    """
    return Q(status__in=sorted(PaymentStatus.WITHOUT_MONEY)) & (
        Q(status__in=sorted(PaymentStatus.NOT_PAID)) | unclear(now)
    )


def unclear(now: datetime) -> Q:
    """Nobody knows: no final answer, and M-Pesa is late, vague or never answered."""
    vague = ~Q(result_code="") | Q(expires_at__lte=now)
    lost = Q(status=PaymentStatus.CREATED, answered_at__isnull=False)
    return Q(decided_at__isnull=True) & (
        Q(status__in=sorted(PaymentStatus.OPEN)) & (vague | lost)
        | Q(status=PaymentStatus.EXPIRED)
    )


def next_step(payment: Payment) -> result_codes.Words:
    """The words for reason and remedy; reads `payment.order`.

    Where nobody knows, the customer must not pay again, whatever became of the sale.
    """
    if payment.is_undecided:
        return _undecided(payment)
    if payment.order.status == OrderStatus.CANCELLED:
        end = SALE_CANCELLED
    elif payment.order.status != OrderStatus.OPEN:
        end = PAID_ANOTHER_WAY
    else:
        return states.explain(payment)
    why = states.explain(payment)
    return result_codes.Words(
        why.reason_en, end.remedy_en, why.reason_sw, end.remedy_sw
    )


def _undecided(payment: Payment) -> result_codes.Words:
    """The till's words; but nobody types a PIN long after the prompt."""
    is_over = payment.expires_at is not None and payment.expires_at <= clock.now()
    if payment.status == PaymentStatus.PENDING and is_over and not payment.result_code:
        return states.EXPIRED
    return states.explain(payment)


def try_again(*, access: Access, payment_id: object) -> Done:
    """Send a new prompt for a failed payment, and count it as seen.

    Raises what `prompting.retry` raises. Call outside any transaction.
    """
    access.require(Right.FAILURES)
    try:
        prompted = prompting.retry(access=access, payment_id=payment_id)
    except PromptInTheWay as refused:
        if not refused.details["acceptRiskAllowed"]:
            raise
        # To confirm it one looks at the customer's phone: that is the till's.
        return Done(EARLIER_ONE, is_good=False)
    mark_seen(access=access, payment_id=payment_id)
    return _prompted(prompted)


def ask_now(payment: Payment) -> Done:
    """Ask M-Pesa what became of a payment. Call outside any transaction.

    The caller has made sure whose it is.
    """
    asked = questions.ask(payment.pk)
    payment = Payment.objects.select_related("order").get(pk=payment.pk)
    if asked:
        return Done(
            f"M-Pesa answered. {states.explain(payment).reason('en')}",
            not payment.is_undecided,
        )
    if payment.status not in PaymentStatus.WITHOUT_MONEY:
        return Done(states.explain(payment).reason("en"), is_good=True)
    if payment.checkout_request_id is None:
        return Done(
            "M-Pesa gave this prompt no number, so it cannot be asked. A statement"
            " or the customer's M-Pesa message will tell",
            is_good=False,
        )
    return Done(
        "not asked: it was asked a moment ago, or M-Pesa cannot be reached. Try again"
        " in ten seconds",
        is_good=False,
    )


@repeated
def mark_seen(*, access: Access, payment_id: object) -> bool:
    """Write down that a manager knows of it; False if somebody did before.

    Opens a transaction, locks order and payment. Raises Forbidden, NotFound.
    """
    access.require(Right.FAILURES)
    found = queries.payment_for(access.shop, payment_id)
    with transaction.atomic(durable=True):
        _, payment = settlement.locked(found.pk, order_id=found.order_id)
        if payment.seen_at is not None:
            return False
        lifecycle.note(
            payment,
            source=Source.PERSON,
            reason=SEEN,
            actor=access.user,
            seen_at=clock.now(),
            seen_by=access.user,
        )
    return True


def _prompted(prompted: prompting.Prompted) -> Done:
    payment = prompted.payment
    if not prompted.is_new:
        stands = states.explain(payment).reason("en")
        return Done(f"it was tried again before. {stands}", is_good=False)
    if payment.status == PaymentStatus.PENDING:
        return Done("a new prompt is on the phone", is_good=True)
    if payment.status == PaymentStatus.CREATED:
        said = "M-Pesa has not answered: the customer must not pay again yet"
        return Done(said, is_good=False)
    return Done(states.explain(payment).reason("en"), is_good=False)
