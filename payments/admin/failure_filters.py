"""Filters of the failed payments: seen, why, who asked, how much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from payments import failures
from payments.enums import FailureReason, PaymentStatus
from shops.book_filters import QuestionFilter
from shops.books import reach_of
from shops.models import Membership
from smartduka.lib import clock


# More people than this are no list to choose from.
PEOPLE_SHOWN = 100


class SeenFilter(admin.SimpleListFilter):
    """Not seen yet, unless somebody asks for the others."""

    title = "seen"
    parameter_name = "seen"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return what else there is."""
        return [("yes", "Seen"), ("all", "All")]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Return the choices; the first is what is shown by itself."""
        first, *others = super().choices(changelist)
        yield first | {"display": "Not seen yet"}
        yield from others

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        """Keep what was chosen; none for what is no choice."""
        chosen = {
            None: Q(seen_at__isnull=True),
            "yes": Q(seen_at__isnull=False),
            "all": Q(),
        }
        found = chosen.get(self.value())
        return queryset.none() if found is None else queryset.filter(found)


class ReasonFilter(QuestionFilter):
    """Why it was not paid."""

    title = "reason"
    parameter_name = "why"

    def questions(self) -> dict[str, tuple[str, Q]]:
        reasons = {
            reason.value: (
                str(reason.label),
                Q(status=PaymentStatus.FAILED, failure_reason=reason),
            )
            for reason in FailureReason
        }
        stopped = Q(status=PaymentStatus.CANCELLED)
        return {
            "unclear": ("Unclear: M-Pesa has not said", failures.unclear(clock.now())),
            "expired": ("Nobody told us", Q(status=PaymentStatus.EXPIRED)),
            "stopped": ("Stopped by the cashier", stopped),
            **reasons,
        }


class AmountFilter(QuestionFilter):
    """How much was asked for."""

    title = "amount"
    parameter_name = "sum"

    def questions(self) -> dict[str, tuple[str, Q]]:
        return {
            "tiny": ("Below KES 100", Q(amount__lt=100)),
            "small": ("KES 100 to 499", Q(amount__gte=100, amount__lt=500)),
            "middle": ("KES 500 to 999", Q(amount__gte=500, amount__lt=1000)),
            "large": ("KES 1,000 to 4,999", Q(amount__gte=1000, amount__lt=5000)),
            "huge": ("KES 5,000 and more", Q(amount__gte=5000)),
        }


class CashierFilter(admin.SimpleListFilter):
    """Who asked for it: people of the person's shops, also those who left."""

    title = "cashier"
    parameter_name = "by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the people to choose from."""
        reach = reach_of(request)
        staff = Membership.objects.all()
        if not reach.is_operator:
            staff = staff.filter(shop__in=list(reach.roles))
        people = get_user_model().objects.filter(pk__in=staff.values("user"))
        named = people.order_by("username")[:PEOPLE_SHOWN]
        return [(str(person.pk), str(person)) for person in named]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        """Keep what the chosen person asked for."""
        if self.value() is None:
            return None
        if self.value() not in {key for key, _ in self.lookup_choices}:
            return queryset.none()
        return queryset.filter(created_by=self.value())
