"""The till changes hands: another cashier of the shop takes over with a PIN."""

from __future__ import annotations

from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from shops import lockout, pins, sessions
from shops.pages import SESSION_SHOP, is_part, shop_page
from shops.rights import Right
from shops.sign_in import WrongPassword
from shops.tenancy import Access
from smartduka.lib.errors import DomainError
from smartduka.lib.net import client_address


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "POST"])
@shop_page
def switch(request: HttpRequest, access: Access) -> HttpResponse:
    """Show who may take over, and let them with their PIN."""
    access.require(Right.SELL)
    error: DomainError | None = None
    if request.method == "POST":
        try:
            sessions.require_open_till(request, access)
            member = pins.check(
                access, request.POST.get("person", ""), request.POST.get("pin", "")
            )
        except DomainError as refused:
            error = refused
        else:
            sessions.hand_over(request, member)
            request.session[SESSION_SHOP] = str(access.shop.pk)
            return _on_the_till(request)
    people = [one for one in pins.people_of(access) if one.user_id != access.user.pk]
    chosen = request.POST.get("person") or (str(people[0].pk) if people else "")
    context = {"access": access, "people": people, "error": error, "chosen": chosen}
    # htmx swaps 2xx to 4xx; what was refused is written down as such.
    status = error.http_status if error else 200
    return render(request, "orders/_switch.html", context, status=status)


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "POST"])
@shop_page
def own_pin(request: HttpRequest, access: Access) -> HttpResponse:
    """Let somebody choose their PIN, with their password."""
    access.require(Right.SELL)
    error: DomainError | None = None
    if request.method == "POST":
        try:
            _require_password(request, access)
            pins.set_pin(access, request.POST.get("pin", ""))
        except DomainError as refused:
            error = refused
        else:
            return redirect("till:till")
    status = error.http_status if error else 200
    context = {"access": access, "error": error}
    return render(request, "smartduka/pin.html", context, status=status)


def _on_the_till(request: HttpRequest) -> HttpResponse:
    """Load the whole page anew for who took over."""
    if is_part(request):
        return HttpResponse(headers={"HX-Redirect": reverse("till:till")})
    return redirect("till:till")


def _require_password(request: HttpRequest, access: Access) -> None:
    name = access.user.get_username()
    with lockout.counted(name, client_address(request), WrongPassword):
        given = request.POST.get("password", "")
        if authenticate(request, username=name, password=given) is None:
            raise WrongPassword
