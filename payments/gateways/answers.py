"""What Daraja's answers mean: pure functions over status and body.

Classified on both, because errors come with HTTP 200 and sense comes with HTTP
500. What means nothing is unknown, never failed. Every text is cleaned: a body can
hold what no database stores.
Source: the error tables of portal pages Authorization, MpesaExpressSimulate and
MpesaExpressQuery, and reports from the field, checked 2026-11-20.
"""

from __future__ import annotations

import json
from typing import Any

from payments.enums import FailureReason
from payments.gateways.base import (
    Answered,
    GatewayError,
    Probe,
    Proof,
    PushAccepted,
    QueryAnswer,
)
from smartduka.lib.redaction import redacted
from smartduka.lib.text import clean


ID_LENGTH = 64
TEXT_LENGTH = 200

TOKEN_REFUSED = frozenset({"400.003.01", "401.002.01", "401.003.01", "404.001.03"})
REFUSED_AS_WRONG = frozenset(
    {"400.002.02", "400.002.05", "400.003.02", "404.001.01", "404.001.04",
     "404.003.01", "405.001"}
)  # fmt: skip
REFUSED_AS_BUSY = frozenset({"500.003.02", "500.003.03"})
LOCK_WAIT_S = 60


def json_object(text: str) -> dict[str, Any]:
    """Return the body if it is a JSON object, else an empty one."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def error_code(answer: dict[str, Any]) -> str:
    """The error code of an envelope, in either casing; "" if there is none."""
    return _text(answer.get("errorCode") or answer.get("ErrorCode"))


def error_message(answer: dict[str, Any]) -> str:
    """The error text of an envelope, in lower case."""
    text = answer.get("errorMessage") or answer.get("ErrorMessage") or ""
    return _text(text).lower()


def refuses_token(status: int, text: str, answer: dict[str, Any]) -> bool:
    """Whether the token was refused before the request was looked at."""
    if error_code(answer) in TOKEN_REFUSED:
        return True
    return status == 401 and "apiproduct" not in text.lower()


def accepted(status: int, answer: dict[str, Any]) -> PushAccepted:
    """Return the acceptance in an answer to a push, or raise what it means."""
    checkout_request_id = answer.get("CheckoutRequestID")
    if (
        status == 200
        and not error_code(answer)
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
    code, message = error_code(answer), error_message(answer)
    # The edge may echo what we sent, and that holds the hook's token.
    text = redacted(f"HTTP {status} {code} {message}".strip())[:TEXT_LENGTH]
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
        about_phone = "invalidphonenumber" in message.replace(" ", "")
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


def answered(status: int, answer: dict[str, Any], asked_for: str) -> QueryAnswer:
    """Return what an answer to a query says; nonsense says nothing."""
    code = answer.get("ResultCode")
    if isinstance(code, int) and not isinstance(code, bool):
        code = str(code)
    about = answer.get("CheckoutRequestID", asked_for)
    if (
        status == 200
        and isinstance(code, str)
        and clean(code).strip()
        and about == asked_for
    ):
        code = clean(code).strip()[:20]
        kind = Answered.PENDING if code == "4999" else Answered.FINAL
        return QueryAnswer(kind, code, clean(answer.get("ResultDesc"))[:255])
    if error_code(answer) == "500.001.1001" and "processed" in error_message(answer):
        return QueryAnswer(Answered.PENDING)
    return QueryAnswer(
        Answered.UNKNOWN, description=f"HTTP {status} {error_code(answer)}".strip()
    )


def probed(status: int, text: str) -> Probe:
    """What an answer to a question about no prompt says of the account that asked.

    The number is looked at before the passkey, and both before the prompt: only an
    answer about the prompt itself proves them.
    """
    answer = json_object(text)
    code, message = error_code(answer), error_message(answer)
    detail = redacted(f"HTTP {status} {code} {message}".strip())[:TEXT_LENGTH]
    squeezed = message.replace(" ", "")
    if "apiproduct" in text.lower():
        return Probe(Proof.PRODUCT, detail)
    if "merchantdoesnotexist" in squeezed or "invalidbusinessshortcode" in squeezed:
        return Probe(Proof.NUMBER, detail)
    if "wrongcredentials" in squeezed or "invalidpassword" in squeezed:
        return Probe(Proof.PASSKEY, detail)
    is_about_it = "checkoutrequestid" in squeezed or "transaction" in squeezed
    knows_no_prompt = code in {"400.002.02", "500.001.1001"} and is_about_it
    is_answered = status == 200 and not code and "ResultCode" in answer
    return Probe(
        Proof.GOOD if knows_no_prompt or is_answered else Proof.UNCLEAR, detail
    )


def _text(value: object) -> str:
    return clean(value if isinstance(value, str) else str(value or ""))[:TEXT_LENGTH]
