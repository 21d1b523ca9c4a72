"""Phase 1 of a prompt: is it allowed, and what is committed before M-Pesa is called.

Checks run under the order's lock, in the order of the API contract; the constraints
of the database stand below them. Nothing here touches the network.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction

from orders import lifecycle as order_lifecycle
from orders.models import Order
from payments import (
    accounts,
    budget,
    guards,
    hook_tokens,
    lifecycle,
    news,
    queries,
    references,
    schedule,
)
from payments.enums import Method, PaymentStatus, Source
from payments.models import MpesaAccount, Payment
from payments.refusals import (
    AmountExceedsBalance,
    AmountTooLarge,
    AmountTooSmall,
    IdempotencyMismatch,
    NotRetryable,
    PaidAlready,
    PromptInTheWay,
    RateLimited,
    StillUndecided,
)
from shops.models import Shop
from shops.tenancy import Access
from smartduka.lib import caller, clock, later
from smartduka.lib.money import format_kes, whole
from smartduka.lib.transactions import repeated


REFERENCE_TRIES = 5


@dataclass(frozen=True, slots=True)
class Intent:
    """What somebody asks for: a phone, an order, KES or None for the balance."""

    access: Access
    order_id: Any
    phone: str = field(repr=False)
    amount: int | None
    key: str | None
    request_hash: str
    accept_risk: bool = False
    retry_of: Payment | None = None
    replaces: Payment | None = None
    # Not the shop's choice but one that it is setting up: a test payment.
    account: MpesaAccount | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """An intent that is committed, and the secret its callback will carry."""

    payment: Payment
    token: hook_tokens.HookToken


@repeated
def begin(intent: Intent) -> Begun | Payment:
    """Phase 1: commit the intent, or return the twin that was faster.

    Opens a transaction. Locks the order, then the payment it replaces, then the
    phone's guard and the counters of shop, phone and address.
    """
    with transaction.atomic(durable=True):
        order = order_lifecycle.locked(intent.order_id)
        if intent.key and (twin := by_key(intent)):
            return twin
        # First of all: the money that decided it may have closed the sale.
        replaced = _replaced(intent)
        if replaced is not None and replaced.decided_at is not None:
            return replaced
        _require_still_failed(intent)
        order_lifecycle.require_open(order)
        amount = amount_of(intent, order)
        if replaced is None and (twin := open_twin(intent, order)):
            return twin
        account = _account_for(intent, order)
        accounts.credentials(account)
        require_unspoken(order, amount, intent)
        if replaced is not None:
            cancel_if_open(
                order, replaced, intent.access.user, "Replaced by a new prompt"
            )
        begun = _new_payment(intent, order, account, amount)
        _require_free_phone(begun.payment)
        order_lifecycle.freeze(order)
        later.enqueue_later(
            schedule.ASK_TASK,
            str(begun.payment.pk),
            seconds=settings.QUESTION_GAPS_S[0],
        )
        news.publish(begun.payment, order, "payment.created")
        # Last: a counter is a row that others wait for until this commits.
        _require_rate(intent)
    return begun


def _account_for(intent: Intent, order: Order) -> MpesaAccount:
    """The shop's choice; for a test the account that is tested, held.

    Raises NotConfigured.
    """
    account = intent.account
    earlier = intent.retry_of or intent.replaces
    if account is None and order.is_test and earlier is not None:
        account = earlier.account
    if account is None:
        return accounts.account_of(intent.access.shop)
    return accounts.held(account)


def require_amount(intent: Intent) -> None:
    """Raise AmountTooSmall or AmountTooLarge; the balance is looked at later."""
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


def by_key(intent: Intent) -> Payment | None:
    """The payment this key made, if it made one. Raises IdempotencyMismatch."""
    return payment_of_key(intent.access.shop, intent.key, intent.request_hash)


def payment_of_key(shop: Shop, key: str | None, request_hash: str) -> Payment | None:
    """The payment that an idempotency key of a shop made, for prompts and for cash.

    Raises IdempotencyMismatch when it was made by another request.
    """
    found = (
        Payment.objects.filter(shop=shop, idempotency_key=key)
        .select_related("order")
        .first()
    )
    if found is not None and found.request_hash != request_hash:
        raise IdempotencyMismatch
    return found


def open_twin(intent: Intent, order: Order) -> Payment | None:
    """The open prompt for the same order, phone and amount, if there is one."""
    amount = whole(order.to_pay) if intent.amount is None else intent.amount
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


def winner(intent: Intent, order: Order) -> Payment | None:
    """Who made the constraint refuse this intent; None if it was something else."""
    twin = by_key(intent) if intent.key else None
    if twin is None and intent.retry_of is not None:
        twin = Payment.objects.filter(retry_of=intent.retry_of).first()
    return twin or open_twin(intent, order)


def amount_of(intent: Intent, order: Order) -> int:
    """The KES to ask for. Raises AmountExceedsBalance, AmountTooLarge."""
    balance = whole(order.to_pay)
    amount = balance if intent.amount is None else intent.amount
    if amount > balance:
        raise AmountExceedsBalance(
            f"This sale needs only {format_kes(balance)} more.",
            details={"balance": balance},
        )
    _require_within_limit(intent.access, amount)
    return amount


def _replaced(intent: Intent) -> Payment | None:
    if intent.replaces is None:
        return None
    return (
        Payment.objects.select_for_update(no_key=True, of=("self",))
        .select_related("order")
        .get(pk=intent.replaces.pk)
    )


def _require_still_failed(intent: Intent) -> None:
    """Raise NotRetryable when money came for the payment to be retried."""
    if intent.retry_of is None:
        return
    retried = Payment.objects.select_for_update(no_key=True).get(pk=intent.retry_of.pk)
    if retried.status != PaymentStatus.FAILED:
        raise not_retryable(retried)


def not_retryable(payment: Payment) -> NotRetryable:
    """Return the refusal of another attempt, which says how this one stands."""
    if payment.status == PaymentStatus.COMPLETED:
        return PaidAlready()
    return StillUndecided() if payment.is_undecided else NotRetryable()


def require_unspoken(order: Order, amount: int, intent: Intent) -> None:
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
    balance = whole(order.to_pay)
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
    intent: Intent, order: Order, account: MpesaAccount, amount: int
) -> Begun:
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
    return Begun(payment, token)


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


def _require_rate(intent: Intent) -> None:
    """Raise RateLimited when the shop, the phone or the caller's address had enough."""
    limits = [
        ("push", str(intent.access.shop.pk), settings.STK_RATE_PER_SHOP),
        ("push-phone", intent.phone, settings.STK_RATE_PER_PHONE),
    ]
    if address := caller.address():
        limits.append(("push-address", address, settings.STK_RATE_PER_IP))
    spent = budget.wait_for_room(limits)
    if spent is None:
        return
    group, wait_s = spent
    details = {"retryAfter": wait_s}
    if group == "push-phone":
        raise RateLimited(
            "This phone was asked too often. Wait, or use another phone.",
            details=details,
        )
    raise RateLimited(details=details)


def cancel_if_open(order: Order, payment: Payment, actor: Any, reason: str) -> None:
    """Stop waiting for a payment whose locks are held; nothing if it is final."""
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


def fingerprint(*parts: object) -> str:
    """Return what must be equal for two requests with one key to be the same."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()
