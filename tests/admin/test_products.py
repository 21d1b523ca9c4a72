"""Goods and stock in the books: who changes them, and what a form leaves alone."""

import pytest
from django.db import connection
from django.db.models.signals import pre_save
from django.test.utils import CaptureQueriesContext

from orders.models import Order
from shops.models import Product, Shop
from tests.factories import OrderFactory, ProductFactory, ShopFactory
from tests.support.facts import nothing_changes


def form(**changes):
    return {
        "name": "Salt 500 g",
        "barcode": "6169999000001",
        "category": "Food",
        "price": "35.50",
        "low_stock_at": "3",
        "is_active": "on",
    } | changes


def facts(product):
    return list(
        Product.objects.filter(pk=product.pk).values_list(
            "shop_id", "name", "barcode", "category", "price", "stock", "low_stock_at",
            "is_active",
        )[0]
    )  # fmt: skip


@pytest.mark.parametrize("name", ["alice", "mary"])
def test_owner_and_manager_add_products_to_their_shop(people, name):
    response = people[name].client.post("/admin/shops/product/add/", form())

    assert (response.status_code, response.url) == (302, "/admin/shops/product/")
    product = Product.objects.get(name="Salt 500 g")
    assert [str(fact) for fact in facts(product)] == [
        str(people[name].shop.pk), "Salt 500 g", "6169999000001", "Food", "35.50", "0",
        "3", "True",
    ]  # fmt: skip
    assert list(product.movements.all()) == []


def test_operator_says_for_which_shop(operator, duka):
    refused = operator.client.post("/admin/shops/product/add/", form())
    response = operator.client.post("/admin/shops/product/add/", form(shop=duka.pk))

    assert refused.context["adminform"].form.errors == {
        "shop": ["This field is required."]
    }
    assert response.status_code == 302
    assert Product.objects.get(name="Salt 500 g").shop == duka


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"price": "0"}, "price"),
        ({"price": "-5"}, "price"),
        ({"price": "five"}, "price"),
        ({"price": "1.005"}, "price"),
        ({"price": "99999999999"}, "price"),
        ({"low_stock_at": "-1"}, "low_stock_at"),
        ({"name": "x" * 121}, "name"),
        ({"name": "a\0b"}, "name"),
    ],
)
def test_product_that_cannot_be_is_refused(alice, changes, field):
    with nothing_changes():
        response = alice.client.post("/admin/shops/product/add/", form(**changes))

    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == [field]


def test_barcode_names_one_product_of_a_shop(alice):
    first = ProductFactory(shop=alice.shop, barcode="6169999000001")
    second = ProductFactory(shop=alice.shop)
    ProductFactory(shop=ShopFactory(), barcode="6169999000002")

    added = alice.client.post("/admin/shops/product/add/", form())
    with nothing_changes():
        address = f"/admin/shops/product/{second.pk}/change/"
        changed = alice.client.post(address, form())
    other = alice.client.post(address, form(barcode="6169999000002"))
    same = alice.client.post(f"/admin/shops/product/{first.pk}/change/", form())

    for response in (added, changed):
        assert response.context["adminform"].form.errors == {
            "barcode": ["Another product of your shop has this barcode."]
        }
    assert (other.status_code, same.status_code) == (302, 302)


def test_products_without_barcode_are_no_twins(alice):
    for name in ("Loose salt", "Loose sugar"):
        sent = form(name=name, barcode="")
        assert alice.client.post("/admin/shops/product/add/", sent).status_code == 302


def test_level_is_no_field(alice):
    product = ProductFactory(shop=alice.shop)
    page = alice.get(f"/admin/shops/product/{product.pk}/change/")
    response = alice.client.post(
        f"/admin/shops/product/{product.pk}/change/", form(stock="999", level="999")
    )

    assert "stock" not in page.context["adminform"].form.fields
    assert response.status_code == 302
    product.refresh_from_db()
    assert (product.name, product.stock) == ("Salt 500 g", 100)


def test_sale_while_the_form_is_saved_keeps_its_pieces_and_number(operator, duka):
    product = ProductFactory(shop=duka)

    def sell(sender, instance, **kwargs):
        if sender is Product:
            Product.objects.filter(pk=instance.pk).update(stock=98)
        elif sender is Shop:
            Shop.objects.filter(pk=instance.pk).update(last_order_number=7)

    pre_save.connect(sell)
    try:
        operator.client.post(f"/admin/shops/product/{product.pk}/change/", form())
        shop = {"name": "Mama Mboga 2", "slug": "mama-mboga", "phone": ""}
        operator.client.post(f"/admin/shops/shop/{duka.pk}/change/", shop)
    finally:
        pre_save.disconnect(sell)

    product.refresh_from_db()
    duka.refresh_from_db()
    assert (product.name, product.stock) == ("Salt 500 g", 98)
    assert (duka.name, duka.last_order_number) == ("Mama Mboga 2", 7)


def test_form_without_changes_writes_nothing(alice):
    product = ProductFactory(
        shop=alice.shop, name="Salt 500 g", barcode="6169999000001"
    )
    sent = form(price="250.00", low_stock_at="5")
    with CaptureQueriesContext(connection) as captured:
        response = alice.client.post(f"/admin/shops/product/{product.pk}/change/", sent)

    assert response.status_code == 302
    assert [q for q in captured if "UPDATE" in q["sql"]] == []


@pytest.mark.parametrize("name", ["alice", "mary", "operator"])
@pytest.mark.parametrize(
    ("act", "pieces", "level", "movement"),
    [
        ("received", "24", 124, ("received", 24, 124, "DN 7")),
        ("counted", "90", 90, ("counted", -10, 90, "")),
        ("counted", "0", 0, ("counted", -100, 0, "")),
    ],
)
def test_stock_is_received_and_counted(
    people, duka, name, act, pieces, level, movement
):
    product = ProductFactory(shop=duka)
    first = product.movements.get()
    response = people[name].client.post(
        f"/admin/shops/product/{product.pk}/stock/",
        {"act": act, "pieces": pieces, "reference": "DN 7"},
        follow=True,
    )

    product.refresh_from_db()
    assert product.stock == level
    assert list(
        product.movements.exclude(pk=first.pk).values_list(
            "reason", "quantity", "level_after", "reference", "actor"
        )
    ) == [(*movement, people[name].user.pk)]
    told = [str(message) for message in response.context["messages"]]
    assert told == [f"{product.name}: {level:,} pieces now."]


def test_count_that_was_right_moves_nothing(alice):
    product = ProductFactory(shop=alice.shop)
    with nothing_changes():
        response = alice.client.post(
            f"/admin/shops/product/{product.pk}/stock/",
            {"act": "counted", "pieces": "100"},
        )

    assert response.status_code == 302


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"act": "received", "pieces": "0"},
        {"act": "received", "pieces": "-3"},
        {"act": "counted", "pieces": "-1"},
        {"act": "received", "pieces": "1.5"},
        {"act": "received", "pieces": "99999999999999999999"},
        {"act": "sold", "pieces": "3"},
        {"act": "received", "pieces": "3", "reference": "x" * 81},
        {"act": "received", "pieces": "3", "reference": "a\0b"},
    ],
)
def test_stock_that_makes_no_sense_is_refused(alice, sent):
    product = ProductFactory(shop=alice.shop)
    address = f"/admin/shops/product/{product.pk}/stock/"
    with nothing_changes():
        response = alice.client.post(address, sent)

    assert response.status_code == 200
    assert response.context["form"].errors


def test_auditor_reads_stock_and_changes_nothing(audrey):
    product = ProductFactory(shop=audrey.shop)
    address = f"/admin/shops/product/{product.pk}/stock/"
    with nothing_changes():
        assert audrey.get(address).status_code == 403
        sent = audrey.client.post(address, {"act": "received", "pieces": "3"})
        assert sent.status_code == 403
    page = audrey.get(f"/admin/shops/product/{product.pk}/change/").content.decode()
    assert "/stock/" not in page
    assert 'name="price"' not in page


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["Full", "Gone", "Low", "Minus"]),
        ({"look": "low"}, ["Gone", "Low", "Minus"]),
        ({"look": "none"}, ["Gone", "Minus"]),
        ({"look": "minus"}, ["Minus"]),
        ({"look": "nonsense"}, []),
        ({"category": "Home"}, ["Low"]),
        ({"category": "nonsense"}, []),
        ({"state": "off"}, ["Gone"]),
        ({"q": "mi"}, ["Minus"]),
    ],
)
def test_list_answers_its_questions(alice, listed, query, names):
    levels = {"Full": 50, "Low": 5, "Gone": 0, "Minus": -2}
    for name, stock in levels.items():
        product = ProductFactory(shop=alice.shop, name=name, stocked=0)
        changes = {"stock": stock, "is_active": name != "Gone"}
        changes["category"] = "Home" if name == "Low" else "Food"
        Product.objects.filter(pk=product.pk).update(**changes)

    found = listed(alice, "shops/product", **query)

    assert [Product.objects.get(pk=pk).name for pk in found] == names


def test_low_stock_is_said_in_words(alice):
    product = ProductFactory(shop=alice.shop, stocked=3)
    page = alice.get("/admin/shops/product/").content.decode()

    assert '<span class="pill wait">3 · low</span>' in page
    Product.objects.filter(pk=product.pk).update(stock=-1)
    page = alice.get("/admin/shops/product/").content.decode()
    assert '<span class="pill bad">-1 · count it</span>' in page


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({}, [3, 2, 1]),
        ({"q": "2"}, [2]),
        ({"q": "#3"}, [3]),
        ({"q": "99999999999999999999"}, []),
        ({"q": "sugar"}, []),
        ({"look": "surplus"}, [3]),
        ({"look": "part"}, [2]),
        ({"look": "short"}, [1]),
        ({"status__exact": "open"}, [3, 2, 1]),
        ({"status__exact": "paid"}, []),
        ({"day": "today"}, [3, 2, 1]),
        ({"day": "yesterday"}, []),
    ],
)
def test_list_of_sales_answers_its_questions(alice, listed, query, numbers):
    first, second, third = (OrderFactory(shop=alice.shop) for _ in range(3))
    Order.objects.filter(pk=first.pk).update(stock_short=True)
    Order.objects.filter(pk=second.pk).update(paid=100)
    Order.objects.filter(pk=third.pk).update(surplus=50)

    found = listed(alice, "orders/order", **query)

    assert [Order.objects.get(pk=pk).number for pk in found] == numbers


def test_page_of_a_sale_shows_goods_history_and_money(audrey, ours):
    page = audrey.get(f"/admin/orders/order/{ours.order.pk}/change/").content.decode()

    for words in (
        "Sugar of Mama Mboga", "KES 250", "KES 500", "alice",
        '<span class="pill wait">Open</span>', '<span class="pill good">Paid</span>',
        f"/admin/payments/payment/?order__id__exact={ours.order.pk}",
    ):  # fmt: skip
        assert words in page, words
    assert 'name="_save"' not in page
