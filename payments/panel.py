"""The payment sheet of the till, in fragments that HTMX swaps in.

Each view makes one domain call and shows the sheet that the rows then tell. What
the domain refuses is told on that sheet, in a sentence, and nothing typed is lost.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from django.conf import settings
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from orders import queries as orders
from orders.enums import OrderStatus
from orders.models import Order
from payments import (
    cash,
    code_box,
    ledger,
    offers,
    ordering,
    prompting,
    queries,
    refund_money,
)
from payments.code_answers import CodeAnswer
from payments.enums import Method, PaymentStatus
from payments.models import Payment
from payments.offers import Offers
from payments.refusals import AlreadySent, IdempotencyMismatch
from payments.sheets import CODE, ByHand, Entry, Sheet, sheet_for
from shops.pages import shop_page
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib import clock, phone
from smartduka.lib.errors import DomainError, Forbidden, InvalidRequest, NotFound


LONGEST_TEXT = 4000  # a pasted message, and what was copied with it
FORMS = (Method.MPESA_STK, Method.CASH, CODE)  # beside them money is offered
TOLD_ELSEWHERE = (Forbidden, NotFound)  # by the page's own door


@require_GET
@shop_page
def show(request: HttpRequest, access: Access, order_id: object) -> HttpResponse:
    """The sheet of a sale: of the payment that is asked for, or the newest.

    `method` asks for a form instead; with the `key` of a form whose answer was lost
    it is the sheet of the payment that the form made all the same, and with the mark
    `again` it has what is known by now of the code that was checked. `seen` is the
    fingerprint of the sheet that the browser has: nothing is sent when it would be
    the same again.
    """
    method = request.GET.get("method")
    if method:
        access.require(Right.SELL)
        order = orders.order_for(access.shop, order_id)
        if made := queries.payment_of_form(order, _own_key(request.GET)):
            return _answer_of(request, access, made)
        entry = _blank(access, order, method, request)
        answer = _known_of_code(access, order_id, request.GET)
        return _answer(request, access, order_id, entry=entry, answer=answer)
    wanted = request.GET.get("payment")
    return _answer(request, access, order_id, focus_id=wanted or None)


@require_POST
@shop_page
def mpesa(request: HttpRequest, access: Access, order_id: object) -> HttpResponse:
    """Send a prompt for what was typed."""
    entry = _typed(request, Method.MPESA_STK)
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
    except IdempotencyMismatch as error:
        return _already(request, access, order_id, entry, error)
    except DomainError as error:
        return _answer(
            request, access, order_id, entry=_again(entry, error), error=error
        )
    return _answer_of(request, access, prompted.payment)


@require_POST
@shop_page
def take_cash(request: HttpRequest, access: Access, order_id: object) -> HttpResponse:
    """Take cash: all of it, or a part."""
    entry = _typed(request, Method.CASH)
    try:
        taken = cash.take(
            access=access,
            order_id=order_id,
            amount=_shillings(entry.amount),
            key=entry.key or None,
        )
    except TOLD_ELSEWHERE:
        raise
    except IdempotencyMismatch as error:
        return _already(request, access, order_id, entry, error)
    except DomainError as error:
        return _answer(
            request, access, order_id, entry=_again(entry, error), error=error
        )
    return _answer_of(request, access, taken.payment)


@require_POST
@shop_page
def retry(request: HttpRequest, access: Access, payment_id: object) -> HttpResponse:
    """Try a failed payment again: the same phone, the same amount."""
    payment = queries.payment_for(access.shop, payment_id)
    try:
        prompted = prompting.retry(
            access=access,
            payment_id=payment_id,
            accept_risk=request.POST.get("accept_risk") == "yes",
        )
    except TOLD_ELSEWHERE:
        raise
    except DomainError as error:
        return _answer_of(request, access, payment, error)
    return _answer_of(request, access, prompted.payment)


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
        return _answer_of(request, access, payment, error)
    return _answer_of(request, access, prompted.payment)


@require_POST
@shop_page
def stop(request: HttpRequest, access: Access, payment_id: object) -> HttpResponse:
    """Stop waiting for a prompt."""
    payment = prompting.stop_waiting(access=access, payment_id=payment_id)
    return _answer_of(request, access, payment)


@require_POST
@shop_page
def accept(request: HttpRequest, access: Access, order_id: object) -> HttpResponse:
    """Pay the sale with the money that is offered for it.

    A refusal is told on the sheet that was open: the form with its `method`, and what
    was typed, or the sheet of its `payment`.
    """
    piece = request.POST.get("piece", "")[:40]
    named = request.POST.get("beside", "")[:200].split(",")
    beside = [int(one) for one in named if one.isascii() and one.isdigit()]
    try:
        payment = offers.accept(
            access=access, order_id=order_id, piece=piece, beside=beside
        )
    except TOLD_ELSEWHERE:
        raise
    except DomainError as error:
        method = request.POST.get("method")
        if method not in FORMS:
            focus_id = request.POST.get("payment") or None
            return _answer(request, access, order_id, focus_id=focus_id, error=error)
        entry = _typed(request, method)
        answer = _known_of_code(access, order_id, request.POST)
        return _answer(
            request, access, order_id, entry=entry, answer=answer, error=error
        )
    return _answer_of(request, access, payment)


@require_POST
@shop_page
def check_code(request: HttpRequest, access: Access, order_id: object) -> HttpResponse:
    """Say what is known of a code or of a pasted message."""
    entry = _typed(request, CODE)
    try:
        answer = code_box.check(access=access, order_id=order_id, text=entry.text)
    except TOLD_ELSEWHERE:
        raise
    except DomainError as error:
        return _answer(
            request, access, order_id, entry=_again(entry, error), error=error
        )
    return _answer(request, access, order_id, entry=entry, answer=answer)


@require_POST
@shop_page
def use_code(request: HttpRequest, access: Access, order_id: object) -> HttpResponse:
    """Pay the sale with the free money of a code."""
    number = request.POST.get("number", "")[:40]
    try:
        payment = code_box.use(access=access, order_id=order_id, number=number)
    except TOLD_ELSEWHERE:
        raise
    except DomainError as error:
        entry = Entry(method=CODE, text=number, error=error)
        return _answer(request, access, order_id, entry=entry, error=error)
    return _answer_of(request, access, payment)


@require_POST
@shop_page
def withdraw_code(
    request: HttpRequest, access: Access, claim_id: object
) -> HttpResponse:
    """Take back a code that waits for M-Pesa."""
    claim = code_box.withdraw(access=access, claim_id=claim_id)
    return _answer(request, access, claim.order_id, entry=Entry(method=CODE))


@require_POST
@shop_page
def cancel(request: HttpRequest, access: Access, order_id: object) -> HttpResponse:
    """Cancel a sale on which no money lies."""
    try:
        ordering.cancel_order(access=access, order_id=order_id)
    except TOLD_ELSEWHERE:
        raise
    except DomainError as error:
        entry = Entry(method="cancel")
        return _answer(request, access, order_id, entry=entry, error=error)
    return _answer(request, access, order_id)


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


def _answer_of(
    request: HttpRequest,
    access: Access,
    payment: Payment,
    error: DomainError | None = None,
) -> HttpResponse:
    return _answer(request, access, payment.order_id, focus_id=payment.pk, error=error)


def _answer(
    request: HttpRequest,
    access: Access,
    order_id: object,
    *,
    focus_id: object = None,
    entry: Entry | None = None,
    error: DomainError | None = None,
    answer: CodeAnswer | None = None,
) -> HttpResponse:
    """The sheet as the rows are now: what a view read before its call may be old.

    Raises NotFound for a sale or a payment that is not there, and for a payment of
    another sale.
    """
    order = orders.order_for(access.shop, order_id)
    payments = sorted(
        queries.payments_of_order(order), key=lambda p: p.created_at, reverse=True
    )
    if payments:
        order = payments[0].order  # of one moment with the payments
    focus = next((p for p in payments if str(p.pk) == str(focus_id)), None)
    if focus_id is not None and focus is None:
        raise NotFound(queries.UNKNOWN)
    if focus is None and entry is None and payments:
        focus = payments[0]
    sheet = sheet_for(
        order,
        payments,
        now=clock.now(),
        focus=focus,
        entry=entry,
        error=error,
        by_hand=_by_hand(access, order, answer),
        given_back=_given_back(order, payments),
        to_go_back=_to_go_back(order, payments),
    )
    if request.method == "GET" and request.GET.get("seen") == sheet.context["seen"]:
        return HttpResponse(status=204)
    return _rendered(request, sheet, error)


def _given_back(order: Order, payments: list[Payment]) -> Decimal:
    """How much went back; nothing where nothing came, and then nobody is asked."""
    return ledger.given_back(order) if _had_money(payments) else Decimal(0)


def _to_go_back(order: Order, payments: list[Payment]) -> Decimal:
    """How much of an open sale's money refunds took that are not decided."""
    if order.status != OrderStatus.OPEN or not _had_money(payments):
        return Decimal(0)
    return refund_money.to_go_back(order)


def _had_money(payments: list[Payment]) -> bool:
    return any(one.status not in PaymentStatus.WITHOUT_MONEY for one in payments)


def _by_hand(access: Access, order: Order, answer: CodeAnswer | None) -> ByHand:
    """What may have been paid by hand for an open sale, for who may take it."""
    if order.status != OrderStatus.OPEN or not access.may(Right.SELL):
        return ByHand()
    claims, offered = code_box.claims_of(order), offers.offers_for(order)
    if answer is not None:
        # What is said large is not said twice.
        claims = [one for one in claims if one.number != answer.number]
    if answer is not None and answer.piece:
        offered = Offers()
    return ByHand(offered, claims, answer)


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
    if method not in (Method.CASH, CODE, "cancel"):
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


def _already(
    request: HttpRequest,
    access: Access,
    order_id: object,
    entry: Entry,
    error: IdempotencyMismatch,
) -> HttpResponse:
    """Show what a form made whose answer was lost and which was changed since."""
    order = orders.order_for(access.shop, order_id)
    made = queries.payment_of_form(order, entry.key)
    if made is None:
        # The key is of another sale: what was typed goes on under a new one.
        fresh = Entry(entry.method, entry.phone, entry.amount, error=error)
        return _answer(request, access, order_id, entry=fresh, error=error)
    told = AlreadySent(details={"amount": made.tendered or made.amount, "of": made})
    return _answer_of(request, access, made, told)


def _typed(request: HttpRequest, method: str) -> Entry:
    """What was typed into the form of a method."""
    typed = request.POST
    return Entry(
        method=method,
        phone=typed.get("phone", "")[:40],
        amount=typed.get("amount", "")[:20],
        key=_own_key(typed),
        text=typed.get("text", "")[:LONGEST_TEXT],
    )


def _again(entry: Entry, error: DomainError) -> Entry:
    return replace(entry, error=error)


def _known_of_code(
    access: Access, order_id: object, sent: QueryDict
) -> CodeAnswer | None:
    """What is known by now of the code that a sheet was checking, if it was."""
    mark = sent.get("again", "")[:400]
    if not mark:
        return None
    return code_box.again(access=access, order_id=order_id, mark=mark)


def _own_key(typed: QueryDict) -> str:
    """The form's own key; anything that no form of ours made counts as none."""
    key = typed.get("key", "")
    return key if len(key) == 36 and key.replace("-", "").isalnum() else ""


def _shillings(text: str) -> int:
    digits = text.replace(",", "").replace(" ", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        raise InvalidRequest("Write the amount in whole shillings, like 500.")
    return int(digits)
