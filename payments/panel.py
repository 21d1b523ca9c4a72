"""The payment sheet of the till, in fragments that HTMX swaps in.

Each view makes one domain call and shows the sheet that the rows then tell. What
the domain refuses is told on that sheet, in a sentence, and nothing typed is lost.
"""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from orders import queries as orders
from orders.models import Order
from payments import cash, ordering, prompting, queries
from payments.enums import Method, PaymentStatus
from payments.models import Payment
from payments.sheets import Entry, Sheet, change_of, sheet_for
from shops.pages import shop_page
from shops.tenancy import Access
from smartduka.lib import clock, phone
from smartduka.lib.errors import DomainError, Forbidden, InvalidRequest, NotFound


TOLD_ELSEWHERE = (Forbidden, NotFound)  # by the page's own door


@require_GET
@shop_page
def show(request: HttpRequest, access: Access, order_id: object) -> HttpResponse:
    """The sheet of a sale: of the payment that is asked for, or the newest.

    `method` asks for a form instead. `seen` is the fingerprint of the sheet that
    the browser has: nothing is sent when it would be the same again.
    """
    order = orders.order_for(access.shop, order_id)
    method = request.GET.get("method")
    if method:
        access.require_seller()
        return _answer(request, order, entry=_blank(access, order, method, request))
    wanted = request.GET.get("payment")
    focus = _payment_of(order, access, wanted) if wanted else None
    return _answer(request, order, focus=focus)


@require_POST
@shop_page
def mpesa(request: HttpRequest, access: Access, order_id: object) -> HttpResponse:
    """Send a prompt for what was typed."""
    entry = Entry(
        phone=request.POST.get("phone", "")[:40],
        amount=request.POST.get("amount", "")[:20],
        key=_key(request),
    )
    try:
        prompted = prompting.request(
            access=access,
            order_id=order_id,
            phone=entry.phone,
            amount=_shillings(entry.amount) if entry.amount.strip() else None,
            key=entry.key or None,
            accept_risk=request.POST.get("accept_risk") == "yes",
        )
    except TOLD_ELSEWHERE:
        raise
    except DomainError as error:
        order = orders.order_for(access.shop, order_id)
        return _answer(request, order, entry=_again(entry, error), error=error)
    return _answer(request, prompted.payment.order, focus=prompted.payment)


@require_POST
@shop_page
def take_cash(request: HttpRequest, access: Access, order_id: object) -> HttpResponse:
    """Take cash: all of it, or a part."""
    entry = Entry(
        method=Method.CASH,
        amount=request.POST.get("amount", "")[:20],
        key=_key(request),
    )
    try:
        taken = cash.take(
            access=access,
            order_id=order_id,
            amount=_shillings(entry.amount),
            key=entry.key or None,
        )
    except TOLD_ELSEWHERE:
        raise
    except DomainError as error:
        order = orders.order_for(access.shop, order_id)
        return _answer(request, order, entry=_again(entry, error), error=error)
    return _answer(request, taken.order, focus=taken.payment)


@require_POST
@shop_page
def retry(request: HttpRequest, access: Access, payment_id: object) -> HttpResponse:
    """Try a failed payment again: the same phone, the same amount."""
    payment = queries.payment_for(access.shop, payment_id)
    try:
        prompted = prompting.retry(access=access, payment_id=payment_id)
    except TOLD_ELSEWHERE:
        raise
    except DomainError as error:
        return _answer(request, payment.order, focus=payment, error=error)
    return _answer(request, prompted.payment.order, focus=prompted.payment)


@require_POST
@shop_page
def resend(request: HttpRequest, access: Access, payment_id: object) -> HttpResponse:
    """Ask about a prompt; if it is not final and may be, send another one."""
    try:
        prompted = prompting.resend(
            access=access,
            payment_id=payment_id,
            accept_risk=request.POST.get("accept_risk") == "yes",
        )
    except TOLD_ELSEWHERE:
        raise
    except DomainError as error:
        payment = queries.payment_for(access.shop, payment_id)
        return _answer(request, payment.order, focus=payment, error=error)
    return _answer(request, prompted.payment.order, focus=prompted.payment)


@require_POST
@shop_page
def stop(request: HttpRequest, access: Access, payment_id: object) -> HttpResponse:
    """Stop waiting for a prompt."""
    payment = prompting.stop_waiting(access=access, payment_id=payment_id)
    return _answer(request, payment.order, focus=payment)


@require_POST
@shop_page
def cancel(request: HttpRequest, access: Access, order_id: object) -> HttpResponse:
    """Cancel a sale on which no money lies."""
    try:
        order = ordering.cancel_order(access=access, order_id=order_id)
    except TOLD_ELSEWHERE:
        raise
    except DomainError as error:
        order = orders.order_for(access.shop, order_id)
        return _answer(request, order, entry=Entry(method="cancel"), error=error)
    return _answer(request, order)


@require_GET
@shop_page
def pill(request: HttpRequest, access: Access) -> HttpResponse:
    """How many payments wait, and how much money that is."""
    undecided = list(queries.undecided_of(access.shop))
    total = sum((payment.amount for payment in undecided), Decimal(0))
    context = {"count": len(undecided), "total": total}
    return render(request, "payments/_pill.html", context)


@require_GET
@shop_page
def queue(request: HttpRequest, access: Access) -> HttpResponse:
    """The payments that wait; each opens its sheet."""
    undecided = queries.undecided_of(access.shop)
    return render(request, "payments/_queue.html", {"payments": undecided})


@require_GET
@shop_page
def receipt(request: HttpRequest, access: Access, order_id: object) -> HttpResponse:
    """The sale on paper, 80 mm wide."""
    order = orders.order_for(access.shop, order_id)
    payments = [
        payment
        for payment in queries.payments_of_order(order)
        if payment.status == PaymentStatus.COMPLETED
    ]
    context = {
        "access": access,
        "order": order,
        "payments": payments,
        "change": sum(change_of(payment) or 0 for payment in payments),
        "goods": order.total - order.rounding,
        "print": "print" in request.GET,
    }
    return render(request, "payments/receipt.html", context)


def _answer(
    request: HttpRequest,
    order: Order,
    *,
    focus: Payment | None = None,
    entry: Entry | None = None,
    error: DomainError | None = None,
) -> HttpResponse:
    payments = sorted(
        queries.payments_of_order(order), key=lambda p: p.created_at, reverse=True
    )
    if focus is None and entry is None and payments:
        focus = payments[0]
    sheet = sheet_for(
        order, payments, now=clock.now(), focus=focus, entry=entry, error=error
    )
    if request.method == "GET" and request.GET.get("seen") == sheet.context["seen"]:
        return HttpResponse(status=204)
    return _rendered(request, sheet, error)


def _rendered(
    request: HttpRequest, sheet: Sheet, error: DomainError | None
) -> HttpResponse:
    sheet.context["virtual_phone"] = (
        f"{settings.MPESA_BASE_URL}/phone/" if settings.MPESA_ENV == "simulator" else ""
    )
    # htmx swaps 2xx to 4xx; a 5xx could be anybody's page.
    status = min(error.http_status, 409) if error else 200
    response = render(request, sheet.template, sheet.context, status=status)
    response["Cache-Control"] = "no-store"
    return response


def _blank(access: Access, order: Order, method: str, request: HttpRequest) -> Entry:
    if method not in (Method.CASH, "cancel"):
        method = Method.MPESA_STK
    phone_of = request.GET.get("phone_of")
    if not phone_of:
        return Entry(method=method)
    payer = _payment_of(order, access, phone_of).phone
    return Entry(method=method, phone=phone.grouped(payer) if payer else "")


def _payment_of(order: Order, access: Access, payment_id: object) -> Payment:
    """A payment of this sale. Raises NotFound, also for one of another sale."""
    payment = queries.payment_for(access.shop, payment_id)
    if payment.order_id != order.pk:
        raise NotFound(queries.UNKNOWN)
    return payment


def _again(entry: Entry, error: DomainError) -> Entry:
    return Entry(entry.method, entry.phone, entry.amount, entry.key, error)


def _key(request: HttpRequest) -> str:
    """The form's own key; anything that no form of ours made counts as none."""
    key = request.POST.get("key", "")
    return key if len(key) == 36 and key.replace("-", "").isalnum() else ""


def _shillings(text: str) -> int:
    digits = text.replace(",", "").replace(" ", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        raise InvalidRequest("Write the amount in whole shillings, like 500.")
    return int(digits)
