"""What is wrong with an account is told by field and in words, and nothing is stored."""

import pytest

from payments import account_entry, configuration
from payments.account_entry import checked
from payments.gateways.base import Proof
from payments.models import MpesaAccount, MpesaSettings
from shops.tenancy import Access
from smartduka.lib.errors import InvalidRequest
from tests.factories import MpesaAccountFactory, PaymentFactory, ShopFactory
from tests.payments.setup import PAYBILL, SECRETS, TILL, only_store_number, typed
from tests.support.facts import nothing_changes


pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(alice):
    return Access(alice.user, alice.shop, "owner")


def wrong(owner, entered):
    """Return the fields that are told to be wrong; nothing may be stored."""
    with nothing_changes(), pytest.raises(InvalidRequest) as refusal:
        configuration.enter(owner, entered)
    assert refusal.value.message == next(iter(refusal.value.details.values()))[0]
    return {name: words for name, (words,) in refusal.value.details.items()}


@pytest.mark.parametrize("missing", ["consumer_key", "consumer_secret", "passkey"])
def test_half_a_set_of_keys_is_refused(owner, prober, missing):
    name = account_entry.NAMES[missing]

    told = wrong(owner, typed(**{missing: "  "}))

    assert told == {missing: f"Enter the {name}: without it nothing can be sent."}
    assert prober.probes == []


@pytest.mark.parametrize(
    ("entered", "told"),
    [
        (typed(consumer_key="a key"), {"consumer_key": account_entry.BLANKS}),
        (typed(passkey="a\x00b"), {"passkey": account_entry.BLANKS}),
        (
            typed(passkey="p" * 201),
            {"passkey": "At most 200 characters. Copy it again."},
        ),
        (typed(consumer_secret="the-key"), {"consumer_secret": "This is the consumer key once more."}),
        (typed(initiator_name="api"), {"initiator_password": account_entry.NO_PASSWORD}),
        (typed(initiator_password="x"), {"initiator_name": account_entry.NO_INITIATOR}),
        (
            typed(initiator_name="a" * 61, initiator_password="x"),
            {"initiator_name": "At most 60 characters."},
        ),
        (typed(type="bank"), {"type": account_entry.NO_TYPE}),
        (typed(shortcode="12a45"), {"shortcode": account_entry.NO_NUMBER}),
        (typed(shortcode="1234"), {"shortcode": account_entry.NO_NUMBER}),
        (typed(party_b="12345678"), {"party_b": account_entry.NO_NUMBER}),
        (typed(party_b=""), {"party_b": account_entry.NO_NUMBER}),
        (typed(shortcode="٦٠٠٣٠٠"), {"shortcode": account_entry.NO_NUMBER}),
        (typed(shortcode="5600301"), {"shortcode": account_entry.TILL_TWICE}),
        (typed(PAYBILL, party_b="600401"), {"party_b": account_entry.TWO_NUMBERS}),
    ],
    ids=[
        "a blank", "a NUL", "too long", "key twice", "no password", "no initiator",
        "long initiator", "no kind", "letters", "short", "long", "no till",
        "foreign digits", "till twice", "two paybills",
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused_before_mpesa_is_asked(
    owner, prober, entered, told
):
    assert wrong(owner, entered) == told
    assert prober.probes == []


@pytest.mark.parametrize(
    ("proof", "fields"),
    [
        (Proof.KEYS, ["consumer_key", "consumer_secret"]),
        (Proof.PRODUCT, ["consumer_key"]),
        (Proof.NUMBER, ["shortcode"]),
        (Proof.PASSKEY, ["passkey"]),
    ],
    ids=str,
)
def test_what_mpesa_says_is_wrong_is_not_stored(owner, prober, proof, fields):
    prober.proof = proof

    assert list(wrong(owner, typed())) == fields


def test_numbers_the_wrong_way_round_are_told_apart(owner, prober):
    prober.proof = only_store_number("600300")

    told = wrong(owner, typed(shortcode="5600301", party_b="600300"))

    assert told == {"shortcode": account_entry.SWAPPED}
    assert [one.shortcode for one in prober.probes] == ["5600301", "600300"]


def test_a_store_number_that_nobody_knows_is_told_as_that(owner, prober):
    prober.proof = only_store_number("600999")

    told = wrong(owner, typed())

    assert told["shortcode"].startswith("M-Pesa knows no store number 600300")


def test_no_message_holds_a_secret(owner, prober):
    for proof in (Proof.KEYS, Proof.PRODUCT, Proof.NUMBER, Proof.PASSKEY):
        prober.proof = proof
        words = " ".join(wrong(owner, typed()).values())
        assert not any(secret in words for secret in SECRETS.values())
    assert "the-secret" not in repr(typed())


# Whose number it is.


@pytest.mark.parametrize(
    ("theirs", "field"),
    [
        ({"shortcode": "600300", "party_b": "5600999"}, "shortcode"),
        ({"shortcode": "600999", "party_b": "5600301"}, "party_b"),
    ],
    ids=["store number", "till"],
)
def test_a_number_of_another_shop_is_refused(owner, prober, theirs, field):
    MpesaAccountFactory(shop=ShopFactory(), **theirs)

    assert wrong(owner, typed()) == {field: account_entry.TAKEN}


def test_a_number_of_an_own_account_that_took_money_is_never_rewritten(owner, prober):
    own = MpesaAccountFactory(shop=owner.shop, type="till", shortcode="600300",
                              party_b="5600999")  # fmt: skip
    PaymentFactory(order__shop=owner.shop, account=own)

    assert wrong(owner, typed()) == {"shortcode": account_entry.TAKEN}


def test_a_paybill_needs_its_number_once(owner):
    whole = checked(typed(PAYBILL, party_b=""), owner.shop, None)

    assert (whole.shortcode, whole.party_b) == ("600400", "600400")


def test_blanks_around_are_no_part_of_anything(owner):
    whole = checked(
        typed(shortcode=" 600300 ", passkey=" the-passkey\n"), owner.shop, None
    )

    assert (whole.shortcode, whole.secrets["passkey"]) == ("600300", "the-passkey")


# Nothing of the sandbox where real money moves.


@pytest.fixture
def production(settings):
    settings.MPESA_ENV = "production"
    settings.MPESA_CALLBACK_URL = "https://duka.example.co.ke"


def test_the_sandboxs_number_and_passkey_are_refused_in_production(
    owner, prober, production, settings
):
    number = settings.SANDBOX_SHORTCODE
    told = wrong(owner, typed(PAYBILL, shortcode=number, party_b=number))
    assert told == {"shortcode": account_entry.SANDBOX_NUMBER}

    told = wrong(owner, typed(passkey=settings.SANDBOX_PASSKEY))
    assert told == {"passkey": account_entry.SANDBOX_SECRET}


def test_keys_that_the_shop_used_elsewhere_are_refused_in_production(
    owner, prober, production
):
    MpesaAccountFactory(
        shop=owner.shop, environment="sandbox", **TILL,
        consumer_key="sandbox-key", consumer_secret="sandbox-secret", passkey="pass-1",
    )  # fmt: skip

    told = wrong(
        owner, typed(consumer_key="sandbox-key", consumer_secret="sandbox-secret")
    )

    assert told == dict.fromkeys(
        ["consumer_key", "consumer_secret"], account_entry.SANDBOX_SECRET
    )


def test_secrets_of_another_environment_are_never_kept(owner, prober, production):
    old = MpesaAccountFactory(shop=owner.shop, environment="sandbox", **TILL)
    MpesaSettings.objects.filter(shop=owner.shop).update(
        uses_platform_account=False, account=old
    )

    told = wrong(owner, typed(consumer_key="", consumer_secret="", passkey=""))

    assert list(told) == ["consumer_key", "consumer_secret", "passkey"]
    assert MpesaAccount.objects.filter(environment="production").count() == 0
