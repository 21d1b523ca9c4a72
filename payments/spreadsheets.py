"""Tables out of files that people upload: CSV and XLSX, within limits.

Only bytes to cells: what the columns mean is not known here. A file can be anything,
also a trap: its size, its size when unpacked, its rows and columns are bounded
before they are read, XML with entities is refused, and a formula is text, never a
value. No other exception than UnreadableFile leaves this module.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from xml.etree import ElementTree

from smartduka.lib.errors import DomainError


FILE_LIMIT = 10 * 1024 * 1024  # bytes
UNPACKED_LIMIT = 48 * 1024 * 1024  # bytes of all parts of an XLSX together
PART_LIMIT = 500
# Bytes of a part that the library reads as a whole: an element of five bytes becomes
# an object of a thousand. Sheets and their texts are read row by row.
WHOLE_LIMIT = 256 * 1024
IN_ROWS = {
    "xl/worksheets/": ".worksheet+xml",
    "xl/sharedStrings.xml": ".sharedStrings+xml",
}
TYPES = "[Content_Types].xml"
# In all parts: some 40,000 rows of thirteen cells and their texts. All of them in one
# row take a gigabyte.
TAG_LIMIT = 3_000_000
SHEET_LIMIT = 20
ROW_LIMIT = 50_000
COLUMN_LIMIT = 60
HEADER_WITHIN = 100  # rows
CELL_LIMIT = 500  # characters

# A number keeps its digits; a moment has no zone yet.
Cell = str | Decimal | datetime


class UnreadableFile(DomainError):
    """The file is no table that can be read; `details["reason"]` says why in a word."""

    message = "This file cannot be read. Upload a CSV or XLSX file."

    def __init__(self, reason: str, message: str | None = None) -> None:
        super().__init__(message, details={"reason": reason})


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table and its line number as the person sees it, from 1."""

    number: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table below its header, and the lines that stand above it."""

    above: tuple[Line, ...]
    header: Line
    lines: tuple[Line, ...]


def read_table(
    data: bytes,
    is_header: Callable[[tuple[str, ...]], bool],
    *,
    most: int | None = None,
) -> Table:
    """Return the first table whose header `is_header` knows. Raises UnreadableFile.

    The kind of file is told by its first bytes, not by its name. `is_header` gets
    the texts of a row. `most` rows below the header are read, for who only wants to
    know what kind of table it is.
    """
    if len(data) > FILE_LIMIT:
        raise UnreadableFile("too_large", "This file is larger than 10 MB.")
    if data.startswith(b"PK\x03\x04"):
        return _from_workbook(data, is_header, most)
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise UnreadableFile(
            "old_or_locked",
            "This is an old Excel file, or one with a password. Save it as XLSX "
            "without a password, or as CSV.",
        )
    if data.startswith(b"%PDF"):
        raise UnreadableFile(
            "pdf", "This is a PDF. Download the statement as CSV or XLSX."
        )
    return _from_csv(_text(data), is_header, most)


def _no_header() -> UnreadableFile:
    return UnreadableFile(
        "no_header", "The columns of the statement were not found in this file."
    )


def _bomb() -> UnreadableFile:
    return UnreadableFile(
        "bomb", "This file is too large when unpacked. Export a shorter time."
    )


def _too_many_rows() -> UnreadableFile:
    return UnreadableFile(
        "too_many_rows",
        f"This file has more than {ROW_LIMIT:,} rows. Export a shorter time.",
    )


# CSV.


def _text(data: bytes) -> str:
    """Decode UTF-8, UTF-16 with its mark, or what Windows writes (cp1252)."""
    encoding = "utf-8-sig"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    for name in (encoding, "cp1252"):
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise UnreadableFile("not_text")


def _from_csv(
    text: str, is_header: Callable[[tuple[str, ...]], bool], most: int | None
) -> Table:
    # Every line break counts, and only those that editors count.
    lines = list(itertools.islice(io.StringIO(text, newline=""), ROW_LIMIT + 1))
    if len(lines) > ROW_LIMIT:
        raise _too_many_rows()
    for place, line in enumerate(lines[:HEADER_WITHIN]):
        for delimiter in ",;\t":
            cells = _loosely_split(line, delimiter)
            if is_header(cells):
                above = tuple(
                    Line(number, _loosely_split(one, delimiter))
                    for number, one in enumerate(lines[:place], 1)
                )
                records = _records(lines[place + 1 :], delimiter, place + 1)
                rows = tuple(itertools.islice(records, most))
                return Table(above, Line(place + 1, cells), rows)
    raise _no_header()


def _loosely_split(line: str, delimiter: str) -> tuple[str, ...]:
    cells = next(csv.reader([line[: 4 * CELL_LIMIT]], delimiter=delimiter), [])
    return tuple(_cell(cell) for cell in cells)


def _records(lines: list[str], delimiter: str, before: int) -> Iterator[Line]:
    """Yield the records. A quote that is never closed would swallow the rest."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = before + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error:
            raise UnreadableFile(
                "quotes",
                f"Line {number} cannot be read: its quotation marks do not fit "
                "together, or a cell is far too long.",
            ) from None
        if cells is None:
            return
        yield Line(number, tuple(_cell(cell) for cell in cells))


# XLSX.


def _from_workbook(
    data: bytes, is_header: Callable[[tuple[str, ...]], bool], most: int | None
) -> Table:
    import openpyxl  # noqa: PLC0415 -- slow to load, and seldom needed

    safe = _safe(data)
    try:
        book = openpyxl.load_workbook(
            safe, read_only=True, data_only=False, keep_links=False
        )
        for sheet in book.worksheets[:SHEET_LIMIT]:
            # What a sheet says of its own size is not believed.
            sheet.reset_dimensions()
            rows = sheet.iter_rows(max_col=COLUMN_LIMIT, values_only=True)
            table = _from_rows(rows, is_header, most)
            if table is not None:
                return table
    except UnreadableFile:
        raise
    except Exception as error:
        # A file made to break the library breaks it in any way it likes.
        raise UnreadableFile("broken") from error
    raise _no_header()


def _safe(data: bytes) -> io.BytesIO:
    """Return the workbook as an archive of what was checked, and of nothing else.

    The sizes written in the archive bind: no part is unpacked beyond its own, here or
    by who reads what is returned. (`ZipFile.read` unpacks all that comes, and only
    then cuts it: `ZipExtFile.read` of CPython 3.11 without a size.)
    """
    checked = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
            size = sum(part.file_size for part in parts)
            if len(parts) > PART_LIMIT or size > UNPACKED_LIMIT:
                raise _bomb()
            if "xl/workbook.xml" not in archive.namelist():
                raise UnreadableFile("no_workbook")
            with zipfile.ZipFile(checked, "w") as copy:
                tags = 0
                for part in parts:
                    _check_part(part)
                    if not part.filename.lower().endswith((".xml", ".rels")):
                        continue
                    if part.file_size > WHOLE_LIMIT and not _type_in_rows(
                        part.filename
                    ):
                        raise _bomb()
                    content = _xml(archive, part)
                    tags += content.count(b"<")
                    if tags > TAG_LIMIT:
                        raise _bomb()
                    if part.filename == TYPES:
                        _check_types(content)
                    copy.writestr(part.filename, content)
    except UnreadableFile:
        raise
    except Exception as error:
        raise UnreadableFile("broken") from error
    return checked


def _check_part(part: zipfile.ZipInfo) -> None:
    if part.flag_bits & 1:
        raise UnreadableFile("locked", "This file has a password.")
    if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnreadableFile("broken")


def _type_in_rows(name: str) -> str:
    """The type of a part that is read row by row; "" for one that is read whole."""
    if name.endswith(".rels"):
        return ""
    return next((IN_ROWS[one] for one in IN_ROWS if name.startswith(one)), "")


def _check_types(content: bytes) -> None:
    """Refuse what has the name of a sheet and is to be read as something else."""
    for one in ElementTree.fromstring(content).iter():  # noqa: S314 -- has no entities
        wanted = _type_in_rows(one.get("PartName", "").lstrip("/"))
        if wanted and not one.get("ContentType", "").endswith(wanted):
            raise _bomb()


def _xml(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bytes:
    """Unpack a part; refuse entities, and encodings in which they could hide."""
    with archive.open(part) as unpacked:
        content = unpacked.read(part.file_size)
    if b"\0" in content or b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise UnreadableFile("entities")
    return content


def _from_rows(
    rows: Iterator[tuple[object, ...]],
    is_header: Callable[[tuple[str, ...]], bool],
    most: int | None,
) -> Table | None:
    above: list[Line] = []
    header = None
    below: list[Line] = []
    for number, row in enumerate(rows, 1):
        if number > ROW_LIMIT:
            raise _too_many_rows()
        line = Line(number, tuple(_value(cell) for cell in row))
        if header is not None:
            below.append(line)
            if len(below) == most:
                break
        elif is_header(tuple(c if isinstance(c, str) else "" for c in line.cells)):
            header = line
        elif number >= HEADER_WITHIN:
            return None
        else:
            above.append(line)
    if header is None:
        return None
    return Table(tuple(above), header, tuple(below))


def _value(cell: object) -> Cell:
    if isinstance(cell, bool) or cell is None:
        return "" if cell is None else str(cell).lower()
    if isinstance(cell, datetime):
        return cell.replace(tzinfo=None)
    if isinstance(cell, int):
        return Decimal(cell)
    if isinstance(cell, float):
        # The shortest digits that mean this float are those a person typed.
        return Decimal(repr(cell)) if math.isfinite(cell) else ""
    return _cell(cell if isinstance(cell, str) else f"={getattr(cell, 'text', '')}")


def _cell(text: str) -> str:
    """Return the text without blanks around it and what no database stores."""
    plain = re.sub(r"[\0\ud800-\udfff]", "", text)
    return plain.replace("\N{NO-BREAK SPACE}", " ").strip()[:CELL_LIMIT]
