"""Free money: what a person may decide about, listed and found by its key.

Surplus and customers' credit that stand, the rest of a collection that nobody
allocated, and payments by hand that M-Pesa's notice claims. What is held for an
undecided payment is seen, and not free. Only reads; `payments.drawer` acts.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from django.conf import settings
from django.db.models import F, QuerySet

from orders.models import Order
from payments import accounts, ledger, matching
from payments import payer as payers
from payments.enums import AllocationKind, ReceiptState
from payments.ledger import SpentAlready
from payments.models import Allocation, Collection, Payment, Receipt
from payments.receipts import names_reference, reference_key
from shops.models import Shop
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib import phone
from smartduka.lib.errors import NotFound


MOST = 200  # pieces of each kind on one list; what is older comes when these are done


class PieceKind(StrEnum):
    """What a piece of free money is."""

    SURPLUS = "surplus"  # a sale did not need it
    CREDIT = "credit"  # a customer's
    UNMATCHED = "unmatched"  # nobody said what it is for
    CLAIMED = "claimed"  # as unmatched, and M-Pesa has not confirmed it


@dataclass(frozen=True, slots=True)
class Piece:
    """Free money as it is listed. Amount in KES; `payer` is masked for screens.

    `key` names it for `apply` and `keep_as_credit`. `collection_id` is None while it
    is only claimed, and then it cannot be sent back either. `disputed`: what M-Pesa's
    books say otherwise, and `disputed_at` since when, as far as that is known.
    """

    key: str
    kind: PieceKind
    amount: Decimal
    at: datetime
    receipt: str = ""
    payer: str = ""
    payer_name: str = ""
    customer: str = ""
    order: Order | None = None
    reason: str = ""
    collection_id: int | None = None
    is_usable: bool = True
    disputed: str = ""
    disputed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Grip:
    """A piece under its locks, or where it is to be found without them."""

    allocation: Allocation | None = None
    collection: Collection | None = None
    receipt: Receipt | None = None

    @property
    def disputed(self) -> str:
        """What M-Pesa's books say otherwise of its money."""
        if self.collection is not None:
            return self.collection.disputed
        return self.receipt.alarm if self.receipt is not None else ""

    @property
    def order_ids(self) -> set[uuid.UUID]:
        """The sales that must be locked with it."""
        found = {self.allocation.order_id if self.allocation else None}
        if self.collection is not None and self.collection.payment is not None:
            found.add(self.collection.payment.order_id)
        return {one for one in found if one is not None}


def pieces(access: Access) -> list[Piece]:
    """The shop's free money, newest first.

    On the platform's account what names no payment of the shop is the operator's
    (law 9), and not in this list. Raises Forbidden.
    """
    access.require(Right.FREE_MONEY)
    found = [
        *(_of_allocation(one) for one in _allocations(access.shop)[:MOST]),
        *(_of_collection(one) for one in _unmatched(access.shop)[:MOST]),
        *(_of_receipt(one, access.shop) for one in _claimed(access.shop)),
    ]
    return sorted(found, key=lambda one: (one.at, one.key), reverse=True)


def held(access: Access) -> list[Receipt]:
    """What M-Pesa told of and what may be an undecided payment's: seen, not usable."""
    access.require(Right.FREE_MONEY)
    rows = Receipt.objects.filter(
        state=ReceiptState.HELD,
        account__shop=access.shop,
        account__environment=settings.MPESA_ENV,
    ).order_by("-seen_at", "-id")
    return list(rows[:MOST])


def piece_of(access: Access, key: str) -> Piece:
    """The shop's piece of that key as it is now. Raises NotFound, SpentAlready."""
    grip = find(access.shop, key)
    if grip.allocation is not None:
        return _of_allocation(grip.allocation)
    if grip.collection is not None:
        return _of_collection(grip.collection)
    assert grip.receipt is not None
    return _of_receipt(grip.receipt, access.shop)


def find(shop: Shop, key: str) -> Grip:
    """Find a piece of the shop without a lock. Raises NotFound, SpentAlready."""
    kind, _, text = key.partition(":")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NotFound
    if kind == "allocation":
        return _find_allocation(shop, int(text))
    if kind == "collection":
        return _find_collection(shop, int(text))
    if kind == "receipt":
        return _find_receipt(shop, int(text))
    raise NotFound


def _find_allocation(shop: Shop, pk: int) -> Grip:
    allocation = (
        Allocation.objects.filter(
            pk=pk,
            kind__in=AllocationKind.FREE,
            collection__shop=shop,
            collection__environment__in=accounts.environments(),
        )
        .select_related("order", "collection__account", "collection__payment__order")
        .first()
    )
    if allocation is None:
        raise NotFound
    is_free = ledger.current().filter(pk=pk).exists()
    if not is_free or allocation.collection.reversed_at is not None:
        raise SpentAlready
    return Grip(allocation=allocation, collection=allocation.collection)


def _find_collection(shop: Shop, pk: int) -> Grip:
    collection = (
        Collection.objects.filter(
            pk=pk, shop=shop, environment__in=accounts.environments()
        )
        .select_related("account", "payment__order")
        .first()
    )
    if collection is None:
        raise NotFound
    if unused(collection) <= 0 or collection.reversed_at is not None:
        raise SpentAlready
    return Grip(collection=collection)


def _find_receipt(shop: Shop, pk: int) -> Grip:
    receipt = (
        Receipt.objects.filter(pk=pk, account__environment=settings.MPESA_ENV)
        .select_related("account", "collection")
        .first()
    )
    if receipt is None:
        raise NotFound
    if receipt.collection_id is not None:
        # M-Pesa confirmed it since it was listed.
        return _find_collection(shop, receipt.collection_id)
    if receipt.account.shop_id != shop.pk and not is_named(receipt, shop):
        raise NotFound
    return Grip(receipt=receipt)


def shown_payer(seen: str) -> str:
    """A payer for the screen: a full number masked, a mask in our way, no hash.

    `2547 ***** 126` is shown as `2547 ••• 126`: what M-Pesa left visible helps to tell
    who paid.
    """
    if payers.full_number(seen):
        return phone.masked(payers.full_number(seen))
    if payers.visible_digits(seen) <= 0:
        return ""
    return re.sub(r"[\s*•xX]+", f" {phone.MASK} ", seen).strip()


def unused(collection: Collection) -> Decimal:
    """What nobody allocated of a collection, in KES."""
    return collection.amount - collection.allocated


def _allocations(shop: Shop) -> QuerySet[Allocation]:
    return (
        ledger.current()
        .filter(
            kind__in=AllocationKind.FREE,
            collection__shop=shop,
            collection__environment__in=accounts.environments(),
            collection__reversed_at__isnull=True,
        )
        .select_related("order", "collection__account", "collection__payment")
        .order_by("-id")
    )


def _unmatched(shop: Shop) -> QuerySet[Collection]:
    return (
        Collection.objects.filter(
            shop=shop,
            environment__in=accounts.environments(),
            allocated__lt=F("amount"),
            reversed_at__isnull=True,
        )
        .select_related("account", "payment__order")
        .order_by("-id")
    )


def _claimed(shop: Shop) -> list[Receipt]:
    rows = (
        Receipt.objects.filter(
            state=ReceiptState.CLAIMED, account__environment=settings.MPESA_ENV
        )
        .select_related("account")
        .order_by("-id")
    )
    own = list(rows.filter(account__shop=shop)[:MOST])
    shared = rows.filter(account__shop__isnull=True).exclude(reference="")[:MOST]
    return own + [one for one in shared if is_named(one, shop)]


def is_named(receipt: Receipt, shop: Shop) -> bool:
    """Whether the reference that was paid to is one of the shop's payments."""
    return (
        names_reference(receipt)
        and Payment.objects.filter(
            account_id=receipt.account_id, reference=reference_key(receipt), shop=shop
        ).exists()
    )


def _of_allocation(one: Allocation) -> Piece:
    kind = PieceKind(str(one.kind))
    return Piece(
        key=f"allocation:{one.pk}",
        kind=kind,
        amount=one.amount,
        at=one.created_at,
        receipt=one.collection.receipt or "",
        payer=shown_payer(one.collection.phone),
        customer=_shown(one.customer),
        order=one.order,
        reason=one.reason,
        collection_id=one.collection_id,
        disputed=one.collection.disputed,
        disputed_at=one.collection.disputed_at,
    )


def _of_collection(one: Collection) -> Piece:
    return Piece(
        key=f"collection:{one.pk}",
        kind=PieceKind.UNMATCHED,
        amount=unused(one),
        at=one.paid_at or one.sighted_at,
        receipt=one.receipt or "",
        payer=shown_payer(one.phone),
        order=one.payment.order if one.payment is not None else None,
        reason=one.payment.alarm if one.payment is not None else "",
        collection_id=one.pk,
        disputed=one.disputed,
        disputed_at=one.disputed_at,
    )


def _of_receipt(one: Receipt, shop: Shop) -> Piece:
    return Piece(
        key=f"receipt:{one.pk}",
        kind=PieceKind.CLAIMED,
        amount=one.amount,
        at=one.paid_at or one.seen_at,
        receipt=one.number,
        payer=shown_payer(one.payer),
        payer_name=one.payer_name,
        is_usable=matching.may_spend(one, shop),
        disputed=one.alarm,
        disputed_at=alarmed_at(one),
    )


def alarmed_at(receipt: Receipt) -> datetime | None:
    """When its sources first told of two amounts; None: they do not."""
    if not receipt.alarm:
        return None
    told = list(receipt.sightings.order_by("id").values_list("amount", "seen_at"))
    return next((at for amount, at in told if amount != told[0][0]), None)


def _shown(customer: str) -> str:
    return phone.masked(customer) if customer.isdigit() else customer
