"""Texts to send to Safaricom: the shop's numbers filled in, never a secret.

What we cannot know, such as the name of the app, stands in square brackets.
"""

from __future__ import annotations

from payments.enums import AccountType
from payments.models import MpesaAccount


# Source: portal page CustomerToBusiness: changes go by e-mail to API support.
SUPPORT = "apisupport@safaricom.co.ke"
PRACTICE = "PRACTICE MODE: this is what you would send. Do not send it.\n\n"


def letter(account: MpesaAccount, subject: str, *requests: str) -> str:
    """Return an e-mail about an account, ready to be copied."""
    name = account.shop.name if account.shop is not None else "[your company's name]"
    contact = account.shop.phone if account.shop is not None else ""
    lines = [
        f"To: {SUPPORT}",
        f"Subject: {subject} ({_numbers(account)})",
        "",
        "Dear Safaricom API support,",
        "",
        *requests,
        "",
        f"Business name: {name}",
        f"Number: {_numbers(account)}",
        "App at developer.safaricom.co.ke: [name of the app]",
        f"Environment: {account.environment}",
        f"Contact phone: {contact or '[your phone number]'}",
        "",
        "Thank you,",
        name,
    ]
    warning = PRACTICE if account.environment == "simulator" else ""
    return warning + "\n".join(lines)


def _numbers(account: MpesaAccount) -> str:
    if account.type == AccountType.TILL:
        return f"till {account.party_b}, store number {account.shortcode}"
    return f"paybill {account.party_b}"
