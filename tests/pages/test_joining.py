"""Invitations: who makes them, whoever opens the link joins once, and what it gives."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.test import Client

from shops import invitations, tenancy
from shops.enums import Role
from shops.models import Invitation, Membership
from smartduka.lib import clock
from tests.factories import MembershipFactory, ShopFactory


pytestmark = pytest.mark.django_db
INVITE = "/admin/shops/membership/invite/"
NEW = {"username": "wanjiku", "password": "mpya-na-refu-2031"}


@pytest.fixture(autouse=True)
def staff(alice, mary, bob, audrey, charlie, stranger):
    get_user_model().objects.update(is_staff=True)


@pytest.fixture
def link(alice):
    """Make a link for a role: its path."""

    def make(role=Role.CASHIER):
        sent = {"name": "The new one", "role": role}
        page = alice.client.post(INVITE, sent).content.decode()
        return re.search(r"http://testserver(/join/[\w-]+)", page)[1]

    return make


def people_of(shop):
    rows = Membership.objects.filter(shop=shop, is_active=True)
    return dict(rows.values_list("user__username", "role"))


def test_somebody_new_joins_and_is_signed_in(link, alice):
    client = Client()
    path = link()
    page = client.get(path).content.decode()
    assert ("Join Mama Mboga" in page, "Sell and take payments" in page) == (
        True, False,
    )  # fmt: skip
    assert "Cashier: sell and take payments." in page

    answer = client.post(path, NEW, follow=True)

    assert answer.redirect_chain[-1][0] == "/till/"
    assert people_of(alice.shop)["wanjiku"] == Role.CASHIER
    user = get_user_model().objects.get(username="wanjiku")
    assert (user.is_staff, user.is_superuser) == (False, False)
    used = Invitation.objects.get()
    assert (used.used_by, used.name) == (user, "The new one")


@pytest.mark.parametrize("role", Role.values)
def test_link_gives_its_role_and_the_books_to_who_reads_them(link, role):
    client = Client()
    client.post(link(role), NEW)

    user = get_user_model().objects.get(username="wanjiku")
    assert tenancy.access(user).role == role
    assert user.is_staff is (role != Role.CASHIER)


def test_link_is_good_once(link, alice):
    path = link()
    Client().post(path, NEW)
    again = Client()

    assert again.get(path).status_code == 404
    assert again.post(path, NEW | {"username": "other"}).status_code == 404
    assert "not good any more" in again.get(path).content.decode()
    assert "other" not in people_of(alice.shop)


@pytest.mark.parametrize("why", ["too late", "withdrawn", "closed", "damaged"])
def test_link_that_is_no_good_makes_nobody(link, alice, why, monkeypatch):
    path = link()
    if why == "too late":
        later = clock.now() + clock.seconds(3 * 24 * 3600 + 1)
        monkeypatch.setattr(clock, "now", lambda: later)
    elif why == "withdrawn":
        alice.client.post(f"{INVITE}{Invitation.objects.get().pk}/withdraw/")
    elif why == "closed":
        alice.shop.is_active = False
        alice.shop.save()
    else:
        path = path[:-1] + ("a" if path[-1] != "a" else "b")

    assert Client().post(path, NEW).status_code == 404
    assert get_user_model().objects.filter(username="wanjiku").exists() is False


def test_who_can_sign_in_already_just_joins(link, charlie, alice):
    path = link(Role.AUDITOR)
    page = charlie.get(path).content.decode()
    assert "Join as charlie" in page

    answer = charlie.client.post(path)

    assert answer.status_code == 302
    assert people_of(alice.shop)["charlie"] == Role.AUDITOR
    assert people_of(charlie.shop)["charlie"] == Role.OWNER


def test_who_was_sent_home_comes_back_with_the_links_role(link, bob, alice):
    Membership.objects.filter(user=bob.user).update(is_active=False)

    assert bob.client.post(link(Role.AUDITOR)).status_code == 302
    assert people_of(alice.shop)["bob"] == Role.AUDITOR


def test_who_works_here_changes_no_role_by_a_link(link, bob, alice):
    path = link(Role.OWNER)
    answer = bob.client.post(path)

    assert answer.status_code == 409
    assert "You work in this shop already." in answer.content.decode()
    assert people_of(alice.shop)["bob"] == Role.CASHIER
    assert Client().get(path).status_code == 200


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"username": "bob"}, "This user name is taken."),
        ({"username": "BOB"}, "This user name is taken."),
        ({"password": "12345678"}, "too common"),
        ({"password": "wanjiku1"}, "too similar"),
        ({"username": "a b"}, "aria-invalid"),
        ({"username": ""}, "aria-invalid"),
    ],
)
def test_bad_name_or_password_is_told_and_the_link_stays_good(link, sent, told):
    path, client = link(), Client()
    answer = client.post(path, NEW | sent)

    assert answer.status_code in (400, 409)
    assert told in answer.content.decode()
    assert client.post(path, NEW).status_code == 302


def test_token_is_shown_once_and_stored_nowhere(link, alice):
    token = link().removeprefix("/join/")

    assert token not in alice.get(INVITE).content.decode()
    assert token not in repr(list(Invitation.objects.values()))
    assert token not in repr(list(LogEntry.objects.values()))
    assert LogEntry.objects.get().user == alice.user
    assert invitations.of_token(token).name == "The new one"


@pytest.mark.parametrize(
    ("name", "status"),
    [("alice", 200), ("operator", 200), ("mary", 403), ("audrey", 403), ("bob", 302)],
)
def test_only_who_looks_after_staff_invites(
    alice, operator, mary, audrey, bob, name, status
):
    people = {p.user.username: p for p in (alice, operator, mary, audrey, bob)}
    sent = {"name": "x", "role": Role.OWNER, "shop": alice.shop.pk}
    found = (
        people[name].get(INVITE).status_code,
        people[name].client.post(INVITE, sent).status_code,
    )

    assert found == (status, status)
    assert Invitation.objects.count() == (1 if status == 200 else 0)
    listed = people[name].get("/admin/shops/membership/")
    shows = listed.status_code == 200 and INVITE in listed.content.decode()
    assert shows is (status == 200)


def test_owner_invites_to_the_own_shops_only(alice, charlie):
    second = ShopFactory()
    MembershipFactory(user=alice.user, shop=second, role=Role.OWNER)
    MembershipFactory(user=alice.user, shop=ShopFactory(), role=Role.MANAGER)
    offered = alice.get(INVITE).context["form"].fields["shop"].queryset
    assert {*offered} == {alice.shop, second}

    sent = {"name": "x", "role": Role.OWNER, "shop": charlie.shop.pk}
    alice.client.post(INVITE, sent)
    assert Invitation.objects.count() == 0


def test_owner_withdraws_no_link_of_another_shop(alice, charlie, link):
    link()
    address = f"{INVITE}{Invitation.objects.get().pk}/withdraw/"

    assert charlie.client.post(address).status_code == 404
    assert "The new one" not in charlie.get(INVITE).content.decode()
    assert invitations.open_ones().count() == 1


def test_new_owner_must_set_up_the_second_step_where_it_is_required(link, settings):
    settings.REQUIRE_SECOND_FACTOR = True
    # Alice's own session is from before.
    client = Client()
    client.post(link(Role.OWNER), NEW)

    assert client.get("/till/")["Location"] == "/second-step"
