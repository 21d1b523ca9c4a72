"""What needs a person: the questions of the books that have an answer, on one card.

Each is a link to its list, where the same question is chosen. Few rows are such an
answer, and a partial index has just those: however old one is, it is told, and the card
costs the same for a shop of ten years.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import Model, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from orders.admin import OrderFilter
from orders.models import Order
from payments.admin import doctor
from payments.admin.attempts import PaymentFilter
from payments.admin.corrections import CorrectionFilter
from payments.admin.messages import NoticeFilter
from payments.admin.money import CollectionFilter
from payments.admin.receipts import ReceiptFilter
from payments.admin.refunds import RefundFilter
from payments.admin.suspicions import SuspicionFilter
from payments.models import (
    Collection,
    Correction,
    FailedPayment,
    Notice,
    Payment,
    Receipt,
    Refund,
    Suspicion,
)
from shops import book_cells as cells
from shops.book_filters import QuestionFilter, in_question
from shops.books import reach_of
from shops.models import Shop
from shops.rights import Right
from smartduka.lib import clock


# So many are counted.
MOST = 99


@dataclass(frozen=True, slots=True)
class Waiting:
    """A question with an answer: how many, where they are, and what to do."""

    name: str
    remedy: str
    tone: str
    count: str
    address: str


@dataclass(frozen=True, slots=True)
class _Question:
    model: type[Model]
    filter: type[QuestionFilter]
    key: str
    name: str
    remedy: str
    tone: str


QUESTIONS = (
    _Question(
        Refund, RefundFilter, "waits", "Refunds wait for a second person",
        "Approve or refuse them.", cells.WAIT,
    ),
    _Question(
        Suspicion, SuspicionFilter, "open", "Something looks wrong",
        "Look at it, and say what it was.", cells.BAD,
    ),
    _Question(
        Correction, CorrectionFilter, "waits",
        "Corrections wait for a second person", "Book or refuse them.", cells.WAIT,
    ),
    _Question(
        Collection, CollectionFilter, "disputed", "M-Pesa's books say otherwise",
        "Look in M-Pesa's portal, then correct the books.", cells.BAD,
    ),
    _Question(
        Payment, PaymentFilter, "alarm", "Payments with an alarm",
        "The payment's page says what does not fit.", cells.BAD,
    ),
    _Question(
        Notice, NoticeFilter, "parked", "Messages that could not be processed",
        "Process them again; if they break again, tell your support.", cells.BAD,
    ),
    _Question(
        Order, OrderFilter, "surplus", "Sales with more money than they need",
        "Use it for another sale, keep it as credit, or send it back.", cells.WAIT,
    ),
    _Question(
        Collection, CollectionFilter, "rest", "Money that no sale took",
        "Say which sale it pays, or send it back.", cells.WAIT,
    ),
    _Question(
        Receipt, ReceiptFilter, "claimed", "Payments by hand not confirmed",
        "M-Pesa told of them once; a statement confirms them.", cells.WAIT,
    ),
    _Question(
        Refund, RefundFilter, "open", "Refunds that M-Pesa has not answered",
        "Ask M-Pesa on the refund's page. Do not pay twice.", cells.WAIT,
    ),
    _Question(
        Payment, PaymentFilter, "long", "Prompts open for more than 5 minutes",
        "M-Pesa is asked by itself; on the page you see what it said.", cells.WAIT,
    ),
)  # fmt: skip
NOT_PAID = "Payments failed today"
NOT_PAID_REMEDY = "See why, and what the customer can do."
SICK = "The go-live doctor found something broken"
NOT_SET_UP = "The till cannot ask phones for M-Pesa"
NOT_SET_UP_REMEDY = "Set up a till or paybill, or choose the platform's account."
SICK_REMEDY = "See what, and what to do; then check again."


def waiting(request: HttpRequest, site: admin.AdminSite) -> list[Waiting]:
    """Return what waits for this person, in the books that they read.

    One bounded count for each question.
    """
    found = [_asked(request, site, one) for one in QUESTIONS]
    found += [_not_set_up(request), _broken(request), _not_paid_today(request, site)]
    return [one for one in found if one is not None]


def _asked(
    request: HttpRequest, site: admin.AdminSite, one: _Question
) -> Waiting | None:
    _, condition = in_question(one.filter, one.key)
    count = _count(request, site, one.model, condition)
    address = _address(one.model, look=one.key)
    return _told(count, one.name, one.remedy, one.tone, address)


def _not_set_up(request: HttpRequest) -> Waiting | None:
    """Shops of the person whose money goes nowhere: they lead to the set-up."""
    own = [shop.pk for shop in reach_of(request).shops_with(Right.SETTINGS)]
    if not own:
        return None
    chosen = Q(mpesa_settings__uses_platform_account=True) | Q(
        mpesa_settings__account__isnull=False
    )
    shops = Shop.objects.filter(pk__in=own).exclude(chosen).order_by("name", "pk")
    found = list(shops.values_list("pk", flat=True)[: MOST + 1])
    if not found:
        return None
    address = reverse("admin:payments_mpesasettings_setup", args=[found[0]])
    return _told(len(found), NOT_SET_UP, NOT_SET_UP_REMEDY, cells.BAD, address)


def _broken(request: HttpRequest) -> Waiting | None:
    count = doctor.broken(request, MOST + 1)
    return _told(count, SICK, SICK_REMEDY, cells.BAD, reverse("admin:doctor"))


def _not_paid_today(request: HttpRequest, site: admin.AdminSite) -> Waiting | None:
    """Those that nobody has seen yet: just what the list shows."""
    today = clock.now().astimezone(clock.NAIROBI).date()
    new = Q(seen_at__isnull=True, created_at__gte=clock.day_bounds(today)[0])
    count = _count(request, site, FailedPayment, new)
    address = _address(FailedPayment, day="today")
    return _told(count, NOT_PAID, NOT_PAID_REMEDY, cells.QUIET, address)


def _count(
    request: HttpRequest, site: admin.AdminSite, model: type[Model], condition: Q
) -> int:
    rows: Any = site.get_model_admin(model).get_queryset(request)
    fitting = rows.select_related(None).filter(condition)
    found: int = fitting.order_by().values("pk")[: MOST + 1].count()
    return found


def _told(
    count: int, name: str, remedy: str, tone: str, address: str
) -> Waiting | None:
    if not count:
        return None
    shown = f"{MOST}+" if count > MOST else str(count)
    return Waiting(name, remedy, tone, shown, address)


def _address(model: type[Model], **query: str) -> str:
    page = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    return f"{reverse(page)}?{urlencode(query)}"
