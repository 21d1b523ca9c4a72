import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from smartduka import heartbeat
from smartduka.lib import clock
from smartduka.models import Heartbeat


pytestmark = pytest.mark.django_db


def test_periodic_task_is_handed_out_once_in_its_time():
    assert heartbeat.hand_out_if_due("a.task", every_s=60) is True
    assert heartbeat.hand_out_if_due("a.task", every_s=60) is False
    assert heartbeat.hand_out_if_due("another.task", every_s=60) is True
    assert OrmQ.objects.count() == 2


def test_periodic_task_is_due_again_after_its_time():
    heartbeat.hand_out_if_due("a.task", every_s=60)
    Heartbeat.objects.update(beaten_at=timezone.now() - timedelta(seconds=61))

    assert heartbeat.hand_out_if_due("a.task", every_s=60) is True


def test_periodic_task_is_due_when_the_clock_was_set_back():
    heartbeat.hand_out_if_due("a.task", every_s=60)
    Heartbeat.objects.update(beaten_at=timezone.now() + timedelta(seconds=90))

    assert heartbeat.hand_out_if_due("a.task", every_s=60) is True
    assert heartbeat.hand_out_if_due("a.task", every_s=60) is False


@pytest.mark.django_db(transaction=True)
def test_periodic_task_is_handed_out_once_by_many_workers():
    gate, answers = threading.Barrier(8), []

    def work():
        try:
            gate.wait()
            answers.append(heartbeat.hand_out_if_due("a.task", every_s=60))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [False] * 7 + [True]
    assert OrmQ.objects.count() == 1


def test_beat_is_written_and_overwritten(django_assert_num_queries):
    first = timezone.now()
    with django_assert_num_queries(1):
        heartbeat.set_beaten("worker:1", first)
    heartbeat.set_beaten("worker:1", first + timedelta(seconds=5))

    assert heartbeat.last_beat("worker:1") == first + timedelta(seconds=5)
    assert heartbeat.last_beat("worker:2") is None


def test_finished_task_is_noted_at_most_once_per_beat(monkeypatch):
    monkeypatch.setenv(heartbeat.WORKER_VARIABLE, "worker:1")
    monkeypatch.setattr(heartbeat, "_noted_at", -1000.0)

    heartbeat.note_progress()
    first = heartbeat.last_beat("worker:1")
    heartbeat.note_progress()

    assert first is not None
    assert heartbeat.last_beat("worker:1") == first


def test_nothing_is_noted_outside_a_watched_cluster(monkeypatch):
    monkeypatch.delenv(heartbeat.WORKER_VARIABLE, raising=False)
    monkeypatch.setattr(heartbeat, "_noted_at", -1000.0)

    heartbeat.note_progress()

    assert not Heartbeat.objects.exists()


def run_next_in(name, monkeypatch):
    """Let the cluster of this name take the one task there is, as its worker does."""
    (row,) = OrmQ.objects.all()
    row.delete()
    task = SignedPackage.loads(row.payload)
    assert task["func"] == heartbeat.BEAT_TASK
    monkeypatch.setenv(heartbeat.WORKER_VARIABLE, name)
    monkeypatch.setattr(heartbeat, "_noted_at", -1000.0)
    heartbeat.beat(*task["args"])
    heartbeat.note_progress()
    return row


def test_beat_wanders_until_its_own_cluster_has_it(monkeypatch):
    heartbeat.ask("worker:idle")

    for _ in range(3):
        row = run_next_in("worker:quick", monkeypatch)
        assert heartbeat.last_beat("worker:idle") is None
    assert timedelta(0) < row.lock - timezone.now() < timedelta(seconds=0.6)
    run_next_in("worker:idle", monkeypatch)

    assert heartbeat.last_beat("worker:idle") is not None
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_beat_of_a_cluster_that_is_gone_ends(monkeypatch, step_s):
    asked_at = datetime(2026, 3, 10, 12, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: asked_at)
    heartbeat.ask("worker:gone")
    run_next_in("worker:quick", monkeypatch)
    assert OrmQ.objects.count() == 1

    monkeypatch.setattr(clock, "now", lambda: asked_at + timedelta(seconds=step_s))
    run_next_in("worker:quick", monkeypatch)

    assert not OrmQ.objects.exists()
