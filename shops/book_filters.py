"""Filters of the books: whose, when, and questions that a shop asks of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format

from shops.books import reach_of
from shops.models import Shop
from smartduka.lib import clock


# More names than this are no list to choose from; the search finds the shop.
SHOPS_SHOWN = 100


class ShopFilter(admin.SimpleListFilter):
    """One of the person's shops; for who has several. The names are theirs only."""

    title = "shop"
    parameter_name = "shop"
    path = "shop"

    def lookups(
        self, request: HttpRequest, model_admin: Any
    ) -> list[tuple[str, str]] | None:
        """Return the shops to choose from."""
        reach = reach_of(request)
        shops = list(reach.shops)
        if reach.is_operator:
            shops = list(Shop.objects.all()[:SHOPS_SHOWN])
        return [(str(shop.pk), shop.name) for shop in shops] if len(shops) > 1 else []

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        """Keep the rows of the chosen shop."""
        chosen = {key for key, _ in self.lookup_choices}
        if self.value() not in chosen:
            return None if self.value() is None else queryset.none()
        return queryset.filter(**{self.path: self.value()})


def shop_filter(path: str) -> type[ShopFilter]:
    """Return the filter for rows that reach their shop by this path."""
    return type("ShopFilter", (ShopFilter,), {"path": path})


class DayFilter(admin.SimpleListFilter):
    """A Nairobi day, or the last few: a range of times, which an index answers."""

    title = "day"
    parameter_name = "day"
    template = "admin/day_filter.html"
    field = "created_at"

    SPANS = {"today": (0, 0), "yesterday": (1, 1), "week": (6, 0), "month": (29, 0)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the usual days."""
        return [
            ("today", "Today"),
            ("yesterday", "Yesterday"),
            ("week", "The last 7 days"),
            ("month", "The last 30 days"),
        ]

    @property
    def day(self) -> str:
        """The single day that was typed in, as the field wants it; "" if none was."""
        value = self.value() or ""
        return value if value and value not in self.SPANS and self._span() else ""

    @property
    def day_in_words(self) -> str:
        """The single day that was typed in, as people write it."""
        return date_format(date.fromisoformat(self.day), "j M Y") if self.day else ""

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Return the usual days, and keep what the day's own form must carry on."""
        self.carried = [
            (name, value)
            for name, value in changelist.params.items()
            if name != self.parameter_name
        ]
        if changelist.query:
            self.carried.append(("q", changelist.query))
        yield from super().choices(changelist)

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        """Keep the rows of the chosen days; none of a day that is no day."""
        if not self.value():
            return None
        span = self._span()
        if span is None:
            return queryset.none()
        first, last = span
        return queryset.filter(
            **{
                f"{self.field}__gte": clock.day_bounds(first)[0],
                f"{self.field}__lt": clock.day_bounds(last)[1],
            }
        )

    def _span(self) -> tuple[date, date] | None:
        value = self.value() or ""
        if value in self.SPANS:
            today = timezone.localdate(clock.now(), clock.NAIROBI)
            since, until = self.SPANS[value]
            return today - timedelta(days=since), today - timedelta(days=until)
        try:
            day = date.fromisoformat(value)
        except ValueError:
            return None
        return (day, day) if 2000 <= day.year <= 2200 else None


def day_filter(field: str) -> type[DayFilter]:
    """Return the filter for rows whose day is that of this field."""
    return type("DayFilter", (DayFilter,), {"field": field})


class QuestionFilter(admin.SimpleListFilter):
    """Answers questions: `questions` says what each is called and which rows fit."""

    parameter_name = "look"
    title = "what needs a look"

    def questions(self) -> dict[str, tuple[str, Q]]:
        """Return key → (words, condition)."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the questions."""
        return [(key, words) for key, (words, _) in self.questions().items()]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        """Keep the rows that fit; none for a question that is none of ours."""
        if not self.value():
            return None
        found = self.questions().get(self.value() or "")
        return queryset.filter(found[1]) if found else queryset.none()


def active_filter(on: str, off: str) -> type[QuestionFilter]:
    """Return the filter for rows that are switched on or off, in these words."""

    class ActiveFilter(QuestionFilter):
        """What is on, and what is off."""

        title, parameter_name = "state", "state"

        def questions(self) -> dict[str, tuple[str, Q]]:
            return {
                "on": (on, Q(is_active=True)),
                "off": (off, Q(is_active=False)),
            }

    return ActiveFilter


def in_question(filter_: type[QuestionFilter], key: str) -> tuple[str, Q]:
    """Return what one question of a filter is called, and which rows fit it."""
    # The questions are the class's own: no request and no list is needed for them.
    return object.__new__(filter_).questions()[key]
