"""Receipt numbers in the books: what each source said, and whose money it is."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from payments.admin import cells as words
from payments.enums import ReceiptState
from payments.models import Receipt, Sighting
from shops import book_cells as cells
from shops.book_filters import QuestionFilter, day_filter, shop_filter
from shops.books import BookAdmin, LedgerInline, facts


TONES = {
    ReceiptState.HELD: cells.WAIT,
    ReceiptState.CLAIMED: cells.WAIT,
    ReceiptState.COUNTED: cells.GOOD,
}


MEANINGS = {
    ReceiptState.HELD: "A prompt of the same amount is not decided. As soon as it is,"
    " this money finds its place by itself.",
    ReceiptState.CLAIMED: "M-Pesa told us once, by its notice of payments by hand. It"
    " counts when M-Pesa's own books have it, or when a sale within the shop's limit"
    " takes it.",
    ReceiptState.COUNTED: "",
}


class ReceiptFilter(QuestionFilter):
    """Receipts that a person should look at."""

    def questions(self) -> dict[str, tuple[str, Q]]:
        return {
            "held": ("Held: may belong to a payment", Q(state=ReceiptState.HELD)),
            "claimed": (
                "Claimed, not confirmed",
                # Of another environment M-Pesa confirms none here.
                Q(
                    state=ReceiptState.CLAIMED,
                    account__environment=settings.MPESA_ENV,
                ),
            ),
            "alarm": ("Sources disagree", ~Q(alarm="")),
        }


class SightingInline(LedgerInline):
    """What each source said."""

    model = Sighting
    verbose_name_plural = "what was said"
    fields = readonly_fields = ("source", "sum", "who", "typed", "paid", "seen", "file")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Sighting]:
        return super().get_queryset(request).select_related("statement")

    @admin.display(description="Amount")
    def sum(self, told: Sighting) -> SafeString:
        """How much it said."""
        return cells.kes(told.amount)

    @admin.display(description="Payer")
    def who(self, told: Sighting) -> str:
        """The payer's number, masked."""
        return words.payer(told.payer)

    @admin.display(description="Account number typed")
    def typed(self, told: Sighting) -> str:
        """What the customer typed."""
        return words.plain(told.reference)

    @admin.display(description="Paid")
    def paid(self, told: Sighting) -> SafeString:
        """When it was paid, as it said."""
        return cells.moment(told.paid_at)

    @admin.display(description="Seen")
    def seen(self, told: Sighting) -> SafeString:
        """When it said so."""
        return cells.moment(told.seen_at)

    @admin.display(description="Statement")
    def file(self, told: Sighting) -> str:
        """Which statement it was."""
        return told.statement.file_name if told.statement else cells.NOTHING


class ReceiptAdmin(BookAdmin):
    """A receipt number of an account. On the platform's it is shown to a shop only
    when its money is the shop's."""

    shop_path = "account__shop"
    other_shop_paths = ("collection__shop",)
    book_name, row_name, rows_name = "M-Pesa receipts", "receipt", "receipts"
    about = "Receipt numbers that M-Pesa told us, who said so, and whose money it is."
    list_display = (
        "code", "sum", "stands", "payer_", "typed", "money", "paid", "shop_name",
    )  # fmt: skip
    list_filter = (shop_filter("account__shop"), ReceiptFilter, day_filter("seen_at"))
    list_select_related = ("account__shop", "collection__shop")
    ordering = ("-id",)
    search_fields = ("number",)
    search_help_text = "M-Pesa's receipt number"
    inlines = (SightingInline,)
    readonly_fields = (
        "code", "sum", "stands", "proven", "payer_", "typed", "money", "into", "paid",
        "seen", "next_look", "shop_name",
    )  # fmt: skip
    fieldsets = (
        facts("Receipt", "code", "sum", "stands", "proven", "money"),
        facts("Who paid", "payer_", "typed", "into", "shop_name"),
        facts("Times", "paid", "seen", "next_look"),
    )

    def title_of(self, row: Receipt) -> str:
        return f"Receipt {row.number}"

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = context["original"]
        state = ReceiptState(row.state)
        context |= {
            "amount": cells.kes(row.amount),
            "tone": TONES[state],
            "state": state.label,
            "meaning": MEANINGS[state],
            "went": words.shared_out(row.collection) if row.collection else "",
            "alarm": row.alarm,
            "disputed": row.collection.disputed if row.collection else "",
            "money": words.money(row.collection) if row.collection else "",
            "acts": words.acts(*(one for one in (row, row.collection) if one)),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Receipt], search_term: str
    ) -> tuple[QuerySet[Receipt], bool]:
        """Find a number, however it is typed."""
        text = search_term.strip().upper()
        return (queryset.filter(number=text) if text else queryset), False

    @admin.display(description="Number", ordering="number")
    def code(self, row: Receipt) -> SafeString:
        """M-Pesa's number."""
        return cells.code(row.number)

    @admin.display(description="Amount", ordering="amount")
    def sum(self, row: Receipt) -> SafeString:
        """How much."""
        return cells.kes(row.amount)

    @admin.display(description="State", ordering="state")
    def stands(self, row: Receipt) -> SafeString:
        """Whether it counts."""
        state = ReceiptState(row.state)
        return cells.pill(state.label, TONES[state])

    @admin.display(description="In M-Pesa's books")
    def proven(self, row: Receipt) -> SafeString:
        """Whether it is more than a claim."""
        if row.is_proven:
            return cells.pill("yes", cells.GOOD)
        return cells.pill("not confirmed", cells.WAIT)

    @admin.display(description="Payer")
    def payer_(self, row: Receipt) -> str:
        """The payer's number, masked."""
        return words.payer(row.payer)

    @admin.display(description="Account number typed")
    def typed(self, row: Receipt) -> str:
        """What the customer typed."""
        return words.plain(row.reference)

    @admin.display(description="Money")
    def money(self, row: Receipt) -> SafeString:
        """Link the money that it is."""
        return words.money(row.collection)

    @admin.display(description="Account")
    def into(self, row: Receipt) -> str:
        """Where it was paid to."""
        return words.account(row.account)

    @admin.display(description="Paid", ordering="paid_at")
    def paid(self, row: Receipt) -> SafeString:
        """When it was paid, as M-Pesa says."""
        return cells.moment(row.paid_at)

    @admin.display(description="Seen", ordering="seen_at")
    def seen(self, row: Receipt) -> SafeString:
        """When we learned of it."""
        return cells.moment(row.seen_at)

    @admin.display(description="Looked at again")
    def next_look(self, row: Receipt) -> SafeString:
        """When the machine looks again whose it is; not where that is known."""
        if row.state == ReceiptState.COUNTED:
            return cells.NOTHING
        return cells.moment(row.look_at)
