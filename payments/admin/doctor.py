"""The go-live doctor in the admin: what is fine, what is not, and what to do.

Owners and managers examine their shop's account, auditors read the result; the operator
examines every account and the installation. A page shows what was found last and asks
nobody; the button asks.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import Case, F, IntegerField, Q, QuerySet, Value, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from payments import accounts
from payments.admin import cells as words_of
from payments.doctor import examinations, proxies
from payments.doctor.findings import Finding, Report, Who
from payments.enums import Health
from payments.models import Examination, MpesaAccount, MpesaSettings
from shops import book_cells as cells
from shops.books import reach_of
from shops.rights import Right


# So many accounts are listed, those that need a person first; a search finds the rest.
LISTED = 100
TONES = {
    Health.FINE: cells.GOOD,
    Health.LOOK: cells.WAIT,
    Health.BROKEN: cells.BAD,
    Health.UNKNOWN: cells.QUIET,
}
NEVER = "Not checked yet"
HEADLINES = {
    Health.BROKEN: "Something is broken",
    Health.LOOK: "Something needs a look",
    Health.FINE: "All is fine, as far as it can be known",
}
OPERATORS = "The platform's operator has to do this. Tell them."
CHANGED = "Keys were entered since: check again."
JUST_NOW = "It was checked a moment ago: this is what was found."


@dataclass(frozen=True, slots=True)
class Line:
    """A finding as a page shows it."""

    name: str
    tone: str
    state: str
    words: str
    remedy: str
    letter: str
    key: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A report as a page shows it; `lines` is empty before the first examination."""

    headline: str
    tone: str
    summary: str
    at: SafeString | None = None
    by: str = ""
    note: str = ""
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """An account on the overview."""

    name: str
    shop: str
    pill: SafeString
    at: SafeString
    address: str


def urls(site: admin.AdminSite) -> list[URLPattern]:
    """Return the addresses of the doctor's pages, for the site to mount."""

    def overview(request: HttpRequest) -> HttpResponse:
        return overview_view(site, request)

    def account(request: HttpRequest, account_id: uuid.UUID) -> HttpResponse:
        return account_view(site, request, account_id)

    return [
        path("doctor/", site.admin_view(require_safe(overview)), name="doctor"),
        path(
            "doctor/check/",
            site.admin_view(require_POST(check_installation)),
            name="doctor_check",
        ),
        path(
            "doctor/<uuid:account_id>/",
            site.admin_view(require_safe(account)),
            name="doctor_account",
        ),
        path(
            "doctor/<uuid:account_id>/check/",
            site.admin_view(require_POST(check_account)),
            name="doctor_account_check",
        ),
    ]


def overview_view(site: admin.AdminSite, request: HttpRequest) -> HttpResponse:
    """Show the accounts that a person reads, and to the operator the installation.

    With one account only, its page is shown at once.
    """
    is_operator = reach_of(request).is_operator
    rows = list(_worst_first(_accounts(request))[: LISTED + 1])
    others = _without_account(request)
    if not is_operator and len(rows) == 1 and not others:
        address = reverse("admin:doctor_account", args=[rows[0].pk])
        return HttpResponseRedirect(address)
    context: dict[str, Any] = {
        "title": "Go-live doctor",
        "entries": [_entry(row) for row in rows[:LISTED]],
        "is_cut": len(rows) > LISTED,
        "others": others,
    }
    if is_operator:
        found = _kept(Examination.INSTALLATION)
        context |= {
            "shown": _shown(found, is_operator=True),
            "check": reverse("admin:doctor_check"),
        }
    return _page(site, request, "doctor.html", context)


def account_view(
    site: admin.AdminSite, request: HttpRequest, account_id: uuid.UUID
) -> HttpResponse:
    """Show what was found last about one account."""
    account = _account(request, account_id)
    reach = reach_of(request)
    may_check = _may_check(request, account)
    found = _kept(str(account.pk))
    note = CHANGED if found is not None and _is_newer(account, found) else ""
    context = {
        "title": words_of.account(account),
        "account": account,
        "setup": _setup(request, account.shop_id),
        "shown": _shown(found, is_operator=reach.is_operator, note=note),
        "check": reverse("admin:doctor_account_check", args=[account.pk])
        if may_check
        else "",
    }
    return _page(site, request, "doctor_account.html", context)


def check_account(request: HttpRequest, account_id: uuid.UUID) -> HttpResponse:
    """Examine an account now. Outside any transaction: M-Pesa is called."""
    account = _account(request, account_id)
    if not _may_check(request, account):
        raise PermissionDenied
    if examinations.was_just_made(str(account.pk)):
        messages.info(request, JUST_NOW)
    else:
        report = examinations.examine_account(account, by=request.user)
        _say(request, report)
        _log(request, account, report)
    return HttpResponseRedirect(reverse("admin:doctor_account", args=[account.pk]))


def check_installation(request: HttpRequest) -> HttpResponse:
    """Examine the installation now. Outside any transaction: others are called."""
    if not reach_of(request).may(Right.PLATFORM):
        raise PermissionDenied
    if examinations.was_just_made(Examination.INSTALLATION):
        messages.info(request, JUST_NOW)
    else:
        came = proxies.seen(request)
        _say(request, examinations.examine_installation(by=request.user, came=came))
    return HttpResponseRedirect(reverse("admin:doctor"))


def broken(request: HttpRequest, most: int) -> int:
    """How many of this person's accounts were found broken, at most `most`."""
    reach = reach_of(request)
    rows = Examination.objects.filter(health=Health.BROKEN)
    theirs = Q(account__in=_accounts(request).order_by().values("pk"))
    if reach.is_operator:
        theirs |= Q(subject=Examination.INSTALLATION)
    return len(rows.filter(theirs).values_list("pk", flat=True)[:most])


def _say(request: HttpRequest, report: Report) -> None:
    tone = messages.success if report.health == Health.FINE else messages.warning
    tone(request, f"Checked: {_summary(report)}")


def _log(request: HttpRequest, account: MpesaAccount, report: Report) -> None:
    user: Any = request.user
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(account),
        object_id=str(account.pk),
        object_repr=words_of.account(account),
        action_flag=CHANGE,
        change_message=f"Go-live doctor: {_summary(report)}",
    )


def _accounts(request: HttpRequest) -> QuerySet[MpesaAccount]:
    """The living accounts of the person's shops; all for the operator."""
    reach, rows = reach_of(request), examinations.living_accounts()
    return rows if reach.is_operator else rows.filter(shop__in=list(reach.roles))


def _account(request: HttpRequest, account_id: uuid.UUID) -> MpesaAccount:
    """The account. Raises Http404 for one that is not the person's to read."""
    reach = reach_of(request)
    account = MpesaAccount.objects.select_related("shop").filter(pk=account_id).first()
    if account is None or not (reach.is_operator or account.shop_id in reach.roles):
        raise Http404
    return account


def _may_check(request: HttpRequest, account: MpesaAccount) -> bool:
    reach = reach_of(request)
    if account.shop_id is None:
        return reach.may(Right.PLATFORM)
    return reach.may(Right.MPESA, account.shop_id)


def _setup(request: HttpRequest, shop_id: int | None) -> str:
    """Where this person sets up a shop's M-Pesa; "" if they may not."""
    if shop_id is None or not reach_of(request).may(Right.SETTINGS, shop_id):
        return ""
    return reverse("admin:payments_mpesasettings_setup", args=[shop_id])


def _without_account(request: HttpRequest) -> list[tuple[str, str]]:
    """What to say of the person's shops without a live account, and where to go."""
    shops = reach_of(request).shops
    rows = {row.shop_id: row for row in MpesaSettings.objects.filter(shop__in=shops)}
    told = []
    for shop in shops:
        row = rows.get(shop.pk)
        if row is not None and row.uses_platform_account:
            words = "is paid into the platform's account: its operator looks after that"
        elif row is None or row.account_id is None:
            words = "cannot send prompts: no M-Pesa account of it is live"
        else:
            continue
        told.append((f"{shop.name} {words}.", _setup(request, shop.pk)))
    return told


def _worst_first(rows: QuerySet[MpesaAccount]) -> QuerySet[MpesaAccount]:
    """Broken, then to be looked at, then never checked, then fine."""
    order = Case(
        When(examination__health=Health.BROKEN, then=Value(0)),
        When(examination__health=Health.LOOK, then=Value(1)),
        When(examination__isnull=True, then=Value(2)),
        default=Value(3),
        output_field=IntegerField(),
    )
    found = rows.select_related("shop", "examination").annotate(worst=order)
    return found.order_by("worst", F("created_at").desc(), "pk")


def _entry(account: MpesaAccount) -> Entry:
    examination = getattr(account, "examination", None)
    pill, at = cells.pill(NEVER, cells.QUIET), cells.NOTHING
    if examination is not None:
        health = Health(examination.health)
        pill = cells.pill(HEADLINES[health], TONES[health])
        at = cells.moment(examination.examined_at)
    return Entry(
        name=words_of.account(account),
        shop=account.shop.name if account.shop else "The platform's",
        pill=pill,
        at=at,
        address=reverse("admin:doctor_account", args=[account.pk]),
    )


def _kept(subject: str) -> Examination | None:
    rows = Examination.objects.select_related("examined_by")
    return rows.filter(subject=subject).first()


def _is_newer(account: MpesaAccount, found: Examination) -> bool:
    """Whether a key was entered after the examination."""
    entered = (getattr(account, f"{name}_set_at") for name in accounts.SECRETS)
    return any(at is not None and at > found.examined_at for at in entered)


def _shown(found: Examination | None, *, is_operator: bool, note: str = "") -> Shown:
    if found is None:
        words = "Press the button: it takes some seconds, and moves no money."
        return Shown(NEVER, cells.QUIET, words)
    report = examinations.report_of(found)
    return Shown(
        headline=HEADLINES[report.health],
        tone=TONES[report.health],
        summary=_summary(report),
        at=cells.moment(found.examined_at),
        by=str(found.examined_by) if found.examined_by else "the command line",
        note=note,
        lines=tuple(_line(one, is_operator=is_operator) for one in report.worst_first),
    )


def _line(finding: Finding, *, is_operator: bool) -> Line:
    remedy = finding.remedy
    if remedy and finding.who == Who.OPERATOR and not is_operator:
        remedy = OPERATORS
    return Line(
        name=finding.name,
        tone=TONES[finding.health],
        state=str(finding.health.label),
        words=finding.words,
        remedy=remedy,
        letter=finding.letter,
        key=finding.key,
    )


def _summary(report: Report) -> str:
    """What was found, in numbers."""
    names = {
        Health.BROKEN: "broken",
        Health.LOOK: "to look at",
        Health.UNKNOWN: "cannot be known",
        Health.FINE: "fine",
    }
    counts = [(report.count(health), name) for health, name in names.items()]
    return ", ".join(f"{count} {name}" for count, name in counts if count) + "."


def _page(
    site: admin.AdminSite, request: HttpRequest, name: str, context: dict[str, Any]
) -> HttpResponse:
    shared = site.each_context(request)
    return TemplateResponse(request, f"admin/payments/{name}", shared | context)
