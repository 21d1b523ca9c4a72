"""The HTTP client of Daraja, M-Pesa's API: OAuth, STK Push, STK query.

The only file that knows Daraja's addresses and field names on the way out.
Answers are classified on status and body; what means nothing is unknown, never
failed. No call is made inside a transaction, and no push is ever repeated unless
Daraja said that it refused the token before looking at it.
Source: daraja dossier sections 1 to 3, checked 2026-11-20.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NameResolutionError, NewConnectionError

from payments.enums import FailureReason
from payments.gateways import tokens
from payments.gateways.base import (
    Answered,
    Credentials,
    GatewayError,
    PushAccepted,
    PushRequest,
    QueryAnswer,
)
from smartduka.lib import clock
from smartduka.lib.transactions import require_no_transaction


logger = logging.getLogger(__name__)

# One socket per prompt in flight; more than a web process ever has at once.
POOL_SIZE = 256
ID_LENGTH = 64
ANSWER_LIMIT = 65_536
# After so many connections refused in a row, nobody waits for the next for a while.
BREAKER_LIMIT = 5
BREAKER_PAUSE_S = 10

TOKEN_REFUSED = frozenset({"400.003.01", "401.002.01", "401.003.01", "404.001.03"})
REFUSED_AS_WRONG = frozenset(
    {"400.002.02", "400.002.05", "400.003.02", "404.001.01", "404.001.04",
     "404.003.01", "405.001"}
)  # fmt: skip
REFUSED_AS_BUSY = frozenset({"500.003.02", "500.003.03"})
LOCK_WAIT_S = 60


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

        Raises GatewayError: certain when the connection was never made, or the
        answer is one of the listed refusals; uncertain for everything else.
        """
        stamp = timestamp(clock.now())
        kind = "CustomerBuyGoodsOnline" if account.is_till else "CustomerPayBillOnline"
        body = {
            "BusinessShortCode": account.shortcode,
            "Password": password(account.shortcode, account.passkey, stamp),
            "Timestamp": stamp,
            "TransactionType": kind,
            "Amount": request.amount,
            "PartyA": request.phone,
            "PartyB": account.party_b,
            "PhoneNumber": request.phone,
            "CallBackURL": request.callback_url,
            "AccountReference": request.reference,
            "TransactionDesc": request.description,
        }
        timeout = (settings.PUSH_CONNECT_TIMEOUT_S, settings.PUSH_READ_TIMEOUT_S)
        response = self._authorised(
            account, "/mpesa/stkpush/v1/processrequest", body, timeout
        )
        return _accepted(*response)

    def query(
        self, account: Credentials, checkout_request_id: str, *, limit_s: float
    ) -> QueryAnswer:
        """Ask for the state of one prompt; see the Gateway protocol."""
        stamp = timestamp(clock.now())
        body = {
            "BusinessShortCode": account.shortcode,
            "Password": password(account.shortcode, account.passkey, stamp),
            "Timestamp": stamp,
            "CheckoutRequestID": checkout_request_id,
        }
        timeout = (min(settings.PUSH_CONNECT_TIMEOUT_S, limit_s), limit_s)
        try:
            status, answer = self._authorised(
                account, "/mpesa/stkpushquery/v1/query", body, timeout
            )
        except GatewayError as error:
            return QueryAnswer(Answered.UNKNOWN, description=str(error))
        return _answer(status, answer, checkout_request_id)

    def token(self, account: Credentials, *, fresh: bool = False) -> str:
        """Return a bearer token of the account, from the cache if it lives.

        Raises GatewayError (certain: without a token nothing was asked).
        """

        def fetch() -> tuple[str, float]:
            return self._fetch_token(account)

        return tokens.obtain(
            f"{settings.MPESA_BASE_URL}|{account.consumer_key}",
            account.consumer_secret,
            fetch,
            fresh=fresh,
        )

    def _authorised(
        self,
        account: Credentials,
        path: str,
        body: dict[str, Any],
        timeout: tuple[float, float],
    ) -> tuple[int, dict[str, Any]]:
        """POST with a token; refresh it once if Daraja refuses it."""
        token = self.token(account)
        try:
            return self._post(path, body, token, timeout)
        except TokenRefused:
            tokens.forget(
                f"{settings.MPESA_BASE_URL}|{account.consumer_key}",
                account.consumer_secret,
                token,
            )
        try:
            return self._post(path, body, self.token(account), timeout)
        except TokenRefused as refused:
            raise GatewayError(
                f"token refused twice: {refused}",
                certain=True,
                reason=FailureReason.SHOP_ACCOUNT,
                may_retry=False,
            ) from refused

    def _post(
        self,
        path: str,
        body: dict[str, Any],
        token: str,
        timeout: tuple[float, float],
    ) -> tuple[int, dict[str, Any]]:
        def call() -> requests.Response:
            return self._session.post(
                settings.MPESA_BASE_URL + path,
                json=body,
                headers={"Authorization": f"Bearer {token}"},
                timeout=timeout,
                allow_redirects=False,
                stream=True,
            )

        status, text = self._sent(call, timeout[1])
        answer = _json_object(text)
        if _refuses_token(status, text, answer):
            raise TokenRefused(_error_code(answer) or str(status))
        return status, answer

    def _fetch_token(self, account: Credentials) -> tuple[str, float]:
        timeout = (settings.PUSH_CONNECT_TIMEOUT_S, settings.PUSH_READ_TIMEOUT_S)

        def call() -> requests.Response:
            return self._session.get(
                settings.MPESA_BASE_URL + "/oauth/v1/generate",
                params={"grant_type": "client_credentials"},
                auth=(account.consumer_key, account.consumer_secret),
                timeout=timeout,
                allow_redirects=False,
                stream=True,
            )

        try:
            status, text = self._sent(call, timeout[1])
        except GatewayError as error:
            error.certain = True  # whatever became of it, no prompt was sent
            error.reason = FailureReason.MPESA_UNREACHABLE
            raise
        answer = _json_object(text)
        token = answer.get("access_token")
        if status == 200 and isinstance(token, str) and token:
            return token, tokens.lifetime_s(answer.get("expires_in"))
        wrong_keys = status in (400, 401)
        raise GatewayError(
            f"no token: HTTP {status} {_error_code(answer)}".strip(),
            certain=True,
            reason=(
                FailureReason.SHOP_ACCOUNT
                if wrong_keys
                else FailureReason.MPESA_UNREACHABLE
            ),
            may_retry=not wrong_keys,
        )

    def _sent(
        self, call: Callable[[], requests.Response], read_limit_s: float
    ) -> tuple[int, str]:
        """Make one HTTP call; return status and text.

        Raises GatewayError, certain only when no connection was made. The whole
        answer must arrive within the read limit, not only its next byte.
        """
        require_no_transaction()
        self._breaker.require_closed()
        started = time.monotonic()
        try:
            with call() as response:
                self._breaker.succeeded()
                return response.status_code, _read(response, started + read_limit_s)
        except requests.RequestException as error:
            if _never_connected(error):
                self._breaker.failed()
                raise GatewayError(
                    "M-Pesa could not be reached",
                    certain=True,
                    reason=FailureReason.MPESA_UNREACHABLE,
                ) from error
            raise GatewayError(
                f"no answer: {type(error).__name__}",
                certain=False,
                reason=FailureReason.MPESA_UNREACHABLE,
            ) from error


class Breaker:
    """Spares everybody the wait when no connection can be made at all.

    Opens after BREAKER_LIMIT connections failed in a row, for BREAKER_PAUSE_S
    seconds. Only failures to connect count: they are certain, and so is a refusal.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until = 0.0

    def require_closed(self) -> None:
        """Raise GatewayError (certain) while the breaker is open."""
        if time.monotonic() < self._open_until:
            raise GatewayError(
                "M-Pesa could not be reached",
                certain=True,
                reason=FailureReason.MPESA_UNREACHABLE,
            )

    def succeeded(self) -> None:
        """A connection was made."""
        self._failures = 0

    def failed(self) -> None:
        """A connection could not be made."""
        with self._lock:
            self._failures += 1
            if self._failures >= BREAKER_LIMIT:
                self._failures = 0
                self._open_until = time.monotonic() + BREAKER_PAUSE_S
                logger.warning("breaker open for %s s", BREAKER_PAUSE_S)


def _read(response: requests.Response, deadline: float) -> str:
    """Return the body's text, cut at ANSWER_LIMIT; a drip of bytes is a time-out."""
    body = b""
    for chunk in response.iter_content(8192):
        body += chunk
        if time.monotonic() > deadline:
            raise requests.ReadTimeout("the answer took too long")
        if len(body) > ANSWER_LIMIT:
            break
    return body.decode("utf-8", "replace")


def _never_connected(error: requests.RequestException) -> bool:
    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.SSLError)):
        return True
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(reason, (NewConnectionError, NameResolutionError))


def _json_object(text: str) -> dict[str, Any]:
    """Return the body if it is a JSON object, else an empty one."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _error_code(answer: dict[str, Any]) -> str:
    return str(answer.get("errorCode") or answer.get("ErrorCode") or "")


def _error_message(answer: dict[str, Any]) -> str:
    text = answer.get("errorMessage") or answer.get("ErrorMessage") or ""
    return str(text).lower()


def _refuses_token(status: int, text: str, answer: dict[str, Any]) -> bool:
    if _error_code(answer) in TOKEN_REFUSED:
        return True
    return status == 401 and "apiproduct" not in text.lower()


def _accepted(status: int, answer: dict[str, Any]) -> PushAccepted:
    """Return the acceptance in an answer to a push, or raise what it means."""
    checkout_request_id = answer.get("CheckoutRequestID")
    if (
        status == 200
        and not _error_code(answer)
        and answer.get("ResponseCode") in ("0", 0)
        and isinstance(checkout_request_id, str)
        and 0 < len(checkout_request_id) <= ID_LENGTH
        and checkout_request_id.isprintable()
    ):
        merchant = answer.get("MerchantRequestID")
        return PushAccepted(
            merchant_request_id=merchant[:ID_LENGTH]
            if isinstance(merchant, str) and merchant.isprintable()
            else "",
            checkout_request_id=checkout_request_id,
        )
    raise _refusal(status, answer)


def _refusal(status: int, answer: dict[str, Any]) -> GatewayError:
    code, message = _error_code(answer), _error_message(answer)
    text = f"HTTP {status} {code} {message}".strip()[:200]
    if code == "500.001.1001" and "unable to lock" in message:
        return GatewayError(
            text, certain=True, reason=FailureReason.TOO_SOON, wait_s=LOCK_WAIT_S
        )
    if code in REFUSED_AS_BUSY or status == 429:
        return GatewayError(text, certain=True, reason=FailureReason.MPESA_BUSY)
    wrong_account = code == "500.001.1001" and (
        "merchant does not exist" in message or "wrong credentials" in message
    )
    if wrong_account or code in REFUSED_AS_WRONG or status == 401:
        about_phone = "invalid phonenumber" in message.replace(" ", "")
        return GatewayError(
            text,
            certain=True,
            reason=(
                FailureReason.PROMPT_NOT_SENT
                if about_phone
                else FailureReason.SHOP_ACCOUNT
            ),
            may_retry=False,
        )
    return GatewayError(text, certain=False)


def _answer(status: int, answer: dict[str, Any], asked_for: str) -> QueryAnswer:
    """Return what an answer to a query says; nonsense says nothing."""
    code = answer.get("ResultCode")
    if isinstance(code, int) and not isinstance(code, bool):
        code = str(code)
    about = answer.get("CheckoutRequestID", asked_for)
    if status == 200 and isinstance(code, str) and code.strip() and about == asked_for:
        code = code.strip()[:20]
        kind = Answered.PENDING if code == "4999" else Answered.FINAL
        return QueryAnswer(kind, code, str(answer.get("ResultDesc") or "")[:255])
    if _error_code(answer) == "500.001.1001" and "processed" in _error_message(answer):
        return QueryAnswer(Answered.PENDING)
    return QueryAnswer(
        Answered.UNKNOWN, description=f"HTTP {status} {_error_code(answer)}".strip()
    )
