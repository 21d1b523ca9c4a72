"""Is this money that came by hand this sale's? Offered to a person, never decided.

Only money of the sale's own shop, of the sale's very balance, that nobody used and
that came a short while ago. The score says how likely it is: how fresh the money is,
and whether the payer's number, as far as it is shown, is one that was asked for this
sale. One that stands out is offered with one key; several alike are only listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from orders.enums import OrderStatus
from orders.models import Order
from orders.queries import order_for
from payments import drawer, free_money, matching, payer, receipts
from payments.drawer_refusals import NoSuchOffer
from payments.enums import Method, ReceiptState, Source
from payments.models import Collection, Payment, Receipt
from shops.tenancy import Access
from smartduka.lib import clock


WINDOW = timedelta(hours=2)
MOST = 8
# What it takes to stand out: fresh money, or the digits of a phone that was asked.
HIGH = 3
# From seconds to points; the customer shows the phone while the money comes.
FRESH_S = ((120, 3), (600, 2), (1800, 1))
BY_HAND = (Source.C2B, Source.PULL, Source.STATUS, Source.STATEMENT)
FITS = {payer.Fit.EQUAL: 4, payer.Fit.HASHED: 4, payer.Fit.NO: -1}


@dataclass(frozen=True, slots=True)
class Offer:
    """Money that may be a sale's. Amount in KES; `payer` as M-Pesa showed it, masked.

    `age_s`: how long ago it was paid, in seconds.
    """

    key: str
    amount: Decimal
    receipt: str
    payer: str
    age_s: int
    score: int


@dataclass(frozen=True, slots=True)
class Offers:
    """The one that stands out, if one does, and the others, the likeliest first."""

    best: Offer | None = None
    others: tuple[Offer, ...] = ()

    @property
    def keys(self) -> set[str]:
        """All that was offered."""
        return {one.key for one in (self.best, *self.others) if one is not None}


def offers_for(order: Order) -> Offers:
    """What an open sale is offered: nothing when it needs nothing. Only reads."""
    if order.status != OrderStatus.OPEN or order.balance <= 0:
        return Offers()
    collections, claims = _collections(order), _claims(order)
    if not collections and not claims:
        return Offers()
    phones = _phones(order)
    found = [
        *(_offer(one, phones) for one in collections),
        *(_claim(one, phones) for one in claims),
    ]
    found.sort(key=lambda one: (-one.score, one.age_s, one.key))
    found = found[:MOST]
    if not found or found[0].score < HIGH:
        return Offers(None, tuple(found))
    if len(found) > 1 and found[1].score == found[0].score:
        return Offers(None, tuple(found))
    return Offers(found[0], tuple(found[1:]))


def accept(*, access: Access, order_id: object, piece: str) -> Payment:
    """Pay a sale with money that it is offered now; as `drawer.spend`.

    Raises NoSuchOffer when it is not offered any more, and what `drawer.spend` raises.
    """
    access.require_seller()
    order = order_for(access.shop, order_id)
    if piece not in offers_for(order).keys:
        raise NoSuchOffer
    return drawer.spend(
        access=access,
        piece=piece,
        order_id=order_id,
        reason="The cashier said that it is this sale's.",
    )


def _collections(order: Order) -> list[Collection]:
    since = clock.now() - WINDOW
    rows = Collection.objects.filter(
        shop_id=order.shop_id,
        payment__isnull=True,
        allocated=0,
        amount=order.balance,
        reversed_at__isnull=True,
        disputed="",
        source__in=BY_HAND,
        sighted_at__gte=since,
    ).order_by("-id")
    return [one for one in rows[:MOST] if (one.paid_at or one.sighted_at) >= since]


def _claims(order: Order) -> list[Receipt]:
    since = clock.now() - WINDOW
    rows = (
        Receipt.objects.filter(
            state=ReceiptState.CLAIMED,
            account__shop_id=order.shop_id,
            amount=order.balance,
            seen_at__gte=since,
        )
        .select_related("account")
        .order_by("-id")
    )
    return [
        one
        for one in rows[:MOST]
        if (one.paid_at or one.seen_at) >= since and matching.may_spend(one, order.shop)
    ]


def _offer(one: Collection, phones: list[str]) -> Offer:
    age_s = _age_s(one.paid_at or one.sighted_at)
    return Offer(
        key=f"collection:{one.pk}",
        amount=one.amount,
        receipt=one.receipt or "",
        payer=free_money.shown_payer(one.phone),
        age_s=age_s,
        score=_score(one.phone, age_s, phones),
    )


def _claim(one: Receipt, phones: list[str]) -> Offer:
    age_s = _age_s(one.paid_at or one.seen_at)
    return Offer(
        key=f"receipt:{one.pk}",
        amount=one.amount,
        receipt=one.number,
        payer=free_money.shown_payer(one.payer),
        age_s=age_s,
        score=_score(one.payer, age_s, phones),
    )


def _score(seen: str, age_s: int, phones: list[str]) -> int:
    fresh = next((points for limit, points in FRESH_S if age_s <= limit), 0)
    return fresh + max((_fit(known, seen) for known in phones), default=0)


def _fit(known: str, seen: str) -> int:
    fit = payer.fits(known, seen)
    if fit is payer.Fit.VISIBLE:
        return 3 if payer.visible_digits(seen) >= receipts.TELLING_DIGITS else 1
    return FITS.get(fit, 0)


def _phones(order: Order) -> list[str]:
    """The phones that were asked to pay this sale."""
    rows = Payment.objects.filter(order=order, method=Method.MPESA_STK)
    return list(rows.exclude(phone="").values_list("phone", flat=True).distinct())


def _age_s(moment: datetime) -> int:
    return max(int((clock.now() - moment).total_seconds()), 0)
