"""Payments that customers made by hand, as M-Pesa tells them (C2B).

Validation and confirmation have the same shape. A shop with registered URLs hears
of its STK payments here too: the TransID is the same receipt number.
Source: portal pages CustomerToBusiness and CustomerToBusinessRegisterURL, checked
2026-11-20.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from payments import readings
from payments.readings import Malformed


TYPED_LENGTH = 40
NAME_LENGTH = 120
SHORTCODE = re.compile(r"[0-9]{4,8}")


@dataclass(frozen=True, slots=True)
class C2bPayment:
    """What a C2B notice claims. Amount in KES as it came, exact.

    `reference` is what a person typed, blanks around it removed and nothing else.
    `msisdn` is as it came: full, masked (`2547 ***** 126`, `25470****149`) or the
    SHA-256 of the number; payments.payer reads it, and a masked one never replaces
    a full one. `type` is told and never decides: types that nobody documented are
    payments like the others.
    """

    receipt: str
    amount: Decimal
    shortcode: str
    reference: str = ""
    msisdn: str = ""
    paid_at: datetime | None = None
    type: str = ""
    name: str = ""
    third_party_id: str = ""

    @property
    def reference_key(self) -> str:
        """The reference as ours are written: capitals, letters and digits only."""
        return re.sub(r"[^A-Z0-9]", "", self.reference.upper())


def parse_c2b(body: bytes) -> C2bPayment:
    """Read the body of a C2B validation or confirmation. Raises Malformed.

    Receipt, amount and shortcode must be there: without one of them it names no
    payment. A time, name, number or reference that cannot be read is only missing,
    so that oddities there lose no money.
    """
    notice = readings.member(readings.document(body))
    receipt = readings.receipt(notice.get("TransID"))
    if receipt is None:
        raise Malformed("no TransID")
    amount = readings.amount(notice.get("TransAmount"))
    if amount is None:
        raise Malformed("no TransAmount")
    shortcode = readings.digits(notice.get("BusinessShortCode")).strip()
    if not SHORTCODE.fullmatch(shortcode):
        raise Malformed("no BusinessShortCode")
    names = (
        readings.text(notice.get(f"{which}Name"), NAME_LENGTH)
        for which in ("First", "Middle", "Last")
    )
    return C2bPayment(
        receipt=receipt,
        amount=amount,
        shortcode=shortcode,
        reference=readings.digits(notice.get("BillRefNumber")).strip()[:TYPED_LENGTH],
        msisdn=readings.digits(notice.get("MSISDN")).strip()[:64],
        paid_at=readings.moment(notice.get("TransTime")),
        type=readings.text(notice.get("TransactionType"), TYPED_LENGTH),
        name=" ".join(filter(None, names))[:NAME_LENGTH].strip(),
        third_party_id=readings.identifier(notice.get("ThirdPartyTransID")),
    )
