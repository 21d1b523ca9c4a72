"""M-Pesa organisation statements: a file to frozen rows. Reads, decides nothing.

The portal exports CSV and XLSX: a preamble, a header, newest rows first, one row per
movement of one purse. Only completed rows count, and a reversal that is not decided
is told, for it may be completed yet. A row that cannot be read is told
by its line and the reason; nothing is guessed, for the statement is the last source
of truth.
Source: exports of the portal as public projects read them (columns Receipt No.,
Completion Time, Initiation Time, Details, Transaction Status, Paid In, Withdrawn,
Balance, Balance Confirmed, Reason Type, Other Party Info, Linked Transaction ID,
A/C No.), checked 2026-11-21.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from payments import readings, spreadsheets
from payments import statement_cells as cells
from payments.readings import Party
from payments.spreadsheets import Cell, Line, UnreadableFile
from payments.statement_cells import BadCell


# Column names without blanks and dots, as the portal and people write them.
COLUMNS = {
    "receiptno": "receipt",
    "receipt": "receipt",
    "receiptnumber": "receipt",
    "completiontime": "completed_at",
    "initiationtime": "initiated_at",
    "details": "details",
    "transactionstatus": "status",
    "status": "status",
    "paidin": "paid_in",
    "withdrawn": "withdrawn",
    "withdrawal": "withdrawn",
    "balance": "balance",
    "reasontype": "reason",
    "otherpartyinfo": "other_party",
    "oppositeparty": "other_party",
    "linkedtransactionid": "linked",
    "acno": "reference",
    "accountno": "reference",
}
GLANCED = 200  # rows
A_DAY = timedelta(days=1)
# M-Pesa's words for what will never be completed.
UNDONE = frozenset({"cancelled", "canceled", "declined", "expired", "failed"})
NEEDED = frozenset({"receipt", "completed_at", "status", "paid_in"})
_SHORTCODE = re.compile(
    r"(?:short\s*code|pay\s*bill|till)(?:\s*(?:number|no\.?))?\s*:?\s*([0-9]{5,7})(?![0-9])",
    re.IGNORECASE,
)
# In exports without columns for them, the details hold payer and reference.
_TYPED = re.compile(r"\bAcc\.?\s+(.{1,40})$", re.IGNORECASE)
_PAYER = re.compile(
    r"\bfrom\s+-?\s*([0-9+*][0-9+* ]*\s*(?:-\s*.*?)?)(?:\s+(?:-\s+)?Acc\b.*)?$",
    re.IGNORECASE,
)
_PAYMENT = re.compile(
    r"(?:customer\s+)?(?:pay\s*bill|buy\s*goods|merchant\s+payment|pay\s+merchant"
    r"|pay\s+utility|merchant\s+customer\s+payment|payment)\b"
)
_SWEEP = re.compile(
    r"\bbank\b|\bsettle|\bsettlement\b|\baccount to\b|\bmmf\b|\bworking\b"
    r"|\bwithdrawal? of funds\b|\brevenue\b"
)


class RowKind(StrEnum):
    """What a row of a statement is."""

    PAYMENT = "payment"  # paid in by a customer
    REVERSAL = "reversal"  # undoes another transaction
    CHARGE = "charge"  # M-Pesa's fee
    SWEEP = "sweep"  # to the bank, or between purses of the same shortcode
    OTHER = "other"  # anything else: for a person


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One completed movement. Amounts in KES with cents, above zero; times in UTC.

    Of `paid_in` and `withdrawn` exactly one is there. A charge has the receipt of
    its payment. `linked` is the receipt that a reversal undoes, "" if the statement
    does not say. `reference` is what the customer typed, `other_party` may be masked.
    """

    line: int
    kind: RowKind
    receipt: str
    completed_at: datetime
    paid_in: Decimal | None
    withdrawn: Decimal | None
    details: str = ""
    reason: str = ""
    reference: str = ""
    other_party: Party | None = None
    linked: str = ""
    initiated_at: datetime | None = None
    balance: Decimal | None = None

    @property
    def amount(self) -> Decimal:
        """The sum that moved, in whichever direction."""
        return self.paid_in or self.withdrawn or Decimal(0)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was not read: its line number in the file, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Statement:
    """A file that was read.

    `skipped` rows were not completed or moved nothing, `repeated` ones stood in the
    file before. `covers` is the time that the preamble names, from the first moment
    to the first one after it, or None; `shortcode` is the account it names, or "".
    """

    rows: tuple[StatementRow, ...]
    bad: tuple[BadRow, ...]
    skipped: int
    repeated: int
    covers: tuple[datetime, datetime] | None
    shortcode: str

    @property
    def payments(self) -> tuple[StatementRow, ...]:
        """The rows that may make or fill a collection."""
        return tuple(row for row in self.rows if row.kind is RowKind.PAYMENT)

    @property
    def length(self) -> int:
        """How many rows the table has, also those that do not count."""
        return len(self.rows) + len(self.bad) + self.skipped + self.repeated

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """The first and the last moment of its rows; less than it may cover."""
        times = [row.completed_at for row in self.rows]
        return (min(times), max(times)) if times else None


def glance(data: bytes) -> Statement:
    """Read what stands above a statement's table, and its first rows.

    Quick, whatever the size of the file. Raises UnreadableFile for what can be seen
    so far.
    """
    return _read(data, GLANCED)


def parse(data: bytes) -> Statement:
    """Read a statement as it was downloaded. Raises UnreadableFile.

    The whole file is refused when its dates were rewritten month first: then other
    rows would be read as another day without anybody noticing. Payments with one
    receipt and different facts are all bad.
    """
    return _read(data, None)


def _read(data: bytes, most: int | None) -> Statement:
    table = spreadsheets.read_table(data, _is_header, most=most)
    columns = _columns(table.header)
    preamble = [
        " ".join(cells.plain(c) for c in line.cells if c) for line in table.above
    ]
    covers = _covers(preamble)
    if _dates_doubtful(table.lines, columns["completed_at"], covers):
        raise UnreadableFile(
            "month_first",
            "A spreadsheet has turned days and months in this file. Download the "
            "statement again and upload it without opening it.",
        )
    rows: list[StatementRow] = []
    bad: list[BadRow] = []
    skipped = 0
    for line in table.lines:
        try:
            row = _row(line, columns)
        except BadCell as reason:
            bad.append(BadRow(line.number, str(reason)))
            continue
        if row is None:
            skipped += bool(any(line.cells))
        else:
            rows.append(row)
    single = _without_repeats(rows)
    good, doubtful = _without_contradictions(single)
    return Statement(
        rows=tuple(good),
        bad=tuple(sorted(bad + doubtful, key=lambda row: row.line)),
        skipped=skipped,
        repeated=len(rows) - len(single),
        covers=covers,
        shortcode=_shortcode(preamble),
    )


# Header and preamble.


def _key(cell: str) -> str:
    return COLUMNS.get(re.sub(r"[^a-z]", "", cell.lower()), "")


def _is_header(cells: tuple[str, ...]) -> bool:
    return {_key(cell) for cell in cells} >= NEEDED


def _columns(header: Line) -> dict[str, int]:
    """Return where each column stands. A column that stands twice means neither."""
    found: dict[str, int] = {}
    for place, cell in enumerate(header.cells):
        key = _key(cells.plain(cell))
        if key in found:
            raise UnreadableFile(
                "columns", f"The column {cells.plain(cell)} stands twice in this file."
            )
        if key:
            found[key] = place
    found["end"] = max(place + 1 for place, cell in enumerate(header.cells) if cell)
    return found


def _shortcode(preamble: list[str]) -> str:
    for text in preamble:
        if match := _SHORTCODE.search(text):
            return match[1]
    return ""


def _covers(preamble: list[str]) -> tuple[datetime, datetime] | None:
    """Return the time named above the header: the first line with two moments."""
    for text in preamble:
        found = list(cells.ANY_MOMENT.finditer(text))
        if len(found) != 2:
            continue
        try:
            first, last = cells.first_moment(found[0]), cells.moment_after(found[1])
        except BadCell:
            continue
        if first < last:
            return first, last
    return None


# Rows.


def _row(line: Line, columns: dict[str, int]) -> StatementRow | None:
    """Read one row; None for one that does not count. Raises BadCell."""
    if any(line.cells[columns["end"] :]):
        raise BadCell("more cells than columns")
    if any("\n" in c or "\r" in c for c in line.cells if isinstance(c, str)):
        raise BadCell("a line break inside a cell")

    def cell(name: str) -> Cell:
        place = columns.get(name, len(line.cells))
        return line.cells[place] if place < len(line.cells) else ""

    if not cell("receipt") and not cell("completed_at"):
        return None  # a blank row, or the totals below the table
    if _key(cells.plain(cell("receipt"))) == "receipt":
        return None  # the header again, on the next page
    details, reason = cells.plain(cell("details")), cells.plain(cell("reason"))
    status = cells.plain(cell("status")).lower()
    if not status:
        raise BadCell("no transaction status")
    if status != "completed":
        if (
            status not in UNDONE
            and _kind(details, reason, is_in=False) is RowKind.REVERSAL
        ):
            raise BadCell(
                f"a reversal that is {status}: import the statement again when M-Pesa"
                " has decided it"
            )
        return None
    receipt = readings.receipt(cells.plain(cell("receipt")))
    if receipt is None:
        raise BadCell("the receipt number is none")
    completed_at = cells.moment(cell("completed_at"), "completion time")
    paid_in, withdrawn = _sums(cell("paid_in"), cell("withdrawn"))
    if paid_in is None and withdrawn is None:
        return None
    words = " ".join(details.split())  # many blanks would take the patterns for ever
    typed = _TYPED.search(words)
    payer = _PAYER.search(words)
    initiated = cell("initiated_at")
    balance = cell("balance")
    return StatementRow(
        line=line.number,
        kind=_kind(details, reason, is_in=paid_in is not None),
        receipt=receipt,
        completed_at=completed_at,
        paid_in=paid_in,
        withdrawn=withdrawn,
        details=details,
        reason=reason,
        reference=cells.plain(cell("reference")) or (typed[1] if typed else ""),
        other_party=readings.party(
            cells.plain(cell("other_party")) or (payer[1] if payer else "")
        ),
        linked=readings.receipt(cells.plain(cell("linked"))) or "",
        initiated_at=cells.moment(initiated, "initiation time") if initiated else None,
        balance=None if balance == "" else cells.total(balance, "balance"),
    )


def _sums(paid_in: Cell, withdrawn: Cell) -> tuple[Decimal | None, Decimal | None]:
    """Return what came and what went; both None where nothing moved."""
    if not paid_in and not withdrawn and Decimal(0) not in (paid_in, withdrawn):
        raise BadCell("neither paid in nor withdrawn")
    came = cells.total(paid_in, "amount paid in") if paid_in else Decimal(0)
    went = cells.total(withdrawn, "amount withdrawn") if withdrawn else Decimal(0)
    if came < 0:
        raise BadCell("the amount paid in is below zero")
    if came and went:
        raise BadCell("both paid in and withdrawn")
    return came or None, abs(went) or None


def _kind(details: str, reason: str, *, is_in: bool) -> RowKind:
    """Say what a row is, by M-Pesa's words only.

    Details end in what customers call themselves and type: a reference "REVERSAL"
    must not make a payment a reversal. So of the details only the beginning counts.
    """
    beginning = re.split(r"\b(?:from|acc)\b|[0-9*]| - ", details.lower(), maxsplit=1)[0]
    beginning, reason = beginning.strip(), reason.lower()
    if any("revers" in words for words in (beginning, reason)):
        return RowKind.REVERSAL
    if any(re.search(r"\bcharges?\b|\bfees?\b", w) for w in (beginning, reason)):
        return RowKind.CHARGE
    if is_in and any(_PAYMENT.match(words) for words in (beginning, reason)):
        return RowKind.PAYMENT
    if any(_SWEEP.search(words) for words in (beginning, reason)):
        return RowKind.SWEEP
    return RowKind.OTHER


def _without_repeats(rows: list[StatementRow]) -> list[StatementRow]:
    seen = set()
    single = []
    for row in rows:
        facts = (
            row.receipt, row.kind, row.completed_at, row.paid_in, row.withdrawn,
            row.details, row.reason, row.balance,
        )  # fmt: skip
        if facts not in seen:
            seen.add(facts)
            single.append(row)
    return single


def _without_contradictions(
    rows: list[StatementRow],
) -> tuple[list[StatementRow], list[BadRow]]:
    """Set aside payments that share a receipt: one receipt is one payment."""
    by_receipt = defaultdict(list)
    for row in rows:
        if row.kind is RowKind.PAYMENT:
            by_receipt[row.receipt].append(row)
    doubtful = {
        row.line for same in by_receipt.values() if len(same) > 1 for row in same
    }
    return (
        [row for row in rows if row.line not in doubtful],
        [BadRow(line, "another payment has this receipt number") for line in doubtful],
    )


def _dates_doubtful(
    lines: tuple[Line, ...], place: int, covers: tuple[datetime, datetime] | None
) -> bool:
    """Whether a spreadsheet has turned day and month of some completion times.

    Either a text is only a date when its month is read first, or some cells became
    dates and others stayed text: an American Excel does that to a file of ours. Or
    dates lie outside of the time that the file itself says it is of.
    """
    texts, dates = 0, 0
    for line in lines:
        cell = line.cells[place] if place < len(line.cells) else ""
        if isinstance(cell, datetime):
            dates += 1
            if covers is not None and not _is_within(cell, covers):
                return True
        match = cells.DAY.match(cell) if isinstance(cell, str) else None
        if match and match["m2"]:
            texts += 1
            if int(match["m2"]) > 12 >= int(match["d2"]):
                return True
    return bool(texts and dates)


def _is_within(cell: datetime, covers: tuple[datetime, datetime]) -> bool:
    """Whether a cell's moment lies in a time, or within a day of it."""
    try:
        at = cells.moment(cell, "completion time")
    except BadCell:
        return True  # it is told as a bad row
    return covers[0] - A_DAY <= at < covers[1] + A_DAY
