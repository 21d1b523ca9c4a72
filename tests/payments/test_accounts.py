"""Which account takes a shop's money: chosen, never fallen back to."""

import contextlib

import pytest
from django.db import IntegrityError, transaction

from payments import accounts
from payments.enums import AccountType
from payments.models import MpesaAccount, MpesaSettings
from tests.factories import MpesaAccountFactory, ShopFactory


pytestmark = pytest.mark.django_db


@pytest.fixture
def shop():
    """A shop that has chosen nothing."""
    return ShopFactory()


@pytest.fixture
def own(shop):
    """Its own account, not chosen yet."""
    return MpesaAccountFactory(shop=shop)


def choose(shop, **choice):
    MpesaSettings.objects.update_or_create(shop=shop, defaults=choice)


def refused(shop):
    with pytest.raises(accounts.NotConfigured) as refusal:
        accounts.account_of(shop)
    return refusal.value.code, refusal.value.http_status


NOT_CONFIGURED = ("MPESA_NOT_CONFIGURED", 409)


# No silent fallback.


def test_a_shop_that_chose_nothing_has_no_account(shop):
    assert accounts.platform_account() is not None

    assert refused(shop) == NOT_CONFIGURED


def test_an_account_that_is_not_chosen_is_not_used(shop, own):
    assert refused(shop) == NOT_CONFIGURED


def test_a_choice_of_nothing_is_no_choice(shop, own):
    choose(shop, account=None)

    assert refused(shop) == NOT_CONFIGURED


def test_a_shop_uses_its_own_account(shop, own):
    choose(shop, account=own)

    assert accounts.account_of(shop) == own


def test_a_shop_uses_the_platforms_account_when_it_says_so(shop, own):
    choose(shop, uses_platform_account=True)

    assert accounts.account_of(shop) == accounts.platform_account()


def test_an_own_account_that_is_switched_off_is_no_reason_to_use_the_platforms(
    shop, own
):
    accounts.platform_account()
    choose(shop, account=own)
    MpesaAccount.objects.filter(pk=own.pk).update(is_active=False)

    assert refused(shop) == NOT_CONFIGURED


def test_a_platform_without_an_account_has_none(shop, settings):
    choose(shop, uses_platform_account=True)
    settings.MPESA_SHORTCODE = ""

    assert accounts.platform_account() is None
    assert refused(shop) == NOT_CONFIGURED


# Only the installation's environment settles sales.


@pytest.mark.parametrize("environment", ["sandbox", "production"])
def test_an_account_of_another_environment_sends_nothing(shop, own, environment):
    choose(shop, account=own)
    MpesaAccount.objects.update(environment=environment)

    assert refused(shop) == NOT_CONFIGURED


# The platform's account is a row.


def facts():
    return list(
        MpesaAccount.objects.order_by("created_at").values_list(
            "environment", "type", "shortcode", "party_b", "shop"
        )
    )


def test_the_platforms_account_is_made_once():
    first, second = accounts.platform_account(), accounts.platform_account()

    assert first == second
    assert facts() == [("simulator", "paybill", "600100", "600100", None)]


def test_looking_at_it_writes_nothing(django_assert_num_queries):
    accounts.platform_account()

    with django_assert_num_queries(1):
        accounts.platform_account()


def test_new_numbers_make_a_new_row(settings):
    old = accounts.platform_account()
    settings.MPESA_SHORTCODE, settings.MPESA_PARTY_B = "600999", "600999"

    new = accounts.platform_account()

    assert new != old
    assert [row[2] for row in facts()] == ["600100", "600999"]
    assert accounts.credentials(old).shortcode == "600100"


def test_another_environment_makes_a_new_row(settings):
    old = accounts.platform_account()
    settings.MPESA_ENV = "sandbox"

    assert accounts.platform_account() != old


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("MPESA_CONSUMER_KEY", "consumer_key"),
        ("MPESA_CONSUMER_SECRET", "consumer_secret"),
        ("MPESA_PASSKEY", "passkey"),
        ("MPESA_INITIATOR_NAME", "initiator_name"),
        ("MPESA_INITIATOR_PASSWORD", "initiator_password"),
    ],
)
def test_new_keys_replace_the_old_ones(settings, setting, name):
    old = accounts.platform_account()
    setattr(settings, setting, "new one")

    account = accounts.platform_account()

    assert account == old
    assert getattr(MpesaAccount.objects.get(), name) == "new one"


def test_keys_that_do_not_open_are_written_anew(settings):
    accounts.platform_account()
    settings.MPESA_ENCRYPTION_KEYS = [b"\x77" * 32]

    account = accounts.platform_account()

    assert account.passkey == settings.MPESA_PASSKEY
    assert MpesaAccount.objects.count() == 1


def test_a_number_that_another_account_has_is_nobodys_platform(shop, settings, caplog):
    MpesaAccountFactory(shop=shop, shortcode=settings.MPESA_SHORTCODE)

    assert accounts.platform_account() is None

    assert "belong to another account" in caplog.text
    assert MpesaAccount.objects.count() == 1


def test_a_process_that_was_faster_made_it(monkeypatch):
    original = accounts._with_keys_of_settings

    def beaten(account):
        other = MpesaAccount(
            environment=account.environment, type=account.type,
            shortcode=account.shortcode, party_b=account.party_b,
        )  # fmt: skip
        made.append(original(other))
        raise IntegrityError("shortcode_belongs_to_one_account")

    made = []
    monkeypatch.setattr(accounts, "_with_keys_of_settings", beaten)
    monkeypatch.setattr(accounts.transaction, "atomic", contextlib.nullcontext)

    assert accounts.platform_account() == made[0]


# Secrets.


def test_credentials_are_unsealed_for_the_gateway(own):
    found = accounts.credentials(own)

    assert (found.shortcode, found.party_b, found.is_till, found.environment) == (
        "600200", "600200", False, "simulator"
    )  # fmt: skip
    assert (found.consumer_key, found.consumer_secret, found.passkey) == (
        "sim-shop2-key", "sim-shop2-secret", "simshop2passkey".ljust(64, "0")
    )  # fmt: skip


def test_a_till_says_so(shop):
    till = MpesaAccountFactory(
        shop=shop, type=AccountType.TILL, shortcode="600300", party_b="5600301"
    )

    assert accounts.credentials(till).is_till is True


@pytest.mark.parametrize("name", ["consumer_key", "consumer_secret", "passkey"])
def test_an_account_without_a_key_is_not_configured(own, name):
    setattr(own, name, "")

    with pytest.raises(accounts.NotConfigured):
        accounts.credentials(own)


def test_keys_that_cannot_be_read_are_told(own, settings):
    settings.MPESA_ENCRYPTION_KEYS = [b"\x77" * 32]

    with pytest.raises(accounts.NotConfigured, match="cannot be read"):
        accounts.credentials(own)


def test_nothing_readable_is_in_the_row(own):
    row = MpesaAccount.objects.filter(pk=own.pk).values().get()
    dump = repr({name: bytes(v) if "sealed" in name and v else v
                 for name, v in row.items()})  # fmt: skip

    for secret in ("sim-shop2-key", "sim-shop2-secret", "simshop2passkey"):
        assert secret not in dump


# The limit of one prompt.


@pytest.mark.parametrize(
    ("chosen", "most"),
    [(None, 250_000), (70_000, 70_000), (250_001, 250_000), (1, 1)],
    ids=str,
)
def test_a_shop_may_lower_the_limit(shop, chosen, most):
    choose(shop, max_amount=chosen)

    assert accounts.max_amount(shop) == most


def test_without_a_choice_the_limit_is_the_installations(shop, settings):
    settings.MPESA_MAX_AMOUNT = 150_000

    assert accounts.max_amount(shop) == 150_000


# What the database itself refuses.


@pytest.mark.parametrize("number", ["shortcode", "party_b"])
def test_a_number_belongs_to_one_account(own, number):
    numbers = {"shortcode": "611111", "party_b": "622222"}

    with pytest.raises(IntegrityError), transaction.atomic():
        MpesaAccountFactory(**numbers | {number: getattr(own, number)})

    assert MpesaAccount.objects.count() == 1


def test_a_number_may_be_used_in_another_environment(own):
    MpesaAccountFactory(environment="sandbox")

    assert MpesaAccount.objects.count() == 2


def test_a_shop_cannot_choose_both(shop, own):
    with pytest.raises(IntegrityError, match="shop_uses_its_own"), transaction.atomic():
        choose(shop, account=own, uses_platform_account=True)


def test_an_unknown_type_is_refused(own):
    with (
        pytest.raises(IntegrityError, match="mpesa_account_type_is_known"),
        transaction.atomic(),
    ):
        MpesaAccount.objects.update(type="bank")
