"""Pull Transactions and Dynamic QR."""

from __future__ import annotations

import base64
import re
import struct
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.payments.simulator.conftest import PHONE, VALIDATE, refusal


EAST_AFRICA = timezone(timedelta(hours=3))


@pytest.fixture
def pull(simulator, merchant):
    """Pull as the platform; the time is around now on the simulator's clock."""

    def ask(offset=0, *, back=timedelta(days=3), ahead=timedelta(minutes=1), **changes):
        now = datetime.fromisoformat(simulator.get("clock")["eat"])
        body = {
            "ShortCode": "600100",
            "StartDate": f"{now - back:%Y-%m-%d %H:%M:%S}",
            "EndDate": f"{now + ahead:%Y-%m-%d %H:%M:%S}",
            "OffSetValue": str(offset),
        } | changes
        return merchant.post("/pulltransactions/v1/query", json=body)

    return ask


def register(merchant, **changes):
    body = {
        "ShortCode": "600100",
        "RequestType": "Pull",
        "NominatedNumber": PHONE,
        "CallBackURL": f"{merchant.hooks}/pull",
    } | changes
    return merchant.post("/pulltransactions/v1/register", json=body)


def receipts(response):
    (rows,) = response.json()["Response"]
    return [row["transactionId"] for row in rows]


def test_registering_again_is_1001(merchant):
    first, second = register(merchant).json(), register(merchant).json()

    assert set(first) == {
        "ResponseRefID",
        "ResponseStatus",
        "ShortCode",
        "ResponseDescription",
    }
    assert (first["ResponseStatus"], first["ShortCode"]) == ("1000", "600100")
    assert second["ResponseStatus"] == "1001"


def test_registering_can_answer_with_blanks_in_keys(simulator, merchant):
    simulator.faults(pull_old_keys=True)

    body = register(merchant).json()

    assert body["Response Status"] == "1000"
    assert "ResponseStatus" not in body


def test_rows_stand_in_an_array_in_an_array(merchant, pull, hand):
    register(merchant)
    paid = hand()

    body = pull().json()

    at = datetime.fromisoformat(paid["time"]).astimezone(UTC)
    assert re.fullmatch(r"[0-9a-f-]{14}-[0-9a-f]{12}\d{7}", body.pop("ResponseRefID"))
    assert body == {
        "ResponseCode": "1000",
        "ResponseMessage": "Success",
        "Response": [
            [
                {
                    "transactionId": paid["receipt"],
                    "trxDate": f"{at:%Y-%m-%dT%H:%M:%S}Z",
                    "msisdn": int(PHONE),
                    "sender": "MPESA",
                    "transactiontype": "c2b-pay-bill-debit",
                    "billreference": "K7Q2M9",
                    "amount": "250.00",
                    "organizationname": "SMARTDUKA",
                }
            ]
        ],
    }


def test_nothing_is_1001_and_an_empty_array_in_an_array(merchant, pull):
    register(merchant)

    body = pull().json()

    assert (body["ResponseCode"], body["Response"]) == ("1001", [[]])


def test_prompts_are_there_and_reversals_charges_and_sweeps_are_not(
    simulator, merchant, pull, hand, receiver
):
    register(merchant)
    simulator.faults(charge_percent=10)
    by_hand = hand()
    prompt = simulator.answer(merchant.pushed(), "pay")
    merchant.reverse(by_hand["receipt"])
    receiver.wait_for(2)
    simulator.control("sweep", {"shortcode": "600100"})
    simulator.pay("5600301", 10, phone=PHONE)

    kinds = {entry["kind"] for entry in simulator.ledger()}
    assert kinds == {"c2b", "stk", "charge", "reversal", "sweep"}
    assert receipts(pull()) == [by_hand["receipt"], prompt["receipt"]]


def test_what_the_merchant_declined_is_not_there(
    simulator, merchant, pull, hand, receiver
):
    register(merchant)
    merchant.registered()
    simulator.faults(c2b_validation=True)
    receiver.answers[VALIDATE] = ['{"ResultCode": "C2B00016"}']
    with pytest.raises(AssertionError, match="409"):
        hand()

    assert receipts(pull()) == []


def test_dropped_notices_can_be_pulled(simulator, merchant, pull, hand):
    register(merchant)
    merchant.registered()
    simulator.faults(c2b_drop=True)

    paid = hand()

    assert receipts(pull()) == [paid["receipt"]]


def test_pages_follow_each_other_until_one_is_empty(simulator, merchant, pull, hand):
    register(merchant)
    simulator.faults(pull_page_size=2)
    paid = [hand(amount=1)["receipt"] for _ in range(5)]

    pages = [receipts(pull(offset)) for offset in (0, 2, 4, 5)]

    assert pages == [paid[:2], paid[2:4], paid[4:], []]
    assert pull(5).json()["ResponseCode"] == "1001"


def test_forty_eight_hours_are_the_end(simulator, merchant, pull, hand):
    register(merchant)
    simulator.reset()
    register(merchant)
    old = hand()["receipt"]

    simulator.advance(48 * 3600 - 60)
    merchant._token = None
    assert receipts(pull()) == [old]
    simulator.advance(120)
    assert receipts(pull()) == []


def test_only_the_wanted_time_is_given(simulator, merchant, pull, hand):
    register(merchant)
    older = hand()["receipt"]
    simulator.advance(600)
    newer = hand()["receipt"]

    assert receipts(pull(back=timedelta(minutes=5))) == [newer]
    assert receipts(pull(ahead=timedelta(minutes=-5))) == [older]


@pytest.mark.parametrize(
    ("style", "zone", "mark"),
    [("eat", EAST_AFRICA, "Z"), ("offset", EAST_AFRICA, "+03:00")],
)
def test_what_clock_stands_behind_the_date_is_a_switch(
    simulator, merchant, pull, hand, style, zone, mark
):
    register(merchant)
    simulator.faults(pull_time=style)
    at = datetime.fromisoformat(hand()["time"]).astimezone(zone)

    ((row,),) = pull().json()["Response"]

    assert row["trxDate"] == f"{at:%Y-%m-%dT%H:%M:%S}{mark}"


def test_till_has_its_own_type_and_no_reference(simulator, till):
    register(till, ShortCode="600300")
    simulator.pay("5600301", 10, phone=PHONE)

    response = till.post(
        "/pulltransactions/v1/query",
        json={
            "ShortCode": "600300",
            "StartDate": "2020-01-01 00:00:00",
            "EndDate": "2090-01-01 00:00:00",
            "OffSetValue": 0,
        },
    )

    ((row,),) = response.json()["Response"]
    assert (row["transactiontype"], row["billreference"]) == (
        "c2b-buy-goods-debit",
        "",
    )


def test_who_is_not_registered_cannot_pull(pull):
    assert refusal(pull()) == (400, "400.001", "Invalid ShortCode")


def test_shortcode_of_another_app_cannot_be_pulled(merchant, pull):
    register(merchant)

    assert refusal(pull(ShortCode="600200"))[1] == "400.001"
    assert refusal(register(merchant, ShortCode="600200"))[1] == "400.001"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"StartDate": "2026-01-14"}, "StartDate"),
        ({"EndDate": None}, "EndDate"),
        ({"OffSetValue": "-1"}, "OffSetValue"),
        ({"OffSetValue": None}, "OffSetValue"),
    ],
    ids=str,
)
def test_bad_pull_names_its_field(merchant, pull, changes, field):
    register(merchant)

    assert refusal(pull(**changes))[2] == f"Bad Request - Invalid {field}"


def test_bad_token_is_401_001_here(merchant):
    response = merchant.post("/pulltransactions/v1/query", json={}, headers={})

    assert refusal(response)[:2] == (401, "401.001")


def test_token_under_another_scheme_is_refused(merchant, pull):
    register(merchant)
    response = merchant.post(
        "/pulltransactions/v1/query",
        json={"ShortCode": "600100"},
        headers={"Authorization": f"Token {merchant.token}"},
    )

    assert refusal(response)[1] == "401.001"


def test_pull_can_be_down(simulator, merchant, pull):
    register(merchant)
    simulator.faults(pull_error="html_503")

    assert pull().status_code == 503


# Dynamic QR.


def qr(merchant, **changes):
    body = {
        "MerchantName": "DUKA",
        "RefNo": "K7Q2M9",
        "Amount": 250,
        "TrxCode": "BG",
        "CPI": "5600301",
        "Size": "300",
    } | changes
    return merchant.post("/mpesa/qrcode/v1/generate", json=body)


def test_qr_code_is_a_png_of_about_the_size(merchant):
    body = qr(merchant).json()

    assert set(body) == {"ResponseCode", "RequestID", "ResponseDescription", "QRCode"}
    assert body["ResponseCode"] == "00"
    assert body["ResponseDescription"] == "QR Code Successfully Generated."
    image = base64.b64decode(body["QRCode"])
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", image[16:24])
    assert width == height
    assert 200 < width <= 300


def test_documented_response_code_by_switch(simulator, merchant):
    simulator.faults(qr_response_code="AG")

    assert qr(merchant).json()["ResponseCode"].startswith("AG_")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"MerchantName": ""}, "MerchantName"),
        ({"RefNo": None}, "RefNo"),
        ({"Amount": 0}, "Amount"),
        ({"TrxCode": "XX"}, "TrxCode"),
        ({"CPI": None}, "CPI"),
        ({"Size": "large"}, "Size"),
    ],
    ids=str,
)
def test_bad_qr_request_names_its_field(merchant, changes, field):
    assert refusal(qr(merchant, **changes))[2] == f"Bad Request - Invalid {field}"
