"""What moved in an account beside customers' payments, in the books."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from payments.admin import cells as words
from payments.enums import MovementKind
from payments.models import Movement
from shops import book_cells as cells
from shops.book_filters import day_filter, shop_filter
from shops.books import BookAdmin


class MovementAdmin(BookAdmin):
    """What moved in an account and is no customer's payment."""

    shop_path = "account__shop"
    list_display = ("sum", "kind", "code", "undoes", "what", "into", "at", "shop_name")
    list_filter = (shop_filter("account__shop"), "kind", day_filter("at"))
    list_select_related = ("account__shop",)
    lookups = ("statement__id__exact",)
    ordering = ("-at", "-id")
    search_fields = ("number",)
    search_help_text = "The movement's receipt number, or that of what it undoes"
    readonly_fields = fields = (
        "sum", "kind", "code", "undoes", "what", "into", "file", "at",
    )  # fmt: skip

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Movement], search_term: str
    ) -> tuple[QuerySet[Movement], bool]:
        """Find by either number, however it is typed."""
        text = search_term.strip().upper()
        if not text:
            return queryset, False
        return queryset.filter(Q(number=text) | Q(linked=text)), False

    @admin.display(description="Amount", ordering="amount")
    def sum(self, moved: Movement) -> SafeString:
        """How much; below zero for what went out."""
        return cells.kes(moved.amount)

    @admin.display(description="Number")
    def code(self, moved: Movement) -> SafeString:
        """M-Pesa's number."""
        return cells.code(moved.number)

    @admin.display(description="Undoes")
    def undoes(self, moved: Movement) -> SafeString:
        """The receipt that a reversal undoes."""
        if moved.kind == MovementKind.REVERSAL and not moved.linked:
            return cells.pill("not said", cells.WAIT)
        return cells.code(moved.linked)

    @admin.display(description="Details")
    def what(self, moved: Movement) -> str:
        """M-Pesa's words, without phone numbers."""
        return words.plain(moved.details)

    @admin.display(description="Account")
    def into(self, moved: Movement) -> str:
        """Where it moved."""
        return str(moved.account)

    @admin.display(description="Statement")
    def file(self, moved: Movement) -> SafeString:
        """Link the statement that told of it first."""
        row = moved.statement
        return cells.page("payments_statementimport", row.pk, row.file_name)

    @admin.display(description="When", ordering="at")
    def at(self, moved: Movement) -> SafeString:
        """When it moved."""
        return cells.moment(moved.at)
