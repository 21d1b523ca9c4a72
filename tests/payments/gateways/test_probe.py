"""Trying the keys of an account: what each answer of Daraja proves."""

import json

import pytest
import requests

from payments import gateways
from payments.gateways.base import GatewayError, Probe, Proof
from payments.gateways.daraja import NO_PROMPT
from tests.payments.gateways.conftest import BASE, PUSH_PATH, QUERY_PATH, TOKEN_PATH
from tests.support.gateway import FakeMpesa


HTML = "<html><head><title>Incapsula</title></head><body>Request denied</body></html>"


def envelope(code, message):
    return {"requestId": "1c5b-4ba8", "errorCode": code, "errorMessage": message}


@pytest.mark.parametrize(
    ("answer", "proof"),
    [
        (
            {
                "status": 400,
                "json": envelope("400.002.02", "Bad Request - Invalid CheckoutRequestID"),
            },
            Proof.GOOD,
        ),
        (
            {
                "status": 500,
                "json": envelope("500.001.1001", "The transaction is being processed"),
            },
            Proof.GOOD,
        ),
        ({"status": 200, "json": {"ResultCode": "1037"}}, Proof.GOOD),
        (
            {"status": 500, "json": envelope("500.001.1001", "Merchant does not exist")},
            Proof.NUMBER,
        ),
        (
            {
                "status": 400,
                "json": envelope("400.002.02", "Bad Request - Invalid BusinessShortCode"),
            },
            Proof.NUMBER,
        ),
        (
            {
                "status": 500,
                "json": envelope(
                    "500.001.1001", "[MerchantValidate] - Wrong credentials"
                ),
            },
            Proof.PASSKEY,
        ),
        (
            {"status": 401, "body": "Invalid API call as no apiproduct match found"},
            Proof.PRODUCT,
        ),
        (
            {"status": 404, "json": envelope("404.001.03", "Invalid Access Token")},
            Proof.PRODUCT,
        ),
        (
            {
                "status": 400,
                "json": envelope("400.002.02", "Bad Request - Invalid Timestamp"),
            },
            Proof.UNCLEAR,
        ),
        (
            {"status": 500, "json": envelope("500.003.02", "System is busy.")},
            Proof.UNCLEAR,
        ),
        ({"status": 403, "body": HTML}, Proof.UNCLEAR),
        ({"status": 200, "body": ""}, Proof.UNCLEAR),
        ({"body": requests.ReadTimeout("late")}, Proof.UNREACHED),
        ({"body": requests.ConnectTimeout("never")}, Proof.UNREACHED),
    ],
    ids=[
        "no such prompt", "being processed", "an outcome", "no merchant",
        "odd number", "wrong passkey", "no product", "token refused twice",
        "our clock", "busy", "edge", "empty", "late", "no connection",
    ],
)  # fmt: skip
def test_an_answer_about_no_prompt_says_what_is_right(
    daraja, account, wire, answer, proof
):
    wire.post(BASE + QUERY_PATH, **answer)

    assert daraja.probe(account, limit_s=1).proof == proof


@pytest.mark.parametrize(
    ("answer", "proof"),
    [
        ({"status": 400, "body": ""}, Proof.KEYS),
        ({"status": 401, "body": ""}, Proof.KEYS),
        ({"status": 503, "body": HTML}, Proof.UNREACHED),
        ({"body": requests.ConnectTimeout("never")}, Proof.UNREACHED),
    ],
    ids=["400", "401", "edge", "no connection"],
)
def test_without_a_token_only_the_keys_are_known(daraja, account, wire, answer, proof):
    wire.replace("GET", BASE + TOKEN_PATH, **answer)

    assert daraja.probe(account, limit_s=1).proof == proof

    assert [call.request.method for call in wire.calls] == ["GET"]


def test_a_probe_asks_about_a_prompt_that_never_was_and_sends_none(
    daraja, account, wire
):
    wire.post(BASE + QUERY_PATH, status=400, json=envelope("400.002.02", "Bad"))

    daraja.probe(account, limit_s=1)

    (asked,) = [call.request for call in wire.calls if call.request.method == "POST"]
    assert json.loads(asked.body)["CheckoutRequestID"] == NO_PROMPT
    wire.assert_call_count(BASE + PUSH_PATH, 0)


def test_a_probe_never_rests_on_an_old_token(daraja, account, wire):
    wire.post(BASE + QUERY_PATH, json={"ResultCode": "1037"})
    daraja.token(account, limit_s=1)
    wire.replace("GET", BASE + TOKEN_PATH, json={"access_token": "token-2"})

    daraja.probe(account, limit_s=1)

    last = wire.calls[-1].request
    assert last.headers["Authorization"] == "Bearer token-2"


def test_a_stand_in_is_asked_in_place_of_the_network(account):
    real = gateways.prober()
    stand_in = FakeMpesa()
    stand_in.proof = Proof.NUMBER

    with gateways.using(stand_in):
        told = gateways.prober().probe(account, limit_s=1)

    assert told == Probe(Proof.NUMBER, "as told")
    assert stand_in.probes == [account]
    assert real is gateways.mpesa()


def test_the_network_is_never_asked_behind_a_stand_in_that_cannot_try_keys():
    with gateways.using(object()), pytest.raises(GatewayError) as caught:
        gateways.prober()

    assert caught.value.certain
