from __future__ import annotations

import re

import pytest

from tests.payments.simulator.conftest import (
    PHONE,
    SUCCESS,
    advance_and_settle,
    refusal,
)


PUSH = "/mpesa/stkpush/v1/processrequest"
INVALID_TOKEN = (404, "404.001.03", "Invalid Access Token")
MERCHANT = (500, "500.001.1001", "Merchant does not exist")
WRONG_CREDENTIALS = (500, "500.001.1001", "[MerchantValidate] - Wrong credentials")
LOCKED = (
    500,
    "500.001.1001",
    "Unable to lock subscriber, a transaction is already in process "
    "for the current subscriber",
)


def invalid(field):
    return 400, "400.002.02", f"Bad Request - Invalid {field}"


def test_accepted_push_answers_with_five_strings(merchant):
    response = merchant.push()

    assert response.status_code == 200
    body = response.json()
    assert body == {
        "MerchantRequestID": body["MerchantRequestID"],
        "CheckoutRequestID": body["CheckoutRequestID"],
        "ResponseCode": "0",
        "ResponseDescription": SUCCESS,
        "CustomerMessage": SUCCESS,
    }
    assert re.fullmatch(
        r"[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\d{4}",
        body["MerchantRequestID"],
    )
    assert re.fullmatch(r"ws_CO_\d{14}\d{1,3}712345678", body["CheckoutRequestID"])


def test_accepted_push_waits_on_the_phone(simulator, merchant):
    checkout_id = merchant.pushed()

    prompt = simulator.wait_for_prompt("0712 345 678")
    assert prompt["checkoutRequestId"] == checkout_id
    assert prompt["amount"] == 250
    assert prompt["phone"] == PHONE
    assert prompt["accountReference"] == "K7Q2M9"
    assert (prompt["shortcode"], prompt["partyB"]) == ("600100", "600100")
    assert (prompt["resultCode"], prompt["receipt"]) == (None, None)
    assert prompt["callbackUrl"] == merchant.callback_url
    assert prompt["callbacks"] == []
    assert simulator.ledger() == []


def test_numbers_are_as_good_as_strings(merchant):
    response = merchant.push(
        BusinessShortCode=600100,
        Amount=250,
        PartyA=int(PHONE),
        PartyB=600100,
        PhoneNumber=int(PHONE),
    )

    assert response.status_code == 200


def test_fields_that_daraja_does_not_know_are_ignored(merchant):
    assert merchant.push(Passkey="whatever", Remark="x").status_code == 200


def test_till_pushes_with_store_number_and_till(simulator, till):
    checkout_id = till.pushed()

    prompt = simulator.prompt(checkout_id)
    assert (prompt["shortcode"], prompt["partyB"]) == ("600300", "5600301")
    assert prompt["name"] == "DUKA TILL"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"BusinessShortCode": None}, "BusinessShortCode"),
        ({"BusinessShortCode": "12"}, "BusinessShortCode"),
        ({"BusinessShortCode": True}, "BusinessShortCode"),
        ({"Password": None}, "Password"),
        ({"Timestamp": None}, "Timestamp"),
        ({"Timestamp": "2026-01-14"}, "Timestamp"),
        ({"Timestamp": "20261399093015"}, "Timestamp"),
        ({"TransactionType": "CustomerPayBill"}, "TransactionType"),
        ({"Amount": None}, "Amount"),
        ({"Amount": "0"}, "Amount"),
        ({"Amount": -5}, "Amount"),
        ({"Amount": "250.00"}, "Amount"),
        ({"Amount": 250.5}, "Amount"),
        ({"Amount": [250]}, "Amount"),
        ({"PartyA": "0712345678"}, "PartyA"),
        ({"PartyB": "x"}, "PartyB"),
        ({"PhoneNumber": "+254712345678"}, "PhoneNumber"),
        ({"PhoneNumber": "254212345678"}, "PhoneNumber"),
        ({"PhoneNumber": "25471234567"}, "PhoneNumber"),
        ({"CallBackURL": None}, "CallBackURL"),
        ({"CallBackURL": "not an address"}, "CallBackURL"),
        ({"CallBackURL": "ftp://example.co.ke/cb"}, "CallBackURL"),
        ({"CallBackURL": "https:///cb"}, "CallBackURL"),
        ({"CallBackURL": "http://[::1/cb"}, "CallBackURL"),
        ({"AccountReference": None}, "AccountReference"),
        ({"AccountReference": "ABCDEFGHIJKLM"}, "AccountReference"),
        ({"AccountReference": "SHOP-1"}, "AccountReference"),
        ({"TransactionDesc": None}, "Remarks"),
        ({"TransactionDesc": "  "}, "Remarks"),
        ({"TransactionDesc": "fourteen signs"}, "Remarks"),
    ],
    ids=lambda value: str(value),
)
def test_each_bad_field_is_named(simulator, merchant, changes, field):
    assert refusal(merchant.push(**changes)) == invalid(field)
    assert simulator.prompts() == []


def test_first_bad_field_in_order_is_named(merchant):
    everything = {
        "BusinessShortCode": "x",
        "Password": "",
        "Timestamp": "x",
        "TransactionType": "x",
        "Amount": "x",
        "PartyA": "x",
        "PartyB": "x",
        "PhoneNumber": "x",
        "CallBackURL": "x",
        "AccountReference": "?",
        "TransactionDesc": "",
    }
    good = merchant.push_body()
    named = []
    for field in everything:
        named.append(refusal(merchant.push(**everything))[2].split()[-1])
        everything = everything | {field: good[field]}

    assert named == [*list(good)[:-1], "Remarks"]


def test_order_is_token_content_type_fields_merchant_password_lock(merchant):
    merchant.pushed()  # locks the subscriber
    bearer = {"Authorization": f"Bearer {merchant.token}"}
    wrong = {"Password": "d3Jvbmc="}
    unknown = {"BusinessShortCode": "999999"}
    bad_field = {"Amount": "x"}

    def sent(headers, **changes):
        body = merchant.push_body(**changes)
        return refusal(merchant.post(PUSH, json=body, headers=headers))

    typed = {"Content-Type": "text/plain"}
    seen = [
        sent(typed, **bad_field, **unknown, **wrong),
        sent(bearer | typed, **bad_field, **unknown, **wrong),
        sent(bearer, **bad_field, **unknown, **wrong),
        sent(bearer, **unknown, **wrong),
        sent(bearer, **wrong),
        sent(bearer),
    ]

    assert seen == [
        INVALID_TOKEN,
        invalid("BusinessShortCode"),
        invalid("Amount"),
        MERCHANT,
        WRONG_CREDENTIALS,
        LOCKED,
    ]


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}],
    ids=["none", "wrong", "basic"],
)
def test_missing_or_bad_bearer_is_a_404(merchant, headers):
    response = merchant.post(PUSH, json=merchant.push_body(), headers=headers)

    assert refusal(response) == INVALID_TOKEN


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b"\xff"], ids=repr)
def test_malformed_json_is_an_invalid_payload(merchant, body):
    response = merchant.post(
        PUSH,
        data=body,
        headers={
            "Authorization": f"Bearer {merchant.token}",
            "Content-Type": "application/json",
        },
    )

    assert refusal(response) == (400, "400.002.05", "Invalid Request Payload")


def test_get_is_not_allowed(merchant):
    response = merchant.http.get(f"{merchant.url}{PUSH}", timeout=5)

    assert refusal(response) == (405, "405.001", "GET Method Not Allowed")


def test_till_number_in_place_of_the_store_number_does_not_exist(till):
    till.shortcode = "5600301"

    assert refusal(till.push()) == MERCHANT


def test_shortcode_of_another_app_does_not_exist(merchant):
    response = merchant.push(BusinessShortCode="600200")

    assert refusal(response) == MERCHANT


def test_password_of_another_moment_is_wrong(merchant):
    response = merchant.push(Timestamp="20260114093015")

    assert refusal(response) == WRONG_CREDENTIALS


def test_published_sandbox_password_is_right(simulator, merchant):
    merchant.key, merchant.secret = "sim-sandbox-key", "sim-sandbox-secret"
    password = (
        "MTc0Mzc5YmZiMjc5ZjlhYTliZGJjZjE1OGU5N2RkNzFhNDY3Y2QyZTBjODkzMDU5YjEwZjc4ZTZi"
        "NzJhZGExZWQyYzkxOTIwMjYwMTE0MDkzMDE1"
    )

    response = merchant.push(
        BusinessShortCode="174379",
        PartyB="174379",
        Timestamp="20260114093015",
        Password=password,
    )

    assert response.status_code == 200
    note = simulator.get("journal")["journal"][0]["note"]
    assert "not within 15 minutes of East Africa Time" in note


def test_stale_timestamp_is_refused_only_by_switch(simulator, merchant):
    simulator.advance(16 * 60)
    assert merchant.push().status_code == 200

    simulator.faults(eat_strict=True)
    other = "254712345679"

    assert refusal(merchant.push(phone=other)) == invalid("Timestamp")


def test_open_prompt_locks_the_subscriber_for_every_shop(simulator, merchant, till):
    checkout_id = merchant.pushed()
    assert refusal(till.push(Amount="10")) == LOCKED
    assert till.push(phone="254712345679").status_code == 200

    simulator.answer(checkout_id, "cancel")

    assert till.push(Amount="10").status_code == 200


def test_ignored_prompt_keeps_the_lock_until_it_times_out(simulator, merchant):
    checkout_id = merchant.pushed()
    simulator.answer(checkout_id, "ignore")
    assert refusal(merchant.push()) == LOCKED

    advance_and_settle(simulator, 58)
    assert refusal(merchant.push()) == LOCKED
    simulator.advance(2)
    simulator.wait_for_callbacks(checkout_id)

    assert merchant.push().status_code == 200


def test_lax_text_passes_by_switch(simulator, merchant):
    simulator.faults(text_limits=False, require_remarks=False)

    response = merchant.push(AccountReference="SHOP-1-ORDER-77", TransactionDesc=None)

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("switch", "url", "is_accepted"),
    [
        ("url_words", "http://127.0.0.1:9/payments/Mpesa/callback", False),
        ("url_words", "http://127.0.0.1:9/cb?query=1", False),
        ("url_words", "http://127.0.0.1:9/hooks/stk/abc", True),
        ("https_only", "http://127.0.0.1:9/hooks/stk/abc", False),
        ("https_only", "https://127.0.0.1:9/hooks/stk/abc", True),
    ],
)
def test_address_rules_apply_by_switch(simulator, merchant, switch, url, is_accepted):
    assert merchant.push(CallBackURL=url, phone="254712345671").status_code == 200
    simulator.faults(**{switch: True})

    response = merchant.push(CallBackURL=url)

    assert (response.status_code == 200) is is_accepted
    if not is_accepted:
        assert refusal(response) == invalid("CallBackURL")


def test_same_amount_within_two_minutes_of_payment_ends_in_17(
    simulator, merchant, receiver
):
    simulator.answer(merchant.pushed(), "pay")
    repeated = merchant.pushed()

    simulator.wait_for_callbacks(repeated)

    prompt = simulator.prompt(repeated)
    assert (prompt["status"], prompt["resultCode"]) == ("refused", "17")
    assert {posted.stk["ResultCode"] for posted in receiver.wait_for(2)} == {0, 17}
    assert len(simulator.ledger()) == 1


def test_refused_prompt_is_unseen_and_cannot_be_paid_by_hand(simulator, merchant):
    simulator.faults(auto_delay_s=30)
    simulator.answer(merchant.pushed(), "pay")
    repeated = merchant.pushed()

    assert simulator.get(f"phones/{PHONE}")["prompt"] is None
    assert simulator.answer(repeated, "pay")["resultCode"] == "17"
    assert len(simulator.ledger()) == 1


def test_another_amount_a_later_time_and_the_switch_avoid_17(simulator, merchant):
    simulator.answer(merchant.pushed(), "pay")

    other_amount = merchant.pushed(Amount="251")
    assert simulator.answer(other_amount, "pay")["resultCode"] == "0"
    simulator.faults(rule17=False)
    assert simulator.answer(merchant.pushed(), "pay")["resultCode"] == "0"
    simulator.faults(rule17=True)
    simulator.advance(120)
    assert simulator.answer(merchant.pushed(), "pay")["resultCode"] == "0"


def test_unpaid_push_of_the_same_amount_does_not_lead_to_17(simulator, merchant):
    simulator.answer(merchant.pushed(), "cancel")

    assert simulator.answer(merchant.pushed(), "pay")["resultCode"] == "0"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"TransactionType": "CustomerBuyGoodsOnline"}, "2028"),
        ({"PartyB": "5600301"}, "SFC_IC0003"),
    ],
    ids=["type", "party"],
)
def test_wrong_pairing_is_refused_afterwards(
    simulator, merchant, receiver, changes, code
):
    checkout_id = merchant.pushed(**changes)

    simulator.wait_for_callbacks(checkout_id)

    assert simulator.prompt(checkout_id)["resultCode"] == code
    assert str(receiver.posted[0].stk["ResultCode"]) == code


@pytest.mark.parametrize(
    ("amount", "code"),
    [("50000", "0"), ("50001", "1"), ("250001", "3")],
)
def test_balance_and_maximum_decide_when_the_pin_is_typed(
    simulator, merchant, amount, code
):
    checkout_id = merchant.pushed(Amount=amount)

    assert simulator.answer(checkout_id, "pay")["resultCode"] == code


def test_daily_limit_ends_in_4(simulator, merchant):
    simulator.control(f"phones/{PHONE}", {"balance": 900_000})
    simulator.answer(merchant.pushed(Amount="250000"), "pay")
    simulator.answer(merchant.pushed(Amount="249999"), "pay")

    over = merchant.pushed(Amount="2")

    assert simulator.answer(over, "pay")["resultCode"] == "4"
    assert simulator.get(f"phones/{PHONE}")["balance"] == 900_000 - 499_999
