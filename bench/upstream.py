"""The simulator as an upstream that takes its time, and the way to it without us."""

from __future__ import annotations

import base64
import json
import urllib.request
from typing import Any

from bench import load
from bench.sizes import UPSTREAM_S
from payments import accounts
from payments.gateways import daraja
from smartduka.lib import clock


PATH = "/mpesa/stkpush/v1/processrequest"


def slow_down(port: int) -> None:
    """Let each push take UPSTREAM_S, and prompts stay open for the whole run."""
    faults = {"push_latency_s": UPSTREAM_S, "prompt_lifetime_s": 24 * 3600}
    _answer(port, "/__sim__/faults", json.dumps(faults).encode())


def pushes(port: int, phones: list[str]) -> list[bytes]:
    """Return pushes as our client sends them, for the simulator itself."""
    account = accounts.platform_account()
    assert account is not None
    credentials = accounts.credentials(account)
    stamp = daraja.timestamp(clock.now())
    common: dict[str, Any] = {
        "BusinessShortCode": credentials.shortcode,
        "Password": daraja.password(credentials.shortcode, credentials.passkey, stamp),
        "Timestamp": stamp,
        "TransactionType": "CustomerPayBillOnline",
        "Amount": 100,
        "PartyB": credentials.party_b,
        "CallBackURL": "http://127.0.0.1:9/none",
        "AccountReference": "BENCH",
        "TransactionDesc": "Bench",
    }
    keys = f"{credentials.consumer_key}:{credentials.consumer_secret}".encode()
    bearer = _answer(
        port,
        "/oauth/v1/generate?grant_type=client_credentials",
        Authorization=f"Basic {base64.b64encode(keys).decode()}",
    )["access_token"]
    return [
        load.request(
            "POST",
            PATH,
            json.dumps(common | {"PartyA": phone, "PhoneNumber": phone}).encode(),
            Authorization=f"Bearer {bearer}",
        )
        for phone in phones
    ]


def _answer(
    port: int, path: str, body: bytes | None = None, **headers: str
) -> dict[str, Any]:
    address = f"http://127.0.0.1:{port}{path}"
    sent = urllib.request.Request(address, body, headers)
    with urllib.request.urlopen(sent, timeout=5) as response:
        answer: dict[str, Any] = json.load(response)
    return answer
