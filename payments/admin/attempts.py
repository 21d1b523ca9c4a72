"""Payments: each with everything that is known about it on one page."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from payments import evidence_rows, queries, states
from payments.admin import cells as words
from payments.admin.evidence import EvidencePages
from payments.admin.refunds import offer
from payments.enums import FailureReason, Method, PaymentStatus
from payments.models import Collection, Notice, Payment, PaymentEvent
from shops import book_cells as cells
from shops.book_filters import QuestionFilter, ShopFilter, day_filter
from shops.books import LedgerInline, facts
from smartduka.lib import clock


# A payment expires after five minutes: one that is open for longer means that our
# own clockwork stands still.
OPEN_TOO_LONG = timedelta(minutes=5)


class PaymentFilter(QuestionFilter):
    """Payments that a person should look at."""

    def questions(self) -> dict[str, tuple[str, Q]]:
        mpesa = Q(method=Method.MPESA_STK)
        return {
            "undecided": ("No final answer yet", Q(decided_at__isnull=True)),
            "long": (
                "Open for more than 5 minutes",
                # Each of them is undecided; said, so that the index of those is used.
                Q(
                    status__in=PaymentStatus.OPEN,
                    decided_at__isnull=True,
                    created_at__lte=clock.now() - OPEN_TOO_LONG,
                ),
            ),
            "alarm": ("With an alarm", ~Q(alarm="")),
            "receipt": (
                "Paid, receipt to follow",
                mpesa & Q(status=PaymentStatus.COMPLETED, receipt=""),
            ),
        }


class ReasonFilter(QuestionFilter):
    """Why payments failed."""

    title = "why it was not paid"
    parameter_name = "why"

    def questions(self) -> dict[str, tuple[str, Q]]:
        return {
            reason.value: (
                str(reason.label),
                Q(status=PaymentStatus.FAILED, failure_reason=reason),
            )
            for reason in FailureReason
        }


class PaymentEventInline(LedgerInline):
    """What happened, in its order."""

    model = PaymentEvent
    verbose_name_plural = "what happened"
    fields = readonly_fields = ("at", "became", "source", "told", "by", "message")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PaymentEvent]:
        return super().get_queryset(request).select_related("actor")

    @admin.display(description="When")
    def at(self, event: PaymentEvent) -> SafeString:
        """When it happened."""
        return cells.moment(event.created_at)

    @admin.display(description="Became")
    def became(self, event: PaymentEvent) -> str:
        """The status that it entered; nothing when it stayed."""
        return event.get_new_display() if event.old != event.new else cells.NOTHING

    @admin.display(description="What was said")
    def told(self, event: PaymentEvent) -> str:
        """The reason in words."""
        return words.plain(event.reason)

    @admin.display(description="By")
    def by(self, event: PaymentEvent) -> str:
        """Who did it."""
        return cells.person(event.actor)

    @admin.display(description="Message")
    def message(self, event: PaymentEvent) -> SafeString:
        """Link the notice that caused it."""
        if event.notice_id is None:
            return cells.NOTHING
        return cells.page("payments_notice", event.notice_id, f"#{event.notice_id}")


class NoticeInline(LedgerInline):
    """What M-Pesa told us about it."""

    model = Notice
    verbose_name_plural = "messages from M-Pesa"
    fields = readonly_fields = ("what", "verdict_words", "at", "times")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notice]:
        return super().get_queryset(request).defer("body")

    @admin.display(description="Message")
    def what(self, notice: Notice) -> SafeString:
        """Link the notice."""
        name = f"{words.NOTICES[notice.kind]} #{notice.pk}"
        return cells.page("payments_notice", notice.pk, name)

    @admin.display(description="Came")
    def times(self, notice: Notice) -> str:
        """How often the same bytes came."""
        return words.times(notice.copies)

    @admin.display(description="What became of it")
    def verdict_words(self, notice: Notice) -> SafeString:
        """Its verdict."""
        return words.verdict(notice)

    @admin.display(description="Received")
    def at(self, notice: Notice) -> SafeString:
        """When it came."""
        return cells.moment(notice.received_at)


class CollectionInline(LedgerInline):
    """The money that arrived by it, and where each shilling went."""

    model = Collection
    verbose_name_plural = "money that arrived"
    fields = readonly_fields = (
        "what", "code", "went", "source", "paid", "sighted", "confirmed",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Collection]:
        return super().get_queryset(request).prefetch_related("allocations__order")

    @admin.display(description="Amount")
    def what(self, collection: Collection) -> SafeString:
        """Link the collection."""
        amount = cells.kes(collection.amount)
        link = cells.page("payments_collection", collection.pk, amount)
        return words.with_doubt(link, collection)

    @admin.display(description="Receipt")
    def code(self, collection: Collection) -> SafeString:
        """M-Pesa's receipt number."""
        return cells.code(collection.receipt)

    @admin.display(description="Went to")
    def went(self, collection: Collection) -> str:
        """Its portions."""
        return words.shared_out(collection)

    @admin.display(description="Paid")
    def paid(self, collection: Collection) -> SafeString:
        """When the customer paid, as M-Pesa says."""
        return cells.moment(collection.paid_at)

    @admin.display(description="Seen")
    def sighted(self, collection: Collection) -> SafeString:
        """When we learned of it."""
        return cells.moment(collection.sighted_at)

    @admin.display(description="Second source")
    def confirmed(self, collection: Collection) -> SafeString:
        """When a second source agreed."""
        return cells.moment(collection.confirmed_at)


class PaymentAdmin(EvidencePages):
    """One attempt to be paid. It is written by settlement and its neighbours alone."""

    book_name = "Payments"
    about = "Every attempt to be paid, with the reason where it was not."
    list_display = (
        "says", "sum", "method", "payer", "sale", "by", "at", "code", "shop_name",
    )  # fmt: skip
    list_display_links = ("says",)
    list_filter = (
        ShopFilter, PaymentFilter, day_filter("created_at"), "status", ReasonFilter,
        "method",
    )  # fmt: skip
    lookups = ("order__id__exact",)
    search_fields = ("receipt",)
    search_help_text = "Receipt, phone, number of the sale, or M-Pesa's id"
    inlines = (PaymentEventInline, NoticeInline, CollectionInline)
    readonly_fields = (
        "sum", "given", "payer", "sale",
        "code", "method", "shop_name", "by", "into", "typed", "mpesa_id",
        "push_id", "result", "result_words", "error",
        "why", "at", "answered", "expires", "decided", "completed",
        "next_question", "asked", "questions", "nth", "earlier",
    )  # fmt: skip
    fieldsets = (
        facts("Money", "sum", "payer", "code", "sale", "shop_name", "by", "method"),
        facts(
            "M-Pesa", "why", "result_words", "result", "error", "into", "typed",
            "mpesa_id", "push_id", "nth", "earlier",
        ),
        facts(
            "Times", "at", "answered", "expires", "decided", "completed",
            "next_question", "asked", "questions",
        ),
    )  # fmt: skip
    cash_fieldsets = (
        facts("Money", "sum", "given", "sale", "shop_name", "by", "method"),
        facts("Times", "at", "completed"),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the facts; M-Pesa's only where it was M-Pesa."""
        if obj is not None and obj.method != Method.MPESA_STK:
            return self.cash_fieldsets
        return self.fieldsets

    def get_queryset(self, request: HttpRequest) -> QuerySet[Payment]:
        rows = super().get_queryset(request)
        return rows.select_related("shop", "order", "created_by")

    def get_inlines(self, request: HttpRequest, obj: Any) -> tuple[Any, ...]:
        """Return what stands below; nobody writes to us about cash."""
        if obj is not None and obj.method != Method.MPESA_STK:
            return (PaymentEventInline, CollectionInline)
        return self.inlines

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find as the API does, and by M-Pesa's id or ours."""
        text = search_term.strip()
        try:
            return queryset.filter(pk=uuid.UUID(text)), False
        except ValueError:
            pass
        if "_" in text:
            return queryset.filter(checkout_request_id=text), False
        return queries.found(queryset, search=text), False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        payment = context["original"]
        context |= {
            "amount": cells.kes(payment.amount),
            "tone": words.tone(payment),
            "reason": words.reason(payment),
            "remedy": words.remedy(payment),
            "alarm": words.plain(payment.alarm) if payment.alarm else "",
        }
        money = self._money_of(payment)
        standing = [one for one in money if one.reversed_at is None]
        context |= {
            "send_back": offer(request, standing[0] if standing else None),
            "disputed": [
                {"why": one.disputed, "money": words.money(one)}
                for one in money
                if one.disputed
            ],
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def _money_of(self, payment: Payment) -> list[Collection]:
        """Its money; of a payment made of a part that of the whole."""
        return list(
            Collection.objects.filter(
                pk__in=evidence_rows.keys_of_money(payment)
            ).order_by("pk")
        )

    def title_of(self, row: Payment) -> str:
        return f"Payment for sale #{row.order.number}"

    @admin.display(description="What happened", ordering="status")
    def says(self, payment: Payment) -> SafeString:
        """Say how it stands, in a sentence with its colour; and what alarms."""
        stands = cells.pill(words.reason(payment), words.tone(payment))
        if not payment.alarm:
            return stands
        return format_html(
            "{} {}", stands, cells.pill(words.plain(payment.alarm), cells.BAD)
        )

    @admin.display(description="Amount", ordering="amount")
    def sum(self, payment: Payment) -> SafeString:
        """How much was asked for."""
        return cells.kes(payment.amount)

    @admin.display(description="Cash given")
    def given(self, payment: Payment) -> SafeString:
        """How much cash was handed over."""
        return cells.kes(payment.tendered)

    @admin.display(description="Payer")
    def payer(self, payment: Payment) -> str:
        """The phone, masked."""
        return words.payer(payment.phone)

    @admin.display(description="Sale")
    def sale(self, payment: Payment) -> SafeString:
        """Link the sale."""
        return words.sale_of(payment.order)

    @admin.display(description="Receipt")
    def code(self, payment: Payment) -> SafeString:
        """M-Pesa's receipt number."""
        return cells.code(payment.receipt)

    @admin.display(description="Begun", ordering="created_at")
    def at(self, payment: Payment) -> SafeString:
        """When it was begun."""
        return cells.moment(payment.created_at)

    @admin.display(description="By")
    def by(self, payment: Payment) -> str:
        """Who asked for it."""
        return cells.person(payment.created_by)

    @admin.display(description="Paid into")
    def into(self, payment: Payment) -> str:
        """The account as it was used."""
        return f"{payment.party_b} ({words.environment(payment.environment)})"

    @admin.display(description="Account number shown")
    def typed(self, payment: Payment) -> SafeString:
        """The reference that the customer sees."""
        return cells.code(payment.reference)

    @admin.display(description="Id of the prompt")
    def push_id(self, payment: Payment) -> str:
        """Its MerchantRequestID."""
        return words.plain(payment.merchant_request_id or "")

    @admin.display(description="Attempt")
    def nth(self, payment: Payment) -> str:
        """Which try of the sale it was."""
        return cells.NOTHING if payment.attempt == 1 else f"Number {payment.attempt}"

    @admin.display(description="Questions asked")
    def questions(self, payment: Payment) -> str:
        """How often we asked M-Pesa."""
        return str(payment.ask_count) if payment.ask_count else cells.NOTHING

    @admin.display(description="M-Pesa's id")
    def mpesa_id(self, payment: Payment) -> str:
        """Its CheckoutRequestID; the end of it is the payer's phone."""
        return words.plain(payment.checkout_request_id or "")

    @admin.display(description="Code")
    def result(self, payment: Payment) -> SafeString:
        """M-Pesa's code for how it ended."""
        return cells.code(payment.result_code)

    @admin.display(description="Our error code")
    def error(self, payment: Payment) -> SafeString:
        """What the API says."""
        return cells.code(states.error_code(payment))

    @admin.display(description="Why not paid")
    def why(self, payment: Payment) -> str:
        """The reason in our words."""
        return payment.get_failure_reason_display() or cells.NOTHING

    @admin.display(description="M-Pesa's words")
    def result_words(self, payment: Payment) -> str:
        """What M-Pesa said about it."""
        return words.plain(payment.result_desc)

    @admin.display(description="Push answered")
    def answered(self, payment: Payment) -> SafeString:
        """When M-Pesa answered the push."""
        return cells.moment(payment.answered_at)

    @admin.display(description="We wait until")
    def expires(self, payment: Payment) -> SafeString:
        """When we stop waiting."""
        return cells.moment(payment.expires_at)

    @admin.display(description="Decided")
    def decided(self, payment: Payment) -> SafeString:
        """When a final answer came."""
        return cells.moment(payment.decided_at)

    @admin.display(description="Paid")
    def completed(self, payment: Payment) -> SafeString:
        """When it was paid."""
        return cells.moment(payment.completed_at)

    @admin.display(description="Next question to M-Pesa")
    def next_question(self, payment: Payment) -> SafeString:
        """When we ask M-Pesa next."""
        return cells.moment(payment.next_ask_at)

    @admin.display(description="Last question")
    def asked(self, payment: Payment) -> SafeString:
        """When we asked M-Pesa."""
        return cells.moment(payment.asked_at)

    @admin.display(description="Try again of")
    def earlier(self, payment: Payment) -> SafeString:
        """Link the attempt before it."""
        if payment.retry_of_id is None:
            return cells.NOTHING
        return cells.page("payments_payment", payment.retry_of_id, "The attempt before")
