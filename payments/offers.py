"""Is this money that came by hand this sale's? Offered to a person, never decided.

Only money of the sale's own shop, of the sale's very balance, that nobody used and
that came a short while ago. The score says how likely it is: how fresh the money is,
and whether the payer's number, as far as it is shown, is one that was asked for this
sale. One that stands out is offered with one key.

A tie is never offered with one key: neither several pieces alike, nor one piece that
fits another open sale of the shop as well. Those are listed, and every piece names the
other sales that it could be meant for, so that the cashier asks before pressing.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection as Several
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q

from orders.enums import OrderStatus
from orders.models import Order
from orders.queries import order_for
from payments import drawer, free_money, matching, payer, receipts
from payments.drawer_refusals import NoSuchOffer, OthersOffer
from payments.enums import Method, ReceiptState, Source
from payments.models import CodeClaim, Collection, Payment, Receipt
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib import clock


WINDOW = timedelta(hours=2)
MOST = 8
MOST_RIVALS = 8
# What it takes to stand out: fresh money, or the digits of a phone that was asked.
HIGH = 3
# From seconds to points; the customer shows the phone while the money comes.
FRESH_S = ((120, 3), (600, 2), (1800, 1))
BY_HAND = (Source.C2B, Source.PULL, Source.STATUS, Source.STATEMENT)
FITS = {payer.Fit.EQUAL: 4, payer.Fit.HASHED: 4, payer.Fit.NO: -1}


@dataclass(frozen=True, slots=True)
class Rival:
    """Another open sale that needs the very amount: its number, and who sells it."""

    number: int
    cashier: str
    score: int


@dataclass(frozen=True, slots=True)
class Offer:
    """Money that may be a sale's. Amount in KES; `payer` as M-Pesa showed it, masked.

    `at`: when it was paid; `age_s`: how long ago, in seconds. `rivals`: the other
    sales that it could be meant for, the likeliest first.
    """

    key: str
    amount: Decimal
    receipt: str
    payer: str
    at: datetime
    age_s: int
    score: int
    rivals: tuple[Rival, ...] = ()

    @property
    def best_elsewhere(self) -> int | None:
        """How well it fits the likeliest of the other sales; None: there is none."""
        return max((one.score for one in self.rivals), default=None)

    @property
    def beside(self) -> str:
        """The numbers of the other sales, for `accept` to compare."""
        return ",".join(str(one.number) for one in self.rivals)


@dataclass(frozen=True, slots=True)
class Offers:
    """The one that stands out, if one does; those alike; and the others.

    `alike` may be offered too, but never with one key: it is a tie, of pieces or of
    sales. `others` fit less, or fit another sale better. The likeliest first.
    """

    best: Offer | None = None
    alike: tuple[Offer, ...] = ()
    others: tuple[Offer, ...] = ()

    @property
    def shown(self) -> tuple[Offer, ...]:
        """What a cashier sees."""
        return (self.best, *self.alike) if self.best is not None else self.alike

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What is seen of them, to notice a change."""
        return [(one.key, one.beside) for one in self.shown]

    def of(self, key: str) -> Offer | None:
        """The offer of a piece, if it is offered at all."""
        return next(
            (one for one in (*self.shown, *self.others) if one.key == key), None
        )


def offers_for(order: Order) -> Offers:
    """What an open sale is offered: nothing when it needs nothing. Only reads."""
    if order.status != OrderStatus.OPEN or order.balance <= 0:
        return Offers()
    collections, claims = _collections(order), _claims(order)
    if not collections and not claims:
        return Offers()
    mine, others = _phones([order])[order.pk], _rivals(order)
    found = [
        *(_offer(one, mine, others) for one in collections),
        *(_claim(one, mine, others) for one in claims),
    ]
    found.sort(key=lambda one: one.key)
    found.sort(key=lambda one: (one.score, one.at), reverse=True)
    return _sorted_out(found[:MOST])


def accept(
    *, access: Access, order_id: object, piece: str, beside: Several[int] = ()
) -> Payment:
    """Pay a sale with money that it is offered now; as `drawer.spend`.

    `beside`: the numbers of the other sales that were named to the cashier. Call
    outside any transaction. Raises NoSuchOffer when it is not offered any more, OthersOffer when it could be meant for
    a sale that was not named, and what `drawer.spend` raises.
    """
    access.require(Right.SELL)
    order = order_for(access.shop, order_id)
    offer = offers_for(order).of(piece)
    if offer is None:
        raise NoSuchOffer
    if {one.number for one in offer.rivals} - set(beside):
        raise OthersOffer
    return drawer.spend(
        access=access,
        piece=piece,
        order_id=order_id,
        reason=_reason(offer),
    )


def _reason(offer: Offer) -> str:
    said = "The cashier said that it is this sale's"
    if not offer.rivals:
        return f"{said}."
    return f"{said}, not that of {offer.beside.replace(',', ', ')}."


def _sorted_out(found: list[Offer]) -> Offers:
    """Tell the one that stands out from ties; `found` by score, the highest first."""
    fitting = [
        one
        for one in found
        if one.score >= HIGH
        and (one.best_elsewhere is None or one.best_elsewhere <= one.score)
    ]
    top = [one for one in fitting if one.score == fitting[0].score]
    rest = tuple(one for one in found if one not in top)
    if len(top) == 1 and top[0].best_elsewhere != top[0].score:
        return Offers(top[0], (), rest)
    return Offers(None, tuple(top), rest)


def _rivals(order: Order) -> list[tuple[Order, list[str]]]:
    """The shop's other open sales of this balance, each with the phones asked for it.

    Only those that somebody did something about within the window: a sale that was
    left behind in the morning is nobody's rival.
    """
    since = clock.now() - WINDOW
    recent = {"order": OuterRef("pk"), "created_at__gte": since}
    rows = (
        Order.objects.filter(
            Q(created_at__gte=since)
            | Exists(Payment.objects.filter(**recent))
            | Exists(CodeClaim.objects.filter(**recent)),
            shop_id=order.shop_id,
            status=OrderStatus.OPEN,
            total=F("paid") + order.balance,
        )
        .exclude(pk=order.pk)
        .select_related("created_by")
        .order_by("-number")
    )
    others = list(rows[:MOST_RIVALS])
    phones = _phones(others)
    return [(one, phones[one.pk]) for one in others]


def _collections(order: Order) -> list[Collection]:
    since = clock.now() - WINDOW
    rows = Collection.objects.filter(
        shop_id=order.shop_id,
        environment=settings.MPESA_ENV,
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
            account__environment=settings.MPESA_ENV,
            amount=order.balance,
            alarm="",
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


def _offer(
    one: Collection, phones: list[str], others: list[tuple[Order, list[str]]]
) -> Offer:
    at = one.paid_at or one.sighted_at
    age_s = _age_s(at)
    return Offer(
        key=f"collection:{one.pk}",
        amount=one.amount,
        receipt=one.receipt or "",
        payer=free_money.shown_payer(one.phone),
        at=at,
        age_s=age_s,
        score=_score(one.phone, age_s, phones),
        rivals=_named(one.phone, age_s, others),
    )


def _claim(
    one: Receipt, phones: list[str], others: list[tuple[Order, list[str]]]
) -> Offer:
    at = one.paid_at or one.seen_at
    age_s = _age_s(at)
    return Offer(
        key=f"receipt:{one.pk}",
        amount=one.amount,
        receipt=one.number,
        payer=free_money.shown_payer(one.payer),
        at=at,
        age_s=age_s,
        score=_score(one.payer, age_s, phones),
        rivals=_named(one.payer, age_s, others),
    )


def _named(
    payer_seen: str, age_s: int, others: list[tuple[Order, list[str]]]
) -> tuple[Rival, ...]:
    rivals = [
        Rival(
            order.number,
            order.created_by.get_username() if order.created_by else "",
            _score(payer_seen, age_s, phones),
        )
        for order, phones in others
    ]
    return tuple(sorted(rivals, key=lambda one: (-one.score, -one.number)))


def _score(seen: str, age_s: int, phones: list[str]) -> int:
    fresh = next((points for limit, points in FRESH_S if age_s <= limit), 0)
    return fresh + max((_fit(known, seen) for known in phones), default=0)


def _fit(known: str, seen: str) -> int:
    fit = payer.fits(known, seen)
    if fit is payer.Fit.VISIBLE:
        return 3 if payer.visible_digits(seen) >= receipts.TELLING_DIGITS else 1
    return FITS.get(fit, 0)


def _phones(orders: list[Order]) -> dict[uuid.UUID, list[str]]:
    """The phones that were asked to pay each of these sales."""
    rows = (
        Payment.objects.filter(order__in=orders, method=Method.MPESA_STK)
        .exclude(phone="")
        .values_list("order_id", "phone")
        .distinct()
    )
    found: dict[uuid.UUID, list[str]] = {one.pk: [] for one in orders}
    for order_id, number in rows:
        found[order_id].append(number)
    return found


def _age_s(moment: datetime) -> int:
    return max(int((clock.now() - moment).total_seconds()), 0)
