"""Whether what works by itself is at work: the worker, and the sweep it carries out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.conf import settings
from django.utils import timezone
from django.utils.formats import date_format

from payments.doctor.findings import Finding, Who
from payments.enums import Health
from payments.models import Notice, Payment
from smartduka.lib import clock


SWEEP = "every:payments.tasks.sweep"
START = "Start it on the server: manage.py worker. Have it started at every boot."
# The sweep finds what was not done in time within a minute or two.
OVERDUE, LONG_OVERDUE = timedelta(minutes=5), timedelta(minutes=15)
SWEEPS_MISSED = 3
MOST = 100
# Two processes' clocks on two machines.
STEP = timedelta(minutes=1)


def findings() -> tuple[Finding, ...]:
    """Look at the signs of life that workers leave in the database."""
    return (worker(), sweep())


def worker() -> Finding:
    """Whether any worker finished a task lately."""
    now = clock.now()
    beaten_at = _beats().filter(name__startswith="worker:").first()
    if beaten_at is None:
        words = "No worker has ever finished a task here: nothing happens by itself."
        return _worker(Health.BROKEN, words, START)
    silence = now - beaten_at
    if silence < -STEP:
        words = f"A worker's last sign of life is from the future: {_at(beaten_at)}."
        return _worker(Health.LOOK, words, "Look at the clocks of the servers.")
    if silence > clock.seconds(settings.WORKER_STALL_S):
        words = f"No worker has finished a task since {_at(beaten_at)}."
        return _worker(Health.BROKEN, words, START)
    return _worker(Health.FINE, "A worker is alive: it finished a task just now.")


def sweep() -> Finding:
    """Whether the round that finds what was forgotten is made, and keeps up."""
    now = clock.now()
    handed_out_at = _beats().filter(name=SWEEP).first()
    if handed_out_at is None:
        words = "The round that asks about forgotten payments was never made."
        return _sweep(Health.BROKEN, words, START)
    if now - handed_out_at > clock.seconds(SWEEPS_MISSED * settings.SWEEP_EVERY_S):
        words = f"The last round began {_at(handed_out_at)}: it should each minute."
        return _sweep(Health.BROKEN, words, START)
    return _backlog(now)


def _backlog(now: datetime) -> Finding:
    due = now - OVERDUE
    payments = Payment.objects.filter(next_ask_at__lt=due).order_by("next_ask_at")
    notices = Notice.objects.filter(next_try_at__lt=due).order_by("next_try_at")
    waits = [
        *payments.values_list("next_ask_at", flat=True)[:MOST],
        *notices.values_list("next_try_at", flat=True)[:MOST],
    ]
    since = min((at for at in waits if at is not None), default=None)
    if since is None:
        return _sweep(Health.FINE, "The rounds are made, and nothing is overdue.")
    count = f"{len(waits)}" if len(waits) < MOST else f"{MOST} or more"
    words = (
        f"{count} questions and messages are overdue, the oldest since {_at(since)}."
    )
    remedy = "Look into the worker's log. More tasks at once: raise Q_WORKERS."
    health = Health.BROKEN if now - since > LONG_OVERDUE else Health.LOOK
    return _sweep(health, words, remedy)


def _beats() -> Any:
    """When each sign of life was given, the newest first.

    By name, for the table is the platform's own, above the apps.
    """
    rows = apps.get_model("smartduka", "Heartbeat")._default_manager
    return rows.order_by("-beaten_at").values_list("beaten_at", flat=True)


def _at(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "j M Y, H:i:s")


def _worker(health: Health, words: str, remedy: str = "") -> Finding:
    return Finding("worker", "The worker", health, words, remedy, Who.OPERATOR)


def _sweep(health: Health, words: str, remedy: str = "") -> Finding:
    name = "Forgotten payments are asked about"
    return Finding("sweep", name, health, words, remedy, Who.OPERATOR)
