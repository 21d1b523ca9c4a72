"""The one clock, so that tests can turn it, and the Nairobi day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.utils import timezone


NAIROBI = ZoneInfo("Africa/Nairobi")


def now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return timezone.now()


def seconds(count: float) -> timedelta:
    """Return a duration; the named settings are plain seconds."""
    return timedelta(seconds=count)


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """Return the first moment of a Nairobi day and of the next one."""
    start = datetime(day.year, day.month, day.day, tzinfo=NAIROBI)
    return start, start + timedelta(days=1)


def iso(moment: datetime | None) -> str | None:
    """Return a moment as the API writes it: UTC with milliseconds."""
    if moment is None:
        return None
    utc = moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
