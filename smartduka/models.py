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
    """When a worker last finished a task, or a periodic task was last handed out."""

    name = models.CharField(max_length=200, primary_key=True)
    beaten_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
