"""The sale on paper, 80 mm wide: what was sold, how it was paid, and what went back."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from orders import queries as orders
from payments import ledger, queries
from payments.enums import PaymentStatus
from payments.sheets import change_of
from shops.pages import shop_page
from shops.tenancy import Access


@require_GET
@shop_page
def receipt(request: HttpRequest, access: Access, order_id: object) -> HttpResponse:
    """A sale's receipt, as its rows are now: what was printed before may be old."""
    order = orders.order_for(access.shop, order_id)
    payments = [
        payment
        for payment in queries.payments_of_order(order)
        if payment.status not in PaymentStatus.WITHOUT_MONEY
    ]
    context = {
        "access": access,
        "order": order,
        "payments": payments,
        "change": sum(change_of(payment) or 0 for payment in payments),
        "given_back": ledger.given_back(order),
        "goods": order.total - order.rounding,
        "print": "print" in request.GET,
    }
    return render(request, "payments/receipt.html", context)
