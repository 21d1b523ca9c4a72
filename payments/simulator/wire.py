"""What clients send: bodies read field by field, as Daraja does it.

Numbers and strings are both accepted for every numeric field; unknown fields are
ignored. The first bad field is the one that is named.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from payments.simulator import msisdn, refusals
from payments.simulator.accounts import TRANSACTION_TYPES, Account
from payments.simulator.clock import EAST_AFRICA
from payments.simulator.refusals import Refused


REFERENCE_LENGTH = 12
DESCRIPTION_LENGTH = 13
TIMESTAMP_TOLERANCE = timedelta(minutes=15)
# From "URL Requirements" of Daraja's C2B page, checked August 2026.
FORBIDDEN_WORDS = ("m-pesa", "mpesa", "safaricom", "exe", "exec", "cmd", "sql", "query")

_SHORTCODE = re.compile(r"\d{5,7}", re.ASCII)
_AMOUNT = re.compile(r"\d{1,9}", re.ASCII)
_TIMESTAMP = re.compile(r"\d{14}", re.ASCII)
_REFERENCE = re.compile(rf"[A-Za-z0-9]{{1,{REFERENCE_LENGTH}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rules:
    """Which of the rules that Daraja applies unevenly are applied."""

    text_limits: bool = True
    require_remarks: bool = True
    url_words: bool = False
    https_only: bool = False
    eat_strict: bool = False


@dataclass(frozen=True, slots=True)
class PushRequest:
    """A well-formed STK push; ``amount`` in whole shillings."""

    shortcode: str
    password: str
    timestamp: str
    transaction_type: str
    amount: int
    party_a: str
    party_b: str
    phone: str
    callback_url: str
    reference: str
    description: str


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """A well-formed STK query."""

    shortcode: str
    password: str
    timestamp: str
    checkout_id: str


def read_push(body: dict[str, Any], *, rules: Rules, now: datetime) -> PushRequest:
    """Read the body of a push.

    Raises Refused with 400.002.02 naming the first field that is wrong.
    """
    return PushRequest(
        shortcode=_field(body, "BusinessShortCode", _SHORTCODE.fullmatch),
        password=_field(body, "Password"),
        timestamp=_timestamp(body, rules=rules, now=now),
        transaction_type=_field(
            body, "TransactionType", lambda word: word in TRANSACTION_TYPES.values()
        ),
        amount=_amount(body),
        party_a=_field(body, "PartyA", msisdn.is_wire_form),
        party_b=_field(body, "PartyB", _SHORTCODE.fullmatch),
        phone=_field(body, "PhoneNumber", msisdn.is_wire_form),
        callback_url=_callback_url(body, rules=rules),
        reference=_reference(body, rules=rules),
        description=_description(body, rules=rules),
    )


def read_query(body: dict[str, Any], *, rules: Rules, now: datetime) -> QueryRequest:
    """Read the body of a query. Raises Refused like read_push()."""
    return QueryRequest(
        shortcode=_field(body, "BusinessShortCode", _SHORTCODE.fullmatch),
        password=_field(body, "Password"),
        timestamp=_timestamp(body, rules=rules, now=now),
        checkout_id=_field(body, "CheckoutRequestID"),
    )


def check_password(request: PushRequest | QueryRequest, account: Account) -> None:
    """Compare with base64(shortcode + passkey + timestamp).

    Raises Refused with "Wrong credentials".
    """
    plain = f"{request.shortcode}{account.passkey}{request.timestamp}"
    expected = base64.b64encode(plain.encode())
    if not hmac.compare_digest(expected, request.password.encode()):
        raise Refused(refusals.WRONG_CREDENTIALS)


def is_stale(timestamp: str, *, now: datetime) -> bool:
    """Say whether a timestamp is no East Africa Time of the last 15 minutes."""
    return abs(now - _moment(timestamp)) > TIMESTAMP_TOLERANCE


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value)


def _field(
    body: dict[str, Any], name: str, is_valid: Callable[[str], object] = bool
) -> str:
    text = _text(body, name)
    if not text or not is_valid(text):
        raise refusals.invalid(name)
    return text


def _amount(body: dict[str, Any]) -> int:
    amount = int(_field(body, "Amount", _AMOUNT.fullmatch))
    if amount < 1:
        raise refusals.invalid("Amount")
    return amount


def _moment(timestamp: str) -> datetime:
    return datetime.strptime(timestamp, "%Y%m%d%H%M%S").replace(tzinfo=EAST_AFRICA)


def _timestamp(body: dict[str, Any], *, rules: Rules, now: datetime) -> str:
    timestamp = _field(body, "Timestamp", _TIMESTAMP.fullmatch)
    try:
        stale = is_stale(timestamp, now=now)
    except ValueError:
        raise refusals.invalid("Timestamp") from None
    if stale and rules.eat_strict:
        raise refusals.invalid("Timestamp")
    return timestamp


def _callback_url(body: dict[str, Any], *, rules: Rules) -> str:
    return _field(body, "CallBackURL", lambda url: _is_callable(url, rules=rules))


def _is_callable(url: str, *, rules: Rules) -> bool:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    schemes = ("https",) if rules.https_only else ("http", "https")
    if parts.scheme not in schemes or not has_host or re.search(r"\s", url):
        return False
    return not rules.url_words or not any(
        word in url.lower() for word in FORBIDDEN_WORDS
    )


def _reference(body: dict[str, Any], *, rules: Rules) -> str:
    if rules.text_limits:
        return _field(body, "AccountReference", _REFERENCE.fullmatch)
    return _field(body, "AccountReference")


def _description(body: dict[str, Any], *, rules: Rules) -> str:
    text = _text(body, "TransactionDesc")
    # The gateway calls this field by its old name.
    if not text.strip() and rules.require_remarks:
        raise refusals.invalid("Remarks")
    if len(text) > DESCRIPTION_LENGTH and rules.text_limits:
        raise refusals.invalid("Remarks")
    return text
