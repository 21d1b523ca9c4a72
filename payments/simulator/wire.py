"""What clients of STK send: the push and the query, read in Daraja's order.

The first bad field is the one that is named.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from payments.simulator import fields, msisdn, refusals
from payments.simulator.accounts import TRANSACTION_TYPES, Account
from payments.simulator.clock import EAST_AFRICA
from payments.simulator.fields import Body, Rules
from payments.simulator.refusals import Refused


REFERENCE_LENGTH = 12
DESCRIPTION_LENGTH = 13
TIMESTAMP_TOLERANCE = timedelta(minutes=15)

_TIMESTAMP = re.compile(r"\d{14}", re.ASCII)
_REFERENCE = re.compile(rf"[A-Za-z0-9]{{1,{REFERENCE_LENGTH}}}", re.ASCII)


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


def read_push(body: Body, *, rules: Rules, now: datetime) -> PushRequest:
    """Read the body of a push.

    Raises Refused with 400.002.02 naming the first field that is wrong.
    """
    return PushRequest(
        shortcode=fields.shortcode(body, "BusinessShortCode"),
        password=fields.field(body, "Password"),
        timestamp=_timestamp(body, rules=rules, now=now),
        transaction_type=fields.word(
            body, "TransactionType", tuple(TRANSACTION_TYPES.values())
        ),
        amount=fields.amount(body),
        party_a=fields.field(body, "PartyA", msisdn.is_wire_form),
        party_b=fields.shortcode(body, "PartyB"),
        phone=fields.field(body, "PhoneNumber", msisdn.is_wire_form),
        callback_url=fields.url(body, "CallBackURL", rules=rules),
        reference=_reference(body, rules=rules),
        description=_description(body, rules=rules),
    )


def read_query(body: Body, *, rules: Rules, now: datetime) -> QueryRequest:
    """Read the body of a query. Raises Refused like read_push()."""
    return QueryRequest(
        shortcode=fields.shortcode(body, "BusinessShortCode"),
        password=fields.field(body, "Password"),
        timestamp=_timestamp(body, rules=rules, now=now),
        checkout_id=fields.field(body, "CheckoutRequestID"),
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


def _moment(timestamp: str) -> datetime:
    return datetime.strptime(timestamp, "%Y%m%d%H%M%S").replace(tzinfo=EAST_AFRICA)


def _timestamp(body: Body, *, rules: Rules, now: datetime) -> str:
    timestamp = fields.field(body, "Timestamp", _TIMESTAMP.fullmatch)
    try:
        stale = is_stale(timestamp, now=now)
    except ValueError:
        raise refusals.invalid("Timestamp") from None
    if stale and rules.eat_strict:
        raise refusals.invalid("Timestamp")
    return timestamp


def _reference(body: Body, *, rules: Rules) -> str:
    if rules.text_limits:
        return fields.field(body, "AccountReference", _REFERENCE.fullmatch)
    return fields.field(body, "AccountReference")


def _description(body: Body, *, rules: Rules) -> str:
    text = fields.text(body, "TransactionDesc")
    # The gateway calls this field by its old name.
    if not text.strip() and rules.require_remarks:
        raise refusals.invalid("Remarks")
    if len(text) > DESCRIPTION_LENGTH and rules.text_limits:
        raise refusals.invalid("Remarks")
    return text
