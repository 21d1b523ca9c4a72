"""Daraja's client against every shape of answer that is known."""

import base64
import json
import ssl
import time
from datetime import UTC, datetime

import pytest
import requests
from django.db import transaction
from urllib3.exceptions import (
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    SSLError,
)

from payments.enums import FailureReason
from payments.gateways import daraja as daraja_module
from payments.gateways.base import Answered, GatewayError, PushAccepted, QueryAnswer
from smartduka.lib import clock
from tests.payments.gateways.conftest import (
    BASE,
    PUSH_PATH,
    QUERY_PATH,
    TOKEN_PATH,
    credentials,
)


ACCEPTED = {
    "MerchantRequestID": "2654-4b64-97ff-b827b542881d3130",
    "CheckoutRequestID": "ws_CO_14012026093015482708374149",
    "ResponseCode": "0",
    "ResponseDescription": "Success. Request accepted for processing",
    "CustomerMessage": "Success. Request accepted for processing",
}
PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"
CHECKOUT_ID = ACCEPTED["CheckoutRequestID"]
HTML = "<html><head><title>Incapsula</title></head><body>Request denied</body></html>"


def envelope(code, message):
    return {"requestId": "1c5b-4ba8", "errorCode": code, "errorMessage": message}


# The password.


def test_password_is_shortcode_passkey_and_time_in_base64():
    made = daraja_module.password("174379", PASSKEY, "20260114093015")

    assert made == (
        "MTc0Mzc5YmZiMjc5ZjlhYTliZGJjZjE1OGU5N2RkNzFhNDY3Y2QyZTBjODkzMDU5YjEwZjc4ZTZi"
        "NzJhZGExZWQyYzkxOTIwMjYwMTE0MDkzMDE1"
    )


def test_password_of_the_official_sample_decodes_to_its_parts():
    made = daraja_module.password("174379", PASSKEY, "20210628092408")

    assert base64.b64decode(made).decode() == "174379" + PASSKEY + "20210628092408"


@pytest.mark.parametrize(
    ("moment", "stamp"),
    [
        (datetime(2026, 1, 14, 6, 30, 15, tzinfo=UTC), "20260114093015"),
        (datetime(2026, 12, 31, 21, 30, tzinfo=UTC), "20270101003000"),
        (datetime(2026, 7, 1, 9, 0, tzinfo=clock.NAIROBI), "20260701090000"),
    ],
    ids=["morning", "new year", "already there"],
)
def test_timestamp_is_east_africa_time(moment, stamp):
    assert daraja_module.timestamp(moment) == stamp


# What is sent.


@pytest.fixture
def noon(monkeypatch):
    moment = datetime(2026, 1, 14, 6, 30, 15, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: moment)


def test_push_sends_what_daraja_wants(daraja, account, ask, wire, noon):
    wire.post(BASE + PUSH_PATH, json=ACCEPTED)

    assert daraja.push(account, ask) == PushAccepted(
        merchant_request_id=ACCEPTED["MerchantRequestID"],
        checkout_request_id=CHECKOUT_ID,
    )

    token_call, push_call = wire.calls
    basic = f"{account.consumer_key}:{account.consumer_secret}".encode()
    assert token_call.request.headers["Authorization"] == (
        "Basic " + base64.b64encode(basic).decode()
    )
    assert token_call.request.params == {"grant_type": "client_credentials"}
    assert push_call.request.headers["Authorization"] == "Bearer token-1"
    assert push_call.request.headers["Content-Type"] == "application/json"
    assert json.loads(push_call.request.body) == {
        "BusinessShortCode": "174379",
        "Password": daraja_module.password("174379", "passkey", "20260114093015"),
        "Timestamp": "20260114093015",
        "TransactionType": "CustomerPayBillOnline",
        "Amount": 250,
        "PartyA": "254708374149",
        "PartyB": "174379",
        "PhoneNumber": "254708374149",
        "CallBackURL": "https://duka.example.co.ke/hooks/stk/9f3c",
        "AccountReference": "K7Q2M9AB1",
        "TransactionDesc": "Sale",
    }


def test_push_for_a_till_names_store_and_till(daraja, ask, wire):
    till = credentials(is_till=True, shortcode="600300", party_b="5600301")
    wire.post(BASE + PUSH_PATH, json=ACCEPTED)

    daraja.push(till, ask)

    body = json.loads(wire.calls[1].request.body)
    assert body["TransactionType"] == "CustomerBuyGoodsOnline"
    assert (body["BusinessShortCode"], body["PartyB"]) == ("600300", "5600301")
    password = base64.b64decode(body["Password"]).decode()
    assert password == "600300" + "passkey" + body["Timestamp"]


def test_query_sends_what_daraja_wants(daraja, account, wire, noon):
    wire.post(BASE + QUERY_PATH, json=answered("0"))

    daraja.query(account, CHECKOUT_ID, limit_s=3)

    assert json.loads(wire.calls[1].request.body) == {
        "BusinessShortCode": "174379",
        "Password": daraja_module.password("174379", "passkey", "20260114093015"),
        "Timestamp": "20260114093015",
        "CheckoutRequestID": CHECKOUT_ID,
    }


def test_time_outs_are_those_of_the_contract(daraja, account, ask, wire, monkeypatch):
    seen = []
    original = daraja._session.post

    def post(*args, **kwargs):
        seen.append((kwargs["timeout"], kwargs["allow_redirects"]))
        return original(*args, **kwargs)

    monkeypatch.setattr(daraja._session, "post", post)
    wire.post(BASE + PUSH_PATH, json=ACCEPTED)
    wire.post(BASE + QUERY_PATH, json=answered("0"))

    daraja.push(account, ask)
    daraja.query(account, CHECKOUT_ID, limit_s=2)

    assert seen == [((3, 10), False), ((2, 2), False)]


# What a push is told.


def pushed(daraja, account, ask):
    with pytest.raises(GatewayError) as refusal:
        daraja.push(account, ask)
    error = refusal.value
    return error.certain, error.reason, error.may_retry, error.wait_s


SHOP = (True, FailureReason.SHOP_ACCOUNT, False, 0)
PHONE = (True, FailureReason.PROMPT_NOT_SENT, False, 0)
BUSY = (True, FailureReason.MPESA_BUSY, True, 0)
UNKNOWN = (False, FailureReason.OTHER, True, 0)
LOCK = (True, FailureReason.TOO_SOON, True, 60)
REFUSALS = [
    ("shortcode", 400, "400.002.02", "Bad Request - Invalid BusinessShortCode", SHOP),
    ("callback url", 400, "400.002.02", "Bad Request - Invalid CallBackURL", SHOP),
    ("amount", 400, "400.002.02", "Bad Request - Invalid Amount", SHOP),
    ("remarks", 400, "400.002.02", "Bad Request - Invalid Remarks", SHOP),
    ("phone", 400, "400.002.02", "Bad Request - Invalid PhoneNumber", PHONE),
    ("spaced phone", 400, "400.002.02", "Invalid Phone Number", PHONE),
    ("payload", 400, "400.002.05", "Invalid Request Payload", SHOP),
    ("bad request", 400, "400.003.02", "Bad Request", SHOP),
    ("not found", 404, "404.001.01", "Resource not found", SHOP),
    ("not found 3", 404, "404.003.01", "Resource not found", SHOP),
    ("header", 404, "404.001.04", "Invalid Authentication Header", SHOP),
    ("verb", 405, "405.001", "GET Method Not Allowed", SHOP),
    ("merchant", 500, "500.001.1001", "Merchant does not exist", SHOP),
    (
        "credentials",
        500,
        "500.001.1001",
        "[MerchantValidate] - Wrong credentials",
        SHOP,
    ),
    (
        "lock",
        500,
        "500.001.1001",
        "Unable to lock subscriber, a transaction is already in process for the"
        " current subscriber",
        LOCK,
    ),
    ("lock, shouted", 500, "500.001.1001", "UNABLE TO LOCK SUBSCRIBER", LOCK),
    (
        "busy",
        500,
        "500.003.02",
        "System is busy. Please try again in few minutes.",
        BUSY,
    ),
    ("spike", 500, "500.003.02", "Error Occurred: Spike Arrest Violation", BUSY),
    ("quota", 500, "500.003.03", "Quota Violation", BUSY),
    ("internal", 500, "500.003.1001", "Internal Server Error", UNKNOWN),
    ("in process", 500, "500.001.1001", "The transaction is being processed", UNKNOWN),
    ("unlisted", 500, "500.009.99", "Something new", UNKNOWN),
    ("unlisted 400", 400, "400.009.99", "Something new", UNKNOWN),
    ("in a 200", 200, "400.002.02", "Bad Request - Invalid Amount", SHOP),
    ("unlisted in a 200", 200, "500.009.99", "Something new", UNKNOWN),
]


@pytest.mark.parametrize(
    ("status", "code", "message", "meaning"),
    [row[1:] for row in REFUSALS],
    ids=[row[0] for row in REFUSALS],
)
@pytest.mark.parametrize("casing", ["camel", "pascal"])
def test_a_refusal_of_a_push_means(
    daraja, account, ask, wire, casing, status, code, message, meaning
):
    body = envelope(code, message)
    if casing == "pascal":
        body = {key[0].upper() + key[1:]: value for key, value in body.items()}
    wire.post(BASE + PUSH_PATH, status=status, json=body)

    assert pushed(daraja, account, ask) == meaning

    assert wire.assert_call_count(BASE + PUSH_PATH, 1)


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (403, HTML, UNKNOWN),
        (503, HTML, UNKNOWN),
        (504, "", UNKNOWN),
        (200, HTML, UNKNOWN),
        (200, "", UNKNOWN),
        (200, "[]", UNKNOWN),
        (200, "[" * 100_000, UNKNOWN),
        (200, '{"ResponseCode": "0"', UNKNOWN),
        (302, "", UNKNOWN),
        (429, "slow down", BUSY),
        (200, json.dumps(ACCEPTED | {"ResponseCode": "1"}), UNKNOWN),
        (201, json.dumps(ACCEPTED), UNKNOWN),
        (500, json.dumps(ACCEPTED), UNKNOWN),
        (200, json.dumps(ACCEPTED | {"CheckoutRequestID": ""}), UNKNOWN),
        (200, json.dumps(ACCEPTED | {"CheckoutRequestID": 7}), UNKNOWN),
        (200, json.dumps(ACCEPTED | {"CheckoutRequestID": "x" * 65}), UNKNOWN),
        (200, json.dumps(ACCEPTED | {"CheckoutRequestID": "a\0b"}), UNKNOWN),
        (200, json.dumps(ACCEPTED | envelope("500.009.99", "?")), UNKNOWN),
    ],
    ids=[
        "403 html", "503 html", "504 empty", "200 html", "200 empty", "200 array",
        "200 deep", "200 cut", "redirect", "429", "response code 1", "201", "500",
        "empty id", "number as id", "long id", "odd id", "with an error code",
    ],
)  # fmt: skip
def test_nonsense_is_never_an_acceptance_nor_a_failure(
    daraja, account, ask, wire, status, body, meaning
):
    wire.post(BASE + PUSH_PATH, status=status, body=body)

    assert pushed(daraja, account, ask) == meaning

    assert wire.assert_call_count(BASE + PUSH_PATH, 1)


@pytest.mark.parametrize(
    ("changes", "merchant"),
    [
        ({"ResponseCode": 0}, ACCEPTED["MerchantRequestID"]),
        ({"MerchantRequestID": None}, ""),
        ({"MerchantRequestID": "a\nb"}, ""),
        ({"MerchantRequestID": "x" * 70}, "x" * 64),
    ],
    ids=["number", "no merchant id", "odd merchant id", "long merchant id"],
)
def test_odd_acceptances_are_acceptances(daraja, account, ask, wire, changes, merchant):
    wire.post(BASE + PUSH_PATH, json=ACCEPTED | changes)

    assert daraja.push(account, ask) == PushAccepted(merchant, CHECKOUT_ID)


def test_a_missing_product_is_certain_and_no_reason_to_refresh(
    daraja, account, ask, wire
):
    wire.post(
        BASE + PUSH_PATH,
        status=401,
        body="Invalid API call as no apiproduct match found",
    )

    assert pushed(daraja, account, ask) == SHOP

    assert [call.request.method for call in wire.calls] == ["GET", "POST"]


# Tokens that Daraja refuses.


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, envelope("400.003.01", "Invalid Access Token")),
        (401, envelope("401.002.01", "Error Occurred - Invalid Access Token - x")),
        (401, envelope("401.003.01", "Error Occurred - Invalid Access Token - x")),
        (404, envelope("404.001.03", "Invalid Access Token")),
        (401, {}),
    ],
    ids=["400.003.01", "401.002.01", "401.003.01", "404.001.03", "401 bare"],
)
def test_a_refused_token_is_refreshed_once(daraja, account, ask, wire, status, body):
    wire.post(BASE + PUSH_PATH, status=status, json=body)
    wire.post(BASE + PUSH_PATH, json=ACCEPTED)
    wire.get(BASE + TOKEN_PATH, json={"access_token": "token-2", "expires_in": 3599})

    assert daraja.push(account, ask).checkout_request_id == CHECKOUT_ID

    bearers = [
        call.request.headers["Authorization"]
        for call in wire.calls
        if call.request.method == "POST"
    ]
    assert bearers == ["Bearer token-1", "Bearer token-2"]


def test_a_token_refused_twice_is_certain_and_tried_no_third_time(
    daraja, account, ask, wire
):
    wire.post(
        BASE + PUSH_PATH,
        status=404,
        json=envelope("404.001.03", "Invalid Access Token"),
    )

    assert pushed(daraja, account, ask) == SHOP

    methods = [call.request.method for call in wire.calls]
    assert methods == ["GET", "POST", "GET", "POST"]


def test_a_living_token_is_used_again(daraja, account, ask, wire):
    wire.post(BASE + PUSH_PATH, json=ACCEPTED)

    for _ in range(3):
        daraja.push(account, ask)

    methods = [call.request.method for call in wire.calls]
    assert methods == ["GET", "POST", "POST", "POST"]


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        ({"status": 400, "body": ""}, SHOP),
        ({"status": 401, "body": ""}, SHOP),
        ({"status": 400, "json": envelope("400.008.01", "Invalid type")}, SHOP),
        ({"status": 403, "body": HTML}, "unreachable"),
        ({"status": 503, "body": HTML}, "unreachable"),
        ({"status": 200, "body": HTML}, "unreachable"),
        ({"status": 200, "json": {"access_token": ""}}, "unreachable"),
        ({"status": 200, "json": {"access_token": 7}}, "unreachable"),
        ({"status": 200, "json": {"access_token": "a\nb"}}, "unreachable"),
        ({"body": requests.ReadTimeout("late")}, "unreachable"),
        ({"body": requests.ConnectTimeout("never")}, "unreachable"),
    ],
    ids=[
        "wrong keys", "wrong keys 401", "wrong type", "403", "503", "200 html",
        "empty token", "number", "two lines", "late", "no connection",
    ],
)  # fmt: skip
def test_without_a_token_nothing_was_asked(daraja, account, ask, wire, answer, meaning):
    wire.replace("GET", BASE + TOKEN_PATH, **answer)
    if meaning == "unreachable":
        meaning = (True, FailureReason.MPESA_UNREACHABLE, True, 0)

    assert pushed(daraja, account, ask) == meaning

    assert [call.request.method for call in wire.calls] == ["GET"]


# Broken lines.


def max_retries(reason):
    return requests.ConnectionError(MaxRetryError(None, "/", reason))


def tls_broke_off():
    reason = SSLError(ssl.SSLEOFError(8, "EOF occurred in violation of protocol"))
    return requests.exceptions.SSLError(MaxRetryError(None, "/", reason))


NEVER_CONNECTED = (True, FailureReason.MPESA_UNREACHABLE, True, 0)
BROKEN_OFF = (False, FailureReason.MPESA_UNREACHABLE, True, 0)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (requests.ConnectTimeout("3 s"), NEVER_CONNECTED),
        (max_retries(NewConnectionError(None, "refused")), NEVER_CONNECTED),
        (
            max_retries(NameResolutionError("daraja.test", None, OSError())),
            NEVER_CONNECTED,
        ),
        (requests.ReadTimeout("10 s"), BROKEN_OFF),
        (requests.ConnectionError(ProtocolError("aborted", OSError())), BROKEN_OFF),
        (requests.ConnectionError(), BROKEN_OFF),
        (requests.exceptions.ChunkedEncodingError("cut"), BROKEN_OFF),
        (tls_broke_off(), BROKEN_OFF),
    ],
    ids=[
        "connect time-out", "refused", "no such host", "read time-out", "aborted",
        "bare", "cut", "tls broke off",
    ],
)  # fmt: skip
def test_only_a_line_that_never_stood_is_certain(
    daraja, account, ask, wire, error, meaning
):
    wire.post(BASE + PUSH_PATH, body=error)

    assert pushed(daraja, account, ask) == meaning


def test_a_closed_port_is_certain(daraja, account, ask, closed_port, settings):
    settings.MPESA_BASE_URL = closed_port

    assert pushed(daraja, account, ask) == NEVER_CONNECTED


@pytest.mark.parametrize("habit", ["hang", "reset", "drip"])
def test_a_line_that_breaks_after_the_request_is_unknown(
    daraja, account, ask, server, habit
):
    server.habit = getattr(server, habit)
    started = time.monotonic()

    assert pushed(daraja, account, ask) == BROKEN_OFF

    assert server.posts == 1
    assert time.monotonic() - started < 4  # the last byte would come after 5 s


def test_an_endless_answer_is_cut(daraja, account, ask, server, settings):
    settings.PUSH_READ_TIMEOUT_S = 5
    server.habit = server.flood

    assert pushed(daraja, account, ask) == UNKNOWN


@pytest.mark.parametrize("habit", ["hang", "reset", "drip", "flood"])
def test_a_query_never_raises(daraja, account, server, habit):
    server.habit = getattr(server, habit)

    answer = daraja.query(account, CHECKOUT_ID, limit_s=0.4)

    assert (answer.kind, answer.code) == (Answered.UNKNOWN, "")


# What a question is told.


def answered(code, **changes):
    return {
        "ResponseCode": "0",
        "ResponseDescription": "The service request has been accepted successfully",
        "MerchantRequestID": ACCEPTED["MerchantRequestID"],
        "CheckoutRequestID": CHECKOUT_ID,
        "ResultCode": code,
        "ResultDesc": "what it says",
    } | changes


def final(code):
    return QueryAnswer(Answered.FINAL, code, "what it says")


PENDING_A = (500, envelope("500.001.1001", "The transaction is being processed"))


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (200, answered("0"), final("0")),
        (200, answered("1032"), final("1032")),
        (200, answered(1037), final("1037")),
        (200, answered(" SFC_IC0003 "), final("SFC_IC0003")),
        (200, answered("x" * 30), final("x" * 20)),
        (200, answered("4999"), QueryAnswer(Answered.PENDING, "4999", "what it says")),
        (*PENDING_A, QueryAnswer(Answered.PENDING)),
        (200, answered("0", ResultDesc=None), QueryAnswer(Answered.FINAL, "0", "")),
        (200, answered("0", CheckoutRequestID="ws_CO_other"), None),
        (500, answered("0"), None),
        (200, answered(""), None),
        (200, answered(" "), None),
        (200, answered(None), None),
        (200, answered(True), None),
        (200, answered(0.0), None),
        (200, answered(["0"]), None),
        (400, envelope("400.002.02", "Bad Request - Invalid CheckoutRequestID"), None),
        (500, envelope("500.003.02", "Spike Arrest Violation"), None),
        (500, envelope("500.001.1001", "Merchant does not exist"), None),
    ],
    ids=[
        "paid", "cancelled", "number", "letters", "long", "4999", "500 pending",
        "no words", "another's", "in a 500", "empty", "blank", "none", "true",
        "float", "list", "unknown id", "spike", "merchant",
    ],
)  # fmt: skip
def test_an_answer_to_a_question_means(daraja, account, wire, status, body, meaning):
    wire.post(BASE + QUERY_PATH, status=status, json=body)

    answer = daraja.query(account, CHECKOUT_ID, limit_s=3)

    if meaning is None:
        assert (answer.kind, answer.code) == (Answered.UNKNOWN, "")
        assert answer.description.startswith(f"HTTP {status}")
    else:
        assert answer == meaning


@pytest.mark.parametrize("status", [200, 403, 503])
def test_html_answers_no_question(daraja, account, wire, status):
    wire.post(BASE + QUERY_PATH, status=status, body=HTML)

    answer = daraja.query(account, CHECKOUT_ID, limit_s=3)

    assert answer == QueryAnswer(Answered.UNKNOWN, description=f"HTTP {status}")


def test_an_answer_without_an_id_is_about_what_was_asked(daraja, account, wire):
    body = answered("0")
    del body["CheckoutRequestID"]
    wire.post(BASE + QUERY_PATH, json=body)

    assert daraja.query(account, CHECKOUT_ID, limit_s=3) == final("0")


def test_a_query_refreshes_a_refused_token_once(daraja, account, wire):
    wire.post(
        BASE + QUERY_PATH,
        status=404,
        json=envelope("404.001.03", "Invalid Access Token"),
    )
    wire.post(BASE + QUERY_PATH, json=answered("0"))

    assert daraja.query(account, CHECKOUT_ID, limit_s=3) == final("0")


def test_a_query_without_a_token_is_unanswered(daraja, account, wire):
    wire.replace("GET", BASE + TOKEN_PATH, status=400, body="")

    answer = daraja.query(account, CHECKOUT_ID, limit_s=3)

    assert answer == QueryAnswer(Answered.NOT_ASKED, description="no token: HTTP 400")


def test_a_query_waits_for_a_token_no_longer_than_for_its_answer(
    daraja, account, wire, monkeypatch
):
    seen = []
    original = daraja._session.get

    def get(*args, **kwargs):
        seen.append(kwargs["timeout"])
        return original(*args, **kwargs)

    monkeypatch.setattr(daraja._session, "get", get)
    wire.post(BASE + QUERY_PATH, json=answered("0"))

    daraja.query(account, CHECKOUT_ID, limit_s=2)

    assert len(seen) == 1
    assert seen[0] == pytest.approx((2, 2), abs=0.1)


# No transaction is held during a call.


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["push", "query"])
def test_no_call_is_made_inside_a_transaction(daraja, account, ask, wire, verb):
    calls = {
        "push": lambda: daraja.push(account, ask),
        "query": lambda: daraja.query(account, CHECKOUT_ID, limit_s=1),
    }

    with (
        pytest.raises(RuntimeError, match="inside a transaction"),
        transaction.atomic(),
    ):
        calls[verb]()

    assert len(wire.calls) == 0


# The breaker.


@pytest.fixture
def dead(daraja, account, ask, wire):
    """A Daraja that takes no connection; returns how many were tried."""
    wire.post(BASE + PUSH_PATH, body=requests.ConnectTimeout("never"))
    daraja.token(account, limit_s=1)

    def tried(times):
        for _ in range(times):
            assert pushed(daraja, account, ask) == NEVER_CONNECTED
        return len(wire.calls) - 1

    return tried


def test_the_breaker_spares_the_sixth_the_wait(dead):
    assert dead(5) == 5
    assert dead(3) == 5


def test_the_breaker_closes_after_its_pause(dead, turned):
    dead(5)
    turned(10.1)

    assert dead(1) == 6


def test_the_breaker_counts_failures_in_a_row_only(dead, daraja, account, ask, wire):
    dead(4)
    wire.replace("POST", BASE + PUSH_PATH, json=ACCEPTED)
    daraja.push(account, ask)
    wire.replace("POST", BASE + PUSH_PATH, body=requests.ConnectTimeout("never"))

    assert dead(5) == 10


def test_broken_answers_do_not_open_the_breaker(daraja, account, ask, wire):
    wire.post(BASE + PUSH_PATH, body=requests.ReadTimeout("late"))

    for _ in range(7):
        assert pushed(daraja, account, ask) == BROKEN_OFF

    wire.assert_call_count(BASE + PUSH_PATH, 7)


def test_a_question_counts_an_open_breaker_as_not_asked(dead, daraja, account, wire):
    dead(5)
    wire.post(BASE + QUERY_PATH, json=answered("0"))

    answer = daraja.query(account, CHECKOUT_ID, limit_s=1)

    assert answer == QueryAnswer(Answered.NOT_ASKED, description="breaker open")
    wire.assert_call_count(BASE + QUERY_PATH, 0)


def test_a_hasty_question_does_not_open_the_breaker(daraja, account, wire):
    """It gave the connection less time than a push does."""
    wire.post(BASE + QUERY_PATH, body=requests.ConnectTimeout("0.5 s"))

    for _ in range(7):
        answer = daraja.query(account, CHECKOUT_ID, limit_s=0.5)
        assert answer.kind == Answered.NOT_ASKED

    wire.assert_call_count(BASE + QUERY_PATH, 7)


# Secrets stay out of words.


def test_secrets_are_in_no_repr(account, ask):
    shown = repr(account) + repr(ask)

    for secret in (account.consumer_key, "secret", "passkey=", "254708374149", "hooks"):
        assert secret not in shown


def test_a_refusal_that_echoes_the_address_keeps_its_secret(daraja, account, ask, wire):
    token = "9f3c" * 16
    body = envelope("400.002.02", f"Invalid CallBackURL https://d.co/hooks/stk/{token}")
    wire.post(BASE + PUSH_PATH, status=400, json=body)

    with pytest.raises(GatewayError) as refusal:
        daraja.push(account, ask)

    assert token not in str(refusal.value)
    assert str(refusal.value).startswith("HTTP 400 400.002.02")


def test_a_refusal_does_not_repeat_the_request(daraja, account, ask, wire):
    wire.post(BASE + PUSH_PATH, body=requests.ReadTimeout(f"{BASE}{PUSH_PATH}"))

    with pytest.raises(GatewayError) as refusal:
        daraja.push(account, ask)

    assert str(refusal.value) == "no answer: ReadTimeout"
