"""The audit log: every act of a signed-in person, by admin, API and till.

Written when the answer is there, in a statement of its own: an act that was carried out
is in the events of its payment, sale or refund whatever happens here. What only looks
(GET) is no act, nor is a form of the admin that was shown again with its mistakes.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.admin.sites import all_sites
from django.core.exceptions import ValidationError
from django.db import DatabaseError, InterfaceError, models, transaction
from django.http import HttpRequest, HttpResponseBase
from django.urls import URLResolver, get_resolver
from django.utils.text import capfirst

from payments.models import Act
from shops import tenancy
from shops.books import reach_of
from smartduka.lib import caller, clock
from smartduka.lib.text import clean


logger = logging.getLogger(__name__)

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# What a page or program does by itself.
NO_ACTS = frozenset({"api/auth/ws-ticket", "till/language", "api/auth/token/refresh"})
# What the roads without a book call their acts.
WORDS = {
    "POST login": "Signed in",
    "POST login/code": "Signed in with the second step",
    "POST second-step": "Set up the second step",
    "POST join/<str:token>": "Accepted an invitation",
    "POST logout": "Signed out",
    "POST admin/logout/": "Signed out",
    "POST admin/password_change/": "Changed the password",
    "POST api/products": "Added a product",
    "PATCH api/products/<str:product_id>": "Changed a product",
    "POST api/orders": "Made a sale",
    "POST api/orders/<str:order_id>/cancel": "Cancelled a sale",
    "POST api/orders/<str:order_id>/pay-cash": "Took cash",
    "POST api/payments/mpesa/initiate": "Sent a prompt",
    "POST api/payments/mpesa/query/<str:payment_id>": "Asked M-Pesa",
    "POST api/payments/mpesa/cancel/<str:payment_id>": "Stopped waiting",
    "POST api/payments/mpesa/retry/<str:payment_id>": "Sent a prompt again",
    "PUT api/payments/mpesa/config": "Changed the M-Pesa settings",
    "POST api/payments/mpesa/config/verify": "Tested the M-Pesa keys",
    "POST api/payments/mpesa/config/test-payment": "Tried a payment of KES 1",
    "POST till/shops": "Chose a shop",
    "POST till/switch": "Took over the till with a PIN",
    "POST till/pin": "Chose a PIN",
    "POST till/sale": "Saved a sale",
    "POST till/pay/<uuid:order_id>/mpesa": "Sent a prompt",
    "POST till/pay/<uuid:order_id>/cash": "Took cash",
    "POST till/pay/<uuid:order_id>/offer": "Used free money for a sale",
    "POST till/pay/<uuid:order_id>/code": "Typed an M-Pesa code",
    "POST till/pay/<uuid:order_id>/code/use": "Used an M-Pesa code",
    "POST till/pay/code/<uuid:claim_id>/withdraw": "Took back an M-Pesa code",
    "POST till/pay/<uuid:order_id>/cancel": "Cancelled a sale",
    "POST till/pay/payment/<uuid:payment_id>/retry": "Sent a prompt again",
    "POST till/pay/payment/<uuid:payment_id>/resend": "Sent a prompt again",
    "POST till/pay/payment/<uuid:payment_id>/stop": "Stopped waiting",
    "POST till/pay/sort/pay": "Used free money for a sale",
    "POST till/pay/sort/keep": "Kept free money as credit",
    "POST till/pay/sort/back": "Gave free money back",
}
# What the ids in addresses are of.
ABOUT = {
    "order_id": "orders.Order",
    "payment_id": "payments.Payment",
    "product_id": "shops.Product",
    "claim_id": "payments.CodeClaim",
    "collection_id": "payments.Collection",
    "account_id": "payments.MpesaAccount",
    "import_id": "payments.StatementImport",
}
PAGES = {"change": "changed", "add": "added", "delete": "deleted", "": "action"}
LONGEST_DETAILS = 300
# Refused before anybody looked whose row it is: what was guessed is not repeated.
BEFORE_THE_ROW = frozenset({400, 401, 403, 404, 405})


class ActsMiddleware:
    """Writes down what a signed-in person asked for, when it was answered."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method in SAFE:
            return self.get_response(request)
        before, began = request.user, clock.now()
        # Read now: signing out forgets it.
        is_known = before.is_authenticated
        response = self.get_response(request)
        actor = request.user if request.user.is_authenticated else before
        if is_known or actor.is_authenticated:
            try:
                with transaction.atomic():
                    record(request, response.status_code, actor, began)
            except (DatabaseError, InterfaceError):
                logger.exception("an act could not be written down")
        return response


def record(request: HttpRequest, status: int, actor: Any, began: Any) -> Act | None:
    """Write an act down; None for what is none. Two statements, in the admin a few."""
    match, by = request.resolver_match, caller.current()
    if match is None or by is None or match.route in NO_ACTS:
        return None
    is_admin = by.road == caller.ADMIN
    if is_admin and status == 200:
        return None
    what = f"{request.method} {plain(match.route)}"
    about, about_id = _about(match.kwargs)
    details = ""
    shop_id = by.shop_id
    if is_admin:
        if action := request.POST.get("action", ""):
            what = f"{what} {action}"
        about, about_id, details, shop_id = _in_admin(request, actor, began)
    elif status in BEFORE_THE_ROW:
        about, about_id = "", ""
    if shop_id is None:
        shop_id = _only_shop(actor)
    return Act.objects.create(
        at=clock.now(),
        shop_id=shop_id,
        actor=actor,
        road=by.road,
        address=by.address or None,
        what=_text(what, 150),
        about=about[:60],
        about_id=_text(about_id, 64),
        details=_text(details, LONGEST_DETAILS),
        status=status,
    )


def words_of(what: str) -> str:
    """Return what an act is called by people."""
    if what in WORDS:
        return WORDS[what]
    verb, _, rest = what.partition(" ")
    address, _, action = rest.partition(" ")
    parts = address.strip("/").split("/")
    if len(parts) < 3 or parts[0] != caller.ADMIN:
        return f"{verb} {address}"
    name = capfirst(_book_names().get(parts[2], parts[2]))
    page = "" if len(parts) == 3 or parts[-1].startswith("<") else parts[-1]
    done = action or PAGES.get(page, page)
    return f"{name}: {re.sub('[-_]', ' ', done)}"


def kinds_with(text: str) -> list[str]:
    """Return the acts (`what`) whose words contain a text."""
    text = text.lower()
    return [what for what in _kinds() if text in words_of(what).lower()]


def plain(route: str) -> str:
    """Return a route without the signs of a regular expression."""
    return re.sub(r"\^?\(\?P<(\w+)>[^)]*\)(/?)\$?", r"<\1>\2", route)


def _text(sent: str, length: int) -> str:
    """Cut what came from outside."""
    return clean(sent)[:length]


def _about(kwargs: dict[str, Any]) -> tuple[str, str]:
    for name, value in kwargs.items():
        if name in ABOUT:
            return ABOUT[name], str(value)
    return "", ""


def _in_admin(
    request: HttpRequest, actor: Any, began: Any
) -> tuple[str, str, str, int | None]:
    """The row that was acted on, what the book wrote about it, and its shop.

    The book's own entry knows best; without one (a refusal) the address does.
    """
    entry = (
        LogEntry.objects.filter(user=actor)
        .select_related("content_type")
        .order_by("-pk")
        .first()
    )
    # Compared here: the newest of a person is found by an index, "since" is not.
    is_of_now = entry is not None and entry.action_time >= began
    if entry is not None and is_of_now and entry.content_type is not None:
        model = entry.content_type.model_class()
        key, details = entry.object_id or "", str(entry.get_change_message())
    else:
        model, key, details = _model_of(request), _key_of(request), ""
    if model is None:
        return "", key, details, None
    shop_id, reach = _shop_of(model, key), reach_of(request)
    if not reach.is_operator and shop_id not in reach.roles:
        # A guessed row of another shop: nobody need hear which.
        return "", "", "", None
    return model._meta.label, key, details, shop_id


def _model_of(request: HttpRequest) -> type[models.Model] | None:
    match = request.resolver_match
    assert match is not None
    parts = match.route.split("/")
    for site in all_sites:
        for model in site._registry:
            if parts[1:3] == [model._meta.app_label, model._meta.model_name]:
                return model
    return None


def _key_of(request: HttpRequest) -> str:
    match = request.resolver_match
    assert match is not None
    if found := next(iter(match.kwargs.values()), None):
        return str(found)
    chosen = request.POST.getlist("_selected_action")
    return str(chosen[0]) if chosen else ""


def _shop_of(model: type[models.Model], key: str) -> int | None:
    book = next(
        (
            site.get_model_admin(model)
            for site in all_sites
            if site.is_registered(model)
        ),
        None,
    )
    shop_of = getattr(book, "shop_id_of", None)
    if shop_of is None or not key:
        return None
    try:
        row = model._default_manager.filter(pk=key).first()
    except (ValueError, OverflowError, ValidationError):
        return None
    found: int | None = shop_of(row)
    return found


def _only_shop(actor: Any) -> int | None:
    """The shop of a person who works in one alone."""
    found = list(tenancy.memberships(actor).values_list("shop_id", flat=True)[:2])
    return found[0] if len(found) == 1 else None


@functools.cache
def _book_names() -> dict[str, str]:
    return {
        str(model._meta.model_name): getattr(book, "name_of_row", "")
        for site in all_sites
        for model, book in site._registry.items()
        if getattr(book, "name_of_row", "")
    }


@functools.cache
def _kinds() -> tuple[str, ...]:
    """Every act that an address takes, and every action of a book."""
    found = {*WORDS}
    for route in _routes(get_resolver(), ""):
        found.add(f"POST {route}")
    for site in all_sites:
        for model, book in site._registry.items():
            page = f"admin/{model._meta.app_label}/{model._meta.model_name}/"
            for action in book.actions or ():
                found.add(f"POST {page} {getattr(action, '__name__', action)}")
    return tuple(sorted(found))


def _routes(resolver: Any, before: str) -> Iterator[str]:
    for one in resolver.url_patterns:
        path = before + plain(str(one.pattern))
        if isinstance(one, URLResolver):
            yield from _routes(one, path)
        elif path.startswith("admin/"):
            yield path
