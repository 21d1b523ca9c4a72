"""What the simulator remembers: phones, prompts, tokens, and money that moved.

Amounts in KES, whole shillings. Only ``bank`` changes them, under its lock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from payments.simulator import outcomes
from payments.simulator.accounts import Account
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


@dataclass(frozen=True, slots=True)
class Message:
    """An SMS on a virtual phone."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Money that moved."""

    receipt: str
    amount: int
    phone: str
    shortcode: str
    party_b: str
    reference: str
    checkout_id: str
    at: datetime


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
