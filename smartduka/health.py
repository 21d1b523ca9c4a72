"""Probes for whoever runs the server: is the process up, can it serve."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_q.models import OrmQ

from smartduka.lib import realtime


logger = logging.getLogger(__name__)

PROBE_LIMIT_S = 3.0
PROBE_GROUP = "probe"  # nobody listens there


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200: the process is up. It looks at nothing."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when all we need is reachable, else 503 and which one is not."""
    checks = {name: is_reachable(name, probe) for name, probe in PROBES.items()}
    is_ready = all(checks.values())
    return JsonResponse(
        {
            "status": "ready" if is_ready else "unavailable",
            "checks": {k: "ok" if ok else "failed" for k, ok in checks.items()},
        },
        status=200 if is_ready else 503,
    )


def is_reachable(name: str, probe: Callable[[], object]) -> bool:
    try:
        probe()
    except Exception as error:  # noqa: BLE001 -- any failure is the answer
        logger.warning("not ready: %s: %s", name, error)
        return False
    return True


def probe_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def probe_channel_layer() -> None:
    async def send() -> None:
        async with asyncio.timeout(PROBE_LIMIT_S):
            layer = realtime.channel_layer()
            await layer.group_send(PROBE_GROUP, {"type": realtime.LOOK_TYPE})

    async_to_sync(send)()


def probe_queue() -> None:
    OrmQ.objects.exists()


def probe_counters() -> None:
    cache.get("probe")


PROBES: dict[str, Callable[[], object]] = {
    "database": probe_database,
    "channelLayer": probe_channel_layer,
    "queue": probe_queue,
    "counters": probe_counters,
}
