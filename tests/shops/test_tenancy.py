"""For whom a person acts; what belongs to another shop does not exist."""

import pytest

from shops import tenancy
from shops.enums import Role
from shops.models import Membership, Shop
from shops.rights import TABLE, Right
from smartduka.lib.errors import Forbidden, NotFound
from tests.factories import MembershipFactory, ShopFactory, UserFactory


pytestmark = pytest.mark.django_db


@pytest.fixture
def elsewhere():
    return ShopFactory(name="Elsewhere")


def acts(access):
    return access.user.username, access.shop.name, access.role


def test_a_person_of_one_shop_need_not_name_it(bob):
    assert acts(tenancy.access(bob.user)) == ("bob", "Mama Mboga", "cashier")


def test_a_person_of_one_shop_may_name_it(bob):
    access = tenancy.access(bob.user, str(bob.shop.pk))

    assert acts(access) == ("bob", "Mama Mboga", "cashier")


def test_a_person_of_two_shops_must_name_one(bob, elsewhere):
    MembershipFactory(user=bob.user, shop=elsewhere, role=Role.OWNER)

    with pytest.raises(tenancy.ShopRequired) as refusal:
        tenancy.access(bob.user)

    assert (refusal.value.code, refusal.value.http_status) == ("SHOP_REQUIRED", 400)


def test_a_person_of_two_shops_has_the_role_of_each(bob, elsewhere):
    MembershipFactory(user=bob.user, shop=elsewhere, role=Role.OWNER)

    assert tenancy.access(bob.user, str(bob.shop.pk)).role == "cashier"
    assert tenancy.access(bob.user, str(elsewhere.pk)).role == "owner"


def test_a_person_of_no_shop_is_told_so(stranger):
    with pytest.raises(tenancy.NotAMember) as refusal:
        tenancy.access(stranger.user)

    assert (refusal.value.code, refusal.value.http_status) == ("FORBIDDEN", 403)


@pytest.mark.parametrize("named", ["foreign", "999999", "x", "-1", "1e3", "٣", "1 "])
def test_another_shop_does_not_exist(bob, elsewhere, named):
    shop_id = str(elsewhere.pk) if named == "foreign" else named

    with pytest.raises(NotFound) as refusal:
        tenancy.access(bob.user, shop_id)

    assert (refusal.value.code, refusal.value.http_status) == ("NOT_FOUND", 404)


@pytest.mark.parametrize("gone", ["membership", "shop"])
def test_who_left_or_whose_shop_closed_acts_for_nobody(bob, gone):
    if gone == "membership":
        Membership.objects.update(is_active=False)
    else:
        Shop.objects.update(is_active=False)

    with pytest.raises(tenancy.NotAMember):
        tenancy.access(bob.user)
    with pytest.raises(NotFound):
        tenancy.access(bob.user, str(bob.shop.pk))
    assert tenancy.shops_of(bob.user) == []


def test_the_operator_must_name_a_shop(operator):
    with pytest.raises(tenancy.ShopRequired):
        tenancy.access(operator.user)


def test_the_operator_reads_a_named_shop_as_an_auditor(operator, elsewhere):
    access = tenancy.access(operator.user, str(elsewhere.pk))

    assert acts(access) == ("operator", "Elsewhere", "auditor")
    assert access.rights == {Right.READ_BOOKS}


@pytest.mark.parametrize("named", ["999999", "9" * 40, "x", "-1", "٣"])
def test_the_operator_is_told_of_shops_that_are_not(operator, named):
    with pytest.raises(NotFound):
        tenancy.access(operator.user, named)


@pytest.mark.parametrize("role", Role.values)
@pytest.mark.parametrize("right", Right)
def test_access_requires_what_the_table_says(role, right, elsewhere):
    access = tenancy.Access(UserFactory(), elsewhere, role)
    has = right in TABLE[role]

    assert (access.may(right), right in access.rights) == (has, has)
    if has:
        access.require(right)
    else:
        with pytest.raises(Forbidden):
            access.require(right)


def test_every_role_is_known():
    assert set(Role.values) == {"owner", "manager", "cashier", "auditor"}


def test_shops_are_listed_by_name(bob, elsewhere, charlie):
    MembershipFactory(user=bob.user, shop=elsewhere)

    assert [shop.name for shop in tenancy.shops_of(bob.user)] == [
        "Elsewhere", "Mama Mboga"
    ]  # fmt: skip


def test_the_operator_sees_all_shops(operator, bob, charlie):
    names = {shop.name for shop in tenancy.shops_of(operator.user)}

    assert names == {"Mama Mboga", "Jirani"}
