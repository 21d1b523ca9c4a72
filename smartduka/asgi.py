"""HTTP and WebSockets on one port: `daphne smartduka.asgi:application`."""

from __future__ import annotations

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smartduka.settings")
http = get_asgi_application()

# Below, because these need the applications that the line above has loaded.
from smartduka.lib.net import ForeignCookieGuard  # noqa: E402 -- see above
from smartduka.lib.redaction import redact_access_log  # noqa: E402 -- see above
from smartduka.routing import websocket_urlpatterns  # noqa: E402 -- see above


redact_access_log()

application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": ForeignCookieGuard(
            AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
        ),
    }
)
