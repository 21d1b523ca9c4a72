"""An M-Pesa in this process, a seller, and what screens are told."""

from datetime import UTC, datetime

import pytest
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from payments import gateways
from shops.tenancy import Access
from smartduka.lib import clock, realtime
from tests.factories import OrderFactory, PaymentFactory
from tests.support.gateway import FakeMpesa


START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


@pytest.fixture
def mpesa(monkeypatch):
    """A counting M-Pesa, in place of Daraja."""
    fake = FakeMpesa()
    monkeypatch.setattr(gateways, "mpesa", lambda: fake)
    return fake


@pytest.fixture
def prober(monkeypatch, mpesa):
    """The same M-Pesa, as it tries keys: right until `proof` says otherwise."""
    monkeypatch.setattr(gateways, "prober", lambda: mpesa)
    return mpesa


@pytest.fixture
def messages(monkeypatch):
    """What screens were told, as pairs of event and status."""
    told = []

    def publish(groups, message):
        told.append((message["event"], message["payment"]["status"]))

    monkeypatch.setattr(
        realtime,
        "publish_after_commit",
        lambda groups, message: publish(groups, message),
    )
    return told


@pytest.fixture
def time(monkeypatch):
    """A clock that stands still until it is turned: `time.turn(seconds)`."""

    class Time:
        now = START

        def turn(self, seconds):
            self.now += clock.seconds(seconds)

    held = Time()
    monkeypatch.setattr(clock, "now", lambda: held.now)
    return held


@pytest.fixture
def seller(bob):
    """Bob, acting for his shop."""
    return Access(bob.user, bob.shop, "cashier")


@pytest.fixture
def order(duka):
    """An open sale of KES 250."""
    return OrderFactory(shop=duka)


@pytest.fixture
def payment(order):
    """A pending prompt for the whole of it."""
    return PaymentFactory(order=order, phone="254712345678")


@pytest.fixture
def tasks(db):
    """Return what was handed to the workers: path, arguments, seconds until then."""

    def queued():
        found = []
        for row in OrmQ.objects.order_by("id"):
            task = SignedPackage.loads(row.payload)
            found.append((task["func"], task["args"], row.lock))
        return found

    return queued
