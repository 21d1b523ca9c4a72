"""The body that Daraja posts to a CallBackURL, right or bent.

A shape is the values of the ``callback_…`` switches that say what the body is like.
Nothing is ever signed: there is no header and no shared secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from payments.simulator import bodies, ids, outcomes
from payments.simulator.clock import EAST_AFRICA
from payments.simulator.records import Prompt


SHAPE = (
    "amount",
    "amount_style",
    "result_code_type",
    "result_code",
    "receipt",
    "phone",
    "desc_prefix",
    "foreign_checkout_id",
    "foreign_merchant_id",
    "balance",
    "items_reversed",
    "body",
)
"""The switches, without their prefix, that bend a body."""

# json writes 250.0 for a float; M-Pesa writes 250.00.
_AMOUNT_SLOT = "\0amount\0"
_OLD_BALANCE = (
    "{{Amount={{CurrencyCode=KES, MinimumAmount={0}00, BasicAmount={0}.00}}}}"
)


def body_of(prompt: Prompt, shape: Mapping[str, Any], *, balance: int) -> bytes:
    """Return the callback for a finished prompt in this shape.

    ``shape["result_code"]`` stands in for the result of a prompt that has none.
    ``balance`` is the payer's, in KES.
    """
    content = {"Body": {"stkCallback": _result(prompt, shape, balance=balance)}}
    text = json.dumps(content).replace(
        json.dumps(_AMOUNT_SLOT), _amount_text(prompt, shape)
    )
    if shape["body"] == "doubled_key":
        text = _with_doubled_key(text, prompt)
    return bodies.bent(text, shape["body"])


def _result(
    prompt: Prompt, shape: Mapping[str, Any], *, balance: int
) -> dict[str, Any]:
    code = _code(prompt, shape)
    description = prompt.result_desc
    if code != prompt.result_code:
        description = outcomes.describe(code)
    result: dict[str, Any] = {
        "MerchantRequestID": prompt.merchant_id,
        "CheckoutRequestID": prompt.checkout_id,
        "ResultCode": code,
        "ResultDesc": shape["desc_prefix"] + description,
    }
    if code.isdigit() and shape["result_code_type"] == "number":
        result["ResultCode"] = int(code)
    if shape["foreign_checkout_id"]:
        result["CheckoutRequestID"] = ids.checkout_request_id(
            prompt.created_at.astimezone(EAST_AFRICA), "254799999999"
        )
    if shape["foreign_merchant_id"]:
        result["MerchantRequestID"] = ids.merchant_request_id()
    if code == outcomes.PAID:
        items = _items(prompt, shape, balance=balance)
        result["CallbackMetadata"] = {"Item": items}
    return result


def _code(prompt: Prompt, shape: Mapping[str, Any]) -> str:
    return str(shape["result_code"] or prompt.result_code)


def _items(
    prompt: Prompt, shape: Mapping[str, Any], *, balance: int
) -> list[dict[str, Any]]:
    at = (prompt.finished_at or prompt.created_at).astimezone(EAST_AFRICA)
    phone = str(shape["phone"] or prompt.request.phone)
    items = [
        {"Name": "Amount", "Value": _AMOUNT_SLOT},
        {
            "Name": "MpesaReceiptNumber",
            "Value": shape["receipt"] or prompt.receipt or ids.receipt(at),
        },
        *_balance_item(shape["balance"], balance),
        {"Name": "TransactionDate", "Value": int(f"{at:%Y%m%d%H%M%S}")},
        {"Name": "PhoneNumber", "Value": int(phone) if phone.isdigit() else phone},
    ]
    return items[::-1] if shape["items_reversed"] else items


def _balance_item(style: str, balance: int) -> list[dict[str, Any]]:
    if style == "absent":
        return []
    item: dict[str, Any] = {"Name": "Balance"}
    if style == "number":
        item["Value"] = balance
    elif style == "text":
        item["Value"] = _OLD_BALANCE.format(balance)
    return [item]


def _amount_text(prompt: Prompt, shape: Mapping[str, Any]) -> str:
    amount = prompt.request.amount if shape["amount"] is None else shape["amount"]
    return {
        "decimal": f"{amount:.2f}",
        "float": f"{float(amount)}",
        "int": f"{int(amount)}",
        "string": f'"{amount:.2f}"',
    }[shape["amount_style"]]


def _with_doubled_key(text: str, prompt: Prompt) -> str:
    # Two amounts for one item: which one a parser sees is its own affair.
    amount = '{"Name": "Amount", "Value": '
    return text.replace(amount, f'{amount}{prompt.request.amount + 1}.00, "Value": ', 1)
