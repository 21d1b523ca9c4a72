"""The audit log: who did what, when, on what, from where and by which road."""

from __future__ import annotations

import ipaddress
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from payments import acts
from payments.models import Act
from shops import book_cells as cells
from shops.book_filters import day_filter, shop_filter
from shops.books import BookAdmin, facts
from smartduka.lib import caller


ROADS = {caller.ADMIN: "Admin", caller.API: "API", caller.TILL: "Till"}
PEOPLE_AT_ONCE = 100


class RoadFilter(admin.SimpleListFilter):
    """By which road it was asked for."""

    title = "by"
    parameter_name = "road"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(ROADS.items())

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        return queryset.filter(road=self.value()) if self.value() else None


class AnswerFilter(admin.SimpleListFilter):
    """Whether it was taken or refused."""

    title = "answer"
    parameter_name = "answer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("taken", "Taken"), ("refused", "Refused")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        if self.value() == "taken":
            return queryset.filter(status__lt=400)
        return queryset.filter(status__gte=400) if self.value() else None


class ActAdmin(BookAdmin):
    """Every act of a signed-in person; without a shop it is the operator's to read."""

    book_name, row_name, rows_name = "Audit log", "act", "acts"
    about = (
        "Who did what, when, on what, from which address, in the admin, API or till."
    )
    list_display = (
        "moment", "who", "act", "subject", "said", "by", "origin", "answer",
        "shop_name",
    )  # fmt: skip
    list_display_links = None
    list_filter = (shop_filter("shop"), day_filter("at"), RoadFilter, AnswerFilter)
    list_select_related = ("shop", "actor")
    search_fields = ("what",)
    search_help_text = "A user name, an address, an id, or what was done"
    ordering = ("-id",)
    readonly_fields = (
        "moment", "who", "act", "subject", "said", "by", "origin", "answer",
        "shop_name",
    )  # fmt: skip
    fieldsets = (
        facts("Act", "act", "who", "moment", "subject", "said", "shop_name"),
        facts("From where", "by", "origin", "answer"),
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find by who, from where, on what, or the words of the act, each by an index."""
        text = search_term.strip()
        if not text:
            return queryset, False
        people = get_user_model().objects.filter(username__istartswith=text)
        found = (
            Q(about_id=text[:64])
            | Q(what__in=acts.kinds_with(text))
            | Q(actor__in=list(people.values_list("pk", flat=True)[:PEOPLE_AT_ONCE]))
        )
        try:
            found |= Q(address=str(ipaddress.ip_address(text)))
        except ValueError:
            return queryset.filter(found), False
        return queryset.filter(found), False

    def title_of(self, row: Act) -> str:
        return acts.words_of(row.what)

    @admin.display(description="When", ordering="id")
    def moment(self, row: Act) -> SafeString:
        """When it was answered."""
        return cells.moment(row.at)

    @admin.display(description="Who")
    def who(self, row: Act) -> str:
        """Who asked for it."""
        return cells.person(row.actor)

    @admin.display(description="What")
    def act(self, row: Act) -> str:
        """What it is called."""
        return acts.words_of(row.what)

    @admin.display(description="On what")
    def subject(self, row: Act) -> SafeString:
        """Link the row it was done to."""
        if not row.about_id:
            return cells.NOTHING
        name = row.about_id if len(row.about_id) < 12 else f"{row.about_id[:8]}…"
        try:
            model = apps.get_model(row.about)
            page = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
            address = reverse(page, args=[row.about_id])
        except (LookupError, ValueError, NoReverseMatch):
            return cells.code(name)
        kind = str(model._meta.verbose_name).capitalize()
        return format_html('<a href="{}">{} {}</a>', address, kind, cells.code(name))

    @admin.display(description="Details")
    def said(self, row: Act) -> str:
        """What the book wrote about it."""
        return row.details or cells.NOTHING

    @admin.display(description="By")
    def by(self, row: Act) -> str:
        """The road."""
        return ROADS.get(row.road, "Sign-in page")

    @admin.display(description="From")
    def origin(self, row: Act) -> SafeString:
        """The address it came from."""
        return cells.code(row.address)

    @admin.display(description="Answer")
    def answer(self, row: Act) -> SafeString:
        """Whether it was taken."""
        if row.status < 400:
            return cells.pill("Taken", cells.GOOD)
        return cells.pill(f"Refused ({row.status})", cells.WAIT)
