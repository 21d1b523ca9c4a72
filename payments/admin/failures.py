"""Failed payments: why, what to do next, and the acts that help."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
)
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from orders.models import Order
from payments import failure_sheets, failures
from payments.admin import cells as words
from payments.admin.failure_filters import (
    AmountFilter,
    CashierFilter,
    ReasonFilter,
    SeenFilter,
)
from payments.admin.refunds import access_of
from payments.enums import Method
from payments.failures import Done
from payments.models import FailedPayment, Payment
from shops import book_cells as cells
from shops.book_filters import ShopFilter, day_filter
from shops.books import BookAdmin, reach_of
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib import clock, phone
from smartduka.lib.errors import DomainError


# A prompt may take some seconds, and each row is a transaction of its own inside
# this one request: so many rows, and no new one after so long.
RETRIES_AT_ONCE, QUESTIONS_AT_ONCE, SEEN_AT_ONCE = 10, 20, 200
LONGEST_S = 20.0
# So many sales are named in one sentence.
NAMED = 10
GONE = (
    "What you chose is not on this list any more: it may have been paid, or somebody"
    " has seen it. Nothing was done."
)


class FailureList(ChangeList):
    """The list; each row leads to the payment's own page."""

    def url_for_result(self, result: Any) -> str:
        return reverse("admin:payments_payment_change", args=[result.pk])


class FailedPaymentAdmin(BookAdmin):
    """What was not paid. The payment's own page tells the rest."""

    book_name = "Failed payments"
    row_name, rows_name = "payment", "payments"
    about = (
        "Every prompt that brought no money, with the reason and what to do next."
        " Mark what you have dealt with as seen."
    )
    list_display = (
        "says", "sum", "payer", "sale", "shop_name", "tries", "by", "at",
    )  # fmt: skip
    list_display_links = ("says",)
    list_filter = (
        SeenFilter, ReasonFilter, day_filter("created_at"), CashierFilter,
        AmountFilter, ShopFilter,
    )  # fmt: skip
    search_fields = ("phone",)
    search_help_text = "The customer's phone, or the number of the sale"
    actions = ("retry", "ask", "mark_seen")
    change_list_template = "admin/payments/failures.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[FailedPayment]:
        rows = super().get_queryset(request).filter(failures.not_paid(clock.now()))
        of_sale = (
            Payment.objects.filter(order=OuterRef("order"), method=Method.MPESA_STK)
            .order_by()
            .values("order")
            .annotate(count=Count("pk"))
            .values("count")
        )
        rows = rows.select_related("shop", "order", "created_by", "seen_by")
        shown: QuerySet[FailedPayment] = rows.annotate(
            tries=Coalesce(Subquery(of_sale), 0)
        )
        return shown

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FailureList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find by a whole phone, never a part of one, or by the number of the sale."""
        text = search_term.strip()
        if not text:
            return queryset, False
        with contextlib.suppress(phone.InvalidPhone):
            return queryset.filter(phone=phone.parse(text)), False
        number = text.removeprefix("#")
        if not (number.isascii() and number.isdecimal() and len(number) < 10):
            return queryset.none(), False
        sales = Order.objects.filter(number=int(number))
        reach = reach_of(request)
        if not reach.is_operator:
            sales = sales.filter(shop__in=list(reach.roles))
        return queryset.filter(order__in=sales), False

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Do the act; say it where nothing of what was chosen is here any more."""
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if chosen and not _some_of(queryset, chosen):
            messages.warning(request, GONE)
            return HttpResponseRedirect(request.get_full_path())
        return super().response_action(request, queryset, *args, **kwargs)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Whether the person runs some shop: a prompt is a seller's to send."""
        return reach_of(request).may(Right.FAILURES)

    def has_ask_permission(self, request: HttpRequest) -> bool:
        """Whether the person may have M-Pesa asked, of some shop."""
        return reach_of(request).may(Right.MESSAGES)

    @admin.action(description="Send a new prompt", permissions=["decide"])
    def retry(self, request: HttpRequest, queryset: QuerySet[FailedPayment]) -> None:
        """Send a new prompt for each chosen one where that makes sense."""
        self._each(request, queryset, RETRIES_AT_ONCE, self._retry)

    @admin.action(description="Ask M-Pesa now", permissions=["ask"])
    def ask(self, request: HttpRequest, queryset: QuerySet[FailedPayment]) -> None:
        """Ask M-Pesa what became of each chosen one."""
        self._each(request, queryset, QUESTIONS_AT_ONCE, self._ask)

    @admin.action(description="Mark as seen", permissions=["decide"])
    def mark_seen(
        self, request: HttpRequest, queryset: QuerySet[FailedPayment]
    ) -> None:
        """Write down that the person knows of each chosen one."""
        self._each(request, queryset, SEEN_AT_ONCE, self._see)

    def get_urls(self) -> list[URLPattern]:
        def page(kind: str) -> Any:
            def view(request: HttpRequest) -> HttpResponse:
                return self.export_view(request, kind)

            return self.admin_site.admin_view(require_safe(view))

        own = [
            path(f"export.{kind}", page(kind), name=f"payments_failedpayment_{kind}")
            for kind in failure_sheets.KINDS
        ]
        return [*own, *super().get_urls()]

    def export_view(self, request: HttpRequest, kind: str) -> HttpResponse:
        """Hand out what the filters show, as a file of bounded size."""
        try:
            changelist = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(self._list())
        body = failure_sheets.made(
            kind, changelist.queryset, with_shop=self._reads_several(request)
        )
        self._log_export(request, kind, changelist)
        day = clock.now().astimezone(clock.NAIROBI).date()
        response = HttpResponse(body, content_type=failure_sheets.KINDS[kind])
        name = f"failed-payments-{day:%Y-%m-%d}.{kind}"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and where its files are."""
        query = request.GET.copy()
        for name in ("p", "e"):
            query.pop(name, None)
        more = {
            "exports": [
                (name, f"{reverse(f'admin:payments_failedpayment_{name}')}?{chosen}")
                for name in failure_sheets.KINDS
                for chosen in (query.urlencode(),)
            ],
            "export_limit": failure_sheets.LIMIT,
        }
        return super().changelist_view(request, more | (extra_context or {}))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Lead to the payment's own page."""
        row = self.get_object(request, unquote(object_id))
        return HttpResponseRedirect(
            reverse("admin:payments_payment_change", args=[row.pk])
        )

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Lead to the payment's evidence: that is its history."""
        row = self.get_object(request, unquote(object_id))
        return HttpResponseRedirect(
            reverse("admin:payments_payment_evidence", args=[row.pk])
        )

    def _each(
        self,
        request: HttpRequest,
        queryset: QuerySet[FailedPayment],
        limit: int,
        act: Callable[[HttpRequest, Payment], Done],
    ) -> None:
        """Do it to each chosen row, the oldest first, and say what came of each.

        Runs outside any transaction: each is one of its own.
        """
        chosen = list(queryset.order_by("created_at", "pk")[: limit + 1])
        if len(chosen) > limit:
            messages.error(request, f"Choose at most {limit} payments at a time.")
            return
        until = time.monotonic() + LONGEST_S
        told: dict[Done, list[int]] = defaultdict(list)
        for row in chosen:
            done = Done("left as it was: M-Pesa is slow. Try again", is_good=False)
            if time.monotonic() < until:
                done = self._did(request, row, act)
            told[done].append(row.order.number)
        for done, numbers in told.items():
            tell = messages.success if done.is_good else messages.warning
            tell(request, f"{_sales(numbers)}: {done.said.rstrip('.')}.")

    def _did(
        self,
        request: HttpRequest,
        row: FailedPayment,
        act: Callable[[HttpRequest, Payment], Done],
    ) -> Done:
        payment = Payment.objects.select_related("order", "shop").get(pk=row.pk)
        try:
            return act(request, payment)
        except DomainError as refusal:
            return Done(refusal.message, is_good=False)

    def _retry(self, request: HttpRequest, payment: Payment) -> Done:
        access = access_of(request, payment.shop, Right.FAILURES)
        if access is None or not isinstance(access, Access):
            return NOT_YOURS
        done = failures.try_again(access=access, payment_id=payment.pk)
        self._log(request, payment, f"Tried again: {done.said}")
        return done

    def _ask(self, request: HttpRequest, payment: Payment) -> Done:
        if not reach_of(request).may(Right.MESSAGES, payment.shop_id):
            return NOT_YOURS
        done = failures.ask_now(payment)
        self._log(request, payment, "Asked M-Pesa")
        return done

    def _see(self, request: HttpRequest, payment: Payment) -> Done:
        access = access_of(request, payment.shop, Right.FAILURES)
        if access is None or not isinstance(access, Access):
            return NOT_YOURS
        if failures.mark_seen(access=access, payment_id=payment.pk):
            return Done("marked as seen", is_good=True)
        return Done("somebody had seen it before", is_good=True)

    def _log(self, request: HttpRequest, payment: Payment, said: str) -> None:
        """Write the act down with the payment, not with this list."""
        self.log_change(request, payment, said)

    def _log_export(self, request: HttpRequest, kind: str, changelist: Any) -> None:
        """Write down who took the rows away, and by which filters; no search words."""
        chosen = [
            f"{one.title}: {dict(one.lookup_choices).get(value, value[:20])}"
            for one in changelist.filter_specs
            if (value := one.value()) is not None
        ]
        if changelist.query:
            chosen.append("a search")
        said = f"Saved as {kind.upper()}" + (
            f" ({', '.join(chosen)})" if chosen else ""
        )
        person: Any = request.user
        LogEntry.objects.create(
            user=person,
            content_type=ContentType.objects.get_for_model(Payment),
            object_repr=self.book_name,
            action_flag=CHANGE,
            change_message=said,
        )

    def _list(self) -> str:
        return reverse("admin:payments_failedpayment_changelist")

    def _reads_several(self, request: HttpRequest) -> bool:
        reach = reach_of(request)
        return reach.is_operator or len(reach.shops) > 1

    @admin.display(description="Why, and what to do next")
    def says(self, payment: FailedPayment) -> SafeString:
        """Say why, in a sentence with its colour, and below it what to do."""
        words_of, language = failures.next_step(payment), get_language() or "en"
        return format_html(
            '{} <span class="about">{}</span>',
            cells.pill(words_of.reason(language), words.tone(payment)),
            words_of.remedy(language),
        )

    @admin.display(description="Amount")
    def sum(self, payment: FailedPayment) -> SafeString:
        """How much was asked for."""
        return cells.kes(payment.amount)

    @admin.display(description="Payer")
    def payer(self, payment: FailedPayment) -> str:
        """The phone, masked."""
        return words.payer(payment.phone)

    @admin.display(description="Sale")
    def sale(self, payment: FailedPayment) -> SafeString:
        """Link the sale."""
        return words.sale_of(payment.order)

    @admin.display(description="Attempts")
    def tries(self, payment: Any) -> str:
        """How many prompts this sale has had."""
        return str(payment.tries)

    @admin.display(description="Cashier")
    def by(self, payment: FailedPayment) -> str:
        """Who asked for it."""
        return cells.person(payment.created_by)

    @admin.display(description="Begun", ordering="created_at")
    def at(self, payment: FailedPayment) -> SafeString:
        """When it was begun; below it who knows of it, and since when."""
        begun = cells.moment(payment.created_at)
        if payment.seen_at is None:
            return begun
        who = cells.person(payment.seen_by)
        since = cells.moment(payment.seen_at)
        return format_html(
            '{} <span class="about">seen by {}, {}</span>', begun, who, since
        )


NOT_YOURS = Done(
    "left as it was: your role in that shop does not allow it", is_good=False
)


def _some_of(queryset: QuerySet[Any], chosen: list[str]) -> bool:
    """Whether some of the chosen rows are here; none are where one is no key."""
    try:
        keys = [uuid.UUID(one) for one in chosen]
    except ValueError:
        return False
    return queryset.filter(pk__in=keys).exists()


def _sales(numbers: list[int]) -> str:
    """Name the sales, so many of them."""
    named = ", ".join(f"#{number}" for number in numbers[:NAMED])
    more = len(numbers) - NAMED
    rest = f" and {more} more" if more > 0 else ""
    return f"{'Sale' if len(numbers) == 1 else 'Sales'} {named}{rest}"
