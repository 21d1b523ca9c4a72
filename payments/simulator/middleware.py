"""Headers of pages, the journal, and a guard against other people's pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse, JsonResponse

from payments.simulator.answers import HANG_UP
from payments.simulator.world import world


CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
DARAJA_PATHS = ("/oauth/", "/mpesa/", "/pulltransactions/")

Handler = Callable[[HttpRequest], HttpResponse]


class PageHeaders:
    """Keeps pages to their own scripts, and scripts of other sites out."""

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method == "POST" and _is_foreign(request):
            return JsonResponse({"error": "another site's page asked"}, status=403)
        response = self._get_response(request)
        if not request.path.startswith(DARAJA_PATHS):
            response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
            response["X-Content-Type-Options"] = "nosniff"
            response["Referrer-Policy"] = "no-referrer"
        return response


class Journaling:
    """Writes what Daraja was asked and answered into the journal."""

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(DARAJA_PATHS):
            return self._get_response(request)
        started = time.monotonic()
        request_body = request.body
        response = self._get_response(request)
        cut = HANG_UP in response
        world.journal.record(
            direction="in",
            method=request.method or "",
            target=request.get_full_path(),
            request_body=request_body,
            status=0 if cut else response.status_code,
            answer_body=response.content,
            took_s=time.monotonic() - started,
            note=request.META.get("simulator.note", ""),
        )
        return response


def _is_foreign(request: HttpRequest) -> bool:
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != request.get_host()
