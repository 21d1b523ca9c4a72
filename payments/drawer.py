"""The drawer: money that is there and that a person may decide about.

Surplus and customers' credit that stand, the rest of a collection that nobody
allocated, and payments by hand that M-Pesa's notice claims. Each piece is applied to
an open sale, kept as a customer's credit, or sent back (`payments.refunds`), with who
did it and why. What is held for an undecided payment is not in the drawer.

Two people with one piece: the locks let one through, and below them the conditional
update of the collection and the one release of a portion refuse the other.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction

from orders import lifecycle as order_lifecycle
from orders.models import Order
from orders.queries import order_for
from payments import (
    direct,
    free_money,
    ledger,
    matching,
    news,
    queries,
    questions,
)
from payments.drawer_checks import (
    Refusal,
    require_nobodys,
    require_spendable,
    require_undisputed,
    waiting_for,
    whose,
)
from payments.drawer_refusals import (
    DisputedMoney,
    NotConfirmed,
    NotLookedAt,
    NotToBePlaced,
)
from payments.enums import AllocationKind, ClaimState, PaymentStatus
from payments.free_money import Grip, find
from payments.ledger import SpentAlready
from payments.models import (
    Allocation,
    CodeClaim,
    Collection,
    MpesaAccount,
    Payment,
    Receipt,
)
from shops.enums import Role
from shops.models import Shop
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib.errors import DomainError, Forbidden, InvalidRequest
from smartduka.lib.money import format_kes, shillings_in
from smartduka.lib.transactions import repeated


logger = logging.getLogger(__name__)

REASON_LENGTH = 160
# How the sentence begins that says what was learned before acting (law 6).
ASKED_FIRST = "M-Pesa was asked first:"
# How the reason begins of who used money that M-Pesa's books dispute.
LOOKED = "Disputed, looked at:"
Piece = free_money.Piece
PieceKind = free_money.PieceKind
pieces = free_money.pieces


def apply(
    *,
    access: Access,
    piece: str,
    order_id: object,
    reason: str,
    has_looked: bool = False,
) -> Payment:
    """Pay an open sale of the shop with a piece; return the completed payment.

    Less than the balance is a part payment; what the sale does not need is surplus of
    this sale. What the sale's customer may still be paying is asked about first. Call
    outside any transaction. Locks the sales by id, the payment that the money came
    by, the collection, the receipt, and the products of a sale that becomes paid.
    `has_looked`: the manager says that they looked at M-Pesa's books, which say
    otherwise; that is written down.

    Raises Forbidden, NotFound, InvalidRequest, OrderNotOpen, SpentAlready,
    NotConfirmed, HeldMoney, NotLookedAt.
    """
    access.require(Right.FREE_MONEY)
    refusal = None if has_looked else NotLookedAt
    return _spend_first_asking(access, piece, order_id, _why(reason), refusal)


def spend(*, access: Access, piece: str, order_id: object, reason: str) -> Payment:
    """As `apply`, for a cashier to whom the very piece was offered or shown.

    The caller has made sure of that: an offer of this sale, or a code that was typed.
    Call outside any transaction. Raises DisputedMoney for what only a manager may use.
    """
    access.require(Right.SELL)
    return _spend_first_asking(access, piece, order_id, reason, DisputedMoney)


def keep_as_credit(
    *,
    access: Access,
    piece: str,
    customer: str,
    reason: str,
    has_looked: bool = False,
) -> Allocation:
    """Keep a piece as the credit of a customer: a full phone number, or a name.

    Spending it later is `apply`. Call outside any transaction. Locks as `apply`. Raises
    Forbidden, NotFound, InvalidRequest, NobodysCredit, SpentAlready, NotConfirmed,
    HeldMoney, NotLookedAt.
    """
    access.require(Right.FREE_MONEY)
    name, why = whose(customer), _why(reason)
    refusal = None if has_looked else NotLookedAt
    grip = find(access.shop, piece)
    require_undisputed(grip, refusal)
    require_spendable(access, grip)
    questions.ask_first(waiting_for(grip.collection))
    with _taken_meanwhile():
        kept = _keep(access, piece, name, why, refusal)
    _close_claims(kept.collection.account, kept.collection.receipt)
    return kept


def hand_to_shop(operator: Any, collection: Collection, shop: Shop) -> Collection:
    """Say which shop's it is: nobody's money on the platform's account.

    A sale for which this shop typed its code is paid with it. Call outside any
    transaction. Locks the collection, then as `apply`. Raises Forbidden, NotToBePlaced.
    """
    if not operator.is_superuser:
        raise Forbidden("Only the platform's operator may do this.")
    _place(collection, shop)
    logger.info("collection %s handed to shop %s", collection.pk, shop.pk)
    collection.shop = shop
    _pay_whose_code_waits(collection, shop)
    return collection


def ask_first(order: Order) -> str:
    """Ask about what is undecided of a sale; return in words what was learned.

    Call outside any transaction.
    """
    undecided = list(queries.undecided_of_order(order))
    if not undecided:
        return ""
    questions.ask_first(undecided)
    rows = Payment.objects.filter(pk__in=[one.pk for one in undecided])
    paid = [one.amount for one in rows if one.status == PaymentStatus.COMPLETED]
    still = [one.amount for one in rows if one.decided_at is None]
    words = []
    if paid:
        words.append(f"{format_kes(sum(paid, Decimal(0)))} more arrived.")
    if still:
        total = format_kes(sum(still, Decimal(0)))
        words.append(f"{total} asked from the customer is undecided.")
    return " ".join((ASKED_FIRST, *(words or ["nothing else was paid."])))


def _spend_first_asking(
    access: Access, piece: str, order_id: object, reason: str, refusal: Refusal
) -> Payment:
    order = order_for(access.shop, order_id)
    order_lifecycle.require_open(order)
    grip = find(access.shop, piece)
    require_undisputed(grip, refusal)
    require_spendable(access, grip)
    questions.ask_first(waiting_for(grip.collection))
    learned = ask_first(order)
    with _taken_meanwhile():
        payment = _spend(
            access, piece, order.pk, f"{reason} {learned}".strip(), refusal
        )
    _close_claims(payment.account, payment.receipt)
    return payment


@repeated
def _place(collection: Collection, shop: Shop) -> None:
    is_platforms = collection.account is not None and collection.account.shop is None
    with transaction.atomic(durable=True):
        # Only columns of its own: those are looked at again once the row's lock is had.
        placed = Collection.objects.filter(
            pk=collection.pk,
            shop__isnull=True,
            payment__isnull=True,
            allocated=0,
            reversed_at__isnull=True,
        )
        if not is_platforms or placed.update(shop=shop) != 1:
            raise NotToBePlaced


def _pay_whose_code_waits(collection: Collection, shop: Shop) -> None:
    """Pay the sale for which the code was typed; its money stays free if it cannot."""
    claim = (
        CodeClaim.objects.filter(
            account_id=collection.account_id,
            number=collection.receipt,
            state=ClaimState.WAITING,
            shop=shop,
        )
        .select_related("created_by")
        .first()
    )
    if claim is None:
        return
    try:
        spend(
            access=Access(claim.created_by, shop, Role.CASHIER),
            piece=f"collection:{collection.pk}",
            order_id=claim.order_id,
            reason=f"The code {claim.number} was typed for this sale.",
        )
    except DomainError as error:
        logger.info("collection %s stays free: %s", collection.pk, error.code)


def _close_claims(account: MpesaAccount | None, number: str | None) -> None:
    """Tell those who typed this receipt's code what became of it."""
    receipt = Receipt.objects.filter(account=account, number=number or "").first()
    if receipt is not None:
        matching.look(receipt.pk)


@contextmanager
def _taken_meanwhile() -> Iterator[None]:
    """Say in words what the database refuses: somebody else was faster."""
    try:
        yield
    except (ledger.Overdrawn, IntegrityError) as error:
        raise SpentAlready from error


def _gripped(
    shop: Shop, key: str, target: uuid.UUID | None, refusal: Refusal
) -> tuple[Grip, Order | None]:
    """A piece under all its locks, and the sale that it is for, under its lock.

    Raises NotFound, SpentAlready, HeldMoney or NotConfirmed for what became held or
    denied meanwhile, and the refusal for what became disputed.
    """
    seen = find(shop, key)
    wanted = seen.order_ids | ({target} if target is not None else set())
    locked = order_lifecycle.locked_all(wanted)
    order = locked[target] if target is not None else None
    collection = seen.collection
    if collection is not None:
        if collection.payment_id is not None:
            Payment.objects.select_for_update(no_key=True, of=("self",)).get(
                pk=collection.payment_id
            )
        Collection.objects.select_for_update(no_key=True, of=("self",)).get(
            pk=collection.pk
        )
    elif seen.receipt is not None:
        Receipt.objects.select_for_update(no_key=True, of=("self",)).get(
            pk=seen.receipt.pk
        )
    grip = find(shop, key)
    if (grip.receipt is None) != (seen.receipt is None) or grip.order_ids - wanted:
        raise SpentAlready
    require_undisputed(grip, refusal)
    require_nobodys(grip)
    if grip.receipt is not None and not matching.may_spend(grip.receipt, shop):
        raise NotConfirmed
    if grip.allocation is not None and grip.allocation.order_id is not None:
        grip.allocation.order = locked[grip.allocation.order_id]
    return grip, order


@repeated
def _spend(
    access: Access, key: str, order_id: uuid.UUID, reason: str, refusal: Refusal
) -> Payment:
    with transaction.atomic(durable=True):
        grip, order = _gripped(access.shop, key, order_id, refusal)
        assert order is not None
        order_lifecycle.require_open(order)
        reason = _with_dispute(reason, grip)
        collection, amount = _freed(access, grip, reason, whole=True)
        payment = direct.pay(
            order, collection, amount, actor=access.user, reason=reason
        )
        _tell_old(grip, order)
    return payment


@repeated
def _keep(
    access: Access, key: str, name: str, why: str, refusal: Refusal
) -> Allocation:
    with transaction.atomic(durable=True):
        grip, _ = _gripped(access.shop, key, None, refusal)
        why = _with_dispute(why, grip)
        collection, amount = _freed(access, grip, why, whole=False)
        old = grip.allocation
        [kept] = ledger.allocate(
            collection,
            [
                ledger.Portion(
                    AllocationKind.CREDIT,
                    amount,
                    old.order if old is not None else None,
                    why,
                    old.payment if old is not None else None,
                    name,
                )
            ],
            actor=access.user,
        )
        _tell_old(grip, None)
    return kept


def _freed(
    access: Access, grip: Grip, reason: str, *, whole: bool
) -> tuple[Collection, Decimal]:
    """Free a piece under its locks; return its collection and how much it is, in KES.

    `whole`: sales are paid in whole shillings, so cents stay where they were.
    """
    if grip.receipt is not None:
        collection = direct.collect(grip.receipt, shop=access.shop)
        return collection, _whole(collection.amount) if whole else collection.amount
    assert grip.collection is not None
    collection, old = grip.collection, grip.allocation
    if old is None:
        rest = free_money.unused(collection)
        return collection, _whole(rest) if whole else rest
    old.collection = collection
    ledger.release(old, actor=access.user, reason=reason)
    amount = _whole(old.amount) if whole else old.amount
    ledger.allocate(
        collection,
        [
            ledger.Portion(
                AllocationKind(old.kind), old.amount - amount, old.order, old.reason,
                old.payment, old.customer,
            )
        ],
        actor=access.user,
    )  # fmt: skip
    if old.kind == AllocationKind.SURPLUS and old.order is not None:
        order_lifecycle.give_up_surplus(old.order, amount)
    return collection, amount


def _whole(amount: Decimal) -> Decimal:
    shillings = shillings_in(amount)
    if shillings < 1:
        raise InvalidRequest("This is less than one shilling.")
    return shillings


def _tell_old(grip: Grip, target: Order | None) -> None:
    """Tell the screens of the sale whose surplus it was."""
    old = grip.allocation
    if old is None or old.order is None or old.order == target:
        return
    payment = old.payment or old.collection.payment
    if payment is not None and payment.order_id == old.order_id:
        news.publish(payment, old.order, "payment.updated")


def _with_dispute(reason: str, grip: Grip) -> str:
    """Write down that who acts knew of the dispute."""
    return f"{LOOKED} {reason}" if grip.disputed else reason


def _why(reason: str) -> str:
    text = reason.strip()[:REASON_LENGTH]
    if not text:
        raise InvalidRequest("Say why.")
    return text
