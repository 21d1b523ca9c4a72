"""What a switch is: its name, what it takes, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from payments.simulator import refusals


ERRORS = tuple(refusals.BY_NAME)
"""What a switch that ends in ``_error`` can be set to."""
BODIES = ("json", "truncated", "non_json", "empty", "array")
"""What a switch that ends in ``_body`` can be set to, see ``bodies``."""


class BadSwitch(ValueError):
    """Names a switch that is not there, or a value it cannot take."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One way to misbehave."""

    name: str
    default: Any
    values: str
    accepts: Callable[[Any], bool]
    about: str


def flag(name: str, about: str, *, default: bool = False) -> Switch:
    """Return a switch that is on or off."""
    return Switch(
        name, default, "true | false", lambda value: isinstance(value, bool), about
    )


def number(name: str, about: str, *, default: float = 0) -> Switch:
    """Return a switch that takes a number from nought."""
    return Switch(name, default, "a number ≥ 0", is_number, about)


def text(name: str, about: str, *, default: str | None = None) -> Switch:
    """Return a switch that takes any text."""
    return Switch(name, default, "text", lambda value: isinstance(value, str), about)


def choice(
    name: str, about: str, words: tuple[str, ...], *, default: str | None
) -> Switch:
    """Return a switch that takes one of these words."""
    return Switch(name, default, " | ".join(words), lambda value: value in words, about)


def is_number(value: object) -> bool:
    """Say whether this is a finite number from nought."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < float("inf")


def is_percent(value: object) -> bool:
    """Say whether this is a number from nought to a hundred."""
    return isinstance(value, int | float) and is_number(value) and value <= 100


def posting(prefix: str, what: str) -> tuple[Switch, ...]:
    """Return the switches of everything that is posted: whether and when."""
    return (
        flag(f"{prefix}drop", f"{what} is never sent; what happened, happened."),
        Switch(
            f"{prefix}drop_percent",
            0,
            "0 to 100",
            is_percent,
            "So many of a hundred are never sent; luck is the same after each reset.",
        ),
        number(f"{prefix}delay_s", f"{what} comes so much later."),
        number(f"{prefix}duplicates", "So many copies follow."),
        number(f"{prefix}duplicate_gap_s", "Between copies.", default=0.3),
        flag(
            f"{prefix}retry_on_non200", "Anything but a 200 is tried again, 3 in all."
        ),
        number(f"{prefix}retry_gap_s", "Between these tries.", default=2),
    )
