"""Payments made by hand, as C2B notices tell them."""

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given

from payments.notices_c2b import C2bPayment, parse_c2b
from payments.readings import LARGEST, RECEIPT, Malformed
from tests.support import outside


# Shape: portal page CustomerToBusinessRegisterURL, December 2025; values are ours.
DOCUMENT = {
    "TransactionType": "Pay Bill",
    "TransID": "UAE5B2K9QT",
    "TransTime": "20260114093031",
    "TransAmount": "250.00",
    "BusinessShortCode": "600984",
    "BillRefNumber": "K7Q2M9",
    "InvoiceNumber": "",
    "OrgAccountBalance": "10250.00",
    "ThirdPartyTransID": "",
    "MSISDN": "2547 ***** 149",
    "FirstName": "JANE",
    "MiddleName": "",
    "LastName": "",
}
PAID = C2bPayment(
    receipt="UAE5B2K9QT",
    amount=Decimal(250),
    shortcode="600984",
    reference="K7Q2M9",
    msisdn="2547 ***** 149",
    paid_at=datetime(2026, 1, 14, 6, 30, 31, tzinfo=UTC),
    type="Pay Bill",
    name="JANE",
)


def body(**changes):
    document = DOCUMENT | changes
    return json.dumps({k: v for k, v in document.items() if v is not ...}).encode()


def changed(**facts):
    return C2bPayment(**{n: getattr(PAID, n) for n in C2bPayment.__slots__} | facts)


def test_the_documented_notice_is_read():
    assert parse_c2b(body()) == PAID


def test_a_validation_has_the_same_shape():
    assert parse_c2b(body(OrgAccountBalance="")) == PAID


def test_a_till_payment_has_another_type_and_no_reference():
    notice = body(TransactionType="Customer Merchant Payment", BillRefNumber="")

    assert parse_c2b(notice) == changed(type="Customer Merchant Payment", reference="")


@pytest.mark.parametrize("kind", ["Never Heard Of", "", None, 7, ...], ids=repr)
def test_an_unknown_type_is_a_payment(kind):
    told = kind if isinstance(kind, str) else ""

    assert parse_c2b(body(TransactionType=kind)) == changed(type=told)


@pytest.mark.parametrize(
    "msisdn",
    [
        "254708374149",
        "2547 ***** 149",
        "25470****149",
        hashlib.sha256(b"254708374149").hexdigest(),
    ],
    ids=["full", "new mask", "old mask", "hash"],
)
def test_a_number_is_kept_as_it_came(msisdn):
    assert parse_c2b(body(MSISDN=msisdn)) == changed(msisdn=msisdn)


def test_a_number_may_be_a_number():
    assert parse_c2b(body(MSISDN=254708374149)).msisdn == "254708374149"


@pytest.mark.parametrize(
    ("sent", "amount"),
    [
        ("250.00", Decimal(250)),
        ("10", Decimal(10)),
        (250, Decimal(250)),
        ("250.50", Decimal("250.50")),
        ("1", Decimal(1)),
    ],
)
def test_an_amount_is_exact(sent, amount):
    assert parse_c2b(body(TransAmount=sent)) == changed(amount=amount)


def test_a_float_keeps_its_digits():
    raw = body().decode().replace('"250.00"', "1053.10").encode()

    assert parse_c2b(raw).amount == Decimal("1053.10")


@pytest.mark.parametrize(
    "sent",
    ["0", "-1", "1,000.00", "KES 10", "", None, [], True, "1e3", 10**30, "٣", ...],
    ids=repr,
)
def test_without_an_amount_it_is_malformed(sent):
    with pytest.raises(Malformed, match="no TransAmount"):
        parse_c2b(body(TransAmount=sent))


@pytest.mark.parametrize("sent", ["", "short", "x" * 13, 7, None, "UAE5-B2K9", ...])
def test_without_a_receipt_it_is_malformed(sent):
    with pytest.raises(Malformed, match="no TransID"):
        parse_c2b(body(TransID=sent))


def test_a_receipt_is_in_capitals():
    assert parse_c2b(body(TransID=" uae5b2k9qt ")).receipt == "UAE5B2K9QT"


@pytest.mark.parametrize("sent", ["", "abc", "123456789", None, True, ...], ids=repr)
def test_without_a_shortcode_it_is_malformed(sent):
    with pytest.raises(Malformed, match="no BusinessShortCode"):
        parse_c2b(body(BusinessShortCode=sent))


def test_a_shortcode_may_be_a_number():
    assert parse_c2b(body(BusinessShortCode=600984)) == PAID


@pytest.mark.parametrize(
    ("typed", "kept", "key"),
    [
        ("k7q2m9", "k7q2m9", "K7Q2M9"),
        ("  K7 Q2-M9. ", "K7 Q2-M9.", "K7Q2M9"),
        ("mama njeri", "mama njeri", "MAMANJERI"),
        (12345, "12345", "12345"),
        ("=1+1", "=1+1", "11"),
        ("a\0b", "ab", "AB"),
        ("ß" * 60, "ß" * 40, "S" * 80),
        (None, "", ""),
        (..., "", ""),
    ],
    ids=repr,
)
def test_a_reference_is_what_a_person_typed(typed, kept, key):
    payment = parse_c2b(body(BillRefNumber=typed))

    assert payment == changed(reference=kept)
    assert payment.reference_key == key


@pytest.mark.parametrize("sent", ["", "20261314093031", "yesterday", None, 7, ...])
def test_a_time_that_cannot_be_read_loses_no_money(sent):
    assert parse_c2b(body(TransTime=sent)) == changed(paid_at=None)


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (("JANE", "", "DOE"), "JANE DOE"),
        (("", "", ""), ""),
        ((None, 7, []), ""),
        (("J\0ANE", "\ud800", ""), "JANE ?"),
        (("x" * 300, "y", ""), "x" * 120),
    ],
    ids=repr,
)
def test_names_are_joined(names, name):
    first, middle, last = names
    notice = body(FirstName=first, MiddleName=middle, LastName=last)

    assert parse_c2b(notice) == changed(name=name)


def test_the_id_we_gave_in_the_validation_comes_back():
    assert parse_c2b(body(ThirdPartyTransID="7f3a")) == changed(third_party_id="7f3a")


def test_two_amounts_are_malformed():
    raw = body().replace(b"{", b'{"TransAmount": "1.00", ', 1)

    with pytest.raises(Malformed, match="two values for 'TransAmount'"):
        parse_c2b(raw)


@pytest.mark.parametrize(
    "raw",
    [b"", b"null", b"[]", b"{}", b"7", b'"x"', b"\xff", b"[" * 65_000,
     body()[:-3], body().replace(b'"250.00"', b"NaN"), b"<html>"],
    ids=lambda raw: repr(raw[:20]),
)  # fmt: skip
def test_anything_else_is_malformed(raw):
    with pytest.raises(Malformed):
        parse_c2b(raw)


@given(outside.anything(DOCUMENT))
def test_no_body_breaks_the_parser(raw):
    try:
        payment = parse_c2b(raw)
    except Malformed:
        return
    assert RECEIPT.fullmatch(payment.receipt)
    assert 0 < payment.amount < LARGEST
    for text in (payment.reference, payment.msisdn, payment.type, payment.name):
        assert outside.storable(text)
