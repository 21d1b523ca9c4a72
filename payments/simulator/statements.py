"""The statement of an organisation, as its operators export it from the portal.

A few lines say whose it is, then comes the header, then the rows, newest first. A
charge has the receipt of its payment; money that went out is written with a minus;
a declined payment has a row and moved nothing. The columns are those of the portal, the
words in them are ours.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from payments.simulator import msisdn
from payments.simulator.accounts import Account
from payments.simulator.clock import EAST_AFRICA
from payments.simulator.records import Entry, Kind


COLUMNS = (
    "Receipt No.",
    "Completion Time",
    "Initiation Time",
    "Details",
    "Transaction Status",
    "Paid In",
    "Withdrawn",
    "Balance",
    "Balance Confirmed",
    "Reason Type",
    "Other Party Info",
    "Linked Transaction ID",
    "A/C No.",
)
_AMOUNTS = tuple(COLUMNS.index(name) for name in ("Paid In", "Withdrawn", "Balance"))

Row = tuple[str | int, ...]
"""A line of the statement; amounts are numbers, the rest is text."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a statement is written, see the ``statement_…`` switches."""

    times: str
    amounts: str
    phones: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What is exported: all entries of an organisation, and which time is wanted."""

    account: Account
    entries: Sequence[Entry]
    since: datetime | None
    until: datetime | None
    made_at: datetime

    @property
    def wanted(self) -> list[Entry]:
        """The entries of that time, newest first."""
        return [
            entry
            for entry in reversed(self.entries)
            if (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at <= self.until)
        ]

    @property
    def opening(self) -> int:
        """The balance when that time began."""
        earlier = [
            entry.balance
            for entry in self.entries
            if self.since is not None and entry.at < self.since
        ]
        return earlier[-1] if earlier else 0

    @property
    def closing(self) -> int:
        """The balance when that time ended."""
        wanted = self.wanted
        return wanted[0].balance if wanted else self.opening


def csv_of(statement: Statement, *, style: Style) -> bytes:
    """Return the statement as CSV in UTF-8; amounts have two digits of cents."""
    text = io.StringIO()
    writer = csv.writer(text)
    for line in _preamble(statement, style):
        writer.writerow([_in_cents(cell, style) for cell in line])
    writer.writerow(COLUMNS)
    for row in _rows(statement, style):
        writer.writerow([_in_cents(cell, style) for cell in row])
    return text.getvalue().encode()


def xlsx_of(statement: Statement, *, style: Style) -> bytes:
    """Return the statement as a workbook of one sheet; amounts are numbers."""
    import openpyxl  # noqa: PLC0415 -- slow to load, and seldom needed

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None  # a new workbook has one
    sheet.title = "Statement"
    for line in (*_preamble(statement, style), COLUMNS, *_rows(statement, style)):
        sheet.append(line)
    for amounts in sheet.iter_cols(_AMOUNTS[0] + 1, _AMOUNTS[-1] + 1):
        for cell in amounts:
            cell.number_format = "#,##0.00"
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _preamble(statement: Statement, style: Style) -> tuple[Row, ...]:
    account = statement.account
    since = statement.since or min(
        (entry.at for entry in statement.entries), default=statement.made_at
    )
    until = statement.until or statement.made_at
    return (
        ("Organization Statement",),
        ("Account Holder:", account.name),
        ("Short Code:", account.party_b),
        ("Account:", account.money_account),
        ("Time Period:", f"{_time(since, style)} - {_time(until, style)}"),
        ("Opening Balance:", statement.opening),
        ("Closing Balance:", statement.closing),
        (),
    )


def _rows(statement: Statement, style: Style) -> list[Row]:
    return [_row(entry, style) for entry in statement.wanted]


def _row(entry: Entry, style: Style) -> Row:
    other = _other_party(entry, style)
    return (
        entry.receipt,
        _time(entry.at, style),
        _time(entry.started_at, style),
        _details(entry, other),
        "Declined" if entry.is_declined else "Completed",
        entry.amount if entry.is_payment else "",
        "" if entry.is_payment else -entry.amount,
        entry.balance,
        "false" if entry.is_declined else "true",
        entry.reason,
        other,
        entry.linked,
        entry.bill_reference if entry.is_payment else "",
    )


def _details(entry: Entry, other: str) -> str:
    if entry.kind is Kind.REVERSAL:
        return f"{entry.reason} of {entry.linked} to {other}"
    if not entry.is_payment:
        return entry.reason
    account = f" Acc. {entry.reference}" if entry.bill_reference else ""
    return f"{entry.reason} from {other}{account}"


def _other_party(entry: Entry, style: Style) -> str:
    if not entry.phone:
        return entry.party
    phone = entry.phone
    shown = phone if style.phones == "full" else msisdn.masked(phone)
    return f"{shown} - {msisdn.owner(phone)}"


def _time(at: datetime, style: Style) -> str:
    local = at.astimezone(EAST_AFRICA)
    day = f"{local:%d-%m-%Y}" if style.times == "day_first" else f"{local:%Y-%m-%d}"
    return f"{day} {local:%H:%M:%S}"


def _in_cents(cell: str | int, style: Style) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell:,.2f}" if style.amounts == "grouped" else f"{cell:.2f}"
