"""Who may open which page of the books, and who may change what."""

import pytest
from django.test import Client

from shops.enums import Role
from shops.models import Membership
from smartduka.admin_site import site
from tests.admin.conftest import MODELS
from tests.factories import MembershipFactory, ShopFactory
from tests.support.facts import nothing_changes


READERS = ("alice", "mary", "audrey")
# Where a form may be sent: to a new row, and to one that is there.
MAY_ADD = {
    "operator": {
        "payments/mpesasettings", "shops/product", "shops/membership", "shops/shop",
        "auth/user",
    },
    "alice": {"shops/product"},
    "mary": {"shops/product"},
    "audrey": set(),
}  # fmt: skip
MAY_CHANGE = {
    "operator": MAY_ADD["operator"],
    "alice": {"shops/product", "shops/membership", "payments/mpesasettings"},
    "mary": {"shops/product", "payments/mpesasettings"},
    "audrey": set(),
}


def test_site_stands_on_its_own_checks():
    assert site.check(None) == []


def test_anonymous_is_sent_to_the_sign_in_page(db):
    response = Client().get("/admin/payments/payment/", follow=True)

    assert response.redirect_chain == [
        ("/admin/login/?next=/admin/payments/payment/", 302),
        ("/login?next=/admin/payments/payment/", 302),
    ]
    assert response.templates[0].name == "smartduka/login.html"


def test_signing_in_leads_back_to_the_books(alice, password):
    client = Client()
    response = client.post(
        "/login?next=/admin/", {"username": "alice", "password": password}
    )

    assert (response.status_code, response.url) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200


def test_signing_out_shows_the_sign_in_page(alice):
    response = alice.client.post("/admin/logout/")

    assert (response.status_code, response.url) == (302, "/login")
    assert alice.get("/admin/").status_code == 302


@pytest.mark.parametrize("name", ["bob", "stranger"])
def test_who_has_no_books_is_refused(people, name):
    for path in ("", *(f"{model}/" for model in MODELS)):
        response = people[name].client.get(f"/admin/{path}", follow=True)

        assert response.status_code == 403, path
        assert response.redirect_chain == [(f"/admin/login/?next=/admin/{path}", 302)]


@pytest.mark.parametrize("why", ["no staff flag", "left", "closed", "switched off"])
def test_owner_who_is_one_no_longer_is_refused(alice, why):
    if why == "no staff flag":
        alice.user.is_staff = False
        alice.user.save()
    elif why == "left":
        Membership.objects.filter(user=alice.user).update(is_active=False)
    elif why == "closed":
        alice.shop.is_active = False
        alice.shop.save()
    else:
        alice.user.is_active = False
        alice.user.save()

    assert alice.get("/admin/payments/payment/").status_code == 302


def test_address_without_slash_leads_to_the_books(alice):
    assert alice.get("/admin").url == "/admin/"


def test_pages_of_other_apps_are_not_there(operator):
    for path in ("django_q/ormq/", "django_q/schedule/", "auth/group/"):
        assert operator.get(f"/admin/{path}").status_code == 404


@pytest.mark.parametrize("name", [*READERS, "operator"])
def test_every_list_opens_to_its_readers(people, ours, name):
    found = {m: people[name].get(f"/admin/{m}/").status_code for m in MODELS}

    expected = dict.fromkeys(MODELS, 200)
    if name != "operator":
        expected["auth/user"] = 403
    assert found == expected


@pytest.mark.parametrize("name", [*READERS, "operator"])
def test_index_names_exactly_the_lists_that_open(people, name):
    page = people[name].get("/admin/").content.decode()

    named = {model for model in MODELS if f'href="/admin/{model}/"' in page}
    assert named == set(MODELS) - (set() if name == "operator" else {"auth/user"})
    for app in ("payments", "orders", "shops"):
        assert people[name].get(f"/admin/{app}/").url == "/admin/"


@pytest.mark.parametrize("name", [*READERS, "operator"])
def test_every_own_row_opens_to_its_readers(people, ours, name):
    found = {
        model: people[name].get(f"/admin/{model}/{row.pk}/change/").status_code
        for model, row in ours.by_path.items()
        if row is not None
    }

    expected = dict.fromkeys(found, 200)
    if name != "operator":
        expected["auth/user"] = 404
    assert found == expected


@pytest.mark.parametrize("name", [*READERS, "operator"])
def test_only_who_may_add_gets_a_form(people, name):
    found = {m: people[name].get(f"/admin/{m}/add/").status_code for m in MODELS}

    assert found == {m: 200 if m in MAY_ADD[name] else 403 for m in MODELS}
    with nothing_changes():
        for model in set(MODELS) - MAY_ADD[name]:
            response = people[name].client.post(f"/admin/{model}/add/", {})
            assert response.status_code == 403, model


@pytest.mark.parametrize("name", [*READERS, "operator"])
def test_only_who_may_change_can_send_a_form(people, ours, name):
    person = people[name]
    rows = {m: row for m, row in ours.by_path.items() if row is not None}
    if name != "operator":
        del rows["auth/user"]
    with nothing_changes():
        found = {}
        for model, row in rows.items():
            address = f"/admin/{model}/{row.pk}/change/"
            found[model] = person.client.post(address, {"status": "completed"})

    refused = {
        model for model, response in found.items() if response.status_code == 403
    }
    assert refused == set(rows) - MAY_CHANGE[name]


def test_role_counts_in_each_shop_by_itself(mary, charlie, theirs, listed):
    other = ShopFactory(name="Third")
    MembershipFactory(user=mary.user, shop=charlie.shop, role=Role.AUDITOR)
    MembershipFactory(user=mary.user, shop=other, role=Role.CASHIER)

    assert set(listed(mary, "shops/shop")) == {mary.shop.pk, charlie.shop.pk}
    product = f"/admin/shops/product/{theirs.product.pk}/"
    assert mary.get(f"{product}change/").status_code == 200
    assert mary.client.post(f"{product}change/", {"name": "x"}).status_code == 403
    assert mary.get(f"{product}stock/").status_code == 403


@pytest.mark.parametrize("is_staff", [True, False])
@pytest.mark.parametrize("name", ["alice", "mary"])
def test_till_leads_to_the_books_exactly_when_they_open(people, name, is_staff):
    person = people[name]
    person.user.is_staff = is_staff
    person.user.save()

    page = person.get("/till/").content.decode()

    assert ('href="/admin/"' in page) is is_staff
    assert (person.get("/admin/").status_code == 200) is is_staff


def test_till_of_a_cashier_does_not_lead_to_the_books(bob):
    assert 'href="/admin/"' not in bob.get("/till/").content.decode()
