"""A test of an account: what an owner is told, part by part."""

import pytest

from payments import connection, gateways
from payments.connection import NOT_TOLD, Finding
from payments.gateways.base import Credentials, Proof
from tests.support.gateway import FakeMpesa


TILL = Credentials(
    environment="simulator",
    is_till=True,
    shortcode="600300",
    party_b="5600301",
    consumer_key="the-key",
    consumer_secret="the-secret",
    passkey="the-passkey",
)


def tried(proof):
    stand_in = FakeMpesa()
    stand_in.proof = proof
    with gateways.using(stand_in):
        return connection.test(TILL)


def rights(tested):
    return [(one.name, one.is_right) for one in tested.findings]


@pytest.mark.parametrize(
    ("proof", "told", "fields"),
    [
        (Proof.GOOD, [True, True, True, True], []),
        (Proof.KEYS, [False, None, None, None], ["consumer_key", "consumer_secret"]),
        (Proof.PRODUCT, [True, False, None, None], ["consumer_key"]),
        (Proof.NUMBER, [True, True, False, None], ["shortcode"]),
        (Proof.PASSKEY, [True, True, True, False], ["passkey"]),
        (Proof.UNREACHED, [None, None, None, None], []),
        (Proof.UNCLEAR, [True, None, None, None], []),
    ],
    ids=str,
)
def test_each_part_is_told_and_none_is_guessed(proof, told, fields):
    tested = tried(proof)

    names = ["keys", "product", "number", "passkey"]
    assert rights(tested) == list(zip(names, told, strict=True))
    assert [name for one in tested.wrong for name in one.fields] == fields
    assert tested.is_good is (proof == Proof.GOOD)


def test_what_comes_after_the_first_wrong_part_is_not_known():
    tested = tried(Proof.KEYS)

    assert tested.findings[1] == Finding("product", is_right=None, words=NOT_TOLD)
    assert tested.summary == connection.WRONG_KEYS


def test_a_till_is_told_which_number_is_wanted():
    assert tried(Proof.NUMBER).summary == (
        "M-Pesa knows no store number 600300 for these keys. For a till this is the"
        " store (head office) number of the letter from Safaricom, not the till number"
        " that customers pay to."
    )


def test_nobody_reached_is_nothing_wrong():
    tested = tried(Proof.UNREACHED)

    assert tested.wrong == ()
    assert tested.summary.startswith("M-Pesa could not be reached (as told).")


def test_a_good_test_has_nothing_to_say():
    assert tried(Proof.GOOD).summary == ""


@pytest.mark.parametrize("proof", list(Proof), ids=str)
def test_no_words_hold_a_secret(proof):
    words = " ".join(one.words for one in tried(proof).findings)

    for secret in (TILL.consumer_key, TILL.consumer_secret, TILL.passkey):
        assert secret not in words
