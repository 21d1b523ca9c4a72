"""Account references: short, unique enough, and a typing error shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments import references
from payments.references import ALPHABET


BODIES = st.text(ALPHABET, min_size=8, max_size=8)


def test_a_reference_fits_what_mpesa_allows():
    for _ in range(200):
        reference = references.new_reference()

        assert len(reference) == 9
        assert reference.isalnum()
        assert reference.isascii()
        assert references.is_valid(reference)


def test_references_differ():
    assert len({references.new_reference() for _ in range(500)}) == 500


def test_letters_that_look_like_digits_are_not_used():
    assert set("ILOU").isdisjoint(ALPHABET)
    assert len(set(ALPHABET)) == 32


@given(BODIES, st.integers(0, 8), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_always_noticed(body, place, other):
    reference = body + references.check_character(body)
    mistyped = reference[:place] + other + reference[place + 1 :]

    assert references.is_valid(mistyped) is (mistyped == reference)


@pytest.mark.parametrize(
    "text",
    ["", "ABC", "ABCDEFGHJK", "abcdefgh0", "ABCDEFG-0", "ILOU00000", "0000000٣0"],
    ids=repr,
)
def test_what_is_no_reference_is_not_valid(text):
    assert references.is_valid(text) is False


@given(st.text(max_size=12))
def test_no_text_breaks_it(text):
    assert references.is_valid(text) in (True, False)
