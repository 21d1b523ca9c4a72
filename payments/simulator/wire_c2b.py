"""What clients of C2B, Dynamic QR and Pull Transactions send."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from payments.simulator import fields, msisdn, refusals
from payments.simulator.accounts import TRANSACTION_TYPES
from payments.simulator.clock import EAST_AFRICA
from payments.simulator.fields import Body, Rules
from payments.simulator.refusals import Refused


COMPLETED = "Completed"
CANCELLED = "Cancelled"
BILL_REFERENCE_LENGTH = 20
QR_PURPOSES = ("BG", "WA", "PB", "SM", "SB")

_OFFSET = re.compile(r"\d{1,9}", re.ASCII)
_SIZE = re.compile(r"\d{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Registration:
    """Where C2B notices go, and what happens when validation is not answered.

    ``version`` 1 hides the payer's number as a hash, 2 by stars.
    """

    shortcode: str
    response_type: str
    confirmation_url: str
    validation_url: str
    version: int


@dataclass(frozen=True, slots=True)
class SimulatedPayment:
    """A payment that the sandbox plays; ``amount`` in whole shillings."""

    shortcode: str
    command: str
    amount: int
    phone: str
    reference: str


@dataclass(frozen=True, slots=True)
class QrRequest:
    """A QR code to be drawn; ``size`` in pixels."""

    merchant: str
    reference: str
    amount: int
    purpose: str
    number: str
    size: int


@dataclass(frozen=True, slots=True)
class PullRequest:
    """Which payments are wanted: between two times, from a row on."""

    shortcode: str
    since: datetime
    until: datetime
    offset: int


def read_registration(body: Body, *, version: int, rules: Rules) -> Registration:
    """Read the body of registerurl. Raises Refused with the first bad field."""
    return Registration(
        shortcode=fields.shortcode(body, "ShortCode"),
        response_type=fields.word(body, "ResponseType", (COMPLETED, CANCELLED)),
        confirmation_url=fields.url(body, "ConfirmationURL", rules=rules),
        validation_url=fields.url(body, "ValidationURL", rules=rules),
        version=version,
    )


def read_simulated(body: Body) -> SimulatedPayment:
    """Read the body of simulate. Raises Refused with the first bad field."""
    command = fields.word(body, "CommandID", tuple(TRANSACTION_TYPES.values()))
    return SimulatedPayment(
        shortcode=fields.shortcode(body, "ShortCode"),
        command=command,
        amount=fields.amount(body),
        phone=fields.field(body, "Msisdn", msisdn.is_wire_form),
        reference=_bill_reference(body, command),
    )


def read_qr(body: Body) -> QrRequest:
    """Read the body of a QR request. Raises Refused with the first bad field."""
    return QrRequest(
        merchant=fields.field(body, "MerchantName"),
        reference=fields.field(body, "RefNo"),
        amount=fields.amount(body),
        purpose=fields.word(body, "TrxCode", QR_PURPOSES),
        number=fields.field(body, "CPI"),
        size=int(fields.field(body, "Size", _SIZE.fullmatch)),
    )


def read_pull_registration(body: Body, *, rules: Rules) -> str:
    """Return the shortcode that wants to pull. Raises Refused."""
    shortcode = fields.shortcode(body, "ShortCode")
    fields.word(body, "RequestType", ("Pull",))
    fields.field(body, "NominatedNumber", msisdn.normalize)
    fields.url(body, "CallBackURL", rules=rules)
    return shortcode


def read_pull(body: Body) -> PullRequest:
    """Read the body of a pull; times are East Africa Time. Raises Refused."""
    if not fields.text(body, "ShortCode"):
        raise Refused(refusals.PULL_SHORTCODE)
    return PullRequest(
        shortcode=fields.shortcode(body, "ShortCode"),
        since=_moment(body, "StartDate"),
        until=_moment(body, "EndDate"),
        offset=int(fields.field(body, "OffSetValue", _OFFSET.fullmatch)),
    )


def _bill_reference(body: Body, command: str) -> str:
    if command != TRANSACTION_TYPES["paybill"]:
        return ""
    return fields.sentence(body, "BillRefNumber", least=1, most=BILL_REFERENCE_LENGTH)


def _moment(body: Body, name: str) -> datetime:
    text = fields.field(body, name)
    try:
        moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 -- EAT
    except ValueError:
        raise refusals.invalid(name) from None
    return moment.replace(tzinfo=EAST_AFRICA)
