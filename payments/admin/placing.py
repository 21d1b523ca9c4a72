"""Nobody's money on the platform's account: the operator says which shop's it is."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from payments import drawer
from payments.admin import cells as words
from payments.models import Collection
from shops import book_cells as cells
from shops.books import reach_of
from shops.models import Shop
from shops.rights import Right
from shops.words import sentence
from smartduka.lib.errors import DomainError
from smartduka.lib.money import format_kes


class PlaceForm(forms.Form):
    """Whose it is, and how that is known."""

    shop = forms.ModelChoiceField(
        label="Shop", queryset=Shop.objects.filter(is_active=True).order_by("name")
    )
    reason = forms.CharField(
        label="Why",
        max_length=drawer.REASON_LENGTH,
        help_text="How you know that it is theirs. The shop reads this too.",
    )


def is_placeable(collection: Collection | None) -> bool:
    """Whether money lies unused on the platform's account and is no shop's."""
    return (
        collection is not None
        and collection.shop_id is None
        and collection.payment_id is None
        and collection.allocated == 0
        and collection.reversed_at is None
        and collection.account is not None
        and collection.account.shop_id is None
    )


def offer(request: HttpRequest, collection: Collection | None) -> str:
    """Return where this person can place a collection; "" if nowhere."""
    if collection is None or not is_placeable(collection):
        return ""
    if not reach_of(request).may(Right.PLATFORM):
        return ""
    return reverse("admin:payments_collection_place", args=[collection.pk])


def place_view(
    admin: ModelAdmin[Any], request: HttpRequest, collection_id: int
) -> HttpResponse:
    """Ask which shop's it is, and hand it over. Not there but for the operator."""
    if not reach_of(request).may(Right.PLATFORM):
        raise Http404
    collection = (
        Collection.objects.select_related("account", "shop")
        .filter(pk=collection_id)
        .first()
    )
    if collection is None:
        raise Http404
    form = PlaceForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        shop, why = form.cleaned_data["shop"], form.cleaned_data["reason"]
        try:
            drawer.hand_to_shop(request.user, collection, shop)
        except DomainError as error:
            form.add_error(None, sentence(error))
        else:
            admin.log_change(request, collection, f"Handed to {shop}: {why}")
            messages.success(
                request, f"{format_kes(collection.amount)} is {shop}'s to sort now."
            )
            return HttpResponseRedirect(
                reverse("admin:payments_collection_change", args=[collection.pk])
            )
    return TemplateResponse(
        request,
        "admin/payments/collection/place.html",
        {
            **admin.admin_site.each_context(request),
            "opts": admin.opts,
            "original": collection,
            "title": "Hand to a shop",
            "book": "Money received",
            "form": form,
            "amount": cells.kes(collection.amount),
            "code": cells.code(collection.receipt),
            "payer": words.payer(collection.phone),
            "reference": _reference(collection),
            "is_placeable": is_placeable(collection),
        },
    )


def _reference(collection: Collection) -> str:
    """The account number as the customer typed it."""
    told = getattr(collection, "receipt_row", None)
    return words.plain(told.reference) if told is not None else cells.NOTHING
