"""Nothing of one shop is found by the people of another, at any address there is."""

import io
import zipfile

import pytest
from django.test import override_settings
from django.urls import URLResolver, path
from django.urls.resolvers import RegexPattern

from payments import gateways
from shops.models import Shop
from tests.isolation import routes, table, world
from tests.isolation.table import SIGNING_OUT, walk_of


pytestmark = pytest.mark.django_db

VERBS = ("get", "post", "put", "patch", "delete")


@pytest.fixture
def books():
    """Both shops with full books, and an M-Pesa of this process."""
    made = world.make()
    with gateways.using(made.fake), override_settings(STK_RATE_PER_SHOP="9999/m"):
        yield made


# --- Every route is known --------------------------------------------------------


def unknown(found):
    return sorted(route.path for route in found if walk_of(route) is None)


def test_every_route_is_walked():
    assert unknown(routes.http_routes()) == []


def test_no_line_of_the_table_is_about_a_route_that_is_gone():
    there = {route.path for route in routes.http_routes()}

    assert sorted({*table.TABLE, *SIGNING_OUT} - there) == []


def test_every_model_says_whose_its_rows_are():
    assert world.unplaced_models() == []


@pytest.mark.parametrize(
    "made_up",
    [
        "api/payments/mpesa/everything/<str:payment_id>",
        "admin/payments/payment/<path:object_id>/secrets/",
        "admin/payments/payment/everything/",
        "till/pay/<uuid:order_id>/again",
        "takings",
    ],
)
def test_route_that_nobody_said_how_to_walk_is_a_failure(made_up):
    resolver = URLResolver(
        RegexPattern(r"^"), [*real_patterns(), path(made_up, lambda request: None)]
    )

    assert unknown(routes.http_routes(resolver)) == [made_up]


def real_patterns():
    from smartduka import urls  # noqa: PLC0415 -- the real ones, as they are now

    return urls.urlpatterns


# --- The walk --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["owner", "auditor"])
def test_people_of_another_shop_find_nothing(books, name):
    client = books.people[name].client
    # An auditor is told that they change nothing before anything is looked up.
    refused = {403} if name == "auditor" else set()
    before, wrong = world.snapshot(books.shop), []
    for route in sorted(routes.http_routes(), key=lambda one: one.path in SIGNING_OUT):
        walk, verbs = walk_of(route), verbs_of(route)
        for ids in walk.parameters(books):
            address, sent = route.filled(**ids), f"{ids} {walk.body(books)}"
            statuses = set()
            for verb in verbs:
                answer = send(client, verb, address, books, walk)
                statuses.add(answer.status_code)
                if not {answer.status_code} <= walk.answers | refused:
                    wrong.append((verb, address, answer.status_code))
                if leaks := leaked(books, answer, sent):
                    wrong.append((verb, address, leaks))
            if not ids:
                chosen = client.get(address, {"shop": books.shop.pk})
                if leaks := leaked(books, chosen, sent):
                    wrong.append(("shop chosen", address, leaks))
            if walk.answers == table.NOT_THERE and not statuses & ({404} | refused):
                wrong.append((route.path, statuses))

    assert not wrong, "\n".join(map(str, wrong))
    assert world.snapshot(books.shop) == before
    assert world.crossings(books.own_shop, books.shop) == []
    assert world.crossings(books.shop, books.own_shop) == []


def test_the_ids_are_those_of_pages_that_exist(books, operator):
    """Guards the walk: a 404 for a wrong id would prove nothing."""
    missing = []
    for route in routes.http_routes():
        walk = walk_of(route)
        if not route.parameters or not walk.is_page:
            continue
        statuses = {
            send(reader.client, verb, route.filled(**ids), books, walk).status_code
            for reader in (books.owner, operator)
            for ids in walk.parameters(books)
            for verb in ("get", "post")
        }
        if not statuses - {404, 405}:
            missing.append((route.path, statuses))

    assert not missing, "\n".join(map(str, missing))


def test_the_rows_would_be_seen_if_they_leaked(books):
    """Guards the walk: the shop's own owner reads its secrets on every list and sheet."""
    silent = []
    for route in routes.http_routes():
        if route.name.endswith("_changelist") or "export" in route.path:
            answer = books.owner.client.get(route.filled())
            if answer.status_code == 200 and not leaked(books, answer, ""):
                silent.append(route.path)

    assert silent == []


# --- Actions, searches, autocomplete, the header ----------------------------------


def test_actions_on_rows_of_another_shop_find_none(books):
    client = books.people["owner"].client
    before, wrong = world.snapshot(books.shop), []
    for model, action in routes.actions():
        keys = [row.pk for row in books.rows(model._meta.label)]
        address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        sent = {"action": action, "_selected_action": keys, "index": 0, "post": "yes"}
        for across in ("0", "1"):
            answer = client.post(address, sent | {"select_across": across})
            if answer.status_code != 404 or leaked(books, answer, str(sent)):
                wrong.append((address, action, across, answer.status_code))

    assert not wrong, "\n".join(map(str, wrong))
    assert world.snapshot(books.shop) == before


def test_search_finds_nothing_of_another_shop(books):
    client = books.people["owner"].client
    wrong = []
    for route in routes.http_routes():
        if not route.name.endswith("_changelist"):
            continue
        for words in searched(books):
            answer = client.get(route.filled(), {"q": words})
            if leaks := leaked(books, answer, words):
                wrong.append((route.path, words, leaks))
            if answer.context and "cl" in answer.context:
                shown = {row.pk for row in answer.context["cl"].result_list}
                label = answer.context["cl"].model._meta.label
                foreign = {row.pk for row in world.owned(label, books.shop)}
                wrong += [(route.path, words)] if shown & foreign else []

    assert not wrong, "\n".join(map(str, wrong))


def searched(books):
    payment = books.row("payments.Payment")
    return ("Siri", "UKL1", "jirani", payment.phone, str(payment.pk), payment.reference)


def test_autocomplete_offers_nothing_of_another_shop(books):
    client = books.people["owner"].client
    wrong, answered = [], set()
    for model, name in routes.foreign_keys():
        for term in ("", "Siri", "jirani", "UKL1"):
            query = {
                "app_label": model._meta.app_label, "field_name": name, "term": term,
                "model_name": model._meta.model_name,
            }  # fmt: skip
            answer = client.get("/admin/autocomplete/", query)
            answered.add(answer.status_code)
            if answer.status_code not in (200, 403, 404) or leaked(books, answer, term):
                wrong.append((query, answer.status_code))

    assert not wrong, "\n".join(map(str, wrong))
    assert answered == {200, 403, 404}


def test_shop_that_is_named_in_the_header_must_be_the_persons(books):
    client = books.people["owner"].client
    named = {"X-Shop": str(books.shop.pk)}
    open_to_all = (
        *("api/auth/token", "api/auth/token/refresh", "api/auth/ws-ticket"),
        *("api/schema", "api/docs", "api/payments/mpesa/callback", "api/"),
    )
    before, wrong = world.snapshot(books.shop), []
    for route in routes.http_routes():
        is_shops = route.path.startswith(("api/", "till/pay/", "till/sale"))
        if not is_shops or route.path in open_to_all:
            continue
        walk = walk_of(route)
        for ids in walk.parameters(books):
            for verb in verbs_of(route):
                answer = send(client, verb, route.filled(**ids), books, walk, named)
                if answer.status_code not in table.NOT_THERE:
                    wrong.append((verb, route.path, answer.status_code))

    assert not wrong, "\n".join(map(str, wrong))
    assert world.snapshot(books.shop) == before
    assert Shop.objects.get(pk=books.shop.pk).last_order_number > 0


# --- Helpers ---------------------------------------------------------------------


def verbs_of(route):
    """Return the verbs to try: all for the API, whose views tell them apart."""
    return VERBS if route.path.startswith(("api/", "hooks/")) else VERBS[:2]


def send(client, verb, address, books, walk, headers=None):
    headers = headers or {}
    if verb == "get":
        return client.get(address, headers=headers)
    body = walk.body(books)
    if walk.is_json or verb != "post":
        return getattr(client, verb)(
            address, body, content_type="application/json", headers=headers
        )
    return client.post(address, body, headers=headers)


def leaked(books, answer, sent):
    """Return what of the shop an answer tells, in its body or in where it leads."""
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as sheet:
            content = b"".join(sheet.read(name) for name in sheet.namelist())
    led = answer.headers.get("Location", "") + answer.headers.get("HX-Redirect", "")
    return books.leaks(content.decode("utf-8", "replace") + led, sent)
