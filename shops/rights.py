"""Who may do what: the one table that pages, API and admin ask.

A role is held in one shop. The platform's operator has no role in a shop: what they
may do in the admin is a row of its own, and in a shop's till and API they only read.
A right is added here together with the act that asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from shops.enums import Role


class Right(StrEnum):
    """One kind of act."""

    READ_BOOKS = "read books"  # everything of the shop, in the admin
    SELL = "sell"  # open a sale, prompt a phone, take cash
    CODE_BOX = "code box"  # take an M-Pesa code for a sale
    VOID = "void"  # cancel an open sale
    GOODS = "goods"  # products, prices, stock
    FREE_MONEY = "free money"  # use, keep or give back money that no sale needs
    REFUND = "refund"  # send money back, approve that
    CORRECT = "correct"  # book what M-Pesa's books say otherwise
    STATEMENTS = "statements"  # import what M-Pesa's portal gives
    FAILURES = "failed payments"  # try again, mark as seen
    MESSAGES = "messages"  # process messages again, ask M-Pesa now
    MPESA = "mpesa"  # payments by hand, how far codes are trusted
    SETTINGS = "settings"  # keys, accounts, when refunds need two people
    STAFF = "staff"  # who works here as what
    PLATFORM = "platform"  # shops, people, money that is no shop's


OPERATOR = "operator"

_CASHIER = frozenset({Right.SELL, Right.CODE_BOX, Right.VOID})
_AUDITOR = frozenset({Right.READ_BOOKS})
_MANAGER = (
    _CASHIER
    | _AUDITOR
    | {
        *(Right.GOODS, Right.FREE_MONEY, Right.REFUND, Right.CORRECT),
        *(Right.FAILURES, Right.STATEMENTS, Right.MESSAGES, Right.MPESA),
    }
)
_OWNER = _MANAGER | {Right.SETTINGS, Right.STAFF}
# Not a shop's sales and money: those are for its own people.
_OPERATOR = (_OWNER | {Right.PLATFORM}) - {
    *(Right.SELL, Right.CODE_BOX, Right.VOID, Right.FAILURES),
    *(Right.FREE_MONEY, Right.REFUND, Right.CORRECT),
}

TABLE: Mapping[str, frozenset[Right]] = {
    Role.OWNER: _OWNER,
    Role.MANAGER: _MANAGER,
    Role.CASHIER: _CASHIER,
    Role.AUDITOR: _AUDITOR,
    OPERATOR: _OPERATOR,
}

# What is left to somebody who came with a PIN, whatever their role.
BY_PIN = _CASHIER

# Who holds one of these loses more than a sale when a password is stolen.
SENSITIVE = frozenset(
    {Right.REFUND, Right.CORRECT, Right.MPESA, Right.SETTINGS, Right.STAFF,
     Right.PLATFORM}
)  # fmt: skip

SELLERS_ONLY = "Only a cashier, manager or owner may do this."
MANAGERS_ONLY = "Only the shop's owner or a manager may do this."
OWNER_ONLY = "Only the shop's owner may do this."


def of_role(role: str) -> frozenset[Right]:
    """Return what the role may do; nothing for a role that is not known."""
    return TABLE.get(role, frozenset())


def roles_with(right: Right) -> frozenset[str]:
    """Return the roles, the operator among them, that have a right."""
    return frozenset(role for role, rights in TABLE.items() if right in rights)


def refusal(right: Right) -> str:
    """Return the sentence for somebody who lacks the right: who has it."""
    roles = roles_with(right)
    if Role.CASHIER in roles:
        return SELLERS_ONLY
    return MANAGERS_ONLY if Role.MANAGER in roles else OWNER_ONLY
