"""Tells screens what happened, after the commit and never in its way.

A message is handed to a thread of this process after the commit; the request does
not wait for the channel layer, and a layer that is down loses a message, not a sale:
a screen that hears nothing asks by itself. Decision 0013.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol, cast

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction


logger = logging.getLogger(__name__)

SHOP_FEED = "shop.{id}"
PAYMENT_FEED = "payment.{id}"
PERSON_FEED = "person.{id}"
# The consumers' handlers: `payment_message` forwards what is in "data";
# `payment_look` reads the state anew, for messages may have been missed.
MESSAGE_TYPE = "payment.message"
LOOK_TYPE = "payment.look"
# The person's rights changed: whoever listens for them must ask whether they still may.
CHECK_TYPE = "person.check"

WAITING_LIMIT = 10_000  # messages; more means that the layer has been down for long
SEND_LIMIT_S = 3.0  # for one message: longer than a layer that works ever needs
FLUSH_LIMIT_S = 2.0

Message = dict[str, Any]


class Layer(Protocol):
    """What we use of a channel layer. Ours on PostgreSQL also has send_now()."""

    async def group_send(self, group: str, message: Message) -> None: ...


def shop_group(shop_id: object) -> str:
    return SHOP_FEED.format(id=shop_id)


def payment_group(payment_id: object) -> str:
    return PAYMENT_FEED.format(id=payment_id)


def person_group(user_id: object) -> str:
    return PERSON_FEED.format(id=user_id)


def check_after_commit(groups: Sequence[str]) -> None:
    """Have sockets of the groups ask again whether they may listen, after the commit."""
    sent = tuple(groups)
    envelope = {"type": CHECK_TYPE}
    transaction.on_commit(lambda: _hand_over(sent, envelope), robust=True)


def publish_after_commit(groups: Sequence[str], message: Message) -> None:
    """Send the message to the groups once the present transaction has committed.

    At once where there is no transaction; never where it rolls back. Whatever goes
    wrong with sending is logged and harms nobody.
    """
    sent = tuple(groups)
    transaction.on_commit(lambda: publish(sent, message), robust=True)


def publish(groups: Sequence[str], message: Message) -> None:
    """Hand the message over to the sending thread, or send it here in tests."""
    _hand_over(groups, {"type": MESSAGE_TYPE, "data": message})


def _hand_over(groups: Sequence[str], envelope: Message) -> None:
    if settings.REALTIME_INLINE:
        for group in groups:
            async_to_sync(channel_layer().group_send)(group, envelope)
    else:
        publisher.put(groups, envelope)


def flush(limit_s: float = FLUSH_LIMIT_S) -> bool:
    """Wait until everything handed over has been sent; False if time ran out."""
    return publisher.flush(limit_s)


def channel_layer() -> Layer:
    layer = get_channel_layer()
    # The manager answers None for any KeyError in a backend's constructor.
    assert layer is not None, "CHANNEL_LAYERS has no usable default"
    return cast("Layer", layer)


class Publisher:
    """One sending thread per process, started by the first message.

    Fork-safe: a child knows by its process id that the parent's thread is not its
    own, and begins anew with an empty queue.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiting: queue.Queue[tuple[Sequence[str], Message]]
        self._waiting = queue.Queue(WAITING_LIMIT)
        self._thread: threading.Thread | None = None

    def put(self, groups: Sequence[str], envelope: Message) -> None:
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="realtime", daemon=True
                )
                self._thread.start()
        try:
            self._waiting.put_nowait((groups, envelope))
        except queue.Full:
            logger.warning("realtime: %d messages wait, one is lost", WAITING_LIMIT)

    def flush(self, limit_s: float) -> bool:
        if self._pid != os.getpid():
            return True
        end = time.monotonic() + limit_s
        while self._waiting.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.01)
        return not self._waiting.unfinished_tasks

    def _run(self) -> None:
        waiting = self._waiting
        loop = asyncio.new_event_loop()
        while True:
            groups, envelope = waiting.get()
            try:
                send(loop, groups, envelope)
            except Exception:  # the thread must outlive any layer
                logger.warning("realtime: a message was lost", exc_info=True)
            finally:
                waiting.task_done()


def send(
    loop: asyncio.AbstractEventLoop, groups: Sequence[str], envelope: Message
) -> None:
    """Send from the publisher's thread, by the shortest way that the layer has."""
    layer = channel_layer()
    # Asked of its class: the layer on Redis looks for any name in its running loop,
    # and outside of one it raises.
    if send_now := getattr(type(layer), "send_now", None):
        send_now(layer, groups, envelope)
        return

    async def send_all() -> None:
        async with asyncio.timeout(SEND_LIMIT_S):
            for group in groups:
                await layer.group_send(group, envelope)

    loop.run_until_complete(send_all())


publisher = Publisher()
# A command may publish and end: what waits gets its moment.
atexit.register(flush)
