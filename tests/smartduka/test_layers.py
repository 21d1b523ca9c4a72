import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connection, transaction
from psycopg import Notify

from smartduka.lib import layers
from smartduka.lib.layers import LocalChannelLayer, PostgresChannelLayer


WAIT_S = 5


async def heard(layer, channel, wait_s=WAIT_S):
    async with asyncio.timeout(wait_s):
        return await layer.receive(channel)


async def silent(layer, channel):
    with pytest.raises(TimeoutError):
        await heard(layer, channel, wait_s=0.3)


async def socket_in(layer, group):
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    return channel


def send_from_a_thread(layer, group, message):
    """Send as a foreign thread does, with an event loop of its own."""
    errors = []

    def work():
        try:
            async_to_sync(layer.group_send)(group, message)
        except Exception as error:  # noqa: BLE001 -- the test asserts on it
            errors.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread, errors


@pytest.mark.asyncio
async def test_local_layer_hears_another_thread():
    layer = LocalChannelLayer()
    channel = await socket_in(layer, "shop.1")
    waiting = asyncio.create_task(heard(layer, channel))
    await asyncio.sleep(0)  # it waits in receive() now: the queue must wake this loop

    thread, errors = send_from_a_thread(layer, "shop.1", {"type": "x", "n": 1})

    assert await waiting == {"type": "x", "n": 1}
    await asyncio.to_thread(thread.join)
    assert errors == []


@pytest.mark.asyncio
async def test_local_layer_keeps_groups_apart():
    layer = LocalChannelLayer()
    one, other = await socket_in(layer, "shop.1"), await socket_in(layer, "shop.2")

    await layer.group_send("shop.1", {"type": "x"})

    assert await heard(layer, one) == {"type": "x"}
    await silent(layer, other)


@pytest.mark.asyncio
async def test_local_layer_takes_many_messages_from_many_threads():
    layer = LocalChannelLayer(capacity=1000)
    channel = await socket_in(layer, "shop.1")

    threads = [
        send_from_a_thread(layer, "shop.1", {"type": "x", "n": n})[0] for n in range(50)
    ]
    numbers = sorted([(await heard(layer, channel))["n"] for _ in range(50)])

    assert numbers == list(range(50))
    for thread in threads:
        await asyncio.to_thread(thread.join)


def test_local_layer_outlives_its_loop():
    layer = LocalChannelLayer()
    asyncio.run(socket_in(layer, "shop.1"))

    async_to_sync(layer.group_send)("shop.1", {"type": "x"})

    async def again():
        channel = await socket_in(layer, "shop.2")
        await layer.group_send("shop.2", {"type": "y"})
        return await heard(layer, channel)

    assert asyncio.run(again()) == {"type": "y"}


@pytest.fixture
def notify():
    """Return a maker of layers; each stands for another process."""
    made = []

    def make():
        made.append(PostgresChannelLayer())
        return made[-1]

    yield make
    for layer in made:
        if layer.listener and not layer.listener.get_loop().is_closed():
            layer.listener.cancel()


@pytest.mark.postgres
@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_notify_reaches_another_process(notify):
    web, worker = notify(), notify()
    channel = await socket_in(web, "shop.1")

    await worker.group_send("shop.1", {"type": "x", "n": 1})

    assert await heard(web, channel) == {"type": "x", "n": 1}
    await silent(web, channel)


@pytest.mark.postgres
@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_notify_waits_for_the_commit_and_dies_with_a_rollback(notify):
    web, worker = notify(), notify()
    channel = await socket_in(web, "shop.1")
    committing = threading.Event()

    def commit_later():
        with transaction.atomic():
            worker.send_now(["shop.1"], {"type": "committed"})
            committing.wait(WAIT_S)

    def roll_back():
        with transaction.atomic():
            worker.send_now(["shop.1"], {"type": "rolled back"})
            transaction.set_rollback(True)

    await sync_to_async(roll_back)()
    task = asyncio.create_task(sync_to_async(commit_later)())
    await silent(web, channel)
    committing.set()
    await task

    assert await heard(web, channel) == {"type": "committed"}
    await silent(web, channel)


@pytest.mark.postgres
@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_notify_to_several_groups_is_one_statement(
    notify, django_assert_num_queries
):
    web, worker = notify(), notify()
    one, other = await socket_in(web, "shop.1"), await socket_in(web, "payment.2")

    def send():
        with django_assert_num_queries(1):
            worker.send_now(["shop.1", "payment.2"], {"type": "x"})

    await sync_to_async(send)()

    assert await heard(web, one) == await heard(web, other) == {"type": "x"}


@pytest.mark.postgres
@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_notify_refuses_what_does_not_fit(notify):
    with pytest.raises(ValueError, match="too long"):
        await notify().group_send("shop.1", {"type": "x", "text": "ä" * 8000})


@pytest.mark.postgres
@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_listener_that_was_cut_off_comes_back_and_tells_to_look(notify):
    web, worker = notify(), notify()
    channel = await socket_in(web, "shop.1")

    def cut():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'LISTEN %' AND pid <> pg_backend_pid()"
            )
            return cursor.rowcount

    assert await sync_to_async(cut)() == 1
    assert await heard(web, channel) == {"type": "payment.look"}
    await worker.group_send("shop.1", {"type": "x"})

    assert await heard(web, channel) == {"type": "x"}


class Wire:
    """A connection of the listener that says what a test puts in."""

    def __init__(self, payloads):
        self.payloads = payloads

    async def execute(self, sql):
        assert sql == "LISTEN smartduka_channels"

    async def notifies(self):
        while True:
            payload = await self.payloads.get()
            yield Notify("smartduka_channels", payload, 1)

    async def close(self):
        pass


@pytest.mark.asyncio
async def test_listener_outlives_what_it_cannot_read_and_tells_to_look(
    notify, monkeypatch, caplog
):
    payloads = asyncio.Queue()

    async def connect(conninfo, *, autocommit):
        return Wire(payloads)

    monkeypatch.setattr(layers.psycopg.AsyncConnection, "connect", connect)
    monkeypatch.setattr(layers, "RECONNECT_S", 0)
    layer = notify()
    monkeypatch.setattr(layer, "conninfo", lambda: "")
    channel = await socket_in(layer, "shop.1")

    payloads.put_nowait("this is no JSON")
    assert await heard(layer, channel) == {"type": "payment.look"}
    payloads.put_nowait('["shop.1", {"type": "x"}]')

    assert await heard(layer, channel) == {"type": "x"}
    assert "begins anew" in caplog.text


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_notify_starts_to_listen_anew_in_another_loop(notify):
    layer = notify()

    async def hear():
        channel = await socket_in(layer, "shop.1")
        await layer.group_send("shop.1", {"type": "x"})
        message = await heard(layer, channel)
        layer.listener.cancel()
        return message

    assert asyncio.run(hear()) == asyncio.run(hear()) == {"type": "x"}


@pytest.mark.redis
@pytest.mark.asyncio
async def test_redis_layer_of_the_settings_hears_another_thread():
    layer = get_channel_layer()
    assert "redis" in settings.CHANNEL_LAYERS["default"]["BACKEND"]
    channel = await socket_in(layer, "shop.1")

    thread, errors = send_from_a_thread(layer, "shop.1", {"type": "x"})

    assert await heard(layer, channel) == {"type": "x"}
    await asyncio.to_thread(thread.join)
    assert errors == []
    await layer.flush()
