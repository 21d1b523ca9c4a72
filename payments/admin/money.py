"""Collections and allocations: money that is there, and where it went."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from payments import accounts
from payments.admin import cells as words
from payments.admin import corrections, placing
from payments.admin.refunds import offer
from payments.enums import AllocationKind
from payments.models import Allocation, Collection
from shops import book_cells as cells
from shops.book_filters import QuestionFilter, ShopFilter, day_filter, shop_filter
from shops.books import BookAdmin, LedgerInline, facts


CORRECT_IT = (
    "Look in M-Pesa's portal. If it is right, ask to correct the books; a second"
    " person books it. Until then the money stays where it is."
)
SORT_IT = (
    "Say at the till, under Money to sort, which sale it pays, or keep it as the"
    " customer's credit. Or send it back."
)
HAND_IT = "Say which shop's it is; that shop then says which sale it pays."


class CollectionFilter(QuestionFilter):
    """Money that a person should look at."""

    def questions(self) -> dict[str, tuple[str, Q]]:
        return {
            "receipt": (
                "M-Pesa, receipt to follow",
                Q(receipt__isnull=True, account__isnull=False),
            ),
            "alone": ("No second source yet", Q(confirmed_at__isnull=True)),
            "rest": (
                "Nobody's yet, or in part",
                # Another environment's is nobody's to share out.
                Q(
                    allocated__lt=F("amount"),
                    environment__in=accounts.environments(),
                ),
            ),
            "disputed": ("M-Pesa's books say otherwise", ~Q(disputed="")),
            "reversed": ("Sent back at M-Pesa", Q(reversed_at__isnull=False)),
        }


class AllocationInline(LedgerInline):
    """Where it went."""

    model = Allocation
    verbose_name_plural = "where it went"
    fields = readonly_fields = ("sum", "kind", "sale", "by", "why", "at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Allocation]:
        return super().get_queryset(request).select_related("order", "actor")

    @admin.display(description="Amount")
    def sum(self, allocation: Allocation) -> SafeString:
        """How much."""
        return cells.kes(allocation.amount)

    @admin.display(description="Sale")
    def sale(self, allocation: Allocation) -> SafeString:
        """Link the sale."""
        return words.sale_of(allocation.order)

    @admin.display(description="By")
    def by(self, allocation: Allocation) -> str:
        """Who did it."""
        return cells.person(allocation.actor)

    @admin.display(description="Why")
    def why(self, allocation: Allocation) -> str:
        """The reason that was given."""
        return words.plain(allocation.reason)

    @admin.display(description="When")
    def at(self, allocation: Allocation) -> SafeString:
        """When it was done."""
        return cells.moment(allocation.created_at)


class CollectionAdmin(BookAdmin):
    """Money that arrived. One without a shop lies on the platform's account, and is
    the operator's to place."""

    book_name, row_name, rows_name = "Money received", "amount", "amounts"
    about = "Money that has really arrived, and what each shilling paid for."
    list_display = (
        "sum", "code", "went", "payer", "for_payment", "source", "sighted",
        "shop_name",
    )  # fmt: skip
    list_filter = (ShopFilter, CollectionFilter, day_filter("sighted_at"), "source")
    search_fields = ("receipt",)
    search_help_text = "M-Pesa's receipt number"
    inlines = (AllocationInline,)
    readonly_fields = (
        "sum", "code", "payer", "for_payment", "shop_name", "into", "source",
        "because", "paid", "sighted", "confirmed", "rest", "back", "doubted",
    )  # fmt: skip
    fieldsets = (
        facts("Money", "sum", "rest", "code", "payer", "for_payment", "shop_name"),
        facts("How we know", "source", "because", "into"),
        facts("Times", "paid", "sighted", "confirmed", "doubted", "back"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Collection]:
        rows = super().get_queryset(request)
        return rows.select_related(
            "shop", "payment__order", "account"
        ).prefetch_related("allocations__order")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Collection], search_term: str
    ) -> tuple[QuerySet[Collection], bool]:
        """Find the money of a receipt, however it is typed."""
        text = search_term.strip().upper()
        return (queryset.filter(receipt=text) if text else queryset), False

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<int:collection_id>/place/",
                self.admin_site.admin_view(partial(placing.place_view, self)),
                name="payments_collection_place",
            ),
            *super().get_urls(),
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = context["original"]
        tone, state, remedy = _standing(row)
        context |= {
            "send_back": offer(request, row),
            "correct": corrections.offer(request, row),
            "place": placing.offer(request, row),
            "amount": cells.kes(row.amount),
            "went": words.shared_out(row),
            "tone": tone,
            "state": state,
            "remedy": remedy,
            "disputed": row.disputed,
            "acts": words.acts(row),
            "receipt": _receipt_of(row),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="Amount", ordering="amount")
    def sum(self, collection: Collection) -> SafeString:
        """How much arrived, and whether M-Pesa's books say otherwise."""
        return cells.kes(collection.amount)

    @admin.display(description="Receipt")
    def code(self, collection: Collection) -> SafeString:
        """M-Pesa's receipt number."""
        return cells.code(collection.receipt)

    @admin.display(description="Went to")
    def went(self, collection: Collection) -> SafeString:
        """Its portions, and whether M-Pesa's books say otherwise."""
        return words.with_doubt(words.shared_out(collection), collection)

    @admin.display(description="Nobody's yet")
    def rest(self, collection: Collection) -> SafeString:
        """What is not allocated."""
        rest = collection.amount - collection.allocated
        return cells.kes(rest) if rest else cells.NOTHING

    @admin.display(description="Payer")
    def payer(self, collection: Collection) -> str:
        """The phone, masked."""
        return words.payer(collection.phone)

    @admin.display(description="Payment")
    def for_payment(self, collection: Collection) -> SafeString:
        """Link its payment."""
        payment = collection.payment
        if payment is None:
            return cells.NOTHING
        name = f"for sale #{payment.order.number}"
        return cells.page("payments_payment", payment.pk, name)

    @admin.display(description="Why it is this payment's")
    def because(self, collection: Collection) -> str:
        """How strong the reason is."""
        return collection.get_binding_display() or cells.NOTHING

    @admin.display(description="Disputed since")
    def doubted(self, collection: Collection) -> SafeString:
        """Since when M-Pesa's books say otherwise."""
        return cells.moment(collection.disputed_at if collection.disputed else None)

    @admin.display(description="Sent back")
    def back(self, collection: Collection) -> SafeString:
        """When M-Pesa sent it back."""
        return cells.moment(collection.reversed_at)

    @admin.display(description="Account")
    def into(self, collection: Collection) -> str:
        """Where it lies."""
        return words.account(collection.account)

    @admin.display(description="Paid")
    def paid(self, collection: Collection) -> SafeString:
        """When the customer paid, as M-Pesa says."""
        return cells.moment(collection.paid_at)

    @admin.display(description="Seen", ordering="sighted_at")
    def sighted(self, collection: Collection) -> SafeString:
        """When we learned of it."""
        return cells.moment(collection.sighted_at)

    @admin.display(description="Second source")
    def confirmed(self, collection: Collection) -> SafeString:
        """When a second source agreed."""
        return cells.moment(collection.confirmed_at)


class AllocationFilter(QuestionFilter):
    """Money that went nowhere useful yet."""

    def questions(self) -> dict[str, tuple[str, Q]]:
        return {"surplus": ("Surplus", Q(kind=AllocationKind.SURPLUS))}


class AllocationAdmin(BookAdmin):
    """A portion of one collection; written by `payments.ledger` alone."""

    shop_path = "collection__shop"
    book_name, row_name, rows_name = "Where money went", "portion", "portions"
    about = "Each portion of money in its order; what was freed again is not deleted."
    list_display = ("sum", "kind", "sale", "money", "by", "why", "at", "shop_name")
    list_filter = (
        shop_filter("collection__shop"), AllocationFilter, day_filter("created_at"),
    )  # fmt: skip
    list_select_related = ("collection__shop", "order", "actor")
    ordering = ("-id",)
    fields = readonly_fields = (
        "sum", "kind", "sale", "money", "by", "why", "at",
    )  # fmt: skip

    @admin.display(description="Amount", ordering="amount")
    def sum(self, allocation: Allocation) -> SafeString:
        """How much."""
        return cells.kes(allocation.amount)

    @admin.display(description="Sale")
    def sale(self, allocation: Allocation) -> SafeString:
        """Link the sale."""
        return words.sale_of(allocation.order)

    @admin.display(description="Money")
    def money(self, allocation: Allocation) -> SafeString:
        """Link the collection that it is a portion of."""
        return words.money(allocation.collection)

    @admin.display(description="Why")
    def why(self, allocation: Allocation) -> str:
        """The reason that was given."""
        return words.plain(allocation.reason)

    @admin.display(description="By")
    def by(self, allocation: Allocation) -> str:
        """Who did it."""
        return cells.person(allocation.actor)

    @admin.display(description="When", ordering="created_at")
    def at(self, allocation: Allocation) -> SafeString:
        """When it was done."""
        return cells.moment(allocation.created_at)


def _standing(collection: Collection) -> tuple[str, str, str]:
    """Say how money stands: its mood, a sentence, and what to do."""
    if collection.reversed_at is not None:
        tone = cells.BAD if collection.disputed else cells.QUIET
        return tone, "M-Pesa sent it back to the customer.", ""
    if collection.disputed:
        return cells.BAD, "Disputed: M-Pesa's books say otherwise.", CORRECT_IT
    if collection.allocated < collection.amount:
        is_somebodys = collection.shop_id is not None
        return cells.WAIT, "Waits for a person.", SORT_IT if is_somebodys else HAND_IT
    return cells.GOOD, "It is there, and all of it has its place.", ""


def _receipt_of(collection: Collection) -> SafeString | str:
    """Link the receipt that M-Pesa told of; "" if it told of none yet."""
    row = getattr(collection, "receipt_row", None)
    return (
        cells.page("payments_receipt", row.pk, f"Receipt {row.number}") if row else ""
    )
