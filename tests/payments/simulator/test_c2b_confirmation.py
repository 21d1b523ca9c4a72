from __future__ import annotations

import hashlib
import json
import re
import time

import pytest
import requests

from tests.payments.simulator.conftest import (
    CONFIRM,
    PHONE,
    advance_and_settle,
    posted_to,
)
from tests.support.simulator import wait_until


EACH = 20


def test_confirmation_of_a_paybill(simulator, merchant, receiver, hand):
    merchant.registered()

    paid = hand()

    (told,) = posted_to(receiver, CONFIRM)
    stamp = told.pop("TransTime")
    assert told == {
        "TransactionType": "Pay Bill",
        "TransID": paid["receipt"],
        "TransAmount": "250.00",
        "BusinessShortCode": "600100",
        "BillRefNumber": "K7Q2M9",
        "InvoiceNumber": "",
        "OrgAccountBalance": "250.00",
        "ThirdPartyTransID": "",
        "MSISDN": "2547 ***** 678",
        "FirstName": told["FirstName"],
        "MiddleName": "",
        "LastName": "",
    }
    assert told["FirstName"].isupper()
    assert re.sub(r"\D", "", paid["time"])[:14] == stamp


def test_confirmation_of_a_till_has_its_real_type_and_no_reference(
    simulator, till, receiver
):
    till.registered()

    simulator.pay("5600301", 80, phone=PHONE)

    (told,) = posted_to(receiver, CONFIRM)
    assert told["TransactionType"] == "Customer Merchant Payment"
    assert (told["BillRefNumber"], told["BusinessShortCode"]) == ("", "600300")
    assert told["TransAmount"] == "80.00"


def test_version_1_hashes_the_number(merchant, receiver, hand):
    merchant.registered(version=1)

    hand()

    (told,) = posted_to(receiver, CONFIRM)
    assert told["MSISDN"] == hashlib.sha256(PHONE.encode()).hexdigest()


def test_old_mask_by_switch(simulator, merchant, receiver, hand):
    merchant.registered()
    simulator.faults(c2b_mask="old", c2b_names="empty", c2b_amount_style="int")

    hand()

    (told,) = posted_to(receiver, CONFIRM)
    assert (told["MSISDN"], told["FirstName"]) == ("25471****678", "")
    assert told["TransAmount"] == "250"


def test_nobody_hears_where_nothing_is_registered(simulator, receiver, hand):
    hand()

    time.sleep(0.2)
    assert receiver.posted == []
    assert len(simulator.ledger()) == 1


def test_only_the_organisation_paid_to_hears(simulator, merchant, till, receiver):
    till.registered()

    simulator.pay("600100", 10, phone=PHONE, reference="A")
    simulator.pay("5600301", 20, phone=PHONE)

    told = posted_to(receiver, CONFIRM)
    assert [one["TransAmount"] for one in told] == ["20.00"]


def test_paid_prompt_is_confirmed_with_the_same_receipt(simulator, merchant, receiver):
    merchant.registered()

    prompt = simulator.answer(merchant.pushed(), "pay")

    (told,) = posted_to(receiver, CONFIRM)
    assert told["TransID"] == prompt["receipt"]
    assert (told["BillRefNumber"], told["TransAmount"]) == ("K7Q2M9", "250.00")
    assert len(simulator.ledger()) == 1


def test_paid_prompt_of_a_till_is_confirmed_without_reference(
    simulator, till, receiver
):
    till.registered()

    simulator.answer(till.pushed(), "pay")

    (told,) = posted_to(receiver, CONFIRM)
    assert (told["TransactionType"], told["BillRefNumber"]) == (
        "Customer Merchant Payment",
        "",
    )


def test_confirmation_of_prompts_can_be_off(simulator, merchant, receiver, hand):
    merchant.registered()
    simulator.faults(c2b_for_stk=False)

    simulator.answer(merchant.pushed(), "pay")
    by_hand = hand()

    told = posted_to(receiver, CONFIRM)
    assert [one["TransID"] for one in told] == [by_hand["receipt"]]


def test_unpaid_prompt_is_not_confirmed(simulator, merchant, receiver):
    merchant.registered()

    simulator.answer(merchant.pushed(), "cancel")

    receiver.wait_for()
    time.sleep(0.2)
    assert [one.path for one in receiver.posted] == ["/hooks/stk/abc"]


def test_sixty_of_a_hundred_are_lost(simulator, merchant, receiver, hand):
    merchant.registered()
    simulator.faults(c2b_drop_percent=60)

    for _ in range(EACH):
        hand(amount=1)
    wait = posted_to(receiver, CONFIRM)
    time.sleep(0.3)
    arrived = len(posted_to(receiver, CONFIRM))

    assert wait
    assert len(simulator.ledger()) == EACH
    # Luck is the same after each reset: 40 % of 20, give or take.
    assert 4 <= arrived <= 12


def test_all_or_none_are_lost_at_the_ends(simulator, merchant, receiver, hand):
    merchant.registered()

    simulator.faults(c2b_drop_percent=100)
    hand()
    simulator.faults(c2b_drop_percent=0)
    last = hand()

    told = posted_to(receiver, CONFIRM)
    time.sleep(0.2)
    assert [one["TransID"] for one in told] == [last["receipt"]]


def test_confirmation_comes_twice_and_late(simulator, merchant, receiver, hand):
    merchant.registered()
    simulator.faults(
        c2b_duplicates=1, c2b_duplicate_gap_s=5, c2b_delay_s=100, callback_drop=True
    )

    paid = hand()
    advance_and_settle(simulator, 99)
    assert receiver.posted == []
    simulator.advance(2)
    assert len(posted_to(receiver, CONFIRM)) == 1
    simulator.advance(5)

    first, second = posted_to(receiver, CONFIRM, 2)
    assert first == second
    assert first["TransID"] == paid["receipt"]
    assert len(simulator.ledger()) == 1


def test_refused_confirmation_is_tried_again_by_switch_only(
    simulator, merchant, receiver, hand
):
    merchant.registered()
    receiver.statuses = [503]
    hand()
    posted_to(receiver, CONFIRM)
    advance_and_settle(simulator, 60)
    assert len(receiver.posted) == 1

    simulator.faults(c2b_retry_on_non200=True, c2b_retry_gap_s=0.05)
    receiver.statuses = [503, 200]
    hand()

    def answers():
        return [notice["status"] for notice in simulator.ledger()[0]["notices"]]

    assert len(posted_to(receiver, CONFIRM, 3)) == 3
    # Written down once the receiver has answered, a moment after it has the body.
    wait_until(lambda: len(answers()) == 2)
    assert answers() == [503, 200]


@pytest.mark.parametrize(
    ("switch", "value", "field", "told"),
    [
        ("c2b_amount", 1, "TransAmount", "1.00"),
        ("c2b_receipt", "UAE5B2K9QT", "TransID", "UAE5B2K9QT"),
        ("c2b_bill_reference", " k7q2m9", "BillRefNumber", " k7q2m9"),
        ("c2b_bill_reference", "", "BillRefNumber", ""),
        ("c2b_shortcode", "600200", "BusinessShortCode", "600200"),
        ("c2b_transaction_type", "Buy Goods", "TransactionType", "Buy Goods"),
        ("c2b_phone", "254799999999", "MSISDN", "254799999999"),
    ],
)
def test_confirmation_can_lie(
    simulator, merchant, receiver, hand, switch, value, field, told
):
    merchant.registered()
    simulator.faults(**{switch: value})

    paid = hand()

    assert posted_to(receiver, CONFIRM)[0][field] == told
    (entry,) = simulator.ledger()
    assert (entry["amount"], entry["accountReference"]) == (250, "K7Q2M9")
    assert entry["receipt"] == paid["receipt"]


@pytest.mark.parametrize("kind", ["truncated", "non_json", "empty", "array"])
def test_confirmation_body_can_be_broken(simulator, merchant, receiver, hand, kind):
    merchant.registered()
    simulator.faults(c2b_body=kind)

    hand()

    body = receiver.wait_for()[0].body
    if kind == "array":
        assert json.loads(body)[0]["TransAmount"] == "250.00"
    else:
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            json.loads(body)


def test_amount_can_stand_twice(simulator, merchant, receiver, hand):
    merchant.registered()
    simulator.faults(c2b_body="doubled_key")

    hand()

    body = receiver.wait_for()[0].body.decode()
    assert '"TransAmount": "251.00", "TransAmount": "250.00"' in body


def test_confirmation_can_be_sent_again_bent(simulator, merchant, receiver, hand):
    merchant.registered()
    receipt = hand()["receipt"]
    posted_to(receiver, CONFIRM)

    attempt = simulator.control(
        f"payments/{receipt}/confirmation", {"bill_reference": "WRONG"}
    )

    assert attempt["status"] == 200
    assert posted_to(receiver, CONFIRM, 2)[1]["BillRefNumber"] == "WRONG"
    assert len(simulator.ledger()) == 1


def test_confirmation_again_needs_a_payment_and_an_address(simulator, hand):
    receipt = hand()["receipt"]
    url = f"{simulator.url}/__sim__/payments"

    unregistered = requests.post(f"{url}/{receipt}/confirmation", timeout=5)
    unknown = requests.post(f"{url}/UAE5B2K9QT/confirmation", timeout=5)
    nonsense = requests.post(
        f"{url}/{receipt}/confirmation", json={"drop": True}, timeout=5
    )

    assert [r.status_code for r in (unregistered, unknown, nonsense)] == [409, 404, 400]


def test_nothing_is_signed(merchant, receiver, hand):
    merchant.registered()

    hand()

    assert set(receiver.wait_for()[0].headers) <= {
        "Host",
        "User-Agent",
        "Accept",
        "Accept-Encoding",
        "Connection",
        "Content-Type",
        "Content-Length",
    }


def test_stats_count_confirmations_and_validations(simulator, merchant, hand, receiver):
    merchant.registered()
    simulator.faults(c2b_validation=True)
    hand()
    posted_to(receiver, CONFIRM)
    # Counted once the receiver has answered, a moment after it has the body.
    wait_until(lambda: "confirmationsAccepted" in simulator.stats())

    stats = simulator.stats()

    assert (stats["registrations"], stats["validations"]) == (1, 1)
    assert (stats["confirmations"], stats["confirmationsAccepted"]) == (1, 1)
