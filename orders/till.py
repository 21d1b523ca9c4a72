"""The cashier's pages: goods to sell, and the sale they become.

The cart lives in the browser until a pay button is pressed; then it becomes an
order here, and the order's total is the truth. How it is paid is told by the
payment panel, which this page shows by its address and never imports.
"""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from orders import checkout, queries
from orders.models import Order
from shops import queries as goods
from shops import tenancy
from shops.models import Product
from shops.pages import SESSION_SHOP, shop_page
from shops.rights import Right
from shops.tenancy import Access
from shops.words import sentence
from smartduka.lib.errors import DomainError, InvalidRequest
from smartduka.lib.money import to_cents
from smartduka.lib.text import clean


TILES = 60  # more than anyone reads; the search finds the rest
PRICES_AT_ONCE = 300
DEMO_PHONE = "254708374149"  # the one that the start of a demonstration names too


@require_GET
@shop_page
def till(request: HttpRequest, access: Access) -> HttpResponse:
    """Show the till; `?sale=<order id>` opens that sale's payment over it."""
    if not access.may(Right.SELL):
        return render(request, "orders/no_selling.html", {"access": access})
    context = {
        "access": access,
        "shops": tenancy.shops_of(request.user),
        "categories": goods.categories(access.shop),
        "virtual_phone": virtual_phone(),
        "most_pieces": checkout.MOST_PIECES,
        **_shelf(request, access),
    }
    return render(request, "orders/till.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def shops(request: HttpRequest) -> HttpResponse:
    """Let a person of several shops choose for which one they work now."""
    error = None
    if request.method == "POST":
        try:
            chosen = tenancy.access(request.user, request.POST.get("shop", "?"))
        except DomainError as refused:
            error = refused
        else:
            request.session[SESSION_SHOP] = str(chosen.shop.pk)
            return redirect(_next(request))
    context = {
        "shops": tenancy.shops_of(request.user),
        "chosen": request.session.get(SESSION_SHOP),
        "next": _next(request),
        "error": error,
    }
    return render(
        request, "smartduka/shops.html", context, status=404 if error else 200
    )


@require_GET
@shop_page
def products(request: HttpRequest, access: Access) -> HttpResponse:
    """The tiles that a search or a category leaves."""
    return render(request, "orders/_shelf.html", _shelf(request, access))


@require_GET
@shop_page
def scan(request: HttpRequest, access: Access) -> HttpResponse:
    """The product of a barcode, or a sentence that says there is none."""
    code = request.GET.get("code", "").strip()[:64]
    product = goods.product_by_barcode(access.shop, code)
    if product is None:
        message = _("No product of this shop has the barcode %(code)s.")
        return _refused("NOT_FOUND", message % {"code": code or "?"}, 404)
    return JsonResponse(_product(product))


@require_GET
@shop_page
def prices(request: HttpRequest, access: Access) -> HttpResponse:
    """What the products of a kept cart are called and cost today."""
    keys = request.GET.get("ids", "").split(",")[:PRICES_AT_ONCE]
    wanted = [
        int(key) for key in keys if key.isascii() and key.isdigit() and len(key) < 19
    ]
    found = goods.products(access.shop).filter(pk__in=wanted)
    return JsonResponse({"products": [_product(product) for product in found]})


@require_POST
@shop_page
def save_sale(request: HttpRequest, access: Access) -> HttpResponse:
    """Make the cart an order, or bring the order up to the cart."""
    access.require(Right.SELL)
    try:
        order_id, items = _cart(request.body)
        order = (
            checkout.replace_lines(
                order_id, shop=access.shop, actor=access.user, items=items
            )
            if order_id
            else checkout.place_order(shop=access.shop, actor=access.user, items=items)
        )
    except DomainError as error:
        return _refused(error.code, sentence(error), error.http_status, error.details)
    return JsonResponse(_sale(order))


@require_GET
@shop_page
def sale(request: HttpRequest, access: Access, order_id: object) -> HttpResponse:
    """A sale with its lines, for a till that did not make it."""
    return JsonResponse(_sale(queries.order_for(access.shop, order_id)))


def virtual_phone() -> str:
    """The address of a simulated phone, while M-Pesa is simulated."""
    if settings.MPESA_ENV != "simulator":
        return ""
    return f"{settings.MPESA_BASE_URL}/phone/{DEMO_PHONE}"


def _shelf(request: HttpRequest, access: Access) -> dict[str, Any]:
    search = request.GET.get("search", "").strip()[:80]
    category = clean(request.GET.get("category", ""))[:60]
    found = list(
        goods.products(access.shop, search=search, category=category)[: TILES + 1]
    )
    return {
        "products": found[:TILES],
        "has_more": len(found) > TILES,
        "search": search,
        "category": category,
    }


def _cart(body: bytes) -> tuple[str, list[checkout.Item]]:
    try:
        data = json.loads(body)
        items = [
            checkout.Item(product_id=str(item["productId"]), quantity=item["quantity"])
            for item in data["items"]
        ]
        order_id = str(data.get("orderId") or "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidRequest("This cart could not be read. Reload the page.") from None
    if any(type(item.quantity) is not int for item in items):
        raise InvalidRequest("A quantity is a whole number of pieces.")
    return order_id, items


def _product(product: Product) -> dict[str, Any]:
    return {
        "id": str(product.pk),
        "name": product.name,
        "price": int(to_cents(product.price) * 100),
        "stock": product.stock,
    }


def _sale(order: Order) -> dict[str, Any]:
    return {
        "id": str(order.pk),
        "number": order.number,
        "status": order.status,
        "total": int(order.total * 100),
        "isFrozen": order.frozen_at is not None,
        "lines": [
            {
                "id": str(line.product_id),
                "name": line.name,
                "price": int(line.unit_price * 100),
                "quantity": line.quantity,
            }
            for line in order.lines.all()
        ],
    }


def _refused(
    code: str, message: str, status: int, details: dict[str, Any] | None = None
) -> JsonResponse:
    body = {
        "success": False,
        "code": code,
        "message": message,
        "details": details or {},
    }
    return JsonResponse(body, status=status)


def _next(request: HttpRequest) -> str:
    url = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(
        url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return url
    return reverse("till:till")
