"""Hands work to the tasks' cluster, now or after a while, as part of a transaction.

The queue is a table of our own database (Django-Q2's ORM broker): a task enqueued in
a transaction exists only if that commits, and costs one INSERT. Delivery is at least
once, so a task must be idempotent. Decision 0011.
"""

from __future__ import annotations

from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.tasks import async_task

from smartduka.lib import clock


Argument = str | int | bool | None


class Outbox(ORM):
    """The broker's writing half: one INSERT on the caller's own connection.

    The broker hands out rows whose `lock` lies in the past, so a delay is a lock that
    lies ahead. The base class would first close old connections and build a cache,
    which is for the cluster's processes and not for a request.
    """

    def __init__(self, delay_s: float) -> None:
        self.list_key = Conf.CLUSTER_NAME
        self.delay_s = delay_s

    def enqueue(self, task: str) -> int:
        due_at = clock.now() + clock.seconds(self.delay_s)
        row = OrmQ.objects.using(Conf.ORM).create(
            key=self.list_key, payload=task, lock=due_at
        )
        return int(row.pk)


def enqueue(path: str, *arguments: Argument) -> None:
    """Have `path` (a dotted function name) called by a worker soon.

    Arguments are ids: the payload is stored, and what it points at may change
    meanwhile. Inside the caller's transaction, if there is one.
    """
    enqueue_later(path, *arguments, seconds=0)


def enqueue_later(path: str, *arguments: Argument, seconds: float) -> None:
    """Have `path` called by a worker after that many seconds, and not before."""
    # Successes are not kept as rows: for each the cluster would read all it keeps.
    async_task(path, *arguments, broker=Outbox(seconds), save=False)
