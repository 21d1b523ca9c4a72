"""Transaction Status and Account Balance."""

from __future__ import annotations

import re

import pytest

from tests.payments.simulator.conftest import (
    PHONE,
    RESULT,
    VALIDATE,
    posted_to,
    refusal,
)


def result(receiver, number=1):
    return posted_to(receiver, RESULT, number)[number - 1]["Result"]


def items(told):
    return told["ResultParameters"]["ResultParameter"]


def values(told, key):
    return [item.get("Value") for item in items(told) if item["Key"] == key]


def test_status_of_a_payment(merchant, receiver, hand):
    paid = hand()

    accepted = merchant.ask_status(paid["receipt"]).json()
    told = result(receiver)

    stamp = int(re.sub(r"\D", "", paid["time"])[:14])
    payer, payee = values(told, "DebitPartyName")
    assert payer.startswith(f"{PHONE} - ")
    assert payee == "600100 - SMARTDUKA"
    assert (told["ResultCode"], told["ResultType"]) == (0, 0)
    assert told["ConversationID"] == accepted["ConversationID"]
    assert told["OriginatorConversationID"] == accepted["OriginatorConversationID"]
    assert {item["Key"]: item.get("Value", "none") for item in items(told)} == {
        "DebitPartyName": payee,
        "CreditPartyName": payee,
        "OriginatorConversationID": "none",
        "InitiatedTime": values(told, "InitiatedTime")[0],
        "DebitAccountType": "Utility Account",
        "TransactionReason": "none",
        "ReasonType": "Pay Bill",
        "TransactionStatus": "Completed",
        "FinalisedTime": stamp,
        "Amount": "250",
        "ConversationID": "none",
        "ReceiptNo": paid["receipt"],
        "DebitPartyCharges": "none",
    }
    assert {"Key": "TransactionReason"} in items(told)
    assert 0 <= stamp - values(told, "InitiatedTime")[0] <= 1 or stamp % 100 == 0


def test_status_of_a_till_names_the_till(simulator, till, receiver):
    paid = simulator.pay("5600301", 80, phone=PHONE)

    till.ask_status(paid["receipt"], PartyA="5600301", IdentifierType="2")

    told = result(receiver)
    assert values(told, "CreditPartyName") == ["5600301 - DUKA TILL"]
    assert values(told, "ReasonType") == ["Customer Merchant Payment"]


def test_status_of_a_paid_prompt_by_its_receipt_only(simulator, merchant, receiver):
    push = merchant.push().json()
    prompt = simulator.answer(push["CheckoutRequestID"], "pay")

    merchant.ask_status(prompt["receipt"])
    assert values(result(receiver), "Amount") == ["250"]
    merchant.ask_status(push["CheckoutRequestID"])
    assert result(receiver, 2)["ResultCode"] == 25
    merchant.ask_status(None, OriginalConversationID=push["MerchantRequestID"])
    assert result(receiver, 3)["ResultCode"] == 25


def test_receipt_of_another_organisation_is_unknown(simulator, merchant, receiver):
    paid = simulator.pay("5600301", 80, phone=PHONE)

    merchant.ask_status(paid["receipt"])

    told = result(receiver)
    assert told["ResultCode"] == 25
    assert "ResultParameters" not in told


def test_payer_may_be_named_instead_of_the_organisation(merchant, receiver, hand):
    merchant.ask_status(hand()["receipt"], PartyA=PHONE, IdentifierType="1")

    assert result(receiver)["ResultCode"] == 0


def test_reversal_is_found_by_its_conversation(simulator, merchant, receiver, hand):
    accepted = merchant.reverse(hand()["receipt"]).json()
    result(receiver)

    merchant.ask_status(
        None, OriginalConversationID=accepted["OriginatorConversationID"]
    )

    told = result(receiver, 2)
    back = simulator.ledger()[0]
    payer, payee = values(told, "DebitPartyName")
    assert values(told, "ReceiptNo") == [back["receipt"]]
    assert (payer, payee.split(" - ")[0]) == ("600100 - SMARTDUKA", PHONE)
    assert values(told, "ConversationID") == [accepted["ConversationID"]]


@pytest.mark.parametrize(
    ("switches", "word"),
    [({}, "Completed"), ({"status_after_reversal": "Reversed"}, "Reversed")],
)
def test_what_is_said_of_a_reversed_payment_is_a_switch(
    simulator, merchant, receiver, hand, switches, word
):
    receipt = hand()["receipt"]
    simulator.faults(**switches)
    merchant.reverse(receipt)
    result(receiver)

    merchant.ask_status(receipt)

    assert values(result(receiver, 2), "TransactionStatus") == [word]


def test_rejected_payment_is_declined(simulator, merchant, receiver):
    merchant.registered()
    simulator.faults(c2b_validation=True)
    receiver.answers[VALIDATE] = ['{"ResultCode": "C2B00016"}']
    with pytest.raises(AssertionError, match="409"):
        simulator.pay("600100", 5, phone=PHONE, reference="A")
    receipt = posted_to(receiver, VALIDATE)[0]["TransID"]

    merchant.ask_status(receipt)

    assert values(result(receiver), "TransactionStatus") == ["Declined"]
    merchant.reverse(receipt, amount=5)
    assert result(receiver, 2)["ResultCode"] == "R000002"
    assert simulator.ledger() == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"Initiator": None}, "Initiator"),
        ({"CommandID": None}, "CommandID"),
        ({"TransactionID": None}, "TransactionID"),
        ({"PartyA": "0712345678"}, "PartyA"),
        ({"PartyA": "600200"}, "PartyA"),
        ({"IdentifierType": "11"}, "IdentifierType"),
        ({"ResultURL": None}, "ResultURL"),
        ({"Remarks": None}, "Remarks"),
    ],
    ids=str,
)
def test_bad_status_query_names_its_field(merchant, changes, field):
    response = merchant.ask_status("UAE5B2K9QT", **changes)

    expected = (400, "400.002.02", f"Bad Request - Invalid {field}")
    assert refusal(response) == expected


def test_balance_of_a_paybill(simulator, merchant, receiver, hand):
    simulator.faults(charge_percent=1)
    hand(amount=1000)
    simulator.control("sweep", {"shortcode": "600100", "amount": 90})

    merchant.ask_balance()

    told = result(receiver)
    assert (told["ResultCode"], told["ResultType"]) == ("0", "0")
    assert values(told, "AccountBalance") == [
        "Working Account|KES|0.00|0.00|0.00|0.00"
        "&Utility Account|KES|900.00|900.00|0.00|0.00"
        "&Charges Paid Account|KES|-10.00|-10.00|0.00|0.00"
        "&Organization Settlement Account|KES|0.00|0.00|0.00|0.00"
    ]
    assert len(str(values(told, "BOCompletedTime")[0])) == 14


def test_balance_of_a_till_is_in_its_merchant_account(simulator, till, receiver):
    simulator.pay("5600301", 80, phone=PHONE)

    till.ask_balance()

    (told,) = values(result(receiver), "AccountBalance")
    assert "&Merchant Account|KES|80.00|80.00|0.00|0.00&" in told


def test_balance_is_refused_with_string_code_and_number_by_switch(
    simulator, merchant, receiver
):
    wrong = merchant.credential("wrong")
    merchant.ask_balance(SecurityCredential=wrong)
    assert result(receiver)["ResultCode"] == "2001"

    simulator.faults(result_code_type="number")
    merchant.ask_balance()
    assert result(receiver, 2)["ResultCode"] == 0


def test_each_api_refuses_a_bad_token_in_its_own_way(merchant):
    def bare(path):
        return refusal(merchant.post(path, json={}, headers={}))[:2]

    assert bare("/mpesa/transactionstatus/v1/query") == (400, "400.003.01")
    assert bare("/mpesa/accountbalance/v1/query") == (401, "401.002.01")


@pytest.mark.parametrize(
    "path",
    [
        "/mpesa/transactionstatus/v1/query",
        "/mpesa/accountbalance/v1/query",
        "/mpesa/reversal/v1/request",
        "/mpesa/c2b/v2/registerurl",
        "/mpesa/c2b/v2/simulate",
        "/mpesa/qrcode/v1/generate",
        "/pulltransactions/v1/register",
        "/pulltransactions/v1/query",
    ],
)
def test_wrong_verb_and_unreadable_body(merchant, path):
    got = merchant.http.get(f"{merchant.url}{path}", timeout=5)
    broken = merchant.post(
        path,
        data=b"{",
        headers={
            "Authorization": f"Bearer {merchant.token}",
            "Content-Type": "application/json",
        },
    )

    assert refusal(got) == (405, "405.001", "GET Method Not Allowed")
    assert refusal(broken) == (400, "400.002.05", "Invalid Request Payload")
