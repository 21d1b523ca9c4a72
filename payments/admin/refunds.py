"""Refunds: asked for, decided by a second person, and asked about, by buttons.

Nothing is edited: each button is one call of the domain, by the rights of the shop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from payments import accounts, refund_questions, refunds, reversals
from payments.admin import cells as words
from payments.enums import RefundMethod, RefundState
from payments.models import Collection, Refund, RefundEvent
from payments.refunds import Operator
from shops import book_cells as cells
from shops import tenancy
from shops.book_filters import QuestionFilter, ShopFilter, day_filter
from shops.books import BookAdmin, LedgerInline, facts, reach_of
from shops.models import Shop
from shops.rights import Right
from shops.tenancy import Access
from shops.words import sentence
from smartduka.lib.errors import DomainError
from smartduka.lib.money import format_kes
from smartduka.lib.text import clean


TONES = {
    RefundState.ASKED: cells.WAIT,
    RefundState.SENDING: cells.WAIT,
    RefundState.UNKNOWN: cells.WAIT,
    RefundState.DONE: cells.GOOD,
    RefundState.FAILED: cells.BAD,
    RefundState.REFUSED: cells.QUIET,
}


# What happens when a refund is approved.
EFFECTS = {
    RefundMethod.REVERSAL: "M-Pesa is told to send the whole payment back at once. That"
    " cannot be stopped any more.",
    RefundMethod.CASH: "It is booked as cash out of the drawer: give the customer the"
    " money then.",
    RefundMethod.MANUAL: "It is booked as sent by hand: somebody must have sent it.",
}


def access_of(
    request: HttpRequest, shop: Shop | None, right: Right = Right.REFUND
) -> Access | Operator | None:
    """Return for whom the person may decide about a shop's money; None if not.

    Money that is no shop's is the operator's; that of a shop is its managers' alone.
    """
    if shop is None:
        may = reach_of(request).may(Right.PLATFORM)
        return Operator(request.user) if may else None
    member = tenancy.memberships(request.user).filter(shop=shop).first()
    if member is None:
        return None
    access = Access(request.user, shop, member.role)
    return access if access.may(right) else None


def offer(request: HttpRequest, collection: Collection | None) -> str:
    """Return where this person can send a collection's money back; "" if nowhere."""
    if collection is None or collection.reversed_at is not None:
        return ""
    reach, shop_id = reach_of(request), collection.shop_id
    right = Right.PLATFORM if shop_id is None else Right.REFUND
    if not reach.may(right, shop_id):
        return ""
    return reverse("admin:payments_refund_of", args=[collection.pk])


class RefundForm(forms.Form):
    """How much goes back, how, and why."""

    method = forms.ChoiceField(label="How", widget=forms.RadioSelect)
    amount = forms.IntegerField(
        label="KES to send back",
        min_value=1,
        error_messages={"min_value": "At least KES 1."},
    )
    reason = forms.CharField(label="Why", max_length=refunds.REASON_LENGTH)
    restocks = forms.BooleanField(
        label="All goods of the sale are back on the shelf",
        help_text="They are counted in once, with the last of the sale's money. If only"
        " some of them came back, leave this empty and count those in by hand.",
        required=False,
    )
    has_looked = forms.BooleanField(
        label="I looked at M-Pesa's books about it: they say otherwise",
        required=False,
    )
    seen = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, collection: Collection, *args: Any, **kwargs: Any) -> None:
        left = refunds.left_of(collection)
        can_reverse = not refunds.why_not_reversible(collection)
        choices = [
            (RefundMethod.CASH, "Cash from the drawer"),
            (RefundMethod.MANUAL, "Sent by hand, outside this system"),
        ]
        if can_reverse and left == collection.amount:
            whole_of_it = format_kes(collection.amount)
            words_ = f"M-Pesa sends it back: the whole {whole_of_it}"
            choices.insert(0, (RefundMethod.REVERSAL, words_))
        first = choices[0][0]
        seen = refunds.mark_of(collection)
        kwargs["initial"] = {"seen": seen, "amount": int(left), "method": first}
        super().__init__(*args, **kwargs)
        if not collection.disputed:
            del self.fields["has_looked"]
        self.fields["method"].choices = choices  # type: ignore[attr-defined]  # of a ChoiceField


class RefundFilter(QuestionFilter):
    """Refunds that a person should look at."""

    def questions(self) -> dict[str, tuple[str, Q]]:
        return {
            "waits": ("Waits for a second person", Q(state=RefundState.ASKED)),
            "open": (
                "M-Pesa has not said",
                # Nobody can be asked any more about one of another environment.
                Q(
                    state__in=(RefundState.SENDING, RefundState.UNKNOWN),
                    collection__environment__in=accounts.environments(),
                ),
            ),
            "failed": ("Not sent", Q(state=RefundState.FAILED)),
            "unasked": ("Nobody here asked for it", Q(asked_by__isnull=True)),
        }


class RefundEventInline(LedgerInline):
    """What happened, in its order."""

    model = RefundEvent
    verbose_name_plural = "what happened"
    fields = readonly_fields = ("at", "became", "said", "by")

    def get_queryset(self, request: HttpRequest) -> QuerySet[RefundEvent]:
        return super().get_queryset(request).select_related("actor")

    @admin.display(description="When")
    def at(self, event: RefundEvent) -> SafeString:
        """When it happened."""
        return cells.moment(event.created_at)

    @admin.display(description="Became")
    def became(self, event: RefundEvent) -> str:
        """The state that it entered; nothing when it stayed."""
        return event.get_new_display() if event.old != event.new else cells.NOTHING

    @admin.display(description="What was said")
    def said(self, event: RefundEvent) -> str:
        """The reason in words."""
        return words.plain(event.reason)

    @admin.display(description="By")
    def by(self, event: RefundEvent) -> str:
        """Who did it."""
        return cells.person(event.actor)


class RefundAdmin(BookAdmin):
    """Money on its way back. One of no shop is the operator's alone."""

    book_name = "Refunds"
    about = "Money on its way back to customers. Large ones need a second person."
    list_display = (
        "sum", "stands", "method", "sale", "money", "why", "by", "at", "shop_name",
    )  # fmt: skip
    list_filter = (
        ShopFilter, RefundFilter, day_filter("asked_at"), "state", "method",
    )  # fmt: skip
    lookups = ("collection__id__exact",)
    search_fields = ("receipt",)
    search_help_text = "The payment's receipt number, or the reversal's own"
    inlines = (RefundEventInline,)
    readonly_fields = (
        "sum", "stands", "method", "money", "sale", "sold", "why", "goods", "by",
        "second", "code", "failure", "at", "sent", "decided", "next_question",
        "shop_name",
    )  # fmt: skip
    fieldsets = (
        facts("Money", "sum", "stands", "method", "money", "sale", "sold", "shop_name"),
        facts("Why", "why", "goods", "by", "second", "failure", "code"),
        facts("Times", "at", "sent", "decided", "next_question"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Refund]:
        rows = super().get_queryset(request)
        return rows.select_related(
            "shop", "collection", "order", "asked_by", "approved_by"
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Refund], search_term: str
    ) -> tuple[QuerySet[Refund], bool]:
        """Find by either receipt, however it is typed."""
        text = search_term.strip().upper()
        if not text:
            return queryset, False
        found = Q(receipt=text) | Q(collection__receipt=text)
        return queryset.filter(found), False

    def title_of(self, row: Refund) -> str:
        return f"{format_kes(row.amount)} back"

    def get_urls(self) -> list[URLPattern]:
        guard = self.admin_site.admin_view

        def button(name: str, view: Callable[..., HttpResponse]) -> URLPattern:
            return path(
                f"<path:object_id>/{name}/",
                guard(require_POST(view)),
                name=f"payments_refund_{name}",
            )

        return [
            path(
                "of/<int:collection_id>/",
                guard(self.ask_view),
                name="payments_refund_of",
            ),
            button("approve", self.approve_view),
            button("refuse", self.refuse_view),
            button("question", self.question_view),
            *super().get_urls(),
        ]

    def ask_view(self, request: HttpRequest, collection_id: int) -> HttpResponse:
        """Ask for money back: the form behind the button on a collection's page."""
        collection = self._collection(request, collection_id)
        access = self._access(request, collection.shop)
        form = RefundForm(
            collection, request.POST if request.method == "POST" else None
        )
        if request.method == "POST" and form.is_valid():
            said = form.cleaned_data
            try:
                refund = refunds.ask(
                    access=access,
                    collection_id=collection.pk,
                    method=said["method"],
                    amount=said["amount"],
                    reason=said["reason"],
                    restocks=said["restocks"],
                    seen=said["seen"],
                    has_looked=said.get("has_looked", False),
                )
            except DomainError as error:
                form.add_error(None, sentence(error))
            else:
                self.log_change(request, refund, f"Asked for: {self._told(refund)}")
                self._tell(request, refund)
                return self._page_of(refund)
        collection.refresh_from_db()
        # Before the figures, so that it is never of something newer than they show.
        seen = refunds.mark_of(collection)
        return TemplateResponse(
            request,
            "admin/payments/refund/ask.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "original": collection,
                "title": "Send money back",
                "book": self.name_of_book,
                "form": form,
                "seen": seen,
                "amount": cells.kes(collection.amount),
                "left": cells.kes(refunds.left_of(collection)),
                "went": words.shared_out(collection),
                "why_not": refunds.why_not_reversible(collection),
                "limit": format_kes(refunds.second_person_from(collection.shop)),
                "undecided": refunds.undecided_of(collection),
            },
        )

    def approve_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let it go: the second person's button."""
        refund, access = self._decided_by(request, object_id)
        return self._act(
            request,
            refund,
            lambda: refunds.approve(access=access, refund_id=refund.pk),
            "Approved",
        )

    def refuse_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Refuse it: the second person's button; who asked takes it back."""
        refund, access = self._decided_by(request, object_id)
        reason = clean(request.POST.get("reason", ""))
        return self._act(
            request,
            refund,
            lambda: refunds.refuse(access=access, refund_id=refund.pk, reason=reason),
            "Taken back" if refund.asked_by_id == request.user.pk else "Refused",
        )

    def question_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask M-Pesa now what became of it."""
        refund, access = self._decided_by(request, object_id)
        try:
            asked = refund_questions.ask_mpesa(access=access, refund_id=refund.pk)
        except DomainError as error:
            messages.error(request, sentence(error))
            return self._page_of(refund)
        if asked is None:
            messages.warning(request, "M-Pesa was asked a moment ago: wait a little.")
        else:
            self.log_change(request, refund, "Asked M-Pesa")
            messages.success(
                request, "M-Pesa is asked. Its answer shows here in a moment."
            )
        return self._page_of(refund)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        refund = context["original"]
        may_decide = access_of(request, refund.shop) is not None
        waits = refund.state == RefundState.ASKED
        is_asker = refund.asked_by_id == request.user.pk
        context |= {
            "amount": cells.kes(refund.amount),
            "tone": TONES[RefundState(refund.state)],
            "told": self._told(refund),
            "effect": EFFECTS[RefundMethod(refund.method)],
            "disputed": refund.collection.disputed,
            "may_decide": may_decide and waits and not is_asker,
            "must_wait": may_decide and waits and is_asker,
            "is_theirs": waits and not may_decide,
            "may_ask": may_decide and refund.state in reversals.REVERSIBLE,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def _collection(self, request: HttpRequest, collection_id: int) -> Collection:
        """The collection, if it is among the person's books. Raises Http404."""
        rows = Collection.objects.select_related("shop", "account", "payment__order")
        reach = reach_of(request)
        if not reach.is_operator:
            rows = rows.filter(shop__in=list(reach.roles))
        collection = rows.filter(pk=collection_id).first()
        if collection is None:
            raise Http404
        return collection

    def _access(self, request: HttpRequest, shop: Shop | None) -> Access | Operator:
        access = access_of(request, shop)
        if access is None:
            raise PermissionDenied
        return access

    def _decided_by(
        self, request: HttpRequest, object_id: str
    ) -> tuple[Refund, Access | Operator]:
        refund = self.get_object(request, unquote(object_id))
        return refund, self._access(request, refund.shop)

    def _act(
        self,
        request: HttpRequest,
        refund: Refund,
        act: Callable[[], Refund],
        done: str,
    ) -> HttpResponse:
        try:
            refund = act()
        except DomainError as error:
            messages.error(request, sentence(error))
            return self._page_of(refund)
        self.log_change(request, refund, f"{done}: {self._told(refund)}")
        self._tell(request, refund)
        return self._page_of(refund)

    def _tell(self, request: HttpRequest, refund: Refund) -> None:
        """Say how it stands, and what was learned before it was done."""
        learned = refund.events.filter(reason__icontains=refunds.ASKED_FIRST).last()
        state = RefundState(refund.state)
        bad = (RefundState.FAILED, RefundState.UNKNOWN)
        tone = messages.warning if state in bad else messages.success
        tone(request, f"{format_kes(refund.amount)}: {self._told(refund)}")
        if learned is not None:
            messages.info(request, words.plain(learned.reason))

    def _told(self, refund: Refund) -> str:
        """Say in a sentence how it stands."""
        stands = refund.get_state_display()
        return f"{stands}. {refund.why_failed}".strip().rstrip(".") + "."

    def _page_of(self, refund: Refund) -> HttpResponse:
        page = reverse("admin:payments_refund_change", args=[refund.pk])
        return HttpResponseRedirect(page)

    @admin.display(description="Amount", ordering="amount")
    def sum(self, refund: Refund) -> SafeString:
        """How much."""
        return cells.kes(refund.amount)

    @admin.display(description="State", ordering="state")
    def stands(self, refund: Refund) -> SafeString:
        """How it stands, in its colour."""
        state = RefundState(refund.state)
        return cells.pill(state.label, TONES[state])

    @admin.display(description="Money")
    def money(self, refund: Refund) -> SafeString:
        """Link the money that goes back."""
        return words.money(refund.collection)

    @admin.display(description="Sale")
    def sale(self, refund: Refund) -> SafeString:
        """Link the sale."""
        return words.sale_of(refund.order)

    @admin.display(description="From the sale")
    def sold(self, refund: Refund) -> SafeString:
        """How much of it was a sale's; the rest was free."""
        return cells.kes(refund.from_sale)

    @admin.display(description="Why")
    def why(self, refund: Refund) -> str:
        """The reason that was given."""
        return words.plain(refund.reason)

    @admin.display(description="Goods")
    def goods(self, refund: Refund) -> str:
        """Whether they came back, and when they are counted in."""
        if not refund.restocks:
            return "stay with the customer"
        return "came back; counted in with the last of the sale's money"

    @admin.display(description="Asked by")
    def by(self, refund: Refund) -> str:
        """Who asked for it; nobody where it was done at M-Pesa."""
        return cells.person(refund.asked_by)

    @admin.display(description="Decided by")
    def second(self, refund: Refund) -> str:
        """The second person, or who took it back."""
        return cells.person(refund.approved_by)

    @admin.display(description="Reversal's receipt")
    def code(self, refund: Refund) -> SafeString:
        """The number that M-Pesa gave the reversal."""
        return cells.code(refund.receipt)

    @admin.display(description="Why not")
    def failure(self, refund: Refund) -> str:
        """Why it was not sent, or refused."""
        return words.plain(refund.why_failed)

    @admin.display(description="Asked", ordering="asked_at")
    def at(self, refund: Refund) -> SafeString:
        """When it was asked for."""
        return cells.moment(refund.asked_at)

    @admin.display(description="Sent")
    def sent(self, refund: Refund) -> SafeString:
        """When it was sent."""
        return cells.moment(refund.sent_at)

    @admin.display(description="Decided")
    def decided(self, refund: Refund) -> SafeString:
        """When it was decided."""
        return cells.moment(refund.decided_at)

    @admin.display(description="Next question to M-Pesa")
    def next_question(self, refund: Refund) -> SafeString:
        """When we ask M-Pesa next."""
        return cells.moment(refund.next_ask_at)
