from __future__ import annotations

from django.db import models


class Counter(models.Model):
    """One number with an end, for rate limits: a row of counters.CounterCache."""

    key = models.CharField(max_length=300, primary_key=True)
    value = models.BigIntegerField()
    until = models.FloatField(db_index=True)  # Unix time

    def __str__(self) -> str:
        return self.key


class Heartbeat(models.Model):
    """When the worker of this name last ran a task: what its watchdog looks at."""

    worker = models.CharField(max_length=100, primary_key=True)
    beaten_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.worker
