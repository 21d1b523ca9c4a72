"""What things cost: pure arithmetic, no database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from smartduka.lib import money


@dataclass(frozen=True, slots=True)
class Total:
    """What is to be paid in whole shillings, and what rounding added to it."""

    payable: Decimal
    rounding: Decimal


def line_total(unit_price: Decimal, quantity: int) -> Decimal:
    """Return the price of a line in KES with cents; exact, nothing is rounded."""
    return unit_price * quantity


def total(line_totals: Iterable[Decimal]) -> Total:
    """Add up lines and round the sum once to whole shillings, halves up."""
    exact = sum(line_totals, Decimal("0.00"))
    payable = money.payable(exact)
    return Total(payable=payable, rounding=payable - exact)
