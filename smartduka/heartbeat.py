"""Signs of life of the tasks' cluster, written where its watchdog can see them.

Django-Q2's cluster can hang as a whole and say nothing: when a waiting worker is
killed, the queue's lock dies with it. So life is proved by work: whichever worker
process finishes a task notes the time, and the watchdog hands out a small task when
nothing else is going on.
"""

from __future__ import annotations

import os
import secrets
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django_q.signals import post_execute_in_worker

from smartduka.lib import clock, later
from smartduka.models import Heartbeat


# The watchdog puts its cluster's name here; every process of the cluster inherits it.
WORKER_VARIABLE = "SMARTDUKA_WORKER"
BEAT_TASK = "smartduka.heartbeat.beat"
# So long another cluster may take a beat before its watchdog asks anew, in beats.
BEATS_ASTRAY = 4
# Cast anew for each hop, or the same cluster would be first again and again.
HOP_LEAST_S, HOP_MOST_S = 0.3, 0.5

_noted_at = 0.0
_dice = secrets.SystemRandom()


def ask(name: str) -> None:
    """Enqueue the task that only proves that this cluster runs tasks."""
    until = clock.now() + _astray()
    later.enqueue(BEAT_TASK, name, until.isoformat())


def beat(name: str, until: str) -> None:
    """Prove that tasks are run; in another's cluster, pass the beat on.

    All clusters share one queue, and an idle one must not look dead because another
    is quicker. `until` (ISO, aware) ends the beat of a cluster that is gone; one
    further ahead than any beat is asked for was written before the clock stepped back.
    """
    left = datetime.fromisoformat(until) - clock.now()
    is_astray = os.environ.get(WORKER_VARIABLE) != name
    if is_astray and timedelta(0) < left <= _astray():
        hop_s = _dice.uniform(HOP_LEAST_S, HOP_MOST_S)
        later.enqueue_later(BEAT_TASK, name, until, seconds=hop_s)


def _astray() -> timedelta:
    return BEATS_ASTRAY * clock.seconds(settings.WORKER_BEAT_EVERY_S)


def note_progress(**_: object) -> None:
    """Note that this cluster finished a task; at most once per beat and process."""
    global _noted_at  # one number per process
    worker = os.environ.get(WORKER_VARIABLE)
    now = time.monotonic()
    if worker and now - _noted_at >= settings.WORKER_BEAT_EVERY_S / 2:
        _noted_at = now
        set_beaten(worker, timezone.now())


def connect() -> None:
    post_execute_in_worker.connect(note_progress, dispatch_uid="note_progress")


def set_beaten(name: str, moment: datetime) -> None:
    """Write the row, in one statement."""
    Heartbeat.objects.bulk_create(
        [Heartbeat(name=name, beaten_at=moment)],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["beaten_at"],
    )


def last_beat(name: str) -> datetime | None:
    return (
        Heartbeat.objects.filter(name=name).values_list("beaten_at", flat=True).first()
    )


def hand_out_if_due(path: str, *, every_s: float) -> bool:
    """Enqueue the task unless another worker did within the time; say whether.

    Claimed by a conditional update, so that any number of workers hand it out once.
    The claim and the task commit together. A claim further ahead than `every_s` was
    written before the clock stepped back, and counts for nothing.
    """
    now, every = timezone.now(), timedelta(seconds=every_s)
    row = Heartbeat(name=f"every:{path}", beaten_at=now - every)
    with transaction.atomic():
        Heartbeat.objects.bulk_create([row], ignore_conflicts=True)
        claimed = Heartbeat.objects.filter(
            Q(beaten_at__lte=row.beaten_at) | Q(beaten_at__gt=now + every),
            name=row.name,
        ).update(beaten_at=now)
        if claimed:
            later.enqueue(path)
    return bool(claimed)
