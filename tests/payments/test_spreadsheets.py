"""Files that are no table, or traps."""

import io
import struct
import tracemalloc
import zipfile

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments import spreadsheets
from payments.spreadsheets import Line, Table, UnreadableFile, read_table


SHEET = "xl/worksheets/sheet1.xml"


def is_header(cells):
    return cells[:2] == ("A", "B")


def refused(data):
    with pytest.raises(UnreadableFile) as caught:
        read_table(data, is_header)
    assert caught.value.message
    return caught.value.details["reason"]


@pytest.fixture
def little_memory():
    """What is inside a bomb of 60 MB never lies unpacked in memory."""
    tracemalloc.start()
    yield
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 30_000_000


def workbook(*rows):
    book = openpyxl.Workbook()
    for row in [("A", "B"), *rows]:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


GOOD = workbook(("1", "2"), (3, 4.5))
PADDING = b" " * 60_000_000


def rebuilt(data, change=None, extra=(), compression=zipfile.ZIP_DEFLATED):
    """Return a workbook with `change(name, content)` done to its parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        parts = [(name, old.read(name)) for name in old.namelist()]
    with zipfile.ZipFile(out, "w", compression) as new:
        for name, content in [*parts, *extra]:
            new.writestr(name, change(name, content) if change else content)
    return out.getvalue()


def with_sheet(xml):
    """Return a workbook whose sheet has these rows as XML."""
    head = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    text = head + xml + b"</sheetData></worksheet>"
    return rebuilt(workbook(), lambda name, old: text if name == SHEET else old)


def cells(row, *pairs):
    """Return one row as XML: reference and text of each cell."""
    inside = "".join(
        f'<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>'
        for reference, text in pairs
    )
    return f'<row r="{row}">{inside}</row>'.encode()


HEADER = cells(1, ("A1", "A"), ("B1", "B"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no_header"),
        (b"A\nB\n", "no_header"),
        (b"%PDF-1.7 ...", "pdf"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 600, "old_or_locked"),
        (b"A,B\n1,\0\n", "not_text"),
        (b"A,B\n\x81\n", "not_text"),
        (b"PK\x03\x04", "broken"),
        (b"PK\x03\x04" + b"x" * 600, "broken"),
        (workbook()[:-30], "broken"),
        (b"\xff\xfeA", "no_header"),
        (b"x\n" * 200 + b"A,B\n", "no_header"),
        (b"A,B\n" + b"x" * 200_000, "quotes"),
    ],
    ids=lambda value: repr(value[:16]),
)
def test_what_is_no_table_is_refused(data, reason):
    assert refused(data) == reason


def test_a_table_has_its_lines_above_and_below():
    table = read_table(b"Made by,us\n\nA,B\n1,2\n", is_header)

    assert table == Table(
        above=(Line(1, ("Made by", "us")), Line(2, ())),
        header=Line(3, ("A", "B")),
        lines=(Line(4, ("1", "2")),),
    )


def test_a_file_that_is_too_large_is_not_looked_at():
    assert refused(b"A,B\n" + b" " * spreadsheets.FILE_LIMIT) == "too_large"


@pytest.mark.parametrize("rows", [spreadsheets.ROW_LIMIT, 5 * spreadsheets.ROW_LIMIT])
def test_a_csv_of_too_many_rows_is_refused(rows):
    assert refused(b"A,B\n" + b"1,2\n" * rows) == "too_many_rows"


def test_cells_are_cut_and_cleaned():
    table = read_table(b"A,B\n" + b"x" * 600 + b",\xc2\xa0y \n", is_header)

    assert table.lines == (Line(2, ("x" * spreadsheets.CELL_LIMIT, "y")),)


def test_a_workbook_without_its_parts_is_refused():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("hello.txt", "hello")

    assert refused(out.getvalue()) == "no_workbook"


@pytest.fixture(scope="module")
def bomb():
    """A workbook whose sheet goes on for 60 MB after its end."""
    data = rebuilt(GOOD, lambda name, old: old + PADDING if name == SHEET else old)
    assert len(data) < 100_000
    return data


def test_a_bomb_is_refused_before_it_is_unpacked(bomb, little_memory):
    assert refused(bomb) == "bomb"


def replaced(part, xml):
    """The good workbook with another part of that name."""
    return rebuilt(GOOD, lambda name, old: xml if name == part else old)


MANY = {"of styles": ("xl/styles.xml", b"<cellXfs>" + b"<xf/>" * 1_000_000),
        "of names": ("xl/workbook.xml", b"<definedName/>" * 400_000),
        "of links": ("xl/worksheets/_rels/sheet1.xml.rels", b"<Relationship/>" * 99_999),
        "of empty cells": (SHEET, b"<c/>" * (spreadsheets.TAG_LIMIT + 1))}  # fmt: skip


@pytest.mark.parametrize(("part", "xml"), MANY.values(), ids=MANY)
def test_a_bomb_of_many_little_things_is_refused(part, xml, little_memory):
    """Below the limit of bytes; each of them becomes a thousand bytes."""
    extra = [(part, xml)] if part.endswith(".rels") else []
    data = replaced(part, xml) if not extra else rebuilt(GOOD, extra=extra)
    assert len(data) < 100_000

    assert refused(data) == "bomb"


def test_a_workbook_under_the_name_of_a_sheet_is_refused():
    """It would be read as a whole, however large."""

    def turned(name, old):
        if name == "[Content_Types].xml":
            return old.replace(b"/xl/workbook.xml", b"/xl/worksheets/w.xml")
        return old

    assert refused(rebuilt(GOOD, turned)) == "bomb"


def test_a_bomb_of_many_parts_is_refused():
    parts = [(f"xl/{number}.bin", b"") for number in range(spreadsheets.PART_LIMIT)]

    assert refused(rebuilt(workbook(), extra=parts)) == "bomb"


def claiming(bomb, size, checksum):
    """Return the bomb with another size and checksum of its sheet."""
    with zipfile.ZipFile(io.BytesIO(bomb)) as archive:
        part = archive.getinfo(SHEET)
    real = struct.pack("<III", part.CRC, part.compress_size, part.file_size)
    assert bomb.count(real) == 2
    return bomb.replace(real, struct.pack("<III", checksum, part.compress_size, size))


def test_a_bomb_that_lies_about_its_size_is_not_unpacked_further(bomb, little_memory):
    assert refused(claiming(bomb, 1000, 1)) == "broken"


def test_of_a_bomb_that_lies_well_is_read_what_it_claims(bomb, little_memory):
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        part = archive.getinfo(SHEET)

    table = read_table(claiming(bomb, part.file_size, part.CRC), is_header)

    assert table == read_table(GOOD, is_header)


def test_a_sheet_under_another_name_is_not_read():
    """It would hide from the look at its XML."""

    def renamed(name, old):
        return old.replace(b"sheet1.xml", b"sheet1.bin")

    sheet = zipfile.ZipFile(io.BytesIO(GOOD)).read(SHEET)
    moved = rebuilt(GOOD, renamed, extra=[(SHEET.replace("xml", "bin"), sheet)])

    assert refused(moved) == "no_header"


@pytest.mark.parametrize(
    "start",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        "<!DOCTYPE x>".encode("utf-16"),
    ],
    ids=["laughs", "outside", "hidden"],
)
@pytest.mark.parametrize(
    "part", [SHEET, "xl/workbook.xml", "xl/_rels/workbook.xml.rels"]
)
def test_entities_are_refused(start, part):
    trap = rebuilt(workbook(), lambda name, old: start + old if name == part else old)

    assert refused(trap) == "entities"


def test_a_password_is_told():
    data = bytearray(workbook())
    place = data.rindex(b"PK\x01\x02")
    data[place + 8] |= 1

    assert refused(bytes(data)) == "locked"


def test_a_picture_in_a_workbook_is_no_matter():
    data = rebuilt(GOOD, extra=[("xl/media/logo.png", b"\0<!DOCTYPE")])

    assert [line.number for line in read_table(data, is_header).lines] == [2, 3]


def test_a_header_far_down_is_not_looked_for():
    rows = b"".join(cells(number, (f"A{number}", "x")) for number in range(1, 101))

    assert refused(with_sheet(rows + cells(101, ("A101", "A"), ("B101", "B")))) == (
        "no_header"
    )


def test_a_compression_of_another_kind_is_refused():
    assert refused(rebuilt(workbook(), compression=zipfile.ZIP_BZIP2)) == "broken"


def test_a_row_far_down_does_not_fill_the_memory():
    trap = with_sheet(HEADER + cells(1_048_576, ("A1048576", "1")))

    assert refused(trap) == "too_many_rows"


def test_a_cell_far_to_the_right_is_left_out():
    far = with_sheet(HEADER + cells(2, ("A2", "1"), ("XFD2", "9")))

    [line] = read_table(far, is_header).lines
    assert line == Line(2, ("1",) + ("",) * (spreadsheets.COLUMN_LIMIT - 1))


def test_what_a_sheet_says_of_its_size_is_not_believed():
    def lie(name, content):
        if name != SHEET:
            return content
        assert b'<dimension ref="A1:B3"' in content
        return content.replace(b'ref="A1:B3"', b'ref="A1:A1"')

    table = read_table(rebuilt(workbook(("1", "2"), ("3", "4")), lie), is_header)

    assert [line.cells[:2] for line in table.lines] == [("1", "2"), ("3", "4")]


@pytest.mark.parametrize(
    "xml",
    [b'<row r="x"/>', b"<row>", b'<c r="A1"/>', b'<row r="1"><c r="A1" t="s"><v>99</v></c></row>'],
)  # fmt: skip
def test_a_broken_sheet_is_refused(xml):
    assert refused(with_sheet(xml)) in ("broken", "no_header")


@given(st.data())
def test_no_change_of_a_workbook_breaks_it(data):
    changed = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place] = data.draw(st.integers(0, 255))
    try:
        table = read_table(bytes(changed), is_header)
    except UnreadableFile:
        return
    assert is_header(table.header.cells)


NOISE = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


@given(st.lists(NOISE, max_size=6), st.sampled_from([SHEET, "xl/workbook.xml"]))
def test_no_content_of_a_part_breaks_it(pieces, part):
    inside = "<row>".join(pieces).encode()
    odd = rebuilt(
        GOOD, lambda name, old: old[:200] + inside + old[200:] if name == part else old
    )
    try:
        table = read_table(odd, is_header)
    except UnreadableFile:
        return
    assert is_header(table.header.cells)
