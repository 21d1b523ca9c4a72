"""The Result that M-Pesa posts to an API user, right or bent.

Keys may repeat and may lack a Value, as they do at Safaricom. Nothing is signed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from payments.simulator import bodies, ids, msisdn, outcomes
from payments.simulator.accounts import Account
from payments.simulator.clock import EAST_AFRICA
from payments.simulator.records import Entry


SHAPE = (
    "code",
    "code_type",
    "receipt",
    "amount",
    "foreign_ids",
    "doubled_key",
    "without_value",
    "parameters",
    "reference",
    "body",
)
"""The switches, without their prefix, that bend a body."""

# Where the real one points to; nobody outside can reach it.
_QUEUE_URL = "https://internalapi.safaricom.co.ke/mpesa/result/v1/timeout"

Parameters = list[tuple[str, Any]]
NO_VALUE = object()
"""The value of a parameter that has none."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an order; ``receipt`` is empty where nothing was made.

    ``as_text`` tells codes as strings, as account balances do.
    """

    originator_id: str
    conversation_id: str
    code: str
    receipt: str
    parameters: Parameters
    at: datetime
    as_text: bool = False


def body_of(result: Result, shape: Mapping[str, Any]) -> bytes:
    """Return the body in this shape."""
    code = str(shape["code"] or result.code)
    at = result.at.astimezone(EAST_AFRICA)
    as_text = shape["code_type"] == "string" or (
        result.as_text and shape["code_type"] is None
    )
    content: dict[str, Any] = {
        "ResultType": "0" if as_text else 0,
        "ResultCode": int(code) if code.isdigit() and not as_text else code,
        "ResultDesc": outcomes.describe(code),
        "OriginatorConversationID": result.originator_id,
        "ConversationID": result.conversation_id,
        "TransactionID": shape["receipt"] or result.receipt or ids.no_receipt(at),
    }
    if shape["foreign_ids"]:
        content["OriginatorConversationID"] = ids.merchant_request_id()
        content["ConversationID"] = ids.conversation_id(at)
    if code == outcomes.PAID and shape["parameters"] != "absent":
        told = _told(result.parameters, shape)
        only_one = shape["parameters"] == "object"
        content["ResultParameters"] = {"ResultParameter": told[0] if only_one else told}
    reference = {"Key": "QueueTimeoutURL", "Value": _QUEUE_URL}
    in_array = shape["reference"] == "array"
    content["ReferenceData"] = {"ReferenceItem": [reference] if in_array else reference}
    return bodies.bent(json.dumps({"Result": content}), shape["body"])


def of_transaction(entry: Entry, *, word: str) -> Parameters:
    """Return the parameters of a transaction status; ``word`` is its state.

    DebitPartyName comes twice, for payer and payee.
    """
    payer, payee = _parties(entry)
    return [
        ("DebitPartyName", payer),
        ("CreditPartyName", payee),
        ("OriginatorConversationID", entry.originator_id or NO_VALUE),
        ("InitiatedTime", _stamp(entry.started_at)),
        ("DebitAccountType", entry.account.money_account),
        ("TransactionReason", NO_VALUE),
        ("ReasonType", entry.reason),
        ("TransactionStatus", word),
        ("FinalisedTime", _stamp(entry.at)),
        ("Amount", str(entry.amount)),
        ("ConversationID", entry.conversation_id or NO_VALUE),
        ("ReceiptNo", entry.receipt),
        ("DebitPartyCharges", NO_VALUE),
        ("DebitPartyName", payee),
    ]


def of_reversal(entry: Entry) -> Parameters:
    """Return the parameters of a reversal that was made."""
    payer, payee = _parties(entry)
    return [
        (
            "DebitAccountBalance",
            _account_line(entry.account.money_account, entry.balance),
        ),
        ("Amount", entry.amount),
        ("TransCompletedTime", _stamp(entry.at)),
        ("OriginalTransactionID", entry.linked),
        ("Charge", 0),
        ("CreditPartyPublicName", payee),
        ("DebitPartyPublicName", payer),
    ]


def of_balance(
    account: Account, *, balance: int, charges: int, at: datetime
) -> Parameters:
    """Return the parameters of an account balance; amounts in KES."""
    accounts = (
        ("Working Account", 0),
        (account.money_account, balance),
        ("Charges Paid Account", -charges),
        ("Organization Settlement Account", 0),
    )
    told = "&".join(_account_line(name, amount) for name, amount in accounts)
    return [("AccountBalance", told), ("BOCompletedTime", _stamp(at))]


def _told(parameters: Parameters, shape: Mapping[str, Any]) -> list[dict[str, Any]]:
    told = []
    for key, value in parameters:
        bent = shape["amount"] if key == "Amount" else None
        item = {"Key": key, "Value": value if bent is None else bent}
        if value is NO_VALUE or key == shape["without_value"]:
            del item["Value"]
        if key == shape["doubled_key"]:
            told.append({"Key": key, "Value": "another"})
        told.append(item)
    return told


def _parties(entry: Entry) -> tuple[str, str]:
    """Return who paid and who got it."""
    us, them = entry.account.public_name, entry.party
    if entry.phone:
        them = msisdn.named(entry.phone)
    return (them, us) if entry.is_payment else (us, them)


def _account_line(name: str, amount: int) -> str:
    # Current, available, reserved, uncleared.
    return f"{name}|KES|{amount:.2f}|{amount:.2f}|0.00|0.00"


def _stamp(at: datetime) -> int:
    return int(f"{at.astimezone(EAST_AFRICA):%Y%m%d%H%M%S}")
