"""Cells of a statement: sums, moments and text, as the portal and Excel write them.

Times have no zone in a statement: they are East Africa Time.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from payments import readings
from payments.spreadsheets import Cell
from smartduka.lib import clock


FIRST_YEAR, LAST_YEAR = 2007, 2100  # M-Pesa began in 2007

_DATE = (
    r"(?:(?P<y>[0-9]{4})-(?P<m>[0-9]{1,2})-(?P<d>[0-9]{1,2})"
    r"|(?P<d2>[0-9]{1,2})(?P<sep>[-/.])(?P<m2>[0-9]{1,2})(?P=sep)(?P<y2>[0-9]{4}))"
)
_TIME = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.0+)?)?"
    r"(?:\s*(?P<half>[AP])M)?"
)
_MOMENT = re.compile(rf"{_DATE}[T ]\s*{_TIME}", re.IGNORECASE)
DAY = re.compile(_DATE)
ANY_MOMENT = re.compile(rf"{_DATE}(?:\s+{_TIME})?", re.IGNORECASE)
_SUM = re.compile(
    r"([+-]?)\s*(?:KES|Kshs?\.?)?\s*([0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,12})(\.[0-9]{1,2})?",
    re.IGNORECASE,
)


class BadCell(ValueError):
    """A cell of a row cannot be read; the text is the reason."""


def total(cell: Cell, name: str) -> Decimal:
    """Return an exact sum in KES, with its sign. Raises BadCell.

    The portal writes withdrawals with or without a minus.
    """
    if isinstance(cell, Decimal):
        if abs(cell) >= readings.LARGEST or cell != cell.quantize(Decimal("0.01")):
            raise BadCell(f"the {name} is no sum of money")
        return cell
    match = _SUM.fullmatch(cell) if isinstance(cell, str) else None
    if match is None:
        raise BadCell(f"the {name} is no sum of money")
    found = Decimal(match[1] + match[2].replace(",", "") + (match[3] or ""))
    if abs(found) >= readings.LARGEST:
        raise BadCell(f"the {name} is no sum of money")
    return found


def plain(cell: Cell) -> str:
    """Return a cell as text; a number that Excel made of digits gets them back."""
    if isinstance(cell, Decimal):
        return f"{cell:f}" if cell != cell.to_integral_value() else f"{cell:.0f}"
    return cell if isinstance(cell, str) else cell.strftime("%Y-%m-%d %H:%M:%S")


def moment(cell: Cell, name: str) -> datetime:
    """Return a cell's East Africa Time in UTC. Raises BadCell, also without a time."""
    if isinstance(cell, datetime):
        if not FIRST_YEAR <= cell.year <= LAST_YEAR:
            raise BadCell(f"the {name} is no date")
        # Excel counts days as fractions: the second is near, not exact.
        nearest = (cell + timedelta(milliseconds=500)).replace(microsecond=0)
        return nearest.replace(tzinfo=clock.NAIROBI).astimezone(UTC)
    match = _MOMENT.fullmatch(cell) if isinstance(cell, str) else None
    if match is None:
        raise BadCell(f"the {name} is no date with a time")
    return _moment_of(match)


def _moment_of(match: re.Match[str]) -> datetime:
    day = _day_of(match)
    hour, minute = int(match["hour"]), int(match["minute"])
    if match["half"]:
        if not 1 <= hour <= 12:
            raise BadCell("there is no such time")
        hour = hour % 12 + (12 if match["half"].upper() == "P" else 0)
    second = int(match["second"] or 0)
    try:
        local = datetime(
            day.year, day.month, day.day, hour, minute, second, tzinfo=clock.NAIROBI
        )
    except ValueError:
        raise BadCell("there is no such time") from None
    return local.astimezone(UTC)


def _day_of(match: re.Match[str]) -> date:
    """Return the day: year first, or day first as in all of Kenya."""
    year, month, day = (int(match[k] or match[f"{k}2"]) for k in ("y", "m", "d"))
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise BadCell("the year cannot be")
    try:
        return date(year, month, day)
    except ValueError:
        raise BadCell("there is no such day") from None


def first_moment(match: re.Match[str]) -> datetime:
    """Return the first moment of what ANY_MOMENT found. Raises BadCell."""
    if match["hour"]:
        return _moment_of(match)
    return clock.day_bounds(_day_of(match))[0].astimezone(UTC)


def moment_after(match: re.Match[str]) -> datetime:
    """Return the first moment after what ANY_MOMENT found. Raises BadCell."""
    if match["hour"]:
        return _moment_of(match) + timedelta(seconds=1)
    return clock.day_bounds(_day_of(match))[1].astimezone(UTC)
