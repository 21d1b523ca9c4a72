"""Messages leave after their commits and may overtake each other: no step back."""

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from redis.exceptions import ConnectionError as RedisDown

from payments import budget
from payments.consumers import is_older
from payments.enums import PaymentStatus
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


def test_a_receipt_is_not_taken_back():
    without, filled = state("completed"), state("completed", receipt="UAE5B2K9QT")

    assert is_older(without, filled)
    assert not is_older(filled, without)


def test_another_receipt_or_other_words_are_news():
    shown = state("completed", receipt="UAE5B2K9QT")

    assert not is_older(state("completed", receipt="UAE5B2K9QU"), shown)
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
        changed = await state_of(other) | {"message": "Something new."}

        await arrives(layer, other, "payment.updated", changed)

        assert (await socket.heard())["payment"] == changed


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
