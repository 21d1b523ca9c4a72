"""Channel layers for an installation without Redis. Decision 0013.

LocalChannelLayer stays in one process and may be used from any of its threads.
PostgresChannelLayer reaches every process by NOTIFY.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

import psycopg
from asgiref.sync import sync_to_async
from channels.layers import InMemoryChannelLayer
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.conninfo import make_conninfo

from smartduka.lib.realtime import LOOK_TYPE


logger = logging.getLogger(__name__)

Message = dict[str, Any]

# PostgreSQL refuses 8,000 bytes and more.
NOTIFY_LIMIT_BYTES = 7_999
RECONNECT_S = 1.0
# A listener that cannot connect refuses the socket; the page then polls.
LISTEN_LIMIT_S = 5.0
# Of Django's connection parameters, what only its own cursors understand.
NOT_FOR_LISTENER = frozenset({"cursor_factory", "context", "prepare_threshold"})


class LocalChannelLayer(InMemoryChannelLayer):
    """Groups of this process, whose sockets live in one event loop.

    A message may come from any thread and any loop (a worker thread's own, for one);
    asyncio's queues may be touched only by their own loop, so it hops over there.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.home: asyncio.AbstractEventLoop | None = None

    async def new_channel(self, prefix: str = "specific.") -> str:
        self.home = asyncio.get_running_loop()
        return await super().new_channel(prefix)

    async def group_add(self, group: str, channel: str) -> None:
        self.home = asyncio.get_running_loop()
        await super().group_add(group, channel)

    async def group_send(self, group: str, message: Message) -> None:
        await self.at_home(super().group_send(group, message))

    async def send(self, channel: str, message: Message) -> None:
        await self.at_home(super().send(channel, message))

    async def at_home(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the work in the sockets' loop, which may be the running one."""
        home = self.home
        if home is None or home is asyncio.get_running_loop():
            await work
        elif home.is_closed():
            work.close()  # its sockets are gone, and nobody else listens
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, home))


class PostgresChannelLayer(LocalChannelLayer):
    """Groups of this process, fed by NOTIFY from all of them.

    A message sent inside a transaction arrives when that commits, and never when it
    rolls back. It must fit 8,000 bytes. LISTEN needs a connection of its own, so a
    pooler in transaction mode cannot stand between. What is notified while the
    listener is away is lost: when it is back, every socket is told to look.
    """

    CHANNEL = "smartduka_channels"

    def __init__(self, *, database: str = DEFAULT_DB_ALIAS, **options: Any) -> None:
        super().__init__(**options)
        self.database = database
        self.listener: asyncio.Task[None] | None = None
        self.listening = asyncio.Event()

    async def group_add(self, group: str, channel: str) -> None:
        loop = asyncio.get_running_loop()
        task = self.listener
        if task is None or task.done() or task.get_loop() is not loop:
            self.listening = asyncio.Event()
            self.listener = loop.create_task(self.listen(self.listening))
        async with asyncio.timeout(LISTEN_LIMIT_S):
            await self.listening.wait()
        await super().group_add(group, channel)

    async def group_send(self, group: str, message: Message) -> None:
        await sync_to_async(self.send_now)([group], message)

    def send_now(self, groups: Sequence[str], message: Message) -> None:
        """Notify from a synchronous caller, on its own Django connection.

        In one statement for all groups. Raises ValueError when it does not fit.
        """
        for group in groups:
            self.require_valid_group_name(group)
        payloads = [json.dumps([group, message]) for group in groups]
        if too_long := [p for p in payloads if len(p.encode()) > NOTIFY_LIMIT_BYTES]:
            raise ValueError(f"a message of {len(too_long[0])} characters is too long")
        connection = connections[self.database]
        sql = "SELECT " + ", ".join(["pg_notify(%s, %s)"] * len(payloads))
        values = [value for payload in payloads for value in (self.CHANNEL, payload)]
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
        finally:
            # A thread outside any request must give its connection back by itself.
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()

    async def listen(self, listening: asyncio.Event) -> None:
        """Deliver what is notified to the groups of this process, for ever."""
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(
                    self.conninfo(), autocommit=True
                )
                # Not its own context manager: that one rolls back first, and a
                # second cancellation meanwhile would leave the connection open.
                try:
                    await connection.execute(f"LISTEN {self.CHANNEL}")
                    if listening.is_set():
                        await self.tell_everyone_to_look()
                    listening.set()
                    async for notification in connection.notifies():
                        await self.deliver(notification.payload)
                finally:
                    await connection.close()
            except psycopg.OperationalError as error:
                logger.warning("the listener for screens was cut off: %s", error)
            except Exception:  # whatever it is, the screens must go on hearing
                logger.exception("the listener for screens broke; it begins anew")
            await asyncio.sleep(RECONNECT_S)

    async def deliver(self, payload: str) -> None:
        group, message = json.loads(payload)
        await super().group_send(group, message)

    async def tell_everyone_to_look(self) -> None:
        for group in list(self.groups):
            await super().group_send(group, {"type": LOOK_TYPE})

    async def close(self) -> None:
        """Stop listening; the next socket begins anew."""
        task, self.listener = self.listener, None
        if task and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])

    def conninfo(self) -> str:
        parameters = connections[self.database].get_connection_params()
        return make_conninfo(
            **{k: v for k, v in parameters.items() if k not in NOT_FOR_LISTENER}
        )
