"""The HTTP client of Daraja, M-Pesa's API: OAuth, STK Push, STK query.

Only this file and `daraja_organisation` know Daraja's addresses and field names on
the way out; what comes back is read by `answers`. No call is made inside a
transaction. A push is never repeated, unless Daraja refused the token before it
looked at the request.
Source: portal pages Authorization, MpesaExpressSimulate and MpesaExpressQuery, checked
2026-11-20.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError

from payments.enums import FailureReason
from payments.gateways import answers, tokens
from payments.gateways.base import (
    Answered,
    Credentials,
    GatewayError,
    Probe,
    Proof,
    PushAccepted,
    PushRequest,
    QueryAnswer,
)
from payments.gateways.breaker import Breaker
from smartduka.lib import clock
from smartduka.lib.transactions import require_no_transaction


# One socket per prompt in flight; more than a web process ever has at once.
POOL_SIZE = 256
ANSWER_LIMIT = 65_536
CHUNK = 8192
PUSH_PATH = "/mpesa/stkpush/v1/processrequest"
QUERY_PATH = "/mpesa/stkpushquery/v1/query"
# A prompt that was never sent: asking about it moves nothing.
NO_PROMPT = "ws_CO_01012020000000000700000000"
TOKEN_PATH = "/oauth/v1/generate"  # noqa: S105 -- a path


class TokenRefused(Exception):
    """Daraja refused the bearer token before it looked at the request."""


def password(shortcode: str, passkey: str, timestamp: str) -> str:
    """Return the STK password: base64 of shortcode, passkey and timestamp."""
    return base64.b64encode(f"{shortcode}{passkey}{timestamp}".encode()).decode()


def timestamp(moment: datetime) -> str:
    """Return `YYYYMMDDHHmmss` in East Africa Time, as the password needs it."""
    return moment.astimezone(clock.NAIROBI).strftime("%Y%m%d%H%M%S")


class Daraja:
    """One pooled session to Daraja; safe to share between threads."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(pool_maxsize=POOL_SIZE))
        self._session.mount("https://", HTTPAdapter(pool_maxsize=POOL_SIZE))
        self._breaker = Breaker()

    def push(self, account: Credentials, request: PushRequest) -> PushAccepted:
        """Send one STK Push; see the Gateway protocol.

        Raises GatewayError: certain when the connection was never made, no token
        was to be had in time, or the answer is one of the listed refusals;
        uncertain for everything else.
        """
        kind = "CustomerBuyGoodsOnline" if account.is_till else "CustomerPayBillOnline"
        body = _signed(account) | {
            "TransactionType": kind,
            "Amount": request.amount,
            "PartyA": request.phone,
            "PartyB": account.party_b,
            "PhoneNumber": request.phone,
            "CallBackURL": request.callback_url,
            "AccountReference": request.reference,
            "TransactionDesc": request.description,
        }
        limit_s = settings.PUSH_READ_TIMEOUT_S
        status, text = self.post(account, PUSH_PATH, body, limit_s=limit_s)
        return answers.accepted(status, answers.json_object(text))

    def query(
        self, account: Credentials, checkout_request_id: str, *, limit_s: float
    ) -> QueryAnswer:
        """Ask for the state of one prompt; see the Gateway protocol."""
        if self._breaker.is_open:
            return QueryAnswer(Answered.NOT_ASKED, description="breaker open")
        body = _signed(account) | {"CheckoutRequestID": checkout_request_id}
        try:
            status, text = self.post(account, QUERY_PATH, body, limit_s=limit_s)
        except GatewayError as error:
            kind = Answered.NOT_ASKED if error.certain else Answered.UNKNOWN
            return QueryAnswer(kind, description=str(error))
        return answers.answered(status, answers.json_object(text), checkout_request_id)

    def probe(self, account: Credentials, *, limit_s: float) -> Probe:
        """Try the keys of an account with a fresh token; see the Prober protocol.

        A token from before a product was added to the app would go on failing.
        """
        try:
            held = self.token(account, limit_s=limit_s)
            tokens.forget(*_token_name(account), held)
            self.token(account, limit_s=limit_s)
        except GatewayError as error:
            refused = error.reason == FailureReason.SHOP_ACCOUNT
            return Probe(Proof.KEYS if refused else Proof.UNREACHED, str(error))
        body = _signed(account) | {"CheckoutRequestID": NO_PROMPT}
        try:
            status, text = self.post(account, QUERY_PATH, body, limit_s=limit_s)
        except GatewayError as error:
            refused = error.reason == FailureReason.SHOP_ACCOUNT
            return Probe(Proof.PRODUCT if refused else Proof.UNREACHED, str(error))
        return answers.probed(status, text)

    def token(self, account: Credentials, *, limit_s: float) -> str:
        """Return a bearer token of the account, from the cache if it lives.

        Raises GatewayError (certain: without a token nothing was asked), also when
        none was to be had within `limit_s` seconds.
        """
        return tokens.obtain(
            *_token_name(account),
            lambda left_s: self._fetch_token(account, left_s),
            limit_s=limit_s,
        )

    def post(
        self,
        account: Credentials,
        path: str,
        body: dict[str, Any],
        *,
        limit_s: float,
        most: int = ANSWER_LIMIT,
    ) -> tuple[int, str]:
        """POST with a token, refreshed once if Daraja refuses it; status and text.

        The text is cut at `most` bytes. Raises GatewayError as `push` does.
        """
        token = self.token(account, limit_s=limit_s)
        try:
            return self._post(path, body, token, limit_s, most)
        except TokenRefused:
            tokens.forget(*_token_name(account), token)
        token = self.token(account, limit_s=limit_s)
        try:
            return self._post(path, body, token, limit_s, most)
        except TokenRefused as refused:
            tokens.forget(*_token_name(account), token)
            raise GatewayError(
                f"token refused twice: {refused}",
                certain=True,
                reason=FailureReason.SHOP_ACCOUNT,
                may_retry=False,
            ) from refused

    def fetch(self, path: str, *, limit_s: float) -> tuple[int, str]:
        """GET a public document, without a token; status and text.

        Raises GatewayError.
        """

        def call(timeout: tuple[float, float]) -> requests.Response:
            return self._session.get(
                settings.MPESA_BASE_URL + path,
                timeout=timeout,
                allow_redirects=False,
                stream=True,
            )

        return self._sent(call, limit_s)

    def _post(
        self, path: str, body: dict[str, Any], token: str, limit_s: float, most: int
    ) -> tuple[int, str]:
        def call(timeout: tuple[float, float]) -> requests.Response:
            return self._session.post(
                settings.MPESA_BASE_URL + path,
                json=body,
                headers={"Authorization": f"Bearer {token}"},
                timeout=timeout,
                allow_redirects=False,
                stream=True,
            )

        status, text = self._sent(call, limit_s, most)
        answer = answers.json_object(text)
        if answers.refuses_token(status, text, answer):
            raise TokenRefused(answers.error_code(answer) or str(status))
        return status, text

    def _fetch_token(self, account: Credentials, limit_s: float) -> tuple[str, float]:
        def call(timeout: tuple[float, float]) -> requests.Response:
            return self._session.get(
                settings.MPESA_BASE_URL + TOKEN_PATH,
                params={"grant_type": "client_credentials"},
                auth=(account.consumer_key, account.consumer_secret),
                timeout=timeout,
                allow_redirects=False,
                stream=True,
            )

        try:
            status, text = self._sent(call, limit_s)
        except GatewayError as error:
            # Whatever became of it, no prompt was sent.
            raise _no_token(str(error), reached=False) from error
        answer = answers.json_object(text)
        token = answer.get("access_token")
        if status == 200 and isinstance(token, str) and _fits_a_header(token):
            return token, tokens.lifetime_s(answer.get("expires_in"))
        raise _no_token(
            f"HTTP {status} {answers.error_code(answer)}", reached=status in (400, 401)
        )

    def _sent(
        self,
        call: Callable[[tuple[float, float]], requests.Response],
        limit_s: float,
        most: int = ANSWER_LIMIT,
    ) -> tuple[int, str]:
        """Make one HTTP call; return status and text.

        Raises GatewayError, certain only when no connection was made: whatever
        breaks later, TLS included, may have broken after the request arrived.
        """
        require_no_transaction()
        if self._breaker.is_open:
            raise _not_connected()
        connect_s = min(settings.PUSH_CONNECT_TIMEOUT_S, limit_s)
        until = time.monotonic() + connect_s + limit_s
        try:
            with call((connect_s, limit_s)) as response:
                self._breaker.succeeded()
                return response.status_code, _read(response, until, most)
        except (requests.RequestException, HTTPError) as error:
            if not _never_connected(error):
                raise GatewayError(
                    f"no answer: {type(error).__name__}",
                    certain=False,
                    reason=FailureReason.MPESA_UNREACHABLE,
                ) from error
            if connect_s >= settings.PUSH_CONNECT_TIMEOUT_S:
                self._breaker.failed()
            raise _not_connected() from error


def _signed(account: Credentials) -> dict[str, Any]:
    stamp = timestamp(clock.now())
    return {
        "BusinessShortCode": account.shortcode,
        "Password": password(account.shortcode, account.passkey, stamp),
        "Timestamp": stamp,
    }


def _token_name(account: Credentials) -> tuple[str, str]:
    name = f"{settings.MPESA_BASE_URL}|{account.consumer_key}"
    return name, account.consumer_secret


def _fits_a_header(token: str) -> bool:
    return 0 < len(token) < 4096 and token.isascii() and token.isprintable()


def _no_token(why: str, *, reached: bool) -> GatewayError:
    return GatewayError(
        f"no token: {why}".strip(),
        certain=True,
        reason=(
            FailureReason.SHOP_ACCOUNT if reached else FailureReason.MPESA_UNREACHABLE
        ),
        may_retry=not reached,
    )


def _not_connected() -> GatewayError:
    return GatewayError(
        "M-Pesa could not be reached",
        certain=True,
        reason=FailureReason.MPESA_UNREACHABLE,
    )


def _read(response: requests.Response, until: float, most: int) -> str:
    """Return the body's text, cut at `most`; a drip of bytes is a time-out."""
    body = b""
    while len(body) <= most:
        chunk = response.raw.read1(CHUNK, decode_content=True)
        if not chunk:
            break
        body += chunk
        if time.monotonic() > until:
            raise requests.ReadTimeout("the answer took too long")
    return body.decode("utf-8", "replace")


def _never_connected(error: Exception) -> bool:
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(reason, (NewConnectionError, NameResolutionError))
