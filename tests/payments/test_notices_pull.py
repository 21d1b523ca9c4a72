"""Pages of Pull Transactions."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given

from payments.notices_pull import BadPullRow, PullPage, PullRow, parse_pull
from payments.readings import LARGEST, RECEIPT, Malformed
from tests.support import outside


# Shape: portal page PullTransaction and real clients.
ROW = {
    "transactionId": "UAE5B2K9QT",
    "trxDate": "2026-01-14T06:30:31Z",
    "msisdn": 254708374149,
    "sender": "MPESA",
    "transactiontype": "c2b-pay-bill-debit",
    "billreference": "K7Q2M9",
    "amount": "250.00",
    "organizationname": "DUKA",
}
READ = PullRow(
    receipt="UAE5B2K9QT",
    amount=Decimal(250),
    reference="K7Q2M9",
    msisdn="254708374149",
    type="c2b-pay-bill-debit",
    sender="MPESA",
    times=(
        datetime(2026, 1, 14, 3, 30, 31, tzinfo=UTC),
        datetime(2026, 1, 14, 6, 30, 31, tzinfo=UTC),
    ),
)
DOCUMENT = {
    "ResponseRefID": "26178-42530161-2",
    "ResponseCode": "1000",
    "ResponseMessage": "Success",
    "Response": [[ROW]],
}


def page(response, **changes):
    return json.dumps(DOCUMENT | {"Response": response} | changes).encode()


def row(**changes):
    changed = {k: v for k, v in (ROW | changes).items() if v is not ...}
    [found] = parse_pull(page([[changed]])).rows
    return found


def as_read(**facts):
    return PullRow(**{n: getattr(READ, n) for n in PullRow.__slots__} | facts)


@pytest.mark.parametrize(
    "response", [[[ROW]], [ROW], ROW, [[], [ROW]]], ids=["real", "flat", "one", "odd"]
)
def test_rows_are_found_however_they_are_nested(response):
    assert parse_pull(page(response)) == PullPage("1000", (READ,))


@pytest.mark.parametrize("response", [[[]], [], None, ""], ids=repr)
def test_none_found_is_an_empty_page(response):
    found = parse_pull(page(response, ResponseCode="1001"))

    assert found == PullPage("1001")
    assert found.length == 0


def test_a_code_may_be_a_number():
    assert parse_pull(page([[ROW]], ResponseCode=1000)).rows == (READ,)


def test_an_amount_may_be_a_number():
    raw = page([[ROW]]).replace(b'"250.00"', b"1053.10")

    assert parse_pull(raw).rows == (as_read(amount=Decimal("1053.10")),)


@pytest.mark.parametrize(
    ("msisdn", "kept"),
    [
        (72200000, "72200000"),
        ("254708374149", "254708374149"),
        ("2547****149", "2547****149"),
        (None, ""),
        (..., ""),
    ],
)
def test_a_number_has_any_length(msisdn, kept):
    assert row(msisdn=msisdn) == as_read(msisdn=kept)


@pytest.mark.parametrize(
    "stamp",
    ["2026-01-14T06:30:31Z", "2026-01-14 06:30:31", "2026-01-14T06:30:31.000Z"],
)
def test_a_stamp_may_be_either_of_two_moments(stamp):
    assert row(trxDate=stamp) == READ


@pytest.mark.parametrize(
    "stamp",
    ["", "2026-13-14T06:30:31Z", "0001-01-01T00:00:00Z", "soon", 7, None, ...],
    ids=repr,
)
def test_a_stamp_that_cannot_be_read_loses_no_money(stamp):
    assert row(trxDate=stamp) == as_read(times=())


def test_a_reference_has_a_key():
    assert row(billreference=" k7 q2-m9").reference_key == "K7Q2M9"


def test_a_bad_row_is_told_by_its_place_and_spoils_no_other():
    bad = [ROW | {"transactionId": ""}, ROW, ROW | {"amount": "-5"}, 7]

    found = parse_pull(page([bad]))

    assert found == PullPage(
        "1000",
        (READ,),
        (
            BadPullRow(0, "no transactionId"),
            BadPullRow(2, "no amount"),
            BadPullRow(3, "no object"),
        ),
    )
    assert found.length == 4


@pytest.mark.parametrize("code", ["400.001", "401.001", "0", None, True, ""], ids=repr)
def test_a_refusal_is_malformed(code):
    with pytest.raises(Malformed):
        parse_pull(page([[ROW]], ResponseCode=code))


def test_too_many_rows_are_malformed():
    with pytest.raises(Malformed, match="too many rows"):
        parse_pull(page([[0] * 20_001]))


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{}", b"null", page("x"), page(7), page(True),
     page([[ROW]]).replace(b'"250.00"', b"NaN"),
     page([[ROW]]).replace(b'"amount"', b'"amount": "1", "amount"')],
    ids=lambda raw: repr(raw[:20]),
)  # fmt: skip
def test_anything_else_is_malformed(raw):
    with pytest.raises(Malformed):
        parse_pull(raw)


@given(outside.anything(DOCUMENT))
def test_no_body_breaks_the_parser(raw):
    try:
        found = parse_pull(raw)
    except Malformed:
        return
    for one in found.rows:
        assert RECEIPT.fullmatch(one.receipt)
        assert 0 < one.amount < LARGEST
        assert outside.storable(one.reference + one.msisdn + one.type + one.sender)
