"""The home page: how a day went, in figures that move while somebody looks at them.

The day is Nairobi's. Whose figures they are is decided here: a person of one shop has
that shop's, a person of several chooses among theirs, the operator among all. Another
shop's number does not exist (404, law 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.formats import date_format
from django.utils.http import urlencode

from payments import figures, states
from payments.admin import attention, charts
from payments.enums import FailureReason, Method, PaymentStatus
from payments.figures import Scope, Takings
from payments.gateways import result_codes
from shops import book_cells as cells
from shops.book_filters import SHOPS_SHOWN
from shops.books import reach_of
from shops.models import Shop
from smartduka.lib import clock
from smartduka.lib.money import format_kes


# How often the page asks for its figures, in seconds: of today, and of a day that is
# over; and for what waits, which costs more.
FIGURES_S, FIGURES_PAST_S, WAITING_S = 5, 30, 30
FIRST_YEAR = 2000
# The hours that are shown in any case; others where money moved in them.
OPENS, CLOSES = 7, 19
CASHIERS_SHOWN = 10
# From so many answers on it is said whether M-Pesa's own messages reach us.
ENOUGH_ANSWERS = 5
METHOD_NAMES = {Method.MPESA_STK: "M-Pesa prompt"}


@dataclass(frozen=True, slots=True)
class Choice:
    """The day and the shops whose figures are shown.

    `shop` is None for all of them; `shops` are those to choose from, if several.
    `fault` says why a day that was asked for is not shown.
    """

    scope: Scope
    shops: tuple[Shop, ...]
    shop: Shop | None
    day: date
    today: date
    is_named: bool
    fault: str = ""

    @property
    def is_today(self) -> bool:
        """Whether the day still runs."""
        return self.day == self.today

    @property
    def name(self) -> str:
        """The day as people say it."""
        if self.is_today:
            return f"Today, {date_format(self.day, 'l j F')}"
        return date_format(self.day, "l j F Y")

    @property
    def query(self) -> dict[str, str]:
        """The query of the shop that was chosen."""
        return {"shop": str(self.shop.pk)} if self.shop and self.shops else {}

    def address(self, day: date) -> str:
        """Return where the figures of another day are."""
        other = {} if day == self.today else {"day": day.isoformat()}
        asked = urlencode(self.query | other)
        return reverse("admin:index") + (f"?{asked}" if asked else "")

    @property
    def before(self) -> str:
        """Where the day before is."""
        return self.address(self.day - timedelta(days=1))

    @property
    def after(self) -> str:
        """Where the next day is; "" where it has not come."""
        return "" if self.is_today else self.address(self.day + timedelta(days=1))

    @property
    def now(self) -> str:
        """Where today is."""
        return self.address(self.today)

    @property
    def live(self) -> str:
        """Where the page asks for its figures. It says which day it shows: at
        midnight a page of today is no longer that.
        """
        day = {"day": self.day.isoformat()} if self.is_named else {}
        asked = urlencode(self.query | day | {"shown": self.day.isoformat()})
        return f"{reverse('admin:home_figures')}?{asked}"

    @property
    def every_s(self) -> int:
        """How often it asks."""
        return FIGURES_S if self.is_today else FIGURES_PAST_S


def urls(site: admin.AdminSite) -> list[URLPattern]:
    """Return the addresses of the parts that the page asks for again."""

    def figures_now(request: HttpRequest) -> HttpResponse:
        """Show the figures as they are now; ask for the whole page of another day."""
        found = context(request)
        response = render(request, "admin/_home_figures.html", found)
        if request.GET.get("shown") != found["choice"].day.isoformat():
            response["HX-Refresh"] = "true"
        response["X-As-Of"] = found["as_of"]
        return response

    def waiting_now(request: HttpRequest) -> HttpResponse:
        """Show what waits for a person now."""
        found = {"waiting": attention.waiting(request, site)}
        response = render(request, "admin/_home_waiting.html", found)
        response["X-As-Of"] = ""
        return response

    return [
        path("home/figures/", site.admin_view(figures_now), name="home_figures"),
        path("home/waiting/", site.admin_view(waiting_now), name="home_waiting"),
    ]


def chosen(request: HttpRequest) -> Choice:
    """Return what the query chooses. Raises Http404 for a shop that is not theirs."""
    reach = reach_of(request)
    shops = tuple(Shop.objects.all()) if reach.is_operator else reach.shops
    shop = _shop(request.GET.get("shop", ""), shops)
    kept = (shop,) if shop else shops
    whole = reach.is_operator and shop is None
    scope = Scope(tuple(one.pk for one in kept), nobodys=whole)
    today = clock.now().astimezone(clock.NAIROBI).date()
    asked = request.GET.get("day", "")
    day, fault = _day(asked, today)
    shown = shops[:SHOPS_SHOWN] if len(shops) > 1 else ()
    if shop is not None and shown and shop not in shown:
        shown = (*shown, shop)
    return Choice(scope, shown, shop, day, today, bool(asked), fault)


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the figures' template shows.

    In as many statements for a million rows as for none.
    """
    choice, now = chosen(request), clock.now()
    taken = figures.takings_of_day(choice.scope, choice.day)
    days = figures.takings_of_days(choice.scope, choice.day, now)
    prompts = figures.prompts_of_day(choice.scope, choice.day)
    heard_at = figures.last_callback(choice.scope, now)
    return {
        "choice": choice,
        "as_of": now.astimezone(clock.NAIROBI).strftime("%H:%M:%S"),
        "taken": taken,
        "change": _change(choice, taken.total.kept, days.week_ago.kept),
        "hours": _hours(taken.hours),
        "days": _days(choice, days),
        "methods": charts.bars(*_methods(taken.methods)),
        "cashiers": charts.bars(*_cashiers(taken.cashiers)),
        "prompts": prompts,
        "rate": _percent(prompts.paid, prompts.paid + prompts.not_paid),
        "answered": prompts.paid + prompts.not_paid,
        "reasons": _reasons(choice, prompts),
        "failed_address": _failed(choice),
        "median": _duration(prompts.median),
        "slow": _duration(prompts.slow),
        "heard": _messages(prompts, heard_at),
        "pending": figures.pending_now(choice.scope),
        "pending_address": _book("payments_payment", choice, look="undecided"),
        "free": figures.free_now(choice.scope),
        "surplus_address": _book("orders_order", choice, look="surplus"),
        "unmatched_address": _book("payments_collection", choice, look="rest"),
    }


def _shop(asked: str, shops: Sequence[Shop]) -> Shop | None:
    if not asked:
        return shops[0] if len(shops) == 1 else None
    for shop in shops:
        if str(shop.pk) == asked:
            return shop
    raise Http404


def _day(asked: str, today: date) -> tuple[date, str]:
    if not asked:
        return today, ""
    try:
        day = date.fromisoformat(asked)
    except ValueError:
        return today, "That is no day. Today is shown."
    if day > today:
        return today, "That day has not come yet. Today is shown."
    if day.year < FIRST_YEAR:
        return today, "That is too long ago. Today is shown."
    return day, ""


@dataclass(frozen=True, slots=True)
class Change:
    """How the takings compare with those of a week before, in words."""

    words: str
    tone: str


def _change(choice: Choice, taken: Decimal, before: Decimal) -> Change:
    weekday = date_format(choice.day, "l")
    today = f"by this time last {weekday}"
    then = today if choice.is_today else f"the {weekday} before"
    if taken == before:
        return Change(f"As much as {then}", cells.QUIET)
    more = taken > before
    word, tone = ("more", cells.GOOD) if more else ("less", cells.QUIET)
    if before <= 0:
        amount = format_kes(abs(taken - before))
        return Change(f"{amount} {word} than {then}", tone)
    share = (abs(taken - before) * 100 / before).quantize(
        Decimal(1), rounding=ROUND_HALF_UP
    )
    if not share:
        return Change(f"About as much as {then}", cells.QUIET)
    return Change(f"{share:,} % {word} than {then}", tone)


def _hours(hours: Sequence[Takings]) -> charts.Columns:
    moved = [hour for hour, one in enumerate(hours) if one != Takings()]
    first, last = min([OPENS, *moved]), max([CLOSES, *moved])
    return charts.columns(
        [
            charts.Entry(
                name=f"{hour:02}:00 to {hour:02}:59",
                amount=hours[hour].kept,
                words=format_kes(hours[hour].kept),
                mark=str(hour) if hour % 3 == 0 else "",
            )
            for hour in range(first, last + 1)
        ]
    )


def _days(choice: Choice, days: figures.DaysTakings) -> charts.Columns:
    return charts.columns(
        [
            charts.Entry(
                name=date_format(day, "D j M"),
                amount=one.kept,
                words=format_kes(one.kept),
                mark=str(day.day),
                address=choice.address(day),
                is_chosen=day == choice.day,
            )
            for day, one in days.days
        ]
    )


Named = tuple[list[charts.Entry], list[str]]


def _methods(methods: dict[Method, Takings]) -> Named:
    found = sorted(methods.items(), key=lambda one: -one[1].kept)
    return _named([(METHOD_NAMES.get(way, str(way.label)), one) for way, one in found])


def _cashiers(people: Sequence[tuple[str, Takings]]) -> Named:
    shown = [(name or "Paid without a cashier", one) for name, one in people]
    rest = shown[CASHIERS_SHOWN:]
    if len(rest) > 1:
        together = sum((one for _, one in rest), Takings())
        shown = [*shown[:CASHIERS_SHOWN], (f"{len(rest)} others", together)]
    return _named(shown)


def _named(parts: Sequence[tuple[str, Takings]]) -> Named:
    entries = [
        charts.Entry(name, one.kept, format_kes(one.kept)) for name, one in parts
    ]
    about = [
        f"{format_kes(one.came)} came in, {format_kes(one.back)} went back"
        if one.back
        else ""
        for _, one in parts
    ]
    return entries, about


def _reasons(choice: Choice, prompts: figures.Prompts) -> tuple[charts.Bar, ...]:
    """Why prompts brought no money; and what nobody knows is no failure yet."""
    told = [
        (str(reason.label), count, reason.value, _remedy(reason))
        for reason, count in prompts.reasons
    ]
    told += [
        (str(label), count, key, words.remedy("en"))
        for label, count, key, words in (
            (PaymentStatus.EXPIRED.label, prompts.expired, "expired", states.EXPIRED),
            (PaymentStatus.CANCELLED.label, prompts.stopped, "stopped", states.STOPPED),
        )
        if count
    ]
    entries = [
        charts.Entry(name, Decimal(count), str(count), address=_failed(choice, why=why))
        for name, count, why, _ in told
    ]
    return charts.bars(entries, [remedy for *_, remedy in told])


def _remedy(reason: FailureReason) -> str:
    return result_codes.words("", reason).remedy("en")


@dataclass(frozen=True, slots=True)
class Messages:
    """How M-Pesa's own messages fare: a share of the answers, and what to do."""

    percent: str
    last: datetime | None
    tone: str
    words: str


def _messages(prompts: figures.Prompts, heard_at: datetime | None) -> Messages:
    share = _percent(prompts.heard, prompts.taken)
    tone, words = cells.GOOD, "They arrive."
    if not prompts.taken:
        tone, words = cells.QUIET, "No prompt has an answer yet."
    elif prompts.lost and not prompts.heard and prompts.taken >= ENOUGH_ANSWERS:
        tone = cells.BAD
        words = "None arrives. Payments are still found, by asking, which takes longer."
    elif prompts.lost:
        tone = cells.WAIT
        words = f"{prompts.lost} did not arrive; the answer was found by asking."
    return Messages(share, heard_at, tone, words)


def _percent(part: int, whole: int) -> str:
    """Return a share; never all for less than all, and never none for some."""
    if not whole:
        return ""
    share = part * 100 // whole
    return f"{max(share, 1) if part else 0} %"


def _duration(took: timedelta | None) -> str:
    if took is None:
        return ""
    if took < timedelta(seconds=10):
        tenths = max(took, timedelta(0)) // timedelta(milliseconds=100)
        return f"{tenths // 10}.{tenths % 10} s"
    seconds = took // timedelta(seconds=1)
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _failed(choice: Choice, **query: str) -> str:
    """Where the day's failed payments are, also those that somebody has seen."""
    day = {"seen": "all", "day": choice.day.isoformat()}
    return _book("payments_failedpayment", choice, **(query | day))


def _book(name: str, choice: Choice, **query: str) -> str:
    asked = urlencode(query | choice.query)
    return f"{reverse(f'admin:{name}_changelist')}?{asked}"
