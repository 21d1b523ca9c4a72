"""Sending a prompt to a phone: three phases, and no blind second one (law 1).

1. The intent is committed: checked and claimed under the order's lock.
2. M-Pesa is called, with no transaction, lock or connection held.
3. The outcome is committed. A lost answer is unknown, never failed; a callback or
   the cashier may have been faster, so only a payment still `created` is moved.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from orders import lifecycle as order_lifecycle
from orders.models import Order
from orders.queries import order_for
from payments import (
    intents,
    pushing,
    queries,
    questions,
    settlement,
)
from payments.enums import PaymentStatus
from payments.models import MpesaAccount, Payment
from payments.refusals import InFlight
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib import phone as phones
from smartduka.lib.money import whole
from smartduka.lib.transactions import give_back_connection, repeated


# A twin looks again after so long, and longer each time.
FIRST_LOOK_S, LONGEST_LOOK_S = 0.05, 0.5


@dataclass(frozen=True, slots=True)
class Prompted:
    """A prompt as asked for: made now, or found because it was there already."""

    payment: Payment
    is_new: bool


def request(
    *,
    access: Access,
    order_id: object,
    phone: str,
    amount: int | None,
    key: str | None,
    accept_risk: bool,
    account: MpesaAccount | None = None,
) -> Prompted:
    """Ask a phone to pay an order, or part of it; whole shillings.

    `account`: one of the shop's that is tested before it is its choice.

    `amount` None means the balance. The same key, or an open attempt for the same
    order, phone and amount, returns that payment instead (`is_new` False). The
    payment's status tells the rest: pending, created (no answer: unknown), failed
    (refused for certain). Call outside any transaction.

    Raises Forbidden, NotFound, InvalidPhone, IdempotencyMismatch, InFlight,
    AmountTooSmall, AmountTooLarge, OrderNotOpen, AmountExceedsBalance,
    NotConfigured, PromptInTheWay, RateLimited, in that order of checks.
    """
    access.require(Right.SELL)
    order = order_for(access.shop, order_id)
    phone = phones.parse(phone)
    intent = intents.Intent(
        access=access,
        order_id=order.pk,
        phone=phone,
        amount=amount,
        key=key,
        request_hash=intents.fingerprint("stk", order.pk, phone, amount),
        accept_risk=accept_risk,
        account=account,
    )
    return _prompt(intent, order)


def retry(*, access: Access, payment_id: object, accept_risk: bool = False) -> Prompted:
    """Make a new attempt for a failed payment: same order, phone and amount.

    `accept_risk`: the customer was asked, and did not pay an older prompt of the sale.
    Retrying twice is one retry. Call outside any transaction. Raises what `request`
    raises, and NotRetryable.
    """
    access.require(Right.SELL)
    payment = queries.payment_for(access.shop, payment_id)
    questions.ask_first(queries.undecided_of_order(payment.order))
    payment.refresh_from_db()
    existing = Payment.objects.filter(retry_of=payment).select_related("order").first()
    if existing is not None:
        return Prompted(_settled_twin(existing), is_new=False)
    if not payment.retryable:
        raise intents.not_retryable(payment)
    intent = intents.Intent(
        access=access,
        order_id=payment.order_id,
        phone=payment.phone,
        amount=whole(payment.amount),
        key=None,
        request_hash="",
        accept_risk=accept_risk,
        retry_of=payment,
    )
    return _prompt(intent, payment.order)


def resend(*, access: Access, payment_id: object, accept_risk: bool) -> Prompted:
    """Ask; if nobody knows and the guards allow, stop waiting and prompt anew.

    Asks about this payment first, then about what else is undecided of the sale. A
    payment that turned out final is returned as it is (`is_new` False). Stopping
    and the new intent are one transaction: refused guards leave the old one open.
    Call outside any transaction. Raises what `request` raises.
    """
    access.require(Right.SELL)
    payment = queries.payment_for(access.shop, payment_id)
    undecided = queries.undecided_of_order(payment.order)
    questions.ask_first([payment, *undecided.exclude(pk=payment.pk)])
    payment.refresh_from_db()
    if payment.decided_at is not None:
        return Prompted(payment, is_new=False)
    intent = intents.Intent(
        access=access,
        order_id=payment.order_id,
        phone=payment.phone,
        amount=whole(payment.amount),
        key=None,
        request_hash="",
        accept_risk=accept_risk,
        replaces=payment,
    )
    return _prompt(intent, payment.order)


def stop_waiting(*, access: Access, payment_id: object) -> Payment:
    """Stop waiting for a payment, after asking; return it as it then is.

    M-Pesa has no way to recall a prompt: late money is recorded all the same. A
    payment that is final already is returned unchanged. Call outside any transaction.
    Raises Forbidden, NotFound.
    """
    access.require(Right.SELL)
    payment = queries.payment_for(access.shop, payment_id)
    if payment.is_undecided:
        questions.ask_first([payment])
    return _stop(payment.pk, access.user)


@repeated
def _stop(payment_id: uuid.UUID, actor: Any) -> Payment:
    with transaction.atomic(durable=True):
        order, payment = settlement.locked(payment_id)
        intents.cancel_if_open(order, payment, actor, "The cashier stopped waiting")
    return payment


def _prompt(intent: intents.Intent, order: Order) -> Prompted:
    if intent.key and (twin := intents.by_key(intent)):
        return Prompted(_settled_twin(twin), is_new=False)
    intents.require_amount(intent)
    order_lifecycle.require_open(order)
    intents.amount_of(intent, order)
    if intent.replaces is None:
        if open_one := intents.open_twin(intent, order):
            return Prompted(_settled_twin(open_one), is_new=False)
        questions.ask_first(queries.undecided_of_order(order))
    try:
        begun = intents.begin(intent)
    except IntegrityError:
        # A constraint was the net below the lock: whoever won is the answer.
        winner = intents.winner(intent, order)
        if winner is None:
            raise
        begun = winner
    if isinstance(begun, Payment):
        return Prompted(_settled_twin(begun), is_new=False)
    return Prompted(pushing.push(begun), is_new=True)


def _settled_twin(payment: Payment) -> Payment:
    """Wait until a payment's push was answered, so a twin tells what became of it.

    Raises InFlight after IDEMPOTENCY_WAIT_S. A push older than its own time-outs
    lost its answer with its process: it is returned as unknown.
    """
    # A token and a push, each with its own time-outs.
    longest_s = 2 * (settings.PUSH_CONNECT_TIMEOUT_S + settings.PUSH_READ_TIMEOUT_S) + 1
    over_at = payment.created_at + clock.seconds(longest_s)
    until, pause_s = time.monotonic() + settings.IDEMPOTENCY_WAIT_S, FIRST_LOOK_S
    while payment.answered_at is None and payment.status == PaymentStatus.CREATED:
        if clock.now() >= over_at:
            break
        if time.monotonic() >= until:
            raise InFlight(details={"retryAfter": 2})
        give_back_connection()
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, LONGEST_LOOK_S)
        payment = Payment.objects.select_related("order").get(pk=payment.pk)
    return payment
