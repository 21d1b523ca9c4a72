from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509 import load_pem_x509_certificate

from tests.support.receiver import CallbackReceiver
from tests.support.simulator import SimulatorProcess, wait_until


PHONE = "254712345678"
CONFIRM, VALIDATE = "/c2b/confirm", "/c2b/validate"
RESULT, TIMEOUT = "/result", "/timeout"
SUCCESS = "Success. Request accepted for processing"


class Merchant:
    """A client of Daraja that sends whatever it is told to."""

    key = "sim-platform-key"
    secret = "sim-platform-secret"
    shortcode = "600100"
    party_b = "600100"
    passkey = "simplatformpasskey".ljust(64, "0")
    transaction_type = "CustomerPayBillOnline"

    initiator = "simapi"
    initiator_password = "SimPass123#"

    def __init__(self, url, callback_url):
        self.url = url
        self.callback_url = callback_url
        self.hooks = callback_url.rsplit("/hooks/", 1)[0]
        self._certificate = None
        self.http = requests.Session()
        self.http.trust_env = False
        self._token = None

    @property
    def token(self):
        if self._token is None:
            self._token = self.fetch_token().json()["access_token"]
        return self._token

    def fetch_token(self, **changes):
        options = {
            "params": {"grant_type": "client_credentials"},
            "auth": (self.key, self.secret),
            "timeout": 10,
        } | changes
        return self.http.get(f"{self.url}/oauth/v1/generate", **options)

    def signature(self):
        now = datetime.now(UTC).astimezone(timezone(timedelta(hours=3)))
        stamp = f"{now:%Y%m%d%H%M%S}"
        plain = f"{self.shortcode}{self.passkey}{stamp}"
        return {
            "BusinessShortCode": self.shortcode,
            "Password": base64.b64encode(plain.encode()).decode(),
            "Timestamp": stamp,
        }

    def push_body(self, **changes):
        """Return a good body; a change to None leaves the field out."""
        phone = changes.pop("phone", PHONE)
        body = self.signature() | {
            "TransactionType": self.transaction_type,
            "Amount": "250",
            "PartyA": phone,
            "PartyB": self.party_b,
            "PhoneNumber": phone,
            "CallBackURL": self.callback_url,
            "AccountReference": "K7Q2M9",
            "TransactionDesc": "Sale",
        }
        body |= changes
        return {name: value for name, value in body.items() if value is not None}

    def post(self, path, **options):
        options.setdefault("headers", {"Authorization": f"Bearer {self.token}"})
        options.setdefault("timeout", 10)
        return self.http.post(f"{self.url}{path}", **options)

    def push(self, **changes):
        return self.post(
            "/mpesa/stkpush/v1/processrequest", json=self.push_body(**changes)
        )

    def pushed(self, **changes):
        """Push, and return the CheckoutRequestID."""
        response = self.push(**changes)
        assert response.status_code == 200, response.text
        return response.json()["CheckoutRequestID"]

    def register(self, version=2, **changes):
        """Register C2B addresses; a change to None leaves the field out."""
        body = {
            "ShortCode": self.shortcode,
            "ResponseType": "Completed",
            "ConfirmationURL": f"{self.hooks}{CONFIRM}",
            "ValidationURL": f"{self.hooks}{VALIDATE}",
        } | changes
        body = {name: value for name, value in body.items() if value is not None}
        return self.post(f"/mpesa/c2b/v{version}/registerurl", json=body)

    def registered(self, **changes):
        response = self.register(**changes)
        assert response.status_code == 200, response.text

    def credential(self, password=None):
        """Seal the initiator's password with the published certificate."""
        if self._certificate is None:
            url = f"{self.url}/docs-assets/SandBoxCertificate.cer"
            self._certificate = self.http.get(url, timeout=5).content
        key = load_pem_x509_certificate(self._certificate).public_key()
        plain = (password or self.initiator_password).encode()
        return base64.b64encode(key.encrypt(plain, padding.PKCS1v15())).decode()

    def order(self, path, command, **changes):
        """Order something as API user; a change to None leaves the field out."""
        body = {
            "Initiator": self.initiator,
            "SecurityCredential": changes.get("SecurityCredential")
            or self.credential(),
            "CommandID": command,
            "ResultURL": f"{self.hooks}{RESULT}",
            "QueueTimeOutURL": f"{self.hooks}{TIMEOUT}",
            "Remarks": "Why not",
        } | changes
        body = {name: value for name, value in body.items() if value is not None}
        return self.post(path, json=body)

    def ask_status(self, receipt, **changes):
        options = {
            "TransactionID": receipt,
            "PartyA": self.shortcode,
            "IdentifierType": "4",
        }
        return self.order(
            "/mpesa/transactionstatus/v1/query",
            "TransactionStatusQuery",
            **(options | changes),
        )

    def reverse(self, receipt, amount=250, **changes):
        options = {
            "TransactionID": receipt,
            "Amount": amount,
            "ReceiverParty": self.shortcode,
            "RecieverIdentifierType": "11",
        }
        return self.order(
            "/mpesa/reversal/v1/request", "TransactionReversal", **(options | changes)
        )

    def ask_balance(self, **changes):
        options = {"PartyA": self.shortcode, "IdentifierType": "4"}
        return self.order(
            "/mpesa/accountbalance/v1/query", "AccountBalance", **(options | changes)
        )

    def query(self, checkout_id, **changes):
        body = self.signature() | {"CheckoutRequestID": checkout_id} | changes
        body = {name: value for name, value in body.items() if value is not None}
        return self.post("/mpesa/stkpushquery/v1/query", json=body)


class TillMerchant(Merchant):
    key = "sim-till-key"
    secret = "sim-till-secret"
    shortcode = "600300"
    party_b = "5600301"
    passkey = "simtillpasskey".ljust(64, "0")
    transaction_type = "CustomerBuyGoodsOnline"


def refusal(response):
    """Return status, errorCode and errorMessage of an error envelope."""
    envelope = response.json()
    assert set(envelope) == {"requestId", "errorCode", "errorMessage"}
    return response.status_code, envelope["errorCode"], envelope["errorMessage"]


def advance_and_settle(simulator, seconds):
    """Turn the clock, and give what is due then the time to show itself."""
    simulator.advance(seconds)
    time.sleep(0.2)


def posted_to(receiver, path, count=1):
    """Return the bodies that came to an address, once there are so many."""

    def bodies():
        return [json.loads(one.body) for one in receiver.posted if one.path == path]

    return wait_until(lambda: found if len(found := bodies()) >= count else [])


@pytest.fixture(scope="session")
def simulator_process():
    with SimulatorProcess() as process:
        yield process


@pytest.fixture
def simulator(simulator_process):
    simulator_process.reset()
    simulator_process.faults(auto_delay_s=0.05, initiator_delay_s=0.05)
    yield simulator_process
    simulator_process.reset()


@pytest.fixture
def receiver():
    with CallbackReceiver() as receiver:
        yield receiver


@pytest.fixture
def merchant(simulator, receiver):
    merchant = Merchant(simulator.url, f"{receiver.url}/hooks/stk/abc")
    yield merchant
    merchant.http.close()


@pytest.fixture
def till(simulator, receiver):
    merchant = TillMerchant(simulator.url, f"{receiver.url}/hooks/stk/abc")
    yield merchant
    merchant.http.close()


@pytest.fixture
def hand(simulator, merchant):
    """Pay by hand to the platform's paybill."""

    def pay(**changes):
        order = {"amount": 250, "phone": PHONE, "reference": "K7Q2M9"} | changes
        return simulator.pay("600100", order.pop("amount"), **order)

    return pay
