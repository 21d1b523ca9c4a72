"""Signing in and out, and the pages that say what went wrong."""

from __future__ import annotations

from django.contrib.auth import views as auth_views
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext, gettext_noop
from django.views.decorators.csrf import requires_csrf_token
from django.views.defaults import ERROR_500_TEMPLATE_NAME

from shops import sign_in
from shops.pages import is_part, wants_json
from smartduka.lib import api


NOTHING_HERE = gettext_noop("There is nothing here.")
TOO_OLD = gettext_noop("This page was open for too long. Load it again.")

login = sign_in.SignIn.as_view()
logout = auth_views.LogoutView.as_view(next_page="login")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400 for what was never a request of ours."""
    return _say(request, 400, "INVALID_REQUEST", api.MALFORMED)


@requires_csrf_token
def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403."""
    return _say(request, 403, "FORBIDDEN", api.FORBIDDEN)


@requires_csrf_token
def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404."""
    return _say(request, 404, "NOT_FOUND", NOTHING_HERE)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form that is too old or came from elsewhere."""
    return _say(request, 403, "FORBIDDEN", TOO_OLD)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500 without the database, the session or anything else that may be down."""
    if _is_api(request):
        body = api.error_body("UNAVAILABLE", api.UNAVAILABLE)
        return JsonResponse(body, status=500)
    if is_part(request):
        return HttpResponse(render_to_string("smartduka/_refusal.html"), status=500)
    return HttpResponse(render_to_string(ERROR_500_TEMPLATE_NAME), status=500)


def _say(request: HttpRequest, status: int, code: str, message: str) -> HttpResponse:
    if _is_api(request):
        return JsonResponse(api.error_body(code, message), status=status)
    if wants_json(request):
        return JsonResponse(api.error_body(code, gettext(message)), status=status)
    template = "smartduka/_refusal.html" if is_part(request) else "smartduka/error.html"
    context = {"code": status, "message": gettext(message)}
    return render(request, template, context, status=status)


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith(("/api/", "/hooks/"))
