"""Charts as plain facts: what each column and bar is called, and how long it is.

Templates draw them as SVG, with lengths in attributes: the policy of the pages allows
no style in them. Every chart has its figures beside it as a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal


# The room of a column, its bar in it, and the height of all, in units of the drawing.
ROOM, WIDTH, HEIGHT = 10, 7, 100
TENTH = Decimal("0.1")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One amount and its name; `mark` stands under its column, `address` is its link.

    `words` is the amount as people read it.
    """

    name: str
    amount: Decimal
    words: str
    mark: str = ""
    address: str = ""
    is_chosen: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """An entry and its bar; `left` is that of its room."""

    entry: Entry
    left: int
    x: Decimal
    y: Decimal
    height: Decimal

    @property
    def is_below(self) -> bool:
        """Whether its amount is below zero."""
        return self.entry.amount < 0


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns beside each other, on a line for nothing at all."""

    columns: tuple[Column, ...]
    zero: Decimal
    width: int
    most: Entry | None

    room: int = ROOM
    bar: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True, slots=True)
class Bar:
    """An entry and the share of the longest bar, in percent; `about` says more."""

    entry: Entry
    share: Decimal
    about: str = ""

    @property
    def is_below(self) -> bool:
        """Whether its amount is below zero."""
        return self.entry.amount < 0


def columns(entries: Sequence[Entry]) -> Columns:
    """Return columns that fill the height, from the lowest amount to the highest."""
    amounts = [entry.amount for entry in entries]
    top, bottom = max([ZERO, *amounts]), min([ZERO, *amounts])
    scale = HEIGHT / (top - bottom) if top > bottom else ZERO
    zero = _tenth(top * scale) if scale else Decimal(HEIGHT)
    drawn = []
    for number, entry in enumerate(entries):
        height = _tenth(abs(entry.amount) * scale)
        y = zero if entry.amount < 0 else zero - height
        left = number * ROOM
        x = left + Decimal(ROOM - WIDTH) / 2
        drawn.append(Column(entry, left, x, y, height))
    most = max(entries, key=lambda entry: entry.amount, default=None)
    if most is not None and most.amount <= 0:
        most = None
    return Columns(tuple(drawn), zero, len(entries) * ROOM, most)


def bars(entries: Sequence[Entry], about: Sequence[str] = ()) -> tuple[Bar, ...]:
    """Return bars of which the longest is whole."""
    longest = max((abs(entry.amount) for entry in entries), default=ZERO)
    said = about or [""] * len(entries)
    return tuple(
        Bar(
            entry, _tenth(abs(entry.amount) * 100 / longest) if longest else ZERO, words
        )
        for entry, words in zip(entries, said, strict=True)
    )


def _tenth(number: Decimal) -> Decimal:
    return number.quantize(TENTH, rounding=ROUND_HALF_UP)
