"""The part of the control API that is about money, see ``control_api``."""

from __future__ import annotations

from datetime import datetime, time

from django.http import HttpRequest, HttpResponse

from payments.simulator import (
    confirmations,
    controls,
    outcomes,
    presentation,
    statements,
)
from payments.simulator.accounts import PAYBILL, TILL, Account
from payments.simulator.book import Refusal
from payments.simulator.clock import EAST_AFRICA
from payments.simulator.controls import Json, Unusable, body, control, is_shillings
from payments.simulator.customer_payments import Declined
from payments.simulator.records import Entry
from payments.simulator.statements import Statement, Style
from payments.simulator.switches import C2B_PREFIX
from payments.simulator.wire_c2b import BILL_REFERENCE_LENGTH
from payments.simulator.world import world


CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@control("GET")
def ledger(request: HttpRequest) -> Json:
    return {"ledger": [presentation.entry(entry) for entry in world.book.ledger()]}


@control("POST")
def pay(request: HttpRequest) -> Json:
    """Let a customer pay by hand, and wait for the merchant's validation."""
    order = body(request)
    entry = pay_by_hand(
        phone=controls.number(str(order.get("phone"))),
        number=str(order.get("shortcode") or order.get("till") or ""),
        kind=PAYBILL if order.get("shortcode") else TILL,
        amount=order.get("amount"),
        reference=str(order.get("reference") or ""),
    )
    return presentation.entry(entry)


@control("POST")
def sweep(request: HttpRequest) -> Json:
    """Send an organisation's money to its bank."""
    order = body(request)
    amount = order.get("amount")
    if amount is not None and not is_shillings(amount, least=1):
        raise Unusable(400, "amount is a whole number of shillings")
    try:
        entry = world.book.sweep(_account(str(order.get("shortcode"))), amount)
    except Refusal:
        raise Unusable(409, "there is not so much money") from None
    return presentation.entry(entry)


@control("POST")
def confirmation(request: HttpRequest, receipt: str) -> Json:
    """Post a confirmation once more, bent, and wait for the answer."""
    entry = world.book.by_receipt(receipt)
    if entry is None or not entry.is_payment or entry.is_declined:
        raise Unusable(404, f"there is no payment {receipt}")
    bends = controls.bends(body(request), C2B_PREFIX, confirmations.SHAPE)
    attempt = world.payments.confirm_bent(entry, bends)
    if attempt is None:
        raise Unusable(409, "no address is registered")
    return attempt


@control("GET", "DELETE")
def registration(request: HttpRequest, number: str) -> Json:
    """Show an organisation's C2B addresses, or forget them as its operators can."""
    account = _account(number)
    if request.method == "DELETE":
        world.subscriptions.unregister(account)
    return presentation.registration(account)


@control("POST")
def unlock(request: HttpRequest, number: str) -> Json:
    """Let an API user try again, as the Business Administrator can."""
    world.initiators.unlock(_account(number))
    return {"unlocked": True}


@control("GET")
def statement(request: HttpRequest) -> HttpResponse:
    """Export what an organisation's account did."""
    kind = request.GET.get("format", "csv")
    if kind not in CONTENT_TYPES:
        raise Unusable(400, f"format is one of {', '.join(CONTENT_TYPES)}")
    account = _account(request.GET.get("shortcode", ""))
    exported = Statement(
        account=account,
        entries=world.book.history(account),
        since=_moment(request, "from", time.min),
        until=_moment(request, "to", time.max),
        made_at=world.clock.now(),
    )
    style = Style(
        times=world.faults.take("statement_times"),
        amounts=world.faults.take("statement_amounts"),
        phones=world.faults.take("statement_phones"),
    )
    write = statements.csv_of if kind == "csv" else statements.xlsx_of
    response = HttpResponse(
        write(exported, style=style), content_type=CONTENT_TYPES[kind]
    )
    name = f"statement-{account.shortcode}.{kind}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def pay_by_hand(
    *, phone: str, number: str, kind: str, amount: object, reference: str
) -> Entry:
    """Pay to the paybill or till of this number.

    Raises Unusable with a sentence that can be shown on the phone.
    """
    account = world.bank.receiver(number)
    if account is None or account.kind != kind:
        raise Unusable(404, f"there is no {kind} {number}")
    if not is_shillings(amount, least=1):
        raise Unusable(400, "amount is a whole number of shillings")
    reference = reference.strip() if kind == PAYBILL else ""
    if kind == PAYBILL and not 1 <= len(reference) <= BILL_REFERENCE_LENGTH:
        raise Unusable(400, "an account number has 1 to 20 signs")
    try:
        return world.payments.pay(
            account, phone=phone, amount=amount, reference=reference
        )
    except Refusal as no:
        raise Unusable(409, f"{no.code}: {outcomes.describe(no.code)}") from None
    except Declined as no:
        raise Unusable(409, f"{account.name} did not accept it: {no.code}") from None


def _account(number: str) -> Account:
    account = world.bank.named(number)
    if account is None:
        raise Unusable(404, f"there is no organisation {number}")
    return account


def _moment(request: HttpRequest, name: str, at: time) -> datetime | None:
    text = request.GET.get(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Unusable(400, f"{name} is a day or a time in ISO form") from None
    if len(text) == len("2026-01-14"):
        moment = datetime.combine(moment.date(), at)
    return moment if moment.tzinfo else moment.replace(tzinfo=EAST_AFRICA)
