"""Outside JSON to frozen results: pure functions, no database, no trust.

Every odd shape of an STK callback known to us is here (daraja dossier section 4):
numbers as strings, floats, a Balance without a value or as text, items in any
order. Whatever is not understood is Malformed, never an exception of another
kind: a body of 64 KiB can hold anything.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from smartduka.lib.clock import NAIROBI
from smartduka.lib.text import clean


RECEIPT = re.compile(r"[A-Z0-9]{8,12}")
LARGEST = Decimal(10) ** 12
ID_LENGTH = 64
CODE_LENGTH = 20


class Malformed(ValueError):
    """The body is not an STK callback that means one thing."""


@dataclass(frozen=True, slots=True)
class StkResult:
    """What an STK callback claims. Amount in KES as it came, exact.

    A success lacks what is None: then it proves nothing.
    """

    merchant_request_id: str
    checkout_request_id: str
    code: str
    description: str
    amount: Decimal | None = None
    receipt: str | None = None
    phone: str = ""
    paid_at: datetime | None = None

    @property
    def is_success(self) -> bool:
        """Whether it claims that money moved."""
        return self.code == "0"


def parse_stk(body: bytes) -> StkResult:
    """Read the body of an STK callback. Raises Malformed."""
    callback = _path(_json(body), "Body", "stkCallback")
    checkout_request_id = _id(callback.get("CheckoutRequestID"))
    if not checkout_request_id:
        raise Malformed("no CheckoutRequestID")
    items = _items(callback.get("CallbackMetadata"))
    return StkResult(
        merchant_request_id=_id(callback.get("MerchantRequestID")),
        checkout_request_id=checkout_request_id,
        code=_code(callback.get("ResultCode")),
        description=clean(callback.get("ResultDesc"))[:255],
        amount=_amount(items.get("Amount")),
        receipt=_receipt(items.get("MpesaReceiptNumber")),
        phone=_digits(items.get("PhoneNumber"))[:64],
        paid_at=_moment(items.get("TransactionDate")),
    )


def _json(body: bytes) -> Any:
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unambiguous,
        )
    except Malformed:
        raise
    except (ValueError, RecursionError, InvalidOperation) as error:
        raise Malformed(f"not JSON: {type(error).__name__}") from None


def _refuse_constant(name: str) -> None:
    raise Malformed(f"{name} is no number")


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and not _equal(found[key], value):
            raise Malformed(f"two values for {key[:40]!r}")
        found[key] = value
    return found


def _equal(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _path(value: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise Malformed(f"no {key}")
        value = value[key]
    if not isinstance(value, dict):
        raise Malformed(f"{keys[-1]} is no object")
    return value


def _items(metadata: object) -> dict[str, Any]:
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise Malformed("CallbackMetadata is no object")
    items = metadata.get("Item", [])
    if isinstance(items, dict):
        items = [items]
    if not isinstance(items, list):
        raise Malformed("Item is no list")
    found: dict[str, Any] = {}
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("Name"), str):
            raise Malformed("an item without a name")
        name, value = item["Name"], item.get("Value")
        if name in found and not _equal(found[name], value):
            raise Malformed(f"two values for {name[:40]!r}")
        found[name] = value
    return found


def _id(value: object) -> str:
    if not isinstance(value, str) or len(value) > ID_LENGTH:
        return ""
    return value if value.isascii() and value.isprintable() else ""


def _code(value: object) -> str:
    if isinstance(value, bool):
        raise Malformed("ResultCode is no code")
    if isinstance(value, Decimal):
        if value.adjusted() > CODE_LENGTH or value != value.to_integral_value():
            raise Malformed("ResultCode is no code")
        value = int(value)
    if isinstance(value, int):
        value = str(value) if abs(value) < 10**CODE_LENGTH else ""
    code = clean(value).strip()
    if not code or len(code) > CODE_LENGTH or not code.isascii():
        raise Malformed("ResultCode is no code")
    return code


def _amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        return None
    if isinstance(value, str) and not re.fullmatch(
        r"[0-9]{1,12}(\.[0-9]{1,4})?", value
    ):
        return None
    amount = Decimal(value)
    if not amount.is_finite() or amount.adjusted() > 12 or not 0 < amount < LARGEST:
        return None
    return amount


def _receipt(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    receipt = value.strip().upper()
    return receipt if RECEIPT.fullmatch(receipt) else None


def _digits(value: object) -> str:
    if isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else ""
    return clean(value) if isinstance(value, str) else ""


def _moment(value: object) -> datetime | None:
    digits = _digits(value)
    if not re.fullmatch(r"[0-9]{14}", digits):
        return None
    try:
        local = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=NAIROBI)
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
