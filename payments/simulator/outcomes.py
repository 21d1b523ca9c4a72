"""What can become of a prompt, and the words M-Pesa has for it.

Source: Daraja's tables of STK and reversal result codes, checked August 2026.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What the customer, the handset or M-Pesa did with a prompt."""

    PAY = "pay"
    CANCEL = "cancel"
    WRONG_PIN = "wrong-pin"
    NO_BALANCE = "no-balance"
    UNREACHABLE = "unreachable"
    IGNORE = "ignore"
    TIMEOUT = "timeout"


SYNONYMS = {
    "approve": Outcome.PAY,
    "insufficient": Outcome.NO_BALANCE,
    "expire": Outcome.TIMEOUT,
}

PAID = "0"
INSUFFICIENT = "1"
ABOVE_MAXIMUM = "3"
DAILY_LIMIT = "4"
REPEATED = "17"
CANCELLED = "1032"
UNREACHABLE = "1037"
WRONG_PIN = "2001"
NOT_PERMITTED = "2028"
UNKNOWN_OPERATOR = "SFC_IC0003"
NO_ROLE = "21"
BAD_QUERY = "25"
LOCKED = "8006"
ALREADY_REVERSED = "R000001"
UNKNOWN_ORIGINAL = "R000002"

RESULT_CODES = {
    Outcome.PAY: PAID,
    Outcome.CANCEL: CANCELLED,
    Outcome.WRONG_PIN: WRONG_PIN,
    Outcome.NO_BALANCE: INSUFFICIENT,
    Outcome.UNREACHABLE: UNREACHABLE,
    Outcome.TIMEOUT: UNREACHABLE,
}

DESCRIPTIONS = {
    PAID: "The service request is processed successfully.",
    INSUFFICIENT: "The balance is insufficient for the transaction.",
    "2": "Declined due to limit rule: less than the minimum transaction amount.",
    ABOVE_MAXIMUM: (
        "Declined due to limit rule: greater than the maximum transaction amount."
    ),
    DAILY_LIMIT: "Declined due to limit rule: would exceed daily transfer limit.",
    "8": "Declined due to limit rule: would exceed the maximum balance.",
    REPEATED: "Rule limited.",
    NO_ROLE: "The initiator is not allowed to initiate this request.",
    BAD_QUERY: "The transaction could not be found.",
    "26": "System busy. The service request has been rejected.",
    "1001": (
        "Unable to lock subscriber, a transaction is already in process "
        "for the current subscriber."
    ),
    "1019": "Transaction has expired.",
    "1025": "An error occurred while sending a push request.",
    CANCELLED: "Request cancelled by user",
    UNREACHABLE: "DS timeout user cannot be reached.",
    WRONG_PIN: "The initiator information is invalid.",
    NOT_PERMITTED: "The request is not permitted according to product assignment.",
    "4999": "The transaction is still under processing",
    LOCKED: "The security credential is locked.",
    "9999": "An error occurred while sending a push request.",
    UNKNOWN_OPERATOR: "The operator does not exist.",
    ALREADY_REVERSED: "The transaction has already been reversed.",
    UNKNOWN_ORIGINAL: "The OriginalTransactionID is invalid.",
}
NO_ANSWER = "No response from user."


def outcome_named(word: str) -> Outcome | None:
    """Return the outcome a control call names; underscores and old words count."""
    word = word.lower().replace("_", "-")
    if word in SYNONYMS:
        return SYNONYMS[word]
    return next((outcome for outcome in Outcome if outcome.value == word), None)


def describe(code: str) -> str:
    """Return the ResultDesc of a code; the real ones vary, never match on them."""
    return DESCRIPTIONS.get(code, "The service request failed.")


@dataclass(frozen=True, slots=True)
class Habit:
    """How a phone answers by itself, and what goes wrong on the way."""

    outcome: Outcome | None
    callbacks: int = 1
    before_response: bool = False
    answer_lost: bool = False
    words: str = ""


MAGIC = {
    "90": Habit(Outcome.PAY, words="pays"),
    "91": Habit(Outcome.CANCEL, words="cancels"),
    "92": Habit(Outcome.NO_BALANCE, words="has not enough money"),
    "93": Habit(Outcome.WRONG_PIN, words="types a wrong PIN"),
    "94": Habit(Outcome.UNREACHABLE, words="cannot be reached"),
    "95": Habit(Outcome.PAY, callbacks=0, words="pays, the callback is lost"),
    "96": Habit(Outcome.PAY, callbacks=2, words="pays, the callback comes twice"),
    "97": Habit(
        Outcome.PAY,
        before_response=True,
        words="pays, the callback comes before the answer to the push",
    ),
    "98": Habit(
        Outcome.PAY, answer_lost=True, words="the answer to the push is lost, then pays"
    ),
    "99": Habit(None, words="never answers: the prompt times out"),
}
"""The last two digits of a phone choose its habit."""
