"""M-Pesa organisation statements, as CSV and as XLSX."""

import csv
import io
import time
from datetime import UTC, datetime
from decimal import Decimal

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.readings import Party
from payments.spreadsheets import UnreadableFile
from payments.statements import BadRow, RowKind, Statement, StatementRow, parse


HEADER = (
    "Receipt No.", "Completion Time", "Initiation Time", "Details",
    "Transaction Status", "Paid In", "Withdrawn", "Balance", "Balance Confirmed",
    "Reason Type", "Other Party Info", "Linked Transaction ID", "A/C No.",
)  # fmt: skip
PREAMBLE = (
    ("Account Holder:", "DUKA LIMITED"),
    ("Short Code:", "600984"),
    ("Account:", "Utility Account"),
    ("Time Period:", "From 14-01-2026 00:00:00 To 14-01-2026 23:59:59"),
    (),
)
PAID = (
    "UAE5B2K9QT", "14-01-2026 09:30:31", "14-01-2026 09:30:28",
    "Pay Bill Online from 254708374149 - JANE DOE Acc. K7Q2M9", "Completed",
    "1,250.00", "", "10,250.00", "true", "Pay Bill Online",
    "2547****149 - JANE DOE", "", "K7Q2M9",
)  # fmt: skip
READ = StatementRow(
    line=7,
    kind=RowKind.PAYMENT,
    receipt="UAE5B2K9QT",
    completed_at=datetime(2026, 1, 14, 6, 30, 31, tzinfo=UTC),
    paid_in=Decimal(1250),
    withdrawn=None,
    details="Pay Bill Online from 254708374149 - JANE DOE Acc. K7Q2M9",
    reason="Pay Bill Online",
    reference="K7Q2M9",
    other_party=Party("2547****149", "JANE DOE"),
    initiated_at=datetime(2026, 1, 14, 6, 30, 28, tzinfo=UTC),
    balance=Decimal(10250),
)
JANUARY_14 = (
    datetime(2026, 1, 13, 21, tzinfo=UTC),
    datetime(2026, 1, 14, 21, tzinfo=UTC),
)


def row(**changes):
    """A row of the statement with some cells changed, by column name."""
    names = {name.lower().strip(".").replace(" ", "_"): name for name in HEADER}
    cells = dict(zip(HEADER, PAID, strict=True))
    return tuple((cells | {names[k]: v for k, v in changes.items()}).values())


def as_csv(*rows, preamble=PREAMBLE, header=HEADER, delimiter=","):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([*preamble, header, *rows])
    return out.getvalue().encode()


def as_xlsx(*rows, preamble=PREAMBLE, header=HEADER):
    book = openpyxl.Workbook()
    for cells in [*preamble, header, *rows]:
        book.active.append(cells)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def as_read(**facts):
    values = {name: getattr(READ, name) for name in StatementRow.__slots__}
    return StatementRow(**values | facts)


def statement(*rows, bad=(), skipped=0, repeated=0):
    return Statement(rows, tuple(bad), skipped, repeated, JANUARY_14, "600984")


def only(**changes):
    """Read a statement of one changed row: the row, or the reason against it."""
    found = parse(as_csv(row(**changes)))
    return found.rows[0] if found.rows else found.bad[0].reason


def excel(*parts):
    """A moment as a workbook has it: without a zone."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)


def refused(data):
    with pytest.raises(UnreadableFile) as caught:
        parse(data)
    assert caught.value.message
    return caught.value.details["reason"]


BOTH = pytest.mark.parametrize("written", [as_csv, as_xlsx], ids=["csv", "xlsx"])


@BOTH
def test_a_statement_is_read(written):
    assert parse(written(PAID)) == statement(READ)


@BOTH
def test_only_completed_rows_count(written):
    others = [
        row(transaction_status=word)
        for word in ("Failed", "Cancelled", "Declined", "Expired", "Pending")
    ]

    assert parse(written(*others, PAID)) == statement(as_read(line=12), skipped=5)


REVERSAL = {"details": "Pay Bill Reversal of UAE5B2K9QT", "paid_in": "",
            "withdrawn": "-1,250.00", "reason_type": "Pay Bill Reversal"}  # fmt: skip


@pytest.mark.parametrize("status", ["Pending", "Authorized", "Initiated", "Hazy"])
def test_a_reversal_that_is_not_decided_is_told(status):
    assert only(transaction_status=status, **REVERSAL) == (
        f"a reversal that is {status.lower()}: import the statement again when M-Pesa"
        " has decided it"
    )


@pytest.mark.parametrize("status", ["Declined", "Cancelled", "Expired", "Failed"])
def test_a_reversal_that_ended_undone_does_not_count(status):
    undone = row(transaction_status=status, **REVERSAL)

    assert parse(as_csv(PAID, undone)) == statement(READ, skipped=1)


@pytest.mark.timeout(60)
def test_many_blanks_do_not_take_for_ever():
    slow = row(details="Pay Bill from 1" + " " * 480 + "x")

    found = parse(as_csv(*[slow] * 400))

    assert (found.rows[0].other_party, found.repeated) == (READ.other_party, 399)


@BOTH
def test_a_statement_without_rows_covers_its_time_all_the_same(written):
    found = parse(written())

    assert found == statement()
    assert found.span is None


@BOTH
def test_bad_rows_are_told_by_line_and_spoil_no_other(written):
    found = parse(
        written(
            row(receipt_no="?"),
            PAID,
            row(paid_in="lots"),
            row(completion_time="14-01-2026"),
        )
    )

    assert found == statement(
        as_read(line=8),
        bad=[
            BadRow(7, "the receipt number is none"),
            BadRow(9, "the amount paid in is no sum of money"),
            BadRow(10, "the completion time is no date with a time"),
        ],
    )


@BOTH
def test_blank_rows_totals_and_a_second_header_are_no_rows(written):
    total = ("", "", "", "Totals", "", "1,785.00", "15.00")

    found = parse(written((), PAID, HEADER, total))

    assert found.rows == (as_read(line=8),)
    assert found.bad == ()
    assert found.skipped == 2


@BOTH
def test_a_row_that_stands_twice_counts_once(written):
    assert parse(written(PAID, PAID)) == statement(READ, repeated=1)


@BOTH
def test_two_payments_with_one_receipt_are_both_bad(written):
    found = parse(written(PAID, row(paid_in="1.00"), row(receipt_no="UAE5B2K9QX")))

    assert found == statement(
        as_read(line=9, receipt="UAE5B2K9QX"),
        bad=[
            BadRow(7, "another payment has this receipt number"),
            BadRow(8, "another payment has this receipt number"),
        ],
    )


def test_a_charge_has_the_receipt_of_its_payment():
    charge = row(
        details="Pay Bill Charge", paid_in="", withdrawn="-5.00", reason_type=""
    )

    found = parse(as_csv(PAID, charge))

    assert [(r.receipt, r.kind, r.amount) for r in found.rows] == [
        ("UAE5B2K9QT", RowKind.PAYMENT, Decimal(1250)),
        ("UAE5B2K9QT", RowKind.CHARGE, Decimal(5)),
    ]
    assert found.payments == (READ,)


# What a row is.


@pytest.mark.parametrize(
    ("details", "reason", "kind"),
    [
        ("Pay Bill Online from 2547****149 - JANE Acc. X", "", RowKind.PAYMENT),
        ("Pay Bill from 2547****149 - Acc. R-000001", "", RowKind.PAYMENT),
        ("Customer Merchant Payment from 2547****149", "", RowKind.PAYMENT),
        ("Merchant Payment Online from 2547****149", "", RowKind.PAYMENT),
        ("Pay Merchant", "Customer Buy Goods Online", RowKind.PAYMENT),
        ("Something new", "Pay Bill Online", RowKind.PAYMENT),
        ("Pay Bill Online", "Something new", RowKind.PAYMENT),
        ("Pay Bill", "Pay Utility", RowKind.PAYMENT),
        ("Funds received from KCB", "Organization Settlement", RowKind.SWEEP),
        ("Utility Account to Organization Settlement Account", "", RowKind.SWEEP),
        ("Pay Bill Reversal", "Pay Bill Reversal", RowKind.REVERSAL),
        ("Refund of charges", "Business Pay Bill Charge", RowKind.CHARGE),
        ("Business Payment from 600111", "", RowKind.OTHER),
        ("", "", RowKind.OTHER),
    ],
)
def test_money_that_came_is_a_payment_only_by_the_words_for_it(details, reason, kind):
    assert only(details=details, reason_type=reason).kind is kind


@pytest.mark.parametrize(
    ("details", "reason", "kind"),
    [
        ("Organization Settle to Bank", "Withdraw Funds to Bank", RowKind.SWEEP),
        ("Merchant Account to Organization Settlement Account", "", RowKind.SWEEP),
        ("Agency Withdrawal of funds to Bank", "", RowKind.SWEEP),
        ("Pay merchant Charge", "", RowKind.CHARGE),
        ("Business Pay Bill Charge", "Business Pay Bill Charge", RowKind.CHARGE),
        ("Pay Bill Reversal", "", RowKind.REVERSAL),
        ("Transaction reversed by 254700000000", "", RowKind.REVERSAL),
        ("Something", "Customer Merchant Payment Reversal", RowKind.REVERSAL),
        ("Business Payment to Customer", "", RowKind.OTHER),
        ("Pay Bill Online", "", RowKind.OTHER),
    ],
)
def test_money_that_went_is_never_a_payment(details, reason, kind):
    found = only(details=details, reason_type=reason, paid_in="", withdrawn="30.00")

    assert found.kind is kind
    assert (found.paid_in, found.withdrawn) == (None, Decimal(30))


@pytest.mark.parametrize(
    "typed", ["REVERSAL", "CHARGE", "bank", "Reversed - FEES LTD", "SETTLE TO BANK"]
)
@pytest.mark.parametrize("reason", ["Pay Bill Online", ""])
def test_what_a_customer_types_does_not_change_what_a_row_is(typed, reason):
    details = f"Pay Bill Online from 254708374149 - {typed} Acc. {typed}"

    found = only(details=details, reason_type=reason, **{"a/c_no": typed})

    assert found.kind is RowKind.PAYMENT


def test_a_reversal_names_what_it_undoes():
    found = only(
        receipt_no="UAE7C3M1RV",
        details="Pay Bill Reversal",
        paid_in="",
        withdrawn="-1,250.00",
        linked_transaction_id="uae5b2k9qt",
    )

    assert (found.kind, found.linked) == (RowKind.REVERSAL, "UAE5B2K9QT")
    assert found.withdrawn == Decimal(1250)


def test_payer_and_reference_may_stand_in_the_details_only():
    header = HEADER[:8]

    found = parse(as_csv(PAID[:8], header=header))

    assert found.rows == (
        as_read(reason="", other_party=Party("254708374149", "JANE DOE")),
    )


# Cells.


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("1,250.00", Decimal(1250)),
        ("1250", Decimal(1250)),
        ("1,000,000.55", Decimal("1000000.55")),
        ("KES 10.5", Decimal("10.5")),
        ("Ksh1,250.00", Decimal(1250)),
        ("+5.00", Decimal(5)),
    ],
)
def test_a_sum_is_exact(written, amount):
    assert only(paid_in=written).paid_in == amount


@pytest.mark.parametrize(
    "written",
    ["1.250,00", "1,25", "10,0000", "1e3", "12.345", "=1+1", "#REF!", "٣", "1 250",
     "1" * 13, "NaN", "1,250.00.00", "0x10", "(5.00)", "--5"],
)  # fmt: skip
def test_a_sum_that_is_not_clear_is_told(written):
    assert only(paid_in=written) == "the amount paid in is no sum of money"


@pytest.mark.parametrize(
    ("paid_in", "withdrawn", "reason"),
    [
        ("", "", "neither paid in nor withdrawn"),
        ("-5.00", "", "the amount paid in is below zero"),
        ("5.00", "5.00", "both paid in and withdrawn"),
        ("", "x", "the amount withdrawn is no sum of money"),
    ],
)
def test_sums_that_contradict_are_told(paid_in, withdrawn, reason):
    assert only(paid_in=paid_in, withdrawn=withdrawn) == reason


@BOTH
@pytest.mark.parametrize("zero", ["0.00", "0"])
def test_a_row_of_zero_is_skipped(written, zero):
    assert parse(written(row(paid_in=zero, withdrawn=zero))) == statement(skipped=1)


@pytest.mark.parametrize(
    "written",
    ["14-01-2026 09:30:31", "14/01/2026 09:30:31", "14.01.2026 09:30:31",
     "2026-01-14 09:30:31", "2026-01-14T09:30:31", "2026-01-14 09:30:31.000",
     "14-1-2026 9:30:31", "14-01-2026 09:30:31 AM", "14-01-2026  09:30:31"],
)  # fmt: skip
def test_a_moment_is_day_first_and_east_africa_time(written):
    assert only(completion_time=written) == READ


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("03-02-2026 10:15", datetime(2026, 2, 3, 7, 15, tzinfo=UTC)),
        ("03/02/2026 12:05:00 AM", datetime(2026, 2, 2, 21, 5, tzinfo=UTC)),
        ("03/02/2026 12:05 PM", datetime(2026, 2, 3, 9, 5, tzinfo=UTC)),
    ],
)
def test_a_moment_may_lack_seconds_or_have_two_halves(written, moment):
    assert only(completion_time=written).completed_at == moment


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("15:50", "the completion time is no date with a time"),
        ("14-01-2026", "the completion time is no date with a time"),
        ("14-01/2026 09:30", "the completion time is no date with a time"),
        ("14-01-26 09:30", "the completion time is no date with a time"),
        ("", "the completion time is no date with a time"),
        ("31-02-2026 09:30", "there is no such day"),
        ("14-01-2026 25:30", "there is no such time"),
        ("14-01-2026 13:30 PM", "there is no such time"),
        ("14-01-1926 09:30", "the year cannot be"),
    ],
)
def test_a_moment_that_is_not_clear_is_told(written, reason):
    assert only(completion_time=written) == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"transaction_status": ""}, "no transaction status"),
        ({"receipt_no": ""}, "the receipt number is none"),
        ({"receipt_no": "UAE5-B2K9"}, "the receipt number is none"),
        ({"receipt_no": '="UAE5B2K9QT"'}, "the receipt number is none"),
        ({"initiation_time": "x"}, "the initiation time is no date with a time"),
        ({"balance": "x"}, "the balance is no sum of money"),
        ({"details": "two\nlines"}, "a line break inside a cell"),
    ],
    ids=repr,
)
def test_other_odd_cells_are_told(changes, reason):
    assert only(**changes) == reason


def test_a_comma_without_quotes_moves_cells_and_is_told():
    data = as_csv(PAID).replace(b'"1,250.00"', b"1,250.00")

    assert parse(data).bad == (BadRow(7, "more cells than columns"),)


def test_missing_cells_at_the_end_are_empty():
    found = parse(as_csv(PAID[:10]))

    assert found.rows == (as_read(other_party=Party("254708374149", "JANE DOE")),)


# The kinds of CSV.


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_encoding_is_found(encoding):
    data = as_csv(row(other_party_info="2547****149 - ANDRÉ")).decode()

    [found] = parse(data.encode(encoding)).rows

    assert found.other_party == Party("2547****149", "ANDRÉ")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_found(delimiter):
    assert parse(as_csv(PAID, delimiter=delimiter)) == statement(READ)


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_every_line_break_counts(line_break):
    data = as_csv(PAID, row(paid_in="x")).decode().replace("\r\n", line_break)

    found = parse(data.encode())

    assert found.rows == (READ,)
    assert [bad.line for bad in found.bad] == [8]


def test_a_preamble_may_hold_any_quotation_marks():
    preamble = b'Account Holder:,"DUKA" LTD "\n'

    found = parse(preamble + as_csv(PAID))

    assert found.rows == (as_read(line=8),)


@pytest.mark.parametrize("broken", ['"Pay Bill Online', '"Pay" Bill Online from'])
def test_marks_that_do_not_fit_swallow_no_rows(broken):
    data = as_csv(PAID, row(details="HERE"), PAID)

    with pytest.raises(UnreadableFile, match="Line 8 cannot") as caught:
        parse(data.replace(b"HERE", broken.encode()))

    assert caught.value.details["reason"] == "quotes"


def test_a_mark_inside_a_cell_is_a_mark():
    data = as_csv(row(details="HERE")).replace(b"HERE", b'Pay" Bill')

    assert parse(data).rows == (as_read(details='Pay" Bill'),)


def test_columns_may_stand_in_any_order_and_spelling():
    shuffled = HEADER[::-1]
    header = [name.upper().replace(".", "") for name in shuffled]

    assert parse(as_csv(PAID[::-1], header=header)) == statement(READ)


def test_a_column_that_stands_twice_is_refused():
    data = as_csv((*PAID, "1.00"), header=(*HEADER, "Paid in"))

    assert refused(data) == "columns"


@pytest.mark.parametrize("missing", ["Receipt No.", "Transaction Status", "Paid In"])
def test_without_its_columns_a_file_is_refused(missing):
    data = as_csv(PAID, header=[name for name in HEADER if name != missing])

    assert refused(data) == "no_header"


# The preamble.


@pytest.mark.parametrize(
    ("line", "covers"),
    [
        (("Time Period:", "01-01-2026 - 31-01-2026"), ("2025-12-31", "2026-01-31")),
        (("Period", "01/01/2026 to 31/01/2026"), ("2025-12-31", "2026-01-31")),
        (("From 2026-01-01 To 2026-01-31",), ("2025-12-31", "2026-01-31")),
        (("From: 01-01-2026", "To: 31-01-2026"), ("2025-12-31", "2026-01-31")),
    ],
)
def test_the_preamble_says_what_time_it_covers(line, covers):
    first, end = (datetime.fromisoformat(f"{day}T21:00:00+00:00") for day in covers)

    assert parse(as_csv(PAID, preamble=[line])).covers == (first, end)


@pytest.mark.parametrize(
    "line",
    [("Period", "31-01-2026 - 01-01-2026"), ("Period", "99-01-2026 - 01-01-2026"),
     ("Downloaded", "01-01-2026"), ("Time Period:", "January")],
)  # fmt: skip
def test_a_preamble_without_a_clear_time_covers_none(line):
    found = parse(as_csv(PAID, preamble=[line]))

    assert found.covers is None
    assert found.span == (READ.completed_at, READ.completed_at)


@pytest.mark.parametrize(
    ("line", "shortcode"),
    [
        (("Short Code:", "600984"), "600984"),
        (("ShortCode: 600984",), "600984"),
        (("Paybill", "600984"), "600984"),
        (("Till Number:", "5123456"), "5123456"),
        (("Account Holder:", "600984"), ""),
        (("Short Code:", "12345678"), ""),
    ],
)
def test_the_preamble_names_the_account(line, shortcode):
    assert parse(as_csv(PAID, preamble=[line])).shortcode == shortcode


# Files that a spreadsheet has changed.


def test_dates_written_month_first_are_refused():
    data = as_csv(PAID, row(completion_time="1/14/2026 9:30"))

    assert refused(data) == "month_first"


def test_dates_of_which_some_stayed_text_are_refused():
    turned = row(completion_time=excel(2026, 2, 1, 9, 30))

    assert refused(as_xlsx(PAID, turned)) == "month_first"


@pytest.mark.parametrize("day", [excel(2026, 3, 2, 9, 30), excel(2026, 1, 12, 23, 59)])
def test_dates_outside_of_the_files_own_time_are_refused(day):
    """All of them are dates, and days up to the twelfth are months as well."""
    preamble = (("Period:", "From 03-02-2026 00:00:00 To 03-02-2026 23:59:59"), ())
    turned = row(completion_time=day, initiation_time=day)
    assert refused(as_xlsx(turned, preamble=preamble)) == "month_first"

    right = row(completion_time=excel(2026, 2, 3, 9, 30))
    assert len(parse(as_xlsx(right, preamble=preamble)).rows) == 1
    assert len(parse(as_xlsx(turned, preamble=((),))).rows) == 1


def test_cells_of_a_workbook_may_be_numbers_and_dates():
    cells = row(
        completion_time=excel(2026, 1, 14, 9, 30, 30, 999000),
        initiation_time=excel(2026, 1, 14, 9, 30, 28),
        paid_in=1250.0,
        balance=10250,
        **{"a/c_no": 700123},
    )

    assert parse(as_xlsx(cells)) == statement(as_read(reference="700123"))


@BOTH
@pytest.mark.parametrize(
    ("written_as", "balance"),
    [(0, Decimal(0)), ("0.00", Decimal(0)), ("-5.00", Decimal(-5)), ("", None)],
)
def test_a_balance_of_zero_is_zero(written, written_as, balance):
    assert parse(written(row(balance=written_as))).rows == (as_read(balance=balance),)


@pytest.mark.parametrize(
    ("number", "amount"),
    [(0.1, "0.1"), (1053.1, "1053.1"), (12345678.99, "12345678.99")],
)
def test_a_number_of_a_workbook_keeps_its_digits(number, amount):
    [found] = parse(as_xlsx(row(paid_in=number))).rows

    assert found.paid_in == Decimal(amount)


@pytest.mark.parametrize("number", [0.123, 1e300, 10**13, -5, True])
def test_a_number_that_is_no_sum_is_told(number):
    found = parse(as_xlsx(row(paid_in=number)))

    assert found.rows == ()
    assert len(found.bad) == 1


def test_a_date_of_a_workbook_before_mpesa_is_told():
    found = parse(as_xlsx(row(completion_time=excel(1999, 1, 14, 9, 30))))

    assert found.bad == (BadRow(7, "the completion time is no date"),)


@pytest.mark.parametrize("column", ["paid_in", "receipt_no", "completion_time"])
def test_a_formula_is_text_and_never_a_value(column):
    found = parse(as_xlsx(row(**{column: "=1+1"}), PAID))

    assert found.rows == (as_read(line=8),)
    assert [bad.line for bad in found.bad] == [7]


def test_a_formula_in_a_text_column_stays_text():
    [found] = parse(as_xlsx(row(**{"a/c_no": '=HYPERLINK("http://x")'}))).rows

    assert found.reference == '=HYPERLINK("http://x")'


def test_the_sheet_with_the_columns_is_found():
    book = openpyxl.Workbook()
    book.active.append(["Cover"])
    for cells in [*PREAMBLE, HEADER, PAID]:
        if "Rows" not in book.sheetnames:
            book.create_sheet("Rows")
        book["Rows"].append(cells)
    out = io.BytesIO()
    book.save(out)

    assert parse(out.getvalue()) == statement(READ)


# Size and noise.


def test_ten_thousand_rows_are_read_within_seconds():
    rows = [row(receipt_no=f"UAE{number:07}") for number in range(10_000)]
    data = as_csv(*rows)

    start = time.monotonic()
    found = parse(data)

    assert len(found.payments) == 10_000
    assert time.monotonic() - start < 10


TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
ROWS = st.lists(
    st.tuples(*(st.just(cell) | TEXT for cell in PAID)) | st.lists(TEXT), max_size=5
)


@given(ROWS)
def test_no_rows_break_it(rows):
    try:
        found = parse(as_csv(*rows))
    except UnreadableFile:
        return
    for one in found.rows:
        assert one.amount > 0
        assert (one.paid_in is None) is not (one.withdrawn is None)


@given(st.binary() | st.binary().map(lambda noise: as_csv(PAID) + noise))
def test_no_bytes_break_it(data):
    try:
        found = parse(data)
    except UnreadableFile:
        return
    assert READ in found.rows or found.bad
