"""Kenyan shillings: the only place where money is rounded or written out.

Amounts are Decimal with two places. What a customer pays is a whole number of
shillings, made so once by `payable`.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal


CENT = Decimal("0.01")
SHILLING = Decimal(1)


def to_cents(amount: Decimal) -> Decimal:
    """Return the amount with exactly two places, halves rounded up."""
    return amount.quantize(CENT, rounding=ROUND_HALF_UP)


def payable(amount: Decimal) -> Decimal:
    """Return what is to be paid for an amount: whole shillings, halves up.

    The result keeps two places, so that it compares and prints like the rest.
    """
    return amount.quantize(SHILLING, rounding=ROUND_HALF_UP).quantize(CENT)


def shillings_in(amount: Decimal) -> Decimal:
    """Return the whole shillings that are in an amount, without its cents."""
    return amount.quantize(SHILLING, rounding=ROUND_FLOOR).quantize(CENT)


def shillings_for(amount: Decimal) -> Decimal:
    """Return the whole shillings that pay an amount in full; cents need one more."""
    return amount.quantize(SHILLING, rounding=ROUND_CEILING).quantize(CENT)


def whole(amount: Decimal) -> int:
    """Return a whole-shilling amount as an int.

    Raises ValueError on cents: nothing is ever rounded on its way to M-Pesa.
    """
    if amount != amount.to_integral_value():
        raise ValueError(f"{amount} is not a whole number of shillings")
    return int(amount)


def format_kes(amount: Decimal | int) -> str:
    """Return `KES 1,500` or `KES 1,500.50`."""
    amount = Decimal(amount)
    if amount == amount.to_integral_value():
        return f"KES {int(amount):,}"
    return f"KES {to_cents(amount):,}"
