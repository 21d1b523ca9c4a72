"""The sale's own side breaks while money arrives: the money stands all the same."""

from decimal import Decimal

import pytest
from django.db import (
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
)
from django.test import Client

from orders import lifecycle as order_lifecycle
from orders.models import Order, OrderEvent
from payments import inbox, questions
from payments.models import Collection, Notice
from shops import stock
from shops.models import StockMovement
from smartduka.lib import clock, realtime
from tests.support import callbacks
from tests.support.facts import money_of, nothing_changes, sale_of
from tests.support.gateway import final


pytestmark = pytest.mark.django_db

ALARM = "The money arrived, but the sale could not take it."


def integrity(*given, **facts):
    """Break a constraint for real: the transaction is spoilt from here on."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO orders_order (id) VALUES (NULL)")


def raising(error):
    def broken(*given, **facts):
        raise error

    return broken


BROKEN = {
    "a constraint, for real": integrity,
    "IntegrityError": raising(IntegrityError("CHECK failed")),
    "DataError": raising(DataError("numeric field overflow")),
    "ValueError": raising(ValueError("no such word")),
    "AssertionError": raising(AssertionError()),
    "KeyError": raising(KeyError("product")),
}


def pays(payment, **changes):
    response = Client().post(
        f"/hooks/stk/{payment.hook_token}",
        callbacks.success(payment, **changes),
        content_type="application/json",
    )
    assert response.status_code == 200
    payment.refresh_from_db()
    return Notice.objects.latest("pk")


def stands_unallocated(payment, source, receipt):
    """Assert that the money is written down, and nobody has it yet."""
    payment.refresh_from_db()
    assert (payment.status, payment.alarm) == ("completed", ALARM)
    assert payment.completed_at is not None
    assert money_of(payment.order) == [(source, receipt, 250, [])]
    assert Collection.objects.get().allocated == 0
    reasons = list(payment.events.values_list("reason", flat=True))
    assert "The sale could not take this money: a person must look" in reasons
    assert sale_of(payment.order) == ("open", 0, Decimal(250), 0)
    assert not OrderEvent.objects.filter(order=payment.order, new="paid").exists()


@pytest.mark.parametrize("how", BROKEN)
def test_the_stock_breaks(payment, messages, monkeypatch, how):
    """The sale was half-way through closing: all of that is undone."""
    monkeypatch.setattr(stock, "deduct", BROKEN[how])

    notice = pays(payment)

    stands_unallocated(payment, "callback", callbacks.RECEIPT)
    assert (notice.verdict, notice.next_try_at) == ("applied", None)
    assert ("payment.completed", "completed") in messages


@pytest.mark.parametrize("how", BROKEN)
def test_the_order_breaks(payment, monkeypatch, how):
    monkeypatch.setattr(order_lifecycle, "take_payment", BROKEN[how])

    assert pays(payment).verdict == "applied"

    stands_unallocated(payment, "callback", callbacks.RECEIPT)


def test_the_sale_breaks_when_a_question_finds_the_money(payment, mpesa, monkeypatch):
    monkeypatch.setattr(stock, "deduct", integrity)
    mpesa.otherwise = final("0")

    assert questions.ask(payment.pk)

    stands_unallocated(payment, "query", None)


def test_the_sale_breaks_for_a_second_receipt(payment, order, monkeypatch):
    pays(payment)
    monkeypatch.setattr(order_lifecycle, "take_payment", integrity)

    assert pays(payment, receipt="UAE5B2K9QU").verdict == "applied"

    assert [row[1:] for row in money_of(order)] == [
        (callbacks.RECEIPT, 250, [("sale", 250)]),
        ("UAE5B2K9QU", 250, []),
    ]


@pytest.fixture
def half_done(monkeypatch):
    """The goods have left the stock, then the sale cannot be stored."""
    monkeypatch.setattr(Order, "save", integrity)


def test_a_sale_that_breaks_half_way_leaves_nothing_behind(payment, order, half_done):
    before = StockMovement.objects.count()

    assert pays(payment).verdict == "applied"

    stands_unallocated(payment, "callback", callbacks.RECEIPT)
    assert StockMovement.objects.count() == before
    assert order.lines.get().product.stock == 100


def test_the_screen_is_told_what_the_sale_really_is(payment, half_done, monkeypatch):
    told = []
    monkeypatch.setattr(
        realtime,
        "publish_after_commit",
        lambda groups, message: told.append(message["payment"]["orderStatus"]),
    )

    pays(payment)

    assert told == ["open"]


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
@pytest.mark.parametrize("place", ["order", "stock"])
def test_a_database_that_is_away_repeats_the_whole(
    payment, order, monkeypatch, place, error
):
    """A lock held too long is no answer of the sale: the notice is due again."""
    with monkeypatch.context() as away:
        broken = raising(error("canceling statement due to lock timeout"))
        if place == "order":
            away.setattr(order_lifecycle, "take_payment", broken)
        else:
            away.setattr(stock, "deduct", broken)
        with nothing_changes():
            notice = pays(payment)

    assert (notice.verdict, notice.processed_at) == ("new", None)
    assert notice.next_try_at > clock.now()
    assert Collection.objects.count() == 0

    Notice.objects.update(next_try_at=clock.now())
    assert inbox.attempt(notice.pk) == "applied"
    assert sale_of(order)[0] == "paid"
