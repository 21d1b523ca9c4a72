"""The code box of the till: an SMS or a code, and what M-Pesa told us of it.

A typed code is a claim of the person who typed it and counts nowhere as money. What
decides is what M-Pesa itself told us: a receipt or a collection. Is there none, the
claim is kept, M-Pesa is asked where it can be, and evidence that comes later pays the
sale by itself (`payments.matching`). Nobody may pay with a claim above the shop's
limit; a manager may raise the limit.

Of another shop's money a code says only that it is used. On the platform's account
what names no payment of this shop is not told at all (law 9).
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q

from orders import lifecycle as order_lifecycle
from orders.models import Order
from orders.queries import order_for
from payments import (
    accounts,
    budget,
    codes,
    drawer,
    free_money,
    inquiries,
    ledger,
    matching,
)
from payments.codes import ReadCode
from payments.drawer_refusals import NoSuchClaim, NotThisSales, TooManyCodes
from payments.enums import ClaimState, ReceiptState
from payments.models import (
    Allocation,
    CodeClaim,
    Collection,
    MpesaAccount,
    Payment,
    Receipt,
)
from shops.models import Shop
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.transactions import repeated


logger = logging.getLogger(__name__)

# Looking codes up is bounded, so that nobody can try them out.
RATE_PER_USER = "20/m"
RATE_PER_SHOP = "60/m"


class Found(StrEnum):
    """What is known of a code."""

    FREE = "free"  # genuine, and nobody used it
    USED_HERE = "used_here"  # it is part of this sale already
    USED = "used"  # by another sale of the shop: which, by whom, when
    TAKEN = "taken"  # used, and more is not said
    SENT_BACK = "sent_back"  # M-Pesa returned it
    DISPUTED = "disputed"  # M-Pesa's books say otherwise: a manager's to decide
    HELD = "held"  # it may be a prompt's; M-Pesa is asked
    CLAIMED = "claimed"  # told, not confirmed, above the limit; waits for M-Pesa
    WAITING = "waiting"  # nobody told us of it yet


@dataclass(frozen=True, slots=True)
class CodeAnswer:
    """What the till says about a code. Amounts in KES.

    `amount` is M-Pesa's own word, None where it has none; `said_amount` that of the
    message. `piece` pays this sale by `use`. `asked`: M-Pesa was asked just now.
    `suggestions` are other spellings, those first that M-Pesa told us of.
    """

    found: Found
    number: str
    amount: Decimal | None = None
    balance: Decimal = Decimal(0)
    said_amount: Decimal | None = None
    piece: str = ""
    sale_number: int | None = None
    used_by: str = ""
    used_at: datetime | None = None
    disputed_at: datetime | None = None
    claim: CodeClaim | None = None
    asked: bool = False
    suggestions: tuple[str, ...] = ()
    learned: str = ""

    @property
    def rest(self) -> Decimal:
        """What the sale still needs after it; below zero: so much is too much."""
        return self.balance - (self.amount or Decimal(0))

    @property
    def is_contradicted(self) -> bool:
        """Whether the message tells another amount than M-Pesa."""
        return None not in (self.amount, self.said_amount) and (
            self.amount != self.said_amount
        )


def check(*, access: Access, order_id: object, text: str) -> CodeAnswer:
    """Say what is known of a pasted message or a typed code, for an open sale.

    What the sale's customer may still be paying is asked about first (law 6): the code
    may be that prompt's. What nobody told us of is kept as a claim of this sale, and
    asked about. Call outside any transaction.

    Raises Forbidden, NotFound, OrderNotOpen, UnreadableCode, TooManyCodes.
    """
    access.require_seller()
    order = order_for(access.shop, order_id)
    order_lifecycle.require_open(order)
    read = codes.read(text)
    _count(access)
    learned = drawer.ask_first(order)
    order = order_for(access.shop, order_id)
    order_lifecycle.require_open(order)
    answer = _look(access, order, read, learned)
    if answer.found is Found.HELD:
        # The question that held it may be answered by now.
        _resolve(access.shop, read.receipt)
        answer = _look(access, order, read, learned)
    if answer.found in (Found.CLAIMED, Found.WAITING):
        return _claimed(access, order, answer)
    return answer


def use(*, access: Access, order_id: object, number: str) -> Payment:
    """Pay an open sale with the free money of a code, as `drawer.spend`.

    Raises Forbidden, NotFound, OrderNotOpen, TooManyCodes, NotThisSales when it is not
    free any more, and what `drawer.spend` raises.
    """
    access.require_seller()
    order = order_for(access.shop, order_id)
    order_lifecycle.require_open(order)
    read = codes.read(number)
    _count(access)
    answer = _look(access, order, read, "")
    if not answer.piece:
        raise NotThisSales
    return drawer.spend(
        access=access,
        piece=answer.piece,
        order_id=order.pk,
        reason=f"The code {answer.number} was typed for this sale.",
    )


def withdraw(*, access: Access, claim_id: object) -> CodeClaim:
    """Take back a code that waits; return the claim as it then is.

    Withdrawing twice is one withdrawing. Raises Forbidden, NoSuchClaim.
    """
    access.require_seller()
    try:
        key = uuid.UUID(str(claim_id))
    except ValueError:
        raise NoSuchClaim from None
    CodeClaim.objects.filter(pk=key, shop=access.shop, state=ClaimState.WAITING).update(
        state=ClaimState.WITHDRAWN, closed_at=clock.now()
    )
    claim = CodeClaim.objects.filter(pk=key, shop=access.shop).first()
    if claim is None:
        raise NoSuchClaim
    return claim


def claims_of(order: Order) -> list[CodeClaim]:
    """The codes that wait for M-Pesa, and those that it denied; the newest first."""
    rows = CodeClaim.objects.filter(
        order=order, state__in=(ClaimState.WAITING, ClaimState.DENIED)
    )
    return list(rows.order_by("-created_at", "-id")[:8])


def _count(access: Access) -> None:
    for group, key, rate in (
        ("code-user", access.user.pk, RATE_PER_USER),
        ("code-shop", access.shop.pk, RATE_PER_SHOP),
    ):
        usage = budget.usage_of(group, str(key), rate)
        if usage is not None and usage["should_limit"]:
            raise TooManyCodes(details={"retryAfter": usage["time_left"] + 1})


def _resolve(shop: Shop, number: str) -> None:
    for receipt in Receipt.objects.filter(_in_reach(shop), number=number):
        matching.look(receipt.pk)


def _in_reach(shop: Shop) -> Q:
    """Accounts whose money may be the shop's: its own, and the platform's."""
    return Q(account__environment=settings.MPESA_ENV) & (
        Q(account__shop=shop) | Q(account__shop__isnull=True)
    )


def _look(access: Access, order: Order, read: ReadCode, learned: str) -> CodeAnswer:
    """What is written down of a code, without asking anybody."""
    facts: dict[str, Any] = {
        "number": read.receipt,
        "balance": order.balance,
        "said_amount": read.amount,
        "learned": learned,
    }
    collections = Collection.objects.filter(
        environment=settings.MPESA_ENV, receipt=read.receipt
    ).select_related("account", "payment__order", "payment__created_by")
    own = next((one for one in collections if one.shop_id == access.shop.pk), None)
    if own is not None:
        return _of_collection(own, order, facts)
    if any(one.shop_id is not None and one.allocated for one in collections):
        return CodeAnswer(Found.TAKEN, **facts)
    told = (
        Receipt.objects.filter(
            _in_reach(access.shop), number=read.receipt, collection__isnull=True
        )
        .select_related("account")
        .first()
    )
    if told is not None and _is_told_here(told, access.shop):
        return _of_receipt(told, access.shop, facts)
    return CodeAnswer(Found.WAITING, suggestions=_known_first(access, read), **facts)


def _of_collection(
    collection: Collection, order: Order, facts: dict[str, Any]
) -> CodeAnswer:
    facts["amount"] = collection.amount
    if collection.reversed_at is not None:
        return CodeAnswer(Found.SENT_BACK, **facts)
    rest = free_money.unused(collection)
    if rest > 0 and collection.disputed:
        return CodeAnswer(Found.DISPUTED, disputed_at=collection.disputed_at, **facts)
    if rest > 0:
        facts["amount"] = rest
        return CodeAnswer(Found.FREE, piece=f"collection:{collection.pk}", **facts)
    portion = _first_use(collection)
    used_for = portion.order if portion is not None else None
    if used_for is not None and used_for.pk == order.pk:
        return CodeAnswer(Found.USED_HERE, **facts)
    payment = collection.payment
    actor = portion.actor if portion is not None else None
    if actor is None and payment is not None:
        actor = payment.created_by
    return CodeAnswer(
        Found.USED,
        sale_number=used_for.number if used_for is not None else None,
        used_by=actor.get_username() if actor is not None else "",
        used_at=portion.created_at if portion is not None else collection.sighted_at,
        **facts,
    )


def _first_use(collection: Collection) -> Allocation | None:
    return (
        ledger.current(collection)
        .select_related("order", "actor")
        .order_by("id")
        .first()
    )


def _of_receipt(receipt: Receipt, shop: Shop, facts: dict[str, Any]) -> CodeAnswer:
    facts["amount"] = receipt.amount
    step = matching.decide(receipt).step
    is_held = receipt.state == ReceiptState.HELD
    if is_held or step not in drawer.UNDECIDED_STEPS:
        return CodeAnswer(Found.HELD, **facts)
    if receipt.alarm:
        since = free_money.alarmed_at(receipt)
        return CodeAnswer(Found.DISPUTED, disputed_at=since, **facts)
    if matching.may_spend(receipt, shop):
        return CodeAnswer(Found.FREE, piece=f"receipt:{receipt.pk}", **facts)
    return CodeAnswer(Found.CLAIMED, **facts)


def _is_told_here(receipt: Receipt, shop: Shop) -> bool:
    """Whether this shop may learn that M-Pesa told of a receipt."""
    return receipt.account.shop_id == shop.pk or free_money.is_named(receipt, shop)


def _known_first(access: Access, read: ReadCode) -> tuple[str, ...]:
    """Other spellings of a typed code, those first that are money of this shop."""
    known = set(
        Collection.objects.filter(
            shop=access.shop, receipt__in=read.suggestions
        ).values_list("receipt", flat=True)
    ) | set(
        Receipt.objects.filter(
            account__shop=access.shop,
            number__in=read.suggestions,
            state=ReceiptState.CLAIMED,
        ).values_list("number", flat=True)
    )
    return tuple(sorted(read.suggestions, key=lambda one: one not in known))


def _claimed(access: Access, order: Order, answer: CodeAnswer) -> CodeAnswer:
    """Keep a code as a claim of the sale, and ask M-Pesa what it knows."""
    facts = {name: getattr(answer, name) for name in CodeAnswer.__slots__}
    account = _account_for(access.shop, answer.number)
    claim = _claim(access, order, account, answer)
    if claim is None:
        return CodeAnswer(Found.TAKEN, answer.number, balance=answer.balance)
    if claim.order_id != order.pk:
        return CodeAnswer(
            Found.USED,
            answer.number,
            balance=answer.balance,
            sale_number=claim.order.number,
            used_by=claim.created_by.get_username(),
            used_at=claim.created_at,
            claim=claim,
        )
    # Its evidence may have come between the look and the claim.
    _resolve(access.shop, answer.number)
    asked = None
    if inquiries.can_ask(account):
        asked = inquiries.ask_status(account, answer.number, asked_by=access.user)
    return CodeAnswer(**facts | {"claim": claim, "asked": asked is not None})


def _account_for(shop: Shop, number: str) -> MpesaAccount:
    """The account that told of a code, else the one that takes the shop's money now.

    Raises NotConfigured.
    """
    told = (
        Receipt.objects.filter(_in_reach(shop), number=number, account__shop=shop)
        .select_related("account")
        .first()
    )
    return told.account if told is not None else accounts.account_of(shop)


@repeated
def _claim(
    access: Access, order: Order, account: MpesaAccount, answer: CodeAnswer
) -> CodeClaim | None:
    """The waiting claim of a code in this shop: the one that is there, or a new one.

    None when another shop has typed it for a sale of its own.
    """
    try:
        with transaction.atomic(durable=True):
            return CodeClaim.objects.create(
                shop=access.shop,
                order=order,
                account=account,
                number=answer.number,
                said_amount=answer.said_amount,
                created_by=access.user,
                created_at=clock.now(),
            )
    except IntegrityError:
        return (
            CodeClaim.objects.filter(
                account=account,
                number=answer.number,
                state=ClaimState.WAITING,
                shop=access.shop,
            )
            .select_related("order", "created_by")
            .first()
        )
