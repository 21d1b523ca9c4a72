"""Two tabs of one person, each at the till of another shop."""

import re

import pytest

from orders.models import Order
from shops.enums import Role
from tests.factories import (
    MembershipFactory,
    OrderFactory,
    ProductFactory,
    ShopFactory,
)


pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}
JSON = {"Accept": "application/json"}


@pytest.fixture
def second(bob):
    """Another shop where Bob works, chosen by him in another tab."""
    shop = ShopFactory(name="Duka la pili", platform=True)
    MembershipFactory(user=bob.user, shop=shop, role=Role.CASHIER)
    bob.client.post("/till/shops", {"shop": str(shop.pk)})
    return shop


def test_page_names_its_shop_in_every_request(bob):
    page = bob.get("/till/").content.decode()

    assert re.search(rf'hx-headers=\'[^\']*"X-Shop": "{bob.shop.pk}"', page)


def test_choice_in_one_tab_leaves_the_other_tab_where_it_is(bob, second):
    sugar = ProductFactory(shop=bob.shop)
    order = OrderFactory(shop=bob.shop, total=250)
    here = {"X-Shop": str(bob.shop.pk)}
    items = [{"productId": str(sugar.pk), "quantity": 1}]

    shown = bob.get(f"/till/pay/{order.pk}", headers=PART | here)
    saved = bob.post("/till/sale", {"items": items}, headers=JSON | here)

    assert shown.status_code == 200
    assert Order.objects.get(pk=saved.json()["id"]).shop == bob.shop


def test_page_that_names_no_shop_is_of_the_chosen_one(bob, second):
    assert second.name in bob.get("/till/").content.decode()


@pytest.mark.parametrize("named", ["0", "nonsense", "\N{ARABIC-INDIC DIGIT ONE}", "-1"])
def test_named_shop_that_is_not_theirs_is_refused_and_the_choice_stays(
    bob, second, named
):
    refused = bob.get("/till/pay/", headers=PART | {"X-Shop": named})

    assert refused.status_code == 404
    assert second.name in bob.get("/till/").content.decode()


def test_shop_of_somebody_else_is_refused(bob, charlie):
    refused = bob.get(
        f"/till/pay/{charlie.order.pk}",
        headers=PART | {"X-Shop": str(charlie.shop.pk)},
    )

    assert refused.status_code == 404
    assert "secret" not in refused.content.decode()
