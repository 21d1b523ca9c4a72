"""The commands of the contract, and the probes."""

import json
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client

from orders.models import Order
from payments.models import MpesaAccount, MpesaSettings, Payment
from shops.models import Membership, Product, Shop, StockMovement
from tests.factories import OrderFactory
from tests.support.facts import money_of, path_of, sale_of


pytestmark = pytest.mark.django_db


def printed(*command):
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue()


def rows():
    models = (
        *(get_user_model(), Membership, Shop, Product, StockMovement),
        *(MpesaAccount, MpesaSettings, Order, Payment),
    )
    return {
        model.__name__: list(model.objects.order_by("pk").values()) for model in models
    }


# --- demo_data -------------------------------------------------------------------


def test_demo_data_prints_the_contracts_json():
    demo = json.loads(printed("demo_data", "--json"))

    assert set(demo) == {"admin", "shops"}
    assert set(demo["admin"]) == {"username", "password"}
    assert len(demo["shops"]) == 2
    for shop in demo["shops"]:
        assert set(shop) == {
            "id", "name", "slug", "owner", "manager", "cashier", "products",
        }  # fmt: skip
        row = Shop.objects.get(pk=shop["id"])
        assert (row.name, row.slug) == (shop["name"], shop["slug"])
        for role in ("owner", "manager", "cashier"):
            assert set(shop[role]) == {"username", "password"}
            member = Membership.objects.get(user__username=shop[role]["username"])
            assert (member.shop, member.role, member.is_active) == (row, role, True)
        for product in shop["products"]:
            assert set(product) == {"id", "name", "price", "barcode"}
            found = Product.objects.get(pk=product["id"])
            assert (found.shop, found.name) == (row, product["name"])
            assert (f"{found.price:.2f}", found.barcode) == (
                product["price"], product["barcode"],
            )  # fmt: skip
            assert found.barcode
            assert found.stock >= 1_000
        first = Decimal(shop["products"][0]["price"])
        assert first == first.to_integral_value()
        assert 10 <= first <= 500


def test_demo_data_gives_the_first_shop_the_platforms_account_the_second_its_own():
    demo = json.loads(printed("demo_data", "--json"))
    first, second = (
        MpesaSettings.objects.get(shop_id=shop["id"]) for shop in demo["shops"]
    )

    assert (first.uses_platform_account, first.account) == (True, None)
    assert second.uses_platform_account is False
    assert (second.account.shop_id, second.account.type) == (second.shop_id, "paybill")
    assert second.account.passkey == "simshop2passkey".ljust(64, "0")


def test_demo_data_is_idempotent_and_the_passwords_stay():
    first, before = printed("demo_data", "--json"), rows()

    second = printed("demo_data", "--json")

    assert (second, rows()) == (first, before)


def test_demo_data_mends_what_was_changed():
    demo = json.loads(printed("demo_data", "--json"))
    owner = get_user_model().objects.get(username=demo["shops"][0]["owner"]["username"])
    owner.set_password("forgotten")
    owner.is_active = False
    owner.save()
    owner.memberships.update(is_active=False, role="auditor")

    assert json.loads(printed("demo_data", "--json")) == demo

    owner.refresh_from_db()
    assert owner.is_active
    assert owner.check_password(demo["shops"][0]["owner"]["password"])
    assert list(owner.memberships.values_list("role", "is_active")) == [("owner", True)]


def test_demo_people_can_sign_in():
    demo = json.loads(printed("demo_data", "--json"))
    people = [demo["admin"]]
    for shop in demo["shops"]:
        people += [shop[role] for role in ("owner", "manager", "cashier")]

    for person in people:
        answer = Client().post("/api/auth/token", person, "application/json")
        assert answer.status_code == 200, person


def test_demo_data_in_words_names_everybody():
    demo = json.loads(printed("demo_data", "--json"))

    text = printed("demo_data")

    for shop in demo["shops"]:
        assert shop["name"] in text
        for role in ("owner", "manager", "cashier"):
            assert f"{shop[role]['username']} / {shop[role]['password']}" in text


def test_demo_data_is_refused_in_production(settings):
    settings.MPESA_ENV = "production"

    with pytest.raises(CommandError, match="production"):
        printed("demo_data")

    assert not get_user_model().objects.exists()


# --- reconcile -------------------------------------------------------------------


def test_reconcile_prints_what_it_did(bob, duka, mpesa, prompt):
    paid, waiting = OrderFactory(shop=duka), OrderFactory(shop=duka)
    first = prompt(bob, paid, "0712000001")
    second = prompt(bob, waiting, "0712000002")
    mpesa.answered(first, "pay")

    text = printed("reconcile")

    assert text == (
        "Looked at 2 payments: asked about 2, 1 decided, 0 expired;"
        " 0 notices processed, 0 new receipts pulled.\n"
    )
    assert path_of(first) == ["created", "pending", "completed"]
    assert money_of(paid) == [("query", None, 250, [("sale", 250)])]
    assert path_of(second) == ["created", "pending"]
    assert sale_of(waiting) == ("open", 0, 250, 0)
    assert "asked about 0" in printed("reconcile")
    assert mpesa.stats()["queries"] == 2


def test_reconcile_with_nothing_to_do():
    assert printed("reconcile") == (
        "Looked at 0 payments: asked about 0, 0 decided, 0 expired;"
        " 0 notices processed, 0 new receipts pulled.\n"
    )


# --- Probes ----------------------------------------------------------------------


def test_healthz_looks_at_nothing(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = client.get("/healthz")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_readyz_names_what_is_reachable(client):
    response = client.get("/readyz")

    assert (response.status_code, response.json()) == (
        200,
        {
            "status": "ready",
            "checks": {
                "database": "ok", "channelLayer": "ok", "queue": "ok", "counters": "ok",
            },
        },
    )  # fmt: skip
