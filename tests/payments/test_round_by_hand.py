"""The round that a person starts: whose question is due comes before who has none."""

from datetime import timedelta

import pytest

from payments import reconciliation
from payments.models import Payment
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory


pytestmark = pytest.mark.django_db


@pytest.fixture
def old(duka):
    """Make an undecided payment that is hours old, with or without a question."""

    def make(*, hours, due_h):
        now = clock.now()
        payment = PaymentFactory(
            order=OrderFactory(shop=duka),
            status="expired",
            created_at=now - timedelta(hours=hours),
        )
        due = None if due_h is None else now - timedelta(hours=due_h)
        Payment.objects.filter(pk=payment.pk).update(next_ask_at=due)
        return payment.checkout_request_id

    return make


def test_those_without_a_question_come_last(old, mpesa, settings):
    settings.SWEEP_LIMIT = 2
    # Older, and let go after two days: they would fill every round.
    old(hours=60, due_h=None)
    old(hours=70, due_h=None)
    longest = old(hours=5, due_h=3)
    later = old(hours=6, due_h=1)

    assert reconciliation.sweep_now().asked == 2

    assert mpesa.questions == [longest, later]


def test_those_without_a_question_are_asked_about_where_there_is_room(
    old, mpesa, settings
):
    settings.SWEEP_LIMIT = 3
    second, first = old(hours=60, due_h=None), old(hours=70, due_h=None)
    due = old(hours=5, due_h=3)

    reconciliation.sweep_now()

    assert mpesa.questions == [due, first, second]
