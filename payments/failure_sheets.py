"""The list of failed payments as a file: CSV, or XLSX for a spreadsheet.

Bounded, phones masked, times in Nairobi. A cell that a spreadsheet would take for a
formula is written as text: names come from people.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from payments import failures
from smartduka.lib import clock
from smartduka.lib.money import whole


KINDS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
# So many rows at most: more are for a report, not for a list.
LIMIT = 5_000
COLUMNS = (
    "Begun (Nairobi)", "Sale", "Amount KES", "Phone", "Why", "What to do next",
    "Attempts", "Cashier", "M-Pesa code", "Seen by", "Seen (Nairobi)", "Payment",
)  # fmt: skip
SHOP = "Shop"
CUT = f"Only the first {LIMIT:,} payments are in this file: choose fewer days."
# What begins a formula in some program, also in its wide East Asian form; a tab or
# a line break may hide it.
FORMULA = re.compile(r"\s*[=+\-@|%\uff1d\uff0b\uff0d\uff20]")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

Cell = str | int


def made(kind: str, payments: Any, *, with_shop: bool) -> bytes:
    """Return the file of these payments (a query set), the bytes of it."""
    write = {"csv": _csv, "xlsx": _xlsx}[kind]
    return write(_rows(payments, with_shop=with_shop))


def harmless(text: str) -> str:
    """Return the text as a cell that no program takes for a formula."""
    text = CONTROL.sub(" ", text)
    return f"'{text}" if FORMULA.match(text) else text


def _rows(payments: Any, *, with_shop: bool) -> Iterator[list[Cell]]:
    yield [*COLUMNS, *([SHOP] if with_shop else [])]
    found = payments[: LIMIT + 1].iterator(chunk_size=500)
    for number, payment in enumerate(found):
        if number == LIMIT:
            yield [CUT]
            return
        words = failures.next_step(payment)
        row: list[Cell] = [
            _time(payment.created_at),
            payment.order.number,
            whole(payment.amount),
            payment.masked_phone,
            words.reason_en,
            words.remedy_en,
            payment.tries,
            _person(payment.created_by),
            payment.result_code,
            _person(payment.seen_by),
            _time(payment.seen_at),
            str(payment.pk),
        ]
        yield [*row, *([payment.shop.name] if with_shop else [])]


def _csv(rows: Iterable[list[Cell]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    for row in rows:
        writer.writerow([_safe(cell) for cell in row])
    # Spreadsheets read UTF-8 only where a mark says so.
    return text.getvalue().encode("utf-8-sig")


def _xlsx(rows: Iterable[list[Cell]]) -> bytes:
    # Slow to load, and seldom needed:
    from openpyxl import Workbook  # noqa: PLC0415 -- see above
    from openpyxl.cell import WriteOnlyCell  # noqa: PLC0415 -- see above
    from openpyxl.styles import Font  # noqa: PLC0415 -- see above

    book = Workbook(write_only=True)
    sheet = book.create_sheet("Failed payments")
    sheet.freeze_panes = "A2"
    for number, row in enumerate(rows):
        shown = []
        for value in row:
            cell = WriteOnlyCell(sheet, value=_safe(value))
            if isinstance(value, str):
                cell.data_type = "s"
            if number == 0:
                cell.font = Font(bold=True)
            shown.append(cell)
        sheet.append(shown)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _safe(cell: Cell) -> Cell:
    return harmless(cell) if isinstance(cell, str) else cell


def _person(user: Any) -> str:
    return "" if user is None else str(user)


def _time(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(clock.NAIROBI):%Y-%m-%d %H:%M:%S}"
