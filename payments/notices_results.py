"""Results that M-Pesa posts to a ResultURL: what became of our own request.

One envelope for all of them; readers for what it holds: the state of a transaction,
a reversal, the balances of the account. A result is matched to its request by both
conversation ids, never by one.
Source: portal pages TransactionStatus, Reversal and AccountBalance, checked 2026-11-20.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from payments import readings
from payments.readings import Malformed, Party


VALUE_LENGTH = 4000
KEY_LENGTH = 80
MOST_PARAMETERS = 200

# Nothing was taken from the shop: the reversal may be asked again, or paid otherwise.
REVERSAL_REFUSED = frozenset(
    {"R000002", "1", "11", "21", "2001", "2006", "2028", "8006"}
)
BALANCE = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,2})?")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a result; `value` is None where M-Pesa sent none."""

    key: str
    value: str | Decimal | None


@dataclass(frozen=True, slots=True)
class RequestResult:
    """The answer to one request of ours, its parameters in the order they came.

    The transaction id of a failure is a placeholder and means nothing.
    """

    type: str
    code: str
    description: str
    conversation_id: str
    originator_conversation_id: str
    transaction_id: str
    parameters: tuple[Parameter, ...] = ()

    @property
    def is_success(self) -> bool:
        """Whether it claims that the request was carried out.

        Never ask this of a body that came to a QueueTimeOutURL.
        """
        return self.code == "0" and self.is_final

    @property
    def is_final(self) -> bool:
        """Whether no other result follows: type 1 announces more."""
        return self.type in ("", "0")

    def values(self, key: str) -> tuple[str | Decimal | None, ...]:
        """Return every value of a key, by position: keys may repeat."""
        return tuple(p.value for p in self.parameters if p.key == key)

    def value(self, key: str) -> str | Decimal | None:
        """Return the value of a key; None if it has none, or two that differ."""
        found = set(self.values(key))
        return found.pop() if len(found) == 1 else None

    def answers(self, *, conversation_id: str, originator_conversation_id: str) -> bool:
        """Whether it is about the request that was given these two ids."""
        return (
            bool(conversation_id)
            and bool(originator_conversation_id)
            and self.conversation_id == conversation_id
            and self.originator_conversation_id == originator_conversation_id
        )


def parse_result(body: bytes) -> RequestResult:
    """Read a body posted to a ResultURL or a QueueTimeOutURL. Raises Malformed.

    Which of the two it is, only the address tells: a time-out says that M-Pesa gave
    up waiting, which proves neither success nor failure, whatever code it carries.
    """
    result = readings.member(readings.document(body), "Result")
    return RequestResult(
        type=(
            readings.code(result["ResultType"], name="ResultType")
            if result.get("ResultType") is not None
            else ""
        ),
        code=readings.code(result.get("ResultCode")),
        description=readings.text(result.get("ResultDesc"), 255),
        conversation_id=readings.identifier(result.get("ConversationID")),
        originator_conversation_id=readings.identifier(
            result.get("OriginatorConversationID")
        ),
        transaction_id=readings.receipt(result.get("TransactionID")) or "",
        parameters=_parameters(result.get("ResultParameters")),
    )


def _parameters(holder: object) -> tuple[Parameter, ...]:
    if holder is None or holder == "":
        return ()
    if not isinstance(holder, dict):
        raise Malformed("ResultParameters is no object")
    found = holder.get("ResultParameter")
    if found is None:
        return ()
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list) or len(found) > MOST_PARAMETERS:
        raise Malformed("ResultParameter is no list")
    return tuple(_parameter(item) for item in found)


def _parameter(item: object) -> Parameter:
    if not isinstance(item, dict) or not isinstance(item.get("Key"), str):
        raise Malformed("a parameter without a key")
    value = item.get("Value")
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        read: str | Decimal | None = None
    elif isinstance(value, str):
        read = readings.text(value, VALUE_LENGTH)
    else:
        read = Decimal(value)
    return Parameter(key=readings.text(item["Key"], KEY_LENGTH), value=read)


# The state of a transaction.


class TransactionState(StrEnum):
    """Where M-Pesa says that a transaction stands; an unlisted word is unknown."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DECLINED = "declined"
    EXPIRED = "expired"
    UNDER_WAY = "under_way"
    UNKNOWN = "unknown"


STATES = {
    "completed": TransactionState.COMPLETED,
    "cancelled": TransactionState.CANCELLED,
    "canceled": TransactionState.CANCELLED,
    "declined": TransactionState.DECLINED,
    "expired": TransactionState.EXPIRED,
    "initiated": TransactionState.UNDER_WAY,
    "authorized": TransactionState.UNDER_WAY,
    "authorised": TransactionState.UNDER_WAY,
    "pending authorized": TransactionState.UNDER_WAY,
    "pending authorised": TransactionState.UNDER_WAY,
}


@dataclass(frozen=True, slots=True)
class TransactionStatus:
    """What M-Pesa says of a transaction. Amount in KES.

    What it does not say, or says twice differently, is None: it proves nothing.
    `word` is M-Pesa's own word for the state.
    """

    state: TransactionState
    word: str
    receipt: str | None
    amount: Decimal | None
    debit_party: Party | None
    credit_party: Party | None
    initiated_at: datetime | None
    finalised_at: datetime | None


def read_status(result: RequestResult) -> TransactionStatus:
    """Read the answer to a question about a transaction. Never raises.

    M-Pesa names the payer DebitPartyName and, in its own sample, the payee by the
    same key again: then the position tells. Where a CreditPartyName is given too and
    is somebody else, the payee is unknown.
    """
    word = _text(result.value("TransactionStatus"))
    state = STATES.get(" ".join(word.lower().split()), TransactionState.UNKNOWN)
    debit, credit = _parties(result)
    return TransactionStatus(
        state=state if result.is_success else TransactionState.UNKNOWN,
        word=word[:40],
        receipt=readings.receipt(result.value("ReceiptNo")),
        amount=readings.amount(result.value("Amount")),
        debit_party=debit,
        credit_party=credit,
        initiated_at=_moment(result.value("InitiatedTime")),
        finalised_at=_moment(result.value("FinalisedTime")),
    )


def _parties(result: RequestResult) -> tuple[Party | None, Party | None]:
    debits = result.values("DebitPartyName")
    debit = readings.party(debits[0]) if 0 < len(debits) <= 2 else None
    by_position = readings.party(debits[1]) if len(debits) == 2 else None
    if not result.values("CreditPartyName"):
        return debit, by_position
    by_name = readings.party(result.value("CreditPartyName"))
    if by_position is None or by_name is None or by_name.number == by_position.number:
        return debit, by_name
    return debit, None


# A reversal.


class Reversed(StrEnum):
    """What became of the wish to send money back."""

    DONE = "done"
    ALREADY = "already"  # it was reversed before: true only after checking
    REFUSED = "refused"  # certainly nothing moved
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ReversalResult:
    """What a reversal's result claims. Amount in KES; `receipt` is its own.

    Only `DONE` with the original's receipt and amount proves anything.
    """

    outcome: Reversed
    code: str
    receipt: str | None = None
    original_receipt: str | None = None
    amount: Decimal | None = None
    completed_at: datetime | None = None


def read_reversal(result: RequestResult) -> ReversalResult:
    """Read the result of a reversal. Never raises.

    A code that is not listed is unknown: the money may have gone.
    """
    original = readings.receipt(result.value("OriginalTransactionID"))
    if not result.is_final:
        return ReversalResult(Reversed.UNKNOWN, result.code)
    if result.is_success:
        return ReversalResult(
            Reversed.DONE,
            result.code,
            receipt=result.transaction_id or None,
            original_receipt=original,
            amount=readings.amount(result.value("Amount")),
            completed_at=_moment(result.value("TransCompletedTime")),
        )
    if result.code == "R000001":
        outcome = Reversed.ALREADY
    elif result.code in REVERSAL_REFUSED:
        outcome = Reversed.REFUSED
    else:
        outcome = Reversed.UNKNOWN
    return ReversalResult(outcome, result.code, original_receipt=original)


# The balances of an account.


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """One purse of a shortcode. In KES with cents; charges paid are below zero."""

    name: str
    current: Decimal
    available: Decimal


def read_balances(result: RequestResult) -> tuple[AccountBalance, ...]:
    """Read `Name|KES|current|available|reserved|uncleared`, joined with `&`.

    A purse in another currency, or one that cannot be read, is left out.
    """
    found = []
    for part in _text(result.value("AccountBalance")).split("&"):
        cells = [cell.strip() for cell in part.split("|")]
        if len(cells) < 4 or not cells[0] or cells[1] != "KES":
            continue
        if BALANCE.fullmatch(cells[2]) and BALANCE.fullmatch(cells[3]):
            found.append(
                AccountBalance(cells[0][:60], Decimal(cells[2]), Decimal(cells[3]))
            )
    return tuple(found)


def _text(value: str | Decimal | None) -> str:
    return value if isinstance(value, str) else ""


def _moment(value: str | Decimal | None) -> datetime | None:
    """A stamp is a number in one message and text in the next."""
    if isinstance(value, Decimal):
        whole = value.adjusted() == 13 and value == value.to_integral_value()
        return readings.moment(int(value)) if whole else None
    return readings.moment(value)
