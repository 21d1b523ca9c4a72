"""Outside JSON, whatever it is, becomes a result or is Malformed."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from payments import notices
from payments.notices import Malformed, StkResult, parse_stk
from tests.support import samples


PAID = StkResult(
    merchant_request_id=samples.MERCHANT_ID,
    checkout_request_id=samples.CHECKOUT_ID,
    code="0",
    description="The service request is processed successfully.",
    amount=Decimal(250),
    receipt="UAE5B2K9QT",
    phone="254708374149",
    paid_at=datetime(2026, 1, 14, 6, 30, 31, tzinfo=UTC),
)


def changed(result, **facts):
    values = {name: getattr(result, name) for name in StkResult.__slots__}
    return StkResult(**values | facts)


@pytest.mark.parametrize("name", samples.named("success"))
def test_every_sample_of_a_success_says_the_same(name):
    result = parse_stk(samples.body(name))

    description = result.description.removeprefix("[STK_CB - ]")
    assert changed(result, description=description) == PAID
    assert result.is_success


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("failure_cancelled", "1032"),
        ("failure_balance", "1"),
        ("failure_wrong_pin", "2001"),
        ("failure_letters", "SFC_IC0003"),
        ("uncertain_unreachable", "1037"),
        ("uncertain_smsc", "1036"),
        ("uncertain_expired", "1019"),
    ],
)
def test_a_sample_of_a_failure_has_its_code_and_no_money(name, code):
    result = parse_stk(samples.body(name))

    assert result == StkResult(
        samples.MERCHANT_ID, samples.CHECKOUT_ID, code, result.description
    )
    assert not result.is_success


def test_every_sample_is_parsed_somewhere():
    tested = {*samples.named("success"), *samples.named("failure")}
    assert {*tested, *samples.named("uncertain")} == set(samples.NAMES)


# One thing changed at a time.


def body(**changes):
    """Return a success; `item_...` changes an item, None takes it away."""
    items = {
        "Amount": 250,
        "MpesaReceiptNumber": "UAE5B2K9QT",
        "TransactionDate": 20260114093031,
        "PhoneNumber": 254708374149,
    }
    callback = {
        "MerchantRequestID": samples.MERCHANT_ID,
        "CheckoutRequestID": samples.CHECKOUT_ID,
        "ResultCode": 0,
        "ResultDesc": PAID.description,
    }
    for name, value in changes.items():
        if name.startswith("item_"):
            items[name.removeprefix("item_")] = value
        else:
            callback[name] = value
    listed = [
        {"Name": name, "Value": value}
        for name, value in items.items()
        if value is not None
    ]
    callback = {"CallbackMetadata": {"Item": listed}} | callback
    return json.dumps({"Body": {"stkCallback": callback}}).encode()


def test_the_body_of_these_tests_is_the_success():
    assert parse_stk(body()) == PAID


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (250, Decimal(250)),
        (250.0, Decimal(250)),
        (250.5, Decimal("250.5")),
        ("250", Decimal(250)),
        ("250.00", Decimal(250)),
        (0.1, Decimal("0.1")),
        (9_999_999_999, Decimal(9_999_999_999)),
        (10**10, None),
        (1e300, None),
        (0, None),
        (-250, None),
        ("-250", None),
        ("", None),
        ("two", None),
        ("2,500", None),
        ("2.5e2", None),
        ("1.23456", None),
        (" 250", None),
        ("٢٥٠", None),
        (True, None),
        ([250], None),
        ({"Amount": 250}, None),
        (None, None),
    ],
    ids=repr,
)
def test_an_amount_is_exact_or_none(value, amount):
    assert parse_stk(body(item_Amount=value)) == changed(PAID, amount=amount)


@pytest.mark.parametrize(
    ("value", "receipt"),
    [
        ("UAE5B2K9QT", "UAE5B2K9QT"),
        ("uae5b2k9qt", "UAE5B2K9QT"),
        (" UAE5B2K9QT ", "UAE5B2K9QT"),
        ("UAE5B2K9", "UAE5B2K9"),
        ("UAE5B2K9QTAB", "UAE5B2K9QTAB"),
        ("UAE5B2K", None),
        ("UAE5B2K9QTABC", None),
        ("UAE5B2-9QT", None),
        ("UAE5B2K9QT\n0", None),
        ("", None),
        (1234567890, None),
        (True, None),
        (["UAE5B2K9QT"], None),
        (None, None),
    ],
    ids=repr,
)
def test_a_receipt_is_capital_letters_and_digits_or_none(value, receipt):
    result = parse_stk(body(item_MpesaReceiptNumber=value))

    assert result == changed(PAID, receipt=receipt)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0, "0"),
        ("0", "0"),
        (" 0 ", "0"),
        (0.0, "0"),
        (1032, "1032"),
        (1032.0, "1032"),
        ("1032", "1032"),
        (-1, "-1"),
        ("SFC_IC0003", "SFC_IC0003"),
        (10**20 - 1, "9" * 20),
    ],
    ids=repr,
)
def test_a_code_is_text(value, code):
    assert parse_stk(body(ResultCode=value)).code == code


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, "", " ", "\0", 1.5, 1e30, 10**20, 10**400, "x" * 21,
        "kodi ٣", [0], {"code": 0},
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_what_is_no_code_is_malformed(value):
    with pytest.raises(Malformed, match="ResultCode"):
        parse_stk(body(ResultCode=value))


@pytest.mark.parametrize(
    "value", [None, "", 7, True, [], {}, "x" * 65, "a\0b", "a\nb", "ws_CO_٣"], ids=repr
)
def test_without_a_checkout_id_it_is_malformed(value):
    with pytest.raises(Malformed, match="CheckoutRequestID"):
        parse_stk(body(CheckoutRequestID=value))


@pytest.mark.parametrize("value", [None, "", 7, True, [], "x" * 65, "a\0b"], ids=repr)
def test_an_odd_merchant_id_is_none(value):
    result = parse_stk(body(MerchantRequestID=value))

    assert result == changed(PAID, merchant_request_id="")


@pytest.mark.parametrize(
    ("value", "paid_at"),
    [
        (20260114093031, PAID.paid_at),
        ("20260114093031", PAID.paid_at),
        (20260101003000, datetime(2025, 12, 31, 21, 30, tzinfo=UTC)),
        (20261301000000, None),
        (99991231235959, datetime(9999, 12, 31, 20, 59, 59, tzinfo=UTC)),
        (10101000000, None),
        ("00010101000000", None),
        (2026, None),
        ("yesterday", None),
        (True, None),
        (20260114093031.0, None),
        ([], None),
        (None, None),
    ],
    ids=repr,
)
def test_a_moment_is_east_africa_time_or_none(value, paid_at):
    result = parse_stk(body(item_TransactionDate=value))

    assert result == changed(PAID, paid_at=paid_at)


@pytest.mark.parametrize(
    ("value", "phone"),
    [
        (254708374149, "254708374149"),
        ("254708374149", "254708374149"),
        ("2547 ***** 126", "2547 ***** 126"),
        ("x" * 80, "x" * 64),
        ("a\0b", "ab"),
        (10**30, ""),
        (True, ""),
        (1.5, ""),
        ([], ""),
        (None, ""),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_phone_is_kept_as_it_came(value, phone):
    result = parse_stk(body(item_PhoneNumber=value))

    assert result == changed(PAID, phone=phone)


@pytest.mark.parametrize(
    ("value", "description"),
    [
        ("x" * 300, "x" * 255),
        ("a\0b", "ab"),
        ("\ud800", "?"),
        (None, ""),
        (7, ""),
        ([], ""),
        ("Imelipwa ✓", "Imelipwa ✓"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_description_can_be_stored(value, description):
    assert parse_stk(body(ResultDesc=value)).description == description


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ("Item", "CallbackMetadata is no object"),
        ([], "CallbackMetadata is no object"),
        (7, "CallbackMetadata is no object"),
        ({"Item": "x"}, "Item is no list"),
        ({"Item": 7}, "Item is no list"),
        ({"Item": None}, "Item is no list"),
        ({"Item": {}}, "an item without a name"),
        ({"Item": [None]}, "an item without a name"),
        ({"Item": [[]]}, "an item without a name"),
        ({"Item": [{"Value": 250}]}, "an item without a name"),
        ({"Item": [{"Name": 7, "Value": 250}]}, "an item without a name"),
        ({"Item": [{"Name": ["Amount"], "Value": 1}]}, "an item without a name"),
    ],
    ids=repr,
)
def test_odd_metadata_are_malformed(metadata, complaint):
    with pytest.raises(Malformed, match=complaint):
        parse_stk(body(CallbackMetadata=metadata))


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {"Item": []}, {"Item": [{"Name": "Amount"}]}],
    ids=repr,
)
def test_metadata_without_the_items_prove_nothing(metadata):
    result = parse_stk(body(CallbackMetadata=metadata))

    assert result == changed(PAID, amount=None, receipt=None, phone="", paid_at=None)


def test_a_single_item_may_come_without_its_list():
    result = parse_stk(
        body(CallbackMetadata={"Item": {"Name": "Amount", "Value": 250}})
    )

    assert result.amount == Decimal(250)


def items(*pairs):
    listed = [{"Name": name, "Value": value} for name, value in pairs]
    return body(CallbackMetadata={"Item": listed})


def test_an_item_that_comes_twice_with_two_values_is_malformed():
    with pytest.raises(Malformed, match="two values for 'Amount'"):
        parse_stk(items(("Amount", 250), ("Amount", 1)))


def test_an_item_that_comes_twice_with_one_value_is_that():
    result = parse_stk(items(("Amount", 250), ("Amount", 250)))

    assert result.amount == Decimal(250)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"ResultCode": 0', '"ResultCode": 0, "ResultCode": 1032'),
        ('"ResultCode": 0', '"ResultCode": 0, "ResultCode": "0"'),
        ('"ResultCode": 0', '"ResultCode": 0, "ResultCode": false'),
        ('"Value": 250', '"Value": 250, "Value": 1'),
        ('{"Body"', '{"Body": 7, "Body"'),
    ],
    ids=["code", "type", "bool", "amount", "body"],
)
def test_a_key_that_comes_twice_with_two_values_is_malformed(old, new):
    with pytest.raises(Malformed, match="two values"):
        parse_stk(body().decode().replace(old, new, 1).encode())


def test_a_key_that_comes_twice_with_one_value_is_that():
    text = (
        body().decode().replace('"ResultCode": 0', '"ResultCode": 0, "ResultCode": 0')
    )

    assert parse_stk(text.encode()) == PAID


@pytest.mark.parametrize(
    "raw",
    [
        b"", b" ", b"{", b"null", b"7", b"[]", b'"text"', b"{}", b"<html></html>",
        b'{"Body": null}', b'{"Body": []}', b'{"Body": {}}',
        b'{"Body": {"stkCallback": null}}', b'{"Body": {"stkCallback": []}}',
        b'{"Body": {"stkCallback": {}}}', b'{"body": {"stkcallback": {}}}',
        b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"\x00", b"[" * 65_000, b'{"a":' * 13_000,
        b'{"Body": NaN}', b'{"Body": Infinity}', b'{"Body": -Infinity}',
        b"1" * 5000, b'{"a": 1e999999999999999999999}',
        b'{"Body": {"stkCallback": {"CheckoutRequestID": "x", "ResultCode": 1e9999}}}',
        body()[:-5], body() + b"x",
    ],
    ids=lambda raw: repr(raw[:25]),
)  # fmt: skip
def test_anything_else_is_malformed(raw):
    with pytest.raises(Malformed):
        parse_stk(raw)


def never_breaks(raw):
    try:
        result = parse_stk(raw)
    except Malformed:
        return
    assert result.checkout_request_id
    assert 0 < len(result.code) <= notices.CODE_LENGTH
    for text in (result.code, result.description, result.phone):
        assert "\0" not in text
        text.encode("utf-8")
    if result.amount is not None:
        assert 0 < result.amount < notices.LARGEST


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.sampled_from(["0", 0, "Amount", "MpesaReceiptNumber", "UAE5B2K9QT"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
ITEMS = st.lists(
    st.fixed_dictionaries(
        {"Name": st.sampled_from(["Amount", "PhoneNumber", "TransactionDate"]) | JSON},
        optional={"Value": JSON},
    )
    | JSON,
    max_size=4,
)
CALLBACKS = st.fixed_dictionaries(
    {"CheckoutRequestID": st.just("ws_CO_1") | JSON, "ResultCode": JSON},
    optional={
        "MerchantRequestID": JSON,
        "ResultDesc": JSON,
        "CallbackMetadata": st.fixed_dictionaries({"Item": ITEMS}) | JSON,
    },
)


@given(st.binary())
@example(b"\x80")
def test_no_bytes_break_it(raw):
    never_breaks(raw)


@given(JSON)
def test_no_json_breaks_it(value):
    never_breaks(json.dumps(value).encode())


@given(CALLBACKS)
def test_no_callback_breaks_it(callback):
    never_breaks(json.dumps({"Body": {"stkCallback": callback}}).encode())
