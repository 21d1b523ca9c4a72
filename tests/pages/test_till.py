"""The till page: goods, scanning, and the cart that becomes a sale."""

import re
import uuid
from decimal import Decimal
from pathlib import Path

import pytest

from orders.models import Order
from tests.factories import OrderFactory, PaymentFactory, ProductFactory


pytestmark = pytest.mark.django_db
JSON = {"Accept": "application/json"}


@pytest.fixture
def sugar(duka):
    return ProductFactory(
        shop=duka, name="Sukari 1 kg", price=Decimal("165.50"), category="Food"
    )


def save(person, items, order_id=None):
    body = {"orderId": order_id, "items": items}
    return person.post("/till/sale", body, headers=JSON)


def test_till_shows_goods_with_prices_and_low_stock_in_words(bob, sugar):
    ProductFactory(shop=bob.shop, name="Mafuta", stocked=3)
    ProductFactory(shop=bob.shop, name="Chumvi", stocked=0)

    page = bob.get("/till/").content.decode()

    assert "KES 165.50" in page
    assert "3 left" in page
    assert "none left" in page


def test_a_refusal_stays_on_its_sheet_where_one_tries_things_out(bob, settings):
    """The library's script for developers puts a refused answer over the whole page."""
    settings.DEBUG = True

    page = bob.get("/till/").content.decode()

    assert page.count("django_htmx/htmx-2.min.js") == 1
    assert "django-htmx.js" not in page


def test_till_of_a_shop_without_goods_says_so(bob):
    assert "No products yet" in bob.get("/till/").content.decode()


def test_search_finds_names_and_barcodes_of_this_shop_only(bob, sugar, charlie):
    ProductFactory(shop=bob.shop, name="Chumvi", barcode="777")

    by_name = bob.get("/till/products", {"search": "suk"}).content.decode()
    by_code = bob.get("/till/products", {"search": "777"}).content.decode()

    assert ("Sukari" in by_name, "Chumvi" in by_name) == (True, False)
    assert ("Sukari" in by_code, "Chumvi" in by_code) == (False, True)
    assert "secret" not in by_name + by_code


def test_category_narrows_the_shelf(bob, sugar):
    ProductFactory(shop=bob.shop, name="Soda", category="Drinks")

    page = bob.get("/till/products", {"category": "Drinks"}).content.decode()

    assert ("Soda" in page, "Sukari" in page) == (True, False)


@pytest.mark.parametrize("text", ["zzz", "\0zzz", "'; --", "<script>", "%", "x" * 500])
def test_search_for_nonsense_says_that_nothing_is_called_so(bob, sugar, text):
    response = bob.get("/till/products", {"search": text, "category": text})

    assert response.status_code == 200
    assert "<script>" not in response.content.decode()
    assert "Sukari" not in response.content.decode()


def test_full_shelf_says_that_there_is_more(bob):
    for number in range(61):
        ProductFactory(shop=bob.shop, name=f"Bidhaa {number:02}", stocked=0)

    page = bob.get("/till/").content.decode()

    assert page.count("data-product=") == 60
    assert "There are more" in page


@pytest.mark.parametrize("count", [1, 3])
def test_shelf_costs_the_same_queries_for_any_number_of_goods(
    bob, count, django_assert_num_queries
):
    for number in range(count):
        ProductFactory(shop=bob.shop, name=f"P{number}")

    with django_assert_num_queries(4):
        bob.get("/till/products")


def test_scan_finds_the_product_of_the_barcode(bob, sugar):
    answer = bob.get("/till/scan", {"code": sugar.barcode}, headers=JSON)

    assert answer.json() == {
        "id": str(sugar.pk),
        "name": "Sukari 1 kg",
        "price": 16550,
        "stock": 100,
    }


@pytest.mark.parametrize("code", ["123", "", "\0", "x" * 99])
def test_scan_of_an_unknown_barcode_says_so(bob, sugar, code):
    answer = bob.get("/till/scan", {"code": code}, headers=JSON)

    assert answer.status_code == 404
    assert answer.json()["message"].startswith("No product of this shop has the")


def test_scan_does_not_find_goods_of_another_shop(bob, charlie):
    answer = bob.get("/till/scan", {"code": charlie.product.barcode}, headers=JSON)

    assert answer.status_code == 404


def test_prices_of_a_kept_cart_are_todays(bob, sugar, charlie):
    ids = f"{sugar.pk},{charlie.product.pk},0,-1,x,{9**30}"

    answer = bob.get("/till/prices", {"ids": ids}, headers=JSON)

    assert [product["id"] for product in answer.json()["products"]] == [str(sugar.pk)]


def test_cart_becomes_a_sale_and_its_total_is_the_servers(bob, sugar):
    answer = save(bob, [{"productId": str(sugar.pk), "quantity": 3}])

    order = Order.objects.get()
    assert answer.json() == {
        "id": str(order.pk),
        "number": 1,
        "status": "open",
        "total": 49700,
        "isFrozen": False,
        "lines": [
            {
                "id": str(sugar.pk),
                "name": "Sukari 1 kg",
                "price": 16550,
                "quantity": 3,
            }
        ],
    }
    assert (order.total, order.rounding) == (Decimal("497.00"), Decimal("0.50"))
    assert order.created_by == bob.user


def test_changed_cart_changes_the_same_sale(bob, sugar):
    first = save(bob, [{"productId": str(sugar.pk), "quantity": 1}]).json()

    second = save(bob, [{"productId": str(sugar.pk), "quantity": 2}], first["id"])

    assert second.json()["id"] == first["id"]
    assert second.json()["total"] == 33100
    assert Order.objects.count() == 1


@pytest.mark.parametrize("quantity", [0, -1, 10_001, 10**30])
def test_impossible_quantity_gets_a_sentence(bob, sugar, quantity):
    answer = save(bob, [{"productId": str(sugar.pk), "quantity": quantity}])

    assert answer.status_code in (400, 409)
    assert answer.json()["message"].endswith(".")
    assert not Order.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"items": 5}',
        b'{"items": [5]}',
        b'{"items": [{"productId": "1"}]}',
        b'{"items": [{"productId": "1", "quantity": "2"}]}',
        b'{"items": [{"productId": "1", "quantity": true}]}',
        b'{"items": [{"productId": "1", "quantity": 1.5}]}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
    ids=range(12),
)
def test_cart_that_cannot_be_read_gets_a_sentence(bob, body):
    answer = bob.client.post(
        "/till/sale", body, content_type="application/json", headers=JSON
    )

    assert answer.status_code == 400
    assert answer.json()["code"] == "INVALID_REQUEST"
    assert not Order.objects.exists()


def test_short_stock_names_the_product_and_what_is_left(bob, sugar):
    answer = save(bob, [{"productId": str(sugar.pk), "quantity": 101}])

    assert answer.status_code == 409
    assert answer.json() == {
        "success": False,
        "code": "OUT_OF_STOCK",
        "message": "Only 100 left of Sukari 1 kg.",
        "details": {"products": [{"productId": str(sugar.pk), "stock": 100}]},
    }


def test_short_stock_is_told_in_swahili(bob, sugar):
    bob.client.post("/till/language", {"language": "sw", "next": "/till/"})

    answer = save(bob, [{"productId": str(sugar.pk), "quantity": 101}])

    assert answer.json()["message"] == "Bidhaa zilizopo hazitoshi kwa mauzo haya."


def test_goods_of_another_shop_cannot_be_sold(bob, charlie):
    answer = save(bob, [{"productId": str(charlie.product.pk), "quantity": 1}])

    assert answer.status_code == 404
    assert not Order.objects.filter(shop=bob.shop).exists()


def test_sale_with_a_payment_begun_keeps_its_goods(bob, sugar):
    order = OrderFactory(shop=bob.shop, items=[(sugar, 1)])
    PaymentFactory(order=order)

    answer = save(bob, [{"productId": str(sugar.pk), "quantity": 2}], str(order.pk))

    assert (answer.status_code, answer.json()["code"]) == (409, "ORDER_NOT_OPEN")
    assert order.lines.get().quantity == 1


@pytest.mark.parametrize("order_id", ["nonsense", str(uuid.uuid4())])
def test_sale_that_does_not_exist_cannot_be_changed(bob, sugar, order_id):
    answer = save(bob, [{"productId": str(sugar.pk), "quantity": 1}], order_id)

    assert answer.status_code == 404


def test_sale_of_another_shop_is_neither_shown_nor_changed(bob, sugar, charlie):
    shown = bob.get(f"/till/sale/{charlie.order.pk}", headers=JSON)
    changed = save(
        bob, [{"productId": str(sugar.pk), "quantity": 1}], str(charlie.order.pk)
    )

    assert (shown.status_code, changed.status_code) == (404, 404)
    assert charlie.order.lines.get().product == charlie.product


def test_sale_is_shown_to_another_till_of_the_shop(alice, bob, sugar):
    order = OrderFactory(shop=bob.shop, items=[(sugar, 2)])

    shown = alice.get(f"/till/sale/{order.pk}", headers=JSON).json()

    assert (shown["number"], shown["lines"][0]["quantity"]) == (order.number, 2)


def test_auditor_cannot_make_a_sale(audrey, sugar):
    answer = save(audrey, [{"productId": str(sugar.pk), "quantity": 1}])

    assert answer.status_code == 403
    assert not Order.objects.exists()


@pytest.mark.parametrize("env", ["simulator", "sandbox"])
def test_practice_banner_leads_to_the_virtual_phone_while_simulated(bob, settings, env):
    settings.MPESA_ENV = env

    page = bob.get("/till/").content.decode()

    assert (f"{settings.MPESA_BASE_URL}/phone/254" in page) == (env == "simulator")


def test_keyboard_help_names_every_key_of_the_sheets(bob):
    folder = Path(__file__).resolve().parents[2] / "templates"
    keys = {
        key
        for page in folder.rglob("*.html")
        for key in re.findall(r'data-key="Alt\+(\w+)"', page.read_text())
    }

    help_ = bob.get("/till/").content.decode().split('id="help"')[1]

    assert len(keys) >= 4
    assert set(re.findall(r"<kbd>Alt</kbd><kbd>(\w+)</kbd>", help_)) == keys
