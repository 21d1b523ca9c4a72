from __future__ import annotations

import time

import pytest
import requests

from tests.payments.simulator.conftest import CONFIRM, PHONE, VALIDATE, posted_to


def refused(simulator, **order):
    response = requests.post(f"{simulator.url}/__sim__/pay", json=order, timeout=15)
    assert response.status_code >= 400
    return response.status_code, response.json()["error"]


def test_validation_is_off_until_it_is_activated(merchant, receiver, hand):
    merchant.registered()

    hand()

    posted_to(receiver, CONFIRM)
    assert [one.path for one in receiver.posted] == [CONFIRM]


def test_validation_comes_first_and_tells_no_balance(
    simulator, merchant, receiver, hand
):
    merchant.registered()
    simulator.faults(c2b_validation=True)

    paid = hand()

    (confirmed,) = posted_to(receiver, CONFIRM)
    assert [one.path for one in receiver.posted] == [VALIDATE, CONFIRM]
    (asked,) = posted_to(receiver, VALIDATE)
    assert asked["OrgAccountBalance"] == ""
    assert asked["TransID"] == confirmed["TransID"] == paid["receipt"]
    assert asked["BillRefNumber"] == "K7Q2M9"


def test_third_party_id_is_echoed(simulator, merchant, receiver, hand):
    merchant.registered()
    simulator.faults(c2b_validation=True)
    receiver.answers[VALIDATE] = ['{"ResultCode": "0", "ThirdPartyTransID": "OURS-7"}']

    hand()

    assert posted_to(receiver, CONFIRM)[0]["ThirdPartyTransID"] == "OURS-7"


def test_rejected_payment_moves_nothing_and_is_not_confirmed(
    simulator, merchant, receiver
):
    merchant.registered()
    simulator.faults(c2b_validation=True)
    receiver.answers[VALIDATE] = ['{"ResultCode":"C2B00012","ResultDesc":"Rejected"}']

    status, error = refused(
        simulator, phone=PHONE, shortcode="600100", amount=250, reference="NOBODY"
    )

    assert status == 409
    assert error.endswith("C2B00012")
    assert simulator.ledger() == []
    assert simulator.get(f"phones/{PHONE}")["balance"] == 50_000
    time.sleep(0.2)
    assert [one.path for one in receiver.posted] == [VALIDATE]
    messages = simulator.get(f"phones/{PHONE}")["messages"]
    assert "did not accept" in messages[0]["text"]


@pytest.mark.parametrize("trouble", ["late", "refused", "nonsense", "no code"])
@pytest.mark.parametrize(
    ("response_type", "moves"), [("Completed", 1), ("Cancelled", 0)]
)
def test_unanswered_validation_ends_as_registered(
    simulator, merchant, receiver, trouble, response_type, moves
):
    merchant.registered(ResponseType=response_type)
    simulator.faults(c2b_validation=True, c2b_validation_timeout_s=0.2)
    if trouble == "late":
        receiver.pause_s = 0.6
    elif trouble == "refused":
        receiver.statuses = [500]
    else:
        body = "<html>" if trouble == "nonsense" else "{}"
        receiver.answers[VALIDATE] = [body]

    requests.post(
        f"{simulator.url}/__sim__/pay",
        json={"phone": PHONE, "shortcode": "600100", "amount": 5, "reference": "A"},
        timeout=15,
    )

    assert len(simulator.ledger()) == moves


def test_prompts_do_not_pass_validation(simulator, merchant, receiver):
    merchant.registered()
    simulator.faults(c2b_validation=True)

    simulator.answer(merchant.pushed(), "pay")

    posted_to(receiver, CONFIRM)
    assert VALIDATE not in [one.path for one in receiver.posted]
