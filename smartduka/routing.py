"""WebSocket addresses: the one place that joins apps for sockets."""

from __future__ import annotations

from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import path, re_path

from payments import consumers


class Nowhere(AsyncWebsocketConsumer):  # type: ignore[misc]  # untyped base
    """An address that does not exist, or an id that is none."""

    async def connect(self) -> None:
        """Say so, as for an unknown payment."""
        await self.accept()
        await self.close(consumers.UNKNOWN)


websocket_urlpatterns = [
    path("ws/payments/<uuid:payment_id>/", consumers.PaymentSocket.as_asgi()),
    path("ws/shop/", consumers.ShopSocket.as_asgi()),
    re_path(r"", Nowhere.as_asgi()),
]
