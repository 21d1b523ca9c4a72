from decimal import Decimal

import pytest

from shops import catalog
from shops.models import Product
from shops.tenancy import Access
from tests.factories import ProductFactory
from tests.support.refusals import never_becomes


pytestmark = pytest.mark.django_db


@pytest.fixture
def access(alice):
    return Access(alice.user, alice.shop, "owner")


def row(product):
    return Product.objects.filter(pk=product.pk).values().get()


def movements(product):
    return list(product.movements.order_by("id").values_list("quantity", "reason"))


def test_a_product_is_added_with_its_first_stock(access):
    product = catalog.add_product(
        access=access, name="Soda", price=Decimal("80.50"), barcode="544", stock=24
    )

    assert (product.shop, product.name, product.price, product.stock) == (
        access.shop, "Soda", Decimal("80.50"), 24
    )  # fmt: skip
    assert movements(product) == [(24, "received")]
    assert product.movements.get().actor == access.user


def test_a_product_is_added_without_stock(access):
    product = catalog.add_product(access=access, name="Soda", price=Decimal(80))

    assert (product.stock, movements(product)) == (0, [])


def test_a_barcode_names_one_product_of_a_shop(access):
    ProductFactory(shop=access.shop, barcode="544")

    with pytest.raises(catalog.BarcodeTaken) as refusal:
        catalog.add_product(
            access=access, name="Soda", price=Decimal(80), barcode="544", stock=5
        )

    assert refusal.value.details == {"barcode": ["taken"]}
    assert Product.objects.count() == 1


def test_another_shop_may_use_the_same_barcode(access, charlie):
    product = catalog.add_product(
        access=access, name="Soda", price=Decimal(80), barcode=charlie.product.barcode
    )

    assert product.barcode == charlie.product.barcode


def test_many_products_have_no_barcode(access):
    for name in ("Soda", "Chai"):
        catalog.add_product(access=access, name=name, price=Decimal(80))

    assert Product.objects.filter(barcode="").count() == 2


def test_a_product_is_changed_and_counted(access):
    product = ProductFactory(shop=access.shop, stocked=10)
    before = row(product)

    changed = catalog.change_product(product, access=access, price=Decimal(90), stock=7)

    assert row(product) == before | {"price": Decimal(90), "stock": 7}
    assert (changed.price, changed.stock) == (Decimal(90), 7)
    assert movements(product) == [(10, "received"), (-3, "counted")]


def test_a_count_alone_leaves_the_rest(access):
    product = ProductFactory(shop=access.shop, stocked=10)
    before = row(product)
    Product.objects.filter(pk=product.pk).update(price=Decimal(99))

    catalog.change_product(product, access=access, stock=12)

    assert row(product) == before | {"price": Decimal(99), "stock": 12}


def test_a_change_never_writes_a_stale_level(access):
    product = ProductFactory(shop=access.shop, stocked=10)
    Product.objects.filter(pk=product.pk).update(stock=3)

    catalog.change_product(product, access=access, name="Soda 2")

    assert row(product)["stock"] == 3


def test_a_taken_barcode_changes_nothing(access):
    ProductFactory(shop=access.shop, barcode="544")
    product = ProductFactory(shop=access.shop, stocked=10)
    before = row(product)

    with pytest.raises(catalog.BarcodeTaken):
        catalog.change_product(product, access=access, barcode="544", stock=3)

    assert row(product) == before
    assert movements(product) == [(10, "received")]


def test_the_database_refuses_a_price_of_nothing(access):
    product = ProductFactory(shop=access.shop)

    never_becomes(product, "product_price_is_positive", price=0)
