"""Collections and allocations: money that is there, and where it went."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from payments.admin import cells as words
from payments.admin import corrections, placing
from payments.admin.refunds import offer
from payments.enums import AllocationKind
from payments.models import Allocation, Collection
from shops import book_cells as cells
from shops.book_filters import QuestionFilter, ShopFilter, day_filter, shop_filter
from shops.books import BookAdmin, LedgerInline


class CollectionFilter(QuestionFilter):
    """Money that a person should look at."""

    def questions(self) -> dict[str, tuple[str, Q]]:
        return {
            "receipt": (
                "M-Pesa, receipt to follow",
                Q(receipt__isnull=True, account__isnull=False),
            ),
            "alone": ("No second source yet", Q(confirmed_at__isnull=True)),
            "rest": ("Not matched, or in part", Q(allocated__lt=F("amount"))),
            "disputed": ("M-Pesa's books say otherwise", ~Q(disputed="")),
            "reversed": ("Sent back at M-Pesa", Q(reversed_at__isnull=False)),
        }


class AllocationInline(LedgerInline):
    """Where it went."""

    model = Allocation
    verbose_name_plural = "where it went"
    fields = readonly_fields = ("sum", "kind", "sale", "by", "reason", "at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Allocation]:
        return super().get_queryset(request).select_related("order", "actor")

    @admin.display(description="Amount")
    def sum(self, allocation: Allocation) -> SafeString:
        """How much."""
        return cells.kes(allocation.amount)

    @admin.display(description="Sale")
    def sale(self, allocation: Allocation) -> SafeString:
        """Link the sale."""
        return _sale(allocation)

    @admin.display(description="By")
    def by(self, allocation: Allocation) -> str:
        """Who did it."""
        return cells.person(allocation.actor)

    @admin.display(description="When")
    def at(self, allocation: Allocation) -> SafeString:
        """When it was done."""
        return cells.moment(allocation.created_at)


class CollectionAdmin(BookAdmin):
    """Money that arrived. One without a shop lies on the platform's account, and is
    the operator's to place."""

    list_display = (
        "sum", "code", "went", "payer", "about", "source", "sighted", "shop_name",
    )  # fmt: skip
    list_filter = (ShopFilter, CollectionFilter, day_filter("sighted_at"), "source")
    search_fields = ("receipt",)
    search_help_text = "M-Pesa's receipt number"
    inlines = (AllocationInline,)
    fields = readonly_fields = (
        "sum", "code", "payer", "about", "shop_name", "into", "source", "binding",
        "paid", "sighted", "confirmed", "rest", "disputed",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Collection]:
        rows = super().get_queryset(request)
        return rows.select_related("shop", "payment", "account").prefetch_related(
            "allocations__order"
        )

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
        context["send_back"] = offer(request, context["original"])
        context["correct"] = corrections.offer(request, context["original"])
        context["place"] = placing.offer(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="Amount", ordering="amount")
    def sum(self, collection: Collection) -> SafeString:
        """How much arrived."""
        return cells.kes(collection.amount)

    @admin.display(description="Receipt")
    def code(self, collection: Collection) -> SafeString:
        """M-Pesa's receipt number."""
        return cells.code(collection.receipt)

    @admin.display(description="Went to")
    def went(self, collection: Collection) -> str:
        """Its portions."""
        return words.shared_out(collection)

    @admin.display(description="Not matched")
    def rest(self, collection: Collection) -> SafeString:
        """What is not allocated."""
        rest = collection.amount - collection.allocated
        return cells.kes(rest) if rest else cells.NOTHING

    @admin.display(description="Payer")
    def payer(self, collection: Collection) -> str:
        """The phone, masked."""
        return words.payer(collection.phone)

    @admin.display(description="Payment")
    def about(self, collection: Collection) -> SafeString:
        """Link its payment."""
        payment = collection.payment
        if payment is None:
            return cells.NOTHING
        return cells.page("payments_payment", payment.pk, payment)

    @admin.display(description="Account")
    def into(self, collection: Collection) -> str:
        """Where it lies."""
        return str(collection.account) if collection.account else cells.NOTHING

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
    list_display = ("sum", "kind", "sale", "money", "by", "reason", "at", "shop_name")
    list_filter = (
        shop_filter("collection__shop"), AllocationFilter, day_filter("created_at"),
    )  # fmt: skip
    list_select_related = ("collection__shop", "order", "actor")
    ordering = ("-id",)
    fields = readonly_fields = (
        "sum", "kind", "sale", "money", "by", "reason", "at",
    )  # fmt: skip

    @admin.display(description="Amount", ordering="amount")
    def sum(self, allocation: Allocation) -> SafeString:
        """How much."""
        return cells.kes(allocation.amount)

    @admin.display(description="Sale")
    def sale(self, allocation: Allocation) -> SafeString:
        """Link the sale."""
        return _sale(allocation)

    @admin.display(description="Of")
    def money(self, allocation: Allocation) -> SafeString:
        """Link the collection that it is a portion of."""
        collection = allocation.collection
        return cells.page("payments_collection", collection.pk, collection)

    @admin.display(description="By")
    def by(self, allocation: Allocation) -> str:
        """Who did it."""
        return cells.person(allocation.actor)

    @admin.display(description="When", ordering="created_at")
    def at(self, allocation: Allocation) -> SafeString:
        """When it was done."""
        return cells.moment(allocation.created_at)


def _sale(allocation: Allocation) -> SafeString:
    order = allocation.order
    if order is None:
        return cells.NOTHING
    return cells.page("orders_order", order.pk, f"#{order.number}")
