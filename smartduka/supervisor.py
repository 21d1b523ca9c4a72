"""Runs the tasks' cluster as a child, and replaces it when it is dead or stuck.

Killing loses nothing: the ORM broker hands out again what was in flight, and the
tasks are idempotent. Decision 0011.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from smartduka import heartbeat


logger = logging.getLogger(__name__)

# The watchdog's process id, for the cluster that must not outlive it.
PARENT_VARIABLE = "SMARTDUKA_SUPERVISOR"
LOOK_EVERY_S = 0.5
# A cluster that dies at once (a broken deployment) is not started in a tight loop.
RESTART_PAUSES_S = (0, 1, 2, 5, 10, 30)
LIVED_WELL_S = 60.0
# Running tasks may finish: their time-out, and some time to put things away.
STOP_GRACE_S = 10.0
# After a longer gap between two looks, or such a step of the clock against the
# monotonic one (a machine asleep, a time set), silence is counted from the start.
PAUSE_S = 5.0
STEP_S = 2.0


class Supervisor:
    """The watchdog of one cluster, named after host and process."""

    def __init__(self) -> None:
        self.name = f"worker:{socket.gethostname()}:{os.getpid()}"
        self.cluster: subprocess.Popen[bytes] | None = None
        self.launched_s = time.monotonic()
        self.start_counting()
        self.quick_deaths = 0
        self.is_stopping = False

    def run(self) -> None:
        """Start the cluster and stay with it until SIGTERM or SIGINT.

        Then the running tasks finish (up to their time-out) and the cluster ends.
        """
        signal.signal(signal.SIGTERM, self.ask_to_stop)
        signal.signal(signal.SIGINT, self.ask_to_stop)
        self.start()
        try:
            while not self.is_stopping:
                self.look()
                time.sleep(LOOK_EVERY_S)
        finally:
            self.stop()

    def ask_to_stop(self, signum: int, frame: FrameType | None) -> None:
        self.is_stopping = True

    def start(self) -> None:
        manage = Path(settings.BASE_DIR) / "manage.py"
        environment = os.environ | {
            heartbeat.WORKER_VARIABLE: self.name,
            PARENT_VARIABLE: str(os.getpid()),
        }
        # A session of its own: the group can be killed whole, and Ctrl-C reaches the
        # cluster through us only.
        self.cluster = subprocess.Popen(  # noqa: S603 -- our own interpreter and file
            [sys.executable, str(manage), "worker", "--cluster-only"],
            env=environment,
            start_new_session=True,
        )
        self.launched_s = time.monotonic()
        self.start_counting()
        logger.info("worker: cluster started as process %d", self.cluster.pid)

    def start_counting(self) -> None:
        """Count silence from now on: nothing before can be judged."""
        self.started_at = timezone.now()
        self.asked_at: datetime | None = None
        self.looked_at, self.looked_s = self.started_at, time.monotonic()

    def is_time_even(self) -> bool:
        """Whether neither a sleep nor a step of the clock lies since the last call.

        Else counting starts anew: the cluster slept too, or its beats bear the times
        of another clock.
        """
        now, now_s = timezone.now(), time.monotonic()
        passed_s = now_s - self.looked_s
        step_s = (now - self.looked_at).total_seconds() - passed_s
        self.looked_at, self.looked_s = now, now_s
        if passed_s <= PAUSE_S and abs(step_s) <= STEP_S:
            return True
        logger.warning(
            "worker: %.0f s without a look, the clock stepped by %.0f s;"
            " silence is counted anew",
            passed_s,
            step_s,
        )
        self.start_counting()
        return False

    def look(self) -> None:
        """Check once on the cluster, keep it beating, hand out what is due."""
        close_old_connections()
        assert self.cluster is not None
        status = self.cluster.poll()
        if status is not None:
            self.replace(f"it ended with status {status}")
            return
        self.is_time_even()
        try:
            silence_s = self.silence_s()
            self.hand_out()
        except DatabaseError as error:
            # Without the database nothing can be judged, and nothing can run.
            logger.warning("worker: the database does not answer: %s", error)
            self.start_counting()
            return
        # Asked again, for the sleep may have fallen between.
        if silence_s > settings.WORKER_STALL_S and self.is_time_even():
            self.replace(f"no task finished for {silence_s:.0f} s")

    def silence_s(self) -> float:
        """Return how long no task has been finished, counted from the start."""
        alive_at = self.alive_at()
        return (timezone.now() - alive_at).total_seconds()

    def alive_at(self) -> datetime:
        """Return the last sign of life, at least the start of counting.

        A beat from the future is none: the clock stepped back since, and it would
        hide a cluster that hangs.
        """
        beaten_at = heartbeat.last_beat(self.name) or self.started_at
        if beaten_at > timezone.now():
            return self.started_at
        return max(beaten_at, self.started_at)

    def hand_out(self) -> None:
        """Enqueue the periodic tasks that are due, and a beat after silence."""
        for path, every_s in settings.PERIODIC_TASKS.items():
            heartbeat.hand_out_if_due(path, every_s=every_s)
        every = timedelta(seconds=settings.WORKER_BEAT_EVERY_S)
        alive_at = self.alive_at()
        now = timezone.now()
        # One beat at a time, unless it got lost: a queue that stands still must not
        # fill up with beats.
        is_waiting = self.asked_at is not None and (
            alive_at < self.asked_at
            and now - self.asked_at < heartbeat.BEATS_ASTRAY * every
        )
        if not is_waiting and now - alive_at >= every:
            heartbeat.ask(self.name)
            self.asked_at = now

    def replace(self, reason: str) -> None:
        """End what is left of the cluster and start another; not while stopping."""
        if self.is_stopping:
            return
        lived_s = time.monotonic() - self.launched_s
        self.quick_deaths = 0 if lived_s > LIVED_WELL_S else self.quick_deaths + 1
        pause_s = RESTART_PAUSES_S[
            min(max(self.quick_deaths - 1, 0), len(RESTART_PAUSES_S) - 1)
        ]
        logger.error("worker: replacing the cluster in %d s: %s", pause_s, reason)
        self.kill()
        end = time.monotonic() + pause_s
        while time.monotonic() < end and not self.is_stopping:
            time.sleep(LOOK_EVERY_S)
        if not self.is_stopping:
            self.start()

    def stop(self) -> None:
        """Let running tasks finish, then end whatever is left of the group."""
        if self.cluster is None:
            return
        logger.info("worker: stopping")
        if self.cluster.poll() is None:
            # To the cluster's first process alone: it stops the others in order.
            self.cluster.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.cluster.wait(settings.TASK_TIMEOUT_S + STOP_GRACE_S)
        self.kill()

    def kill(self) -> None:
        """End the whole group at once, also what its first process left behind."""
        assert self.cluster is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.cluster.pid, signal.SIGKILL)
        self.cluster.wait()


def end_with_parent() -> None:
    """End this process, in order, when its supervisor is gone; then the whole group.

    Runs for ever, in a thread: an orphaned cluster would work on unwatched. Running
    tasks may finish, as when it is stopped; one that hangs ends all the same.
    """
    # Told, not asked for: the supervisor may be gone before we come here.
    parent = int(os.environ.get(PARENT_VARIABLE) or os.getppid())
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(settings.TASK_TIMEOUT_S + STOP_GRACE_S)
    os.killpg(0, signal.SIGKILL)
