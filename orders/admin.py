"""The books of the orders app: sales with their lines and history, to be read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from orders.enums import OrderStatus
from orders.models import Order, OrderEvent, OrderLine
from shops import book_cells as cells
from shops.book_filters import QuestionFilter, ShopFilter, day_filter
from shops.books import BookAdmin, LedgerInline, facts


TONES = {
    OrderStatus.OPEN: cells.WAIT,
    OrderStatus.PAID: cells.GOOD,
    OrderStatus.CANCELLED: cells.QUIET,
    OrderStatus.REFUNDED: cells.QUIET,
}
HIGHEST_NUMBER = 2**31 - 1
LONGEST_NUMBER = len(str(HIGHEST_NUMBER))


class OrderFilter(QuestionFilter):
    """Sales that a person should look at."""

    def questions(self) -> dict[str, tuple[str, Q]]:
        return {
            "surplus": ("With surplus", Q(surplus__gt=0)),
            "part": ("Paid in part", Q(status=OrderStatus.OPEN, paid__gt=0)),
            "short": ("Sold more than was there", Q(stock_short=True)),
        }


class OrderLineInline(LedgerInline):
    """What was sold, as it was then."""

    model = OrderLine
    verbose_name_plural = "goods"
    fields = readonly_fields = ("name", "quantity", "each", "together")

    @admin.display(description="Price")
    def each(self, line: OrderLine) -> SafeString:
        """The price of a piece."""
        return cells.kes(line.unit_price)

    @admin.display(description="Together")
    def together(self, line: OrderLine) -> SafeString:
        """The price of the line."""
        return cells.kes(line.line_total)


class OrderEventInline(LedgerInline):
    """What happened to the sale."""

    model = OrderEvent
    verbose_name_plural = "history"
    fields = readonly_fields = ("at", "became", "by", "why")

    def get_queryset(self, request: HttpRequest) -> QuerySet[OrderEvent]:
        return super().get_queryset(request).select_related("actor")

    @admin.display(description="When")
    def at(self, event: OrderEvent) -> SafeString:
        """When it happened."""
        return cells.moment(event.created_at)

    @admin.display(description="Became")
    def became(self, event: OrderEvent) -> SafeString:
        """The status that the sale entered."""
        return cells.pill(event.get_new_display(), TONES[OrderStatus(event.new)])

    @admin.display(description="By")
    def by(self, event: OrderEvent) -> str:
        """Who did it."""
        return cells.person(event.actor)

    @admin.display(description="Why")
    def why(self, event: OrderEvent) -> str:
        """The reason that was given."""
        return event.reason or cells.NOTHING


class OrderAdmin(BookAdmin):
    """A sale. It is written by `orders.checkout` and `orders.lifecycle` alone."""

    book_name, row_name, rows_name = "Sales", "sale", "sales"
    about = "Every sale with its goods, its payments and what is still missing."
    list_display = (
        "sale", "state", "to_pay", "came", "rest", "over", "by", "at", "shop_name",
    )  # fmt: skip
    list_display_links = ("sale",)
    list_filter = (ShopFilter, OrderFilter, day_filter("created_at"), "status")
    search_fields = ("number",)
    search_help_text = "The number of the sale"
    inlines = (OrderLineInline, OrderEventInline)
    readonly_fields = (
        "to_pay", "rounded", "came", "rest", "over", "short",
        "by", "at", "frozen", "paid_on", "cancelled_on", "shop_name",
    )  # fmt: skip
    fieldsets = (
        facts("Money", "to_pay", "rounded", "came", "rest", "over"),
        facts(
            "Sale", "shop_name", "by", "short", "at", "frozen", "paid_on",
            "cancelled_on",
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        return super().get_queryset(request).select_related("shop", "created_by")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find the sale of a number; an id finds it too."""
        text = search_term.strip().removeprefix("#")
        if not text:
            return queryset, False
        # The length first: Python refuses to read a number of thousands of digits.
        is_number = text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER
        if is_number and int(text) <= HIGHEST_NUMBER:
            return queryset.filter(number=int(text)), False
        return queryset.none(), False

    def title_of(self, row: Order) -> str:
        name = "Test payment" if row.is_test else "Sale"
        return f"{name} #{row.number}"

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        order = context["original"]
        payments = reverse("admin:payments_payment_changelist")
        context |= {
            "amount": cells.kes(order.total),
            "tone": TONES[OrderStatus(order.status)],
            "state": order.get_status_display(),
            "missing": cells.kes(order.balance) if order.balance else "",
            "spare": cells.kes(order.surplus) if order.surplus else "",
            "payments": f"{payments}?order__id__exact={order.pk}",
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="Sale", ordering="number")
    def sale(self, order: Order) -> str:
        """Its number; said where it was a test of M-Pesa."""
        return f"#{order.number} (test)" if order.is_test else f"#{order.number}"

    @admin.display(description="State", ordering="status")
    def state(self, order: Order) -> SafeString:
        """Its status in words."""
        return cells.pill(order.get_status_display(), TONES[OrderStatus(order.status)])

    @admin.display(description="To pay", ordering="total")
    def to_pay(self, order: Order) -> SafeString:
        """The whole price."""
        return cells.kes(order.total)

    @admin.display(description="Rounding")
    def rounded(self, order: Order) -> SafeString:
        """What rounding added or took."""
        return cells.kes(order.rounding) if order.rounding else cells.NOTHING

    @admin.display(description="Paid")
    def came(self, order: Order) -> SafeString:
        """What the sale took of the money."""
        return cells.kes(order.paid)

    @admin.display(description="Still to pay")
    def rest(self, order: Order) -> SafeString:
        """What is missing."""
        return cells.kes(order.balance) if order.balance else cells.NOTHING

    @admin.display(description="Surplus", ordering="surplus")
    def over(self, order: Order) -> SafeString:
        """What came and was not needed."""
        if not order.surplus:
            return cells.NOTHING
        return cells.pill(cells.kes(order.surplus), cells.WAIT)

    @admin.display(description="Stock")
    def short(self, order: Order) -> str:
        """Whether more was sold than was there."""
        return "More was sold than was there" if order.stock_short else cells.NOTHING

    @admin.display(description="By")
    def by(self, order: Order) -> str:
        """Who sold."""
        return cells.person(order.created_by)

    @admin.display(description="Begun", ordering="created_at")
    def at(self, order: Order) -> SafeString:
        """When the sale was begun."""
        return cells.moment(order.created_at)

    @admin.display(description="Lines fixed")
    def frozen(self, order: Order) -> SafeString:
        """When the first payment fixed the lines."""
        return cells.moment(order.frozen_at)

    @admin.display(description="Paid on")
    def paid_on(self, order: Order) -> SafeString:
        """When it was paid."""
        return cells.moment(order.paid_at)

    @admin.display(description="Cancelled on")
    def cancelled_on(self, order: Order) -> SafeString:
        """When it was cancelled."""
        return cells.moment(order.cancelled_at)
