from __future__ import annotations

import time

import pytest
import requests

from tests.payments.simulator.conftest import refusal


INVALID_TOKEN = (404, "404.001.03", "Invalid Access Token")


def test_open_prompt_is_http_200_with_4999(merchant):
    checkout_id = merchant.pushed()

    response = merchant.query(checkout_id)

    assert response.status_code == 200
    body = response.json()
    assert (body["ResponseCode"], body["ResultCode"]) == ("0", "4999")
    assert body["ResultDesc"] == "The transaction is still under processing"


def test_open_prompt_is_http_500_in_mode_a(simulator, merchant):
    simulator.faults(query_pending_mode="A")
    checkout_id = merchant.pushed()

    expected = (500, "500.001.1001", "The transaction is being processed")
    assert refusal(merchant.query(checkout_id)) == expected


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ("pay", "0"),
        ("cancel", "1032"),
        ("wrong-pin", "2001"),
        ("no-balance", "1"),
        ("unreachable", "1037"),
        ("timeout", "1037"),
    ],
)
def test_finished_prompt_tells_code_as_string_and_no_receipt(
    simulator, merchant, outcome, code
):
    push = merchant.push().json()
    checkout_id = push["CheckoutRequestID"]
    prompt = simulator.answer(checkout_id, outcome)

    body = merchant.query(checkout_id).json()

    assert body == {
        "ResponseCode": "0",
        "ResponseDescription": "The service request has been accepted successfully",
        "MerchantRequestID": push["MerchantRequestID"],
        "CheckoutRequestID": checkout_id,
        "ResultCode": code,
        "ResultDesc": prompt["resultDesc"],
    }


@pytest.mark.parametrize(
    "field", ["BusinessShortCode", "Password", "Timestamp", "CheckoutRequestID"]
)
def test_each_missing_field_is_named(merchant, field):
    response = merchant.query("ws_CO_1", **{field: None})

    assert refusal(response) == (400, "400.002.02", f"Bad Request - Invalid {field}")


def test_unknown_checkout_id_is_invalid(merchant):
    expected = (400, "400.002.02", "Bad Request - Invalid CheckoutRequestID")

    assert refusal(merchant.query("ws_CO_1")) == expected


def test_checkout_id_of_another_merchant_is_invalid(merchant, till):
    checkout_id = till.pushed()

    assert refusal(merchant.query(checkout_id))[2].endswith("CheckoutRequestID")


def test_wrong_password_token_and_verb_are_refused(merchant):
    checkout_id = merchant.pushed()
    path = "/mpesa/stkpushquery/v1/query"

    wrong = merchant.query(checkout_id, Password="d3Jvbmc=")
    bare = merchant.post(path, json={}, headers={})
    got = merchant.http.get(f"{merchant.url}{path}", timeout=5)

    assert refusal(wrong)[2] == "[MerchantValidate] - Wrong credentials"
    assert refusal(bare) == INVALID_TOKEN
    assert refusal(got) == (405, "405.001", "GET Method Not Allowed")


@pytest.mark.parametrize("code", ["26", "9999", "1032", "E3008", "0"])
def test_result_code_can_be_any_string(simulator, merchant, code):
    checkout_id = merchant.pushed()
    simulator.faults(query_result_code=code)

    assert merchant.query(checkout_id).json()["ResultCode"] == code


def test_contradicting_query_does_not_change_what_happened(simulator, merchant):
    checkout_id = merchant.pushed()
    simulator.answer(checkout_id, "pay")
    simulator.faults(query_result_code={"value": "1032", "times": 1})

    assert merchant.query(checkout_id).json()["ResultCode"] == "1032"
    assert merchant.query(checkout_id).json()["ResultCode"] == "0"
    assert simulator.prompt(checkout_id)["status"] == "paid"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("html_403", 403),
        ("html_503", 503),
        ("html_200", 200),
        ("spike_arrest", 500),
        ("envelope_200", 200),
        ("empty_200", 200),
    ],
)
def test_query_error_answers_in_place_of_the_result(simulator, merchant, error, status):
    checkout_id = merchant.pushed()
    simulator.faults(query_error=error)

    response = merchant.query(checkout_id)

    assert response.status_code == status
    assert "ResultCode" not in response.text


def test_query_can_be_down(simulator, merchant):
    checkout_id = merchant.pushed()
    simulator.faults(query_error="reset")

    with pytest.raises(requests.ConnectionError):
        merchant.query(checkout_id)


def test_query_can_be_slow_for_one_phone_only(simulator, merchant):
    slow = merchant.pushed()
    quick = merchant.pushed(phone="254712345679")
    simulator.faults(query_slow_s={"value": 1, "phone": "0712345678"})

    started = time.monotonic()
    merchant.query(quick)
    quick_s = time.monotonic() - started
    merchant.query(slow)
    slow_s = time.monotonic() - started - quick_s

    assert quick_s < 1 <= slow_s
