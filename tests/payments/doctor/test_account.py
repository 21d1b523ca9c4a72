"""An account: its numbers, who uses it, and its keys at M-Pesa."""

import pytest

from payments import gateways
from payments.doctor import account as account_checks
from payments.doctor.findings import Who
from payments.gateways.base import Proof
from payments.models import MpesaAccount, MpesaSettings
from tests.factories import MpesaAccountFactory
from tests.payments.doctor.conftest import (
    BROKEN,
    FINE,
    LOOK,
    TILL,
    UNKNOWN,
    by_key,
    state,
)
from tests.support.gateway import FakeMpesa


pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("facts", "health", "words"),
    [
        ({}, FINE, "Paybill 600200: one number"),
        (TILL, FINE, "Customers pay to till 5600301; prompts are sent in the name of"),
        (TILL | {"party_b": "600300"}, BROKEN, "Till and store number are both 600300"),
        ({"party_b": "600201"}, BROKEN, "A paybill has one number"),
        ({"shortcode": "12"}, BROKEN, "M-Pesa's numbers have 5 to 7 digits"),
        ({"environment": "sandbox"}, BROKEN, "This account belongs to sandbox"),
    ],
    ids=["paybill", "till", "till twice", "two paybills", "too short", "elsewhere"],
)
def test_numbers_must_be_a_pair_of_their_kind(shop, facts, health, words):
    finding = account_checks.numbers(MpesaAccountFactory(shop=shop, **facts))

    assert state(finding) == health
    assert finding.words.startswith(words)


def test_the_sandboxs_number_is_none_for_real_money(shop, settings):
    settings.MPESA_ENV = "production"
    account = MpesaAccountFactory(shop=shop, shortcode="174379")

    assert state(account_checks.numbers(account)) == BROKEN


def test_letter_has_the_shops_numbers_and_never_a_secret(shop):
    account = MpesaAccountFactory(shop=shop, **TILL | {"party_b": "600300"})

    letter = account_checks.numbers(account).letter

    assert letter.split("\n") == [
        "PRACTICE MODE: this is what you would send. Do not send it.",
        "",
        "To: apisupport@safaricom.co.ke",
        "Subject: Which store number does our till have?"
        " (till 600300, store number 600300)",
        "",
        "Dear Safaricom API support,",
        "",
        "we want to send M-Pesa Express prompts for our till 600300.",
        "Please tell us its store (head office) number, and confirm that M-Pesa Express"
        " is enabled for it.",
        "",
        "Business name: Jirani",
        "Number: till 600300, store number 600300",
        "App at developer.safaricom.co.ke: [name of the app]",
        "Environment: simulator",
        "Contact phone: 0711 222 333",
        "",
        "Thank you,",
        "Jirani",
    ]


def test_account_is_used_by_a_shop_that_chose_it(account, shop):
    assert state(account_checks.used(account)) == FINE

    MpesaSettings.objects.update(account=None)
    assert account_checks.used(account).words.startswith("No shop has chosen it")
    MpesaSettings.objects.update(candidate=account)
    assert account_checks.used(account).words.startswith("It is being set up")
    assert state(account_checks.used(account)) == LOOK

    account.is_active = False
    assert state(account_checks.used(account)) == BROKEN


# The keys, as the real simulator judges them.


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({}, [FINE, FINE, FINE, FINE]),
        (TILL, [FINE, FINE, FINE, FINE]),
        ({"consumer_secret": "wrong"}, [BROKEN, UNKNOWN, UNKNOWN, UNKNOWN]),
        (TILL | {"shortcode": "5600301"}, [FINE, FINE, BROKEN, UNKNOWN]),
        ({"passkey": "wrong"}, [FINE, FINE, FINE, BROKEN]),
    ],
    ids=["paybill", "till", "secret", "till as store", "passkey"],
)
def test_keys_are_tried_at_mpesa(simulator, shop, facts, found):
    account = MpesaAccountFactory(shop=shop, **facts)

    findings = account_checks.keys(account)

    assert [one.key for one in findings] == ["keys", "product", "number", "passkey"]
    assert [one.health for one in findings] == found
    for one in findings:
        is_theirs = one.health == BROKEN and one.key != "keys"
        assert bool(one.letter) is is_theirs, one.key
        assert (one.who == Who.SAFARICOM) is is_theirs, one.key


def test_short_passkey_is_named(simulator, shop):
    *_, passkey = account_checks.keys(MpesaAccountFactory(shop=shop, passkey="wrong"))

    assert passkey.words.endswith("has 5 characters; Safaricom's have 64.")


def test_app_without_the_product_is_safaricoms_to_mend(account):
    stand_in = FakeMpesa()
    stand_in.proof = Proof.PRODUCT
    with gateways.using(stand_in):
        found = account_checks.keys(account)

    assert by_key(found)["product"] == BROKEN
    assert "Please add M-Pesa Express" in found[1].letter


def test_unreached_mpesa_leaves_keys_unknown(account, settings, nowhere):
    settings.MPESA_BASE_URL = nowhere

    assert set(by_key(account_checks.keys(account)).values()) == {UNKNOWN}


def test_keys_that_are_missing_or_do_not_open_are_not_tried(account):
    MpesaAccount.objects.update(passkey_sealed=b"\x01damaged" * 9)
    (damaged,) = account_checks.keys(MpesaAccount.objects.get())
    MpesaAccount.objects.update(passkey_sealed=None)
    (missing,) = account_checks.keys(MpesaAccount.objects.get())

    assert (damaged.health, missing.health) == (BROKEN, BROKEN)
    assert "cannot be read" in damaged.words
    assert "is missing" in missing.words


def test_initiator_is_needed_for_refunds(account):
    assert state(account_checks.initiator(account)) == FINE
    account.initiator_name = ""
    assert state(account_checks.initiator(account)) == LOOK
