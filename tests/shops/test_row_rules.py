"""What the database refuses of shops, their people and goods, whoever writes them."""

import itertools

import pytest
from django.apps import apps
from django.db.models import F

from shops.models import (
    CashierPin,
    Invitation,
    RecoveryCode,
    SecondFactor,
    Shop,
)
from smartduka.lib import clock
from tests.factories import (
    MembershipFactory,
    ProductFactory,
    ShopFactory,
    UserFactory,
)
from tests.support.refusals import never_becomes, never_shares


pytestmark = pytest.mark.django_db

NOW = clock.now()


class Rows:
    """Makes rows that the database takes, each time another one."""

    def __init__(self, shop):
        self._shop = shop
        self._numbers = itertools.count(1)

    def shop(self):
        return ShopFactory()

    def member(self):
        return MembershipFactory(shop=self._shop)

    def product(self):
        return ProductFactory(shop=self._shop)

    def invitation(self):
        return Invitation.objects.create(
            shop=self._shop, role="cashier", name="Wanjiku", invited_by=UserFactory(),
            token_hash=str(next(self._numbers)), expires_at=NOW,
        )  # fmt: skip

    def used_invitation(self):
        invitation = self.invitation()
        invitation.used_at, invitation.used_by = NOW, UserFactory()
        invitation.save()
        return invitation

    def pin(self):
        return CashierPin.objects.create(member=self.member(), set_at=NOW)

    def factor(self):
        return SecondFactor.objects.create(user=UserFactory())

    def recovery_code(self):
        return RecoveryCode.objects.create(
            factor=self.factor(), code_hash=str(next(self._numbers))
        )


@pytest.fixture
def rows(duka):
    return Rows(duka)


@pytest.mark.parametrize(
    ("row", "name", "changes"),
    [
        ("member", "membership_role_is_known", {"role": "boss"}),
        ("invitation", "invitation_role_is_known", {"role": "boss"}),
        (
            "invitation",
            "invitation_is_used_by_somebody_or_withdrawn",
            {"used_at": NOW},
        ),
        (
            "invitation",
            "invitation_is_used_by_somebody_or_withdrawn",
            {"used_by": F("invited_by")},
        ),
        (
            "used_invitation",
            "invitation_is_used_by_somebody_or_withdrawn",
            {"withdrawn_at": NOW},
        ),
    ],
    ids=str,
)
def test_the_database_refuses_a_row_that_cannot_be(rows, row, name, changes):
    never_becomes(getattr(rows, row)(), name, **changes)


@pytest.mark.parametrize(
    ("row", "name", "columns"),
    [
        ("member", "person_has_one_role_in_a_shop", ["user"]),
        ("product", "barcode_names_one_product_of_a_shop", ["barcode"]),
        ("recovery_code", "recovery_code_is_there_once", ["factor", "code_hash"]),
    ],
    ids=str,
)
def test_the_database_refuses_a_second_row_of_the_same(rows, row, name, columns):
    first, second = getattr(rows, row)(), getattr(rows, row)()

    never_shares(second, first, *columns, name=name)


# What is unique by itself: model and column, and which rows are tried.
UNIQUE_COLUMNS = {
    (Shop, "slug"): "shop",
    (SecondFactor, "user"): "factor",
    (Invitation, "token_hash"): "invitation",
    (CashierPin, "member"): "pin",
}


@pytest.mark.parametrize(
    ("unique", "row"),
    UNIQUE_COLUMNS.items(),
    ids=[f"{model.__name__}.{column}" for model, column in UNIQUE_COLUMNS],
)
def test_the_database_refuses_the_same_value_twice(rows, unique, row):
    first, second = getattr(rows, row)(), getattr(rows, row)()

    never_shares(second, first, unique[1])


def test_every_unique_column_of_shops_is_tried():
    assert UNIQUE_COLUMNS.keys() == {
        (model, field.name)
        for model in apps.get_app_config("shops").get_models()
        for field in model._meta.local_fields
        if field.unique and not field.primary_key
    }
