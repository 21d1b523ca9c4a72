"""What the till says of an M-Pesa code, read from what M-Pesa itself told us.

Nobody is asked here and nothing is written: `payments.code_box` does that.

Of another shop's money a code says only that it is used. On the platform's account
what names no payment of this shop is not told at all (law 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db.models import Q

from orders.models import Order
from payments import drawer_checks, free_money, ledger, matching
from payments.codes import ReadCode
from payments.enums import ReceiptState
from payments.models import Allocation, CodeClaim, Collection, Receipt
from shops.models import Shop


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
    DENIED = "denied"  # M-Pesa says that it is no money for this sale


@dataclass(frozen=True, slots=True)
class CodeAnswer:
    """What the till says about a code. Amounts in KES.

    `amount` is M-Pesa's own word, None where it has none; `said_amount` that of the
    message. `piece` pays this sale by `use`. `is_asking`: M-Pesa is being asked, and
    an answer may come any moment. `suggestions` are other spellings, those first that
    M-Pesa told us of. `mark` is what an open page looks again with.
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
    why: str = ""
    is_asking: bool = False
    suggestions: tuple[str, ...] = ()
    mark: str = ""

    @property
    def rest(self) -> Decimal:
        """What the sale still needs after it; below zero: so much is too much."""
        return self.balance - (self.amount or Decimal(0))

    @property
    def facts(self) -> list[object]:
        """What a person sees of it, to notice a change."""
        used = (self.sale_number, self.used_by, self.used_at)
        told = (self.amount, self.said_amount, self.balance, self.why)
        return [self.found, self.number, self.is_asking, self.piece, *told, *used]

    @property
    def is_contradicted(self) -> bool:
        """Whether the message tells another amount than M-Pesa."""
        return None not in (self.amount, self.said_amount) and (
            self.amount != self.said_amount
        )


def in_reach(shop: Shop) -> Q:
    """Accounts whose money may be the shop's: its own, and the platform's."""
    return Q(account__environment=settings.MPESA_ENV) & (
        Q(account__shop=shop) | Q(account__shop__isnull=True)
    )


def look(shop: Shop, order: Order, read: ReadCode) -> CodeAnswer:
    """What is written down of a code, without asking anybody. Only reads."""
    facts: dict[str, Any] = {
        "number": read.receipt,
        "balance": order.balance,
        "said_amount": read.amount,
    }
    collections = Collection.objects.filter(
        environment=settings.MPESA_ENV, receipt=read.receipt
    ).select_related("account", "payment__order", "payment__created_by")
    own = next((one for one in collections if one.shop_id == shop.pk), None)
    if own is not None:
        return _of_collection(own, order, facts)
    if any(one.shop_id is not None and one.allocated for one in collections):
        return CodeAnswer(Found.TAKEN, **facts)
    told = (
        Receipt.objects.filter(
            in_reach(shop), number=read.receipt, collection__isnull=True
        )
        .select_related("account")
        .first()
    )
    if told is not None and _is_told_here(told, shop):
        return _of_receipt(told, shop, facts)
    return CodeAnswer(Found.WAITING, suggestions=_known_first(shop, read), **facts)


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
    if is_held or step not in drawer_checks.UNDECIDED_STEPS:
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


def _known_first(shop: Shop, read: ReadCode) -> tuple[str, ...]:
    """Other spellings of a typed code, those first that are money of this shop."""
    known = set(
        Collection.objects.filter(shop=shop, receipt__in=read.suggestions).values_list(
            "receipt", flat=True
        )
    ) | set(
        Receipt.objects.filter(
            account__shop=shop,
            number__in=read.suggestions,
            state=ReceiptState.CLAIMED,
        ).values_list("number", flat=True)
    )
    return tuple(sorted(read.suggestions, key=lambda one: one not in known))
