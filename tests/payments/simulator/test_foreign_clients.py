"""Client libraries written against the real Daraja, pointed at the simulator.

Only the host is changed: both know no other than Safaricom's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest
from mpesakit import MpesaClient
from mpesakit.account_balance import AccountBalanceResultCallback
from mpesakit.c2b import C2BValidationRequest
from mpesakit.errors import MpesaApiException

from tests.payments.simulator.conftest import (
    CONFIRM,
    PHONE,
    RESULT,
    SUCCESS,
    TIMEOUT,
    VALIDATE,
    Merchant,
    posted_to,
)


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


def test_mpesakit_registers_and_reads_a_confirmation(simulator, mpesakit, receiver):
    registered = mpesakit.c2b.register_url(
        short_code=SHORTCODE,
        response_type="Completed",
        confirmation_url=f"{receiver.url}{CONFIRM}",
        validation_url=f"{receiver.url}{VALIDATE}",
    )
    paid = simulator.pay(str(SHORTCODE), 250, phone=PHONE, reference="K7Q2M9")
    (told,) = posted_to(receiver, CONFIRM)
    read = C2BValidationRequest(**told)

    assert registered.is_successful()
    assert registered.OriginatorConversationID  # it knows of the misspelling
    assert (read.TransID, read.TransAmount) == (paid["receipt"], 250)
    assert (read.BusinessShortCode, read.BillRefNumber) == (SHORTCODE, "K7Q2M9")


def test_mpesakit_orders_status_reversal_and_balance(simulator, mpesakit, receiver):
    paid = simulator.pay(str(SHORTCODE), 250, phone=PHONE, reference="K7Q2M9")
    merchant = Merchant(simulator.url, f"{receiver.url}/hooks/x")
    with merchant.http:
        common = {
            "initiator": "testapi",
            "security_credential": merchant.credential("Safaricom999!*!"),
            "result_url": f"{receiver.url}{RESULT}",
            "queue_timeout_url": f"{receiver.url}{TIMEOUT}",
            "remarks": "Goods came back",
        }

    status = mpesakit.transactions.query_status(
        transaction_id=paid["receipt"], party_a=SHORTCODE, identifier_type=4, **common
    )
    posted_to(receiver, RESULT)
    reversal = mpesakit.reversal.reverse(
        transaction_id=paid["receipt"], amount=250, receiver_party=SHORTCODE, **common
    )
    posted_to(receiver, RESULT, 2)
    balance = mpesakit.balance.query(
        command_id="AccountBalance", party_a=SHORTCODE, identifier_type=4, **common
    )
    results = posted_to(receiver, RESULT, 3)

    assert [status.is_successful(), reversal.is_successful()] == [True, True]
    assert balance.is_successful()
    assert [one["Result"]["ConversationID"] for one in results] == [
        status.ConversationID,
        reversal.ConversationID,
        balance.ConversationID,
    ]
    assert [one["Result"]["ResultCode"] for one in results] == [0, 0, "0"]
    assert AccountBalanceResultCallback(**results[2]).Result.ResultCode == "0"
    assert simulator.ledger()[1]["reversed"] is True


def test_mpesakit_draws_a_qr_code(mpesakit):
    drawn = mpesakit.dynamic_qr.generate(
        merchant_name="DUKA",
        ref_no="K7Q2M9",
        amount=250,
        trx_code="PB",
        cpi=str(SHORTCODE),
        size="300",
    )

    assert drawn.is_successful()
    assert b64decode(drawn.QRCode).startswith(b"\x89PNG")


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
