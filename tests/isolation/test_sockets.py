"""Nobody listens at another shop, by any WebSocket address there is."""

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.urls import path

from payments import tickets
from payments.consumers import NOT_ALLOWED, UNKNOWN
from smartduka import routing
from smartduka.asgi import application
from tests.factories import OrderFactory
from tests.isolation import routes


LIMIT_S = 5

# How each socket is asked for what is Charlie's.
TABLE = {
    "ws/payments/<uuid:payment_id>/": lambda them: f"/ws/payments/{them.payment.pk}/",
    "ws/shop/": lambda them: f"/ws/shop/?shop={them.shop.pk}",
    "": lambda them: f"/ws/orders/{them.order.pk}/",
}


def unknown(patterns):
    return sorted(set(routes.socket_routes(patterns)) - set(TABLE))


def test_every_socket_is_walked():
    assert sorted(routes.socket_routes()) == sorted(TABLE)


def test_socket_that_nobody_said_how_to_walk_is_a_failure():
    made_up = path("ws/orders/<uuid:order_id>/", lambda scope: None)

    assert unknown([*routing.websocket_urlpatterns, made_up]) == [
        "ws/orders/<uuid:order_id>/"
    ]


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("pattern", TABLE)
@pytest.mark.parametrize("by_ticket", [False, True])
async def test_socket_of_another_shop_tells_nothing(alice, charlie, pattern, by_ticket):
    await sync_to_async(OrderFactory)(shop=alice.shop)
    address = TABLE[pattern](charlie)
    headers = [(b"host", b"testserver"), (b"origin", b"http://testserver")]
    if by_ticket:
        ticket = await sync_to_async(tickets.issue)(alice.user)
        address += ("&" if "?" in address else "?") + f"ticket={ticket}"
    else:
        cookie = alice.client.cookies["sessionid"].value
        headers.append((b"cookie", f"sessionid={cookie}".encode()))

    socket = WebsocketCommunicator(application, address, headers=headers)
    try:
        assert (await socket.connect(timeout=LIMIT_S))[0]
        said = await socket.receive_output(timeout=LIMIT_S)
    finally:
        await socket.disconnect(timeout=LIMIT_S)
        layer = get_channel_layer()
        for name in ("flush", "close"):
            if ending := getattr(layer, name, None):
                await ending()

    assert said["type"] == "websocket.close"
    assert said["code"] in (UNKNOWN, NOT_ALLOWED)
