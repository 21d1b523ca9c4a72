"""A sale is put together at today's prices, and stays as it was sold."""

from decimal import Decimal

import pytest

from orders import checkout, lifecycle
from orders.models import Order, OrderLine
from shops.models import Product, Shop
from smartduka.lib.errors import NotFound
from tests.factories import OrderFactory, ProductFactory


pytestmark = pytest.mark.django_db


@pytest.fixture
def soda(duka):
    return ProductFactory(shop=duka, name="Soda", price=Decimal("80.50"), stocked=10)


@pytest.fixture
def bread(duka):
    return ProductFactory(shop=duka, name="Bread", price=Decimal(70), stocked=10)


def place(shop, *items, actor=None):
    return checkout.place_order(
        shop=shop,
        actor=actor,
        items=[checkout.Item(str(key), count) for key, count in items],
    )


def replace(order, *items, shop=None):
    return checkout.replace_lines(
        order.pk,
        shop=shop or order.shop,
        actor=None,
        items=[checkout.Item(str(key), count) for key, count in items],
    )


def lines(order):
    return list(
        OrderLine.objects.filter(order=order).values_list(
            "name", "quantity", "unit_price", "line_total"
        )
    )


def facts(order):
    return Order.objects.filter(pk=order.pk).values().get()


def test_a_sale_is_placed_with_its_lines_and_totals(duka, soda, bread, bob):
    order = place(duka, (soda.pk, 3), (bread.pk, 1), actor=bob.user)

    row = Order.objects.get(pk=order.pk)
    assert (row.shop, row.number, row.status, row.created_by) == (
        duka, 1, "open", bob.user
    )  # fmt: skip
    assert (row.total, row.rounding) == (Decimal("312.00"), Decimal("0.50"))
    assert (row.paid, row.surplus, row.balance) == (0, 0, Decimal("312.00"))
    assert (row.frozen_at, row.paid_at, row.cancelled_at) == (None, None, None)
    assert lines(order) == [
        ("Soda", 3, Decimal("80.50"), Decimal("241.50")),
        ("Bread", 1, Decimal("70.00"), Decimal("70.00")),
    ]
    assert list(order.events.values_list("old", "new", "actor")) == [
        ("", "open", bob.user.pk)
    ]


def test_placing_a_sale_takes_nothing_from_stock(duka, soda):
    place(duka, (soda.pk, 3))

    assert Product.objects.get(pk=soda.pk).stock == 10


def test_numbers_count_up_in_each_shop(duka, soda, charlie):
    numbers = [place(duka, (soda.pk, 1)).number for _ in range(3)]
    his = place(charlie.shop, (charlie.product.pk, 1)).number

    assert numbers == [1, 2, 3]
    assert his == charlie.order.number + 1


def test_a_product_named_twice_is_one_line(duka, soda):
    order = place(duka, (soda.pk, 1), (soda.pk, 2))

    assert lines(order) == [("Soda", 3, Decimal("80.50"), Decimal("241.50"))]


def test_a_sale_keeps_name_and_price_as_they_were(duka, soda):
    order = place(duka, (soda.pk, 1))
    Product.objects.update(name="Dear soda", price=Decimal(999))

    assert lines(order) == [("Soda", 1, Decimal("80.50"), Decimal("80.50"))]
    assert facts(order)["total"] == Decimal(81)


@pytest.mark.parametrize(
    "items",
    [[], [("soda", 0)], [("soda", -1)], [("soda", 1), ("bread", 0)]],
    ids=["nothing", "no piece", "less than none", "one of two"],
)
def test_no_sale_of_nothing(duka, soda, bread, items):
    keys = {"soda": soda.pk, "bread": bread.pk}

    with pytest.raises(checkout.InvalidItems):
        place(duka, *[(keys[name], count) for name, count in items])

    assert_nothing_was_placed(duka)


def test_no_sale_below_a_shilling(duka):
    cheap = ProductFactory(shop=duka, price=Decimal("0.20"))

    with pytest.raises(checkout.InvalidItems, match="less than one shilling"):
        place(duka, (cheap.pk, 2))

    assert_nothing_was_placed(duka)


@pytest.mark.parametrize(("pieces", "fits"), [(99, True), (100, False)])
def test_no_sale_beyond_the_largest_total(duka, pieces, fits):
    dear = ProductFactory(shop=duka, price=Decimal(1_000_000), stocked=1000)

    if fits:
        assert place(duka, (dear.pk, pieces)).total == Decimal(99_000_000)
    else:
        with pytest.raises(checkout.InvalidItems, match="too large"):
            place(duka, (dear.pk, pieces))


@pytest.mark.parametrize(("pieces", "fits"), [(10_000, True), (10_001, False)])
def test_no_more_pieces_than_a_sale_takes(duka, pieces, fits):
    grain = ProductFactory(shop=duka, price=Decimal(1), stocked=20_000)

    if fits:
        assert place(duka, (grain.pk, pieces)).total == Decimal(10_000)
    else:
        with pytest.raises(checkout.InvalidItems, match="at most"):
            place(duka, (grain.pk, pieces))


def test_no_more_products_than_a_sale_takes(duka):
    with pytest.raises(checkout.InvalidItems, match="at most 300"):
        place(duka, *[(number, 1) for number in range(301)])


@pytest.mark.parametrize("key", ["", "0", "x", "-1", "1.0", "9" * 30, "٣", " "])
def test_a_product_that_is_none_is_not_found(duka, soda, key):
    with pytest.raises(NotFound) as refusal:
        place(duka, (soda.pk, 1), (key, 1))

    assert refusal.value.details == {"productIds": [key]}
    assert_nothing_was_placed(duka)


def test_a_product_of_another_shop_is_not_found(duka, charlie):
    with pytest.raises(NotFound) as refusal:
        place(duka, (charlie.product.pk, 1))

    assert refusal.value.details == {"productIds": [str(charlie.product.pk)]}
    assert_nothing_was_placed(duka)


def test_a_product_taken_off_the_shelf_is_not_found(duka, soda):
    Product.objects.update(is_active=False)

    with pytest.raises(NotFound):
        place(duka, (soda.pk, 1))


def test_a_sale_may_take_the_last_piece(duka, soda):
    assert place(duka, (soda.pk, 10)).total == Decimal(805)


def test_a_sale_of_more_than_there_is_names_what_is_short(duka, soda, bread):
    Product.objects.filter(pk=bread.pk).update(stock=-2)

    with pytest.raises(checkout.OutOfStock) as refusal:
        place(duka, (soda.pk, 11), (bread.pk, 1))

    assert (refusal.value.code, refusal.value.http_status) == ("OUT_OF_STOCK", 409)
    assert refusal.value.message == "Only 10 left of Soda; Only 0 left of Bread."
    assert refusal.value.details == {
        "products": [
            {"productId": str(soda.pk), "stock": 10},
            {"productId": str(bread.pk), "stock": 0},
        ]
    }
    assert_nothing_was_placed(duka)


# Changing the lines.


def test_lines_of_an_open_sale_are_replaced(duka, soda, bread):
    order = place(duka, (soda.pk, 1))
    before = facts(order)

    changed = replace(order, (bread.pk, 2))

    assert lines(order) == [("Bread", 2, Decimal(70), Decimal(140))]
    assert facts(order) == before | {"total": Decimal(140), "rounding": Decimal(0)}
    assert changed.total == Decimal(140)


def test_lines_are_frozen_by_the_first_payment(duka, soda, bread):
    order = place(duka, (soda.pk, 1))
    lifecycle.freeze(order)
    before, sold = facts(order), lines(order)

    with pytest.raises(checkout.LinesFrozen) as refusal:
        replace(order, (bread.pk, 2))

    assert (refusal.value.code, refusal.value.http_status) == ("ORDER_NOT_OPEN", 409)
    assert (facts(order), lines(order)) == (before, sold)


def test_lines_of_a_closed_sale_stay(duka, soda, bread):
    order = place(duka, (soda.pk, 1))
    lifecycle.cancel(order.pk, actor=None)
    before, sold = facts(order), lines(order)

    with pytest.raises(lifecycle.OrderNotOpen):
        replace(order, (bread.pk, 2))

    assert (facts(order), lines(order)) == (before, sold)


@pytest.mark.parametrize("order_id", ["foreign", "nonsense"])
def test_lines_of_another_shops_sale_do_not_exist(duka, soda, charlie, order_id):
    key = charlie.order.pk if order_id == "foreign" else "nonsense"
    before = lines(charlie.order)

    with pytest.raises(NotFound):
        checkout.replace_lines(
            key, shop=duka, actor=None, items=[checkout.Item(str(soda.pk), 1)]
        )

    assert lines(charlie.order) == before


def test_a_refused_change_leaves_the_sale(duka, soda):
    order = place(duka, (soda.pk, 1))
    before, sold = facts(order), lines(order)

    with pytest.raises(checkout.OutOfStock):
        replace(order, (soda.pk, 11))

    assert (facts(order), lines(order)) == (before, sold)


@pytest.mark.parametrize("count", [1, 3])
def test_placing_costs_the_same_queries(duka, django_assert_num_queries, count):
    goods = [ProductFactory(shop=duka) for _ in range(count)]
    items = [checkout.Item(str(one.pk), 1) for one in goods]

    # The goods; savepoint, counter, number, sale, event, lines, savepoint.
    with django_assert_num_queries(8):
        checkout.place_order(shop=duka, actor=None, items=items)


def assert_nothing_was_placed(shop):
    assert not Order.objects.filter(shop=shop).exists()
    assert not OrderLine.objects.filter(order__shop=shop).exists()
    assert Shop.objects.get(pk=shop.pk).last_order_number == 0


def test_the_factory_places_what_it_is_told(duka):
    assert OrderFactory(shop=duka, total=99).total == Decimal(99)
