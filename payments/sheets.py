"""What the payment sheet of the till shows: read from the rows, nothing kept.

A sheet is right after a reload and on another device because it is made from the
order and its payments alone. `sheet_state` says how one payment looks; `sheet_for`
says what the whole sheet is.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.utils.translation import get_language

from orders.enums import OrderStatus
from orders.models import Order
from payments.code_answers import CodeAnswer
from payments.enums import Method, PaymentStatus
from payments.models import CodeClaim, Payment
from payments.offers import Offers
from payments.states import can_resend_at, explain, prompt_until
from smartduka.lib import clock
from smartduka.lib.errors import DomainError
from smartduka.lib.money import whole


QUICK_NOTES = (50, 100, 200, 500, 1000)  # KES
MOST_NOTES = 6
CODE = "code"  # the form for a payment by hand, beside those of the methods


class SheetState(StrEnum):
    """How one payment looks to a cashier."""

    WAITING = "waiting"
    UNKNOWN = "unknown"
    STOPPED = "stopped"
    PAID = "paid"
    FAILED = "failed"
    REVERSED = "reversed"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the cashier typed, and what was wrong with it."""

    method: str = Method.MPESA_STK
    phone: str = ""
    amount: str = ""
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    error: DomainError | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class ByHand:
    """What is known of money that a sale's customer may have paid by hand.

    `offers`: free money that may be it; `claims`: codes that were typed for the sale;
    `answer`: what was found of the code just typed.
    """

    offers: Offers = field(default_factory=Offers)
    claims: Sequence[CodeClaim] = ()
    answer: CodeAnswer | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """A template of `templates/payments/` and what it says."""

    template: str
    context: dict[str, Any]


def sheet_state(payment: Payment, *, now: datetime) -> SheetState:
    """Return how a payment looks at this moment. Pure.

    Waiting is only what may still be on the phone. Whatever is undecided after
    that is unknown, never failed; a final "not paid" is failed under any status.
    """
    if payment.status == PaymentStatus.COMPLETED:
        return SheetState.PAID
    if payment.status == PaymentStatus.REVERSED:
        return SheetState.REVERSED
    if payment.status == PaymentStatus.FAILED or not payment.is_undecided:
        return SheetState.FAILED
    if now >= prompt_until(payment):
        return SheetState.UNKNOWN
    if payment.status == PaymentStatus.CANCELLED:
        return SheetState.STOPPED
    if not payment.is_open or payment.result_code or _answer_is_lost(payment, now):
        return SheetState.UNKNOWN
    return SheetState.WAITING


def quick_notes(balance: int) -> list[int]:
    """Return sums that customers hand over for a balance, exact first; KES."""
    rounded_up = {balance + -balance % note for note in QUICK_NOTES}
    return [balance, *sorted(rounded_up - {balance})][:MOST_NOTES]


def sheet_for(
    order: Order,
    payments: Sequence[Payment],
    *,
    now: datetime,
    focus: Payment | None = None,
    entry: Entry | None = None,
    error: DomainError | None = None,
    by_hand: ByHand | None = None,
    given_back: Decimal = Decimal(0),
    to_go_back: Decimal = Decimal(0),
) -> Sheet:
    """Return the sheet of an order: its end, the payment in focus, or a form.

    `payments` are those of the order, newest first. `entry` asks for a form while
    the order is open; `error` is told on whatever sheet it is. `given_back`: how much
    of the order's money went back, in KES; `to_go_back`: how much is to, and counts
    as not paid.
    """
    by_hand = by_hand or ByHand()
    name, state = _name(order, focus, entry, now)
    undecided = [p for p in payments if p.is_undecided and p != focus]
    # With those that M-Pesa sent back: what went back is told beside them.
    done = [p for p in payments if p.status not in PaymentStatus.WITHOUT_MONEY]
    completed = (p for p in done if p.status == PaymentStatus.COMPLETED)
    last_paid = next(completed, None)
    context = {
        "order": order,
        "state": name,
        "payment": focus if state is not None else last_paid,
        "last_paid": last_paid,
        "done": done,
        "given_back": given_back,
        "to_go_back": to_go_back,
        "undecided": undecided,
        "balance": whole(order.to_pay),
        "rest": whole(max(order.to_pay - _asked_for(payments), Decimal(0))),
        "surplus": order.surplus,
        "entry": entry or Entry(),
        "error": error or (entry.error if entry else None),
        "now": now,
        "notes": quick_notes(whole(order.to_pay)) if name == "cash" else [],
        "change": change_of(last_paid),
        "is_frozen": order.frozen_at is not None,
        "offers": by_hand.offers,
        "claims": by_hand.claims,
        "answer": by_hand.answer,
        "seen": _fingerprint(name, order, payments, by_hand, given_back, to_go_back),
        **(_about(focus, now) if focus else {}),
    }
    return Sheet(f"payments/_{name}.html", context)


def change_of(payment: Payment | None) -> int | None:
    """Return the change given back for a cash payment in KES; None for others."""
    if payment is None or payment.method != Method.CASH or payment.tendered is None:
        return None
    return whole(payment.tendered - payment.amount)


def _name(
    order: Order, focus: Payment | None, entry: Entry | None, now: datetime
) -> tuple[str, SheetState | None]:
    if order.status == OrderStatus.PAID:
        return "paid", None
    if order.status != OrderStatus.OPEN:
        return "closed", None
    if entry is not None or focus is None:
        return _FORMS[entry.method if entry else Method.MPESA_STK], None
    state = sheet_state(focus, now=now)
    if state is SheetState.PAID:
        return "part", state
    return str(state), state


_FORMS = {
    Method.MPESA_STK: "mpesa",
    Method.CASH: "cash",
    "cancel": "cancel",
    CODE: "code",
}


def _answer_is_lost(payment: Payment, now: datetime) -> bool:
    if payment.status != PaymentStatus.CREATED:
        return False
    patience = settings.PUSH_CONNECT_TIMEOUT_S + settings.PUSH_READ_TIMEOUT_S + 2
    return payment.answered_at is not None or (
        now >= payment.created_at + clock.seconds(patience)
    )


def _is_asked_about(payment: Payment) -> bool:
    """Whether a question comes: without M-Pesa's id for it there is nothing to ask."""
    return (
        payment.is_undecided
        and payment.next_ask_at is not None
        and payment.checkout_request_id is not None
    )


def _asked_for(payments: Sequence[Payment]) -> Decimal:
    return sum((p.amount for p in payments if p.is_undecided), Decimal(0))


def _about(payment: Payment, now: datetime) -> dict[str, Any]:
    words = explain(payment)
    language = get_language() or "en"
    ask_in = _seconds_until(payment.next_ask_at, now)
    return {
        "reason": words.reason(language),
        "remedy": words.remedy(language),
        "prompt_s": settings.PROMPT_S,
        "seconds_left": _seconds_until(prompt_until(payment), now),
        "next_ask_in": ask_in if _is_asked_about(payment) else None,
        "resend_in": _seconds_until(can_resend_at(payment), now),
    }


def _seconds_until(moment: datetime | None, now: datetime) -> int:
    if moment is None:
        return 0
    return max(-int((now - moment).total_seconds() // 1), 0)


def _fingerprint(
    name: str,
    order: Order,
    payments: Sequence[Payment],
    by_hand: ByHand,
    *gone: Decimal,
) -> str:
    facts = [name, order.status, order.paid, order.surplus, *gone]
    facts += by_hand.offers.facts
    facts += by_hand.answer.facts if by_hand.answer else []
    facts += [(claim.pk, claim.state) for claim in by_hand.claims]
    for p in payments:
        facts += [p.pk, p.status, p.receipt, p.result_code, p.is_undecided]
        facts.append(p.checkout_request_id)
        if name == SheetState.UNKNOWN:
            facts += [p.ask_count, p.next_ask_at]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
