"""Daraja's verbs for an organisation, against every answer that is known."""

import base64
import json
import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from django.db import transaction

from payments.enums import FailureReason
from payments.gateways import daraja_organisation as module
from payments.gateways.base import GatewayError
from payments.gateways.daraja_organisation import DarajaOrganisation, pull_pages
from payments.gateways.organisation import (
    Acknowledged,
    BalanceRequest,
    C2bUrls,
    Initiator,
    PullQuery,
    PullRegistration,
    QrCode,
    QrRequest,
    Registered,
    ResultUrls,
    ReversalRequest,
    StatusRequest,
)
from payments.gateways.organisation_answers import PNG
from payments.notices_pull import PullPage, PullRow
from tests.payments.gateways.conftest import BASE, credentials
from tests.payments.gateways.test_security_credential import KEY, PEM


URLS = ResultUrls(
    result="https://duka.example.co.ke/hooks/result/9f3c",
    timeout="https://duka.example.co.ke/hooks/timeout/9f3c",
)
INITIATOR = Initiator("testapi", "Safaricom999!*!", PEM)
STATUS = StatusRequest(URLS, receipt="UAE5B2K9QT")
REVERSAL = ReversalRequest(URLS, receipt="UAE5B2K9QT", amount=250)
BALANCE = BalanceRequest(URLS)
QR = QrRequest("DUKA", "K7Q2M9", 250)
C2B_URLS = C2bUrls(
    confirmation="https://duka.example.co.ke/hooks/c2b/9f3c",
    validation="https://duka.example.co.ke/hooks/c2b-check/9f3c",
)
PULL_REGISTRATION = PullRegistration("254708374149", "https://duka.example.co.ke/h")
QUERY = PullQuery(
    datetime(2026, 1, 14, 5, tzinfo=UTC), datetime(2026, 1, 14, 6, tzinfo=UTC)
)
TAKEN = {
    "OriginatorConversationID": "f1e2-4b95-a71d",
    "ConversationID": "AG_20260114_2010a1b2c3",
    "ResponseCode": "0",
    "ResponseDescription": "Accept the service request successfully.",
}
LIMIT_S = 5


@pytest.fixture
def organisation(daraja):
    return DarajaOrganisation(daraja)


# One entry for each verb: how it is called, and where it goes.
VERBS = {
    "status": (
        lambda o, a: o.transaction_status(a, INITIATOR, STATUS, limit_s=LIMIT_S),
        module.STATUS_PATH,
    ),
    "reverse": (
        lambda o, a: o.reverse(a, INITIATOR, REVERSAL, limit_s=LIMIT_S),
        module.REVERSAL_PATH,
    ),
    "balance": (
        lambda o, a: o.account_balance(a, INITIATOR, BALANCE, limit_s=LIMIT_S),
        module.BALANCE_PATH,
    ),
    "register c2b": (
        lambda o, a: o.register_c2b(a, C2B_URLS, limit_s=LIMIT_S),
        module.C2B_REGISTER_PATH,
    ),
    "register pull": (
        lambda o, a: o.register_pull(a, PULL_REGISTRATION, limit_s=LIMIT_S),
        module.PULL_REGISTER_PATH,
    ),
    "pull": (lambda o, a: o.pull(a, QUERY, limit_s=LIMIT_S), module.PULL_QUERY_PATH),
    "qr": (lambda o, a: o.qr(a, QR, limit_s=LIMIT_S), module.QR_PATH),
}
WITH_RESULT = {name: VERBS[name] for name in ("status", "reverse", "balance")}


def each(verbs):
    return pytest.mark.parametrize(("call", "path"), verbs.values(), ids=verbs)


def sent(wire):
    """Return what was posted last."""
    return json.loads(wire.calls[-1].request.body)


def error_of(call, organisation, account):
    with pytest.raises(GatewayError) as caught:
        call(organisation, account)
    return caught.value


# What is sent, and what an acceptance says.


def signed_part(body):
    """Take out what every request with a result has; the password must fit."""
    credential = body.pop("SecurityCredential")
    secret = KEY.decrypt(base64.b64decode(credential), padding.PKCS1v15())
    assert secret.decode() == INITIATOR.password
    assert body.pop("Initiator") == "testapi"
    assert body.pop("ResultURL") == URLS.result
    assert body.pop("QueueTimeOutURL") == URLS.timeout
    return body


@each(WITH_RESULT)
def test_a_request_with_a_result_gives_both_ids(
    organisation, account, wire, call, path
):
    wire.post(BASE + path, json=TAKEN)

    assert call(organisation, account) == Acknowledged(
        conversation_id="AG_20260114_2010a1b2c3",
        originator_conversation_id="f1e2-4b95-a71d",
    )
    assert wire.calls[-1].request.headers["Authorization"] == "Bearer token-1"


def test_a_question_by_receipt(organisation, account, wire):
    wire.post(BASE + module.STATUS_PATH, json=TAKEN)

    organisation.transaction_status(account, INITIATOR, STATUS, limit_s=LIMIT_S)

    assert signed_part(sent(wire)) == {
        "CommandID": "TransactionStatusQuery",
        "TransactionID": "UAE5B2K9QT",
        "PartyA": "174379",
        "IdentifierType": "4",
        "Remarks": "Status",
        "Occasion": "Status",
    }


def test_a_question_by_conversation(organisation, account, wire):
    wire.post(BASE + module.STATUS_PATH, json=TAKEN)
    request = StatusRequest(URLS, original_conversation_id="f1e2", remarks="x" * 200)

    organisation.transaction_status(account, INITIATOR, request, limit_s=LIMIT_S)

    assert signed_part(sent(wire)) == {
        "CommandID": "TransactionStatusQuery",
        "OriginalConversationID": "f1e2",
        "PartyA": "174379",
        "IdentifierType": "4",
        "Remarks": "x" * 100,
        "Occasion": "x" * 100,
    }


def test_a_reversal_spells_its_receiver_as_mpesa_does(organisation, wire):
    wire.post(BASE + module.REVERSAL_PATH, json=TAKEN)
    till = credentials(is_till=True, shortcode="300400", party_b="5123456")

    organisation.reverse(till, INITIATOR, REVERSAL, limit_s=LIMIT_S)

    assert signed_part(sent(wire)) == {
        "CommandID": "TransactionReversal",
        "TransactionID": "UAE5B2K9QT",
        "Amount": 250,
        "ReceiverParty": "300400",
        "RecieverIdentifierType": "11",
        "Remarks": "Refund",
    }


def test_a_question_about_balances(organisation, account, wire):
    wire.post(BASE + module.BALANCE_PATH, json=TAKEN)

    organisation.account_balance(account, INITIATOR, BALANCE, limit_s=LIMIT_S)

    assert signed_part(sent(wire)) == {
        "CommandID": "AccountBalance",
        "PartyA": "174379",
        "IdentifierType": "4",
        "Remarks": "Balance",
    }


@pytest.mark.parametrize(
    ("completes", "kind"), [(True, "Completed"), (False, "Cancelled")]
)
@pytest.mark.parametrize("code", ["0", 0])
def test_urls_are_registered(organisation, account, wire, completes, kind, code):
    wire.post(
        BASE + module.C2B_REGISTER_PATH,
        json={"OriginatorCoversationID": "6e86", "ResponseCode": code},
    )
    urls = C2bUrls(C2B_URLS.confirmation, C2B_URLS.validation, completes)

    found = organisation.register_c2b(account, urls, limit_s=LIMIT_S)

    assert found == Registered(already=False)
    assert sent(wire) == {
        "ShortCode": "174379",
        "ResponseType": kind,
        "ConfirmationURL": C2B_URLS.confirmation,
        "ValidationURL": C2B_URLS.validation,
    }


def test_urls_that_were_registered_before_are_no_failure(organisation, account, wire):
    wire.post(
        BASE + module.C2B_REGISTER_PATH,
        status=500,
        json={
            "requestId": "1c5b",
            "errorCode": "500.003.1001",
            "errorMessage": "Urls are already registered.",
        },
    )

    found = organisation.register_c2b(account, C2B_URLS, limit_s=LIMIT_S)

    assert found == Registered(already=True)


def test_urls_that_only_safaricom_can_change_are_told(organisation, account, wire):
    wire.post(
        BASE + module.C2B_REGISTER_PATH,
        status=500,
        json={
            "errorCode": "500.003.1001",
            "errorMessage": "Duplicate notification info, SP ID 12345",
        },
    )

    error = error_of(VERBS["register c2b"][0], organisation, account)

    assert (error.certain, error.may_retry) == (True, False)
    assert error.reason is FailureReason.SHOP_ACCOUNT
    assert "duplicate notification info" in str(error)


@pytest.mark.parametrize("key", ["ResponseStatus", "Response Status"])
@pytest.mark.parametrize(
    ("code", "already"), [("1000", False), ("1001", True), (1001, True)]
)
def test_pulling_is_registered(organisation, account, wire, key, code, already):
    wire.post(
        BASE + module.PULL_REGISTER_PATH,
        json={"ResponseRefID": "18633", key: code, "ShortCode": "174379"},
    )

    found = organisation.register_pull(account, PULL_REGISTRATION, limit_s=LIMIT_S)

    assert found == Registered(already=already)
    assert sent(wire) == {
        "ShortCode": "174379",
        "RequestType": "Pull",
        "NominatedNumber": "254708374149",
        "CallBackURL": "https://duka.example.co.ke/h",
    }


@pytest.mark.parametrize("code", ["00", "AG_20260114_2010", None])
def test_a_picture_is_a_picture_whatever_the_code(organisation, account, wire, code):
    png = PNG + b"rest"
    wire.post(
        BASE + module.QR_PATH,
        json={"ResponseCode": code, "QRCode": base64.b64encode(png).decode()},
    )

    assert organisation.qr(account, QR, limit_s=LIMIT_S) == QrCode(png)
    assert sent(wire) == {
        "MerchantName": "DUKA",
        "RefNo": "K7Q2M9",
        "Amount": 250,
        "TrxCode": "PB",
        "CPI": "174379",
        "Size": "300",
    }


def test_a_picture_for_a_till_names_the_till(organisation, wire):
    wire.post(BASE + module.QR_PATH, json={"QRCode": base64.b64encode(PNG).decode()})
    till = credentials(is_till=True, shortcode="300400", party_b="5123456")

    organisation.qr(till, QR, limit_s=LIMIT_S)

    body = sent(wire)
    assert (body["TrxCode"], body["CPI"]) == ("BG", "5123456")


@pytest.mark.parametrize("picture", ["", "%%%", "aGVsbG8=", None, 7, "☃"], ids=repr)
def test_what_is_no_picture_is_unknown(organisation, account, wire, picture):
    wire.post(BASE + module.QR_PATH, json={"ResponseCode": "00", "QRCode": picture})

    assert not error_of(VERBS["qr"][0], organisation, account).certain


# Pulling.


def pulled(*receipts, code="1000"):
    rows = [{"transactionId": receipt, "amount": "250.10"} for receipt in receipts]
    return {"ResponseCode": code, "Response": [rows]}


def read(*receipts):
    return PullPage(
        "1000", tuple(PullRow(receipt, Decimal("250.10")) for receipt in receipts)
    )


def test_a_page_is_asked_for_in_east_africa_time(organisation, account, wire):
    wire.post(BASE + module.PULL_QUERY_PATH, json=pulled("UAE5B2K9QT"))
    query = PullQuery(QUERY.start, QUERY.end, offset=7)

    found = organisation.pull(account, query, limit_s=LIMIT_S)

    assert found == read("UAE5B2K9QT")
    assert sent(wire) == {
        "ShortCode": "174379",
        "StartDate": "2026-01-14 08:00:00",
        "EndDate": "2026-01-14 09:00:00",
        "OffSetValue": "7",
    }


def test_a_page_may_be_larger_than_other_answers(organisation, account, wire):
    receipts = [f"UAE{number:07}" for number in range(3000)]
    wire.post(BASE + module.PULL_QUERY_PATH, json=pulled(*receipts))

    found = organisation.pull(account, QUERY, limit_s=LIMIT_S)

    assert found == read(*receipts)


@pytest.mark.parametrize(
    "answer", [{}, {"ResponseCode": "500"}, {"ResponseCode": "1000", "Response": "x"}]
)
def test_a_page_that_means_nothing_is_unknown(organisation, account, wire, answer):
    wire.post(BASE + module.PULL_QUERY_PATH, json=answer)

    assert not error_of(VERBS["pull"][0], organisation, account).certain


class Pages:
    """A gateway that answers with these pages, and remembers the offsets."""

    def __init__(self, *pages):
        self.pages = list(pages)
        self.offsets = []

    def pull(self, account, query, *, limit_s):
        self.offsets.append(query.offset)
        page = self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]
        if isinstance(page, Exception):
            raise page
        return page


def all_pages(gateway, account):
    return list(pull_pages(gateway, account, QUERY.start, QUERY.end, limit_s=LIMIT_S))


def test_pages_follow_by_offset_until_one_is_empty(account):
    first, second = read("UAE5B2K9Q1", "UAE5B2K9Q2"), read("UAE5B2K9Q3")
    gateway = Pages(first, second, PullPage("1001"))

    assert all_pages(gateway, account) == [first, second]
    assert gateway.offsets == [0, 2, 3]


def test_a_gateway_that_ignores_the_offset_comes_to_an_end(account):
    page = read("UAE5B2K9Q1", "UAE5B2K9Q2")

    assert all_pages(Pages(page), account) == [page]


def test_a_page_that_fails_leaves_the_pages_before_it(account):
    first = read("UAE5B2K9Q1")
    pages = pull_pages(
        Pages(first, GatewayError("no", certain=False)),
        account,
        QUERY.start,
        QUERY.end,
        limit_s=LIMIT_S,
    )

    assert next(pages) == first
    with pytest.raises(GatewayError):
        next(pages)


def test_pages_without_end_are_told(account, monkeypatch):
    monkeypatch.setattr(module, "MOST_PAGES", 3)
    gateway = Pages(*(read(f"UAE5B2K9Q{number}") for number in range(9)))

    with pytest.raises(GatewayError, match="too many pages"):
        all_pages(gateway, account)
    assert gateway.offsets == [0, 1, 2]


# The simulator's certificate.


def test_the_certificate_is_fetched(organisation, wire):
    wire.get(BASE + module.CERTIFICATE_PATH, body=PEM)

    assert organisation.certificate(limit_s=LIMIT_S) == PEM
    assert "Authorization" not in wire.calls[-1].request.headers


def test_the_certificate_is_kept_for_a_moment(organisation, wire, monkeypatch):
    wire.get(BASE + module.CERTIFICATE_PATH, body=PEM)
    wire.get(BASE + module.CERTIFICATE_PATH, body=PEM + b"\n")

    assert organisation.certificate(limit_s=LIMIT_S) == PEM
    assert organisation.certificate(limit_s=LIMIT_S) == PEM
    later = time.monotonic() + module.CERTIFICATE_KEPT_S
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    assert organisation.certificate(limit_s=LIMIT_S) == PEM + b"\n"


@pytest.mark.parametrize(
    ("status", "body"), [(404, PEM), (200, b"<html>"), (200, b""), (302, PEM)]
)
def test_a_certificate_that_is_none_is_told(organisation, wire, status, body):
    wire.get(BASE + module.CERTIFICATE_PATH, status=status, body=body)

    with pytest.raises(GatewayError, match=f"no certificate: HTTP {status}") as caught:
        organisation.certificate(limit_s=LIMIT_S)
    assert caught.value.certain


def test_a_certificate_that_cannot_be_reached_is_told(
    organisation, settings, closed_port
):
    settings.MPESA_BASE_URL = closed_port

    with pytest.raises(GatewayError, match="no certificate") as caught:
        organisation.certificate(limit_s=LIMIT_S)
    assert caught.value.certain


# Refused for certain, or unknown.


def envelope(code, message="No"):
    return {"requestId": "1c5b", "errorCode": code, "errorMessage": message}


@each(VERBS)
@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (400, envelope("400.002.02", "Bad Request - Invalid X"), "SHOP_ACCOUNT"),
        (400, envelope("400.002.05"), "SHOP_ACCOUNT"),
        (404, envelope("404.001.01"), "SHOP_ACCOUNT"),
        (404, envelope("404.002.01"), "SHOP_ACCOUNT"),
        (405, envelope("405.001"), "SHOP_ACCOUNT"),
        (500, envelope("500.001.1001", "Merchant does not exist"), "SHOP_ACCOUNT"),
        (401, {"fault": "no apiproduct match found"}, "SHOP_ACCOUNT"),
        (500, envelope("500.003.02", "System is busy."), "MPESA_BUSY"),
        (500, envelope("500.003.03", "Quota Violation"), "MPESA_BUSY"),
        (429, {}, "MPESA_BUSY"),
    ],
)
def test_listed_refusals_are_certain(
    organisation, account, wire, call, path, status, answer, reason
):
    wire.post(BASE + path, status=status, json=answer)

    error = error_of(call, organisation, account)

    assert error.certain
    assert error.reason is FailureReason[reason]
    assert error.may_retry is (reason == "MPESA_BUSY")


@each(VERBS)
@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (500, envelope("500.001.1001", "Internal")),
        (500, envelope("500.003.1001", "Internal Server Error")),
        (500, envelope("500.002.1001", "Duplicate OriginatorConversationID.")),
        (503, {}),
        (403, {}),
        (200, {}),
        (200, {"ResponseCode": "1"}),
        (200, {"ResponseCode": True, "ResponseStatus": True}),
        (200, envelope("999.999")),
        (200, TAKEN | envelope("999.999")),
        (302, TAKEN),
    ],
)
def test_other_answers_are_unknown(
    organisation, account, wire, call, path, status, answer
):
    wire.post(BASE + path, status=status, json=answer)

    error = error_of(call, organisation, account)

    assert not error.certain
    assert error.may_retry


@each(VERBS)
@pytest.mark.parametrize("body", ["<html>Denied</html>", "", "[]", "null", "NaN"])
def test_what_is_no_json_object_is_unknown(
    organisation, account, wire, call, path, body
):
    wire.post(BASE + path, body=body)

    assert not error_of(call, organisation, account).certain


@each(WITH_RESULT)
@pytest.mark.parametrize("key", ["ConversationID", "OriginatorConversationID"])
@pytest.mark.parametrize("value", [None, "", 7, "x" * 65, "a\nb"], ids=repr)
def test_an_acceptance_without_both_ids_is_unknown(
    organisation, account, wire, call, path, key, value
):
    wire.post(BASE + path, json=TAKEN | {key: value})

    assert not error_of(call, organisation, account).certain


@each(VERBS)
def test_a_token_that_was_refused_is_renewed_once(
    organisation, account, wire, call, path
):
    refused = envelope("404.001.03", "Invalid Access Token")
    wire.post(BASE + path, status=404, json=refused)

    error = error_of(call, organisation, account)

    assert (error.certain, error.may_retry) == (True, False)
    posts = [c for c in wire.calls if c.request.method == "POST"]
    assert len(posts) == 2


@each(VERBS)
def test_no_connection_is_certain(
    organisation, account, settings, closed_port, call, path
):
    settings.MPESA_BASE_URL = closed_port

    error = error_of(call, organisation, account)

    assert error.certain
    assert error.reason is FailureReason.MPESA_UNREACHABLE


@each(VERBS)
@pytest.mark.parametrize("habit", ["reset", "hang"])
def test_a_connection_that_breaks_after_the_request_is_unknown(
    organisation, account, server, monkeypatch, call, path, habit
):
    server.habit = getattr(server, habit)
    monkeypatch.setitem(globals(), "LIMIT_S", 0.3)

    assert not error_of(call, organisation, account).certain
    assert server.posts == 1


@each(WITH_RESULT)
def test_without_a_certificate_nothing_is_sent(
    organisation, account, wire, monkeypatch, call, path
):
    monkeypatch.setitem(globals(), "INITIATOR", Initiator("testapi", "secret", b"?"))

    error = error_of(call, organisation, account)

    assert (error.certain, error.may_retry) == (True, False)
    assert error.reason is FailureReason.SHOP_ACCOUNT
    assert len(wire.calls) == 0


def test_an_echo_of_our_address_is_redacted(organisation, account, wire):
    wire.post(
        BASE + module.REVERSAL_PATH,
        status=400,
        json=envelope("400.002.02", f"Bad Request - Invalid {URLS.result}"),
    )

    error = error_of(VERBS["reverse"][0], organisation, account)

    assert "9f3c" not in str(error)
    assert "[token]" in str(error)


@each(VERBS)
@pytest.mark.django_db(transaction=True)
def test_no_verb_is_used_inside_a_transaction(organisation, account, wire, call, path):
    wire.post(BASE + path, json=TAKEN)

    with transaction.atomic(), pytest.raises(RuntimeError, match="transaction"):
        call(organisation, account)


# The values themselves.


def test_no_secret_is_in_a_repr():
    shown = repr((INITIATOR, STATUS, REVERSAL, BALANCE, C2B_URLS, PULL_REGISTRATION))

    for secret in ("Safaricom999", "BEGIN", "9f3c", "254708374149", "hooks"):
        assert secret not in shown


@pytest.mark.parametrize(
    "facts", [{}, {"receipt": "UAE5B2K9QT", "original_conversation_id": "x"}]
)
def test_a_question_names_one_thing(facts):
    with pytest.raises(ValueError, match="a receipt or"):
        StatusRequest(URLS, **facts)


@pytest.mark.parametrize(("receipt", "amount"), [("", 1), ("UAE5B2K9QT", 0)])
def test_a_reversal_needs_a_receipt_and_a_shilling(receipt, amount):
    with pytest.raises(ValueError, match="at least one shilling"):
        ReversalRequest(URLS, receipt, amount)
