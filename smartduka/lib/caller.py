"""Who is behind what happens now: the address and the road of the request.

Domain functions are called by pages, the API and the worker alike and take no request.
What limits and the audit log need of it stands here while it is served; outside a
request there is no caller.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponseBase

from smartduka.lib import net


ADMIN, API, TILL, PAGE = "admin", "api", "till", "page"
ROADS = (ADMIN, API, TILL)


@dataclass(slots=True)
class Caller:
    """An address ("" when it is not known), and by which door it came.

    `shop_id` is the shop for which the person acts, once that is known.
    """

    address: str
    road: str
    shop_id: int | None = None


_current: ContextVar[Caller | None] = ContextVar("caller", default=None)


def current() -> Caller | None:
    """Return the caller of the request that is served; None outside of one."""
    return _current.get()


def address() -> str:
    """Return the caller's address, "" when there is none or it is not known."""
    found = _current.get()
    return found.address if found is not None else ""


def acts_for(shop_id: int) -> None:
    """Keep for which shop the person acts, if a request is served."""
    found = _current.get()
    if found is not None:
        found.shop_id = shop_id


def of_request(request: HttpRequest) -> Caller:
    """Return who is behind a request."""
    first = request.path.lstrip("/").partition("/")[0]
    return Caller(net.client_address(request), first if first in ROADS else PAGE)


class CallerMiddleware:
    """Makes the caller known while a request is served."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        token = _current.set(of_request(request))
        try:
            return self.get_response(request)
        finally:
            _current.reset(token)
