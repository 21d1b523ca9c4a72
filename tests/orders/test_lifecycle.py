"""What an order makes of money, of being cancelled, and what it refuses."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from orders import lifecycle
from orders.enums import OrderStatus
from orders.models import Order, OrderEvent
from shops.models import Product, StockMovement
from smartduka.lib import clock
from tests.factories import OrderFactory, ProductFactory
from tests.support.refusals import never_shares, refuses


pytestmark = pytest.mark.django_db

NOW = clock.now()


@pytest.fixture
def order(duka):
    """KES 250 for one piece of a product that has 100."""
    return OrderFactory(shop=duka)


def take(order, amount, actor=None):
    with transaction.atomic():
        return lifecycle.take_payment(
            lifecycle.locked(order.pk), Decimal(amount), actor=actor
        )


def row(order):
    return Order.objects.filter(pk=order.pk).values().get()


def events(order):
    return list(order.events.values_list("old", "new", "actor"))


def level(order):
    return Product.objects.get(pk=order.lines.get().product_id).stock


def test_part_of_the_money_leaves_the_sale_open(order):
    before = row(order)

    assert take(order, 100) == lifecycle.Taken(Decimal(100), Decimal(0))

    assert row(order) == before | {"paid": Decimal(100)}
    assert (events(order), level(order)) == ([("", "open", None)], 100)


def test_all_of_the_money_closes_the_sale(order, bob, monkeypatch):
    before = row(order)
    monkeypatch.setattr(clock, "now", lambda: NOW)

    taken = take(order, 250, actor=bob.user)

    assert taken == lifecycle.Taken(Decimal(250), Decimal(0), became_paid=True)
    assert row(order) == before | {
        "paid": Decimal(250), "status": "paid", "paid_at": NOW
    }  # fmt: skip
    assert events(order) == [("", "open", None), ("open", "paid", bob.user.pk)]
    assert level(order) == 99
    sold = StockMovement.objects.get(reason="sold")
    assert (sold.quantity, sold.reference, sold.actor) == (
        -1, f"order:{order.pk}", bob.user
    )  # fmt: skip


def test_the_last_part_closes_the_sale_once(order):
    take(order, 100)

    assert take(order, 150) == lifecycle.Taken(Decimal(150), Decimal(0), True)

    assert [new for _, new, _ in events(order)] == ["open", "paid"]
    assert level(order) == 99


def test_what_the_sale_does_not_need_is_surplus(order):
    assert take(order, 300) == lifecycle.Taken(Decimal(250), Decimal(50), True)

    facts = row(order)
    assert (facts["paid"], facts["surplus"]) == (Decimal(250), Decimal(50))


@pytest.mark.parametrize("status", ["paid", "cancelled", "refunded"])
def test_a_sale_that_is_not_open_takes_nothing(order, status):
    close(order, status)
    before, told, left = row(order), events(order), level(order)

    assert take(order, 250) == lifecycle.Taken(Decimal(0), Decimal(250))

    assert row(order) == before | {"surplus": Decimal(250)}
    assert (events(order), level(order)) == (told, left)


def close(order, status):
    if status == "cancelled":
        lifecycle.cancel(order.pk, actor=None)
        return
    take(order, 250)
    if status == "refunded":
        Order.objects.filter(pk=order.pk).update(status="refunded")


def test_selling_what_is_not_there_flags_the_sale(duka):
    product = ProductFactory(shop=duka, stocked=1)
    orders = [OrderFactory(shop=duka, items=[(product, 1)]) for _ in range(2)]

    for order in orders:
        take(order, 250)

    assert [row(order)["stock_short"] for order in orders] == [False, True]
    assert [row(order)["status"] for order in orders] == ["paid", "paid"]
    assert Product.objects.get(pk=product.pk).stock == -1


@pytest.mark.parametrize("count", [1, 3])
def test_closing_costs_the_same_queries(duka, count, django_assert_num_queries):
    goods = [ProductFactory(shop=duka) for _ in range(count)]
    order = OrderFactory(shop=duka, items=[(one, 1) for one in goods])

    # Lines; products, movements, levels; the event; the order itself.
    with django_assert_num_queries(6):
        lifecycle.take_payment(order, order.total, actor=None)


# Cancelling.


def test_an_open_sale_is_cancelled(order, bob, monkeypatch):
    before = row(order)
    monkeypatch.setattr(clock, "now", lambda: NOW)

    cancelled = lifecycle.cancel(order.pk, actor=bob.user)

    assert cancelled.status == "cancelled"
    assert row(order) == before | {"status": "cancelled", "cancelled_at": NOW}
    assert events(order) == [("", "open", None), ("open", "cancelled", bob.user.pk)]
    assert level(order) == 100


def test_cancelling_twice_is_one_cancelling(order):
    lifecycle.cancel(order.pk, actor=None)
    before, told = row(order), events(order)

    assert lifecycle.cancel(order.pk, actor=None).status == "cancelled"

    assert (row(order), events(order)) == (before, told)


@pytest.mark.parametrize("amount", [1, 250], ids=["part", "all"])
def test_a_sale_with_money_is_not_cancelled(order, amount):
    take(order, amount)
    before, told = row(order), events(order)

    with pytest.raises(lifecycle.OrderHasMoney) as refusal:
        lifecycle.cancel(order.pk, actor=None)

    assert (refusal.value.code, refusal.value.http_status) == ("ORDER_HAS_MONEY", 409)
    assert (row(order), events(order)) == (before, told)


def test_a_refunded_sale_is_not_cancelled(order):
    Order.objects.filter(pk=order.pk).update(status="refunded")

    with pytest.raises(lifecycle.OrderHasMoney):
        lifecycle.cancel(order.pk, actor=None)


# Giving back.


def give_back(order, amount, *, restocks=False):
    with transaction.atomic():
        held = lifecycle.locked(order.pk)
        lifecycle.give_back(held, Decimal(amount), actor=None, restocks=restocks)


def test_a_paid_sale_counts_what_went_back_and_ends_refunded(order):
    take(order, 250)
    before, told = row(order), events(order)

    give_back(order, 100)
    assert row(order) == before | {"refunded": Decimal(100)}
    give_back(order, 150)

    assert row(order) == before | {"refunded": Decimal(250), "status": "refunded"}
    assert events(order) == [*told, ("paid", "refunded", None)]
    assert level(order) == 99


def test_goods_come_back_with_the_last_of_the_money(order):
    take(order, 250)

    give_back(order, 100, restocks=True)
    assert level(order) == 99
    give_back(order, 150, restocks=True)

    assert level(order) == 100
    moved = StockMovement.objects.filter(reference=order.stock_reference)
    assert sorted(moved.values_list("reason", "quantity")) == [
        ("returned", 1), ("sold", -1),
    ]  # fmt: skip


def test_an_open_sale_needs_the_money_again(order):
    take(order, 100)
    before, told = row(order), events(order)

    give_back(order, 100, restocks=True)

    assert row(order) == before | {"paid": Decimal(0)}
    assert (events(order), level(order)) == (told, 100)
    assert lifecycle.cancel(order.pk, actor=None).status == OrderStatus.CANCELLED


def test_more_than_was_paid_does_not_go_back(order):
    take(order, 250)
    before = row(order)

    with pytest.raises(IntegrityError):
        give_back(order, 251)

    assert row(order) == before


def test_surplus_is_given_up_and_regained(order):
    take(order, 300)
    before = row(order)

    with transaction.atomic():
        lifecycle.give_up_surplus(lifecycle.locked(order.pk), Decimal(30))
    assert row(order) == before | {"surplus": Decimal(20)}
    with transaction.atomic():
        lifecycle.regain_surplus(lifecycle.locked(order.pk), Decimal(30))

    assert row(order) == before


# Being open.


@pytest.mark.parametrize(
    ("status", "words"),
    [("paid", "paid already"), ("cancelled", "was cancelled"), ("refunded", "closed")],
)
def test_a_sale_that_is_not_open_says_why(order, status, words):
    order.status = status

    with pytest.raises(lifecycle.OrderNotOpen, match=words) as refusal:
        lifecycle.require_open(order)

    assert (refusal.value.code, refusal.value.http_status) == ("ORDER_NOT_OPEN", 409)


def test_an_open_sale_is_open(order):
    lifecycle.require_open(order)


def test_lines_freeze_once(order):
    lifecycle.freeze(order)
    first = row(order)["frozen_at"]

    lifecycle.freeze(order)
    lifecycle.freeze(Order.objects.get(pk=order.pk))

    assert first is not None
    assert row(order)["frozen_at"] == first


@pytest.mark.django_db(transaction=True)
def test_locking_needs_a_transaction(duka):
    order = OrderFactory(shop=duka)

    with pytest.raises(AssertionError, match="inside a transaction"):
        lifecycle.locked(order.pk)


@pytest.mark.parametrize(
    ("status", "balance"),
    [("open", 150), ("paid", 0), ("cancelled", 0), ("refunded", 0)],
)
def test_only_an_open_sale_has_a_balance(status, balance):
    order = Order(status=status, total=Decimal(250), paid=Decimal(100))

    assert order.balance == balance


# What the database itself refuses.


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("order_total_is_positive", {"total": 0, "status": "refunded"}),
        ("order_surplus_is_not_negative", {"surplus": -1}),
        ("order_status_agrees_with_its_money", {"status": "paid"}),
        ("order_status_agrees_with_its_money", {"paid": 250}),
        ("order_status_agrees_with_its_money", {"paid": 300}),
        # Two laws forbid it; which one is named is the database's choice.
        ("order_", {"paid": -1}),
        ("order_status_agrees_with_its_money", {"status": "paid", "paid": 250}),
        (
            "order_status_agrees_with_its_money",
            {"status": "paid", "paid": 300, "paid_at": NOW},
        ),
        ("order_status_agrees_with_its_money", {"status": "cancelled"}),
        (
            "order_status_agrees_with_its_money",
            {"status": "cancelled", "paid": 1, "cancelled_at": NOW},
        ),
        ("order_status_agrees_with_its_money", {"status": "lost"}),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value),
)
def test_the_database_refuses_an_order_that_cannot_be(order, name, changes):
    before = row(order)
    rows = Order.objects.filter(pk=order.pk)

    assert refuses(name, lambda: rows.update(**changes))

    assert row(order) == before


def test_the_database_refuses_a_status_entered_twice(order):
    assert refuses(
        "order_enters_a_status_once",
        lambda: OrderEvent.objects.create(
            order=order, old="paid", new="open", created_at=NOW
        ),
    )

    assert len(events(order)) == 1


def test_the_database_refuses_a_number_used_twice(duka, order):
    never_shares(
        OrderFactory(shop=duka),
        order,
        "number",
        name="order_number_is_used_once_in_a_shop",
    )


def test_the_database_refuses_two_lines_of_a_product(order):
    line = order.lines.get()
    line.pk = None

    assert refuses("product_has_one_line_on_an_order", line.save)
    assert order.lines.count() == 1


def test_the_database_refuses_a_line_of_nothing(order):
    assert refuses("order_line_sells_something", lambda: order.lines.update(quantity=0))


def test_an_order_is_told_by_its_number(order):
    assert str(order) == f"Sale {order.number}"
    assert OrderStatus(order.status) == OrderStatus.OPEN
