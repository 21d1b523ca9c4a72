"""The page behind an invitation's link: choose a name and a password, or just join."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from shops import invitations, sessions
from shops.pages import SESSION_SHOP, refusal
from shops.words import sentence
from smartduka.lib.errors import DomainError, NotFound


class NewPersonForm(forms.Form):
    """The name and password that somebody new chooses."""

    username = forms.CharField(
        max_length=30, validators=[get_user_model().username_validator]
    )
    password = forms.CharField(max_length=128, strip=False)

    def clean(self) -> dict[str, Any]:
        """Refuse a password that is easy to guess."""
        cleaned = super().clean() or self.cleaned_data
        person = get_user_model()(username=cleaned.get("username", ""))
        if password := cleaned.get("password"):
            try:
                validate_password(password, person)
            except forms.ValidationError as weak:
                self.add_error("password", weak)
        return cleaned


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Show whose invitation it is, and take it."""
    try:
        invitation = invitations.of_token(token)
    except NotFound as gone:
        return refusal(request, gone)
    is_known = request.user.is_authenticated
    form = NewPersonForm(request.POST if request.method == "POST" else None)
    error: DomainError | None = None
    if request.method == "POST" and (is_known or form.is_valid()):
        try:
            if is_known:
                invitations.join(token, request.user)
                sessions.ask_to_set_up(request)
            else:
                sessions.begin(
                    request,
                    invitations.join_as_new(token, **form.cleaned_data),
                )
        except NotFound as spent:
            return refusal(request, spent)
        except DomainError as refused:
            error = refused
        else:
            request.session[SESSION_SHOP] = str(invitation.shop_id)
            return redirect("home")
    context = {
        "invitation": invitation,
        "role": ROLES[invitation.role],
        "form": form,
        "error": sentence(error) if error else "",
        "weak": [str(one) for one in form.errors.get("password", ())],
    }
    status = error.http_status if error else 400 if form.errors else 200
    return render(request, "smartduka/join.html", context, status=status)


# What a role is, to the person who gets it.
ROLES = {
    "owner": _("Owner: everything in this shop, staff and settings too."),
    "manager": _("Manager: sell, goods, money that waits, refunds."),
    "cashier": _("Cashier: sell and take payments."),
    "auditor": _("Auditor: read everything, change nothing."),
}
