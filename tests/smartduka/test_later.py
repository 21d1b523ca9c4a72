from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from smartduka.lib import later


pytestmark = pytest.mark.django_db


def queued():
    return [SignedPackage.loads(row.payload) for row in OrmQ.objects.order_by("pk")]


def test_task_is_queued_with_its_arguments():
    later.enqueue("payments.tasks.ask", "id-1", 2)

    (task,) = queued()
    assert (task["func"], task["args"], task["kwargs"]) == (
        "payments.tasks.ask",
        ("id-1", 2),
        {},
    )
    assert task["save"] is False


def test_the_cluster_is_handed_it_at_once_and_once():
    later.enqueue("payments.tasks.ask", "id-1")

    broker = get_broker()
    assert len(broker.dequeue()) == 1
    assert not broker.dequeue()


def test_a_delayed_task_is_not_handed_out_before_its_time():
    before = timezone.now()
    later.enqueue_later("payments.tasks.ask", "id-1", seconds=15)

    broker = get_broker()
    assert not broker.dequeue()
    row = OrmQ.objects.get()
    assert timedelta(seconds=14) < row.lock - before < timedelta(seconds=16)
    OrmQ.objects.update(lock=timezone.now() - timedelta(seconds=1))
    assert len(broker.dequeue()) == 1


def test_a_rolled_back_transaction_leaves_no_task():
    with transaction.atomic():
        later.enqueue("payments.tasks.ask", "id-1")
        transaction.set_rollback(True)

    assert queued() == []


def test_enqueueing_is_one_statement(django_assert_num_queries):
    with django_assert_num_queries(1):
        later.enqueue_later("payments.tasks.ask", "id-1", seconds=5)
