"""Every row of the table of result codes, on both roads, in both languages."""

import pytest

from payments.enums import FailureReason
from payments.gateways import result_codes
from payments.gateways.result_codes import Class


F, U, C, P, PAID = (
    Class.FINAL,
    Class.UNCERTAIN,
    Class.CONFIG,
    Class.PENDING,
    Class.PAID,
)
# Code: by callback, by query, may the same phone be asked again, seconds to wait.
# Source: portal page MpesaExpressSimulate, and reports from the field.
ROWS = {
    "0": (PAID, PAID, False, 0),
    "1": (F, F, True, 0),
    "2": (F, F, False, 0),
    "3": (F, F, False, 0),
    "4": (F, F, False, 0),
    "8": (C, C, False, 0),
    "11": (F, F, False, 0),
    "12": (C, C, False, 0),
    "15": (U, U, True, 0),
    "17": (F, F, True, 120),
    "18": (C, C, False, 0),
    "20": (C, C, False, 0),
    "21": (C, C, False, 0),
    "24": (U, U, True, 0),
    "25": (U, U, True, 0),
    "26": (U, F, True, 60),
    "29": (U, U, True, 0),
    "1001": (F, F, True, 60),
    "1019": (U, F, True, 0),
    "1025": (F, F, True, 0),
    "1031": (F, F, True, 0),
    "1032": (F, F, True, 0),
    "1036": (U, F, True, 0),
    "1037": (U, F, True, 0),
    "1101": (F, F, True, 0),
    "1102": (F, F, True, 0),
    "2001": (F, F, True, 0),
    "2006": (F, F, False, 0),
    "2026": (U, U, True, 0),
    "2028": (C, C, False, 0),
    "2029": (U, U, True, 0),
    "2033": (U, U, True, 0),
    "2040": (F, F, False, 0),
    "2051": (U, U, True, 0),
    "4999": (P, P, True, 0),
    "8006": (F, F, False, 0),
    "9999": (U, U, True, 0),
    "SFC_IC0003": (C, C, False, 0),
    "TP40153": (C, C, False, 0),
}
UNLISTED = ["", "E3008", "32", "33", "35", "03", "04", "99", "00", "-1", "sfc_ic0003"]


@pytest.mark.parametrize("code", ROWS)
def test_a_listed_code_is_judged_for_each_road(code):
    row = result_codes.judge(code)

    assert (row.callback, row.query, row.may_retry, row.wait_s) == ROWS[code]


def test_the_table_holds_no_other_code():
    assert set(result_codes.TABLE) == set(ROWS)


@pytest.mark.parametrize("code", UNLISTED)
def test_an_unlisted_code_is_uncertain_on_every_road(code):
    row = result_codes.judge(code)

    assert (row.callback, row.query) == (U, U)


@pytest.mark.parametrize("code", ["1037", "1019", "1036", "26"])
def test_what_a_callback_leaves_open_a_query_settles(code):
    row = result_codes.judge(code)

    assert (row.callback, row.query) == (U, F)


@pytest.mark.parametrize("code", [*ROWS, "unlisted"])
def test_each_code_has_two_sentences_in_two_languages(code):
    words = result_codes.judge(code).words

    sentences = [
        words.reason("en"),
        words.remedy("en"),
        words.reason("sw"),
        words.remedy("sw"),
    ]
    assert all(text.endswith(".") and len(text) > 4 for text in sentences)
    assert words.reason("sw-ke") == words.reason_sw != words.reason_en
    assert words.remedy("sw-ke") == words.remedy_sw != words.remedy_en


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("1", FailureReason.INSUFFICIENT_FUNDS),
        ("2001", FailureReason.WRONG_PIN),
        ("1032", FailureReason.CANCELLED_ON_PHONE),
        ("1037", FailureReason.PHONE_UNREACHABLE),
        ("1019", FailureReason.PROMPT_EXPIRED),
        ("8006", FailureReason.PIN_LOCKED),
        ("17", FailureReason.TOO_SOON),
        ("8", FailureReason.SHOP_ACCOUNT),
        ("3", FailureReason.AMOUNT_LIMIT),
        ("4", FailureReason.CUSTOMER_LIMIT),
    ],
)
def test_a_code_is_a_reason_in_our_words(code, reason):
    assert result_codes.judge(code).reason == reason


@pytest.mark.parametrize("code", [code for code, row in ROWS.items() if row[1] == U])
def test_uncertain_words_forbid_a_second_payment(code):
    words = result_codes.judge(code).words

    assert "must not pay again" in words.reason_en
    assert "asilipe tena" in words.reason_sw


@pytest.mark.parametrize("reason", FailureReason.values)
def test_every_reason_has_words(reason):
    words = result_codes.words("", reason)

    assert words.reason_en.endswith(".")


def test_the_code_speaks_louder_than_the_reason():
    words = result_codes.words("1", FailureReason.OTHER)

    assert words.reason_en == "Not enough money in M-Pesa."


def test_without_code_and_reason_it_is_not_paid():
    assert result_codes.words("", "").reason_en == "Not paid."
