"""Tasks: an id in, one domain call, and twice is once."""

import pytest
from django.utils.module_loading import import_string

from payments import inbox, reconciliation, schedule, tasks
from payments.models import Notice, Payment
from tests.factories import PaymentFactory
from tests.support.callbacks import success
from tests.support.facts import nothing_changes, path_of
from tests.support.gateway import final


pytestmark = pytest.mark.django_db


@pytest.fixture
def payment(order, time, mpesa):
    return PaymentFactory(order=order)


def test_the_paths_that_are_handed_out_exist(settings):
    assert import_string(schedule.ASK_TASK) is tasks.ask
    assert import_string(inbox.NOTICE_TASK) is tasks.process_notice
    periodic = {path: import_string(path) for path in settings.PERIODIC_TASKS}
    assert periodic["payments.tasks.sweep"] is tasks.sweep
    assert settings.PERIODIC_TASKS["payments.tasks.sweep"] == 60


def test_asking_twice_asks_once(payment, mpesa, time):
    mpesa.otherwise = final("0")
    time.turn(15)
    tasks.ask(str(payment.pk))

    with nothing_changes():
        tasks.ask(str(payment.pk))

    assert len(mpesa.questions) == 1
    assert path_of(payment) == ["created", "pending", "completed"]


def test_asking_before_its_time_asks_nothing(payment, mpesa, time):
    time.turn(10)

    with nothing_changes():
        tasks.ask(str(payment.pk))

    assert mpesa.questions == []


def test_asking_about_nothing_is_no_error(mpesa, db):
    tasks.ask("00000000-0000-0000-0000-000000000000")

    assert mpesa.questions == []


def test_processing_twice_processes_once(payment, time):
    stored = inbox.store_for_payment(
        payment.token_hash, inbox.Raw(success(payment), False, "", True)
    )
    time.turn(15)
    tasks.process_notice(stored.notice_id)

    with nothing_changes():
        tasks.process_notice(stored.notice_id)

    assert Notice.objects.get().attempts == 1
    assert path_of(payment) == ["created", "pending", "completed"]


def test_the_sweep_is_the_sweep(payment, time):
    time.turn(60)

    tasks.sweep()

    lease = Payment.objects.get().leased_until
    assert lease is not None
    assert reconciliation.sweep().questions == 0
