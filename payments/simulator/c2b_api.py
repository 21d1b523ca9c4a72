"""The endpoints around payments that nobody pushed: C2B, Dynamic QR, Pull."""

from __future__ import annotations

import base64
import io
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import segno
from django.http import HttpRequest, HttpResponse, JsonResponse

from payments.simulator import ids, refusals, wire_c2b
from payments.simulator.accounts import TILL, Account
from payments.simulator.book import Refusal
from payments.simulator.clock import EAST_AFRICA
from payments.simulator.customer_payments import Declined
from payments.simulator.gate import bearer, daraja, interruption, json_body, rules
from payments.simulator.records import Entry
from payments.simulator.refusals import Refused
from payments.simulator.wire_c2b import QrRequest, SimulatedPayment
from payments.simulator.world import world


PULL_WINDOW = timedelta(hours=48)
PULLED, NOTHING_NEW = "1000", "1001"
QR_BORDER = 4


@daraja("POST")
def register(request: HttpRequest, version: int) -> HttpResponse:
    """Keep the addresses that hear of payments."""
    world.journal.count("registrations")
    answer = interruption("register_error")
    if answer is not None:
        return answer
    consumer_key = bearer(request, refusals.C2B_TOKEN)
    words = world.faults.take("c2b_url_words")
    strict = replace(rules(), url_words=words)
    body = json_body(request, "ShortCode")
    registration = wire_c2b.read_registration(body, version=version, rules=strict)
    account = _organisation(consumer_key, registration.shortcode)
    once = world.faults.take("c2b_production")
    if not world.subscriptions.register(account, registration, once=once):
        raise Refused(refusals.URLS_REGISTERED)
    return _accepted()


@daraja("POST")
def simulate(request: HttpRequest) -> HttpResponse:
    """Play a customer who pays by hand; the sandbox has this, production has not."""
    if world.faults.take("c2b_production"):
        raise Refused(refusals.NOT_FOUND)
    consumer_key = bearer(request, refusals.C2B_TOKEN)
    payment = wire_c2b.read_simulated(json_body(request, "ShortCode"))
    account = _organisation(consumer_key, payment.shortcode)
    if payment.command != account.transaction_type:
        raise refusals.invalid("CommandID")
    # Validation may take its time; the answer does not wait for it.
    threading.Thread(target=_play, args=(account, payment), daemon=True).start()
    return _accepted()


@daraja("POST")
def qr_code(request: HttpRequest) -> HttpResponse:
    """Draw a QR code; what is paid by it comes as C2B only."""
    answer = interruption("qr_error")
    if answer is not None:
        return answer
    bearer(request)
    wanted = wire_c2b.read_qr(json_body(request, "MerchantName"))
    conversation_id = ids.conversation_id(world.clock.now_in_nairobi())
    as_documented = world.faults.take("qr_response_code") == "AG"
    return JsonResponse(
        {
            "ResponseCode": conversation_id if as_documented else "00",
            "RequestID": ids.request_id(),
            "ResponseDescription": "QR Code Successfully Generated.",
            "QRCode": base64.b64encode(_drawn(wanted)).decode(),
        }
    )


@daraja("POST")
def pull_register(request: HttpRequest) -> HttpResponse:
    """Let a merchant pull; a second time changes nothing."""
    consumer_key = bearer(request, refusals.PULL_TOKEN)
    shortcode = wire_c2b.read_pull_registration(
        json_body(request, "ShortCode"), rules=rules()
    )
    account = _puller(consumer_key, shortcode)
    is_new = world.subscriptions.allow_pull(account)
    old = world.faults.take("pull_old_keys")
    said = "Registered Successfully" if is_new else "Already Registered"
    return JsonResponse(
        {
            "ResponseRefID": ids.request_id(),
            "Response Status" if old else "ResponseStatus": (
                PULLED if is_new else NOTHING_NEW
            ),
            "ShortCode": shortcode,
            "Response Description" if old else "ResponseDescription": (
                f"ShortCode {shortcode} {said}"
            ),
        }
    )


@daraja("POST")
def pull(request: HttpRequest) -> HttpResponse:
    """Give a page of what customers paid in the last 48 hours, oldest first."""
    world.journal.count("pulls")
    time.sleep(world.faults.take("pull_slow_s"))
    answer = interruption("pull_error")
    if answer is not None:
        return answer
    consumer_key = bearer(request, refusals.PULL_TOKEN)
    wanted = wire_c2b.read_pull(json_body(request, "ShortCode"))
    account = _puller(consumer_key, wanted.shortcode)
    if not world.subscriptions.may_pull(account):
        raise Refused(refusals.PULL_SHORTCODE)
    since = max(wanted.since, world.clock.now() - PULL_WINDOW)
    found = [
        entry
        for entry in world.book.payments(account)
        if since <= entry.at and entry.at.replace(microsecond=0) <= wanted.until
    ]
    size = max(1, int(world.faults.take("pull_page_size")))
    page = found[wanted.offset : wanted.offset + size]
    style = world.faults.take("pull_time")
    return JsonResponse(
        {
            "ResponseRefID": ids.request_id(),
            "ResponseCode": PULLED if page else NOTHING_NEW,
            "ResponseMessage": "Success" if page else "No transactions found",
            "Response": [[_row(entry, style) for entry in page]],
        }
    )


def _organisation(consumer_key: str, shortcode: str) -> Account:
    account = world.bank.organisation(consumer_key, shortcode)
    if account is None:
        raise refusals.invalid("ShortCode")
    return account


def _puller(consumer_key: str, shortcode: str) -> Account:
    account = world.bank.organisation(consumer_key, shortcode)
    if account is None:
        raise Refused(refusals.PULL_SHORTCODE)
    return account


def _accepted() -> HttpResponse:
    return JsonResponse(
        {
            "OriginatorCoversationID": ids.request_id(),  # Daraja's own spelling
            "ResponseCode": "0",
            "ResponseDescription": "Success",
        }
    )


def _play(account: Account, payment: SimulatedPayment) -> None:
    try:
        world.payments.pay(
            account,
            phone=payment.phone,
            amount=payment.amount,
            reference=payment.reference,
        )
    except (Refusal, Declined):
        return  # the phone has an SMS; Daraja tells the merchant nothing


def _drawn(wanted: QrRequest) -> bytes:
    # What Safaricom encodes is not published; the virtual phone's form takes these.
    plain = "|".join(
        (wanted.purpose, wanted.number, wanted.reference, str(wanted.amount))
    )
    code = segno.make_qr(plain)
    modules = code.symbol_size(scale=1, border=QR_BORDER)[0]
    image = io.BytesIO()
    code.save(image, kind="png", scale=max(1, wanted.size // modules), border=QR_BORDER)
    return image.getvalue()


def _row(entry: Entry, style: str) -> dict[str, Any]:
    word = "c2b-buy-goods-debit" if entry.account.kind == TILL else "c2b-pay-bill-debit"
    return {
        "transactionId": entry.receipt,
        "trxDate": _trx_date(entry, style),
        "msisdn": int(entry.phone),
        "sender": "MPESA",
        "transactiontype": word,
        "billreference": entry.bill_reference,
        "amount": f"{entry.amount:.2f}",
        "organizationname": entry.account.name,
    }


def _trx_date(entry: Entry, style: str) -> str:
    if style == "utc":
        return f"{entry.at:%Y-%m-%dT%H:%M:%S}Z"
    zone = "Z" if style == "eat" else "+03:00"
    return f"{entry.at.astimezone(EAST_AFRICA):%Y-%m-%dT%H:%M:%S}{zone}"
