"""Levels move by movements only, and each movement knows the level after it."""

import pytest
from django.db import connection, transaction

from shops import stock
from shops.models import Product, StockMovement
from tests.factories import ProductFactory, ShopFactory
from tests.support.refusals import refuses


pytestmark = pytest.mark.django_db


@pytest.fixture
def product(duka):
    """Ten pieces on the shelf."""
    return ProductFactory(shop=duka, stocked=10)


def movements(product):
    return list(
        product.movements.order_by("id").values_list(
            "quantity", "level_after", "reason", "reference", "actor"
        )
    )


def level(product):
    return Product.objects.get(pk=product.pk).stock


FIRST = (10, 10, "received", "", None)


def test_receiving_adds_pieces(product, bob):
    assert stock.receive(product, quantity=5, actor=bob.user, reference="inv 7") == 15

    assert level(product) == 15
    assert movements(product) == [FIRST, (5, 15, "received", "inv 7", bob.user.pk)]


@pytest.mark.parametrize("quantity", [0, -1])
def test_receiving_nothing_is_refused(product, quantity):
    with pytest.raises(stock.NothingToMove):
        stock.receive(product, quantity=quantity, actor=None)

    assert (level(product), movements(product)) == (10, [FIRST])


@pytest.mark.parametrize(("counted", "missing"), [(7, -3), (12, 2), (0, -10)])
def test_a_count_becomes_a_movement(product, bob, counted, missing):
    assert stock.count_correction(product, counted=counted, actor=bob.user) == counted

    assert level(product) == counted
    assert movements(product) == [
        FIRST,
        (missing, counted, "counted", "", bob.user.pk),
    ]


def test_a_count_that_is_right_moves_nothing(product):
    assert stock.count_correction(product, counted=10, actor=None) == 10

    assert (level(product), movements(product)) == (10, [FIRST])


def test_a_count_looks_at_the_level_as_it_is_now(product):
    stale = Product.objects.get(pk=product.pk)
    stock.receive(product, quantity=5, actor=None)

    stock.count_correction(stale, counted=12, actor=None)

    assert (level(product), movements(product)[-1][:2]) == (12, (-3, 12))


def test_selling_takes_pieces_of_each_product(product, duka, bob):
    other = ProductFactory(shop=duka, stocked=4)

    short = stock.deduct(
        {other.pk: 1, product.pk: 3}, reference="order:a", actor=bob.user
    )

    assert short == []
    assert (level(product), level(other)) == (7, 3)
    assert movements(product)[-1] == (-3, 7, "sold", "order:a", bob.user.pk)
    assert movements(other)[-1] == (-1, 3, "sold", "order:a", bob.user.pk)


def test_selling_never_refuses_and_says_what_is_short(product, duka):
    enough = ProductFactory(shop=duka, stocked=1)

    short = stock.deduct(
        {product.pk: 12, enough.pk: 1}, reference="order:a", actor=None
    )

    assert short == [product.pk]
    assert (level(product), level(enough)) == (-2, 0)


def test_selling_leaves_other_products_alone(product, duka):
    other = ProductFactory(shop=duka, stocked=4)
    foreign = ProductFactory(shop=ShopFactory(), stocked=4)

    stock.deduct({product.pk: 1}, reference="order:a", actor=None)

    assert (level(other), level(foreign)) == (4, 4)
    assert StockMovement.objects.filter(reason="sold").count() == 1


def test_an_unknown_product_moves_nothing(product):
    with pytest.raises(KeyError), transaction.atomic():
        stock.deduct({product.pk: 1, 10**9: 1}, reference="order:a", actor=None)

    assert (level(product), movements(product)) == (10, [FIRST])


def test_selling_nothing_moves_nothing(product):
    assert stock.deduct({}, reference="order:a", actor=None) == []

    assert movements(product) == [FIRST]


def test_products_are_locked_in_the_order_of_their_ids(duka, django_assert_num_queries):
    low, high = (ProductFactory(shop=duka) for _ in range(2))

    with django_assert_num_queries(3) as queries:
        stock.deduct({high.pk: 1, low.pk: 1}, reference="order:a", actor=None)

    read = queries[0]["sql"]
    assert 'ORDER BY "shops_product"."id" ASC' in read
    if connection.vendor == "postgresql":
        assert "FOR NO KEY UPDATE" in read


def test_selling_costs_the_same_queries_for_three(duka, django_assert_num_queries):
    products = [ProductFactory(shop=duka) for _ in range(3)]

    with django_assert_num_queries(3):
        stock.deduct({one.pk: 1 for one in products}, reference="order:a", actor=None)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", ["receive", "count", "deduct"])
def test_stock_moves_inside_a_transaction_only(verb, transactional_db):
    product = ProductFactory(stocked=10)
    verbs = {
        "receive": lambda: stock.receive(product, quantity=1, actor=None),
        "count": lambda: stock.count_correction(product, counted=1, actor=None),
        "deduct": lambda: stock.deduct({product.pk: 1}, reference="a", actor=None),
    }

    with pytest.raises(AssertionError, match="inside a transaction"):
        verbs[verb]()

    assert (level(product), movements(product)) == (10, [FIRST])


# What the database itself refuses.


def test_the_database_refuses_to_sell_for_one_sale_twice(product):
    stock.deduct({product.pk: 1}, reference="order:a", actor=None)

    assert refuses(
        "a_sale_takes_a_product_from_stock_once",
        lambda: stock.deduct({product.pk: 1}, reference="order:a", actor=None),
    )

    assert level(product) == 9


def test_the_database_refuses_to_give_back_of_one_sale_twice(product):
    stock.give_back({product.pk: 1}, reference="order:a", actor=None)

    assert refuses(
        "a_sale_gives_a_product_back_once",
        lambda: StockMovement.objects.create(
            product=product, quantity=1, level_after=12, reason="returned",
            reference="order:a",
        ),
    )  # fmt: skip
    assert movements(product)[1:] == [(1, 11, "returned", "order:a", None)]


def test_the_same_reference_may_be_received_twice(product):
    for _ in range(2):
        stock.receive(product, quantity=1, actor=None, reference="inv 7")

    assert level(product) == 12


def test_the_database_refuses_a_movement_of_nothing(product):
    assert refuses(
        "stock_movement_moves_something",
        lambda: StockMovement.objects.create(
            product=product, quantity=0, level_after=10, reason="counted"
        ),
    )


def test_a_movement_is_never_changed_or_deleted(product):
    movement = product.movements.get()

    with pytest.raises(TypeError, match="never changed"):
        movement.save()
    with pytest.raises(TypeError, match="never deleted"):
        movement.delete()


@pytest.mark.parametrize(
    ("pieces", "is_low"), [(6, False), (5, True), (0, True)], ids=str
)
def test_a_level_is_low_at_its_threshold(duka, pieces, is_low):
    product = ProductFactory(shop=duka, stocked=pieces, low_stock_at=5)

    assert product.is_low is is_low
