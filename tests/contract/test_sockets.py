"""The sockets: who may listen, what is said first, and what then."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
import pytest_asyncio
import time_machine
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.test import Client
from django.utils import timezone

from payments import consumers, questions, tickets
from payments.models import Payment
from payments.states import payment_state
from shops import pins, sessions, tenancy
from shops.enums import Role
from shops.models import Membership
from smartduka.asgi import application
from smartduka.lib import realtime
from tests.factories import MembershipFactory, OrderFactory, PaymentFactory, ShopFactory
from tests.support import callbacks


pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

SHOP = "/ws/shop/"
OWN, FOREIGN = b"http://testserver", b"https://evil.example"
LIMIT_S = 5
SILENCE_S = 0.3


@pytest.fixture
def payment(duka):
    """An undecided payment in Alice's shop."""
    return PaymentFactory(order=OrderFactory(shop=duka, total=250))


@pytest_asyncio.fixture
async def layer():
    """The channel layer as configured; closed with the test's loop."""
    layer = get_channel_layer()
    yield layer
    for name in ("flush", "close"):
        if ending := getattr(layer, name, None):
            await ending()


def socket_of(payment):
    return f"/ws/payments/{payment.pk}/"


def cookie_of(person):
    return f"sessionid={person.client.cookies['sessionid'].value}".encode()


class Socket(WebsocketCommunicator):
    """One connection, as a browser or a program opens it."""

    def __init__(self, path, person=None, origin=OWN):
        headers = [(b"host", b"testserver")]
        if person is not None:
            headers.append((b"cookie", cookie_of(person)))
        if origin:
            headers.append((b"origin", origin))
        super().__init__(application, path, headers=headers)

    async def heard(self):
        return await self.receive_json_from(timeout=LIMIT_S)

    async def is_silent(self):
        return await self.receive_nothing(timeout=SILENCE_S)

    async def closing_code(self):
        message = await self.receive_output(timeout=LIMIT_S)
        assert message["type"] == "websocket.close", message
        return message["code"]


@asynccontextmanager
async def opened(path, person=None, origin=OWN):
    socket = Socket(path, person, origin)
    is_accepted, _ = await socket.connect(timeout=LIMIT_S)
    assert is_accepted
    try:
        yield socket
    finally:
        await socket.disconnect(timeout=LIMIT_S)


async def refused_with(path, person=None, origin=OWN):
    """Return the close code with which a socket is refused."""
    async with opened(path, person, origin) as socket:
        return await socket.closing_code()


@sync_to_async
def calls_back(payment, body):
    response = Client().post(
        f"/hooks/stk/{payment.hook_token}", body, content_type="application/json"
    )
    assert response.status_code == 200


@sync_to_async
def state_of(payment):
    return payment_state(Payment.objects.select_related("order").get(pk=payment.pk))


@sync_to_async
def posts(person, path, body=None):
    return person.post(path, body)


# --- What is said ----------------------------------------------------------------


async def test_payment_socket_begins_with_the_state(layer, bob, payment):
    async with opened(socket_of(payment), bob) as socket:
        assert await socket.heard() == {
            "event": "payment.state",
            "payment": await state_of(payment),
        }
        assert await socket.is_silent()


async def test_shop_socket_begins_with_what_is_undecided(
    layer, bob, duka, payment, charlie
):
    @sync_to_async
    def more():
        decided = PaymentFactory(order=OrderFactory(shop=duka))
        newest = PaymentFactory(order=OrderFactory(shop=duka))
        return decided, newest

    decided, newest = await more()
    await calls_back(decided, callbacks.failure(decided))

    async with opened(SHOP, bob) as socket:
        assert await socket.heard() == {
            "event": "shop.state",
            "undecided": [await state_of(newest), await state_of(payment)],
        }


async def test_shop_socket_of_a_quiet_shop(layer, bob):
    async with opened(SHOP, bob) as socket:
        assert await socket.heard() == {"event": "shop.state", "undecided": []}


async def test_events_of_a_prompt_that_is_paid(layer, mpesa, bob, duka):
    order = await sync_to_async(OrderFactory)(shop=duka, total=250)
    async with opened(SHOP, bob) as socket:
        await socket.heard()
        await posts(
            bob,
            "/api/payments/mpesa/initiate",
            {"orderId": str(order.pk), "phoneNumber": "0712345678"},
        )
        payment = await Payment.objects.aget()
        created, pending = await socket.heard(), await socket.heard()
        assert pending == {
            "event": "payment.pending",
            "payment": await state_of(payment),
        }
        assert created == {
            "event": "payment.created",
            "payment": pending["payment"]
            | {
                "status": "created", "checkoutRequestId": None,
                "message": created["payment"]["message"],
            },
        }  # fmt: skip

        async with opened(socket_of(payment), bob) as own:
            await own.heard()
            await sync_to_async(mpesa.pays)(Client(), payment)

            completed = {
                "event": "payment.completed",
                "payment": await state_of(payment),
            }
            assert completed["payment"]["orderStatus"] == "paid"
            assert completed["payment"]["mpesaReceiptNumber"]
            assert await socket.heard() == completed
            assert await own.heard() == completed


async def test_events_failed_cancelled_expired_updated(layer, bob, duka, monkeypatch):
    @sync_to_async
    def made(**fields):
        return PaymentFactory(order=OrderFactory(shop=duka), **fields)

    failed, uncertain = await made(), await made()
    cancelled = await made(asked_at=timezone.now())
    expired = await made(created_at=timezone.now() - timedelta(seconds=301))
    async with opened(SHOP, bob) as socket:
        await socket.heard()

        await calls_back(failed, callbacks.failure(failed, 2001))
        assert await socket.heard() == {
            "event": "payment.failed", "payment": await state_of(failed),
        }  # fmt: skip
        await posts(bob, f"/api/payments/mpesa/cancel/{cancelled.pk}")
        assert await socket.heard() == {
            "event": "payment.cancelled", "payment": await state_of(cancelled),
        }  # fmt: skip
        await sync_to_async(questions.expire_if_over)(expired.pk)
        assert await socket.heard() == {
            "event": "payment.expired", "payment": await state_of(expired),
        }  # fmt: skip
        await calls_back(uncertain, callbacks.failure(uncertain, 1037))
        assert await socket.heard() == {
            "event": "payment.updated", "payment": await state_of(uncertain),
        }  # fmt: skip
        assert (await state_of(uncertain))["resultCode"] == "1037"


async def test_event_of_cash(layer, bob, duka):
    order = await sync_to_async(OrderFactory)(shop=duka, total=250)
    async with opened(SHOP, bob) as socket:
        await socket.heard()

        await posts(bob, f"/api/orders/{order.pk}/pay-cash", {"amount": 250})

        payment = await Payment.objects.aget()
        assert await socket.heard() == {
            "event": "payment.completed", "payment": await state_of(payment),
        }  # fmt: skip


async def test_nothing_is_heard_of_other_shops_and_of_other_payments(
    layer, bob, duka, payment, charlie
):
    other = await sync_to_async(lambda: PaymentFactory(order=OrderFactory(shop=duka)))()
    async with (
        opened(SHOP, charlie) as theirs,
        opened(socket_of(other), bob) as another,
    ):
        await theirs.heard()
        await another.heard()

        await calls_back(payment, callbacks.success(payment))

        assert await theirs.is_silent()
        assert await another.is_silent()


async def test_a_socket_says_only_what_is_new_and_takes_no_orders(layer, bob, payment):
    async with opened(socket_of(payment), bob) as socket:
        await socket.heard()

        await socket.send_to(text_data='{"type": "payment.message"}')
        await socket.send_to(text_data="no JSON {")
        await socket.send_to(bytes_data=b"\x00\xff")

        assert await socket.is_silent()
        await calls_back(payment, callbacks.success(payment))
        assert (await socket.heard())["event"] == "payment.completed"


# --- Who may listen --------------------------------------------------------------


async def test_everybody_of_the_shop_may_listen(
    layer, payment, alice, mary, bob, audrey
):
    for person in (alice, mary, bob, audrey):
        async with opened(SHOP, person) as socket:
            assert (await socket.heard())["event"] == "shop.state"
        async with opened(socket_of(payment), person) as socket:
            assert (await socket.heard())["event"] == "payment.state"


async def test_4401_without_credentials(layer, payment):
    assert await refused_with(SHOP) == 4401
    assert await refused_with(socket_of(payment)) == 4401
    assert await refused_with(f"{SHOP}?ticket=x") == 4401


async def test_4401_for_a_cookie_brought_by_a_foreign_page(layer, bob, payment):
    assert await refused_with(SHOP, bob, FOREIGN) == 4401
    assert await refused_with(socket_of(payment), bob, b"null") == 4401


async def test_origin_of_our_own_or_none_is_good(layer, bob, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://duka.example.co.ke"]
    for origin in (OWN, None, b"https://duka.example.co.ke"):
        async with opened(SHOP, bob, origin) as socket:
            assert (await socket.heard())["event"] == "shop.state"


async def test_ticket_opens_one_socket_from_anywhere(layer, bob, duka):
    answer = await posts(bob, "/api/auth/ws-ticket")
    path = f"{SHOP}?ticket={answer.json()['ticket']}&shop={duka.pk}"

    async with opened(path, origin=FOREIGN) as socket:
        assert (await socket.heard())["event"] == "shop.state"

    assert await refused_with(path, origin=FOREIGN) == 4401
    # A spent ticket is not mended by a good cookie.
    assert await refused_with(path, bob) == 4401


async def test_ticket_lives_30_s(layer, bob):
    async def issued(seconds_ago):
        with time_machine.travel(timezone.now() - timedelta(seconds=seconds_ago)):
            return await sync_to_async(tickets.issue)(bob.user)

    async with opened(f"{SHOP}?ticket={await issued(28)}") as socket:
        assert (await socket.heard())["event"] == "shop.state"
    assert await refused_with(f"{SHOP}?ticket={await issued(32)}") == 4401


async def test_4401_for_the_ticket_of_somebody_who_left(layer, bob):
    ticket = await sync_to_async(tickets.issue)(bob.user)
    bob.user.is_active = False
    await bob.user.asave()

    assert await refused_with(f"{SHOP}?ticket={ticket}") == 4401


async def test_4403_without_any_shop(layer, stranger):
    assert await refused_with(SHOP, stranger) == 4403


async def test_4404_for_what_is_another_shops_or_not_there(
    layer, bob, duka, charlie, stranger, payment
):
    for path, person in (
        (f"{SHOP}?shop={charlie.shop.pk}", bob),
        (f"{SHOP}?shop=999999", bob),
        (f"{SHOP}?shop=x", bob),
        (socket_of(charlie.payment), bob),
        (socket_of(payment), charlie),
        (socket_of(payment), stranger),
        (f"/ws/payments/{uuid4()}/", bob),
        ("/ws/payments/1/", bob),
        ("/ws/payments/", bob),
        ("/ws/", bob),
        ("/ws/shop", bob),
    ):
        assert await refused_with(path, person) == 4404, path


async def test_person_of_two_shops_names_one(layer, bob, duka):
    other = await sync_to_async(ShopFactory)()
    await sync_to_async(MembershipFactory)(user=bob.user, shop=other, role=Role.OWNER)

    assert await refused_with(SHOP, bob) == 4404
    for shop in (duka, other):
        async with opened(f"{SHOP}?shop={shop.pk}", bob) as socket:
            assert (await socket.heard())["event"] == "shop.state"


@pytest.fixture
def by_pin(mary, bob, duka, password):
    """Bob with his PIN on the till that Mary opened; he owns another shop too."""
    pins.set_pin(tenancy.access(bob.user), "4071")
    member = Membership.objects.get(user=bob.user, shop=duka)
    bob.client = Client()
    bob.client.post("/login", {"username": "mary", "password": password})
    bob.client.post("/till/switch", {"person": member.pk, "pin": "4071"})
    bob.other = ShopFactory()
    MembershipFactory(user=bob.user, shop=bob.other, role=Role.OWNER)
    return bob


@pytest.mark.parametrize("is_by_ticket", [False, True], ids=["cookie", "ticket"])
async def test_who_came_by_pin_hears_the_one_shop(layer, by_pin, duka, is_by_ticket):
    theirs = await sync_to_async(
        lambda: PaymentFactory(order=OrderFactory(shop=by_pin.other))
    )()

    async def path(address):
        if not is_by_ticket:
            return address
        ticket = (await posts(by_pin, "/api/auth/ws-ticket")).json()["ticket"]
        return f"{address}{'&' if '?' in address else '?'}ticket={ticket}"

    person = None if is_by_ticket else by_pin
    for address in (f"{SHOP}?shop={by_pin.other.pk}", socket_of(theirs)):
        assert await refused_with(await path(address), person) == 4404, address
    for address in (SHOP, f"{SHOP}?shop={duka.pk}"):
        async with opened(await path(address), person) as socket:
            assert (await socket.heard())["event"] == "shop.state"


async def test_who_came_by_pin_goes_on_hearing_the_one_shop(layer, by_pin, settings):
    settings.SOCKET_LOOK_S = settings.MEMBERSHIP_RECHECK_S = 0.05
    async with opened(SHOP, by_pin) as socket:
        await socket.heard()

        assert await socket.is_silent()


async def test_4403_until_the_second_step_is_set_up(layer, alice, payment, settings):
    @sync_to_async
    def must_set_up(is_so):
        session = alice.client.session
        session[sessions.MUST_SET_UP] = is_so
        session.save()

    settings.SOCKET_LOOK_S = settings.MEMBERSHIP_RECHECK_S = 0.05
    async with opened(SHOP, alice) as socket:
        await socket.heard()
        await must_set_up(True)

        assert await socket.closing_code() == 4403
    assert await refused_with(SHOP, alice) == 4403
    assert await refused_with(socket_of(payment), alice) == 4403
    await must_set_up(False)
    async with opened(SHOP, alice) as socket:
        assert (await socket.heard())["event"] == "shop.state"


async def test_operator_may_look_at_a_shop(layer, operator, duka):
    async with opened(f"{SHOP}?shop={duka.pk}", operator) as socket:
        assert (await socket.heard())["event"] == "shop.state"


@pytest.mark.parametrize("how", ["membership", "person", "shop"])
async def test_4403_once_the_membership_ends(layer, bob, duka, payment, settings, how):
    settings.SOCKET_LOOK_S = settings.MEMBERSHIP_RECHECK_S = 0.05
    async with opened(SHOP, bob) as shop, opened(socket_of(payment), bob) as own:
        await shop.heard()
        await own.heard()
        await asyncio.sleep(0.15)

        if how == "membership":
            await bob.user.memberships.aupdate(is_active=False)
        elif how == "person":
            await type(bob.user).objects.aupdate(is_active=False)
        else:
            await type(duka).objects.aupdate(is_active=False)

        assert await shop.closing_code() == 4403
        assert await own.closing_code() == 4403


async def test_4403_at_once_for_whose_sessions_are_ended(layer, bob, alice, payment):
    async with (
        opened(SHOP, bob) as shop_socket,
        opened(socket_of(payment), bob) as payment_socket,
        opened(SHOP, alice) as hers,
        opened(f"{SHOP}?ticket={tickets.issue(bob.user)}") as programs,
    ):
        for socket in (shop_socket, payment_socket, hers, programs):
            await socket.heard()

        await sync_to_async(sessions.end_all)(bob.user)

        assert await shop_socket.closing_code() == 4403
        assert await payment_socket.closing_code() == 4403
        # Who else listens goes on, and so does bob's program, which has no session.
        assert [await hers.is_silent(), await programs.is_silent()] == [True, True]


async def test_4403_within_a_minute_of_signing_out(layer, bob, settings):
    settings.MEMBERSHIP_RECHECK_S = settings.SOCKET_LOOK_S = 0.05
    async with opened(SHOP, bob) as socket:
        await socket.heard()
        await sync_to_async(bob.client.post)("/logout")

        assert await socket.closing_code() == 4403


async def test_membership_is_checked_again_each_minute(settings):
    assert (settings.MEMBERSHIP_RECHECK_S, settings.SOCKET_LOOK_S) == (60, 3)


# --- Where the layer does not cross processes ------------------------------------


@pytest.fixture
def another_process(settings, monkeypatch):
    """What happens is done by another process, whose messages do not reach us."""
    settings.CHANNEL_LAYER_CROSSES_PROCESSES = False
    settings.SOCKET_LOOK_S = 0.1
    monkeypatch.setattr(realtime, "publish", lambda *given: None)


async def test_socket_looks_at_the_database_itself(
    layer, bob, duka, payment, another_process
):
    async with opened(SHOP, bob) as shop, opened(socket_of(payment), bob) as own:
        await shop.heard()
        await own.heard()

        await calls_back(payment, callbacks.failure(payment, 1037))
        updated = {"event": "payment.updated", "payment": await state_of(payment)}
        assert await own.heard() == updated
        assert await shop.heard() == updated

        await calls_back(payment, callbacks.success(payment))
        completed = {"event": "payment.completed", "payment": await state_of(payment)}
        assert await own.heard() == completed
        assert await shop.heard() == completed

        new = await sync_to_async(
            lambda: PaymentFactory(order=OrderFactory(shop=duka))
        )()
        assert await shop.heard() == {
            "event": "payment.pending", "payment": await state_of(new),
        }  # fmt: skip
        assert await own.is_silent()


async def test_socket_does_not_look_where_the_layer_crosses(
    layer, bob, payment, another_process, settings
):
    settings.CHANNEL_LAYER_CROSSES_PROCESSES = True
    async with opened(socket_of(payment), bob) as socket:
        await socket.heard()

        await calls_back(payment, callbacks.success(payment))

        assert await socket.is_silent()


@pytest.mark.sqlite  # about the layer in this process, which counts its members
async def test_socket_joins_its_group_again_each_round(
    layer, bob, duka, payment, settings
):
    settings.SOCKET_LOOK_S = settings.MEMBERSHIP_RECHECK_S = 0.05
    group = realtime.shop_group(duka.pk)
    async with opened(SHOP, bob) as shop:
        await shop.heard()
        (member,) = layer.groups[group]
        layer.groups.clear()

        async with asyncio.timeout(LIMIT_S):
            while group not in layer.groups:
                await asyncio.sleep(0.02)

        assert list(layer.groups[group]) == [member]


async def test_socket_tells_what_it_missed_when_it_joins_again(
    layer, bob, duka, payment, settings, monkeypatch
):
    settings.CHANNEL_LAYER_CROSSES_PROCESSES = True
    settings.SOCKET_LOOK_S = settings.MEMBERSHIP_RECHECK_S = 0.05
    monkeypatch.setattr(realtime, "publish", lambda *given: None)
    async with opened(SHOP, bob) as shop:
        await shop.heard()

        await calls_back(payment, callbacks.failure(payment, 1032))

        heard = await shop.heard()
        assert heard == {"event": "payment.failed", "payment": await state_of(payment)}


async def test_shop_socket_forgets_what_was_decided_a_round_ago():
    socket = consumers.ShopSocket()
    socket.seen = {"old": {"undecided": False}, "open": {"undecided": True}}

    socket.forget_settled()
    assert set(socket.seen) == {"old", "open"}
    socket.seen["new"] = {"undecided": False}
    socket.forget_settled()

    assert set(socket.seen) == {"new", "open"}
