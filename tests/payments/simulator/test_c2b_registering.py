from __future__ import annotations

import re

import pytest
import requests

from tests.payments.simulator.conftest import (
    CONFIRM,
    PHONE,
    VALIDATE,
    posted_to,
    refusal,
)


@pytest.mark.parametrize("version", [1, 2])
def test_registering_answers_with_the_misspelt_key(merchant, version):
    response = merchant.register(version)

    assert response.status_code == 200
    body = response.json()
    assert re.fullmatch(
        r"[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\d{7}",
        body.pop("OriginatorCoversationID"),
    )
    assert body == {"ResponseCode": "0", "ResponseDescription": "Success"}


def test_sandbox_registers_again_and_the_last_one_counts(simulator, merchant, hand):
    merchant.registered(ConfirmationURL=f"{merchant.hooks}/old")
    merchant.registered()

    shown = simulator.get("registrations/600100")["registration"]

    assert shown == {
        "shortcode": "600100",
        "responseType": "Completed",
        "confirmationUrl": f"{merchant.hooks}{CONFIRM}",
        "validationUrl": f"{merchant.hooks}{VALIDATE}",
        "version": 2,
    }


def test_production_registers_once(simulator, merchant):
    simulator.faults(c2b_production=True)
    merchant.registered()

    again = merchant.register(1, ConfirmationURL=f"{merchant.hooks}/new")

    expected = (500, "500.003.1001", "Urls are already registered.")
    assert refusal(again) == expected
    shown = simulator.get("registrations/600100")["registration"]
    assert shown["confirmationUrl"] == f"{merchant.hooks}{CONFIRM}"


def test_production_registers_anew_after_deleting(simulator, merchant):
    simulator.faults(c2b_production=True)
    merchant.registered()

    deleted = requests.delete(
        f"{simulator.url}/__sim__/registrations/600100", timeout=5
    )

    assert deleted.json() == {"registration": None}
    assert merchant.register().status_code == 200


def test_registering_can_be_refused_by_the_aggregator(simulator, merchant):
    simulator.faults(register_error="duplicate_notification")

    status, code, message = refusal(merchant.register())

    assert (status, code) == (500, "500.003.1001")
    assert message.startswith("Duplicate notification info, SP ID")
    assert simulator.get("registrations/600100")["registration"] is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ShortCode": None}, "ShortCode"),
        ({"ShortCode": "12"}, "ShortCode"),
        ({"ShortCode": "600200"}, "ShortCode"),
        ({"ResponseType": "completed"}, "ResponseType"),
        ({"ResponseType": None}, "ResponseType"),
        ({"ConfirmationURL": "nowhere"}, "ConfirmationURL"),
        ({"ConfirmationURL": "https://shop.co.ke/mpesa/c"}, "ConfirmationURL"),
        ({"ConfirmationURL": "https://shop.co.ke/Query/c"}, "ConfirmationURL"),
        ({"ValidationURL": None}, "ValidationURL"),
    ],
    ids=str,
)
def test_bad_registration_names_its_field(merchant, changes, field):
    expected = (400, "400.002.02", f"Bad Request - Invalid {field}")

    assert refusal(merchant.register(**changes)) == expected


def test_words_in_addresses_can_be_let_through(simulator, merchant):
    simulator.faults(c2b_url_words=False)

    assert merchant.register(ConfirmationURL="https://a.co.ke/mpesa").ok


def test_bad_token_is_http_400_here(merchant):
    response = merchant.post(
        "/mpesa/c2b/v2/registerurl",
        json={},
        headers={"Authorization": "Bearer no"},
    )

    assert refusal(response) == (400, "400.003.01", "Invalid Access Token")


def test_there_is_no_third_version(merchant):
    assert refusal(merchant.register(3))[1] == "404.001.01"


def test_till_registers_by_store_number_or_till(simulator, till):
    till.registered(ShortCode="5600301")

    assert simulator.get("registrations/600300")["registration"] is not None


@pytest.mark.parametrize("version", [1, 2])
def test_simulate_plays_a_payment(simulator, merchant, receiver, version):
    merchant.registered()

    response = merchant.post(
        f"/mpesa/c2b/v{version}/simulate",
        json={
            "ShortCode": 600100,
            "CommandID": "CustomerPayBillOnline",
            "Amount": 1,
            "Msisdn": int(PHONE),
            "BillRefNumber": "K7Q2M9",
        },
    )

    assert set(response.json()) == {
        "OriginatorCoversationID",
        "ResponseCode",
        "ResponseDescription",
    }
    (told,) = posted_to(receiver, CONFIRM)
    assert (told["TransAmount"], told["BillRefNumber"]) == ("1.00", "K7Q2M9")
    assert simulator.ledger()[0]["kind"] == "c2b"


def test_simulate_for_a_till_has_no_reference(till, receiver):
    till.registered()

    till.post(
        "/mpesa/c2b/v2/simulate",
        json={
            "ShortCode": "600300",
            "CommandID": "CustomerBuyGoodsOnline",
            "Amount": "10",
            "Msisdn": PHONE,
            "BillRefNumber": None,
        },
    )

    assert posted_to(receiver, CONFIRM)[0]["BillRefNumber"] == ""


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"CommandID": "CustomerBuyGoodsOnline"}, "CommandID"),
        ({"CommandID": "x"}, "CommandID"),
        ({"Amount": 0}, "Amount"),
        ({"Msisdn": "0712345678"}, "Msisdn"),
        ({"BillRefNumber": None}, "BillRefNumber"),
        ({"BillRefNumber": "x" * 21}, "BillRefNumber"),
        ({"ShortCode": "600200"}, "ShortCode"),
    ],
    ids=str,
)
def test_bad_simulation_names_its_field(simulator, merchant, changes, field):
    body = {
        "ShortCode": "600100",
        "CommandID": "CustomerPayBillOnline",
        "Amount": 1,
        "Msisdn": PHONE,
        "BillRefNumber": "A",
    } | changes

    response = merchant.post("/mpesa/c2b/v2/simulate", json=body)

    assert refusal(response)[2] == f"Bad Request - Invalid {field}"
    assert simulator.ledger() == []


def test_production_has_no_simulate(simulator, merchant):
    simulator.faults(c2b_production=True)

    assert refusal(merchant.post("/mpesa/c2b/v2/simulate", json={}))[1] == "404.001.01"
