"""What must hold before free money is used: true, undisputed, and nobody else's."""

from __future__ import annotations

from typing import Any

from payments import inquiries, matching, receipts
from payments.drawer_refusals import (
    DisputedMoney,
    HeldMoney,
    NobodysCredit,
    NotConfirmed,
    NotConfirmedAsked,
)
from payments.enums import ReceiptState
from payments.free_money import Grip
from payments.models import Collection, MpesaAccount, Payment, Receipt
from shops.tenancy import Access
from smartduka.lib import phone


# Nobody's as far as matching can say: it is for a person to decide.
UNDECIDED_STEPS = (matching.Step.CLAIM, matching.Step.UNMATCHED, matching.Step.CODE)

NAME_LENGTH = 120
# What is raised for disputed money; None: it may be used.
Refusal = type[DisputedMoney] | None


def require_undisputed(grip: Grip, refusal: Refusal) -> None:
    """Raise the refusal, if there is one, where M-Pesa's books say otherwise."""
    if grip.disputed and refusal is not None:
        raise refusal


def require_spendable(access: Access, grip: Grip) -> None:
    """Raise HeldMoney or NotConfirmed; M-Pesa is asked where it can be."""
    receipt = grip.receipt
    if receipt is None:
        return
    if receipt.state == ReceiptState.HELD:
        raise HeldMoney
    if not matching.may_spend(receipt, access.shop):
        raise unconfirmed(receipt.account, receipt.number, access.user)


def unconfirmed(account: MpesaAccount, number: str, asked_by: Any) -> NotConfirmed:
    """Ask M-Pesa about a receipt where it can be asked; return what to tell."""
    if not inquiries.can_ask(account):
        return NotConfirmed()
    inquiries.ask_status(account, number, asked_by=asked_by)
    return NotConfirmedAsked()


def require_nobodys(grip: Grip) -> None:
    """Raise HeldMoney for what may be a payment's that is under way.

    Call under the locks of the piece; what was true before them may be over.
    """
    if grip.receipt is not None:
        is_held = matching.decide(grip.receipt).step not in UNDECIDED_STEPS
    else:
        is_held = grip.allocation is None and bool(waiting_for(grip.collection))
    if is_held:
        raise HeldMoney


def waiting_for(collection: Collection | None) -> list[Payment]:
    """The payments whose money this may be, though it was counted as nobody's.

    Its payer may be known better by now. Only payments that were there when we first
    saw it: a prompt cannot have been paid before it was made, whatever M-Pesa's clock
    says, so a later one of the same amount takes nothing from those who sort money.
    """
    if collection is None or collection.payment_id is not None or collection.allocated:
        return []
    receipt = (
        Receipt.objects.filter(collection=collection).select_related("account").first()
    )
    if receipt is None:
        return []
    until = receipt.seen_at + receipts.OWN_CLOCKS
    return [one for one in receipts.candidates(receipt) if one.created_at <= until]


def whose(customer: str) -> str:
    """Return a customer as they are kept: 2547… or a name. Raises NobodysCredit.

    A masked number is thousands of people, so it is nobody.
    """
    text = " ".join(customer.split())[:NAME_LENGTH]
    try:
        return phone.parse(text)
    except phone.InvalidPhone:
        pass
    digits = sum(sign.isdigit() for sign in text)
    letters = sum(sign.isalpha() for sign in text)
    if letters < 2 or digits >= 6 or any(sign in text for sign in "*•"):
        raise NobodysCredit
    return text
