from __future__ import annotations

from django.apps import AppConfig


class SmartdukaConfig(AppConfig):
    """Holds the tables of the platform itself: counters and heartbeats."""

    name = "smartduka"
    label = "smartduka"
    verbose_name = "Platform"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from smartduka import heartbeat  # noqa: PLC0415 -- models are loaded only now

        heartbeat.connect()
