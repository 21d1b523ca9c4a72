"""The tasks' worker on virtual time: due tasks in order, at least once.

It reads the real queue's table as the cluster does: a task is claimed by moving its
lock ahead, run, and removed; one that crashes with its process is handed out again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.module_loading import import_string
from django_q.models import OrmQ
from django_q.signing import SignedPackage


if TYPE_CHECKING:
    from payments.chaos.world import World


LOST, TWICE, UNACKNOWLEDGED = 1, 4, 2  # percent


class Worker:
    """Runs what the domain put off until later."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.down_until: datetime | None = None

    def next_due(self) -> datetime | None:
        """When the next task is due; None while there is none."""
        due: datetime | None = (
            OrmQ.objects.order_by("lock", "id").values_list("lock", flat=True).first()
        )
        if due is None or self.down_until is None:
            return due
        return max(due, self.down_until)

    def run_one(self) -> str:
        """Run the task that is due longest."""
        row = OrmQ.objects.order_by("lock", "id").first()
        if row is None:
            return "nothing"
        dice, is_calm = self.world.dice, self.world.is_calm
        task = SignedPackage.loads(row.payload)
        name = str(task["func"]).rsplit(".", 1)[1]
        if not is_calm and dice.chance(LOST):
            row.delete()
            self.world.figures["tasks lost"] += 1
            return f"{name} lost"
        held_until = self.world.clock.now() + timedelta(seconds=settings.TASK_RETRY_S)
        OrmQ.objects.filter(pk=row.pk, lock=row.lock).update(lock=held_until)
        self._run(task)
        if not is_calm and dice.chance(TWICE):
            self.world.figures["tasks run twice"] += 1
            self._run(task)
        if not is_calm and dice.chance(UNACKNOWLEDGED):
            self.world.figures["tasks handed out again"] += 1
            return f"{name}, not acknowledged"
        OrmQ.objects.filter(pk=row.pk).delete()
        return name

    def _run(self, task: dict[str, object]) -> None:
        self.world.figures["tasks"] += 1
        arguments = task["args"]
        assert isinstance(arguments, tuple)
        import_string(str(task["func"]))(*arguments)
