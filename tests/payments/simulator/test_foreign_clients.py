"""Client libraries written against the real Daraja, pointed at the simulator.

Only the host is changed: both know no other than Safaricom's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mpesakit import MpesaClient
from mpesakit.errors import MpesaApiException

from tests.payments.simulator.conftest import PHONE, SUCCESS


SHOP = Path(__file__).with_name("foreign_shop.py")
SHORTCODE = 174379
PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"


@pytest.fixture
def mpesakit(simulator):
    client = MpesaClient(
        consumer_key="sim-sandbox-key",
        consumer_secret="sim-sandbox-secret",
        environment="sandbox",
    )
    client.http_client.base_url = simulator.url
    return client


def push(client, receiver, **changes):
    fields = {
        "business_short_code": SHORTCODE,
        "transaction_type": "CustomerPayBillOnline",
        "amount": 250,
        "party_a": PHONE,
        "party_b": str(SHORTCODE),
        "phone_number": PHONE,
        "callback_url": f"{receiver.url}/cb",
        "account_reference": "K7Q2M9",
        "transaction_desc": "Sale",
        "passkey": PASSKEY,
    }
    return client.express.push(**(fields | changes))


def query(client, checkout_id):
    return client.express.query(
        business_short_code=SHORTCODE,
        checkout_request_id=checkout_id,
        passkey=PASSKEY,
    )


def test_mpesakit_pushes_queries_and_reads_the_callback(simulator, mpesakit, receiver):
    pushed = push(mpesakit, receiver)
    pending = query(mpesakit, pushed.CheckoutRequestID)
    prompt = simulator.answer(pushed.CheckoutRequestID, "pay")
    paid = query(mpesakit, pushed.CheckoutRequestID)
    callback = mpesakit.process_stk_callback(json.loads(receiver.wait_for()[0].body))

    assert pushed.is_successful()
    assert pushed.CustomerMessage == SUCCESS
    assert str(pending.ResultCode) == "4999"
    assert str(paid.ResultCode) == "0"
    assert paid.MerchantRequestID == pushed.MerchantRequestID
    assert callback.is_successful
    assert callback.Body.stkCallback.CheckoutRequestID == pushed.CheckoutRequestID
    items = callback.Body.stkCallback.CallbackMetadata.Item
    told = {item.Name: item.Value for item in items}
    assert told["MpesaReceiptNumber"] == prompt["receipt"]
    assert (told["Amount"], told["PhoneNumber"]) == (250, int(PHONE))


def test_mpesakit_understands_wrong_keys_and_refusals(simulator, mpesakit, receiver):
    push(mpesakit, receiver)
    with pytest.raises(MpesaApiException, match="Unable to lock subscriber"):
        push(mpesakit, receiver)
    with pytest.raises(MpesaApiException, match="Wrong credentials"):
        push(mpesakit, receiver, passkey="another")

    stranger = MpesaClient(
        consumer_key="sim-sandbox-key", consumer_secret="no", environment="sandbox"
    )
    stranger.http_client.base_url = simulator.url
    with pytest.raises(MpesaApiException) as caught:
        push(stranger, receiver)
    assert caught.value.error.error_code == "AUTH_INVALID_CREDENTIALS"


def django_daraja(simulator, *, phone, amount, callback_url):
    done = subprocess.run(
        [sys.executable, SHOP, simulator.url, phone, str(amount), callback_url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_django_daraja_pushes_and_is_paid(simulator, receiver):
    pushed = django_daraja(
        simulator, phone="0712345678", amount=390, callback_url=f"{receiver.url}/cb"
    )

    assert pushed["status"] == 200
    assert (pushed["responseCode"], pushed["customerMessage"]) == ("0", SUCCESS)
    assert (pushed["errorCode"], pushed["errorMessage"]) == (None, "")
    prompt = simulator.wait_for_prompt(PHONE)
    assert prompt["checkoutRequestId"] == pushed["checkoutRequestId"]
    assert prompt["amount"] == 390
    simulator.answer(pushed["checkoutRequestId"], "pay")
    result = receiver.wait_for()[0].stk
    assert (result["ResultCode"], result["MerchantRequestID"]) == (
        0,
        pushed["merchantRequestId"],
    )


def test_django_daraja_reads_a_refusal(simulator, receiver):
    pushed = django_daraja(
        simulator, phone="0712345678", amount=390, callback_url="nowhere"
    )

    assert (pushed["status"], pushed["errorCode"]) == (400, "400.002.02")
    assert pushed["errorMessage"] == "Bad Request - Invalid CallBackURL"
