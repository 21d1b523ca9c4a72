from __future__ import annotations

import pytest
import requests

from tests.payments.simulator.conftest import PHONE, Merchant
from tests.support.simulator import SimulatorProcess


def post(simulator, path, json=None, **options):
    return requests.post(
        f"{simulator.url}/__sim__/{path}", json=json, timeout=5, **options
    )


def test_prompts_are_listed_newest_first_and_by_phone(simulator, merchant):
    older = merchant.pushed()
    newer = merchant.pushed(phone="254712345679")

    listed = [prompt["checkoutRequestId"] for prompt in simulator.prompts()]

    assert listed == [newer, older]
    assert [p["checkoutRequestId"] for p in simulator.prompts("0712345678")] == [older]
    simulator.answer(older, "cancel")
    found = simulator.get("prompts", status="cancelled")["prompts"]
    assert [prompt["checkoutRequestId"] for prompt in found] == [older]


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("pay", "paid"),
        ("approve", "paid"),
        ("cancel", "cancelled"),
        ("wrong-pin", "wrong-pin"),
        ("wrong_pin", "wrong-pin"),
        ("no-balance", "no-balance"),
        ("insufficient", "no-balance"),
        ("unreachable", "unreachable"),
        ("ignore", "ignored"),
        ("timeout", "expired"),
    ],
)
def test_outcome_words(simulator, merchant, word, status):
    assert simulator.answer(merchant.pushed(), word)["status"] == status


def test_prompt_is_answered_once(simulator, merchant):
    checkout_id = merchant.pushed()
    simulator.answer(checkout_id, "pay")

    again = post(simulator, f"prompts/{checkout_id}/cancel")

    assert (again.status_code, again.json()) == (
        409,
        {"error": "it was answered before"},
    )
    assert simulator.prompt(checkout_id)["status"] == "paid"
    assert len(simulator.ledger()) == 1


def test_unknown_prompt_and_outcome_are_told(simulator, merchant):
    checkout_id = merchant.pushed()

    assert post(simulator, "prompts/ws_CO_1/pay").status_code == 404
    wrong = post(simulator, f"prompts/{checkout_id}/dance")
    assert wrong.status_code == 400
    assert "pay, cancel, wrong-pin" in wrong.json()["error"]


def test_all_switches_are_shown_with_what_they_do(simulator):
    simulator.control("faults", {"clear": True})
    simulator.faults(callback_drop=True, push_error={"value": "busy", "times": 3})

    shown = simulator.get("faults")

    assert shown["faults"] == {
        "callback_drop": True,
        "push_error": {"value": "busy", "times": 3},
    }
    assert shown["switches"]["callback_drop"]["value"] is True
    assert shown["switches"]["rule17"]["default"] is True
    assert all(switch["about"] for switch in shown["switches"].values())


def test_switches_merge_and_clear(simulator):
    simulator.control("faults", {"clear": True})

    assert simulator.faults(callback_drop=True) == {"callback_drop": True}
    assert simulator.faults(callback_drop=None, push_slow_s=1) == {"push_slow_s": 1}
    assert simulator.faults(push_slow_s=0) == {}
    simulator.faults(push_slow_s=1)
    assert simulator.faults(clear=True, query_slow_s=2) == {"query_slow_s": 2}


def test_switches_can_be_grouped_or_called_by_a_plain_word(simulator):
    simulator.control("faults", {"clear": True})

    assert simulator.faults(callback={"drop": True}, failure_then_success=True) == {
        "callback_drop": True,
        "callback_failure_then_success": True,
    }


@pytest.mark.parametrize(
    "wanted",
    [
        {"callback_dorp": True},
        {"callback_drop": "yes"},
        {"push_error": "unknown"},
        {"push_slow_s": -1},
        {"push_slow_s": True},
        {"push_error": {"value": "busy", "times": 0}},
        {"push_error": {"value": "busy", "phone": "12"}},
        {"query_pending_mode": "C"},
    ],
    ids=str,
)
def test_nonsense_switch_is_told_and_sets_nothing(simulator, wanted):
    simulator.control("faults", {"clear": True})

    response = post(simulator, "faults", {"callback_drop": True} | wanted)

    assert response.status_code == 400
    assert response.json()["error"]
    assert simulator.get("faults")["faults"] == {}


def test_reset_forgets_what_happened_and_keeps_tokens(simulator, merchant):
    simulator.answer(merchant.pushed(), "pay")
    simulator.advance(100)
    simulator.faults(callback_drop=True)

    simulator.reset()

    assert simulator.prompts() == []
    assert simulator.ledger() == []
    assert simulator.get("faults")["faults"] == {}
    assert simulator.get(f"phones/{PHONE}")["balance"] == 50_000
    assert set(simulator.stats().values()) == {0}
    assert merchant.push().status_code == 200


def test_stats_count(simulator, merchant, receiver):
    merchant._token = None
    checkout_id = merchant.pushed()
    merchant.push()  # refused: locked
    merchant.query(checkout_id)
    simulator.answer(checkout_id, "pay")
    simulator.wait_for_callbacks(checkout_id)

    assert simulator.stats() == {
        "tokenRequests": 1,
        "tokens": 1,
        "pushes": 2,
        "prompts": 1,
        "queries": 1,
        "callbacks": 1,
        "callbacksAccepted": 1,
    }


def test_account_can_be_added(simulator, receiver):
    added = {
        "name": "NEW DUKA",
        "consumerKey": "new-key",
        "consumerSecret": "new-secret",
        "shortcode": "600999",
        "partyB": "600999",
        "type": "paybill",
        "passkey": "new-passkey",
    }

    listed = simulator.control("accounts", added)["accounts"]

    assert added.items() <= listed[-1].items()
    merchant = Merchant(simulator.url, f"{receiver.url}/cb")
    merchant.key, merchant.secret = "new-key", "new-secret"
    merchant.shortcode = merchant.party_b = "600999"
    merchant.passkey = "new-passkey"
    with merchant.http:
        assert merchant.push(phone="254712345670").status_code == 200


@pytest.mark.parametrize(
    "body", [{"name": "x"}, {"colour": "red"}, {"type": "bank"}], ids=str
)
def test_half_an_account_is_refused(simulator, body):
    response = post(simulator, "accounts", body)

    assert response.status_code == 400
    assert len(simulator.get("accounts")["accounts"]) >= 4


def test_demo_accounts_are_the_agreed_ones(simulator):
    listed = simulator.get("accounts")["accounts"][:4]

    assert [
        (a["consumerKey"], a["consumerSecret"], a["shortcode"], a["partyB"], a["type"])
        for a in listed
    ] == [
        ("sim-platform-key", "sim-platform-secret", "600100", "600100", "paybill"),
        ("sim-shop2-key", "sim-shop2-secret", "600200", "600200", "paybill"),
        ("sim-till-key", "sim-till-secret", "600300", "5600301", "till"),
        ("sim-sandbox-key", "sim-sandbox-secret", "174379", "174379", "paybill"),
    ]
    assert [len(account["passkey"]) for account in listed] == [64, 64, 64, 64]
    assert (listed[0]["initiator"], listed[0]["initiatorPassword"]) == (
        "simapi",
        "SimPass123#",
    )


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clock", {"advance_s": "soon"}),
        ("clock", {"advance_s": -1}),
        ("clock", []),
        ("phones/0712345678", {"balance": "much"}),
        ("phones/12", {"balance": 1}),
    ],
)
def test_wrong_control_call_is_told(simulator, path, body):
    response = post(simulator, path, body)

    assert response.status_code == 400
    assert response.json()["error"]


def test_page_of_another_site_cannot_control(simulator):
    foreign = {"Origin": "https://evil.example"}
    own = {"Origin": simulator.url}

    assert post(simulator, "reset", headers=foreign).status_code == 403
    assert post(simulator, "reset", headers=own).status_code == 200


def test_taken_port_is_told_in_a_sentence(simulator, capfd):
    port = int(simulator.url.rsplit(":", 1)[1])

    second = SimulatorProcess(port=port)
    with pytest.raises(AssertionError, match="did not start"):
        second.start()
    second.stop()

    assert f"cannot listen on 127.0.0.1:{port}" in capfd.readouterr().err
