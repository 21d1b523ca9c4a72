"""The pages of signing in: the password, then the code, and setting that up."""

from __future__ import annotations

from typing import Any

import segno
from django import forms
from django.conf import settings
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.crypto import constant_time_compare
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from shops import lockout, second_factor, sessions
from shops.words import sentence
from smartduka.lib import clock
from smartduka.lib.errors import DomainError
from smartduka.lib.net import client_address


HALF = "half_signed_in"
# Long enough to find the phone.
HALF_S = 300


class SignInForm(AuthenticationForm):
    """Name and password; too many wrong ones must wait."""

    locked: DomainError | None = None

    def clean(self) -> dict[str, Any]:
        """Check both. Raises ValidationError."""
        name = self.cleaned_data.get("username") or ""
        address = client_address(self.request) if self.request else ""
        try:
            with lockout.counted(name, address, forms.ValidationError):
                return super().clean()
        except lockout.LockedOut as locked:
            self.user_cache = None
            self.locked = locked
            raise forms.ValidationError(sentence(locked)) from locked


class SignIn(auth_views.LoginView):
    """The password. Who has a second step is asked for its code next."""

    template_name = "smartduka/login.html"
    redirect_authenticated_user = True
    authentication_form = SignInForm

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Sign in, or go on to the code."""
        user: Any = form.get_user()
        if not second_factor.is_on(user):
            sessions.begin(self.request, user)
            return redirect(self.get_success_url())
        self.request.session.cycle_key()
        self.request.session[HALF] = {
            "user": user.pk,
            "password": user.get_session_auth_hash(),
            "at": int(clock.now().timestamp()),
            "next": self.get_success_url(),
        }
        return redirect("sign_in_code")


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "POST"])
def code(request: HttpRequest) -> HttpResponse:
    """Ask for the code of the second step."""
    half: Any = request.session.get(HALF)
    user = _half_signed_in(half)
    if user is None:
        request.session.pop(HALF, None)
        return redirect("login")
    error = None
    if request.method == "POST":
        try:
            _accept(request, user, request.POST.get("code", ""))
        except DomainError as refused:
            error = refused
        else:
            request.session.pop(HALF)
            sessions.begin(request, user)
            return redirect(_safe(request, half["next"]))
    return render(
        request,
        "smartduka/code.html",
        {"error": error, "person": user.get_username()},
        status=error.http_status if error else 200,
    )


@sensitive_post_parameters()
@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def second_step(request: HttpRequest) -> HttpResponse:
    """Let a person set up, renew or turn off their own second step."""
    user, error, codes = request.user, None, None
    if request.method == "POST":
        act = request.POST.get("act", "")
        try:
            codes = ACTS[act](request) if act in ACTS else None
        except DomainError as refused:
            error = refused
        else:
            if codes is None:
                return redirect("second_step")
    waiting = second_factor.begun(user)
    address = second_factor.address_of(waiting) if waiting else ""
    context = {
        "error": error,
        "codes": codes,
        "is_on": second_factor.is_on(user),
        "is_required": second_factor.is_required(user),
        "left": second_factor.codes_left(user),
        "waiting": waiting,
        "secret": _in_groups(waiting.secret) if waiting else "",
        "picture": segno.make(address).svg_data_uri(scale=5, border=3) if address else "",
    }  # fmt: skip
    return render(
        request,
        "smartduka/second_step.html",
        context,
        status=error.http_status if error else 200,
    )


class WrongPassword(DomainError):
    """Not the person who signed in here."""

    message = "This is not your password."


def _begin(request: HttpRequest) -> None:
    """The password again: an open till is no proof of who stands before it."""
    user: Any = request.user
    name = user.get_username()
    with lockout.counted(name, client_address(request), WrongPassword):
        given = request.POST.get("password", "")
        if authenticate(request, username=name, password=given) is None:
            raise WrongPassword
    second_factor.begin(user)


def _confirm(request: HttpRequest) -> list[str]:
    with _counted(request, request.user):
        codes = second_factor.confirm(request.user, request.POST.get("code", ""))
    sessions.set_up(request)
    sessions.end_all(request.user, but=request.session.session_key)
    return codes


def _renew(request: HttpRequest) -> list[str]:
    with _counted(request, request.user):
        return second_factor.renew_codes(request.user, request.POST.get("code", ""))


def _turn_off(request: HttpRequest) -> None:
    with _counted(request, request.user):
        second_factor.turn_off(request.user, request.POST.get("code", ""))


def _move(request: HttpRequest) -> None:
    with _counted(request, request.user):
        second_factor.move(request.user, request.POST.get("code", ""))
    second_factor.begin(request.user)
    sessions.ask_to_set_up(request)


ACTS: dict[str, Any] = {
    "begin": _begin,
    "confirm": _confirm,
    "renew": _renew,
    "move": _move,
    "off": _turn_off,
}


def _accept(request: HttpRequest, user: Any, given: str) -> None:
    with _counted(request, user):
        second_factor.accept(user, given)


def _counted(request: HttpRequest, user: Any) -> Any:
    return lockout.counted(
        user.get_username(), client_address(request), second_factor.WrongCode,
        step="code",
    )  # fmt: skip


def _half_signed_in(half: Any) -> Any:
    """The person whose password was right a moment ago, and still is."""
    if half is None or clock.now().timestamp() - half["at"] > HALF_S:
        return None
    user = get_user_model().objects.filter(pk=half["user"], is_active=True).first()
    if user is None:
        return None
    same = constant_time_compare(user.get_session_auth_hash(), half["password"])
    return user if same else None


def _safe(request: HttpRequest, url: str) -> str:
    if url_has_allowed_host_and_scheme(url, allowed_hosts={request.get_host()}):
        return url
    return resolve_url(settings.LOGIN_REDIRECT_URL)


def _in_groups(secret: str) -> str:
    return " ".join(secret[n : n + 4] for n in range(0, len(secret), 4))
