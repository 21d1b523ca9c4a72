"""The door of every page of a shop: who is it, and for which shop do they act?"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse

from shops import tenancy
from shops.tenancy import Access
from shops.words import sentence
from smartduka.lib.api import error_body
from smartduka.lib.errors import DomainError, Forbidden, NotFound


SESSION_SHOP = "shop_id"
P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, Access, P], HttpResponse]


def shop_page(view: Page[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Open a page only to a signed-in member of the shop they chose.

    The view gets the Access as its second argument. A stranger is sent to sign in,
    a person of several shops to choose one. Forbidden and NotFound that the view
    lets out become a 403 or 404 page in our own words. What a page asks for itself
    names that page's shop in X-Shop: another tab may have chosen another one since.
    """

    @functools.wraps(view)
    def guarded(
        request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponse:
        if not request.user.is_authenticated:
            return go_to(request, _with_next(resolve_url("login"), request))
        named = request.headers.get("X-Shop")
        try:
            access = tenancy.access(
                request.user, named or request.session.get(SESSION_SHOP)
            )
        except (tenancy.ShopRequired, NotFound) as error:
            if named:
                return refusal(request, error)
            request.session.pop(SESSION_SHOP, None)
            return go_to(request, _with_next(reverse("till:shops"), request))
        except tenancy.NotAMember as error:
            return refusal(request, error)
        try:
            return view(request, access, *args, **kwargs)
        except (Forbidden, NotFound) as error:
            return refusal(request, error)

    return guarded


def is_part(request: HttpRequest) -> bool:
    """Whether a script of ours asks, and so wants a fragment or JSON, not a page."""
    return "HX-Request" in request.headers or wants_json(request)


def wants_json(request: HttpRequest) -> bool:
    """Whether a script of ours asks for facts, not for a fragment."""
    return request.headers.get("Accept") == "application/json"


def go_to(request: HttpRequest, url: str) -> HttpResponse:
    """Send the whole page elsewhere, also when only a part of it was asked for."""
    if is_part(request):
        return HttpResponse(status=401, headers={"HX-Redirect": url})
    return redirect(url)


def refusal(request: HttpRequest, error: DomainError) -> HttpResponse:
    """Say no in our own look: a page, a fragment for a part of one, or JSON."""
    if wants_json(request):
        body = error_body(error.code, sentence(error), error.details)
        return JsonResponse(body, status=error.http_status)
    template = "smartduka/_refusal.html" if is_part(request) else "smartduka/error.html"
    context = {"code": error.http_status, "error": error}
    return render(request, template, context, status=error.http_status)


def _with_next(url: str, request: HttpRequest) -> str:
    here = reverse("till:till") if is_part(request) else request.get_full_path()
    return f"{url}?{urlencode({'next': here})}"
