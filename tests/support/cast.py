"""The cast: Alice owns a duka, Bob sells there, Charlie owns another one.

Charlie has products, an order and a payment of his own: rows that could leak. A
pytest plugin.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.test import Client

from payments.models import MpesaSettings
from shops.enums import Role
from tests.factories import (
    PASSWORD,
    MembershipFactory,
    MpesaAccountFactory,
    OrderFactory,
    PaymentFactory,
    ProductFactory,
    ShopFactory,
    UserFactory,
)


@dataclass
class Person:
    """Somebody with a session, and the shop they work in (None for the operator)."""

    user: Any
    shop: Any = None
    client: Client = field(default_factory=Client)

    def __post_init__(self) -> None:
        self.client.force_login(self.user)

    def headers(self, headers: dict[str, str] | None) -> dict[str, str]:
        return headers or {}

    def get(self, path: str, query: Any = None, headers: Any = None) -> Any:
        return self.client.get(path, query, headers=self.headers(headers))

    def post(self, path: str, body: Any = None, headers: Any = None) -> Any:
        """Post JSON; without a body an empty object."""
        return self.client.post(
            path,
            {} if body is None else body,
            content_type="application/json",
            headers=self.headers(headers),
        )

    def patch(self, path: str, body: Any, headers: Any = None) -> Any:
        return self.client.patch(
            path, body, content_type="application/json", headers=self.headers(headers)
        )

    def put(self, path: str, body: Any, headers: Any = None) -> Any:
        return self.client.put(
            path, body, content_type="application/json", headers=self.headers(headers)
        )


def join(shop: Any, username: str, role: str) -> Person:
    """Make somebody who works in this shop."""
    user = UserFactory(username=username)
    MembershipFactory(user=user, shop=shop, role=role)
    return Person(user, shop)


@pytest.fixture
def duka(db):
    """Alice's shop; it uses the platform's M-Pesa account."""
    return ShopFactory(name="Mama Mboga", slug="mama-mboga", platform=True)


@pytest.fixture
def alice(duka):
    """The owner of the duka."""
    return join(duka, "alice", Role.OWNER)


@pytest.fixture
def mary(duka):
    """The manager of Alice's duka."""
    return join(duka, "mary", Role.MANAGER)


@pytest.fixture
def bob(duka):
    """A cashier of Alice's duka."""
    return join(duka, "bob", Role.CASHIER)


@pytest.fixture
def audrey(duka):
    """An auditor of Alice's duka: reads, never sells."""
    return join(duka, "audrey", Role.AUDITOR)


@pytest.fixture
def charlie(db):
    """The owner of another shop, on its own paybill, with rows that could leak.

    `charlie.product`, `charlie.order` and `charlie.payment` (undecided) are his.
    """
    shop = ShopFactory(name="Jirani", slug="jirani")
    account = MpesaAccountFactory(shop=shop)
    MpesaSettings.objects.create(shop=shop, account=account)
    person = join(shop, "charlie", Role.OWNER)
    person.product = ProductFactory(shop=shop, name="Charlie's secret sugar")
    person.order = OrderFactory(shop=shop, items=[(person.product, 1)])
    person.payment = PaymentFactory(order=person.order, phone="254733000111")
    return person


@pytest.fixture
def operator(db):
    """The platform's operator: a superuser who works in no shop."""
    return Person(UserFactory(username="operator", is_superuser=True, is_staff=True))


@pytest.fixture
def stranger(db):
    """Somebody with an account and no shop."""
    return Person(UserFactory(username="stranger"))


@pytest.fixture
def password():
    """The password of all of them."""
    return PASSWORD
