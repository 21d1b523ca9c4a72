"""The worker as a process: it runs tasks, and nothing that kills it loses one."""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.db import connection

from smartduka.lib import later
from tests.support import installation


pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

NOTE, LINGER = "tests.support.tasks.note", "tests.support.tasks.note_and_linger"
LIMITS = {
    # One worker: it holds the queue's lock whenever it waits.
    "Q_WORKERS": 1,
    "T_TASK_TIMEOUT_S": 3,
    "T_TASK_RETRY_S": 10,
    "T_WORKER_BEAT_EVERY_S": 0.5,
    # More than the time-out and a slow start together.
    "T_WORKER_STALL_S": 8,
    "T_SWEEP_EVERY_S": 3600,
}


@dataclass
class Line:
    text: str
    pid: int
    at: float


class Worker:
    """`manage.py worker`, its log, and what its tasks wrote down."""

    def __init__(self, folder: Path):
        self.log, self.notes = folder / "log", folder / "notes"
        self.process = installation.start("manage.py", "worker", log=self.log, **LIMITS)

    def lines(self):
        if not self.notes.exists():
            return []
        fields = (line.split() for line in self.notes.read_text().splitlines())
        return [Line(text, int(pid), float(at)) for text, pid, at in fields]

    def wait_for(self, text, *, limit_s=30, times=1):
        """Return the lines with this text once there are so many."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            found = [line for line in self.lines() if line.text == text]
            if len(found) >= times:
                return found
            time.sleep(0.1)
        raise AssertionError(f"no {text} in {limit_s} s:\n{self.log.read_text()}")

    def wait_for_log(self, text, *, limit_s=15):
        end = time.monotonic() + limit_s
        while text not in self.log.read_text():
            assert time.monotonic() < end, f"no {text!r} in:\n{self.log.read_text()}"
            time.sleep(0.1)

    def clusters(self):
        """Return the ids of the clusters' first processes, oldest first."""
        marker = "cluster started as process "
        lines = self.log.read_text().splitlines()
        return [int(line.partition(marker)[2]) for line in lines if marker in line]

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)
        for pid in self.clusters():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


@pytest.fixture
def worker(tmp_path):
    one = Worker(tmp_path)
    yield one
    one.end()
    connection.close()


def group_is_gone(pid, limit_s=10):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_tasks_run_now_and_later_and_leave_the_queue(worker):
    later.enqueue(NOTE, str(worker.notes), "awake")
    worker.wait_for("awake")  # its start may take longer than "later" is away
    asked_at = time.time()
    later.enqueue_later(NOTE, str(worker.notes), "later", seconds=10)
    later.enqueue(NOTE, str(worker.notes), "now")

    (now,) = worker.wait_for("now")
    (delayed,) = worker.wait_for("later")

    assert delayed.at - asked_at >= 10
    assert now.at < delayed.at
    assert "Traceback" not in worker.log.read_text()


@pytest.mark.once
def test_idle_worker_killed_is_noticed_and_tasks_run_again(worker):
    later.enqueue(NOTE, str(worker.notes), "first")
    (first,) = worker.wait_for("first")
    time.sleep(1)  # it waits for the next task now, with the lock in its hands

    os.kill(first.pid, signal.SIGKILL)
    later.enqueue(NOTE, str(worker.notes), "second")

    (second,) = worker.wait_for("second", limit_s=60)
    assert second.pid != first.pid
    assert (
        "replacing the cluster in 0 s: no task finished for" in worker.log.read_text()
    )
    assert len(worker.clusters()) == 2
    assert group_is_gone(worker.clusters()[0])


@pytest.mark.once
def test_task_whose_worker_was_killed_runs_again(worker):
    later.enqueue(LINGER, str(worker.notes), "task", 1)
    (first,) = worker.wait_for("task-begins")

    os.kill(first.pid, signal.SIGKILL)

    again = worker.wait_for("task-begins", times=2, limit_s=60)[1]
    worker.wait_for("task-ends")
    assert again.pid != first.pid


@pytest.mark.once
def test_whole_cluster_killed_is_replaced_and_its_task_runs_again(worker):
    later.enqueue(LINGER, str(worker.notes), "task", 1)
    worker.wait_for("task-begins")
    (cluster,) = worker.clusters()

    os.kill(cluster, signal.SIGKILL)

    worker.wait_for("task-ends", limit_s=60)
    assert group_is_gone(cluster)
    assert f"it ended with status {-signal.SIGKILL}" in worker.log.read_text()
    assert len(worker.clusters()) == 2


@pytest.mark.once
def test_stopping_lets_the_running_task_finish(worker):
    later.enqueue(LINGER, str(worker.notes), "task", 2)
    worker.wait_for("task-begins")

    worker.process.send_signal(signal.SIGTERM)

    assert worker.process.wait(15) == 0
    texts = [line.text for line in worker.lines()]
    assert texts == ["task-begins", "task-ends"], worker.log.read_text()
    assert group_is_gone(worker.clusters()[0])


@pytest.mark.once
def test_cluster_ends_when_its_watchdog_was_killed(worker):
    later.enqueue(NOTE, str(worker.notes), "first")
    worker.wait_for("first")

    worker.process.kill()
    worker.process.wait()

    assert group_is_gone(worker.clusters()[0], limit_s=15)
