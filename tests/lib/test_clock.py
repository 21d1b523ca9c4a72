from datetime import UTC, date, datetime, timedelta

import pytest

from smartduka.lib import clock


def test_now_is_aware_and_utc():
    assert clock.now().utcoffset() == timedelta(0)


def test_seconds_is_a_duration():
    assert clock.seconds(1.5) == timedelta(seconds=1, milliseconds=500)


def test_a_day_begins_at_midnight_in_nairobi():
    start, end = clock.day_bounds(date(2026, 1, 31))

    assert start == datetime(2026, 1, 30, 21, 0, tzinfo=UTC)
    assert end == datetime(2026, 1, 31, 21, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (None, None),
        (
            datetime(2026, 1, 14, 6, 30, 15, 123456, tzinfo=UTC),
            "2026-01-14T06:30:15.123Z",
        ),
        (
            datetime(2026, 1, 14, 9, 30, tzinfo=clock.NAIROBI),
            "2026-01-14T06:30:00.000Z",
        ),
    ],
    ids=["nothing", "utc", "nairobi"],
)
def test_iso_is_utc_with_milliseconds(moment, text):
    assert clock.iso(moment) == text
