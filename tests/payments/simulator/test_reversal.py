from __future__ import annotations

import re
import time

import pytest
import requests

from tests.payments.simulator.conftest import (
    PHONE,
    RESULT,
    TIMEOUT,
    TillMerchant,
    advance_and_settle,
    posted_to,
    refusal,
)
from tests.support.simulator import wait_until


def result(receiver, number=1):
    return posted_to(receiver, RESULT, number)[number - 1]["Result"]


def parameters(told):
    items = told["ResultParameters"]["ResultParameter"]
    return {item["Key"]: item.get("Value") for item in items}


def test_acknowledgement_has_two_ids(merchant, hand):
    response = merchant.reverse(hand()["receipt"])

    body = response.json()
    assert re.fullmatch(r"AG_\d{8}_2010[0-9a-f]{16}", body.pop("ConversationID"))
    assert body.pop("OriginatorConversationID").count("-") == 3
    assert body == {
        "ResponseCode": "0",
        "ResponseDescription": "Accept the service request successfully.",
    }


def test_money_goes_back_and_the_result_tells(simulator, merchant, receiver, hand):
    paid = hand()

    accepted = merchant.reverse(paid["receipt"]).json()
    told = result(receiver)

    back, first = simulator.ledger()
    assert told == {
        "ResultType": 0,
        "ResultCode": 0,
        "ResultDesc": "The service request is processed successfully.",
        "OriginatorConversationID": accepted["OriginatorConversationID"],
        "ConversationID": accepted["ConversationID"],
        "TransactionID": back["receipt"],
        "ResultParameters": told["ResultParameters"],
        "ReferenceData": {
            "ReferenceItem": {
                "Key": "QueueTimeoutURL",
                "Value": told["ReferenceData"]["ReferenceItem"]["Value"],
            }
        },
    }
    stamp = int(re.sub(r"\D", "", back["time"])[:14])
    payer = parameters(told)["CreditPartyPublicName"]
    assert payer.startswith(f"{PHONE} - ")
    assert parameters(told) == {
        "DebitAccountBalance": "Utility Account|KES|0.00|0.00|0.00|0.00",
        "Amount": 250,
        "TransCompletedTime": stamp,
        "OriginalTransactionID": paid["receipt"],
        "Charge": 0,
        "CreditPartyPublicName": payer,
        "DebitPartyPublicName": "600100 - SMARTDUKA",
    }
    assert (back["kind"], back["amount"], back["party"]) == ("reversal", 250, PHONE)
    assert (back["linkedReceipt"], back["balance"]) == (paid["receipt"], 0)
    assert (first["reversed"], first["reversedBy"]) == (True, back["receipt"])
    assert simulator.get(f"phones/{PHONE}")["balance"] == 50_000
    assert "reversed" in simulator.get(f"phones/{PHONE}")["messages"][0]["text"]


def test_paid_prompt_is_reversed_too(simulator, merchant, receiver):
    prompt = simulator.answer(merchant.pushed(), "pay")

    merchant.reverse(prompt["receipt"])

    assert result(receiver)["ResultCode"] == 0
    assert [entry["kind"] for entry in simulator.ledger()] == ["reversal", "stk"]


def test_result_comes_after_a_while(simulator, merchant, receiver, hand):
    simulator.faults(initiator_delay_s=30)
    merchant.reverse(hand()["receipt"])

    advance_and_settle(simulator, 29)
    assert (len(simulator.ledger()), receiver.posted) == (1, [])
    advance_and_settle(simulator, 2)

    assert result(receiver)["ResultCode"] == 0
    assert len(simulator.ledger()) == 2


def failure(receiver, number=1):
    told = result(receiver, number)
    assert "ResultParameters" not in told
    assert re.fullmatch(r"[T-Z][A-L][1-9A-V]0000000", told["TransactionID"])
    return told["ResultCode"]


def test_second_time_is_R000001(simulator, merchant, receiver, hand):  # noqa: N802
    receipt = hand()["receipt"]
    merchant.reverse(receipt)
    result(receiver)

    merchant.reverse(receipt)

    assert failure(receiver, 2) == "R000001"
    assert len(simulator.ledger()) == 2


def test_two_at_once_move_the_money_once(simulator, merchant, receiver, hand):
    receipt = hand()["receipt"]

    merchant.reverse(receipt)
    merchant.reverse(receipt)

    codes = {str(one["Result"]["ResultCode"]) for one in posted_to(receiver, RESULT, 2)}
    assert codes == {"0", "R000001"}
    assert len(simulator.ledger()) == 2


def test_unknown_receipt_is_R000002(merchant, receiver):  # noqa: N802
    merchant.reverse("UAE5B2K9QT")

    assert failure(receiver) == "R000002"


def test_receipt_of_another_organisation_is_unknown(simulator, merchant, receiver):
    paid = simulator.pay("5600301", 250, phone=PHONE)

    merchant.reverse(paid["receipt"])

    assert failure(receiver) == "R000002"
    assert len(simulator.ledger()) == 1


def test_what_no_customer_paid_cannot_be_reversed(simulator, merchant, receiver, hand):
    hand()
    hand()
    swept = simulator.control("sweep", {"shortcode": "600100", "amount": 250})

    merchant.reverse(swept["receipt"])

    assert failure(receiver) == "R000002"


def test_swept_money_is_not_there_any_more(simulator, merchant, receiver, hand):
    receipt = hand()["receipt"]
    simulator.control("sweep", {"shortcode": "600100", "amount": 1})

    merchant.reverse(receipt)

    assert failure(receiver) == 1
    assert simulator.ledger()[1]["reversed"] is False
    assert simulator.get(f"phones/{PHONE}")["balance"] == 49_750


@pytest.mark.parametrize("amount", [249, 251])
def test_only_the_whole_amount_is_reversed(simulator, merchant, receiver, hand, amount):
    receipt = hand()["receipt"]
    hand(amount=1000)

    merchant.reverse(receipt, amount=amount)

    assert failure(receiver) == 2028
    assert len(simulator.ledger()) == 2


def test_initiator_without_the_role_is_21(simulator, receiver):
    account = simulator.get("accounts")["accounts"][2]
    roles = "Transaction Status query ORG API, Balance Query ORG API"
    simulator.control("accounts", account | {"roles": roles})
    try:
        till = TillMerchant(simulator.url, f"{receiver.url}/hooks/stk/abc")
        paid = simulator.pay("5600301", 250, phone=PHONE)

        till.reverse(paid["receipt"])
        assert failure(receiver) == 21
        till.ask_status(paid["receipt"])
        assert result(receiver, 2)["ResultCode"] == 0
    finally:
        simulator.control("accounts", account)
        till.http.close()
    assert len(simulator.ledger()) == 1


def test_lost_result_leaves_the_money_moved(simulator, merchant, receiver, hand):
    simulator.faults(result_drop=True)

    merchant.reverse(hand()["receipt"])
    wait_until(lambda: len(simulator.ledger()) == 2)
    advance_and_settle(simulator, 60)

    assert receiver.posted == []
    assert [entry["kind"] for entry in simulator.ledger()] == ["reversal", "c2b"]


def test_queue_time_out_does_nothing_and_tells_the_other_address(
    simulator, merchant, receiver, hand
):
    simulator.faults(initiator_queue_timeout=True)

    accepted = merchant.reverse(hand()["receipt"]).json()

    (told,) = posted_to(receiver, TIMEOUT)
    assert told["Result"]["ConversationID"] == accepted["ConversationID"]
    assert told["Result"]["ResultCode"] != 0
    assert [one.path for one in receiver.posted] == [TIMEOUT]
    assert len(simulator.ledger()) == 1


def test_lost_acknowledgement_moves_the_money(simulator, merchant, hand):
    receipt = hand()["receipt"]
    merchant.credential()
    simulator.faults(initiator_error="reset", initiator_error_after_accept=True)

    with pytest.raises(requests.ConnectionError):
        merchant.reverse(receipt)

    wait_until(lambda: len(simulator.ledger()) == 2)


@pytest.mark.parametrize("error", ["busy", "html_503", "internal"])
def test_refused_order_does_nothing(simulator, merchant, hand, error):
    receipt = hand()["receipt"]
    simulator.faults(initiator_error=error)

    assert merchant.reverse(receipt).status_code in (500, 503)

    time.sleep(0.2)
    assert len(simulator.ledger()) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"Initiator": None}, "Initiator"),
        ({"SecurityCredential": ""}, "SecurityCredential"),
        ({"CommandID": "Reversal"}, "CommandID"),
        ({"TransactionID": None}, "TransactionID"),
        ({"Amount": "250.00"}, "Amount"),
        ({"ReceiverParty": None}, "ReceiverParty"),
        ({"ReceiverParty": "600200"}, "ReceiverParty"),
        ({"RecieverIdentifierType": "4"}, "RecieverIdentifierType"),
        (
            {"RecieverIdentifierType": None, "ReceiverIdentifierType": "11"},
            "RecieverIdentifierType",
        ),
        ({"ResultURL": "nowhere"}, "ResultURL"),
        ({"QueueTimeOutURL": None}, "QueueTimeOutURL"),
        ({"Remarks": "x"}, "Remarks"),
        ({"Remarks": "x" * 101}, "Remarks"),
    ],
    ids=str,
)
def test_bad_order_names_its_field(merchant, changes, field):
    body = {"SecurityCredential": "sealed"} | changes

    response = merchant.reverse("UAE5B2K9QT", **body)

    expected = (400, "400.002.02", f"Bad Request - Invalid {field}")
    assert refusal(response) == expected


def test_bad_token_is_http_404_here(merchant):
    response = merchant.post("/mpesa/reversal/v1/request", json={}, headers={})

    assert refusal(response) == (404, "404.001.03", "Invalid Access Token")


# Results that are harder to read.


def test_key_can_come_twice_and_lack_its_value(simulator, merchant, receiver, hand):
    simulator.faults(result_doubled_key="Amount", result_without_value="Charge")

    merchant.reverse(hand()["receipt"])

    items = result(receiver)["ResultParameters"]["ResultParameter"]
    amounts = [item for item in items if item["Key"] == "Amount"]
    assert amounts == [
        {"Key": "Amount", "Value": "another"},
        {"Key": "Amount", "Value": 250},
    ]
    assert {"Key": "Charge"} in items


@pytest.mark.parametrize(
    ("switches", "look", "told"),
    [
        ({"result_code": "11"}, lambda r: r["ResultCode"], 11),
        ({"result_code_type": "string"}, lambda r: r["ResultCode"], "0"),
        ({"result_receipt": "UAE5B2K9QT"}, lambda r: r["TransactionID"], "UAE5B2K9QT"),
        ({"result_amount": 9}, lambda r: parameters(r)["Amount"], 9),
        (
            {"result_parameters": "object"},
            lambda r: r["ResultParameters"]["ResultParameter"]["Key"],
            "DebitAccountBalance",
        ),
        ({"result_parameters": "absent"}, lambda r: "ResultParameters" in r, False),
        (
            {"result_reference": "array"},
            lambda r: r["ReferenceData"]["ReferenceItem"][0]["Key"],
            "QueueTimeoutURL",
        ),
    ],
    ids=str,
)
def test_result_comes_in_other_shapes(
    simulator, merchant, receiver, hand, switches, look, told
):
    simulator.faults(**switches)

    merchant.reverse(hand()["receipt"])

    assert look(result(receiver)) == told
    assert len(simulator.ledger()) == 2


def test_ids_can_be_of_somebody_else(simulator, merchant, receiver, hand):
    simulator.faults(result_foreign_ids=True)

    accepted = merchant.reverse(hand()["receipt"]).json()

    told = result(receiver)
    assert told["ConversationID"] != accepted["ConversationID"]
    assert told["OriginatorConversationID"] != accepted["OriginatorConversationID"]


def test_result_comes_twice(simulator, merchant, receiver, hand):
    simulator.faults(result_duplicates=1, result_duplicate_gap_s=0.05)

    merchant.reverse(hand()["receipt"])

    first, second = posted_to(receiver, RESULT, 2)
    assert first == second
    assert len(simulator.ledger()) == 2


def test_result_body_can_be_broken(simulator, merchant, receiver, hand):
    simulator.faults(result_body="truncated")

    merchant.reverse(hand()["receipt"])

    assert not receiver.wait_for()[0].body.endswith(b"}")
