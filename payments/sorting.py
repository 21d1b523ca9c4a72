"""Money to sort: the page on which a manager decides about free money.

Each button is one call of the drawer or of refunds; then the list is read anew. What
is refused is told at the piece that it is about, and nothing typed is lost.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from orders.enums import OrderStatus
from orders.models import Order
from payments import drawer, free_money, queries, refunds
from payments.drawer_refusals import NotConfirmed
from payments.enums import PaymentStatus, RefundMethod, RefundState
from payments.free_money import Piece
from payments.models import Collection
from shops import tenancy
from shops.pages import shop_page
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib.errors import DomainError, Forbidden, NotFound
from smartduka.lib.money import format_kes
from smartduka.lib.text import clean


MOST_SALES = 100
TYPED = ("piece", "act", "sale", "customer", "reason", "seen", "looked")
# Returns what was done, and then what else there is to know.
Act = Callable[[HttpRequest, Access, str], list[str]]


@require_GET
@shop_page
def show(request: HttpRequest, access: Access) -> HttpResponse:
    """The free money of the shop, and what may be done with it."""
    return _page(request, access)


@require_GET
@shop_page
def listed(request: HttpRequest, access: Access) -> HttpResponse:
    """The list alone, for a page that is open; nothing when it is as it was."""
    context = _context(access)
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    response = render(request, "payments/_pieces.html", context)
    response["Cache-Control"] = "no-store"
    return response


@require_POST
@shop_page
def pay(request: HttpRequest, access: Access) -> HttpResponse:
    """Pay an open sale, by its number, with a piece."""
    return _acted(request, access, _pay)


@require_POST
@shop_page
def keep(request: HttpRequest, access: Access) -> HttpResponse:
    """Keep a piece as a customer's credit."""
    return _acted(request, access, _keep)


@require_POST
@shop_page
def give_back(request: HttpRequest, access: Access) -> HttpResponse:
    """Give a piece back in cash."""
    return _acted(request, access, _give_back)


def _acted(request: HttpRequest, access: Access, act: Act) -> HttpResponse:
    access.require(Right.FREE_MONEY)
    try:
        done, *more = act(request, access, request.POST.get("piece", "")[:40])
    except Forbidden:
        raise
    except DomainError as error:
        return _page(request, access, error)
    messages.success(request, done)
    for one in more:
        messages.warning(request, one)
    return redirect("panel:sort")


def _pay(request: HttpRequest, access: Access, piece: str) -> list[str]:
    order = _open_sale(access, request.POST.get("sale", ""))
    asked = set(queries.undecided_of_order(order).values_list("pk", flat=True))
    payment = drawer.apply(
        access=access,
        piece=piece,
        order_id=order.pk,
        reason=_reason(request),
        has_looked=_has_looked(request),
    )
    done = _("%(amount)s paid sale %(number)s.") % {
        "amount": format_kes(payment.amount),
        "number": order.number,
    }
    return [done, *_learned(order, asked)]


def _learned(order: Order, asked: set[uuid.UUID]) -> list[str]:
    """What came of a sale's prompts that were asked about first, and what is open."""
    prompts = list(queries.payments_of_order(order))
    came = sum(
        one.amount
        for one in prompts
        if one.pk in asked and one.status == PaymentStatus.COMPLETED
    )
    still = sum(one.amount for one in prompts if one.is_undecided)
    said = []
    if came:
        words = _("M-Pesa was asked first: %(amount)s more arrived.")
        said.append(words % {"amount": format_kes(came)})
    if still:
        words = _("A prompt of this sale is still undecided: %(amount)s.")
        said.append(words % {"amount": format_kes(still)})
    return said


def _keep(request: HttpRequest, access: Access, piece: str) -> list[str]:
    kept = drawer.keep_as_credit(
        access=access,
        piece=piece,
        customer=clean(request.POST.get("customer", ""))[:200],
        reason=_reason(request),
        has_looked=_has_looked(request),
    )
    return [_("%(amount)s is kept as credit.") % {"amount": format_kes(kept.amount)}]


def _give_back(request: HttpRequest, access: Access, piece: str) -> list[str]:
    found = free_money.piece_of(access, piece)
    if found.collection_id is None:
        raise NotConfirmed
    refund = refunds.ask(
        access=access,
        collection_id=found.collection_id,
        method=RefundMethod.CASH,
        amount=int(found.amount),
        reason=_reason(request),
        restocks=False,
        seen=_number(request.POST.get("seen", "")),
        has_looked=_has_looked(request),
    )
    amount = {"amount": format_kes(refund.amount)}
    if refund.state == RefundState.ASKED:
        return [_("%(amount)s waits: a second person must approve it.") % amount]
    return [_("Give %(amount)s in cash to the customer now.") % amount]


def _open_sale(access: Access, typed: str) -> Order:
    number = _number(typed.strip().removeprefix("#"))
    found = Order.objects.filter(shop=access.shop, number=number or 0).first()
    if found is None:
        raise NotFound("There is no sale with this number in your shop.")
    return found


def _reason(request: HttpRequest) -> str:
    return clean(request.POST.get("reason", ""))[:200]


def _has_looked(request: HttpRequest) -> bool:
    """Whether they say that they looked at M-Pesa's books about disputed money."""
    return request.POST.get("looked") == "yes"


def _number(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    return int(text) if is_number else None


def _page(
    request: HttpRequest, access: Access, error: DomainError | None = None
) -> HttpResponse:
    context = _context(access) | {
        "access": access,
        "shops": tenancy.shops_of(request.user),
        "error": error,
        "typed": {name: request.POST.get(name, "")[:200] for name in TYPED},
    }
    keys = [one["piece"].key for one in context["pieces"]]
    context["is_told_below"] = context["typed"]["piece"] in keys
    status = min(error.http_status, 409) if error else 200
    response = render(request, "payments/sort.html", context, status=status)
    response["Cache-Control"] = "no-store"
    return response


def _context(access: Access) -> dict[str, Any]:
    """What lies in the drawer. Raises Forbidden."""
    pieces = drawer.pieces(access)
    held = free_money.held(access)
    marks = _marks(pieces)
    sales = _open_sales(access)
    facts: list[tuple[object, ...]] = [
        (one.key, one.amount, one.is_usable, one.disputed, one.disputed_at)
        for one in pieces
    ]
    facts += [(one.pk, one.amount) for one in held]
    return {
        "pieces": [
            {
                "piece": one,
                "seen": marks.get(one.collection_id or 0, ""),
                "fits": [sale for sale in sales if sale.balance == one.amount][:4],
            }
            for one in pieces
        ],
        "total": sum((one.amount for one in pieces), Decimal(0)),
        "held": held,
        "sales": sales,
        "seen": hashlib.sha256(repr(facts).encode()).hexdigest()[:16],
    }


def _marks(pieces: list[Piece]) -> dict[int, int]:
    """What a refund compares with, by collection."""
    ids = {one.collection_id for one in pieces if one.collection_id is not None}
    return {
        one.pk: refunds.mark_of(one) for one in Collection.objects.filter(pk__in=ids)
    }


def _open_sales(access: Access) -> list[Order]:
    rows = Order.objects.filter(shop=access.shop, status=OrderStatus.OPEN)
    return list(rows.order_by("-created_at", "-id")[:MOST_SALES])
