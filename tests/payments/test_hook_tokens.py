"""Tokens of callback addresses: signed, unguessable, checked without a database."""

import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments import hook_tokens


KEYS = [b"\x01" * 32, b"\x02" * 32]


@pytest.fixture(autouse=True)
def _keys(settings):
    settings.HOOK_SIGNING_KEYS = list(KEYS)


def test_a_token_verifies_to_the_hash_of_its_nonce():
    token = hook_tokens.issue()

    nonce = bytes.fromhex(token.text)[:16]
    assert hook_tokens.verify(token.text) == token.nonce_hash
    assert token.nonce_hash == hashlib.sha256(nonce).hexdigest()


def test_a_token_is_lower_case_hex_of_128_random_bits_and_a_signature():
    token = hook_tokens.issue()

    assert re.fullmatch("[0-9a-f]{64}", token.text)


def test_tokens_differ():
    assert len({hook_tokens.issue().text for _ in range(100)}) == 100


def test_a_forbidden_word_cannot_occur(settings):
    letters = set("0123456789abcdef")

    assert all(set(word) - letters for word in settings.FORBIDDEN_URL_WORDS)


def test_the_text_is_in_no_repr():
    token = hook_tokens.issue()

    assert token.text not in repr(token)


@pytest.mark.parametrize("kind", hook_tokens.Kind)
def test_a_token_of_one_kind_is_none_of_another(kind):
    token = hook_tokens.issue(kind)

    good = {one for one in hook_tokens.Kind if hook_tokens.verify(token.text, one)}
    assert good == {kind}
    assert hook_tokens.verify(token.text, kind) == token.nonce_hash


def test_tokens_that_were_issued_before_there_were_kinds_are_still_good():
    # In addresses that M-Pesa was given: 16 bytes, and HMAC-SHA256 of "stk hook" + them.
    nonce = bytes(16)
    signature = hmac.digest(KEYS[0], b"stk hook" + nonce, "sha256")[:16]
    text = (nonce + signature).hex()

    assert hook_tokens.verify(text) == hashlib.sha256(nonce).hexdigest()


def test_an_older_key_still_verifies(settings):
    token = hook_tokens.issue()
    settings.HOOK_SIGNING_KEYS = [b"\x03" * 32, *KEYS]

    assert hook_tokens.verify(token.text) == token.nonce_hash


def test_the_first_key_signs(settings):
    token = hook_tokens.issue()
    settings.HOOK_SIGNING_KEYS = KEYS[:1]
    assert hook_tokens.verify(token.text) == token.nonce_hash
    settings.HOOK_SIGNING_KEYS = KEYS[1:]
    assert hook_tokens.verify(token.text) is None


@pytest.mark.parametrize("place", range(64))
def test_one_wrong_character_anywhere_is_a_bad_token(place):
    text = hook_tokens.issue().text
    other = "0" if text[place] != "0" else "1"

    assert hook_tokens.verify(text[:place] + other + text[place + 1 :]) is None


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text[:-2] + "zz",
        lambda text: text[:31] + " " + text[32:],
        lambda text: text[:30] + "  " + text[32:],
        lambda text: "٣" * 64,
        lambda text: "",
        lambda text: text[32:] + text[:32],
    ],
    ids=["capitals", "short", "long", "no hex", "blank", "blanks", "arabic", "empty",
         "swapped"],
)  # fmt: skip
def test_another_shape_is_a_bad_token(change):
    text = "ab" + hook_tokens.issue().text[2:]
    good = hook_tokens.issue().text
    while good == good.upper():
        good = hook_tokens.issue().text

    assert hook_tokens.verify(change(text)) is None
    assert hook_tokens.verify(change(good)) is None


def test_the_hash_of_a_whole_token_needs_no_key(settings):
    token = hook_tokens.issue(hook_tokens.Kind.ACCOUNT)
    settings.HOOK_SIGNING_KEYS = [b"\x03" * 32]

    assert hook_tokens.text_hash(token.text) == token.text_hash
    assert hook_tokens.text_hash(token.text[:-1] + "g") is None
    assert hook_tokens.nonce_hash(token.text) == token.nonce_hash
    assert hook_tokens.nonce_hash(token.text[1:]) is None
    assert len({token.text_hash, token.nonce_hash, token.text}) == 3


@given(st.text(max_size=70))
def test_no_text_breaks_it(text):
    assert hook_tokens.verify(text) is None
    assert hook_tokens.text_hash(text) is None


@given(st.binary(min_size=32, max_size=32))
def test_nobody_guesses_a_token(raw):
    assert hook_tokens.verify(raw.hex()) is None
