"""The bodies of C2B: validation and confirmation, right or bent.

Both have one shape, and strings throughout. Nothing is ever signed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from payments.simulator import bodies, msisdn
from payments.simulator.accounts import TILL, Account
from payments.simulator.clock import EAST_AFRICA
from payments.simulator.records import Entry


SHAPE = (
    "amount",
    "amount_style",
    "receipt",
    "bill_reference",
    "shortcode",
    "transaction_type",
    "phone",
    "mask",
    "names",
    "body",
)
"""The switches, without their prefix, that bend a body."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What M-Pesa knows of a payment when it tells; ``balance`` None is not told.

    Amounts in KES, whole shillings.
    """

    receipt: str
    account: Account
    phone: str
    amount: int
    reference: str
    at: datetime
    balance: int | None = None
    third_party_id: str = ""


def notice_of(entry: Entry) -> Notice:
    """Return the notice of a payment that was made."""
    return Notice(
        receipt=entry.receipt,
        account=entry.account,
        phone=entry.phone,
        amount=entry.amount,
        reference=entry.bill_reference,
        at=entry.at,
        balance=entry.balance,
        third_party_id=entry.third_party_id,
    )


def body_of(notice: Notice, shape: Mapping[str, Any], *, version: int) -> bytes:
    """Return the body in this shape; ``version`` of the registered addresses."""
    at = notice.at.astimezone(EAST_AFRICA)
    account = notice.account
    amount = notice.amount if shape["amount"] is None else shape["amount"]
    reference = shape["bill_reference"]
    has_name = shape["names"] == "first"
    content = {
        "TransactionType": shape["transaction_type"] or _type_of(account),
        "TransID": shape["receipt"] or notice.receipt,
        "TransTime": f"{at:%Y%m%d%H%M%S}",
        "TransAmount": _money(amount, shape["amount_style"]),
        "BusinessShortCode": shape["shortcode"] or account.shortcode,
        "BillRefNumber": notice.reference if reference is None else reference,
        "InvoiceNumber": "",
        "OrgAccountBalance": "" if notice.balance is None else f"{notice.balance:.2f}",
        "ThirdPartyTransID": notice.third_party_id,
        "MSISDN": shape["phone"] or _hidden(notice.phone, shape["mask"], version),
        "FirstName": msisdn.owner(notice.phone) if has_name else "",
        "MiddleName": "",
        "LastName": "",
    }
    text = json.dumps(content)
    if shape["body"] == "doubled_key":
        told = f'"TransAmount": "{content["TransAmount"]}"'
        text = text.replace(told, f'"TransAmount": "{notice.amount + 1}.00", {told}')
    return bodies.bent(text, shape["body"])


def _type_of(account: Account) -> str:
    # What real tills send; the documentation says "Buy Goods".
    return "Customer Merchant Payment" if account.kind == TILL else "Pay Bill"


def _money(amount: float, style: str) -> str:
    return f"{amount:.2f}" if style == "decimal" else f"{amount:.0f}"


def _hidden(phone: str, mask: str, version: int) -> str:
    if version == 1:
        return msisdn.hashed(phone)
    if mask == "old":
        return msisdn.masked_the_old_way(phone)
    return msisdn.masked(phone)
