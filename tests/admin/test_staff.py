"""Staff, shops and sign-ins in the books."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.test import Client

from shops import second_factor
from shops.enums import Role
from shops.models import Membership, Shop
from smartduka.lib import clock
from tests.factories import MembershipFactory, UserFactory
from tests.support.authenticator import STEP_S, code_at


def page_of(person):
    membership = Membership.objects.get(user=person.user)
    return f"/admin/shops/membership/{membership.pk}/change/"


def role_of(person):
    return Membership.objects.values_list("role", "is_active").get(user=person.user)


def test_owner_changes_roles_and_sends_people_home(alice, bob, mary):
    alice.client.post(page_of(bob), {"role": Role.MANAGER, "is_active": "on"})
    alice.client.post(page_of(mary), {"role": Role.MANAGER})

    assert role_of(bob) == (Role.MANAGER, True)
    assert role_of(mary) == (Role.MANAGER, False)


def test_owner_moves_nobody_to_another_shop_or_name(alice, bob, charlie):
    sent = {
        "role": Role.MANAGER, "is_active": "on",
        "shop": charlie.shop.pk, "user": charlie.user.pk,
    }  # fmt: skip
    response = alice.client.post(page_of(bob), sent)

    assert response.status_code == 302
    member = Membership.objects.get(user=bob.user)
    assert (member.shop, member.role) == (alice.shop, Role.MANAGER)


@pytest.mark.parametrize("name", ["mary", "audrey"])
def test_others_read_the_staff_and_change_nobody(people, bob, name):
    assert people[name].get(page_of(bob)).status_code == 200
    sent = people[name].client.post(page_of(bob), {"role": "owner", "is_active": "on"})

    assert sent.status_code == 403
    assert role_of(bob) == (Role.CASHIER, True)


def test_owner_touches_no_staff_of_another_shop(alice, charlie):
    sent = alice.client.post(page_of(charlie), {"role": "cashier"})

    assert sent.status_code == 404
    assert role_of(charlie) == (Role.OWNER, True)


@pytest.mark.parametrize(
    "sent", [{"role": "cashier", "is_active": "on"}, {"role": "owner"}]
)
@pytest.mark.parametrize("name", ["alice", "operator"])
def test_last_owner_stays(people, alice, name, sent):
    response = people[name].client.post(page_of(alice), sent)

    assert response.context["adminform"].form.non_field_errors() == [
        "This is the shop's last owner: make somebody else owner first."
    ]
    assert role_of(alice) == (Role.OWNER, True)


def test_one_of_two_owners_may_go(alice):
    MembershipFactory(shop=alice.shop, role=Role.OWNER)
    response = alice.client.post(page_of(alice), {"role": "owner"})

    assert response.status_code == 302
    assert role_of(alice) == (Role.OWNER, False)


def test_nonsense_role_is_refused(alice, bob):
    response = alice.client.post(page_of(bob), {"role": "king", "is_active": "on"})

    assert response.status_code == 200
    assert role_of(bob) == (Role.CASHIER, True)


def test_operator_adds_staff_once(operator, duka):
    user = UserFactory()
    sent = {"user": user.pk, "shop": duka.pk, "role": "cashier", "is_active": "on"}
    first = operator.client.post("/admin/shops/membership/add/", sent)
    again = operator.client.post("/admin/shops/membership/add/", sent)

    assert (first.status_code, again.status_code) == (302, 200)
    assert list(
        Membership.objects.filter(user=user).values_list("shop", "role", "is_active")
    ) == [(duka.pk, Role.CASHIER, True)]


def test_operator_opens_and_closes_a_shop(operator):
    sent = {"name": "New", "slug": "new", "phone": "", "is_active": "on"}
    opened = operator.client.post("/admin/shops/shop/add/", sent)
    shop = Shop.objects.get(slug="new")
    del sent["is_active"]
    closed = operator.client.post(f"/admin/shops/shop/{shop.pk}/change/", sent)

    assert (opened.status_code, closed.status_code) == (302, 302)
    shop.refresh_from_db()
    assert (shop.name, shop.is_active) == ("New", False)


def test_operator_adds_a_person_and_lets_them_in(operator):
    password = "mpya-na-refu-2031"
    sent = {
        "username": "wanjiku", "password1": password, "password2": password,
        "usable_password": "true",
    }  # fmt: skip
    added = operator.client.post("/admin/auth/user/add/", sent)
    user = get_user_model().objects.get(username="wanjiku")
    changed = operator.client.post(
        f"/admin/auth/user/{user.pk}/change/",
        {"username": "wanjiku", "is_active": "on", "is_staff": "on"},
    )

    assert (added.status_code, changed.status_code) == (302, 302)
    user.refresh_from_db()
    assert (user.is_staff, user.is_superuser, user.check_password(password)) == (
        True, False, True,
    )  # fmt: skip


def test_operator_sets_a_password(operator, bob):
    password = "mpya-na-refu-2031"
    sent = {"password1": password, "password2": password, "usable_password": "true"}
    address = f"/admin/auth/user/{bob.user.pk}/password/"

    assert operator.get(address).status_code == 200
    response = operator.client.post(address, sent | {"set-password": "Change"})
    assert response.status_code == 302
    bob.user.refresh_from_db()
    assert bob.user.check_password(password)


def test_nobody_else_sets_a_password(alice, bob, password):
    address = f"/admin/auth/user/{bob.user.pk}/password/"

    assert alice.get(address).status_code == 404
    assert alice.client.post(address, {"password1": "x"}).status_code == 404
    bob.user.refresh_from_db()
    assert bob.user.check_password(password)


def test_reader_changes_the_own_password(audrey, password):
    new = "mpya-na-refu-2031"
    sent = {"old_password": password, "new_password1": new, "new_password2": new}

    assert audrey.get("/admin/password_change/").status_code == 200
    assert audrey.client.post("/admin/password_change/", sent).status_code == 302
    audrey.user.refresh_from_db()
    assert audrey.user.check_password(new)


# Passwords, the operator's.


def test_operator_gives_a_new_password(operator, bob, password):
    address = f"/admin/auth/user/{bob.user.pk}/password/"
    page = operator.get(address).content.decode()
    assert "Authentication and Authorization" not in page
    assert "usable_password" not in page.partition("<body")[2]
    assert "unset-password" not in page

    new = "jua-kali-2031-duka"
    operator.client.post(address, {"password1": new, "password2": new})

    bob.user.refresh_from_db()
    assert bob.user.check_password(new)
    assert not bob.user.check_password(password)


def test_operator_makes_somebody_who_can_sign_in(operator):
    page = operator.get("/admin/auth/user/add/").content.decode()
    assert 'name="usable_password"' not in page

    new = "jua-kali-2031-duka"
    sent = {"username": "wanjiru", "password1": new, "password2": new}
    answer = operator.client.post("/admin/auth/user/add/", sent, follow=True)

    person = get_user_model().objects.get(username="wanjiru")
    assert person.check_password(new)
    assert [str(one) for one in answer.context["messages"]] == ["Saved."]


# How people sign in: what an owner does about it.


@pytest.fixture
def with_phone():
    """Turn a person's second step on."""

    def turn_on(person):
        factor = second_factor.begin(person.user)
        step = int(clock.now().timestamp()) // STEP_S
        second_factor.confirm(person.user, code_at(factor.secret, step))

    return turn_on


def act(actor, person, name):
    return actor.client.post(page_of(person).replace("change", name), follow=True)


@pytest.mark.parametrize("name", ["alice", "operator"])
def test_owner_and_operator_reset_a_second_step(people, mary, name, with_phone):
    with_phone(mary)
    page = people[name].get(page_of(mary)).content.decode()
    assert "Reset the second step" in page

    act(people[name], mary, "reset")

    assert second_factor.is_on(mary.user) is False
    assert mary.get("/till/").status_code == 302
    written = LogEntry.objects.get()
    assert (written.user, written.get_change_message()) == (
        people[name].user, "second step reset",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "status"), [("mary", 403), ("audrey", 403), ("bob", 302), ("charlie", 404)]
)
@pytest.mark.parametrize("what", ["reset", "unlock", "sign-out"])
def test_nobody_else_does(people, alice, with_phone, name, status, what):
    with_phone(alice)
    answer = people[name].client.post(page_of(alice).replace("change", what))

    assert answer.status_code == status
    assert second_factor.is_on(alice.user) is True
    assert alice.get("/till/").status_code == 200
    assert LogEntry.objects.count() == 0


def test_owner_resets_not_who_works_elsewhere_too(
    alice, mary, charlie, operator, with_phone
):
    with_phone(mary)
    page = page_of(mary)
    reset = page.replace("change", "reset")
    MembershipFactory(user=mary.user, shop=charlie.shop, role=Role.MANAGER)

    refused = alice.client.post(reset, follow=True).content.decode()
    assert "only the platform&#x27;s operator may do this" in refused
    assert second_factor.is_on(mary.user) is True
    assert "Reset the second step" not in alice.get(page).content.decode()

    operator.client.post(reset)
    assert second_factor.is_on(mary.user) is False


@pytest.mark.parametrize("name", ["alice", "operator"])
def test_nobody_resets_the_own(people, name, with_phone, duka):
    person = people[name]
    if name == "operator":
        MembershipFactory(user=person.user, shop=duka, role=Role.OWNER)
    with_phone(person)
    act(person, person, "reset")

    assert second_factor.is_on(person.user) is True


def test_owner_does_not_reset_the_operator(alice, operator, with_phone):
    MembershipFactory(user=operator.user, shop=alice.shop)
    with_phone(operator)
    act(alice, operator, "reset")

    assert second_factor.is_on(operator.user) is True


def test_owner_unlocks_who_was_wrong_too_often(alice, bob, password, settings):
    settings.SIGN_IN_TRIES = 2
    client = Client()
    for _ in range(3):
        client.post("/login", {"username": "bob", "password": "no"})
    page = alice.get(page_of(bob)).content.decode()
    assert ">Unlock</button>" in page

    act(alice, bob, "unlock")

    assert ">Unlock</button>" not in alice.get(page_of(bob)).content.decode()
    sent = {"username": "bob", "password": password}
    assert client.post("/login", sent).status_code == 302


@pytest.mark.parametrize(
    "sent", [{"role": Role.MANAGER, "is_active": "on"}, {"role": Role.CASHIER}]
)
def test_other_role_and_sending_home_end_the_sessions(alice, bob, mary, sent):
    alice.client.post(page_of(bob), sent)

    assert bob.get("/till/").status_code == 302
    assert (alice.get("/till/").status_code, mary.get("/till/").status_code) == (
        200,
        200,
    )


@pytest.mark.parametrize("role", Role.values)
def test_role_opens_the_books_to_who_reads_them(alice, bob, role):
    get_user_model().objects.filter(pk=bob.user.pk).update(is_staff=False)
    alice.client.post(page_of(bob), {"role": role, "is_active": "on"})

    bob.client.force_login(bob.user)
    may_read = bob.get("/admin/").status_code == 200
    assert may_read is (role != Role.CASHIER)


def test_saving_without_a_change_ends_nothing(alice, bob):
    alice.client.post(page_of(bob), {"role": Role.CASHIER, "is_active": "on"})

    assert bob.get("/till/").status_code == 200


def test_owner_who_makes_themselves_manager_stays_signed_in(alice):
    MembershipFactory(shop=alice.shop, role=Role.OWNER)
    alice.client.post(page_of(alice), {"role": Role.MANAGER, "is_active": "on"})

    assert alice.get("/till/").status_code == 200


def test_operator_switches_somebody_off_for_good(operator, bob):
    address = f"/admin/auth/user/{bob.user.pk}/change/"
    operator.client.post(address, {"username": "bob"})
    operator.client.post(address, {"username": "bob", "is_active": "on"})

    # Not even being switched on again brings the old session back.
    assert bob.get("/till/").status_code == 302
