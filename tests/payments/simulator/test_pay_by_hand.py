"""A customer who pays without a prompt, by control API and on the virtual phone."""

from __future__ import annotations

import pytest
import requests

from tests.payments.simulator.conftest import CONFIRM, PHONE, posted_to


def pay(simulator, **order):
    order = {"phone": PHONE, "shortcode": "600100", "amount": 250} | order
    order.setdefault("reference", "K7Q2M9")
    return requests.post(f"{simulator.url}/__sim__/pay", json=order, timeout=5)


def press_pay(simulator, **order):
    order = {
        "type": "till",
        "number": "5600301",
        "amount": 80,
        "pin": "1234",
    } | order
    return requests.post(f"{simulator.url}/phone/{PHONE}/pay", json=order, timeout=5)


def test_money_moves_and_is_in_the_ledger(simulator):
    answer = pay(simulator, phone="0712 345 678").json()

    (entry,) = simulator.ledger()
    assert entry == answer
    assert (entry["kind"], entry["amount"], entry["party"]) == ("c2b", 250, PHONE)
    assert (entry["shortcode"], entry["accountReference"]) == ("600100", "K7Q2M9")
    assert (entry["reversed"], entry["balance"]) == (False, 250)
    assert entry["checkoutRequestId"] == ""
    assert simulator.get(f"phones/{PHONE}")["balance"] == 49_750


def test_till_takes_no_reference(simulator):
    order = {"till": "5600301", "shortcode": None, "reference": "ignored"}

    entry = pay(simulator, **order).json()

    assert (entry["shortcode"], entry["partyB"]) == ("600300", "5600301")
    assert entry["accountReference"] == ""


def test_customer_gets_the_message(simulator):
    receipt = pay(simulator).json()["receipt"]

    (message,) = simulator.get(f"phones/{PHONE}")["messages"]
    assert message["text"].startswith(
        f"{receipt} Confirmed. Ksh250.00 sent to SMARTDUKA for account K7Q2M9 on "
    )


def test_hand_and_prompt_have_receipts_of_their_own(simulator, merchant):
    checkout_id = merchant.pushed()

    by_hand = pay(simulator).json()
    prompt = simulator.answer(checkout_id, "pay")

    assert prompt["status"] == "paid"
    assert by_hand["receipt"] != prompt["receipt"]
    assert [entry["kind"] for entry in simulator.ledger()] == ["stk", "c2b"]
    assert simulator.get(f"phones/{PHONE}")["balance"] == 49_500


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"phone": "12"}, 400),
        ({"shortcode": "600300"}, 404),  # the store number of a till
        ({"shortcode": "5600301"}, 404),  # a till is no paybill
        ({"shortcode": None, "till": "600100"}, 404),
        ({"shortcode": "999999"}, 404),
        ({"amount": 0}, 400),
        ({"amount": 2.5}, 400),
        ({"amount": "250"}, 400),
        ({"amount": True}, 400),
        ({"amount": None}, 400),
        ({"reference": ""}, 400),
        ({"reference": "x" * 21}, 400),
        ({"amount": 50_001}, 409),
    ],
    ids=str,
)
def test_what_cannot_be_paid_is_told_and_moves_nothing(simulator, order, status):
    response = pay(simulator, **order)

    assert response.status_code == status
    assert response.json()["error"]
    assert simulator.ledger() == []


@pytest.mark.parametrize(
    ("switches", "code"),
    [({"max_amount": 249}, "3"), ({"daily_limit": 249}, "4"), ({}, "1")],
)
def test_limits_of_the_payer_are_told_by_code(simulator, switches, code):
    simulator.control(f"phones/{PHONE}", {"balance": 250 if switches else 249})
    simulator.faults(**switches)

    assert pay(simulator).json()["error"].startswith(f"{code}: ")
    assert simulator.ledger() == []


def test_phone_pays_a_till_from_its_menu(simulator, till, receiver):
    till.registered()

    state = press_pay(simulator).json()

    (told,) = posted_to(receiver, CONFIRM)
    assert state["balance"] == 49_920
    assert state["messages"][0]["text"].startswith(f"{told['TransID']} Confirmed.")
    assert told["TransactionType"] == "Customer Merchant Payment"


def test_phone_pays_a_bill_from_its_menu(simulator):
    press_pay(simulator, type="paybill", number="600100", reference=" K7Q2M9 ")

    assert simulator.ledger()[0]["accountReference"] == "K7Q2M9"


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"pin": "0000"}, 409),
        ({"pin": ""}, 400),
        ({"pin": "12345"}, 400),
        ({"number": "1"}, 404),
        ({"type": "paybill"}, 404),
        ({"type": "paybill", "number": "600100"}, 400),
        ({"amount": None}, 400),
        ({"amount": 60_000}, 409),
    ],
    ids=str,
)
def test_wrong_entry_in_the_menu_is_told(simulator, order, status):
    response = press_pay(simulator, **order)

    assert response.status_code == status
    assert response.json()["error"]
    assert simulator.ledger() == []


def test_page_offers_the_form(simulator):
    text = requests.get(f"{simulator.url}/phone/{PHONE}", timeout=5).text

    assert "Lipa na" in text
    assert 'value="5600301"' in text


def test_charge_is_taken_and_carries_the_receipt(simulator, merchant):
    simulator.faults(charge_percent=0.55)

    big = pay(simulator, amount=1000).json()
    pay(simulator, amount=50)  # its charge would be less than half a shilling

    entries = simulator.ledger()
    assert [(entry["kind"], entry["amount"]) for entry in entries] == [
        ("c2b", 50),
        ("charge", 6),
        ("c2b", 1000),
    ]
    charge = entries[1]
    assert charge["receipt"] == charge["linkedReceipt"] == big["receipt"]
    assert (charge["party"], charge["phone"]) == ("Safaricom", "")
    assert [entry["balance"] for entry in entries] == [1044, 994, 1000]


def test_prompt_is_charged_too(simulator, merchant):
    simulator.faults(charge_percent=10)

    simulator.answer(merchant.pushed(), "pay")

    assert [entry["kind"] for entry in simulator.ledger()] == ["charge", "stk"]


def test_paying_by_hand_does_not_stand_in_the_way_of_a_prompt(simulator, merchant):
    pay(simulator)

    assert simulator.answer(merchant.pushed(), "pay")["resultCode"] == "0"


def test_sweep_takes_all_or_so_much(simulator):
    pay(simulator, amount=1000)

    some = simulator.control("sweep", {"shortcode": "600100", "amount": 300})
    rest = simulator.control("sweep", {"shortcode": "600100"})

    assert (some["kind"], some["amount"], some["party"]) == ("sweep", 300, "Bank")
    assert (rest["amount"], rest["balance"]) == (700, 0)
    assert len({entry["receipt"] for entry in simulator.ledger()}) == 3


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"shortcode": "600100", "amount": 251}, 409),
        ({"shortcode": "600200"}, 409),
        ({"shortcode": "600100", "amount": 0}, 400),
        ({"shortcode": "600100", "amount": "1"}, 400),
        ({}, 404),
    ],
    ids=str,
)
def test_sweep_of_what_is_not_there_is_told(simulator, order, status):
    pay(simulator)

    response = requests.post(f"{simulator.url}/__sim__/sweep", json=order, timeout=5)

    assert response.status_code == status
    assert len(simulator.ledger()) == 1


def test_reset_empties_the_book_and_forgets_addresses(simulator, merchant):
    merchant.registered()
    pay(simulator)

    simulator.reset()

    assert simulator.ledger() == []
    assert simulator.get("registrations/600100") == {"registration": None}
    assert pay(simulator).json()["balance"] == 250
