"""Rows of Pull Transactions: payments of the last 48 hours, asked for by us.

Source: portal page PullTransaction; the shape of a row from real clients. Checked
2026-11-20.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from payments import readings
from payments.readings import Malformed


# "Success", and "none found".
FOUND = "1000"
NONE_FOUND = "1001"
MOST_ROWS = 20_000
EAT_AHEAD = timedelta(hours=3)
STAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,6})?Z?"
)


@dataclass(frozen=True, slots=True)
class PullRow:
    """One payment that M-Pesa has in its books. Amount in KES, exact.

    `times` are the two moments that the stamp may mean: it ends in Z, but nobody
    says whether it is UTC or East Africa Time. So a row is matched by its receipt,
    and a time only narrows. `msisdn` has any length, and may be masked.
    """

    receipt: str
    amount: Decimal
    reference: str = ""
    msisdn: str = ""
    type: str = ""
    sender: str = ""
    times: tuple[datetime, ...] = ()

    @property
    def reference_key(self) -> str:
        """The reference as ours are written: capitals, letters and digits only."""
        return re.sub(r"[^A-Z0-9]", "", self.reference.upper())


@dataclass(frozen=True, slots=True)
class BadPullRow:
    """A row that names no payment: its place among the rows, from 0, and why."""

    place: int
    reason: str


@dataclass(frozen=True, slots=True)
class PullPage:
    """One page: its rows, those not understood, and how many M-Pesa sent in all."""

    code: str
    rows: tuple[PullRow, ...] = ()
    bad: tuple[BadPullRow, ...] = ()

    @property
    def length(self) -> int:
        """How far the next page's offset lies beyond this one's."""
        return len(self.rows) + len(self.bad)


def parse_pull(body: bytes) -> PullPage:
    """Read the answer to a pull query. Raises Malformed.

    Codes other than "found" and "none found" are Malformed: nothing is known then.
    A row that cannot be read is told by its place and spoils no other.
    """
    answer = readings.member(readings.document(body))
    code = readings.code(answer.get("ResponseCode"), name="ResponseCode")
    if code not in (FOUND, NONE_FOUND):
        raise Malformed("the pull was refused")
    rows = _flat(answer.get("Response"))
    good, bad = [], []
    for place, row in enumerate(rows):
        try:
            good.append(_row(row))
        except Malformed as reason:
            bad.append(BadPullRow(place, str(reason)))
    return PullPage(code, tuple(good), tuple(bad))


def _flat(response: object) -> list[object]:
    """Return the rows: M-Pesa sends an array in an array, `[[]]` for none."""
    if response is None or response == "":
        return []
    if isinstance(response, dict):
        response = [response]
    if not isinstance(response, list):
        raise Malformed("Response is no list")
    rows: list[object] = []
    for item in response:
        rows.extend(item if isinstance(item, list) else [item])
    if len(rows) > MOST_ROWS:
        raise Malformed("too many rows")
    return rows


def _row(row: object) -> PullRow:
    if not isinstance(row, dict):
        raise Malformed("no object")
    receipt = readings.receipt(row.get("transactionId"))
    if receipt is None:
        raise Malformed("no transactionId")
    amount = readings.amount(row.get("amount"))
    if amount is None:
        raise Malformed("no amount")
    return PullRow(
        receipt=receipt,
        amount=amount,
        reference=readings.digits(row.get("billreference")).strip()[:40],
        msisdn=readings.digits(row.get("msisdn")).strip()[:64],
        type=readings.text(row.get("transactiontype"), 60),
        sender=readings.text(row.get("sender"), 120),
        times=_times(row.get("trxDate")),
    )


def _times(value: object) -> tuple[datetime, ...]:
    match = STAMP.fullmatch(readings.text(value, 40))
    if match is None:
        return ()
    try:
        as_utc = datetime.fromisoformat(f"{match[1]}T{match[2]}").replace(tzinfo=UTC)
        return (as_utc - EAT_AHEAD, as_utc)
    except (ValueError, OverflowError):
        return ()
