"""How many statements a page of the books costs: as many for three rows as for one."""

import pytest
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.admin.conftest import settle, store_notice
from tests.factories import OrderFactory, PaymentFactory, ProductFactory, UserFactory


# Session, person and role; then the page's own.
LISTS = {
    "payments/payment": 5,
    "payments/notice": 5,
    "payments/collection": 7,
    "payments/allocation": 5,
    "payments/mpesasettings": 5,
    "payments/mpesaaccount": 5,
    "orders/order": 5,
    "shops/product": 6,
    "shops/stockmovement": 5,
    "shops/membership": 5,
    "shops/shop": 5,
}


@pytest.fixture(autouse=True)
def kinds_of_rows_are_known(db):
    """Django keeps these per process: the first page would pay for the others."""
    ContentType.objects.get_for_models(*apps.get_models())


def sale(alice, number):
    order = OrderFactory(shop=alice.shop, actor=UserFactory())
    payment = PaymentFactory(order=order, created_by=UserFactory())
    store_notice(payment)
    settle(payment, f"UAE5MANY{number:02}")
    return payment


def cost(person, address):
    with CaptureQueriesContext(connection) as captured:
        assert person.get(address).status_code == 200
    return [query["sql"] for query in captured]


@pytest.mark.parametrize("model", LISTS)
def test_list_costs_the_same_for_one_row_and_for_three(alice, model):
    sale(alice, 1)
    one = cost(alice, f"/admin/{model}/")
    sale(alice, 2)
    sale(alice, 3)
    three = cost(alice, f"/admin/{model}/")

    assert (len(one), len(three)) == (LISTS[model], LISTS[model]), "\n".join(three)


def test_list_of_the_operator_costs_one_statement_less_and_the_shops(operator, alice):
    for number in range(3):
        sale(alice, number)

    statements = cost(operator, "/admin/payments/payment/")
    assert len(statements) == 5


def test_lists_never_count_to_the_end(alice):
    sale(alice, 1)
    for model in LISTS:
        counts = [q for q in cost(alice, f"/admin/{model}/") if "COUNT(" in q]

        assert len(counts) == 1, model
        assert "LIMIT 1001" in counts[0], model


def test_page_of_a_payment_costs_the_same_for_one_event_and_for_many(alice):
    payment = sale(alice, 1)
    address = f"/admin/payments/payment/{payment.pk}/change/"
    few = cost(alice, address)
    for number in range(3):
        store_notice(payment, b"notice %d" % number)
        settle(payment, f"UAE5MORE{number:02}")
    many = cost(alice, address)

    assert (len(few), len(many)) == (10, 10), "\n".join(many)


def test_page_of_a_sale_costs_the_same_for_one_line_and_for_three(alice):
    few = OrderFactory(shop=alice.shop)
    goods = [(ProductFactory(shop=alice.shop), 1) for _ in range(3)]
    many = OrderFactory(shop=alice.shop, items=goods, actor=alice.user)

    costs = [
        len(cost(alice, f"/admin/orders/order/{o.pk}/change/")) for o in (few, many)
    ]
    assert costs == [6, 6]
