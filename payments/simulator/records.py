"""What the simulator remembers: phones, prompts, tokens, and money that moved.

Amounts in KES, whole shillings. Only ``bank`` and ``book`` change them, under their
lock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from payments.simulator import outcomes
from payments.simulator.accounts import TILL, Account
from payments.simulator.wire import PushRequest


OPENING_BALANCE = 50_000

OPEN = "open"
IGNORED = "ignored"
PAID = "paid"
EXPIRED = "expired"
STATUSES = {
    outcomes.PAID: PAID,
    outcomes.INSUFFICIENT: "no-balance",
    outcomes.CANCELLED: "cancelled",
    outcomes.WRONG_PIN: "wrong-pin",
    outcomes.UNREACHABLE: "unreachable",
}
"""Status of a finished prompt by result code; all others are "refused"."""


class Kind(StrEnum):
    """Why money moved. The customer's own acts are STK and C2B."""

    STK = "stk"
    C2B = "c2b"
    REVERSAL = "reversal"
    CHARGE = "charge"
    SWEEP = "sweep"


OTHER_PARTIES = {Kind.CHARGE: "Safaricom", Kind.SWEEP: "Bank"}
"""The other side of money that no customer moved."""
_REASONS = {
    (kind, is_till): words[is_till]
    for kind, words in {
        Kind.STK: ("Pay Bill Online", "Merchant Payment Online"),
        Kind.C2B: ("Pay Bill", "Customer Merchant Payment"),
        Kind.REVERSAL: ("Organization Reversal", "Organization Reversal"),
        Kind.CHARGE: ("Pay Bill Charge", "Merchant Payment Charge"),
        Kind.SWEEP: ("Funds Withdrawal to Bank", "Funds Withdrawal to Bank"),
    }.items()
    for is_till in (False, True)
}


@dataclass(frozen=True, slots=True)
class Message:
    """An SMS on a virtual phone."""

    at: datetime
    text: str


@dataclass(slots=True)
class Entry:
    """Money that moved, or was declined on the way.

    ``amount`` is positive, ``is_income`` says which way it went; ``balance`` is the
    organisation's afterwards. ``phone`` is the customer's, empty where there is none.
    A charge carries the receipt of the payment it is for, as on a real statement.
    ``linked`` is the receipt of the payment that is reversed or charged for,
    the conversation ids are those of a reversal, ``notices`` its C2B confirmations.
    """

    receipt: str
    kind: Kind
    amount: int
    account: Account
    started_at: datetime
    at: datetime
    balance: int
    phone: str = ""
    reference: str = ""
    checkout_id: str = ""
    third_party_id: str = ""
    conversation_id: str = ""
    originator_id: str = ""
    linked: str = ""
    reversed_by: str = ""
    is_declined: bool = False
    notices: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_payment(self) -> bool:
        """Is it money that a customer paid?"""
        return self.kind in (Kind.STK, Kind.C2B)

    @property
    def bill_reference(self) -> str:
        """The account number that M-Pesa passes on: a till has none."""
        return "" if self.account.kind == TILL else self.reference

    @property
    def reason(self) -> str:
        """The reason type, in the words of an organisation's statement."""
        return _REASONS[self.kind, self.account.kind == TILL]

    @property
    def party(self) -> str:
        """The other side: who paid, or who got it."""
        return self.phone or OTHER_PARTIES[self.kind]


@dataclass(slots=True)
class Phone:
    """A virtual phone and the M-PESA account of its owner."""

    number: str
    balance: int = OPENING_BALANCE
    messages: list[Message] = field(default_factory=list)
    payments: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class Prompt:
    """One accepted push: what the phone shows, and what became of it.

    ``refusal`` is the code that M-Pesa has decided on before the phone is asked.
    """

    checkout_id: str
    merchant_id: str
    request: PushRequest
    account: Account
    created_at: datetime
    status: str = OPEN
    refusal: str | None = None
    result_code: str | None = None
    result_desc: str = ""
    receipt: str | None = None
    finished_at: datetime | None = None
    callbacks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.result_code is None


@dataclass(slots=True)
class Token:
    """An access token of one app."""

    consumer_key: str
    expires_at: datetime
