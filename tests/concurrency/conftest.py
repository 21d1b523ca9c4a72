"""Threads and real commits on PostgreSQL, with an M-Pesa that counts."""

import pytest

from payments import gateways
from shops.tenancy import Access
from smartduka.lib import realtime
from tests.concurrency.racing import Guards, Rendezvous
from tests.support.gateway import FakeMpesa


@pytest.fixture
def mpesa(monkeypatch):
    """The counting M-Pesa, in place of Daraja."""
    fake = FakeMpesa()
    monkeypatch.setattr(gateways, "mpesa", lambda: fake)
    return fake


@pytest.fixture(autouse=True)
def messages(monkeypatch):
    """What screens were told, as pairs of event and transaction id."""
    told = []

    def publish(groups, message):
        told.append((message["event"], message["payment"]["transactionId"]))

    monkeypatch.setattr(realtime, "publish", publish)
    return told


@pytest.fixture(autouse=True)
def _generous(settings):
    settings.STK_RATE_PER_SHOP = "100000/m"
    settings.STK_RATE_PER_PHONE = settings.STK_RATE_PER_IP = "100000/m"
    settings.QUESTIONS_PER_ACCOUNT_PER_MINUTE = 100_000
    # A crowd on a slow machine is served later than M-Pesa should be kept waiting.
    settings.NOTICE_PROCESS_LIMIT_S = 60


@pytest.fixture
def off(monkeypatch, transactional_db):
    """What switches guards off; everything is back afterwards."""
    guards = Guards(monkeypatch)
    yield guards
    guards.restore()


@pytest.fixture
def rendezvous(monkeypatch):
    """Make a place to meet: patient where nobody is kept out, else hasty."""

    def make(*, patience_s=5.0, parties=2):
        return Rendezvous(monkeypatch, patience_s, parties)

    return make


@pytest.fixture
def seller(bob):
    """Bob, acting for his shop."""
    return Access(bob.user, bob.shop, "cashier")
