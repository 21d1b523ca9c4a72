"""Sending a prompt to a phone: three phases, and no blind second one (law 1).

1. The intent is committed: checked and claimed under the order's lock.
2. M-Pesa is called, with no transaction, lock or connection held.
3. The outcome is committed. A lost answer is unknown, never failed; a callback or
   the cashier may have been faster, so only a payment still `created` is moved.
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, transaction

from orders import lifecycle as order_lifecycle
from orders.models import Order
from orders.queries import order_for
from payments import (
    accounts,
    budget,
    gateways,
    guards,
    hook_tokens,
    lifecycle,
    news,
    queries,
    questions,
    references,
    schedule,
    settlement,
)
from payments.enums import Method, PaymentStatus, Source
from payments.gateways.base import (
    Credentials,
    GatewayError,
    PushAccepted,
    PushRequest,
)
from payments.models import MpesaAccount, Payment
from shops.tenancy import Access
from smartduka.lib import clock, later
from smartduka.lib import phone as phones
from smartduka.lib.errors import DomainError
from smartduka.lib.money import format_kes, whole
from smartduka.lib.transactions import give_back_connection, repeated


logger = logging.getLogger(__name__)

DESCRIPTION = "Sale"
HOOK_PATH = "/hooks/stk/"
REFERENCE_TRIES = 5
# A twin looks again after so long, and longer each time.
FIRST_LOOK_S, LONGEST_LOOK_S = 0.05, 0.5
# How long a database may be away when M-Pesa's answer is to be kept.
KEEP_PAUSES_S = (0.2, 1.0, 3.0)


class AmountTooSmall(DomainError):
    """M-Pesa and cash take whole shillings from one up."""

    code = "MPESA_002"
    message = "The amount must be at least KES 1."


class AmountTooLarge(DomainError):
    """More than one prompt may ask for."""

    code = "MPESA_003"


class AmountExceedsBalance(DomainError):
    """More than the order still needs."""

    code = "AMOUNT_EXCEEDS_BALANCE"
    http_status = 409


class PromptInTheWay(DomainError):
    """Something undecided speaks for the balance, or the phone is guarded."""

    code = "MPESA_006"
    http_status = 409


class IdempotencyMismatch(DomainError):
    """The key was used for something else."""

    code = "IDEMPOTENCY_MISMATCH"
    message = "This key was used for another payment already."
    http_status = 422


class InFlight(DomainError):
    """The same request is being carried out right now."""

    code = "IN_FLIGHT"
    message = "The same payment is being sent right now. Look again in a moment."
    http_status = 409


class RateLimited(DomainError):
    """The shop sent too many prompts."""

    code = "RATE_LIMITED"
    message = "Too many prompts in a short time. Wait a moment, or take cash."
    http_status = 429


class NotRetryable(DomainError):
    """A new attempt makes no sense, or there were enough."""

    code = "NOT_RETRYABLE"
    message = "This payment cannot be tried again. Start a new one."
    http_status = 409


@dataclass(frozen=True, slots=True)
class Prompted:
    """A prompt as asked for: made now, or found because it was there already."""

    payment: Payment
    is_new: bool


@dataclass(frozen=True, slots=True)
class _Intent:
    access: Access
    order_id: Any
    phone: str = field(repr=False)
    amount: int | None
    key: str | None
    request_hash: str
    accept_risk: bool = False
    retry_of: Payment | None = None
    replaces: Payment | None = None


@dataclass(frozen=True, slots=True)
class _Begun:
    payment: Payment
    token: hook_tokens.HookToken


def request(
    *,
    access: Access,
    order_id: object,
    phone: str,
    amount: int | None,
    key: str | None,
    accept_risk: bool,
) -> Prompted:
    """Ask a phone to pay an order, or part of it; whole shillings.

    `amount` None means the balance. The same key, or an open attempt for the same
    order, phone and amount, returns that payment instead (`is_new` False). The
    payment's status tells the rest: pending, created (no answer: unknown), failed
    (refused for certain). Call outside any transaction.

    Raises Forbidden, NotFound, InvalidPhone, IdempotencyMismatch, InFlight,
    AmountTooSmall, AmountTooLarge, OrderNotOpen, AmountExceedsBalance,
    PromptInTheWay, NotConfigured, RateLimited, in that order of checks.
    """
    access.require_seller()
    order = order_for(access.shop, order_id)
    phone = phones.parse(phone)
    intent = _Intent(
        access=access,
        order_id=order.pk,
        phone=phone,
        amount=amount,
        key=key,
        request_hash=fingerprint("stk", order.pk, phone, amount),
        accept_risk=accept_risk,
    )
    return _prompt(intent, order)


def retry(*, access: Access, payment_id: object) -> Prompted:
    """Make a new attempt for a failed payment: same order, phone and amount.

    Retrying twice is one retry. Raises what `request` raises, and NotRetryable.
    """
    access.require_seller()
    payment = queries.payment_for(access.shop, payment_id)
    questions.ask_first(queries.undecided_of_order(payment.order))
    payment.refresh_from_db()
    existing = Payment.objects.filter(retry_of=payment).select_related("order").first()
    if existing is not None:
        return Prompted(_settled_twin(existing), is_new=False)
    if not payment.retryable:
        raise NotRetryable
    intent = _Intent(
        access=access,
        order_id=payment.order_id,
        phone=payment.phone,
        amount=whole(payment.amount),
        key=None,
        request_hash="",
        retry_of=payment,
    )
    return _prompt(intent, payment.order)


def resend(*, access: Access, payment_id: object, accept_risk: bool) -> Prompted:
    """Ask; if nobody knows and the guards allow, stop waiting and prompt anew.

    A payment that turned out final is returned as it is (`is_new` False). Stopping
    and the new intent are one transaction: refused guards leave the old one open.
    Raises what `request` raises.
    """
    access.require_seller()
    payment = queries.payment_for(access.shop, payment_id)
    questions.ask_first([payment])
    payment.refresh_from_db()
    if payment.decided_at is not None:
        return Prompted(payment, is_new=False)
    intent = _Intent(
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
    payment that is final already is returned unchanged.
    """
    access.require_seller()
    payment = queries.payment_for(access.shop, payment_id)
    if payment.is_undecided:
        questions.ask_first([payment])
    return _stop(payment.pk, access.user)


@repeated
def _stop(payment_id: uuid.UUID, actor: Any) -> Payment:
    with transaction.atomic(durable=True):
        order, payment = settlement.locked(payment_id)
        _cancel_if_open(order, payment, actor, "The cashier stopped waiting")
    return payment


def _cancel_if_open(order: Order, payment: Payment, actor: Any, reason: str) -> None:
    if payment.is_open:
        changes: dict[str, Any] = {}
        if payment.answered_at is not None and payment.checkout_request_id is None:
            # Nothing can be asked without its id: only other evidence helps.
            changes["next_ask_at"] = None
        lifecycle.move(
            payment,
            PaymentStatus.CANCELLED,
            source=Source.PERSON,
            actor=actor,
            reason=reason,
            **changes,
        )
        news.publish(payment, order, "payment.cancelled")


def _prompt(intent: _Intent, order: Order) -> Prompted:
    if intent.key and (twin := _by_key(intent)):
        return Prompted(_settled_twin(twin), is_new=False)
    _require_amount(intent)
    order_lifecycle.require_open(order)
    _amount_of(intent, order)
    if intent.replaces is None:
        if open_one := _open_twin(intent, order):
            return Prompted(_settled_twin(open_one), is_new=False)
        questions.ask_first(queries.undecided_of_order(order))
    try:
        begun = _begin(intent)
    except IntegrityError:
        # A constraint was the net below the lock: whoever won is the answer.
        winner = _winner(intent, order)
        if winner is None:
            raise
        begun = winner
    if isinstance(begun, Payment):
        return Prompted(_settled_twin(begun), is_new=False)
    return Prompted(_push(begun), is_new=True)


def _require_amount(intent: _Intent) -> None:
    if intent.amount is None:
        return
    if intent.amount < 1:
        raise AmountTooSmall
    _require_within_limit(intent.access, intent.amount)


def _require_within_limit(access: Access, amount: int) -> None:
    most = accounts.max_amount(access.shop)
    if amount > most:
        raise AmountTooLarge(
            f"One M-Pesa payment can be at most {format_kes(most)}."
            " Split it, or pay another way.",
            details={"maxAmount": most},
        )


def _by_key(intent: _Intent) -> Payment | None:
    """The payment this key made, if it made one. Raises IdempotencyMismatch."""
    found = (
        Payment.objects.filter(shop=intent.access.shop, idempotency_key=intent.key)
        .select_related("order")
        .first()
    )
    if found is not None and found.request_hash != intent.request_hash:
        raise IdempotencyMismatch
    return found


def _open_twin(intent: _Intent, order: Order) -> Payment | None:
    amount = whole(order.balance) if intent.amount is None else intent.amount
    return (
        Payment.objects.filter(
            order=order,
            method=Method.MPESA_STK,
            phone=intent.phone,
            amount=amount,
            status__in=PaymentStatus.OPEN,
        )
        .select_related("order")
        .first()
    )


def _winner(intent: _Intent, order: Order) -> Payment | None:
    twin = _by_key(intent) if intent.key else None
    if twin is None and intent.retry_of is not None:
        twin = Payment.objects.filter(retry_of=intent.retry_of).first()
    return twin or _open_twin(intent, order)


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


@repeated
def _begin(intent: _Intent) -> _Begun | Payment:
    """Phase 1: commit the intent, or return the twin that was faster.

    Opens a transaction. Locks the order, then the payment it replaces, then the
    phone's guard and the shop's counter.
    """
    with transaction.atomic(durable=True):
        order = order_lifecycle.locked(intent.order_id)
        if intent.key and (twin := _by_key(intent)):
            return twin
        # First of all: the money that decided it may have closed the sale.
        replaced = _replaced(intent)
        if replaced is not None and replaced.decided_at is not None:
            return replaced
        _require_still_failed(intent)
        order_lifecycle.require_open(order)
        amount = _amount_of(intent, order)
        if replaced is None and (twin := _open_twin(intent, order)):
            return twin
        account = accounts.account_of(intent.access.shop)
        accounts.credentials(account)
        _require_unspoken(order, amount, intent)
        if replaced is not None:
            _cancel_if_open(
                order, replaced, intent.access.user, "Replaced by a new prompt"
            )
        begun = _new_payment(intent, order, account, amount)
        _require_free_phone(begun.payment)
        _require_rate(intent.access)
        order_lifecycle.freeze(order)
        later.enqueue_later(
            schedule.ASK_TASK,
            str(begun.payment.pk),
            seconds=settings.QUESTION_GAPS_S[0],
        )
        news.publish(begun.payment, order, "payment.created")
    return begun


def _amount_of(intent: _Intent, order: Order) -> int:
    balance = whole(order.balance)
    amount = balance if intent.amount is None else intent.amount
    if amount > balance:
        raise AmountExceedsBalance(
            f"This sale needs only {format_kes(balance)} more.",
            details={"balance": balance},
        )
    _require_within_limit(intent.access, amount)
    return amount


def _replaced(intent: _Intent) -> Payment | None:
    if intent.replaces is None:
        return None
    return (
        Payment.objects.select_for_update(no_key=True, of=("self",))
        .select_related("order")
        .get(pk=intent.replaces.pk)
    )


def _require_still_failed(intent: _Intent) -> None:
    """Raise NotRetryable when money came for the payment to be retried."""
    if intent.retry_of is None:
        return
    retried = Payment.objects.select_for_update(no_key=True).get(pk=intent.retry_of.pk)
    if retried.status != PaymentStatus.FAILED:
        raise NotRetryable


def _require_unspoken(order: Order, amount: int, intent: _Intent) -> None:
    """Raise PromptInTheWay when undecided payments speak for the balance.

    Each speaks for its amount until 120 s after its push; after that it still does
    unless the cashier says that the customer has not paid. The order's lock is
    held, so open pushes never ask for more than its balance.
    """
    now = clock.now()
    undecided = list(queries.undecided_of_order(order))
    free_at = {one.pk: one.created_at + clock.seconds(settings.SPOKEN_FOR_S)
               for one in undecided}  # fmt: skip
    fresh = [one for one in undecided if free_at[one.pk] > now]
    speaking = fresh if intent.accept_risk else undecided
    balance = whole(order.balance)
    if amount <= balance - sum(whole(one.amount) for one in speaking):
        return
    # With the cashier's word, only the fresh ones would still speak.
    risk_is_enough = amount <= balance - sum(whole(one.amount) for one in fresh)
    wait_s = (
        0 if risk_is_enough else _longest_wait([free_at[one.pk] for one in fresh], now)
    )
    raise PromptInTheWay(
        "An earlier prompt is still undecided. Ask the customer whether it was"
        " paid; confirm that it was not, to send another."
        if risk_is_enough
        else "The customer may still be paying: this sale was already asked for.",
        details={
            "retryAfter": wait_s,
            "undecided": [str(one.pk) for one in speaking],
            "acceptRiskAllowed": risk_is_enough,
        },
    )


def _longest_wait(moments: list[datetime], now: datetime) -> int:
    return max(1, -int((now - max(moments)).total_seconds() // 1))


def _new_payment(
    intent: _Intent, order: Order, account: MpesaAccount, amount: int
) -> _Begun:
    now = clock.now()
    token = hook_tokens.issue()
    previous = intent.retry_of
    payment = Payment(
        shop=intent.access.shop,
        order=order,
        method=Method.MPESA_STK,
        amount=Decimal(amount),
        created_by=intent.access.user,
        created_at=now,
        retry_of=previous,
        attempt=previous.attempt + 1 if previous else 1,
        idempotency_key=intent.key,
        request_hash=intent.request_hash,
        account=account,
        environment=account.environment,
        shortcode=account.shortcode,
        party_b=account.party_b,
        phone=intent.phone,
        reference=_free_reference(account),
        token_hash=token.nonce_hash,
        expires_at=now + clock.seconds(settings.PAYMENT_EXPIRES_S),
        next_ask_at=schedule.first_question(now),
    )
    lifecycle.begin(
        payment,
        source=Source.PERSON,
        actor=intent.access.user,
        reason=f"{format_kes(amount)} asked from {payment.masked_phone}",
    )
    return _Begun(payment, token)


def _free_reference(account: MpesaAccount) -> str:
    """A reference this account never used; the constraint is the net below."""
    for _ in range(REFERENCE_TRIES):
        reference = references.new_reference()
        if not Payment.objects.filter(account=account, reference=reference).exists():
            return reference
    raise AssertionError("no free reference")


def _require_free_phone(payment: Payment) -> None:
    wait_s = guards.claim(payment)
    if wait_s:
        raise PromptInTheWay(
            "This phone was asked a moment ago."
            f" Try again in {wait_s} s, or use another phone.",
            details={"retryAfter": wait_s, "acceptRiskAllowed": False},
        )


def _require_rate(access: Access) -> None:
    usage = budget.usage_of("push", str(access.shop.pk), settings.STK_RATE_PER_SHOP)
    if usage is not None and usage["should_limit"]:
        raise RateLimited(details={"retryAfter": max(1, usage["time_left"])})


def _push(begun: _Begun) -> Payment:
    """Phases 2 and 3: call M-Pesa, commit what it said."""
    payment = begun.payment
    assert payment.account is not None
    credentials = accounts.credentials(payment.account)
    asked = PushRequest(
        phone=payment.phone,
        amount=whole(payment.amount),
        reference=payment.reference,
        description=DESCRIPTION,
        callback_url=settings.MPESA_CALLBACK_URL + HOOK_PATH + begun.token.text,
    )
    give_back_connection()
    return _keep_answer(payment.pk, _call(credentials, asked))


def _call(credentials: Credentials, asked: PushRequest) -> PushAccepted | GatewayError:
    try:
        return gateways.mpesa().push(credentials, asked)
    except GatewayError as error:
        return error
    except Exception as error:
        # Whatever broke, the prompt may be on the phone.
        logger.exception("a push broke off")
        return GatewayError(f"broke off: {type(error).__name__}", certain=False)


def _keep_answer(payment_id: uuid.UUID, answer: PushAccepted | GatewayError) -> Payment:
    """Commit the outcome, also through a short outage of the database.

    Without it the payment's id at M-Pesa would be lost for good, and only its
    callback could still find it.
    """
    for pause_s in KEEP_PAUSES_S:
        try:
            return _record_answer(payment_id, answer)
        except (OperationalError, InterfaceError) as error:
            logger.warning("payment %s: kept later: %s", payment_id, error)
            give_back_connection()
            time.sleep(pause_s)
    try:
        return _record_answer(payment_id, answer)
    except Exception:
        logger.critical("payment %s: answer not kept: %s", payment_id, answer)
        raise


@repeated
def _record_answer(
    payment_id: uuid.UUID, answer: PushAccepted | GatewayError
) -> Payment:
    """Phase 3. Opens a transaction, locks order and payment.

    Ids are always kept; the status moves only if it is still `created`.
    """
    with transaction.atomic(durable=True):
        order, payment = settlement.locked(payment_id)
        Payment.objects.filter(pk=payment.pk).update(answered_at=clock.now())
        payment.answered_at = clock.now()
        if isinstance(answer, PushAccepted):
            settlement.learn_ids(
                payment,
                answer.merchant_request_id,
                answer.checkout_request_id,
                source=Source.PUSH,
            )
            settlement.accept(order, payment, Source.PUSH)
        elif answer.certain:
            settlement.refuse(order, payment, answer)
        else:
            settlement.stay_unknown(order, payment, str(answer))
    return payment


def fingerprint(*parts: object) -> str:
    """Return what must be equal for two requests with one key to be the same."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()
