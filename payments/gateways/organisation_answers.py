"""What Daraja's answers to an organisation mean: pure functions.

Accepted, refused for certain, or unknown, as with a push; and one thing more, that
something was registered before.
Source: portal pages CustomerToBusiness, PullTransaction, TransactionStatus, Reversal,
AccountBalance and DynamicQRCode, checked 2026-11-20.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from payments import readings
from payments.enums import FailureReason
from payments.gateways import answers
from payments.gateways.base import GatewayError
from payments.gateways.organisation import Acknowledged, QrCode, Registered
from payments.notices_pull import PullPage, parse_pull
from smartduka.lib.redaction import redacted


# The request was looked at and refused. "500.002.1001" is not here: it says that an
# earlier request with the same id was taken.
REFUSED = answers.REFUSED_AS_WRONG | {"404.002.01", "400.001"}
PNG = b"\x89PNG\r\n\x1a\n"


def acknowledged(status: int, answer: dict[str, Any]) -> Acknowledged:
    """Return the acceptance of a request, or raise what the answer means.

    Both ids must be there: without them no result could be told to be this one's.
    """
    conversation_id = readings.identifier(answer.get("ConversationID"))
    originator = readings.identifier(answer.get("OriginatorConversationID"))
    if _is_accepted(status, answer) and conversation_id and originator:
        return Acknowledged(conversation_id, originator)
    raise refusal(status, answer)


def registered(status: int, answer: dict[str, Any]) -> Registered:
    """Return what became of registering C2B URLs, or raise what the answer means."""
    message = answers.error_message(answer)
    if "already registered" in message:
        return Registered(already=True)
    if "duplicate notification info" in message:
        # Registered on the aggregators' platform: only Safaricom can change that.
        raise GatewayError(
            _told(status, answer),
            certain=True,
            reason=FailureReason.SHOP_ACCOUNT,
            may_retry=False,
        )
    if _is_accepted(status, answer):
        return Registered()
    raise refusal(status, answer)


def registered_pull(status: int, answer: dict[str, Any]) -> Registered:
    """Return what became of registering for pulling, or raise what it means.

    Older answers write "Response Status" with a blank.
    """
    code = answer.get("ResponseStatus", answer.get("Response Status"))
    if status == 200 and str(code) in ("1000", "1001"):
        return Registered(already=str(code) == "1001")
    raise refusal(status, answer)


def pulled(status: int, text: str) -> PullPage:
    """Return a page of pulled payments, or raise what the answer means."""
    if status == 200:
        try:
            return parse_pull(text.encode())
        except readings.Malformed as malformed:
            raise GatewayError(f"pull: {malformed}", certain=False) from malformed
    raise refusal(status, answers.json_object(text))


def pictured(status: int, answer: dict[str, Any]) -> QrCode:
    """Return the picture: whatever the response code, it is there or it is not."""
    picture = answer.get("QRCode")
    if status == 200 and isinstance(picture, str):
        try:
            png = base64.b64decode(picture, validate=True)
        except (binascii.Error, ValueError):
            png = b""
        if png.startswith(PNG):
            return QrCode(png)
    raise refusal(status, answer)


def refusal(status: int, answer: dict[str, Any]) -> GatewayError:
    """Return what an answer that is no acceptance means; unknown unless listed."""
    code, message = answers.error_code(answer), answers.error_message(answer)
    if code in answers.REFUSED_AS_BUSY or status == 429:
        return GatewayError(
            _told(status, answer), certain=True, reason=FailureReason.MPESA_BUSY
        )
    wrong_account = code == "500.001.1001" and (
        "merchant does not exist" in message or "wrong credentials" in message
    )
    if code in REFUSED or wrong_account or status == 401:
        return GatewayError(
            _told(status, answer),
            certain=True,
            reason=FailureReason.SHOP_ACCOUNT,
            may_retry=False,
        )
    return GatewayError(_told(status, answer), certain=False)


def _is_accepted(status: int, answer: dict[str, Any]) -> bool:
    code = answer.get("ResponseCode")
    is_zero = code == "0" or (type(code) is int and code == 0)
    return status == 200 and is_zero and not answers.error_code(answer)


def _told(status: int, answer: dict[str, Any]) -> str:
    # The edge may echo what we sent, and that holds the hook's token.
    code, message = answers.error_code(answer), answers.error_message(answer)
    return redacted(f"HTTP {status} {code} {message}".strip())[: answers.TEXT_LENGTH]
