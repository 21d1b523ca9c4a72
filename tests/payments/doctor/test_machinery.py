"""The worker and its rounds: alive, and keeping up."""

from datetime import timedelta

import pytest

from payments.doctor import machinery
from payments.models import Notice
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.payments.doctor.conftest import BROKEN, FINE, LOOK, beat, state


pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("ago_s", "health"), [(None, BROKEN), (10, FINE), (600, BROKEN), (-600, LOOK)]
)
def test_worker_is_alive_if_it_did_something_lately(ago_s, health):
    if ago_s is not None:
        beat("worker:here:1", ago_s)

    assert state(machinery.worker()) == health


def test_one_living_worker_is_enough():
    beat("worker:dead:1", 9000)
    beat("worker:here:2", 3)

    assert state(machinery.worker()) == FINE


@pytest.mark.parametrize(
    ("ago_s", "health"), [(None, BROKEN), (30, FINE), (600, BROKEN)]
)
def test_rounds_must_be_made(ago_s, health):
    if ago_s is not None:
        beat("every:payments.tasks.sweep", ago_s)

    assert state(machinery.sweep()) == health


@pytest.mark.parametrize(
    ("late_s", "health"), [(60, FINE), (600, LOOK), (3600, BROKEN)]
)
def test_questions_and_messages_must_not_pile_up(account, late_s, health):
    beat("every:payments.tasks.sweep", 5)
    due = clock.now() - timedelta(seconds=late_s)
    Notice.objects.create(body=b"", received_at=due, next_try_at=due)
    PaymentFactory(order=OrderFactory(shop=account.shop), next_ask_at=due)

    finding = machinery.sweep()

    assert state(finding) == health
    assert finding.words.startswith("2 questions") is (health != FINE)
