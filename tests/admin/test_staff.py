"""Staff, shops and sign-ins in the books."""

import pytest
from django.contrib.auth import get_user_model

from shops.enums import Role
from shops.models import Membership, Shop
from tests.factories import MembershipFactory, UserFactory


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
