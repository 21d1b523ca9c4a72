"""Whose account takes the money: tried with a shilling, tested, confirmed, chosen."""

from decimal import Decimal

import pytest
from django.db import transaction

from orders.models import Order
from payments import accounts, configuration, going_live, prompting, settlement
from payments.configuration import ChangedMeanwhile, NotEntered
from payments.enums import Source
from payments.gateways.base import Proof
from payments.going_live import NotReady
from payments.models import Allocation, MpesaAccount, MpesaSettings, Payment
from shops.models import StockMovement
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.errors import InvalidRequest
from tests.factories import MpesaAccountFactory, ShopFactory
from tests.payments.setup import PAYBILL, typed
from tests.support.facts import nothing_changes


pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("messages")]
PHONE = "0712345678"


@pytest.fixture
def owner(alice):
    return Access(alice.user, alice.shop, "owner")


@pytest.fixture
def candidate(owner, prober):
    """A till that is entered and tested."""
    configuration.enter(owner, typed())
    return configuration.verify(owner)[0]


def choice(owner):
    row = MpesaSettings.objects.get(shop=owner.shop)
    return row.account, row.uses_platform_account, row.candidate


def pays(payment):
    with transaction.atomic():
        order, locked = settlement.locked(payment.pk)
        proof = settlement.Proof(
            Source.CALLBACK, "UAE5TESTED", payment.phone, clock.now()
        )
        settlement.record_success(order, locked, proof)
    payment.refresh_from_db()


def not_ready(owner, confirmed="5600301"):
    with nothing_changes(), pytest.raises(NotReady) as refusal:
        going_live.go_live(owner, confirmed)
    return refusal.value.message


# Going live.


def test_a_tested_account_goes_live(owner, candidate):
    assert going_live.go_live(owner, " 5600301 ") == candidate

    assert choice(owner) == (candidate, False, None)
    assert accounts.account_of(owner.shop) == candidate
    assert accounts.why_not(owner.shop) == ""


def test_the_number_is_typed_once_more(owner, candidate):
    with nothing_changes(), pytest.raises(InvalidRequest) as refusal:
        going_live.go_live(owner, "5600302")

    assert refusal.value.details == {"confirm": [going_live.OTHER_NUMBER]}


def test_an_account_that_was_not_tested_does_not_go_live(owner, prober):
    configuration.enter(owner, typed())

    assert not_ready(owner) == going_live.UNTESTED


def test_an_account_that_was_changed_after_its_test_does_not_go_live(owner, candidate):
    configuration.enter(owner, typed(passkey="another"))

    assert not_ready(owner) == going_live.UNTESTED


def test_an_account_of_another_environment_does_not_go_live(owner, candidate, settings):
    settings.MPESA_ENV = "sandbox"

    assert not_ready(owner) == going_live.OTHER_PLACE


def test_an_account_whose_keys_are_gone_does_not_go_live(owner, candidate):
    MpesaAccount.objects.filter(pk=candidate.pk).update(passkey_sealed=None)

    assert not_ready(owner) == going_live.KEYS_MISSING


def test_real_money_is_told_over_https_alone(owner, candidate, settings):
    settings.MPESA_ENV = "production"
    MpesaAccount.objects.filter(pk=candidate.pk).update(environment="production")
    settings.MPESA_CALLBACK_URL = "http://duka.example.co.ke"
    assert not_ready(owner) == going_live.NOT_HTTPS

    settings.MPESA_CALLBACK_URL = "https://duka.example.co.ke"
    assert going_live.go_live(owner, "5600301") == candidate


def test_without_an_account_nothing_goes_live(owner):
    with nothing_changes(), pytest.raises(NotEntered):
        going_live.go_live(owner, "5600301")


def test_who_looked_at_something_older_chooses_nothing(owner, candidate):
    for act in (
        lambda: going_live.go_live(owner, "5600301", seen=0),
        lambda: going_live.choose_platform(owner, seen=0),
        lambda: going_live.stop(owner, seen=0),
    ):
        with nothing_changes(), pytest.raises(ChangedMeanwhile):
            act()


def test_a_shilling_that_arrived_proves_what_mpesa_does_not_say(
    owner, prober, mpesa, time
):
    prober.proof = Proof.UNCLEAR
    account = configuration.enter(owner, typed()).account
    configuration.verify(owner)
    assert not_ready(owner) == going_live.UNTESTED
    time.turn(1)
    payment = going_live.pay_test(owner, PHONE).payment
    assert not_ready(owner) == going_live.UNTESTED

    pays(payment)

    assert going_live.go_live(owner, "5600301") == account


@pytest.mark.parametrize("after", ["other keys", "a test that fails"])
def test_a_shilling_proves_nothing_of_what_came_after_it(
    owner, prober, mpesa, time, after
):
    configuration.enter(owner, typed())
    time.turn(1)
    pays(going_live.pay_test(owner, PHONE).payment)
    time.turn(1)

    if after == "other keys":
        prober.proof = Proof.UNCLEAR
        configuration.enter(owner, typed(passkey="another"))
    else:
        prober.proof = Proof.PASSKEY
        configuration.verify(owner)

    assert not_ready(owner) == going_live.UNTESTED


# The other choices.


def test_the_platforms_account_is_chosen_and_the_own_one_stays_at_hand(
    owner, candidate
):
    going_live.go_live(owner, "5600301")

    chosen = going_live.choose_platform(owner)

    assert chosen == accounts.platform_account()
    assert choice(owner) == (None, True, candidate)
    assert accounts.account_of(owner.shop) == chosen


def test_a_platform_without_an_account_cannot_be_chosen(owner, candidate, settings):
    settings.MPESA_SHORTCODE = ""

    with nothing_changes(), pytest.raises(accounts.NotConfigured) as refusal:
        going_live.choose_platform(owner)

    assert refusal.value.message == accounts.NO_PLATFORM


def test_a_shop_that_stops_sends_no_prompts_and_is_told_why(
    owner, candidate, order, mpesa
):
    going_live.go_live(owner, "5600301")
    going_live.stop(owner)

    assert choice(owner) == (None, False, candidate)
    with pytest.raises(accounts.NotConfigured) as refusal:
        prompting.request(access=owner, order_id=order.pk, phone=PHONE, amount=None,
                          key=None, accept_risk=False)  # fmt: skip
    assert refusal.value.message == accounts.NOT_LIVE
    assert mpesa.pushes == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"is_active": False}, accounts.NOT_USED),
        ({"environment": "sandbox"}, accounts.OTHER_ENVIRONMENT),
        ({"passkey_sealed": None}, accounts.NO_KEYS),
    ],
    ids=["not used", "elsewhere", "no passkey"],
)
def test_a_live_account_that_cannot_prompt_says_why(owner, candidate, change, why):
    going_live.go_live(owner, "5600301")
    MpesaAccount.objects.filter(pk=candidate.pk).update(**change)

    assert accounts.why_not(owner.shop) == why


# A shilling.


def test_a_test_payment_is_a_sale_of_its_own_into_the_candidate(
    owner, candidate, mpesa
):
    prompted = going_live.pay_test(owner, PHONE)

    payment, order = prompted.payment, prompted.payment.order
    assert (payment.status, payment.account, payment.amount) == (
        "pending", candidate, Decimal(1),
    )  # fmt: skip
    assert (order.total, order.is_test, order.lines.count()) == (Decimal(1), True, 0)
    assert [one.reason for one in order.events.all()] == ["To test M-Pesa: no goods"]
    (sent,) = mpesa.accounts
    assert (sent.shortcode, sent.party_b) == ("600300", "5600301")
    assert accounts.account_of(owner.shop) != candidate


def test_its_shilling_is_in_the_books_and_moves_no_stock(owner, candidate, mpesa):
    payment = going_live.pay_test(owner, PHONE).payment
    moved = StockMovement.objects.count()

    pays(payment)

    order = Order.objects.get(pk=payment.order_id)
    assert (order.status, order.paid) == ("paid", Decimal(1))
    allocation = Allocation.objects.get(order=order)
    assert (allocation.kind, allocation.amount) == ("sale", Decimal(1))
    assert allocation.collection.account == candidate
    assert StockMovement.objects.count() == moved
    standing = configuration.standing(owner.shop)
    assert (standing.last_test, standing.paid_at) == (payment, payment.completed_at)


def test_a_test_that_nobody_paid_is_taken_again(owner, candidate, mpesa, time):
    first = going_live.pay_test(owner, PHONE).payment
    time.turn(130)

    second = going_live.pay_test(owner, "0711000222").payment

    assert first.order == second.order
    assert first != second
    assert len(mpesa.pushes) == 2


def test_a_test_that_is_paid_is_over(owner, candidate, mpesa, time):
    first = going_live.pay_test(owner, PHONE).payment
    pays(first)
    time.turn(200)

    second = going_live.pay_test(owner, PHONE).payment

    assert first.order != second.order


def test_a_retry_of_a_test_tests_the_same_account(owner, candidate, mpesa, time):
    payment = going_live.pay_test(owner, PHONE).payment
    with transaction.atomic():
        order, locked = settlement.locked(payment.pk)
        settlement.record_failure(order, locked, "1032", source=Source.CALLBACK)
    time.turn(30)

    retried = prompting.retry(access=owner, payment_id=payment.pk).payment

    assert retried.account == candidate


def test_a_test_without_a_candidate_tries_what_is_live(owner, mpesa):
    payment = going_live.pay_test(owner, PHONE).payment

    assert payment.account == accounts.platform_account()


def test_numbers_that_were_changed_meanwhile_are_asked_for_nothing(
    owner, candidate, mpesa
):
    MpesaAccount.objects.filter(pk=candidate.pk).update(party_b="5600302")

    with pytest.raises(accounts.NotConfigured) as refusal:
        prompting.request(
            access=owner, order_id=going_live.checkout.place_test(
                shop=owner.shop, actor=owner.user).pk,
            phone=PHONE, amount=None, key=None, accept_risk=False, account=candidate,
        )  # fmt: skip

    assert refusal.value.message == accounts.CHANGED
    assert mpesa.pushes == []
    assert Payment.objects.count() == 0


def test_a_test_of_another_environments_account_is_refused(
    owner, candidate, mpesa, settings
):
    settings.MPESA_ENV = "sandbox"

    with nothing_changes(), pytest.raises(accounts.NotConfigured):
        going_live.pay_test(owner, PHONE)


def test_tests_of_another_shop_are_not_ours(owner, candidate, mpesa):
    going_live.pay_test(owner, PHONE)
    other = ShopFactory()
    MpesaAccountFactory(shop=other, **PAYBILL)

    assert configuration.last_test(other, candidate) is None
