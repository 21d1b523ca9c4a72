from __future__ import annotations

import time

import pytest
import requests

from payments.simulator.refusals import BY_NAME, RESET, Page
from tests.payments.simulator.conftest import refusal


ENVELOPES = {
    "busy": (500, "500.003.02", "System is busy. Please try again in few minutes."),
    "spike_arrest": (500, "500.003.02", "Error Occurred: Spike Arrest Violation"),
    "quota": (500, "500.003.03", "Quota Violation"),
    "internal": (500, "500.003.1001", "Internal Server Error"),
    "merchant": (500, "500.001.1001", "Merchant does not exist"),
    "wrong_credentials": (
        500,
        "500.001.1001",
        "[MerchantValidate] - Wrong credentials",
    ),
    "subscriber_lock": (
        500,
        "500.001.1001",
        "Unable to lock subscriber, a transaction is already in process "
        "for the current subscriber",
    ),
    "invalid_token": (404, "404.001.03", "Invalid Access Token"),
    "no_product": (
        401,
        "401.002.01",
        "Invalid API call as no apiproduct match found",
    ),
    "envelope_200": (
        200,
        "500.003.02",
        "System is busy. Please try again in few minutes.",
    ),
}


@pytest.mark.parametrize("error", ENVELOPES)
def test_push_error_refuses_with_an_envelope(simulator, merchant, error):
    simulator.faults(push_error={"value": error, "times": 1})

    assert refusal(merchant.push()) == ENVELOPES[error]
    assert simulator.prompts() == []
    assert merchant.push().status_code == 200


@pytest.mark.parametrize(
    "error", [name for name, answer in BY_NAME.items() if isinstance(answer, Page)]
)
def test_push_error_answers_with_something_else(simulator, merchant, error):
    simulator.faults(push_error=error)

    response = merchant.push()

    page = BY_NAME[error]
    assert (response.status_code, response.text) == (page.status, page.body)
    assert response.headers["Content-Type"].startswith(page.content_type)
    assert simulator.prompts() == []


def test_push_can_be_cut_before_it_is_accepted(simulator, merchant):
    simulator.faults(push_error=RESET)

    with pytest.raises(requests.ConnectionError):
        merchant.push()

    assert simulator.prompts() == []
    assert simulator.stats()["pushes"] == 1


def test_push_can_be_cut_after_it_is_accepted_and_money_still_moves(
    simulator, merchant, receiver
):
    simulator.faults(push_reset_after_accept={"value": True, "times": 1})

    with pytest.raises(requests.ConnectionError):
        merchant.push()

    prompt = simulator.wait_for_prompt("254712345678")
    simulator.answer(prompt["checkoutRequestId"], "pay")
    assert receiver.wait_for()[0].stk["ResultCode"] == 0
    assert len(simulator.ledger()) == 1


@pytest.mark.parametrize("error", ["internal", "html_503", "timeout_504"])
def test_error_after_acceptance_leaves_a_prompt(simulator, merchant, error):
    simulator.faults(push_error=error, push_error_after_accept=True)

    assert merchant.push().status_code >= 500

    assert simulator.wait_for_prompt("254712345678")["amount"] == 250


def test_slow_answer_comes_after_the_prompt(simulator, merchant):
    simulator.faults(push_slow_s=2)

    with pytest.raises(requests.ReadTimeout):
        merchant.post(
            "/mpesa/stkpush/v1/processrequest",
            json=merchant.push_body(),
            timeout=0.3,
        )

    assert simulator.wait_for_prompt("254712345678")["status"] == "open"


def test_latency_delays_the_prompt_too(simulator, merchant):
    simulator.faults(push_latency_s=0.3)

    started = time.monotonic()
    assert merchant.push().status_code == 200

    assert time.monotonic() - started >= 0.3


def test_envelopes_can_come_in_pascal_case(simulator, merchant):
    simulator.faults(push_error="busy", error_casing="pascal")

    assert set(merchant.push().json()) == {"RequestId", "ErrorCode", "ErrorMessage"}


def test_fault_of_one_phone_leaves_the_others_alone(simulator, merchant):
    simulator.faults(push_error={"value": "busy", "phone": "0712 345 678"})

    assert merchant.push(phone="254712345679").status_code == 200
    assert refusal(merchant.push())[1] == "500.003.02"
