"""Corrections in the books: asked for by one, booked by another, by buttons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from payments import corrections
from payments.admin import cells as words
from payments.admin.refunds import access_of
from payments.enums import CorrectionState
from payments.models import Collection, Correction
from payments.refunds import Operator, left_of
from shops import book_cells as cells
from shops.book_filters import QuestionFilter, day_filter, shop_filter
from shops.books import BookAdmin, facts, reach_of
from shops.models import Shop
from shops.rights import Right
from shops.tenancy import Access
from shops.words import sentence
from smartduka.lib.errors import DomainError
from smartduka.lib.money import format_kes


TONES = {
    CorrectionState.ASKED: cells.WAIT,
    CorrectionState.BOOKED: cells.GOOD,
    CorrectionState.REFUSED: cells.QUIET,
}


def offer(request: HttpRequest, collection: Collection) -> str:
    """Return where this person can ask to correct a collection; "" if nowhere."""
    if (
        not collection.disputed
        or access_of(request, collection.shop, Right.CORRECT) is None
    ):
        return ""
    return reverse("admin:payments_correction_of", args=[collection.pk])


TAKES = (
    "Our books then have so much less of this money: first what is nobody's, then what"
    " sales have. A sale that was paid with it stays paid, and gets an alarm."
)
ADDS = "Our books then have so much more, as money that is nobody's yet."


class CorrectionForm(forms.Form):
    """By how much our books are wrong, and why."""

    LESS, MORE = "less", "more"

    way = forms.ChoiceField(
        label="M-Pesa has",
        choices=[(LESS, "less than we counted"), (MORE, "more than we counted")],
        initial=LESS,
        widget=forms.RadioSelect,
    )
    amount = forms.DecimalField(
        label="By how many KES",
        min_value=0,
        max_digits=12,
        decimal_places=2,
        help_text="Only the difference, not the whole payment.",
    )
    reason = forms.CharField(
        label="Why",
        max_length=corrections.REASON_LENGTH,
        help_text="What you saw in M-Pesa's portal, for who must book it.",
    )


class CorrectionFilter(QuestionFilter):
    """Corrections that a person should look at."""

    def questions(self) -> dict[str, tuple[str, Q]]:
        waits = Q(state=CorrectionState.ASKED)
        return {"waits": ("Waits for a second person", waits)}


class CorrectionAdmin(BookAdmin):
    """What two people booked because M-Pesa's books say otherwise."""

    shop_path = "collection__shop"
    book_name = "Corrections"
    about = "Where M-Pesa's books were right and ours were not. Two people book one."
    list_display = (
        "sum", "stands", "money", "why", "asker", "decider", "asked", "shop_name",
    )  # fmt: skip
    list_filter = (
        shop_filter("collection__shop"), CorrectionFilter, day_filter("asked_at"),
    )  # fmt: skip
    list_select_related = ("collection__shop", "asked_by", "decided_by")
    ordering = ("-id",)
    readonly_fields = (
        "sum", "stands", "money", "why", "asker", "asked", "decider", "decided",
        "shop_name",
    )  # fmt: skip
    fieldsets = (
        facts("Correction", "sum", "stands", "money", "why", "shop_name"),
        facts("By two people", "asker", "asked", "decider", "decided"),
    )

    def title_of(self, row: Correction) -> str:
        return f"Correction of {_signed(row)}"

    def get_urls(self) -> list[URLPattern]:
        guard = self.admin_site.admin_view
        name = "payments_correction"
        return [
            path("of/<int:collection_id>/", guard(self.ask_view), name=f"{name}_of"),
            path(
                "<path:object_id>/book/",
                guard(require_POST(self.book_view)),
                name=f"{name}_book",
            ),
            path(
                "<path:object_id>/refuse/",
                guard(require_POST(self.refuse_view)),
                name=f"{name}_refuse",
            ),
            *super().get_urls(),
        ]

    def ask_view(self, request: HttpRequest, collection_id: int) -> HttpResponse:
        """Ask for a correction: the form behind the button on disputed money."""
        collection = self._collection(request, collection_id)
        access = self._access(request, collection.shop)
        form = CorrectionForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            said = form.cleaned_data
            is_less = said["way"] == CorrectionForm.LESS
            try:
                row = corrections.ask_correction(
                    access=access,
                    collection_id=collection.pk,
                    amount=-said["amount"] if is_less else said["amount"],
                    reason=said["reason"],
                )
            except DomainError as error:
                form.add_error(None, sentence(error))
            else:
                self.log_change(request, row, f"Asked for: {_signed(row)}")
                messages.success(request, "Asked for. Somebody else must book it.")
                return self._page_of(row)
        return TemplateResponse(
            request,
            "admin/payments/correction/ask.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "original": collection,
                "title": "Correct the books",
                "book": self.name_of_book,
                "form": form,
                "left": cells.kes(left_of(collection)),
                "went": words.shared_out(collection),
                "why": collection.disputed,
            },
        )

    def book_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Book it: the second person's button."""
        return self._decide(request, object_id, corrections.book, "Booked")

    def refuse_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Refuse it, or take it back."""
        return self._decide(request, object_id, corrections.refuse, "Refused")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = context["original"]
        waits = row.state == CorrectionState.ASKED
        may_decide = (
            waits and access_of(request, row.collection.shop, Right.CORRECT) is not None
        )
        is_less = row.amount < 0
        context |= {
            "amount": _signed(row),
            "tone": TONES[CorrectionState(row.state)],
            "told": row.get_state_display(),
            "of": cells.page("payments_collection", row.collection.pk, row.collection),
            "disputed": row.collection.disputed,
            "effect": TAKES if is_less else ADDS,
            "may_book": may_decide and row.asked_by_id != request.user.pk,
            "may_refuse": may_decide,
            "is_theirs": waits and not may_decide,
            "must_wait": may_decide and row.asked_by_id == request.user.pk,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def _decide(
        self,
        request: HttpRequest,
        object_id: str,
        act: Callable[..., Correction],
        done: str,
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        access = self._access(request, row.collection.shop)
        try:
            row = act(access=access, correction_id=row.pk)
        except DomainError as error:
            messages.error(request, sentence(error))
            return self._page_of(row)
        self.log_change(request, row, f"{done}: {_signed(row)}")
        messages.success(request, f"{done}: {_signed(row)}.")
        return self._page_of(row)

    def _collection(self, request: HttpRequest, collection_id: int) -> Collection:
        """The collection, if it is among the person's books. Raises Http404."""
        rows = Collection.objects.select_related("shop")
        reach = reach_of(request)
        if not reach.is_operator:
            rows = rows.filter(shop__in=list(reach.roles))
        collection = rows.filter(pk=min(collection_id, 2**62)).first()
        if collection is None:
            raise Http404
        return collection

    def _access(self, request: HttpRequest, shop: Shop | None) -> Access | Operator:
        access = access_of(request, shop, Right.CORRECT)
        if access is None:
            raise PermissionDenied
        return access

    def _page_of(self, row: Correction) -> HttpResponse:
        page = reverse("admin:payments_correction_change", args=[row.pk])
        return HttpResponseRedirect(page)

    @admin.display(description="Amount", ordering="amount")
    def sum(self, row: Correction) -> str:
        """By how much."""
        return _signed(row)

    @admin.display(description="State", ordering="state")
    def stands(self, row: Correction) -> SafeString:
        """How it stands, in its colour."""
        state = CorrectionState(row.state)
        return cells.pill(state.label, TONES[state])

    @admin.display(description="Money")
    def money(self, row: Correction) -> SafeString:
        """Link the money that it corrects."""
        return words.money(row.collection)

    @admin.display(description="Why")
    def why(self, row: Correction) -> str:
        """The reason that was given."""
        return words.plain(row.reason)

    @admin.display(description="Asked by")
    def asker(self, row: Correction) -> str:
        """Who asked for it."""
        return cells.person(row.asked_by)

    @admin.display(description="Decided by")
    def decider(self, row: Correction) -> str:
        """Who booked or refused it."""
        return cells.person(row.decided_by)

    @admin.display(description="Asked", ordering="asked_at")
    def asked(self, row: Correction) -> SafeString:
        """When it was asked for."""
        return cells.moment(row.asked_at)

    @admin.display(description="Decided")
    def decided(self, row: Correction) -> SafeString:
        """When it was decided."""
        return cells.moment(row.decided_at)


def _signed(row: Correction) -> str:
    sign = "+" if row.amount > 0 else "−"  # noqa: RUF001 -- a minus that is read as one
    return f"{sign}{format_kes(abs(row.amount))}"
