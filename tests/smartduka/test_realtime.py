import asyncio
import os
import threading

import pytest
from django.db import transaction

from smartduka.lib import realtime
from smartduka.lib.realtime import publish_after_commit


class Recorder:
    """A channel layer that notes what it was sent, by which thread."""

    def __init__(self):
        self.sent, self.threads, self.fail, self.is_held = [], [], 0, False

    async def group_send(self, group, message):
        while self.is_held:
            await asyncio.sleep(0.01)
        if self.fail:
            self.fail -= 1
            raise ConnectionError("the layer is down")
        self.sent.append((group, message))
        self.threads.append(threading.current_thread().name)


@pytest.fixture
def layer(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(realtime, "get_channel_layer", lambda: recorder)
    return recorder


@pytest.fixture
def publisher(settings, monkeypatch):
    """Send as production does: from a thread, a fresh one for each test."""
    settings.REALTIME_INLINE = False
    fresh = realtime.Publisher()
    monkeypatch.setattr(realtime, "publisher", fresh)
    return fresh


def envelope(**data):
    return {"type": "payment.message", "data": data}


def test_group_names():
    assert realtime.shop_group(7) == "shop.7"
    assert realtime.payment_group("a-b") == "payment.a-b"


@pytest.mark.django_db(transaction=True)
def test_message_leaves_after_the_commit(layer):
    with transaction.atomic():
        publish_after_commit(["shop.1", "payment.2"], {"event": "payment.completed"})
        assert layer.sent == []

    assert layer.sent == [
        ("shop.1", envelope(event="payment.completed")),
        ("payment.2", envelope(event="payment.completed")),
    ]


@pytest.mark.django_db(transaction=True)
def test_message_of_a_rolled_back_transaction_never_leaves(layer):
    with transaction.atomic():
        publish_after_commit(["shop.1"], {"event": "x"})
        transaction.set_rollback(True)

    assert layer.sent == []


@pytest.mark.django_db(transaction=True)
def test_a_broken_layer_harms_nobody(layer):
    layer.fail = 1
    done = []

    with transaction.atomic():
        publish_after_commit(["shop.1"], {"event": "x"})
        transaction.on_commit(lambda: done.append("the next one ran"))

    assert done == ["the next one ran"]
    assert layer.sent == []


def test_sending_is_done_by_a_thread_of_its_own(layer, publisher):
    layer.is_held = True

    realtime.publish(["shop.1"], {"event": "x"})

    assert layer.sent == []
    layer.is_held = False
    assert realtime.flush(3)
    assert layer.sent == [("shop.1", envelope(event="x"))]
    assert layer.threads == ["realtime"]


def test_messages_keep_their_order_and_one_thread(layer, publisher):
    for number in range(100):
        realtime.publish(["shop.1"], {"n": number})

    assert realtime.flush(5)
    assert [message["data"]["n"] for _, message in layer.sent] == list(range(100))
    assert [t.name for t in threading.enumerate()].count("realtime") >= 1
    assert set(layer.threads) == {"realtime"}


def test_a_lost_message_is_logged_and_the_next_one_leaves(layer, publisher, caplog):
    layer.fail = 1

    realtime.publish(["shop.1"], {"n": 1})
    realtime.publish(["shop.1"], {"n": 2})

    assert realtime.flush(3)
    assert layer.sent == [("shop.1", envelope(n=2))]
    assert "a message was lost" in caplog.text


def test_a_layer_that_hangs_is_given_up(layer, publisher, monkeypatch, caplog):
    monkeypatch.setattr(realtime, "SEND_LIMIT_S", 0.1)
    layer.is_held = True

    realtime.publish(["shop.1"], {"n": 1})

    assert realtime.flush(3)
    assert "a message was lost" in caplog.text


def test_a_full_queue_loses_the_message_and_says_so(
    layer, settings, monkeypatch, caplog
):
    settings.REALTIME_INLINE = False
    monkeypatch.setattr(realtime, "WAITING_LIMIT", 2)
    fresh = realtime.Publisher()
    monkeypatch.setattr(realtime, "publisher", fresh)
    layer.is_held = True

    for number in range(6):
        realtime.publish(["shop.1"], {"n": number})
    layer.is_held = False

    assert "one is lost" in caplog.text
    assert realtime.flush(3)
    assert 2 <= len(layer.sent) < 6


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_sends_by_itself(layer, publisher):
    realtime.publish(["shop.1"], {"from": "parent"})
    assert realtime.flush(3)

    child = os.fork()
    if child == 0:
        realtime.publish(["shop.1"], {"from": "child"})
        is_sent = realtime.publisher.flush(3) and len(layer.sent) == 2
        os._exit(0 if is_sent else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_layer_with_a_shorter_way_is_sent_by_it(publisher, monkeypatch):
    sent = []

    class Synchronous:
        def send_now(self, groups, message):
            sent.append((tuple(groups), message))

    monkeypatch.setattr(realtime, "get_channel_layer", lambda: Synchronous())
    realtime.publish(["shop.1", "payment.2"], {"n": 1})

    assert realtime.flush(3)
    assert sent == [(("shop.1", "payment.2"), envelope(n=1))]


@pytest.mark.redis
@pytest.mark.asyncio
async def test_publishers_thread_reaches_a_socket_through_redis(publisher):
    layer = realtime.channel_layer()
    channel = await layer.new_channel()
    await layer.group_add("shop.1", channel)

    realtime.publish(["shop.1"], {"n": 1})

    async with asyncio.timeout(5):
        assert await layer.receive(channel) == envelope(n=1)
    await layer.flush()
