"""Entering an account: a candidate, beside what is live; any change takes tests back."""

from datetime import timedelta

import pytest

from payments import account_entry, accounts, configuration, going_live
from payments.configuration import ChangedMeanwhile, NotEntered, Standing
from payments.gateways.base import Proof
from payments.models import MpesaAccount, MpesaSettings
from shops.tenancy import Access
from smartduka.lib.errors import Forbidden, InvalidRequest
from tests.factories import MpesaAccountFactory, PaymentFactory, ShopFactory
from tests.payments.conftest import START
from tests.payments.setup import PAYBILL, SECRETS, TILL, typed
from tests.support.facts import nothing_changes


pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("messages")]
KEPT = {"consumer_key": "", "consumer_secret": "", "passkey": ""}


@pytest.fixture
def owner(alice):
    return Access(alice.user, alice.shop, "owner")


@pytest.fixture
def live(owner, prober):
    """A till that is live."""
    configuration.enter(owner, typed())
    configuration.verify(owner)
    return going_live.go_live(owner, "5600301")


def row_of(owner):
    return MpesaSettings.objects.get(shop=owner.shop)


def facts(account):
    account.refresh_from_db()
    secrets = {name: getattr(account, name) for name in SECRETS}
    numbers = {name: getattr(account, name) for name in TILL}
    return numbers | secrets


def test_what_is_entered_is_a_candidate_and_the_till_goes_on(owner, prober):
    saved = configuration.enter(owner, typed())

    assert facts(saved.account) == TILL | SECRETS
    assert saved.account.environment == "simulator"
    assert saved.changed == (
        *("environment", "type", "shortcode", "party_b"),
        *("consumer_key", "consumer_secret", "passkey"),
    )
    row = row_of(owner)
    assert (row.account, row.candidate, row.version) == (None, saved.account, 1)
    assert accounts.account_of(owner.shop) == accounts.platform_account()


def test_a_shop_without_settings_gets_them(owner, prober):
    MpesaSettings.objects.filter(shop=owner.shop).delete()

    saved = configuration.enter(owner, typed())

    assert row_of(owner).candidate == saved.account
    assert accounts.why_not(owner.shop) == accounts.NOT_LIVE


def test_each_secret_says_when_it_was_entered(owner, prober, time):
    saved = configuration.enter(owner, typed())
    time.turn(60)

    configuration.enter(owner, typed(**KEPT | {"passkey": "another"}))

    saved.account.refresh_from_db()
    later = START + timedelta(seconds=60)
    at = {name: configuration.set_at(saved.account, name) for name in accounts.SECRETS}
    assert at == {
        "consumer_key": START,
        "consumer_secret": START,
        "passkey": later,
        "initiator_password": None,
    }
    assert facts(saved.account) == TILL | SECRETS | {"passkey": "another"}


def test_a_secret_from_before_the_note_was_entered_with_its_row(owner):
    account = MpesaAccountFactory(shop=owner.shop)

    assert configuration.set_at(account, "passkey") == account.created_at


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"passkey": "another"}, "passkey"),
        ({"party_b": "5600302"}, "number that customers pay to"),
        (
            {"initiator_name": "api", "initiator_password": "secret"},
            "initiator, initiator's password",
        ),
    ],
    ids=["a key", "a number", "an initiator"],
)
def test_any_change_takes_back_what_was_tested(owner, prober, change, named):
    configuration.enter(owner, typed())
    account, _ = configuration.verify(owner)
    assert configuration.verification(account) == "verified"

    saved = configuration.enter(owner, typed(**KEPT | change))

    assert saved.account == account
    account.refresh_from_db()
    assert configuration.verification(account) == "pending"
    assert configuration.names_of(saved.changed) == named


def test_saving_the_same_again_changes_nothing(owner, prober):
    configuration.enter(owner, typed())
    configuration.verify(owner)

    with nothing_changes():
        saved = configuration.enter(owner, typed(**KEPT))

    assert saved.changed == ()


# Other numbers are another account, once there was money.


def test_other_numbers_of_a_candidate_nobody_paid_are_written_over(owner, prober):
    first = configuration.enter(owner, typed()).account

    second = configuration.enter(owner, typed(PAYBILL)).account

    assert second == first
    assert facts(first) == PAYBILL | SECRETS


@pytest.mark.usefixtures("mpesa")
def test_other_numbers_of_a_used_account_are_another_account(owner, live):
    PaymentFactory(order__shop=owner.shop, account=live)

    saved = configuration.enter(owner, typed(PAYBILL))

    assert saved.account != live
    assert facts(live) == TILL | SECRETS
    row = row_of(owner)
    assert (row.account, row.candidate) == (live, saved.account)
    assert accounts.account_of(owner.shop) == live


def test_numbers_that_the_shop_had_before_are_its_account_again(owner, live):
    PaymentFactory(order__shop=owner.shop, account=live)
    configuration.enter(owner, typed(PAYBILL))

    saved = configuration.enter(owner, typed(**KEPT))

    assert saved.account == live
    assert row_of(owner).candidate is None


def test_a_failed_test_does_not_freeze_a_wrong_till_number(owner, prober, mpesa):
    account = configuration.enter(owner, typed(party_b="5600999")).account
    test = going_live.pay_test(owner, "0712345678").payment
    assert account.is_used
    test.status, test.decided_at, test.failure_reason = (
        "failed", test.created_at, "shop_account",
    )  # fmt: skip
    test.save()

    saved = configuration.enter(owner, typed())

    assert saved.account == account
    assert facts(account) == TILL | SECRETS
    test.refresh_from_db()
    assert (test.shortcode, test.party_b) == ("600300", "5600999")


def test_a_live_account_that_nobody_paid_and_gets_other_numbers_is_not_live(
    owner, live
):
    saved = configuration.enter(owner, typed(party_b="5600302"))

    assert saved.account == live
    row = row_of(owner)
    assert (row.account, row.candidate) == (None, live)
    assert accounts.why_not(owner.shop) == accounts.NOT_LIVE


def test_another_environment_is_another_account(owner, live, settings):
    settings.MPESA_ENV = "sandbox"
    assert accounts.why_not(owner.shop) == accounts.OTHER_ENVIRONMENT

    saved = configuration.enter(owner, typed())

    assert saved.account != live
    assert (saved.account.environment, live.environment) == ("sandbox", "simulator")
    assert row_of(owner).account == live


# A live account.


def test_keys_of_a_live_account_are_changed_in_place(owner, live):
    saved = configuration.enter(owner, typed(**KEPT | {"passkey": "another"}))

    assert saved.account == live
    assert facts(live) == TILL | SECRETS | {"passkey": "another"}
    assert accounts.account_of(owner.shop) == live
    assert configuration.verification(live) == "pending"


@pytest.mark.parametrize("proof", [Proof.UNREACHED, Proof.UNCLEAR], ids=str)
def test_keys_of_a_live_account_are_changed_only_when_mpesa_takes_them(
    owner, live, prober, proof
):
    prober.proof = proof

    with nothing_changes(), pytest.raises(InvalidRequest) as refusal:
        configuration.enter(owner, typed(passkey="another"))

    assert refusal.value.message.startswith(configuration.LIVE_UNPROVED)


@pytest.mark.parametrize("proof", [Proof.UNREACHED, Proof.UNCLEAR], ids=str)
def test_a_candidate_may_wait_for_mpesa(owner, prober, proof):
    prober.proof = proof

    saved = configuration.enter(owner, typed())

    assert not saved.tested.is_good
    assert configuration.verification(saved.account) == "pending"


# Testing.


def test_a_test_is_noted(owner, prober, time):
    configuration.enter(owner, typed())
    time.turn(30)

    account, tested = configuration.verify(owner)

    assert tested.is_good
    assert account.verified_at == START + timedelta(seconds=30)


def test_a_test_that_fails_says_why(owner, prober):
    configuration.enter(owner, typed())
    configuration.verify(owner)
    prober.proof = Proof.PASSKEY

    account, tested = configuration.verify(owner)

    assert configuration.verification(account) == "failed"
    assert account.test_failed == tested.summary


def test_nobody_reached_takes_nothing_back(owner, prober):
    configuration.enter(owner, typed())
    configuration.verify(owner)
    prober.proof = Proof.UNREACHED

    account, _ = configuration.verify(owner)

    assert configuration.verification(account) == "verified"


def test_a_test_of_what_was_changed_meanwhile_is_not_noted(owner, prober):
    configuration.enter(owner, typed())

    def changed_meanwhile(_):
        prober.proof = Proof.GOOD
        configuration.enter(owner, typed(**KEPT | {"passkey": "another"}))
        return Proof.GOOD

    prober.proof = changed_meanwhile

    account, _ = configuration.verify(owner)

    assert configuration.verification(account) == "pending"


def test_without_an_account_there_is_nothing_to_test(owner, prober):
    with pytest.raises(NotEntered):
        configuration.verify(owner)


# Two people.


def test_who_looked_at_something_older_is_told(owner, prober):
    configuration.enter(owner, typed(), seen=0)

    with nothing_changes(), pytest.raises(ChangedMeanwhile):
        configuration.enter(owner, typed(PAYBILL), seen=0)


def test_who_was_overtaken_while_mpesa_was_asked_is_told(owner, prober):
    def overtaken(_):
        prober.proof = Proof.GOOD
        configuration.enter(owner, typed(PAYBILL))
        return Proof.GOOD

    prober.proof = overtaken

    with pytest.raises(ChangedMeanwhile):
        configuration.enter(owner, typed())

    assert facts(row_of(owner).candidate) == PAYBILL | SECRETS


def test_a_number_that_was_taken_while_mpesa_was_asked_is_told(owner, prober):
    def taken(_):
        MpesaAccountFactory(shop=ShopFactory(), **TILL)
        return Proof.GOOD

    prober.proof = taken

    with pytest.raises(InvalidRequest) as refusal:
        configuration.enter(owner, typed())

    assert refusal.value.details == {"shortcode": [account_entry.TAKEN]}
    assert MpesaAccount.objects.filter(shop=owner.shop).count() == 0


# Who.


@pytest.mark.parametrize("role", ["manager", "cashier", "auditor"])
def test_only_the_owner_sets_up_mpesa(alice, prober, role):
    access = Access(alice.user, alice.shop, role)

    with nothing_changes():
        for act in (
            lambda: configuration.enter(access, typed()),
            lambda: configuration.verify(access),
            lambda: going_live.pay_test(access, "0712345678"),
            lambda: going_live.go_live(access, "5600301"),
            lambda: going_live.choose_platform(access),
            lambda: going_live.stop(access),
        ):
            with pytest.raises(Forbidden):
                act()
    assert prober.probes == []


# Where a shop stands.


def test_a_shop_that_chose_nothing_stands_nowhere():
    shop = ShopFactory()

    assert configuration.standing(shop) == Standing(
        version=0,
        own=None,
        live=None,
        is_platform=False,
        why_not=accounts.NotConfigured.message,
        last_test=None,
    )


def test_a_shop_on_the_platforms_account_says_so(owner):
    standing = configuration.standing(owner.shop)

    assert (standing.mode, standing.is_live) == ("platform", False)
    assert standing.live == accounts.platform_account()


def test_what_is_set_up_is_shown_beside_what_is_live(owner, live, prober):
    PaymentFactory(order__shop=owner.shop, account=live)
    candidate = configuration.enter(owner, typed(PAYBILL)).account

    standing = configuration.standing(owner.shop)

    assert (standing.mode, standing.live, standing.own) == ("own", live, candidate)
    assert not standing.is_live
