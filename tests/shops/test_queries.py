from decimal import Decimal

import pytest

from shops import queries
from smartduka.lib.errors import NotFound
from tests.factories import ProductFactory


pytestmark = pytest.mark.django_db


@pytest.fixture
def goods(duka, charlie):
    """Bob's goods; Charlie has the same, which could leak."""
    for shop in (duka, charlie.shop):
        ProductFactory(
            shop=shop, name="Unga Pembe 2 kg", barcode="616110", category="Food"
        )
        ProductFactory(
            shop=shop, name="Soda Coke 500 ml", barcode="544900", category="Drinks"
        )
        ProductFactory(shop=shop, name="Chai Ketepa", barcode="", category="")
        ProductFactory(shop=shop, name="Old soda", barcode="1", is_active=False)


def names(found):
    return [product.name for product in found]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("", ["Chai Ketepa", "Soda Coke 500 ml", "Unga Pembe 2 kg"]),
        ("soda", ["Soda Coke 500 ml"]),
        ("SODA", ["Soda Coke 500 ml"]),
        ("coke soda", ["Soda Coke 500 ml"]),
        ("soda unga", []),
        ("544", ["Soda Coke 500 ml"]),
        ("4900", []),
        ("%", []),
        ("_", []),
        ("\0", ["Chai Ketepa", "Soda Coke 500 ml", "Unga Pembe 2 kg"]),
        ("so\0da", ["Soda Coke 500 ml"]),
        ("secret", []),
    ],
    ids=repr,
)
def test_products_are_searched_by_words(duka, goods, search, found):
    assert names(queries.products(duka, search=search)) == found


def test_products_are_of_the_shop_alone(duka, goods):
    assert {one.shop_id for one in queries.products(duka)} == {duka.pk}


def test_products_are_narrowed_by_category(duka, goods):
    assert names(queries.products(duka, category="Food")) == ["Unga Pembe 2 kg"]
    assert names(queries.products(duka, category="Food", search="soda")) == []


def test_categories_are_those_in_use(duka, goods):
    ProductFactory(shop=duka, category="Home", is_active=False)

    assert queries.categories(duka) == ["Drinks", "Food"]


def test_a_product_is_found_by_its_barcode(duka, goods):
    product = queries.product_by_barcode(duka, "544900")

    assert (product.name, product.shop_id) == ("Soda Coke 500 ml", duka.pk)


@pytest.mark.parametrize(
    "code", ["", "5449", "1", "nothing", "\0", "544900\0"], ids=repr
)
def test_no_product_has_that_barcode(duka, goods, code):
    assert queries.product_by_barcode(duka, code) is None


def test_a_product_is_found_by_its_id(duka):
    product = ProductFactory(shop=duka, price=Decimal(80))

    assert queries.product_for(duka, str(product.pk)) == product


@pytest.mark.parametrize("product_id", ["", "0", "x", "-1", "1.0", "9" * 30, "٣", " 1"])
def test_nonsense_names_no_product(duka, product_id):
    with pytest.raises(NotFound):
        queries.product_for(duka, product_id)


def test_a_product_of_another_shop_does_not_exist(duka, charlie):
    with pytest.raises(NotFound):
        queries.product_for(duka, str(charlie.product.pk))
