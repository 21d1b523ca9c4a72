"""Between the look and the lock somebody decides: nothing is sent a second time."""

import pytest
from django.test import Client

from payments import intents, prompting, refusals
from payments.models import Payment
from tests.factories import OrderFactory, PaymentFactory
from tests.support import callbacks
from tests.support.facts import money_of


pytestmark = pytest.mark.django_db


@pytest.fixture
def meanwhile(monkeypatch):
    """Bring a callback at the last moment before the lock is taken."""

    def bring(payment, body):
        begin = intents.begin

        def call_back_first(intent):
            response = Client().post(
                f"/hooks/stk/{payment.hook_token}",
                body,
                content_type="application/json",
            )
            assert response.status_code == 200
            return begin(intent)

        monkeypatch.setattr(intents, "begin", call_back_first)

    return bring


@pytest.fixture(params=[250, 400], ids=["the whole sale", "part of the sale"])
def payment(request, duka):
    """A prompt for KES 250 that was sent long ago."""
    order = OrderFactory(shop=duka, total=request.param)
    return PaymentFactory(order=order, amount=250, phone="254712345678")


def test_a_prompt_paid_meanwhile_is_not_sent_again(payment, seller, mpesa, meanwhile):
    meanwhile(payment, callbacks.success(payment))

    prompted = prompting.resend(access=seller, payment_id=payment.pk, accept_risk=True)

    assert (prompted.payment.pk, prompted.is_new) == (payment.pk, False)
    assert prompted.payment.status == "completed"
    assert (mpesa.pushes, Payment.objects.count()) == ([], 1)
    assert [row[2] for row in money_of(payment.order)] == [250]


def test_a_prompt_that_failed_meanwhile_is_shown_as_failed(
    payment, seller, mpesa, meanwhile
):
    meanwhile(payment, callbacks.failure(payment, 1032))

    prompted = prompting.resend(access=seller, payment_id=payment.pk, accept_risk=True)

    assert (prompted.payment.pk, prompted.is_new) == (payment.pk, False)
    assert (prompted.payment.status, mpesa.pushes) == ("failed", [])


def test_a_failure_that_was_paid_meanwhile_is_not_retried(
    payment, seller, mpesa, meanwhile
):
    Client().post(
        f"/hooks/stk/{payment.hook_token}",
        callbacks.failure(payment, 1032),
        content_type="application/json",
    )
    meanwhile(payment, callbacks.success(payment))

    with pytest.raises(refusals.NotRetryable):
        prompting.retry(access=seller, payment_id=payment.pk)

    assert (mpesa.pushes, Payment.objects.count()) == ([], 1)
    payment.refresh_from_db()
    assert payment.status == "completed"
