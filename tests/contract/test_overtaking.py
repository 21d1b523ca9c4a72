"""Messages leave after their commits and may overtake each other: no step back."""

import asyncio

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import transaction
from redis.exceptions import ConnectionError as RedisDown

from payments import budget, consumers, lifecycle, news
from payments.consumers import is_older
from payments.enums import PaymentStatus, Source
from payments.models import Payment
from payments.states import payment_state
from smartduka.lib import realtime
from tests.contract.test_sockets import (
    SHOP,
    calls_back,
    opened,
    posts,
    refused_with,
    socket_of,
    state_of,
)
from tests.factories import OrderFactory, PaymentFactory
from tests.support import callbacks


# What is older.


def state(status, *, undecided=None, receipt=None, **others):
    if undecided is None:
        undecided = status in PaymentStatus.OPEN
    return {
        "status": status, "undecided": undecided, "mpesaReceiptNumber": receipt,
    } | others  # fmt: skip


REACHABLE = {
    "created": {"pending", "completed", "failed", "expired", "cancelled", "reversed"},
    "pending": {"completed", "failed", "expired", "cancelled", "reversed"},
    "failed": {"completed", "reversed"},
    "expired": {"completed", "reversed"},
    "cancelled": {"completed", "reversed"},
    "completed": {"reversed"},
    "reversed": set(),
}


@pytest.mark.parametrize("shown", REACHABLE)
@pytest.mark.parametrize("said", REACHABLE)
def test_a_status_that_led_to_the_shown_one_is_older(said, shown):
    assert is_older(state(said), state(shown)) == (shown in REACHABLE[said])


def test_nothing_is_older_than_what_was_never_shown():
    assert not is_older(state("created"), None)


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_an_answer_stays(status):
    waiting = state(status, undecided=True)
    answered = state(status, undecided=False)

    assert is_older(waiting, answered)
    assert not is_older(answered, waiting)


def test_neither_receipts_nor_words_say_what_is_older():
    """A guessed receipt is taken back, or given up for another one."""
    shown = state("completed", receipt="UAE5B2K9QT")
    for other in (state("completed"), state("completed", receipt="UAE5B2K9QU")):
        assert not is_older(other, shown)
        assert not is_older(shown, other)
    assert not is_older(state("pending", message="b"), state("pending", message="a"))


# What a socket says.


sockets = pytest.mark.django_db(transaction=True)


@pytest_asyncio.fixture
async def layer():
    """The channel layer as configured; closed with the test's loop."""
    layer = get_channel_layer()
    yield layer
    for name in ("flush", "close"):
        if ending := getattr(layer, name, None):
            await ending()


@pytest.fixture
def payment(duka):
    """A pending payment in Alice's shop."""
    return PaymentFactory(order=OrderFactory(shop=duka, total=250))


async def arrives(layer, payment, event, state):
    """Let a message come through the layer now, whenever it was true."""
    message = {"event": event, "payment": state}
    for group in (
        realtime.payment_group(payment.pk), realtime.shop_group(payment.shop_id),
    ):  # fmt: skip
        await layer.group_send(group, {"type": realtime.MESSAGE_TYPE, "data": message})


@pytest.mark.asyncio
@sockets
@pytest.mark.parametrize("end", ["success", "failure"])
async def test_what_was_overtaken_is_not_said(layer, bob, payment, end):
    pending = await state_of(payment)
    created = pending | {"status": "created", "checkoutRequestId": None}
    async with opened(SHOP, bob) as shop, opened(socket_of(payment), bob) as own:
        await shop.heard()
        await own.heard()
        await calls_back(payment, getattr(callbacks, end)(payment))
        for socket in (shop, own):
            assert (await socket.heard())["payment"] == await state_of(payment)

        await arrives(layer, payment, "payment.pending", pending)
        await arrives(layer, payment, "payment.created", created)
        await arrives(layer, payment, "payment.updated", pending | {"resultCode": "1"})

        assert await shop.is_silent()
        assert await own.is_silent()


@pytest.mark.asyncio
@sockets
async def test_money_after_a_failure_is_said_and_then_the_failure_no_more(
    layer, bob, payment
):
    async with opened(socket_of(payment), bob) as socket:
        await socket.heard()
        await calls_back(payment, callbacks.failure(payment))
        failed = (await socket.heard())["payment"]
        await calls_back(payment, callbacks.success(payment))
        completed = await socket.heard()

        await arrives(layer, payment, "payment.failed", failed)

        assert completed["event"] == "payment.completed"
        assert await socket.is_silent()


def has_receipt(payment, receipt):
    """Let a completed payment have another receipt, or none, and tell so."""
    with transaction.atomic():
        row = Payment.objects.select_related("order").get(pk=payment.pk)
        lifecycle.note(row, source=Source.PULL, reason="Guessed", receipt=receipt)
        news.publish(row, row.order, "payment.updated")


@pytest.mark.asyncio
@sockets
@pytest.mark.parametrize("other", ["UAE5B2K9QU", ""], ids=["another", "none"])
async def test_a_receipt_that_is_taken_back_is_said_and_then_said_no_more(
    layer, bob, payment, other
):
    async with opened(SHOP, bob) as shop, opened(socket_of(payment), bob) as own:
        await shop.heard()
        await own.heard()
        await calls_back(payment, callbacks.success(payment))
        for socket in (shop, own):
            completed = (await socket.heard())["payment"]

        await sync_to_async(has_receipt)(payment, other)

        for socket in (shop, own):
            assert await socket.heard() == {
                "event": "payment.updated",
                "payment": completed | {"mpesaReceiptNumber": other or None},
            }
        await arrives(layer, payment, "payment.completed", completed)
        assert await shop.is_silent()
        assert await own.is_silent()


@pytest.mark.asyncio
@sockets
async def test_a_receipt_that_is_taken_back_is_found_by_looking(
    layer, bob, payment, settings, monkeypatch
):
    settings.CHANNEL_LAYER_CROSSES_PROCESSES = False
    settings.SOCKET_LOOK_S = 0.1
    async with opened(socket_of(payment), bob) as socket:
        await socket.heard()
        await calls_back(payment, callbacks.success(payment))
        await socket.heard()
        # Another process does it, whose messages do not reach us.
        monkeypatch.setattr(realtime, "publish", lambda *given: None)

        await sync_to_async(has_receipt)(payment, "")

        heard = await socket.heard()
        assert heard == {"event": "payment.updated", "payment": await state_of(payment)}
        assert heard["payment"]["mpesaReceiptNumber"] is None


@pytest.mark.asyncio
@sockets
async def test_a_receipt_that_came_is_not_forgotten_for_a_message_from_before(
    layer, bob, payment
):
    async with opened(SHOP, bob) as shop, opened(socket_of(payment), bob) as own:
        await shop.heard()
        await own.heard()
        await calls_back(payment, callbacks.success(payment))
        for socket in (shop, own):
            completed = (await socket.heard())["payment"]

        without = completed | {"mpesaReceiptNumber": None}
        await arrives(layer, payment, "payment.completed", without)

        assert await shop.is_silent()
        assert await own.is_silent()


@pytest.mark.asyncio
@sockets
async def test_what_neither_message_decides_is_said_as_it_is_by_now(
    layer, bob, payment, monkeypatch
):
    """Both messages are under way when the payment has moved on already."""
    async with opened(SHOP, bob) as shop:
        pending = (await shop.heard())["undecided"][0]
        with monkeypatch.context() as quiet:
            quiet.setattr(realtime, "publish", lambda *given: None)
            await calls_back(payment, callbacks.success(payment))

        await arrives(layer, payment, "payment.updated", pending | {"resultCode": "1"})

        assert await shop.heard() == {
            "event": "payment.completed", "payment": await state_of(payment),
        }  # fmt: skip


@pytest.mark.asyncio
@sockets
async def test_a_message_waits_for_the_look_that_it_overtook(
    layer, bob, payment, settings, monkeypatch
):
    settings.CHANNEL_LAYER_CROSSES_PROCESSES = False
    settings.SOCKET_LOOK_S = 0.1
    monkeypatch.setattr(realtime, "publish", lambda *given: None)
    read = consumers.PaymentSocket._states
    receipts = ["UAE5B2K9QU"]

    async def read_slowly(socket, look):
        found = await read(socket, look)
        if receipts:
            await sync_to_async(has_receipt)(payment, receipts.pop())
            await arrives(layer, payment, "payment.updated", await state_of(payment))
            await asyncio.sleep(0.2)
        return found

    async with opened(socket_of(payment), bob) as socket:
        await socket.heard()
        with monkeypatch.context() as blind:
            blind.setattr(consumers.PaymentSocket, "look", lambda socket: [])
            await calls_back(payment, callbacks.success(payment))
            await sync_to_async(has_receipt)(payment, "")
        monkeypatch.setattr(consumers.PaymentSocket, "_states", read_slowly)

        heard = [(await socket.heard())["payment"] for _ in range(2)]

        told = [state["mpesaReceiptNumber"] for state in heard]
        assert told == [None, "UAE5B2K9QU"]
        assert await socket.is_silent()


@pytest.mark.asyncio
@sockets
async def test_the_same_twice_is_said_once(layer, bob, payment):
    async with opened(socket_of(payment), bob) as socket:
        await socket.heard()
        await calls_back(payment, callbacks.success(payment))
        completed = (await socket.heard())["payment"]

        await arrives(layer, payment, "payment.completed", completed)

        assert await socket.is_silent()


@pytest.mark.asyncio
@sockets
async def test_a_look_that_was_overtaken_is_not_said(
    layer, bob, payment, settings, monkeypatch
):
    """A look reads, then the message of a later commit comes, then the look tells."""
    settings.CHANNEL_LAYER_CROSSES_PROCESSES = False
    settings.SOCKET_LOOK_S = 0.1
    pending = await state_of(payment)
    async with opened(socket_of(payment), bob) as socket:
        await socket.heard()
        # What the looks find from now on is from before.
        monkeypatch.setattr("payments.consumers.payment_state", lambda payment: pending)
        await calls_back(payment, callbacks.success(payment))
        assert (await socket.heard())["event"] == "payment.completed"

        assert await socket.is_silent()


@pytest.mark.asyncio
@sockets
async def test_a_message_about_another_payment_is_still_said(layer, bob, duka, payment):
    other = await sync_to_async(lambda: PaymentFactory(order=OrderFactory(shop=duka)))()
    async with opened(SHOP, bob) as socket:
        await socket.heard()
        await calls_back(payment, callbacks.success(payment))
        await socket.heard()

        await calls_back(other, callbacks.failure(other, 1037))

        assert (await socket.heard())["payment"] == await state_of(other)


def test_states_have_what_is_compared(db, duka):
    payment = PaymentFactory(order=OrderFactory(shop=duka))
    payment = Payment.objects.select_related("order").get(pk=payment.pk)

    assert payment_state(payment).keys() > state("created").keys()


# Where the counters are down, a ticket cannot be spent.


class Down:
    """Counters that cannot be reached, from any thread."""

    def __init__(self, error):
        self.error = error

    def add(self, *given):
        raise self.error


@pytest.mark.asyncio
@sockets
@pytest.mark.parametrize("error", [RedisDown("gone"), OSError("gone")], ids=type)
async def test_4401_for_a_ticket_that_cannot_be_spent(layer, bob, monkeypatch, error):
    ticket = (await posts(bob, "/api/auth/ws-ticket")).json()["ticket"]

    with monkeypatch.context() as broken:
        broken.setattr(budget, "cache", Down(error))
        assert await refused_with(f"{SHOP}?ticket={ticket}", origin=None) == 4401

    # It was not spent.
    async with opened(f"{SHOP}?ticket={ticket}", origin=None) as socket:
        assert (await socket.heard())["event"] == "shop.state"


@pytest.mark.asyncio
@sockets
async def test_a_session_needs_no_counters(layer, bob, monkeypatch):
    monkeypatch.setattr(budget, "cache", Down(RedisDown("gone")))

    async with opened(SHOP, bob) as socket:
        assert (await socket.heard())["event"] == "shop.state"
