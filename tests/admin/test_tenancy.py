"""What belongs to another shop does not exist in the books: lists, filters, forms.

Every address there is, is walked by tests/isolation.
"""

import pytest

from payments.models import Notice
from shops.enums import Role
from shops.models import Product
from tests.admin.conftest import MODELS
from tests.factories import MembershipFactory, ProductFactory
from tests.support.facts import nothing_changes


READERS = ("alice", "mary", "audrey")
# Words that are in Charlie's rows and in nobody else's.
# Of the phone, what no random id can hold by chance.
SECRETS = (
    "Jirani", "charlie", "secret sugar", "UAE5THEIR1", "600200", "0733 ••• 222", "…222",
)  # fmt: skip


@pytest.mark.parametrize(
    "key", ["nonsense", "0", "99999999999999999999999999", "%00", "a%2Fb"]
)
def test_key_that_is_none_is_not_there(alice, key):
    for model in MODELS:
        assert alice.get(f"/admin/{model}/{key}/change/").status_code == 404, model


@pytest.mark.parametrize("name", READERS)
def test_lists_hold_exactly_the_own_rows(people, ours, theirs, nobodys, listed, name):
    for model, row in ours.by_path.items():
        if model == "auth/user":
            continue
        rows = listed(people[name], model)
        page = people[name].get(f"/admin/{model}/").content.decode()

        assert (row.pk in rows) if row is not None else rows == [], model
        assert theirs.by_path[model].pk not in rows, model
        assert [one.pk for one in nobodys.get(model, []) if one.pk in rows] == []
        assert [word for word in SECRETS if word in page] == [], model


def test_operator_sees_every_row(operator, ours, theirs, nobodys, listed):
    for model in MODELS:
        rows = [ours.by_path[model], theirs.by_path[model], *nobodys.get(model, [])]
        expected = {row.pk for row in rows if row is not None}

        assert expected <= set(listed(operator, model)), model


def test_rows_without_a_shop_are_the_operators_alone(people, nobodys):
    for model, rows in nobodys.items():
        for row in rows:
            address = f"/admin/{model}/{row.pk}/change/"
            found = {n: people[n].get(address).status_code for n in people}

            expected = dict.fromkeys(people, 404)
            expected |= {"operator": 200, "bob": 302, "stranger": 302}
            assert found == expected, address


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("payments/payment", "UAE5THEIR1"),
        ("payments/payment", "254733000222"),
        ("payments/collection", "UAE5THEIR1"),
        ("payments/mpesaaccount", "600200"),
        ("payments/mpesasettings", "Jirani"),
        ("shops/product", "secret sugar"),
        ("shops/stockmovement", "secret sugar"),
        ("shops/membership", "charlie"),
        ("shops/shop", "Jirani"),
    ],
)
def test_search_finds_own_rows_only(alice, charlie, ours, theirs, listed, model, words):
    assert listed(alice, model, q=words) == []
    assert theirs.by_path[model].pk in listed(charlie, model, q=words)


def test_payment_is_found_by_its_ids_in_the_own_shop_only(
    alice, charlie, theirs, listed
):
    payment = theirs.payment
    for words in (str(payment.pk), payment.checkout_request_id):
        assert listed(charlie, "payments/payment", q=words) == [payment.pk]
        assert listed(alice, "payments/payment", q=words) == []


@pytest.mark.parametrize(
    "model",
    [
        *("payments/payment", "payments/notice", "payments/collection"),
        *("payments/allocation", "orders/order", "shops/product"),
        *("shops/stockmovement", "shops/membership", "payments/mpesaaccount"),
    ],
)
def test_filter_by_another_shop_shows_none_of_its_rows(
    alice, ours, theirs, listed, model
):
    # Who has one shop has no such filter; who has several may choose among those.
    assert listed(alice, model, shop=theirs.shop.pk) == listed(alice, model)
    MembershipFactory(user=alice.user, role=Role.AUDITOR)
    assert listed(alice, model, shop=theirs.shop.pk) == []


@pytest.mark.parametrize(
    ("model", "lookup", "row"),
    [
        ("payments/payment", "order__id__exact", "order"),
        ("payments/notice", "payment__id__exact", "payment"),
        ("shops/stockmovement", "product__id__exact", "product"),
    ],
)
def test_links_between_lists_stay_in_the_shop(
    alice, charlie, ours, theirs, listed, model, lookup, row
):
    foreign, own = getattr(theirs, row), getattr(ours, row)

    assert listed(alice, model, **{lookup: str(foreign.pk)}) == []
    assert ours.by_path[model].pk in listed(alice, model, **{lookup: str(own.pk)})


def test_filters_offer_own_names_only(alice, ours, theirs):
    Product.objects.filter(pk=theirs.product.pk).update(category="Charlie's things")
    page = alice.get("/admin/shops/product/")

    choices = {
        spec.title: [choice["display"] for choice in spec.choices(page.context["cl"])]
        for spec in page.context["cl"].filter_specs
    }
    assert choices["category"] == ["All", "Food"]
    assert "shop" not in choices


def test_who_has_several_shops_chooses_among_those(
    alice, charlie, ours, theirs, listed
):
    MembershipFactory(user=alice.user, shop=charlie.shop, role=Role.AUDITOR)
    page = alice.get("/admin/payments/payment/")

    shops = next(s for s in page.context["cl"].filter_specs if s.title == "shop")
    names = [choice["display"] for choice in shops.choices(page.context["cl"])]
    assert names == ["All", "Jirani", "Mama Mboga"]
    own = listed(alice, "payments/payment", shop=alice.shop.pk)
    assert own == [ours.payment.pk]


@pytest.mark.parametrize(
    ("app", "model", "field", "own"),
    [
        ("shops", "membership", "shop", "Mama Mboga"),
        ("shops", "stockmovement", "product", "Sugar of Mama Mboga · KES 250"),
        ("payments", "payment", "order", "Sale 1"),
        ("payments", "mpesasettings", "shop", "Mama Mboga"),
    ],
)
def test_autocomplete_offers_own_rows_only(alice, ours, theirs, app, model, field, own):
    query = {"app_label": app, "model_name": model, "field_name": field, "term": ""}
    found = alice.get("/admin/autocomplete/", query).json()["results"]

    assert [entry["text"] for entry in found] == [own]


def test_autocomplete_tells_no_shop_who_can_sign_in(people):
    query = {
        "app_label": "shops",
        "model_name": "membership",
        "field_name": "user",
        "term": "",
    }
    found = {
        n: people[n].get("/admin/autocomplete/", query).status_code for n in people
    }

    expected = dict.fromkeys(people, 403)
    assert found == expected | {"operator": 200, "bob": 302, "stranger": 302}


def test_new_product_is_offered_managed_shops_only(alice, charlie):
    MembershipFactory(user=alice.user, shop=charlie.shop, role=Role.MANAGER)
    third = MembershipFactory(user=alice.user, role=Role.AUDITOR).shop
    page = alice.get("/admin/shops/product/add/")

    offered = page.context["adminform"].form.fields["shop"].queryset
    assert set(offered) == {alice.shop, charlie.shop}
    with nothing_changes():
        sent = {"shop": third.pk, "name": "Salt", "price": "20", "low_stock_at": "5"}
        response = alice.client.post("/admin/shops/product/add/", sent)
    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == ["shop"]


def test_shop_that_is_sent_along_is_not_asked_for(alice, charlie):
    sent = {
        "shop": charlie.shop.pk, "name": "Salt", "price": "20", "low_stock_at": "5",
        "is_active": "on",
    }  # fmt: skip
    response = alice.client.post("/admin/shops/product/add/", sent)

    assert response.status_code == 302
    assert Product.objects.get(name="Salt").shop == alice.shop


def test_product_cannot_be_sent_to_another_shop(alice, charlie):
    product = ProductFactory(shop=alice.shop)
    sent = {
        "shop": charlie.shop.pk, "shop_name": "Jirani", "name": "Salt", "price": "20",
        "low_stock_at": "5", "is_active": "on",
    }  # fmt: skip
    response = alice.client.post(f"/admin/shops/product/{product.pk}/change/", sent)

    assert response.status_code == 302
    product.refresh_from_db()
    assert (product.name, product.shop) == ("Salt", alice.shop)


@pytest.mark.parametrize("keys", [["own", "foreign"], ["nonsense"], ["9" * 30]])
def test_action_on_rows_that_are_not_ones_own_is_not_there(alice, ours, theirs, keys):
    Notice.objects.update(next_try_at=None)
    named = {"own": ours.notice.pk, "foreign": theirs.notice.pk}
    with nothing_changes():
        response = alice.client.post(
            "/admin/payments/notice/",
            {
                "action": "process_again",
                "_selected_action": [named.get(key, key) for key in keys],
            },
        )

    assert response.status_code == 404
    assert {(row.verdict, row.attempts) for row in Notice.objects.all()} == {("new", 0)}
