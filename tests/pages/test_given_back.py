"""What went back is told: on paper, and on the sheet of the sale."""

from decimal import Decimal

import pytest
from django.db import transaction

from payments import refunds, settlement
from payments.enums import Source
from payments.models import Collection, Payment, Refund
from shops.tenancy import Access
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import kes, sale_of


pytestmark = pytest.mark.django_db
NUMBER = "UAE5B2K9QT"


@pytest.fixture(autouse=True)
def _quiet(mpesa):
    return mpesa


@pytest.fixture
def order(duka):
    """An open sale of KES 250."""
    return OrderFactory(shop=duka)


def pay(order, amount, number=NUMBER):
    """A prompt for so much is paid; return its money."""
    made = PaymentFactory(order=order, amount=Decimal(amount), phone="254712345678")
    with transaction.atomic():
        locked, payment = settlement.locked(made.pk)
        proof = settlement.Proof(Source.CALLBACK, number, made.phone, clock.now())
        settlement.record_success(locked, payment, proof)
    return Collection.objects.get(receipt=number)


def give_back(person, collection, amount, method="cash"):
    refunds.ask(
        access=Access(person.user, person.shop, "manager"),
        collection_id=collection.pk,
        method=method,
        amount=amount,
        reason="Did not fit",
        restocks=False,
    )


def send_back(collection):
    """M-Pesa sends it back, and nobody here asked for it."""
    refunds.prove_reversed(
        collection, receipt="UAE5B2K9RV", source=Source.STATEMENT, at=clock.now()
    )


def shown(person, order, **query):
    return person.get(f"/till/pay/{order.pk}", query).content.decode()


def paper(person, order):
    page = person.get(f"/till/pay/{order.pk}/receipt").content.decode()
    return " ".join(page.split())


def line(name, amount):
    return f"<dt>{name}</dt><dd>{amount}</dd>"


def take_cash(person, order, amount):
    return person.client.post(f"/till/pay/{order.pk}/cash", {"amount": amount})


@pytest.mark.parametrize("method", ["cash", "manual"])
def test_sale_given_back_by_hand_is_marked_on_paper(bob, mary, order, method):
    money = pay(order, 250)
    assert "Given back" not in paper(bob, order)

    give_back(mary, money, 250, method)

    assert sale_of(order)[0] == "refunded"
    page = paper(bob, order)
    assert (NUMBER in page, line("Given back", 250) in page) == (True, True)
    assert "REFUNDED" in page
    sheet = shown(bob, order)
    assert 'data-state="closed"' in sheet
    assert ("KES 250 paid" in sheet, "KES 250 given back" in sheet) == (True, True)


def test_sale_that_mpesa_sent_back_shows_its_payment_on_paper(bob, order):
    send_back(pay(order, 250))

    page = paper(bob, order)

    assert (NUMBER in page, line("Given back", 250) in page) == (True, True)
    assert "REFUNDED" in page


def test_part_of_a_paid_sale_given_back_is_no_refunded_sale(bob, mary, order):
    money = pay(order, 250)
    give_back(mary, money, 100)

    page, sheet = paper(bob, order), shown(bob, order)

    assert line("Given back", 100) in page
    assert "REFUNDED" not in page
    assert 'data-state="paid"' in sheet
    assert "<span>Given back</span><b>KES 100</b>" in sheet


@pytest.mark.parametrize("how", ["cash", "reversal"])
def test_open_sale_whose_money_went_back_says_so_and_needs_it_again(
    bob, mary, order, how
):
    money = pay(order, 100)
    assert 'data-say="KES 100 paid. Still to pay KES 150"' in shown(bob, order)

    if how == "cash":
        give_back(mary, money, 100)
    else:
        send_back(money)

    assert sale_of(order)[:2] == ("open", 0)
    payment = str(Payment.objects.get().pk)
    for query in ({"payment": payment}, {"method": "cash"}, {"method": "mpesa"}):
        sheet = shown(bob, order, **query)
        assert "Paid in part" not in sheet
        assert "KES 100 paid. Still to pay" not in sheet
        assert "KES 100 given back" in sheet
    assert "<dd>KES 250</dd>" in paper(bob, order)

    take_cash(bob, order, 250)

    page, sheet = paper(bob, order), shown(bob, order)
    assert line("Cash", 250) in page
    assert line("Given back", 100) in page
    assert "REFUNDED" not in page
    assert "<span>Given back</span><b>KES 100</b>" in sheet


def test_part_payments_are_said_net_of_what_went_back(bob, mary, order):
    money = pay(order, 150)
    give_back(mary, money, 50)

    sheet = shown(bob, order)

    assert 'data-state="part"' in sheet
    assert 'data-say="KES 100 paid. Still to pay KES 150"' in sheet
    assert ("KES 150 paid" in sheet, "KES 50 given back" in sheet) == (True, True)


def test_surplus_that_went_back_is_on_paper(bob, mary, order):
    money = pay(order, 400)
    assert sale_of(order) == ("paid", kes(250), 0, kes(150))

    give_back(mary, money, 150)

    page = paper(bob, order)
    assert line("Given back", 150) in page
    assert "REFUNDED" not in page


def test_open_sheet_learns_that_money_went_back(bob, mary, order):
    money = pay(order, 250)
    seen = shown(bob, order).split('data-seen="')[1].split('"')[0]
    path = f"/till/pay/{order.pk}"
    assert bob.get(path, {"seen": seen}).status_code == 204

    give_back(mary, money, 100)

    fresh = bob.get(path, {"seen": seen})
    assert (fresh.status_code, "Given back" in fresh.content.decode()) == (200, True)


def test_open_sale_says_what_is_to_go_back(bob, mary, alice, duka):
    order = OrderFactory(shop=duka, total=9000)
    money = pay(order, 6000)
    give_back(mary, money, 5000)
    assert (sale_of(order)[:2], Refund.objects.get().state) == (("open", 1000), "asked")

    sheet = shown(bob, order)
    assert 'data-say="KES 1,000 paid. Still to pay KES 8,000"' in sheet
    assert "KES 5,000 waiting to go back" in sheet

    access = Access(alice.user, duka, "owner")
    refunds.approve(access=access, refund_id=Refund.objects.get().pk)
    sheet = shown(bob, order)
    assert "waiting to go back" not in sheet
    assert "KES 5,000 given back" in sheet


def test_open_sale_whose_money_is_to_go_back_says_so(bob, mary, duka):
    order = OrderFactory(shop=duka, total=9000)

    give_back(mary, pay(order, 6000), 6000)

    sheet = shown(bob, order)
    assert "Paid in part" not in sheet
    assert "The money is to go back" in sheet
    assert 'data-say="KES 6,000 waiting to go back. Still to pay KES 9,000"' in sheet


def test_what_waits_for_a_second_person_has_not_gone_back(bob, mary, duka):
    order = OrderFactory(shop=duka, total=9000)

    give_back(mary, pay(order, 9000), 9000)

    assert Refund.objects.get().state == "asked"
    assert "Given back" not in paper(bob, order)
