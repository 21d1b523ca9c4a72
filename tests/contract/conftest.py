"""The contract is tested against a Daraja that is a process of its own."""

from dataclasses import dataclass

import pytest
from django.core.cache import cache

from payments import gateways
from payments.gateways import tokens
from payments.models import Payment
from tests.support.receiver import CallbackReceiver
from tests.support.simulator import SimulatorProcess


@dataclass
class Mpesa:
    """The simulator, and what it sent to our callback address."""

    simulator: SimulatorProcess
    receiver: CallbackReceiver

    def __getattr__(self, name):
        return getattr(self.simulator, name)

    @property
    def pushes(self):
        """How many pushes reached M-Pesa."""
        return self.stats()["pushes"]

    def answered(self, payment, outcome):
        """Let the customer answer the payment's prompt; return what was called back."""
        payment.refresh_from_db()
        count = len(self.receiver.posted)
        self.answer(payment.checkout_request_id, outcome)
        return self.receiver.wait_for(count + 1)[count]

    def pays(self, client, payment):
        """Let the customer pay and bring the callback to our hook."""
        posted = self.answered(payment, "pay")
        response = client.post(
            posted.path, posted.body, content_type="application/json"
        )
        assert response.status_code == 200
        payment.refresh_from_db()
        return response


@pytest.fixture(scope="session")
def mpesa_process():
    with SimulatorProcess() as process:
        yield process


@pytest.fixture
def mpesa(transactional_db, mpesa_process, settings, monkeypatch):
    """M-Pesa as the installation reaches it; nothing of an earlier test is left.

    What meets the network commits for real.
    """
    mpesa_process.reset()
    mpesa_process.faults(auto_delay_s=0.02)
    settings.MPESA_BASE_URL = mpesa_process.url
    gateway = gateways.Daraja()
    monkeypatch.setattr(gateways, "_daraja", gateway)
    tokens.forget_all()
    cache.clear()
    with CallbackReceiver() as receiver:
        settings.MPESA_CALLBACK_URL = receiver.url
        yield Mpesa(mpesa_process, receiver)
    gateway._session.close()
    mpesa_process.reset()


@pytest.fixture
def prompt(mpesa):
    """Send a prompt and return its payment: prompt(bob, order, "0712345678")."""

    def send(person, order, phone="0712345678", status=201, **fields):
        response = person.post(
            "/api/payments/mpesa/initiate",
            {"orderId": str(order.pk), "phoneNumber": phone, **fields},
        )
        assert response.status_code == status, response.json()
        return Payment.objects.select_related("order").get(
            pk=response.json()["transactionId"]
        )

    return send
