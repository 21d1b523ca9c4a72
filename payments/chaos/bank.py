"""The far end: a small M-Pesa with phones, prompts and a ledger. Pure, no I/O.

It knows nothing of ours but what a push says. What happens to a prompt is drawn
when it is shown; money moves when the customer has finished. Amounts in KES.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from payments.chaos.dice import Dice
from smartduka.lib.clock import NAIROBI


PAID, NO_MONEY, CANCELLED, WRONG_PIN = "0", "1", "1032", "2001"
UNREACHABLE, RAN_OUT = "1037", "1019"
SENT_BACK_BEFORE, UNKNOWN_RECEIPT = "R000001", "R000002"
TOO_LITTLE = 8  # percent of the reversals find the account empty
# Codes that a callback may tell although the question has a clear answer.
MUMBLES = ("9999", "26", "1037", "777")
OUTCOMES = [
    (PAID, 66), (CANCELLED, 10), (WRONG_PIN, 6), (UNREACHABLE, 12), (RAN_OUT, 6),
]  # fmt: skip
TEXTS = {PAID: "The service request is processed successfully."}


@dataclass(slots=True)
class Entry:
    """Money that moved: a line in M-Pesa's ledger."""

    receipt: str
    amount: int
    phone: str
    shortcode: str
    reference: str
    at: datetime
    is_till: bool = False
    is_by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Returned:
    """A payment that M-Pesa sent back to its payer, under a receipt of its own."""

    receipt: str
    entry: Entry
    at: datetime


@dataclass(slots=True)
class Prompt:
    """One request for money on one phone."""

    number: int
    checkout_request_id: str
    merchant_request_id: str
    shortcode: str
    reference: str
    phone: str
    amount: int
    callback_url: str
    ends_at: datetime
    intent: str
    is_till: bool
    fate: str  # what becomes of its callback
    code: str | None = None  # None while the customer has not finished
    entry: Entry | None = None
    has_lied: bool = False
    must_tell: bool = False  # it said something wrong, so the truth must arrive
    is_heard: bool = False  # a notice of it reached us, with its ids
    is_told: bool = False  # and the outcome did
    answer_came: bool = False  # the answer to the push reached us

    @property
    def token(self) -> str:
        """The secret in its callback's address."""
        return self.callback_url.rsplit("/", 1)[1]


@dataclass(slots=True)
class Bank:
    """M-Pesa's own book."""

    dice: Dice
    balances: dict[str, int] = field(default_factory=dict)
    prompts: list[Prompt] = field(default_factory=list)
    ledger: list[Entry] = field(default_factory=list)
    by_receipt: dict[str, Entry] = field(default_factory=dict)
    lines: Counter[tuple[str, int]] = field(default_factory=Counter)
    by_id: dict[str, Prompt] = field(default_factory=dict)
    by_reference: dict[tuple[str, str], Prompt] = field(default_factory=dict)
    open_on: dict[str, Prompt] = field(default_factory=dict)
    returned: dict[str, Returned] = field(default_factory=dict)
    receipts: int = 0

    def is_busy(self, phone: str) -> bool:
        """Whether a prompt stands on this phone already."""
        return phone in self.open_on

    def show(
        self,
        *,
        shortcode: str,
        reference: str,
        phone: str,
        amount: int,
        callback_url: str,
        fate: str,
        now: datetime,
        is_till: bool = False,
    ) -> Prompt:
        """Put a prompt on a phone. Raises ValueError when one payment asks twice."""
        if (shortcode, reference) in self.by_reference:
            raise ValueError(f"reference {reference} was pushed before")
        number = len(self.prompts) + 1
        stamp = now.astimezone(NAIROBI).strftime("%d%m%Y%H%M%S")
        prompt = Prompt(
            number=number,
            checkout_request_id=f"ws_CO_{stamp}{number:06}{phone[-6:]}",
            merchant_request_id=f"{self.dice.randrange(10**5)}-{number}-1",
            shortcode=shortcode,
            reference=reference,
            phone=phone,
            amount=amount,
            callback_url=callback_url,
            ends_at=now + timedelta(seconds=self._lasts_s()),
            intent=self.dice.one_of(OUTCOMES),
            is_till=is_till,
            fate=fate,
        )
        self.prompts.append(prompt)
        self.by_id[prompt.checkout_request_id] = prompt
        self.by_reference[shortcode, reference] = prompt
        self.open_on[phone] = prompt
        return prompt

    def finish(self, prompt: Prompt, now: datetime) -> None:
        """Let the customer's choice happen: money moves, or it does not."""
        if prompt.code is not None:
            return
        self.open_on.pop(prompt.phone, None)
        prompt.code = prompt.intent
        if prompt.code != PAID:
            return
        left = self.balances.setdefault(prompt.phone, self.dice.randrange(40_000))
        if left < prompt.amount:
            prompt.code = NO_MONEY
            return
        self.balances[prompt.phone] = left - prompt.amount
        prompt.entry = Entry(
            receipt=self.new_receipt(),
            amount=prompt.amount,
            phone=prompt.phone,
            shortcode=prompt.shortcode,
            reference=prompt.reference,
            at=now,
            is_till=prompt.is_till,
        )
        self._book(prompt.entry)

    def pay_by_hand(
        self, *, shortcode: str, reference: str, phone: str, amount: int,
        now: datetime, is_till: bool,
    ) -> Entry:  # fmt: skip
        """Let a customer pay an account without a prompt; return the line."""
        entry = Entry(
            self.new_receipt(), amount, phone, shortcode, reference, now,
            is_till, is_by_hand=True,
        )  # fmt: skip
        self._book(entry)
        return entry

    def send_back(self, shortcode: str, receipt: str, now: datetime) -> str:
        """Send a payment back to its payer; return the code of the result."""
        entry = self.by_receipt.get(receipt)
        if entry is None or entry.shortcode != shortcode:
            return UNKNOWN_RECEIPT
        if receipt in self.returned:
            return SENT_BACK_BEFORE
        if self.dice.chance(TOO_LITTLE):
            return NO_MONEY
        self.returned[receipt] = Returned(self.new_receipt(), entry, now)
        if entry.phone in self.balances:
            self.balances[entry.phone] += entry.amount
        return PAID

    def _book(self, entry: Entry) -> None:
        self.ledger.append(entry)
        self.by_receipt[entry.receipt] = entry
        self.lines[entry.shortcode, entry.amount] += 1

    def new_receipt(self) -> str:
        """Return a receipt number that was never used."""
        letters = "".join(self.dice.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=4))
        self.receipts += 1
        return f"U{letters}{self.receipts:05}"

    def _lasts_s(self) -> float:
        if self.dice.chance(6):
            # M-Pesa itself is slow: past our waiting, sometimes past the hour.
            return self.dice.uniform(60, 5000)
        return self.dice.uniform(2, 58)


def callback(prompt: Prompt, *, code: str | None = None, extra: str = "") -> bytes:
    """Return what M-Pesa posts about a finished prompt. `code`: said instead."""
    said = code or prompt.code or PAID
    result: dict[str, Any] = {
        "MerchantRequestID": prompt.merchant_request_id,
        "CheckoutRequestID": prompt.checkout_request_id,
        "ResultCode": int(said),
        "ResultDesc": TEXTS.get(said, f"Result {said}"),
    }
    if said == PAID and prompt.entry is not None:
        result["CallbackMetadata"] = metadata(prompt.entry)
    return json.dumps({"Body": {"stkCallback": result}}).encode() + extra.encode()


def metadata(entry: Entry) -> dict[str, Any]:
    """Return the items of a success."""
    stamp = entry.at.astimezone(NAIROBI).strftime("%Y%m%d%H%M%S")
    return {
        "Item": [
            {"Name": "Amount", "Value": entry.amount},
            {"Name": "MpesaReceiptNumber", "Value": entry.receipt},
            {"Name": "Balance"},
            {"Name": "TransactionDate", "Value": int(stamp)},
            {"Name": "PhoneNumber", "Value": int(entry.phone)},
        ]
    }
