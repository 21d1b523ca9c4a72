"""Who is really calling, and over what, when proxies of ours stand between.

TRUSTED_PROXY_COUNT says how many. Each of them appends the address it was called
from to X-Forwarded-For, so the entry that many places from the right was written by
the outermost proxy of ours; everything further left was written by anyone. With 0
the header is not looked at.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase


TRUSTED_SCHEME = "smartduka.scheme"


def client_address(request: HttpRequest | Mapping[str, Any]) -> str:
    """Return the address of the caller for a request or a Channels scope.

    "" when it is not known (a Unix socket). A header that has too few entries, or
    one that is no address, is not believed: the peer's own address is returned.
    """
    if isinstance(request, HttpRequest):
        peer = request.META.get("REMOTE_ADDR", "") or ""
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    else:
        peer = (request.get("client") or ("",))[0] or ""
        forwarded = scope_header(request, b"x-forwarded-for")
    hop = trusted_hop(forwarded, settings.TRUSTED_PROXY_COUNT)
    return plain_address(hop) or plain_address(peer)


def is_listed(address: str, networks: Sequence[str]) -> bool:
    """Say whether the address lies in one of the addresses or networks."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in ipaddress.ip_network(network) for network in networks)


def trusted_hop(header: str, proxies: int) -> str:
    """Return the entry that the outermost trusted proxy wrote, or ""."""
    hops = [hop.strip() for hop in header.split(",")] if header else []
    return hops[-proxies] if 0 < proxies <= len(hops) else ""


def plain_address(text: str) -> str:
    """Return the IP address without port, brackets and IPv4 mapping, or ""."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def scope_header(scope: Mapping[str, Any], name: bytes) -> str:
    """Return a header of a Channels scope, its repetitions joined by commas."""
    values = [value for key, value in scope.get("headers", ()) if key.lower() == name]
    return b",".join(values).decode("latin-1")


class ForwardedMiddleware:
    """Takes the scheme from our own proxies, and from nobody else.

    SECURE_PROXY_SSL_HEADER points at the META key set here. A client cannot set it:
    what a client sends arrives as HTTP_....
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        proxies = settings.TRUSTED_PROXY_COUNT
        if proxies and (header := request.META.get("HTTP_X_FORWARDED_PROTO")):
            schemes = [scheme.strip().lower() for scheme in header.split(",")]
            # Proxies overwrite this header more often than they append to it.
            request.META[TRUSTED_SCHEME] = schemes[-min(proxies, len(schemes))]
        return self.get_response(request)


class ForeignCookieGuard:
    """Hides cookies from a WebSocket that a foreign page opened.

    A browser sends our session cookie along with any page's handshake, and CSRF
    tokens do not exist there; the Origin header says whose page it is. Programs that
    send no Origin hold their cookie honestly, and a ticket works from anywhere.
    """

    def __init__(self, application: Callable[..., Awaitable[None]]) -> None:
        self.application = application

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[..., Awaitable[Any]],
        send: Callable[..., Awaitable[None]],
    ) -> None:
        origin = scope_header(scope, b"origin")
        if origin and not is_own_origin(origin, scope_header(scope, b"host")):
            kept = [(k, v) for k, v in scope["headers"] if k.lower() != b"cookie"]
            scope = scope | {"headers": kept}
        await self.application(scope, receive, send)


def is_own_origin(origin: str, host: str) -> bool:
    """Say whether a page of this origin is ours: same host and port, or trusted."""
    if origin.lower() in (trusted.lower() for trusted in settings.CSRF_TRUSTED_ORIGINS):
        return True
    parts = urlsplit(origin)
    return parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower()
