"""Numbers and keys change under an open payment: it stays what it was sent as."""

import pytest

from payments import accounts, prompting, questions
from payments.models import Collection, MpesaAccount, MpesaSettings
from tests.factories import MpesaAccountFactory, OrderFactory
from tests.support import callbacks
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
