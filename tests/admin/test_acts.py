"""The audit log: what is written down of whom, and who reads and finds it."""

import re
import uuid
from datetime import timedelta

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orders import urls_pages
from payments import urls_panel
from payments.acts import NO_ACTS, words_of
from payments.models import Act
from smartduka.lib import clock
from tests.factories import OrderFactory, ProductFactory
from tests.support.facts import database_without


LIST = "/admin/payments/act/"


def acts():
    rows = Act.objects.order_by("pk").select_related("actor", "shop")
    return [(row.actor.username, row.what, row.status) for row in rows]


def act(person, shop=None, **facts):
    values = {"what": "POST api/orders", "road": "api", "status": 201} | facts
    return Act.objects.create(
        at=clock.now(), shop=shop or person.shop, actor=person.user, **values
    )


# Written down.


def test_act_in_the_admin_says_who_what_on_what_from_where(alice, ours):
    product = ProductFactory(shop=alice.shop)
    sent = {
        "shop_name": alice.shop.name, "name": "Salt", "price": "20",
        "low_stock_at": "5", "is_active": "on",
    }  # fmt: skip
    alice.client.post(
        f"/admin/shops/product/{product.pk}/change/", sent, REMOTE_ADDR="10.1.2.3"
    )

    [row] = Act.objects.all()
    assert (row.actor, row.shop, row.road) == (alice.user, alice.shop, "admin")
    assert (row.address, row.status) == ("10.1.2.3", 302)
    assert (row.about, row.about_id) == ("shops.Product", str(product.pk))
    assert row.details == LogEntry.objects.get().get_change_message()
    assert "Name" in row.details


def test_act_by_the_api_says_the_shop_of_the_header(bob, charlie):
    order = OrderFactory(shop=bob.shop)
    bob.post(f"/api/orders/{order.pk}/cancel")

    [row] = Act.objects.all()
    assert (row.actor, row.shop, row.road) == (bob.user, bob.shop, "api")
    assert row.what == "POST api/orders/<str:order_id>/cancel"
    assert (row.about, row.about_id) == ("orders.Order", str(order.pk))
    assert row.status == 200


def test_act_with_a_token_is_the_tokens_person(bob, client, password):
    token = client.post(
        "/api/auth/token", {"username": "bob", "password": password},
        content_type="application/json",
    ).json()["access"]  # fmt: skip
    order = OrderFactory(shop=bob.shop)
    client.post(
        f"/api/orders/{order.pk}/cancel", content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )  # fmt: skip

    assert acts() == [("bob", "POST api/orders/<str:order_id>/cancel", 200)]


def test_act_at_the_till_is_written_down(bob):
    order = OrderFactory(shop=bob.shop)
    bob.client.post(f"/till/pay/{order.pk}/cash", {"amount": "100"})

    assert acts() == [("bob", "POST till/pay/<uuid:order_id>/cash", 200)]


def test_refusal_is_written_down_for_the_own_shop(alice, charlie, theirs):
    alice.client.post(f"/admin/payments/notice/{theirs.notice.pk}/again/")
    alice.post(f"/api/orders/{theirs.order.pk}/cancel")

    found = [(row.shop, row.status, row.about_id) for row in Act.objects.all()]
    assert found == [(alice.shop, 404, "")] * 2


def test_looking_is_no_act_nor_is_a_form_with_mistakes(alice, client, ours):
    alice.get("/admin/payments/payment/")
    alice.get("/api/orders")
    alice.client.post("/admin/shops/product/add/", {"name": ""})
    alice.post("/api/auth/ws-ticket")
    client.post("/api/orders", {}, content_type="application/json")

    assert acts() == []


def test_what_was_written_before_is_not_this_act(audrey, ours):
    LogEntry.objects.create(
        user=audrey.user, content_type=ContentType.objects.get_for_model(ours.product),
        object_id=str(ours.product.pk), object_repr="x", action_flag=CHANGE,
        change_message="yesterday", action_time=clock.now() - timedelta(days=1),
    )  # fmt: skip
    audrey.client.post(f"/admin/payments/notice/{ours.notice.pk}/again/")

    [row] = Act.objects.all()
    assert (row.about, row.about_id) == ("payments.Notice", str(ours.notice.pk))
    assert (row.details, row.status, row.shop) == ("", 403, audrey.shop)


def test_nonsense_is_written_down_and_breaks_nothing(alice, ours):
    key = ours.product.pk
    answer = alice.client.post(
        f"/admin/shops/product/{key}/stock/",
        {"act": "received", "pieces": "5", "action": "\0" * 9 + "x" * 900},
    )

    assert answer.status_code == 302
    [row] = Act.objects.all()
    stem = "POST admin/shops/product/<path:object_id>/stock/ xxx"
    assert row.what.startswith(stem)
    assert len(row.what) == 150


def test_every_press_on_the_till_has_words(alice):
    found, silent = [], []
    for start, module in (("till/", urls_pages), ("till/pay/", urls_panel)):
        for one in module.urlpatterns:
            route = f"{start}{one.pattern}"
            address = re.sub(r"<uuid:\w+>", str(uuid.uuid4()), route)
            if alice.client.post(f"/{address}").status_code == 405:
                continue
            found.append(route)
            if words_of(f"POST {route}") == f"POST {route}":
                silent.append(route)

    assert len(found) > 15
    assert set(silent) <= NO_ACTS


def test_signing_out_is_the_act_of_who_was_in(alice):
    alice.client.post("/logout")

    assert acts() == [("alice", "POST logout", 302)]


def test_what_cannot_be_written_down_stops_nobody(bob, caplog):
    order = OrderFactory(shop=bob.shop)
    with database_without("payments_act"):
        answer = bob.post(f"/api/orders/{order.pk}/cancel")

    assert answer.status_code == 200
    assert acts() == []
    assert "could not be written down" in caplog.text


def test_row_is_never_changed(alice):
    row = act(alice)

    with pytest.raises(TypeError):
        row.save()
    with pytest.raises(TypeError):
        row.delete()


# Read.


def test_each_reads_the_acts_of_their_shop(
    people, alice, bob, charlie, operator, listed
):
    rows = [act(bob).pk, act(charlie).pk]
    platform = Act.objects.create(
        at=clock.now(), actor=operator.user, road="admin", what="POST x", status=302
    ).pk

    for name in ("alice", "mary", "audrey"):
        assert listed(people[name], "payments/act") == rows[:1]
    assert listed(charlie, "payments/act") == rows[1:]
    assert listed(operator, "payments/act") == [platform, *reversed(rows)]


def test_list_says_it_in_plain_words(alice, bob):
    order = OrderFactory(shop=bob.shop)
    act(
        bob, what="POST api/orders/<str:order_id>/pay-cash", address="10.1.2.3",
        about="orders.Order", about_id=str(order.pk),
    )  # fmt: skip
    act(
        alice, what="POST admin/payments/refund/<path:object_id>/approve/", road="admin"
    )
    act(
        alice,
        what="POST admin/payments/notice/ process_again",
        road="admin",
        status=404,
    )
    text = alice.get(LIST).content.decode()

    for words in (
        "Took cash", "10.1.2.3", "bob", "API", f"/admin/orders/order/{order.pk}/change/",
        "Refund: approve", "Message: process again", "Refused (404)",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("bob", [0]), ("ali", [1]), ("10.1.2.3", [0]), ("took cash", [0]),
        ("the-id", [1]), ("process again", [1]), ("10.1.2", []), ("charlie", []),
        ("%", []), ("\u00e9", []),
    ],
)  # fmt: skip
def test_search_finds_who_what_on_what_and_from_where(
    alice, bob, charlie, listed, words, found
):
    rows = [
        act(bob, what="POST api/orders/<str:order_id>/pay-cash", address="10.1.2.3").pk,
        act(
            alice, what="POST admin/payments/notice/ process_again", about_id="the-id"
        ).pk,
    ]
    act(charlie, address="10.1.2.3", about_id="the-id")

    assert listed(alice, "payments/act", q=words) == [rows[place] for place in found]


def test_filters_keep_road_and_answer(alice, bob, listed):
    by_api, refused = act(bob).pk, act(alice, road="admin", status=403).pk

    assert listed(alice, "payments/act", road="api") == [by_api]
    assert listed(alice, "payments/act", answer="refused") == [refused]
    assert listed(alice, "payments/act", answer="taken", day="today") == [by_api]


def test_list_costs_the_same_for_few_and_for_many(
    alice, bob, mary, django_assert_num_queries
):
    act(bob)
    alice.get(LIST)
    with CaptureQueriesContext(connection) as few:
        alice.get(LIST)
    for person in (alice, mary, bob, alice):
        order = OrderFactory(shop=alice.shop)
        act(person, about="orders.Order", about_id=str(order.pk))
    with django_assert_num_queries(len(few)):
        alice.get(LIST)
