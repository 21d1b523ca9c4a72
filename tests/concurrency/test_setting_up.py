"""Two people who set up M-Pesa at once: one saves, the other is told. One number, one
account; and no number changes under a payment that is being asked for."""

import pytest

from payments import account_entry, accounts, configuration, gateways, going_live
from payments.models import MpesaAccount, MpesaSettings, Payment
from shops.tenancy import Access
from tests.concurrency.racing import MARKS, kinds, together
from tests.factories import MembershipFactory, ShopFactory, UserFactory
from tests.payments.setup import PAYBILL, typed


pytestmark = MARKS


@pytest.fixture
def owner(alice):
    return Access(alice.user, alice.shop, "owner")


@pytest.fixture
def other_owner(duka):
    """The owner of a shop that has no settings yet."""
    shop = ShopFactory()
    user = UserFactory()
    MembershipFactory(user=user, shop=shop, role="owner")
    return Access(user, shop, "owner")


@pytest.fixture(autouse=True)
def prober(monkeypatch, mpesa):
    """The counting M-Pesa tries keys too."""
    monkeypatch.setattr(gateways, "prober", lambda: mpesa)
    return mpesa


def own_accounts(owner):
    rows = MpesaAccount.objects.filter(shop=owner.shop)
    return sorted(rows.values_list("party_b", flat=True))


def save_twice(owner):
    return together(
        lambda: configuration.enter(owner, typed()),
        lambda: configuration.enter(owner, typed(PAYBILL)),
    )


def test_of_two_who_save_at_once_one_is_told(owner, rendezvous):
    MpesaSettings.objects.get_or_create(shop=owner.shop)
    rendezvous(patience_s=0.3).after(configuration, "locked_settings")

    assert kinds(save_twice(owner)) == ["ChangedMeanwhile", "ok"]

    row = MpesaSettings.objects.get(shop=owner.shop)
    assert own_accounts(owner) == [row.candidate.party_b]
    assert row.version == 1


def test_two_who_save_at_once_both_win_without_the_lock(owner, off, rendezvous):
    MpesaSettings.objects.get_or_create(shop=owner.shop)
    off.lock(MpesaSettings)
    rendezvous().after(configuration, "locked_settings")

    assert kinds(save_twice(owner)) == ["ok", "ok"]

    # One of them is nobody's candidate, and the version counted one of two changes.
    assert own_accounts(owner) == ["5600301", "600400"]
    assert MpesaSettings.objects.get(shop=owner.shop).version == 1


# Who saves first in a shop that has no settings yet makes their row.


def test_of_two_who_save_for_the_first_time_one_is_told(other_owner, rendezvous):
    rendezvous().before(MpesaSettings, "save")

    assert kinds(save_twice(other_owner)) == ["ChangedMeanwhile", "ok"]

    row = MpesaSettings.objects.get(shop=other_owner.shop)
    assert own_accounts(other_owner) == [row.candidate.party_b]
    assert row.version == 1


def test_a_shop_has_settings_twice_without_the_constraint(other_owner, off, rendezvous):
    off.constraint(MpesaSettings, "shop")
    rendezvous().before(MpesaSettings, "save")
    # Each holds a row of its own before the other one is there to be seen.
    rendezvous().after(configuration, "locked_settings")

    assert kinds(save_twice(other_owner)) == ["ok", "ok"]

    rows = MpesaSettings.objects.filter(shop=other_owner.shop)
    assert sorted(row.candidate.party_b for row in rows) == ["5600301", "600400"]


@pytest.fixture
def tested(owner):
    """A till that is entered and tested."""
    configuration.enter(owner, typed())
    return configuration.verify(owner)[0]


def go_live_while_saving(owner):
    """The owner confirms what they looked at while somebody enters another key."""
    return together(
        lambda: going_live.go_live(owner, "5600301"),
        lambda: configuration.enter(owner, typed(passkey="another")),
    )


def is_live_as_tested(owner, account):
    account.refresh_from_db()
    row = MpesaSettings.objects.get(shop=owner.shop)
    return row.account == account and account.verified_at is not None


def test_what_goes_live_was_tested_as_it_is(owner, tested, rendezvous):
    rendezvous(patience_s=0.3).after(going_live, "why_not_live")

    results = go_live_while_saving(owner)

    assert kinds(results) in (["ChangedMeanwhile", "ok"], ["NotReady", "ok"])
    went_live = not isinstance(results[0], Exception)
    assert is_live_as_tested(owner, tested) == went_live


def test_who_is_told_live_is_not_or_untested_without_the_locks(
    owner, tested, off, rendezvous
):
    off.lock(MpesaSettings, MpesaAccount)
    here = rendezvous()
    here.after(going_live, "why_not_live")
    here.before(accounts, "take_test_back")

    assert kinds(go_live_while_saving(owner)) == ["ok", "ok"]

    assert not is_live_as_tested(owner, tested)


# One number is one account's.


def enter_the_same(owner, other):
    return together(
        lambda: configuration.enter(owner, typed()),
        lambda: configuration.enter(other, typed()),
    )


def test_of_two_shops_that_enter_one_number_one_has_it(owner, other_owner, rendezvous):
    rendezvous(patience_s=0.3).after(account_entry, "proved")

    assert kinds(enter_the_same(owner, other_owner)) == ["InvalidRequest", "ok"]

    assert MpesaAccount.objects.filter(party_b="5600301").count() == 1


def test_two_shops_share_one_number_without_the_constraints(
    owner, other_owner, off, rendezvous
):
    off.constraint(
        MpesaAccount,
        "shortcode_belongs_to_one_account",
        "party_b_belongs_to_one_account",
    )
    rendezvous().after(account_entry, "proved")

    assert kinds(enter_the_same(owner, other_owner)) == ["ok", "ok"]

    assert MpesaAccount.objects.filter(party_b="5600301").count() == 2


# No number changes under a payment.


def renumber_while_asking(owner):
    return together(
        lambda: going_live.pay_test(owner, "0711000222"),
        lambda: configuration.enter(owner, typed(party_b="5600302")),
    )


def is_as_its_account(payment):
    numbers = (payment.shortcode, payment.party_b)
    return numbers == (payment.account.shortcode, payment.account.party_b)


def test_a_payment_keeps_the_numbers_of_its_account(owner, mpesa, rendezvous):
    configuration.enter(owner, typed())
    rendezvous(patience_s=0.3).after(accounts, "held")

    # Who asks second is told; who enters second finds the account used, and the
    # store number is that account's.
    assert kinds(renumber_while_asking(owner)) in (
        ["NotConfigured", "ok"],
        ["InvalidRequest", "ok"],
    )
    assert all(is_as_its_account(one) for one in Payment.objects.all())


def test_a_payments_account_is_renumbered_without_the_lock(
    owner, mpesa, off, rendezvous
):
    configuration.enter(owner, typed())
    off.lock(MpesaAccount)
    here = rendezvous()
    here.after(accounts, "held")
    here.before(accounts, "take_test_back")

    assert kinds(renumber_while_asking(owner)) == ["ok", "ok"]

    assert not is_as_its_account(Payment.objects.get())
