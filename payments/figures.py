"""The figures of a shop's day: what was taken, how prompts went, what is still free.

Takings of a Nairobi day, in KES, are money, never attempts to be paid:

* what arrived on the day: each collection once, on the day on which its customer paid
  (`paid_at`; where nobody told us, when it was sighted), whichever payments and sales
  it was shared out to later. A payment that lost its money to another, and one that was
  made of another's surplus, add nothing;
* less what of it never was there: its corrections, on the day of the collection, for
  they say that this day was counted wrongly (also the shilling that was counted twice);
* less what went back on the day: refunds of every kind, by M-Pesa or by hand, also for
  money of earlier days. What is only asked for or on its way has not gone back yet.

A shilling that tried out an account is in the books and in no takings, and its prompt in
no figure. So is what the sandbox or the simulator told of, once the installation is live.

Money on the platform's account that is no shop's is nobody's takings. Surplus, credit
and unmatched money are in the till and therefore in the takings; they are shown beside
them once more, for somebody must decide about them.

Only reads, in as many statements for a million rows as for none.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import (
    Case,
    CharField,
    Count,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce, ExtractHour, TruncDate

from orders.models import Order
from payments import accounts, inbox, ledger
from payments.enums import (
    AllocationKind,
    FailureReason,
    Method,
    PaymentStatus,
    Verdict,
)
from payments.models import Allocation, Collection, Notice, Payment
from smartduka.lib import clock
from smartduka.lib.money import to_cents


NOTHING = Decimal("0.00")
# How many days are shown beside the chosen one, it included.
DAYS = 14
# Whose messages are looked at for the newest: so many of the newest prompts with one.
NEWEST_HEARD = 50

PAID = Q(status__in=[PaymentStatus.COMPLETED, PaymentStatus.REVERSED])
NOT_PAID = Q(status__in=sorted(PaymentStatus.NOT_PAID), decided_at__isnull=False)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose figures: these shops', and with `nobodys` also unmatched money of none."""

    shop_ids: tuple[int, ...]
    nobodys: bool = False


@dataclass(frozen=True, slots=True)
class Takings:
    """What arrived and what went back, in KES."""

    came: Decimal = NOTHING
    back: Decimal = NOTHING

    @property
    def kept(self) -> Decimal:
        """The takings; below zero where more went back than arrived."""
        return self.came - self.back

    def __add__(self, other: Takings) -> Takings:
        return Takings(self.came + other.came, self.back + other.back)


@dataclass(frozen=True, slots=True)
class DayTakings:
    """The takings of one day, and how they came about.

    `cashiers` has who asked for the money; "" stands for money that nobody at the till
    had asked for. Each of the three parts adds up to `total`.
    """

    total: Takings
    hours: tuple[Takings, ...]
    methods: dict[Method, Takings]
    cashiers: tuple[tuple[str, Takings], ...]


@dataclass(frozen=True, slots=True)
class DaysTakings:
    """The takings of the last days, the oldest first.

    `week_ago`: those of the same weekday before, until the same time of day.
    """

    days: tuple[tuple[date, Takings], ...]
    week_ago: Takings


@dataclass(frozen=True, slots=True)
class Prompts:
    """How a day's prompts went, by the day on which they were sent.

    `taken`: those that M-Pesa accepted and that have a final answer; `heard`: to how
    many of them a callback came that could be believed; `healed`: paid ones whose
    callback did not come.
    `median` and `slow` (p95) are times from the push to paid; None where none was paid.
    `reasons` are those of the failed ones, the most frequent first.
    """

    made: int = 0
    paid: int = 0
    not_paid: int = 0
    expired: int = 0
    stopped: int = 0
    taken: int = 0
    heard: int = 0
    healed: int = 0
    median: timedelta | None = None
    slow: timedelta | None = None
    reasons: tuple[tuple[FailureReason, int], ...] = ()

    @property
    def failed(self) -> int:
        """How many failed, for whatever reason."""
        return sum(count for _, count in self.reasons)

    @property
    def lost(self) -> int:
        """How many callbacks did not come although the answer is known."""
        return self.taken - self.heard


@dataclass(frozen=True, slots=True)
class Pending:
    """Prompts without a final answer at this moment. Amounts in KES.

    `waiting` are those that the till still waits for; `unknown` those that it gave up.
    """

    waiting: int = 0
    amount: Decimal = NOTHING
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Free:
    """Money at this moment that a person may decide about: pieces, and KES."""

    pieces: dict[str, int] = field(default_factory=dict)
    amounts: dict[str, Decimal] = field(default_factory=dict)

    @property
    def total(self) -> Decimal:
        """All of it, in KES."""
        return sum(self.amounts.values(), NOTHING)


UNMATCHED = "unmatched"


def takings_of_day(scope: Scope, day: date) -> DayTakings:
    """Return the takings of a Nairobi day by hour, method and cashier."""
    hours: dict[int, Takings] = defaultdict(Takings)
    methods: dict[Method, Takings] = {one: Takings() for one in Method}
    people: dict[_Person, Takings] = defaultdict(Takings)
    total = Takings()
    start, end = clock.day_bounds(day)
    for flow in _flows(scope, start, end):
        who = f"{flow.path}payment__created_by"
        names = [f"{who}__{name}" for name in ("first_name", "last_name", "username")]
        grouped = (
            flow.rows.annotate(
                hour=ExtractHour("at", tzinfo=clock.NAIROBI), way=_method(flow.path)
            )
            .values_list("hour", "way", who, *names)
            .annotate(amount=Sum("amount"))
            .order_by()
        )
        for hour, way, key, first, last, username, amount in grouped:
            part = flow.part(amount)
            name = f"{first or ''} {last or ''}".strip() or username or ""
            hours[hour] += part
            methods[Method(way)] += part
            people[key, name, username or ""] += part
            total += part
    return DayTakings(
        total, tuple(hours[hour] for hour in range(24)), methods, _named(people)
    )


# Their id, the name that is shown, and the one that they sign in with.
_Person = tuple[int | None, str, str]


def _named(people: dict[_Person, Takings]) -> tuple[tuple[str, Takings], ...]:
    """Name each person so that no two are mistaken; who took most comes first."""
    shared = Counter(name for _, name, _ in people)
    named = [
        (f"{name} ({username})" if shared[name] > 1 and username else name, taken)
        for (_, name, username), taken in people.items()
    ]
    return tuple(sorted(named, key=lambda one: (-one[1].kept, one[0])))


def takings_of_days(scope: Scope, last: date, now: datetime) -> DaysTakings:
    """Return the takings of the DAYS days up to `last`.

    What `week_ago` has is cut at the time of day of `now`, if `last` is not over.
    """
    first = last - timedelta(days=DAYS - 1)
    start, end = clock.day_bounds(first)[0], clock.day_bounds(last)[1]
    same_day, until = last - timedelta(days=7), min(now, end) - timedelta(days=7)
    days = {first + timedelta(days=number): Takings() for number in range(DAYS)}
    week_ago = Takings()
    for flow in _flows(scope, start, end):
        grouped = (
            flow.rows.annotate(day=TruncDate("at", tzinfo=clock.NAIROBI))
            .values_list("day")
            .annotate(whole=Sum("amount"), early=Sum("amount", filter=Q(at__lt=until)))
            .order_by()
        )
        for day, amount, early in grouped:
            days[day] += flow.part(amount)
            if day == same_day:
                week_ago += flow.part(early)
    return DaysTakings(tuple(days.items()), week_ago)


def prompts_of_day(scope: Scope, day: date) -> Prompts:
    """Return how the prompts went that were sent on a Nairobi day."""
    start, end = clock.day_bounds(day)
    rows = _prompts(scope).filter(created_at__gte=start, created_at__lt=end)
    taken = Q(checkout_request_id__isnull=False, decided_at__isnull=False)
    counts = rows.annotate(is_heard=_heard()).aggregate(
        made=Count("pk"),
        paid=Count("pk", filter=PAID),
        not_paid=Count("pk", filter=NOT_PAID),
        expired=Count("pk", filter=Q(status=PaymentStatus.EXPIRED)),
        stopped=Count("pk", filter=Q(status=PaymentStatus.CANCELLED)),
        taken=Count("pk", filter=taken),
        heard=Count("pk", filter=taken & Q(is_heard=True)),
        healed=Count("pk", filter=taken & PAID & Q(is_heard=False)),
    )
    failed = rows.filter(status=PaymentStatus.FAILED).values_list("failure_reason")
    reasons = failed.annotate(count=Count("pk")).order_by("-count", "failure_reason")
    return Prompts(
        **counts,
        median=_rank(rows, counts["paid"], 0.5),
        slow=_rank(rows, counts["paid"], 0.95),
        reasons=tuple((FailureReason(reason), count) for reason, count in reasons),
    )


def last_callback(scope: Scope, now: datetime) -> datetime | None:
    """Return when M-Pesa last called back; None: not for a prompt of the last DAYS."""
    newest = (
        _prompts(scope)
        .filter(_heard(), created_at__gte=now - timedelta(days=DAYS))
        .order_by("-created_at", "-id")
        .values("pk")[:NEWEST_HEARD]
    )
    heard = _callbacks().filter(payment__in=newest)
    found: datetime | None = heard.aggregate(at=Max("received_at"))["at"]
    return found


def pending_now(scope: Scope) -> Pending:
    """Return what has no final answer at this moment."""
    is_open = Q(status__in=sorted(PaymentStatus.OPEN))
    found = (
        _prompts(scope)
        .filter(decided_at__isnull=True)
        .aggregate(
            waiting=Count("pk", filter=is_open),
            amount=Sum("amount", filter=is_open),
            unknown=Count("pk", filter=~is_open),
        )
    )
    return Pending(found["waiting"], _cents(found["amount"]), found["unknown"])


def free_now(scope: Scope) -> Free:
    """Return the surplus, the credit and the unmatched money of this moment."""
    portions = list(
        ledger.current()
        .filter(
            kind__in=sorted(AllocationKind.FREE),
            collection__shop__in=scope.shop_ids,
            collection__environment__in=accounts.environments(),
            collection__reversed_at__isnull=True,
        )
        .values_list("kind")
        .annotate(count=Count("pk"), amount=Sum("amount"))
        .order_by()
    )
    theirs = Q(shop__in=scope.shop_ids)
    if scope.nobodys:
        theirs |= Q(shop__isnull=True)
    rest = Collection.objects.filter(
        theirs,
        environment__in=accounts.environments(),
        allocated__lt=F("amount"),
        reversed_at__isnull=True,
    ).aggregate(count=Count("pk"), amount=Sum(F("amount") - F("allocated")))
    pieces = {str(kind): count for kind, count, _ in portions}
    amounts = {str(kind): _cents(amount) for kind, _, amount in portions}
    return Free(
        pieces | {UNMATCHED: rest["count"]},
        amounts | {UNMATCHED: _cents(rest["amount"])},
    )


@dataclass(frozen=True, slots=True)
class _Flow:
    """Rows with `at` and `amount`, and the path from them to their collection."""

    rows: QuerySet[Any]
    path: str
    sign: int = 1
    is_back: bool = False

    def part(self, amount: Decimal | None) -> Takings:
        """What a sum of its rows is in the takings."""
        signed = _cents(amount) * self.sign
        return Takings(back=signed) if self.is_back else Takings(came=signed)


def _flows(scope: Scope, start: datetime, end: datetime) -> tuple[_Flow, ...]:
    """What arrived, what of it never was there, and what went back."""
    came = Collection.objects.filter(
        _no_test(scope, "payment"),
        shop__in=scope.shop_ids,
        environment__in=accounts.environments(),
    ).annotate(at=Coalesce("paid_at", "sighted_at"))
    gone = Allocation.objects.filter(
        _no_test(scope, "collection__payment"),
        released_by__isnull=True,
        collection__shop__in=scope.shop_ids,
        collection__environment__in=accounts.environments(),
    )
    wrong = gone.filter(kind=AllocationKind.CORRECTION).annotate(
        at=Coalesce("collection__paid_at", "collection__sighted_at")
    )
    back = gone.filter(kind=AllocationKind.REFUNDED).annotate(at=F("created_at"))
    within = Q(at__gte=start, at__lt=end)
    return (
        _Flow(came.filter(within), ""),
        _Flow(wrong.filter(within), "collection__", sign=-1),
        _Flow(back.filter(within), "collection__", is_back=True),
    )


def _method(path: str) -> Case:
    """How the money of a collection came: cash has no account."""
    prompted = {f"{path}payment__method": Method.MPESA_STK}
    return Case(
        When(**{f"{path}account__isnull": True}, then=Value(Method.CASH.value)),
        When(**prompted, then=Value(Method.MPESA_STK.value)),
        default=Value(Method.C2B.value),
        output_field=CharField(),
    )


def _prompts(scope: Scope) -> QuerySet[Payment]:
    return Payment.objects.filter(
        ~Q(order__in=_tests(scope)),
        shop__in=scope.shop_ids,
        environment__in=accounts.environments(),
        method=Method.MPESA_STK,
    )


def _tests(scope: Scope) -> QuerySet[Any]:
    """The sales that only tried out how one is paid: a handful in a shop's life."""
    tests = Order.objects.filter(shop__in=scope.shop_ids, is_test=True)
    return tests.order_by().values("pk")


def _no_test(scope: Scope, path: str) -> Q:
    """Rows whose payment, by this path, is none or that of a real sale."""
    tests = Payment.objects.filter(order__in=_tests(scope)).order_by().values("pk")
    return Q(**{f"{path}__isnull": True}) | ~Q(**{f"{path}__in": tests})


def _heard() -> Exists:
    return Exists(_callbacks().filter(payment=OuterRef("pk")))


def _callbacks() -> QuerySet[Notice]:
    """Callbacks of prompts, without what does not fit or was not understood."""
    doubtful = [Verdict.UNVERIFIED, Verdict.MALFORMED]
    return Notice.objects.filter(kind=inbox.STK).exclude(verdict__in=doubtful)


def _rank(rows: QuerySet[Payment], paid: int, share: float) -> timedelta | None:
    """The time from push to paid that so large a share of the paid ones kept.

    By the nearest rank, read by the database: the answer is one row.
    """
    took = ExpressionWrapper(
        F("completed_at") - F("created_at"), output_field=DurationField()
    )
    place = max(math.ceil(paid * share) - 1, 0)
    times = rows.filter(PAID).annotate(took=took).order_by("took")
    found: list[timedelta] = list(
        times.values_list("took", flat=True)[place : place + 1]
    )
    return found[0] if found else None


def _cents(amount: Decimal | None) -> Decimal:
    return to_cents(amount or NOTHING)
