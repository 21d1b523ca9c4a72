"""Numbers as M-Pesa shows them, beside one that we know in full."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.payer import Fit, fits, full_number, visible_digits


JANE = "254708374149"


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("seen", "fit"),
    [
        ("254708374149", Fit.EQUAL),
        ("+254 708 374 149", Fit.EQUAL),
        ("0708374149", Fit.EQUAL),
        ("708374149", Fit.EQUAL),
        ("254708374140", Fit.NO),
        ("255708374149", Fit.NO),
        ("+44 7911 123456", Fit.NO),
        (sha(JANE), Fit.HASHED),
        (sha(JANE).upper(), Fit.HASHED),
        (sha("+254708374149"), Fit.HASHED),
        (sha("0708374149"), Fit.HASHED),
        (sha("254708374140"), Fit.NO),
        ("2547 ***** 149", Fit.VISIBLE),
        ("2547 ***** 126", Fit.NO),
        ("2541 ***** 149", Fit.NO),
        ("25470****149", Fit.VISIBLE),
        ("25471****149", Fit.NO),
        ("2547****149", Fit.VISIBLE),
        ("2547********149", Fit.VISIBLE),
        ("2547****4149", Fit.VISIBLE),
        ("2547****0111", Fit.NO),
        ("0708****149", Fit.VISIBLE),
        ("0708***149", Fit.VISIBLE),
        ("0712****149", Fit.NO),
        ("+2547 ••••• 149", Fit.VISIBLE),
        ("2547xxxxx149", Fit.VISIBLE),
        ("2547**37**49", Fit.VISIBLE),
        ("2547**38**49", Fit.NO),
        ("2547**99**9**49", Fit.VISIBLE),
        ("********4149", Fit.VISIBLE),
        ("*********126", Fit.NO),
        ("254*********", Fit.UNKNOWN),
        ("25**********", Fit.UNKNOWN),
        ("************", Fit.UNKNOWN),
        ("72200000", Fit.UNKNOWN),
        ("2547083741*49149", Fit.UNKNOWN),
        ("", Fit.UNKNOWN),
        ("JANE DOE", Fit.UNKNOWN),
        ("x" * 64, Fit.UNKNOWN),
        (sha(JANE)[:-1], Fit.UNKNOWN),
        ("*" * 200, Fit.UNKNOWN),
    ],
)
def test_a_number_seen_fits_or_not(seen, fit):
    assert fits(JANE, seen) is fit


@pytest.mark.parametrize(
    "full", ["", "0708374149", "25470837414", "255708374149", "2547 ***** 149"]
)
def test_nothing_fits_a_number_that_is_not_full(full):
    assert fits(full, full) is Fit.UNKNOWN


@pytest.mark.parametrize("fit", Fit)
def test_only_a_misfit_rules_out(fit):
    assert fit.may_be is (fit is not Fit.NO)


@pytest.mark.parametrize(
    ("seen", "full"),
    [
        ("0708374149", JANE),
        ("+254-708-374-149", JANE),
        ("2547 ***** 149", ""),
        (sha(JANE), ""),
        ("72200000", ""),
        ("", ""),
    ],
)
def test_only_a_full_number_is_one(seen, full):
    assert full_number(seen) == full


@pytest.mark.parametrize(
    ("seen", "count"),
    [
        (JANE, 9),
        ("2547 ***** 149", 4),
        ("25470****149", 5),
        ("0708****149", 6),
        ("********4149", 4),
        ("254*********", 0),
        ("25**********", 0),
        (sha(JANE), 0),
        ("JANE", 0),
        ("", 0),
    ],
)
def test_visible_digits_are_those_behind_the_country_code(seen, count):
    assert visible_digits(seen) == count


NUMBERS = st.from_regex(r"254[17][0-9]{8}", fullmatch=True)


@given(NUMBERS, st.integers(4, 8), st.integers(1, 4))
def test_a_number_fits_each_of_its_masks(full, head, tail):
    masked = full[:head] + "*" * (12 - head - tail) + full[12 - tail :]

    assert fits(full, masked) in (Fit.VISIBLE, Fit.EQUAL)
    assert fits(full, sha(full)) is Fit.HASHED


@given(NUMBERS, NUMBERS)
def test_two_numbers_fit_only_if_they_are_one(one, other):
    assert (fits(one, other) is Fit.EQUAL) is (one == other)
    assert (fits(one, sha(other)) is Fit.HASHED) is (one == other)
    mask = other[:4] + "*****" + other[-3:]
    agree = one[:4] == other[:4] and one[-3:] == other[-3:]
    assert fits(one, mask) is (Fit.VISIBLE if agree else Fit.NO)


@given(st.text(st.characters(codec=None)))
def test_no_text_breaks_it(seen):
    assert fits(JANE, seen) in Fit
    assert 0 <= visible_digits(seen) <= 20
