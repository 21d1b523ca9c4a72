"""Notices: what came from outside, and the one button of the payments' books."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from payments import inbox, retention
from payments.admin import cells as words
from payments.enums import Verdict
from payments.models import Notice
from shops import book_cells as cells
from shops.book_filters import QuestionFilter, day_filter, shop_filter
from shops.books import BookAdmin, facts, reach_of
from shops.rights import Right


# What a second look may change. The others were judged: a second time they would
# only say "nothing new" over what is written there.
MAY_CHANGE = (Verdict.NEW, Verdict.PARKED, Verdict.MALFORMED, Verdict.UNVERIFIED)
# Each is a transaction of its own inside this one request.
AT_ONCE = 50
STILL_BROKEN = "still broken, tried again by itself"
# What a verdict means to who reads the books.
MEANINGS = {
    Verdict.NEW: "It is read in a moment, by itself.",
    Verdict.APPLIED: "It fits what we sent, and our books have it.",
    Verdict.DUPLICATE: "We knew it already. Nothing was counted twice.",
    Verdict.UNCERTAIN: "It does not say for sure how the payment ended, so M-Pesa is"
    " asked. Nothing was counted.",
    Verdict.UNVERIFIED: "Amount, number or sender differ from what we sent, so it"
    " proves nothing. M-Pesa is asked, and its answer counts.",
    Verdict.CONTRADICTION: "It says the opposite of what was proved. The money stays"
    " as it is; compare it with M-Pesa's statement.",
    Verdict.MALFORMED: "It could not be read. M-Pesa is asked, so nothing is lost.",
    Verdict.UNTOKENED: "It came without our secret address, so it proves nothing.",
    Verdict.REJECTED: "It came with a wrong secret, so it proves nothing. Many of"
    " these mean that somebody tries to forge payments.",
    Verdict.ORPHAN: "Nothing of ours has this address any more.",
    Verdict.HELD: "Its money is kept until it is clear whose it is.",
    Verdict.PARKED: "It was tried several times and something of ours broke each"
    " time. Nothing of it counts before it is processed.",
}


class NoticeFilter(QuestionFilter):
    """Notices that a person should look at."""

    def questions(self) -> dict[str, tuple[str, Q]]:
        return {
            "parked": ("Parked", Q(verdict=Verdict.PARKED)),
            "broken": ("Broke when it was processed", ~Q(error="")),
            "due": ("Waiting for another try", Q(next_try_at__isnull=False)),
            "doubt": (
                "In doubt or contradicting",
                Q(verdict__in=(Verdict.UNVERIFIED, Verdict.CONTRADICTION)),
            ),
        }


class NoticeAdmin(BookAdmin):
    """A message from outside. One that is about nobody, or about the platform's own
    account, is the operator's alone."""

    shop_path = "payment__shop"
    other_shop_paths = ("account__shop", "request__account__shop")
    book_name, row_name, rows_name = "M-Pesa messages", "message", "messages"
    about = (
        "What M-Pesa told us, word for word, and what became of it. Nothing is ever"
        " thrown away."
    )
    list_display = (
        "what", "verdict_words", "subject", "at", "trouble", "shop_name",
    )  # fmt: skip
    list_display_links = ("what",)
    list_filter = (
        shop_filter("payment__shop"), NoticeFilter, day_filter("received_at"),
        "verdict",
    )  # fmt: skip
    lookups = ("payment__id__exact",)
    actions = ("process_again",)
    readonly_fields = (
        "subject", "what", "at", "times", "came_from", "processed",
        "next_try", "tries", "trouble", "size", "said",
    )  # fmt: skip
    fieldsets = (
        facts("Message", "subject", "what", "at", "times", "came_from"),
        facts("How it was read", "processed", "tries", "next_try", "trouble"),
        ("What it said, word for word", {"fields": ("said", "size")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notice]:
        rows = super().get_queryset(request)
        return rows.select_related(
            "payment__shop", "payment__order", "account__shop", "request__account__shop"
        ).defer("body")

    def has_process_permission(self, request: HttpRequest) -> bool:
        """Whether the person may have notices processed again, of some shop."""
        return reach_of(request).may(Right.MESSAGES)

    def may_process(self, request: HttpRequest, notice: Notice) -> bool:
        """Whether a second look at this one is useful, and the person may ask."""
        if notice.verdict not in MAY_CHANGE or not inbox.is_owned(notice):
            return False
        if retention.is_past(notice.received_at):
            return False
        shop_id = self.shop_id_of(notice)
        reach = reach_of(request)
        if shop_id is None:
            return reach.may(Right.PLATFORM)
        return reach.may(Right.MESSAGES, shop_id)

    @admin.action(description="Process again", permissions=["process"])
    def process_again(self, request: HttpRequest, queryset: QuerySet[Notice]) -> None:
        """Process the chosen notices again, the oldest first.

        Runs outside any transaction: each is one of its own in the inbox.
        """
        chosen = list(queryset.order_by("pk")[: AT_ONCE + 1])
        if len(chosen) > AT_ONCE:
            messages.error(request, f"Choose at most {AT_ONCE} messages at a time.")
            return
        able = [one for one in chosen if self.may_process(request, one)]
        told = Counter(self._again(request, notice) for notice in able)
        for words_, count in sorted(told.items()):
            tone = messages.warning if words_ == STILL_BROKEN else messages.success
            tone(request, f"{count} processed again: {words_}.")
        if left := len(chosen) - len(able):
            messages.warning(request, f"{left} left as it was: nothing would change.")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.process_view))
        own = path("<path:object_id>/again/", view, name="payments_notice_again")
        return [own, *super().get_urls()]

    def process_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Process one notice again: the button on its page."""
        notice = self.get_object(request, unquote(object_id))
        if not self.has_process_permission(request):
            raise PermissionDenied
        self.process_again(request, Notice.objects.filter(pk=notice.pk).defer("body"))
        page = reverse("admin:payments_notice_change", args=[notice.pk])
        return HttpResponseRedirect(page)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        notice = context["original"]
        verdict = Verdict(notice.verdict)
        context |= {
            "may_process": self.may_process(request, notice),
            "tone": words.VERDICT_TONES[verdict],
            "told": verdict.label,
            "meaning": MEANINGS[verdict],
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def title_of(self, row: Notice) -> str:
        return f"{words.NOTICES[row.kind]} #{row.pk}"

    def _again(self, request: HttpRequest, notice: Notice) -> str:
        verdict = inbox.process_again(notice.pk)
        said = STILL_BROKEN if verdict is None else str(verdict.label).lower()
        self.log_change(request, notice, f"Processed again: {said}")
        return said

    @admin.display(description="Message", ordering="pk")
    def what(self, notice: Notice) -> str:
        """What it is, and its number."""
        return f"{words.NOTICES[notice.kind]} #{notice.pk}"

    @admin.display(description="Came")
    def times(self, notice: Notice) -> str:
        """How often the same bytes came."""
        return words.times(notice.copies)

    @admin.display(description="Tries")
    def tries(self, notice: Notice) -> str:
        """How often it was tried again."""
        return str(notice.attempts) if notice.attempts else cells.NOTHING

    @admin.display(description="What became of it", ordering="verdict")
    def verdict_words(self, notice: Notice) -> SafeString:
        """Its verdict."""
        return words.verdict(notice)

    @admin.display(description="About")
    def subject(self, notice: Notice) -> SafeString:
        """Link the payment that it is about, or the account."""
        if notice.payment is not None:
            return words.payment(notice.payment)
        account = notice.account or (notice.request and notice.request.account)
        if not account:
            return cells.NOTHING
        name = words.account(account)
        return cells.page("payments_mpesaaccount", account.pk, name)

    @admin.display(description="Received", ordering="received_at")
    def at(self, notice: Notice) -> SafeString:
        """When it came."""
        return cells.moment(notice.received_at)

    @admin.display(description="From")
    def came_from(self, notice: Notice) -> str:
        """The address that sent it; said when it is none of M-Pesa's."""
        address = notice.address or "unknown"
        return address if notice.address_is_listed else f"{address} (not M-Pesa's)"

    @admin.display(description="Kept")
    def size(self, notice: Notice) -> str:
        """How much of it is here."""
        cut = ", the rest was cut off" if notice.is_cut else ", all of it"
        return f"{len(bytes(notice.body)):,} bytes{cut}"

    @admin.display(description="Processed")
    def processed(self, notice: Notice) -> SafeString:
        """When it was judged."""
        return cells.moment(notice.processed_at)

    @admin.display(description="Next try")
    def next_try(self, notice: Notice) -> SafeString:
        """When it is tried by itself."""
        return cells.moment(notice.next_try_at)

    @admin.display(description="What broke")
    def trouble(self, notice: Notice) -> str:
        """Why it could not be processed."""
        return words.plain(notice.error)

    @admin.display(description="What it said")
    def said(self, notice: Notice) -> SafeString:
        """Show the bytes as text, and nothing but text."""
        return format_html('<pre class="said">{}</pre>', words.body(notice))
