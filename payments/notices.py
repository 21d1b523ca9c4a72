"""Outside JSON to frozen results: pure functions, no database, no trust.

Every odd shape of an STK callback known to us is here: numbers as strings, floats, a
Balance without a value or as text, items in any order (portal page
MpesaExpressSimulate; a Balance as text: pastebin RSB2WjYU, 2019). Whatever is not
understood is Malformed, never an exception of another kind: a body of 64 KiB can hold
anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from payments import readings
from payments.readings import CODE_LENGTH, LARGEST, Malformed
from smartduka.lib.text import clean


__all__ = ["CODE_LENGTH", "LARGEST", "Malformed", "StkResult", "parse_stk"]


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
    callback = readings.member(readings.document(body), "Body", "stkCallback")
    checkout_request_id = readings.identifier(callback.get("CheckoutRequestID"))
    if not checkout_request_id:
        raise Malformed("no CheckoutRequestID")
    items = _items(callback.get("CallbackMetadata"))
    return StkResult(
        merchant_request_id=readings.identifier(callback.get("MerchantRequestID")),
        checkout_request_id=checkout_request_id,
        code=readings.code(callback.get("ResultCode")),
        description=clean(callback.get("ResultDesc"))[:255],
        amount=readings.amount(items.get("Amount")),
        receipt=readings.receipt(items.get("MpesaReceiptNumber")),
        phone=readings.digits(items.get("PhoneNumber"))[:64],
        paid_at=readings.moment(items.get("TransactionDate")),
    )


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
        if name in found and not readings.equal(found[name], value):
            raise Malformed(f"two values for {name[:40]!r}")
        found[name] = value
    return found
