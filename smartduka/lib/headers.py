"""Security headers on every answer: pages, files, redirects and errors alike.

Django's own middlewares set most of them, but not on what is answered before their turn
comes: static files, redirects to HTTPS, and requests for a foreign host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from csp.constants import HEADER as CONTENT_SECURITY_POLICY
from csp.utils import build_policy
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase


# Nothing of the device is used, and no page of anybody's in a frame may ask for it.
PERMISSIONS = ("camera", "geolocation", "microphone", "payment", "usb")
# Django's pages about an error while DEBUG have styles inside; so has django-csp's rule.
DEBUG_PAGES = frozenset({404, 500})


class HeadersMiddleware:
    """Adds what an answer lacks. Outermost, so that no answer goes past it."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        for name, value in _wanted(request, response):
            response.headers.setdefault(name, value)
        return response


def _wanted(
    request: HttpRequest, response: HttpResponseBase
) -> Iterator[tuple[str, str]]:
    yield "X-Content-Type-Options", "nosniff"
    yield "X-Frame-Options", settings.X_FRAME_OPTIONS
    yield "Referrer-Policy", settings.SECURE_REFERRER_POLICY
    yield "Cross-Origin-Opener-Policy", settings.SECURE_CROSS_ORIGIN_OPENER_POLICY
    yield "Cross-Origin-Resource-Policy", "same-origin"
    yield "Permissions-Policy", ", ".join(f"{name}=()" for name in PERMISSIONS)
    if not (settings.DEBUG and response.status_code in DEBUG_PAGES):
        yield CONTENT_SECURITY_POLICY, build_policy()
    if settings.SECURE_HSTS_SECONDS and request.is_secure():
        yield "Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}"
