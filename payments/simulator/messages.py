"""The SMS that M-PESA sends to the payer."""

from __future__ import annotations

from datetime import datetime

from payments.simulator import outcomes
from payments.simulator.accounts import TILL, Account


def text_after(
    code: str | None,
    *,
    account: Account,
    amount: int,
    reference: str,
    receipt: str | None,
    balance: int,
    at: datetime,
) -> str:
    """Return what the phone reads after a prompt ended so, or nothing.

    ``balance`` is the one after the payment, ``at`` in East Africa Time.
    """
    if code == outcomes.PAID:
        when = f"{at.day}/{at.month}/{at:%y} at {at.hour % 12 or 12}:{at:%M %p}"
        if account.kind == TILL:
            sentence = f"paid to {account.name} on {when}."
        else:
            sentence = f"sent to {account.name} for account {reference} on {when}."
        return (
            f"{receipt} Confirmed. Ksh{amount:,}.00 {sentence} "
            f"New M-PESA balance is Ksh{balance:,}.00. Transaction cost, Ksh0.00."
        )
    if code == outcomes.INSUFFICIENT:
        return (
            f"Failed. You do not have enough money in your M-PESA account to pay "
            f"Ksh{amount:,}.00 to {account.name}."
        )
    if code == outcomes.WRONG_PIN:
        return "You have entered the wrong M-PESA PIN. Please try again."
    if code == outcomes.REPEATED:
        return (
            "Failed. You paid the same amount less than two minutes ago. "
            "Please wait before you pay it again."
        )
    return ""
