"""The watchdog's judgement, without a process: time passes by hand."""

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.utils import timezone
from django_q.models import OrmQ

from smartduka import heartbeat, supervisor


pytestmark = pytest.mark.django_db

LOOK_S = supervisor.LOOK_EVERY_S


class Time:
    """Both clocks; the wall's can step and runs on while the machine sleeps."""

    def __init__(self):
        self.wall, self.steady = datetime(2026, 3, 10, 12, tzinfo=UTC), 1000.0

    def pass_by(self, seconds, *, wall=None):
        self.steady += seconds
        self.wall += timedelta(seconds=seconds if wall is None else wall)


class Cluster:
    """A process that lives, and proves nothing unless a test says so."""

    pid = 1

    def poll(self):
        return None


@pytest.fixture
def time(monkeypatch):
    time = Time()
    monkeypatch.setattr(timezone, "now", lambda: time.wall)
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: time.steady)
    monkeypatch.setattr(settings, "PERIODIC_TASKS", {})
    return time


@pytest.fixture
def watchdog(time, monkeypatch):
    """A watchdog with a cluster; it notes why it would replace it."""
    monkeypatch.setattr(supervisor, "close_old_connections", lambda: None)
    one = supervisor.Supervisor()
    one.cluster, one.reasons = Cluster(), []
    monkeypatch.setattr(one, "replace", one.reasons.append)
    return one


def look_for(watchdog, time, seconds):
    for _ in range(int(seconds / LOOK_S)):
        time.pass_by(LOOK_S)
        watchdog.look()


def test_silent_cluster_is_replaced(watchdog, time):
    look_for(watchdog, time, settings.WORKER_STALL_S)
    assert watchdog.reasons == []

    look_for(watchdog, time, 1)

    assert watchdog.reasons[0].startswith("no task finished for")


@pytest.mark.parametrize(
    ("steady_s", "wall_s"),
    [(LOOK_S, 7200), (7200, 7200), (LOOK_S, -7200)],
    ids=["suspended or set forward", "stopped", "set back"],
)
def test_healthy_cluster_outlives_a_step_of_the_clock(watchdog, time, steady_s, wall_s):
    look_for(watchdog, time, 10)
    heartbeat.set_beaten(watchdog.name, time.wall)

    time.pass_by(steady_s, wall=wall_s)
    watchdog.look()
    look_for(watchdog, time, settings.WORKER_STALL_S - 1)

    assert watchdog.reasons == []


def test_hung_cluster_is_not_hidden_by_a_beat_from_the_future(watchdog, time):
    heartbeat.set_beaten(watchdog.name, time.wall)
    time.pass_by(LOOK_S, wall=-7200)

    look_for(watchdog, time, settings.WORKER_STALL_S + 2)

    assert watchdog.reasons


def test_beats_are_asked_for_after_the_clock_was_set_back(watchdog, time):
    look_for(watchdog, time, settings.WORKER_BEAT_EVERY_S)
    OrmQ.objects.all().delete()
    heartbeat.set_beaten(watchdog.name, time.wall)
    time.pass_by(LOOK_S, wall=-7200)

    look_for(watchdog, time, settings.WORKER_BEAT_EVERY_S + 1)

    assert OrmQ.objects.count() == 1


def test_cluster_whose_watchdog_died_early_ends_with_its_group(monkeypatch):
    done = []

    def sleep(seconds):
        assert len(done) < 4, "it waits for ever"
        done.append(("sleep", seconds))

    monkeypatch.setattr(supervisor.time, "sleep", sleep)
    monkeypatch.setattr(os, "kill", lambda *call: done.append(call))
    monkeypatch.setattr(os, "killpg", lambda *call: done.append(call))
    # It was gone before the cluster looked: the parent is somebody else by now.
    monkeypatch.setenv("SMARTDUKA_SUPERVISOR", str(os.getpid()))

    supervisor.end_with_parent()

    assert done == [
        (os.getpid(), signal.SIGTERM),
        ("sleep", settings.TASK_TIMEOUT_S + supervisor.STOP_GRACE_S),
        (0, signal.SIGKILL),
    ]


def test_cluster_is_told_who_watches_it(time, monkeypatch):
    told = {}
    monkeypatch.setattr(
        supervisor.subprocess,
        "Popen",
        lambda _, env, **__: told.update(env) or Cluster(),
    )

    one = supervisor.Supervisor()
    one.start()

    assert told["SMARTDUKA_SUPERVISOR"] == str(os.getpid())
    assert told[heartbeat.WORKER_VARIABLE] == one.name
