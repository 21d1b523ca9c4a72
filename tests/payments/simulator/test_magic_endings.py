from __future__ import annotations

import time

import pytest
import requests

from tests.payments.simulator.conftest import advance_and_settle
from tests.support.simulator import wait_until


def number(ending):
    return f"2547001122{ending}"


@pytest.mark.parametrize(
    ("ending", "code", "status"),
    [
        ("90", 0, "paid"),
        ("91", 1032, "cancelled"),
        ("92", 1, "no-balance"),
        ("93", 2001, "wrong-pin"),
        ("94", 1037, "unreachable"),
    ],
)
def test_ending_answers_by_itself(simulator, merchant, receiver, ending, code, status):
    checkout_id = merchant.pushed(phone=number(ending))

    assert receiver.wait_for()[0].stk["ResultCode"] == code
    prompt = simulator.prompt(checkout_id)
    assert (prompt["status"], prompt["resultCode"]) == (status, str(code))
    assert len(simulator.ledger()) == (1 if ending == "90" else 0)


def test_90_takes_a_second(simulator, merchant, receiver):
    simulator.faults(auto_delay_s=1)

    started = time.monotonic()
    checkout_id = merchant.pushed(phone=number("90"))
    assert simulator.prompt(checkout_id)["status"] == "open"

    posted = receiver.wait_for()[0]
    assert posted.at - started >= 0.9


def test_95_pays_and_the_callback_is_lost(simulator, merchant, receiver):
    checkout_id = merchant.pushed(phone=number("95"))

    wait_until(simulator.ledger)
    advance_and_settle(simulator, 600)

    assert merchant.query(checkout_id).json()["ResultCode"] == "0"
    assert simulator.prompt(checkout_id)["callbacks"] == []
    assert receiver.posted == []


def test_96_pays_and_calls_back_twice(simulator, merchant, receiver):
    merchant.pushed(phone=number("96"))

    first, second = receiver.wait_for(2)
    assert first.body == second.body
    assert len(simulator.ledger()) == 1


def test_97_calls_back_before_the_answer(simulator, merchant, receiver):
    checkout_id = merchant.pushed(phone=number("97"))

    (posted,) = receiver.posted
    assert posted.stk["CheckoutRequestID"] == checkout_id
    assert posted.stk["ResultCode"] == 0


def test_98_loses_the_answer_and_pays(simulator, merchant, receiver):
    simulator.faults(auto_delay_s=0.3)

    with pytest.raises(requests.ConnectionError):
        merchant.push(phone=number("98"))

    (prompt,) = simulator.prompts(number("98"))
    assert prompt["status"] == "open"
    posted = receiver.wait_for()[0]
    assert posted.stk["CheckoutRequestID"] == prompt["checkoutRequestId"]
    assert posted.stk["ResultCode"] == 0
    assert len(simulator.ledger()) == 1


def test_99_stays_until_it_times_out(simulator, merchant, receiver):
    checkout_id = merchant.pushed(phone=number("99"))
    advance_and_settle(simulator, 30)
    assert merchant.query(checkout_id).json()["ResultCode"] == "4999"

    simulator.advance(31)

    assert receiver.wait_for()[0].stk["ResultCode"] == 1037
    assert simulator.prompt(checkout_id)["status"] == "expired"
    assert simulator.ledger() == []


def test_other_endings_wait(simulator, merchant, receiver):
    checkout_id = merchant.pushed(phone=number("89"))

    time.sleep(0.3)

    assert simulator.prompt(checkout_id)["status"] == "open"
    assert receiver.posted == []


def test_auto_outcome_makes_the_others_act(simulator, merchant, receiver):
    simulator.faults(auto_outcome="cancel")

    merchant.pushed(phone=number("89"))

    assert receiver.wait_for()[0].stk["ResultCode"] == 1032


def test_other_networks_are_unreachable_by_switch(simulator, merchant, receiver):
    simulator.faults(other_networks_unreachable=True)

    safaricom = merchant.pushed(phone="254712345678")
    merchant.pushed(phone="254733445566")

    assert receiver.wait_for()[0].stk["ResultCode"] == 1037
    assert simulator.prompt(safaricom)["status"] == "open"
