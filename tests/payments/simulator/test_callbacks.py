from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.payments.simulator.conftest import PHONE, advance_and_settle
from tests.support.simulator import wait_until


EAST_AFRICA = timezone(timedelta(hours=3))


@pytest.fixture
def paid(simulator, merchant):
    """Push, set nothing, pay; return the prompt."""

    def pay(**changes):
        return simulator.answer(merchant.pushed(**changes), "pay")

    return pay


def test_success_has_the_published_shape_and_types(simulator, merchant, receiver):
    push = merchant.push().json()
    prompt = simulator.answer(push["CheckoutRequestID"], "pay")

    posted = receiver.wait_for()[0]

    now = datetime.now(UTC).astimezone(EAST_AFRICA)
    stamp = posted.metadata["TransactionDate"]
    assert posted.path == "/hooks/stk/abc"
    assert posted.headers["Content-Type"] == "application/json"
    assert json.loads(posted.body) == {
        "Body": {
            "stkCallback": {
                "MerchantRequestID": push["MerchantRequestID"],
                "CheckoutRequestID": push["CheckoutRequestID"],
                "ResultCode": 0,
                "ResultDesc": "The service request is processed successfully.",
                "CallbackMetadata": {
                    "Item": [
                        {"Name": "Amount", "Value": 250.0},
                        {"Name": "MpesaReceiptNumber", "Value": prompt["receipt"]},
                        {"Name": "Balance"},
                        {"Name": "TransactionDate", "Value": stamp},
                        {"Name": "PhoneNumber", "Value": int(PHONE)},
                    ]
                },
            }
        }
    }
    assert b'"Value": 250.00}' in posted.body
    paid_at = datetime.strptime(str(stamp), "%Y%m%d%H%M%S").replace(tzinfo=EAST_AFRICA)
    assert abs(now - paid_at) < timedelta(seconds=10)


def test_receipt_has_ten_signs_and_tells_the_day(simulator, paid):
    receipt = paid()["receipt"]

    today = datetime.now(UTC).astimezone(EAST_AFRICA)
    year = "TUVWXYZ"[(today.year - 2025) % 7]
    month = "ABCDEFGHIJKL"[today.month - 1]
    day = "123456789ABCDEFGHIJKLMNOPQRSTUV"[today.day - 1]
    assert re.fullmatch(rf"{year}{month}{day}[A-Z0-9]{{7}}", receipt)


def test_payment_moves_money_once_and_is_in_the_ledger(simulator, paid):
    prompt = paid()

    entry = simulator.ledger()[0]
    assert len(simulator.ledger()) == 1
    assert entry["receipt"] == prompt["receipt"]
    assert (entry["amount"], entry["phone"]) == (250, PHONE)
    assert (entry["shortcode"], entry["accountReference"]) == ("600100", "K7Q2M9")
    assert entry["checkoutRequestId"] == prompt["checkoutRequestId"]
    assert simulator.get(f"phones/{PHONE}")["balance"] == 49_750


@pytest.mark.parametrize(
    ("outcome", "code", "description"),
    [
        ("cancel", 1032, "Request cancelled by user"),
        ("wrong-pin", 2001, "The initiator information is invalid."),
        ("no-balance", 1, "The balance is insufficient for the transaction."),
        ("unreachable", 1037, "DS timeout user cannot be reached."),
        ("timeout", 1037, "No response from user."),
    ],
)
def test_failure_has_four_fields_and_no_metadata(
    simulator, merchant, receiver, outcome, code, description
):
    push = merchant.push().json()
    simulator.answer(push["CheckoutRequestID"], outcome)

    assert receiver.wait_for()[0].stk == {
        "MerchantRequestID": push["MerchantRequestID"],
        "CheckoutRequestID": push["CheckoutRequestID"],
        "ResultCode": code,
        "ResultDesc": description,
    }
    assert simulator.ledger() == []
    assert simulator.get(f"phones/{PHONE}")["balance"] == 50_000


def test_nothing_is_signed(paid, receiver):
    paid()

    posted = receiver.wait_for()[0]
    assert set(posted.headers) <= {
        "Host",
        "User-Agent",
        "Accept",
        "Accept-Encoding",
        "Connection",
        "Content-Type",
        "Content-Length",
    }


def test_each_attempt_is_recorded_on_the_prompt(simulator, paid):
    checkout_id = paid()["checkoutRequestId"]

    (attempt,) = simulator.wait_for_callbacks(checkout_id)

    assert (attempt["status"], attempt["error"]) == (200, None)
    assert datetime.fromisoformat(attempt["at"]).tzinfo is not None


def test_unreachable_merchant_is_recorded_and_not_tried_again(simulator, merchant):
    checkout_id = merchant.pushed(CallBackURL="http://127.0.0.1:9/cb")
    simulator.answer(checkout_id, "pay")

    (attempt,) = simulator.wait_for_callbacks(checkout_id)

    assert attempt["status"] is None
    assert "ConnectionError" in attempt["error"]
    assert simulator.stats()["callbacks"] == 1


def test_redirect_is_not_followed(simulator, paid, receiver):
    receiver.statuses = [302]
    receiver.location = f"{receiver.url}/elsewhere"

    checkout_id = paid()["checkoutRequestId"]

    assert simulator.wait_for_callbacks(checkout_id)[0]["status"] == 302
    assert [posted.path for posted in receiver.posted] == ["/hooks/stk/abc"]


def test_refused_callback_is_lost_by_default(simulator, paid, receiver):
    receiver.statuses = [503]

    checkout_id = paid()["checkoutRequestId"]
    simulator.wait_for_callbacks(checkout_id)
    advance_and_settle(simulator, 600)

    assert len(simulator.prompt(checkout_id)["callbacks"]) == 1


def test_refused_callback_is_tried_three_times_by_switch(simulator, paid, receiver):
    simulator.faults(callback_retry_on_non200=True, callback_retry_gap_s=0.05)
    receiver.statuses = [503, 500, 404, 200]

    checkout_id = paid()["checkoutRequestId"]
    sent = simulator.wait_for_callbacks(checkout_id, 3)
    advance_and_settle(simulator, 600)

    assert [attempt["status"] for attempt in sent] == [503, 500, 404]
    assert len(simulator.prompt(checkout_id)["callbacks"]) == 3


def test_dropped_callback_leaves_the_money_moved(simulator, merchant, paid, receiver):
    simulator.faults(callback_drop={"value": True, "times": 1})

    paid()
    paid(phone="254712345679")

    receiver.wait_for()
    assert [posted.metadata["PhoneNumber"] for posted in receiver.posted] == [
        254712345679
    ]
    assert len(simulator.ledger()) == 2


def test_late_callback_comes_when_the_clock_says_so(simulator, paid, receiver):
    simulator.faults(callback_delay_s=120)

    paid()
    advance_and_settle(simulator, 119)
    assert receiver.posted == []
    simulator.advance(2)

    assert receiver.wait_for()[0].stk["ResultCode"] == 0


def test_copies_are_the_same_bytes(simulator, paid, receiver):
    simulator.faults(callback_duplicates=2, callback_duplicate_gap_s=0.05)

    paid()

    bodies = {posted.body for posted in receiver.wait_for(3)}
    assert len(bodies) == 1


def test_failure_can_come_before_success(simulator, paid, receiver):
    simulator.faults(callback_failure_then_success=True, callback_success_gap_s=0.1)

    paid()

    first, second = receiver.wait_for(2)
    assert (first.stk["ResultCode"], second.stk["ResultCode"]) == (1037, 0)
    assert "CallbackMetadata" not in first.stk


def test_callback_can_come_before_the_answer_to_the_push(simulator, merchant, receiver):
    simulator.faults(callback_before_response=True)

    checkout_id = merchant.pushed()

    assert [posted.stk["CheckoutRequestID"] for posted in receiver.posted] == [
        checkout_id
    ]


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("decimal", b'"Value": 250.00}'),
        ("float", b'"Value": 250.0}'),
        ("int", b'"Value": 250}'),
        ("string", b'"Value": "250.00"}'),
    ],
)
def test_amount_comes_in_several_styles(simulator, paid, receiver, style, expected):
    simulator.faults(callback_amount_style=style)

    paid()

    assert b'"Name": "Amount", ' + expected in receiver.wait_for()[0].body


def test_wrong_amount_is_said_while_the_right_one_moved(simulator, paid, receiver):
    simulator.faults(callback_amount=1)

    paid()

    assert receiver.wait_for()[0].metadata["Amount"] == 1
    assert simulator.ledger()[0]["amount"] == 250


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("no_value", {"Name": "Balance"}),
        ("absent", None),
        ("number", {"Name": "Balance", "Value": 49750}),
        (
            "text",
            {
                "Name": "Balance",
                "Value": "{Amount={CurrencyCode=KES, MinimumAmount=4975000, "
                "BasicAmount=49750.00}}",
            },
        ),
    ],
)
def test_balance_comes_in_several_styles(simulator, paid, receiver, style, expected):
    simulator.faults(callback_balance=style)

    paid()

    items = receiver.wait_for()[0].stk["CallbackMetadata"]["Item"]
    found = [item for item in items if item["Name"] == "Balance"]
    assert found == ([] if expected is None else [expected])


def test_result_code_can_be_a_string_with_a_prefixed_sentence(
    simulator, merchant, receiver
):
    simulator.faults(
        callback_result_code_type="string", callback_desc_prefix="[STK_CB - ]"
    )

    simulator.answer(merchant.pushed(), "cancel")

    result = receiver.wait_for()[0].stk
    assert result["ResultCode"] == "1032"
    assert result["ResultDesc"] == "[STK_CB - ]Request cancelled by user"


@pytest.mark.parametrize(
    ("code", "told"), [("26", 26), ("9999", 9999), ("SFC_IC0003", "SFC_IC0003")]
)
def test_result_code_can_be_any(simulator, merchant, receiver, code, told):
    simulator.faults(callback_result_code=code)

    simulator.answer(merchant.pushed(), "pay")

    assert receiver.wait_for()[0].stk["ResultCode"] == told
    assert len(simulator.ledger()) == 1


def test_ids_can_be_of_somebody_else(simulator, paid, receiver):
    simulator.faults(
        callback_foreign_checkout_id=True, callback_foreign_merchant_id=True
    )

    prompt = paid()

    result = receiver.wait_for()[0].stk
    assert result["CheckoutRequestID"].startswith("ws_CO_")
    assert result["CheckoutRequestID"] != prompt["checkoutRequestId"]
    assert result["MerchantRequestID"] != prompt["merchantRequestId"]


def test_receipt_and_phone_can_be_of_somebody_else(simulator, paid, receiver):
    simulator.faults(callback_receipt="UAE5B2K9QT", callback_phone="2547 ***** 149")

    paid()

    metadata = receiver.wait_for()[0].metadata
    assert metadata["MpesaReceiptNumber"] == "UAE5B2K9QT"
    assert metadata["PhoneNumber"] == "2547 ***** 149"


def test_items_can_come_in_another_order(simulator, paid, receiver):
    simulator.faults(callback_items_reversed=True)

    paid()

    items = receiver.wait_for()[0].stk["CallbackMetadata"]["Item"]
    assert [item["Name"] for item in items] == [
        "PhoneNumber",
        "TransactionDate",
        "Balance",
        "MpesaReceiptNumber",
        "Amount",
    ]


@pytest.mark.parametrize("kind", ["truncated", "non_json", "empty"])
def test_body_can_be_unreadable(simulator, paid, receiver, kind):
    simulator.faults(callback_body=kind)

    paid()

    body = receiver.wait_for()[0].body
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(body)
    assert (body == b"") is (kind == "empty")


def test_body_can_be_an_array(simulator, paid, receiver):
    simulator.faults(callback_body="array")

    paid()

    assert list(json.loads(receiver.wait_for()[0].body)[0]) == ["Body"]


def test_amount_can_be_said_twice_under_one_key(simulator, paid, receiver):
    simulator.faults(callback_body="doubled_key")

    paid()

    body = receiver.wait_for()[0].body.decode()
    assert '"Name": "Amount", "Value": 251.00, "Value": 250.00}' in body
    json.loads(body)


def test_callback_can_be_sent_again_bent(simulator, paid, receiver):
    checkout_id = paid()["checkoutRequestId"]
    receiver.wait_for()

    attempt = simulator.control(
        f"prompts/{checkout_id}/callback", {"amount": 9, "result_code_type": "string"}
    )

    assert attempt["status"] == 200
    again = receiver.posted[1]
    assert (again.metadata["Amount"], again.stk["ResultCode"]) == (9, "0")
    assert len(simulator.prompt(checkout_id)["callbacks"]) == 2
    assert len(simulator.ledger()) == 1


def test_forged_success_of_an_open_prompt_moves_nothing(simulator, merchant, receiver):
    checkout_id = merchant.pushed()

    simulator.control(f"prompts/{checkout_id}/callback", {"result_code": "0"})

    assert receiver.posted[0].stk["ResultCode"] == 0
    assert re.fullmatch(
        r"[A-Z0-9]{10}", receiver.posted[0].metadata["MpesaReceiptNumber"]
    )
    assert simulator.prompt(checkout_id)["status"] == "open"
    assert simulator.ledger() == []


def test_unanswered_prompt_calls_back_when_its_minute_is_over(
    simulator, merchant, receiver
):
    checkout_id = merchant.pushed()
    advance_and_settle(simulator, 58)
    assert simulator.prompt(checkout_id)["status"] == "open"

    simulator.advance(2)

    assert receiver.wait_for()[0].stk["ResultCode"] == 1037
    assert wait_until(lambda: simulator.prompt(checkout_id)["status"]) == "expired"


def test_timeout_can_say_1032_and_take_another_time(simulator, merchant, receiver):
    simulator.faults(prompt_timeout_code="1032", prompt_lifetime_s=0.1)

    merchant.pushed()

    assert receiver.wait_for()[0].stk["ResultCode"] == 1032
