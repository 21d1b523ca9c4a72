"""The SMS that M-PESA sends to customers."""

from __future__ import annotations

from datetime import datetime

from payments.simulator import outcomes
from payments.simulator.accounts import TILL, Account


def paid(
    receipt: str,
    *,
    account: Account,
    amount: int,
    reference: str,
    balance: int,
    at: datetime,
) -> str:
    """Return what the payer reads.

    ``balance`` is the one after the payment, ``at`` in East Africa Time.
    """
    if account.kind == TILL:
        sentence = f"paid to {account.name} on {_when(at)}."
    else:
        sentence = f"sent to {account.name} for account {reference} on {_when(at)}."
    return (
        f"{receipt} Confirmed. Ksh{amount:,}.00 {sentence} "
        f"New M-PESA balance is Ksh{balance:,}.00. Transaction cost, Ksh0.00."
    )


def given_back(
    receipt: str, *, original: str, amount: int, balance: int, at: datetime
) -> str:
    """Return what the payer reads after a reversal; ``at`` in East Africa Time."""
    return (
        f"{receipt} confirmed. Reversal of transaction {original} has been "
        f"successfully reversed on {_when(at)} and Ksh{amount:,}.00 is credited to "
        f"your M-PESA account. New M-PESA account balance is Ksh{balance:,}.00."
    )


def not_accepted(account: Account, amount: int) -> str:
    """Return what the payer reads when the merchant turned the payment down."""
    return f"Failed. {account.name} did not accept your payment of Ksh{amount:,}.00."


def failed(code: str | None, *, account: Account, amount: int) -> str:
    """Return what the payer reads after a payment ended in this code, or nothing."""
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


def _when(at: datetime) -> str:
    return f"{at.day}/{at.month}/{at:%y} at {at.hour % 12 or 12}:{at:%M %p}"
