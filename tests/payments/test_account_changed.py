"""Numbers and keys change under an open payment: it stays what it was sent as."""

import pytest

from payments import accounts, prompting, questions
from payments.models import (
    AccountHook,
    Collection,
    MpesaAccount,
    MpesaSettings,
    Receipt,
)
from tests.factories import MpesaAccountFactory, OrderFactory, PaymentFactory
from tests.support import by_hand, callbacks
from tests.support.facts import kes, money_of, sale_of
from tests.support.gateway import final


pytestmark = pytest.mark.django_db

PHONE = "254712345678"
SALE = [("sale", kes(250))]


def prompt(seller, order, phone=PHONE):
    prompted = prompting.request(
        access=seller,
        order_id=order.pk,
        phone=phone,
        amount=None,
        key=None,
        accept_risk=False,
    )
    return prompted.payment


def sent_as(payment):
    payment.refresh_from_db()
    return payment.account.shortcode, payment.shortcode, payment.party_b


@pytest.fixture
def renumber(settings, duka):
    """Give the shop other numbers, in the ways in which that happens."""

    def platform():
        settings.MPESA_SHORTCODE = settings.MPESA_PARTY_B = "600555"

    def own():
        account = MpesaAccountFactory(shop=duka, shortcode="600555")
        MpesaSettings.objects.filter(shop=duka).update(
            account=account, uses_platform_account=False
        )

    return {"platform": platform, "own": own}


@pytest.mark.parametrize("how", ["platform", "own"])
def test_account_numbers_changed_under_an_open_payment(
    how, seller, order, mpesa, renumber, client, duka
):
    old = prompt(seller, order)
    hook = mpesa.pushes[0].callback_url.partition("/hooks")[2]
    renumber[how]()
    new = prompt(seller, OrderFactory(shop=duka), "254712345679")

    # The old one is asked about with the numbers that it was sent with.
    mpesa.answers[old.checkout_request_id] = final("0")
    assert questions.ask(old.pk) is True

    assert sent_as(old) == ("600100", "600100", "600100")
    assert sent_as(new) == ("600555", "600555", "600555")
    assert [one.shortcode for one in mpesa.accounts] == ["600100", "600555"]
    assert money_of(order) == [("query", None, kes(250), SALE)]

    # Its callback comes to the address that it was given.
    old.refresh_from_db()
    answer = client.post(
        f"/hooks{hook}", callbacks.success(old), content_type="application/json"
    )
    assert answer.status_code == 200
    assert money_of(order) == [("query", callbacks.RECEIPT, kes(250), SALE)]
    collection = Collection.objects.get()
    assert collection.account.shortcode == "600100"
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))


def test_a_question_uses_the_old_account(seller, order, mpesa, renumber, monkeypatch):
    asked_with = []
    query = mpesa.query
    monkeypatch.setattr(
        mpesa,
        "query",
        lambda account, checkout, limit_s: (
            asked_with.append(account.shortcode),
            query(account, checkout, limit_s=limit_s),
        )[1],
    )
    old = prompt(seller, order)
    renumber["own"]()

    questions.ask(old.pk)

    assert asked_with == ["600100"]


def test_a_retry_goes_to_the_new_account(seller, order, mpesa, renumber, time):
    old = prompt(seller, order)
    mpesa.answers[old.checkout_request_id] = final("1")
    questions.ask(old.pk)
    renumber["own"]()
    time.turn(10)

    again = prompting.retry(access=seller, payment_id=old.pk).payment

    assert (sent_as(old)[0], sent_as(again)[0]) == ("600100", "600555")


def test_an_account_that_was_switched_off_is_still_asked(seller, order, mpesa):
    old = prompt(seller, order)
    MpesaAccount.objects.update(is_active=False)
    mpesa.answers[old.checkout_request_id] = final("0")

    assert questions.ask(old.pk) is True

    assert money_of(order) == [("query", None, kes(250), SALE)]
    with pytest.raises(accounts.NotConfigured):
        accounts.account_of(order.shop)


def test_another_environment_answers_for_no_money(seller, order, mpesa, settings):
    old = prompt(seller, order)
    mpesa.otherwise = final("0")
    settings.MPESA_ENV = "sandbox"

    assert questions.ask(old.pk) is False

    assert money_of(order) == []


# The numbers of an account that was used are for ever.

OTHER = {
    "environment": "sandbox",
    "type": "till",
    "shortcode": "600555",
    "party_b": "600555",
    "shop_id": None,
}


def numbers_of(account):
    return MpesaAccount.objects.filter(pk=account.pk).values(*OTHER).get()


def by_prompt(account, shop):
    PaymentFactory(order=OrderFactory(shop=shop), account=account)


def by_address(account, shop):
    by_hand.address(account)


def by_payment_by_hand(account, shop):
    by_hand.deliver(account, by_hand.confirmation(account))
    AccountHook.objects.all().delete()
    assert Receipt.objects.get().account == account


@pytest.mark.parametrize("use", [by_prompt, by_address, by_payment_by_hand])
@pytest.mark.parametrize("name", OTHER)
def test_numbers_of_a_used_account_cannot_be_changed_in_place(duka, name, use):
    account = MpesaAccountFactory(shop=duka, shortcode="600300")
    use(account, duka)
    before = numbers_of(account)
    setattr(account, name, OTHER[name])

    with pytest.raises(TypeError, match="never change"):
        account.save()
    with pytest.raises(TypeError, match="never change"):
        account.save(update_fields=[name])

    assert numbers_of(account) == before


def test_keys_of_a_used_account_may_be_changed(duka):
    account = MpesaAccountFactory(shop=duka, shortcode="600300")
    by_prompt(account, duka)
    account.consumer_key, account.is_active = "another key", False

    account.save()

    stored = MpesaAccount.objects.get(pk=account.pk)
    assert (stored.consumer_key, stored.is_active) == ("another key", False)


def test_numbers_that_nobody_used_yet_may_be_corrected(duka):
    account = MpesaAccountFactory(shop=duka, shortcode="600300")
    account.shortcode = account.party_b = "600555"

    account.save()

    assert numbers_of(account)["shortcode"] == "600555"


def test_nobody_changes_numbers_in_the_books(operator, duka):
    account = MpesaAccountFactory(shop=duka, shortcode="600300")
    by_prompt(account, duka)
    before = numbers_of(account)

    sent = OTHER | {"shop_id": "", "shop": "", "validates_strictly": "on"}
    page = f"/admin/payments/mpesaaccount/{account.pk}/change/"
    response = operator.client.post(page, sent)

    assert response.status_code == 302
    account.refresh_from_db()
    assert account.validates_strictly is True
    assert numbers_of(account) == before
