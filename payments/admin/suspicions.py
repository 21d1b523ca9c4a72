"""What looks wrong: each flag in plain words, and the button of who has looked."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from payments import suspicions
from payments.admin.refunds import access_of
from payments.enums import SuspicionKind
from payments.models import Suspicion
from shops import book_cells as cells
from shops.book_filters import QuestionFilter, day_filter, shop_filter
from shops.books import BookAdmin, facts
from shops.rights import Right
from shops.words import sentence
from smartduka.lib.errors import DomainError
from smartduka.lib.text import clean


# What was counted, and what a person can do about it.
COUNTED = {
    SuspicionKind.FAILURES: "{count} prompts failed within an hour",
    SuspicionKind.PHONES: "{count} different phones were asked within an hour, and did"
    " not pay",
    SuspicionKind.REFUNDS: "{count} refunds were asked for within a day",
    SuspicionKind.FORGED: "{count} messages that do not fit came within an hour",
}
REMEDIES = {
    SuspicionKind.FAILURES: "Look at the failed payments of this person: is a customer"
    " asked again and again, or is something wrong with the phones that are typed?",
    SuspicionKind.PHONES: "Look whether there was a sale behind each prompt. Somebody"
    " may be trying out numbers of strangers.",
    SuspicionKind.REFUNDS: "Compare the refunds with the goods that came back and with"
    " the cash in the drawer.",
    SuspicionKind.FORGED: "Somebody tries to make you believe that money came. Nothing"
    " was counted. Tell your staff to trust the till, not an SMS.",
}


class SuspicionFilter(QuestionFilter):
    """Flags that nobody has looked at."""

    def questions(self) -> dict[str, tuple[str, Q]]:
        return {
            "open": ("Nobody has looked", Q(seen_at__isnull=True)),
            "seen": ("Somebody has looked", Q(seen_at__isnull=False)),
        }


class SuspicionAdmin(BookAdmin):
    """A pattern in what people do. Those that are no shop's are the operator's."""

    book_name, row_name, rows_name = "Suspicions", "suspicion", "suspicions"
    about = (
        "More of something than is usual. It may be nothing: look, and say what it was."
    )
    list_display = ("what", "whose", "counted", "state", "found", "shop_name")
    list_display_links = ("what",)
    list_filter = (shop_filter("shop"), SuspicionFilter, "kind", day_filter("first_at"))
    list_select_related = ("shop", "person", "seen_by")
    ordering = ("-id",)
    readonly_fields = (
        "what", "whose", "counted", "found", "again", "by", "seen", "reason",
        "shop_name",
    )  # fmt: skip
    fieldsets = (
        facts("Suspicion", "what", "whose", "counted", "found", "again", "shop_name"),
        facts("Who has looked", "by", "seen", "reason"),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the facts; who has looked only once somebody has."""
        both = super().get_fieldsets(request, obj)
        return both if obj is None or obj.seen_at is not None else both[:1]

    def title_of(self, row: Suspicion) -> str:
        return str(row.get_kind_display())

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.seen_view))
        own = path("<path:object_id>/seen/", view, name="payments_suspicion_seen")
        return [own, *super().get_urls()]

    def may_close(self, request: HttpRequest, row: Suspicion) -> bool:
        """Whether the person may say that they have looked: the shop's owner."""
        return access_of(request, row.shop, Right.STAFF) is not None

    def seen_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say that somebody has looked, and what it was."""
        row = self.get_object(request, unquote(object_id))
        if not self.may_close(request, row):
            raise PermissionDenied
        reason = clean(request.POST.get("reason", ""))
        try:
            closed = suspicions.mark_seen(row, actor=request.user, reason=reason)
        except DomainError as error:
            messages.error(request, sentence(error))
        else:
            if closed:
                self.log_change(request, row, f"Looked at: {reason.strip()[:200]}")
                messages.success(request, "Written down. A new one opens a new flag.")
            else:
                messages.warning(request, "Somebody has looked already.")
        page = reverse("admin:payments_suspicion_change", args=[row.pk])
        return HttpResponseRedirect(page)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = context["original"]
        kind, is_open = SuspicionKind(row.kind), row.seen_at is None
        context |= {
            "tone": cells.BAD if is_open else cells.QUIET,
            "count": row.count,
            "told": self.counted(row),
            "remedy": REMEDIES[kind] if is_open else "",
            "payments": self._payments_of(row),
            "is_open": is_open,
            "may_close": is_open and self.may_close(request, row),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def _payments_of(self, row: Suspicion) -> str:
        """Return where the rows are that were counted."""
        pages = {
            SuspicionKind.FAILURES: "admin:payments_failedpayment_changelist",
            SuspicionKind.PHONES: "admin:payments_payment_changelist",
            SuspicionKind.REFUNDS: "admin:payments_refund_changelist",
            SuspicionKind.FORGED: "admin:payments_notice_changelist",
        }
        return reverse(pages[SuspicionKind(row.kind)])

    @admin.display(description="What", ordering="kind")
    def what(self, row: Suspicion) -> str:
        """What kind of thing it is."""
        return str(row.get_kind_display())

    @admin.display(description="By")
    def whose(self, row: Suspicion) -> SafeString | str:
        """Whose acts they are."""
        if row.address:
            return format_html("from {}", cells.code(row.address))
        return cells.person(row.person)

    @admin.display(description="Counted")
    def counted(self, row: Suspicion) -> str:
        """How many there were, in words."""
        return COUNTED[SuspicionKind(row.kind)].format(count=row.count)

    @admin.display(description="How it stands")
    def state(self, row: Suspicion) -> SafeString:
        """Whether somebody has looked."""
        if row.seen_at is None:
            return cells.pill("Nobody has looked", cells.BAD)
        return cells.pill("Looked at", cells.QUIET)

    @admin.display(description="Found", ordering="first_at")
    def found(self, row: Suspicion) -> SafeString:
        """When it was found."""
        return cells.moment(row.first_at)

    @admin.display(description="Went on until")
    def again(self, row: Suspicion) -> SafeString:
        """When it was last found."""
        return cells.moment(row.last_at)

    @admin.display(description="Looked at by")
    def by(self, row: Suspicion) -> str:
        """Who has looked."""
        return cells.person(row.seen_by)

    @admin.display(description="When")
    def seen(self, row: Suspicion) -> SafeString:
        """When somebody had looked."""
        return cells.moment(row.seen_at)

    @admin.display(description="What it was")
    def reason(self, row: Suspicion) -> str:
        """What they found."""
        return row.seen_reason or cells.NOTHING
