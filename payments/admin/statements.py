"""Statements and M-Pesa's list in the books: imported, and read.

Nothing is edited: a file is uploaded and a worker imports it, the list is read, each by
one call of the domain.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from payments import disputes, pulling, statement_import
from payments.admin import cells as words
from payments.admin import imports
from payments.admin.corrections import offer
from payments.models import MpesaAccount, StatementImport
from payments.spreadsheets import FILE_LIMIT
from payments.statement_import import Received
from shops import book_cells as cells
from shops.book_filters import QuestionFilter, day_filter, shop_filter
from shops.books import BookAdmin, facts, reach_of
from shops.rights import Right
from shops.words import sentence
from smartduka.lib.errors import DomainError


BAD_ROWS_SHOWN = 200


def accounts_of(request: HttpRequest) -> QuerySet[MpesaAccount]:
    """The accounts whose statements a person may import, and whose list read.

    Owners and managers those of their shop; the operator all, for the platform's
    concern several shops.
    """
    reach = reach_of(request)
    rows = MpesaAccount.objects.filter(environment=settings.MPESA_ENV).order_by(
        "created_at"
    )
    if reach.is_operator:
        return rows
    return rows.filter(shop__in=reach.shops_with(Right.STATEMENTS))


class StatementForm(forms.Form):
    """Which account, and the file as the portal gave it."""

    account = forms.ModelChoiceField(
        MpesaAccount.objects.none(), label="Account", empty_label=None
    )
    file = forms.FileField(label="CSV or XLSX", max_length=255)

    def __init__(
        self, accounts: QuerySet[MpesaAccount], *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.fields["account"].queryset = accounts  # type: ignore[attr-defined]  # of a ModelChoiceField

    def clean_file(self) -> Any:
        """Refuse what is too large before it is read."""
        file = self.cleaned_data["file"]
        if file.size > FILE_LIMIT:
            raise forms.ValidationError("This file is larger than 10 MB.")
        return file


class NumberForm(forms.Form):
    """The number that M-Pesa knows for the account."""

    number = forms.CharField(label="Safaricom number", max_length=20)


class ImportFilter(QuestionFilter):
    """Imports that a person should look at."""

    def questions(self) -> dict[str, tuple[str, Q]]:
        return {
            "disputed": ("Has disputed money", Q(disputed__gt=0)),
            "bad": ("Rows not read", ~Q(bad_rows=[])),
            "open": ("Not imported to its end", Q(finished_at__isnull=True)),
        }


class StatementImportAdmin(BookAdmin):
    """A statement as it was imported. The platform's are the operator's alone."""

    shop_path = "account__shop"
    list_display = (
        "file_name", "into", "stands", "time", "paid", "news", "not_read", "doubt",
        "at", "shop_name",
    )  # fmt: skip
    list_filter = (
        shop_filter("account__shop"),
        ImportFilter,
        day_filter("imported_at"),
    )
    list_select_related = ("account__shop", "imported_by")
    ordering = ("-id",)
    search_fields = ("file_name",)
    search_help_text = "The file's name"
    readonly_fields = (
        "file_name", "into", "stands", "time", "length", "paid", "news", "completed",
        "known", "moved", "not_read", "doubt", "by", "at", "shop_name",
    )  # fmt: skip
    fieldsets = (
        facts("File", "file_name", "into", "stands", "time", "by", "at", "shop_name"),
    )
    what_it_had = facts(
        "What it had", "length", "paid", "news", "completed", "known", "moved"
    )
    what_needs_a_look = facts("What needs a look", "not_read", "doubt")

    def get_urls(self) -> list[URLPattern]:
        guard = self.admin_site.admin_view
        name = "payments_statementimport"
        return [
            path("upload/", guard(self.upload_view), name=f"{name}_upload"),
            path(
                "<int:import_id>/again/",
                guard(require_POST(self.again_view)),
                name=f"{name}_again",
            ),
            path("list/", guard(self.list_view), name=f"{name}_list"),
            path(
                "list/<uuid:account_id>/register/",
                guard(require_POST(self.register_view)),
                name=f"{name}_register",
            ),
            path(
                "list/<uuid:account_id>/read/",
                guard(require_POST(self.read_view)),
                name=f"{name}_read",
            ),
            *super().get_urls(),
        ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show figures when they are true: at the end."""
        if obj is None or obj.finished_at is None:
            return self.fieldsets
        doubtful = bool(obj.bad_rows or obj.disputed)
        more = (self.what_needs_a_look,) if doubtful else ()
        return (*self.fieldsets, self.what_it_had, *more)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Offer the upload to who may do it."""
        more = {"may_import": accounts_of(request).exists()}
        return super().changelist_view(request, more | (extra_context or {}))

    def upload_view(self, request: HttpRequest) -> HttpResponse:
        """Keep a file and have it imported: the answer is the import's page."""
        accounts = self._accounts(request)
        form = (
            StatementForm(accounts, request.POST, request.FILES)
            if request.method == "POST"
            else StatementForm(accounts)
        )
        if request.method == "POST" and form.is_valid():
            said = form.cleaned_data
            try:
                received = statement_import.receive(
                    account=said["account"],
                    data=said["file"].read(),
                    file_name=said["file"].name,
                    actor=request.user,
                )
            except DomainError as error:
                form.add_error(None, sentence(error))
            else:
                self._tell(request, received)
                return self._to_page(received.row)
        return self._page(request, "upload.html", title="Import a statement", form=form)

    def again_view(self, request: HttpRequest, import_id: int) -> HttpResponse:
        """Have an import that stopped tried once more."""
        row = self.get_object(request, str(import_id))
        self._account(request, row.account_id)
        if statement_import.try_again(row):
            messages.success(request, "It is tried again.")
            self.log_change(request, row, "Tried again")
        else:
            messages.info(request, "There is nothing to try again.")
        return self._to_page(row)

    def list_view(self, request: HttpRequest) -> HttpResponse:
        """Show how far M-Pesa's list was read, for each account."""
        rows = [_list_row(account) for account in self._accounts(request)]
        return self._page(
            request, "list.html", title="M-Pesa's list of payments", rows=rows
        )

    def register_view(self, request: HttpRequest, account_id: object) -> HttpResponse:
        """Register an account for its list."""
        account = self._account(request, account_id)
        form = NumberForm(request.POST)
        if not form.is_valid():
            messages.error(request, "Give the account's Safaricom number.")
            return self._to_list()
        try:
            is_new = pulling.register(account, form.cleaned_data["number"])
        except DomainError as error:
            messages.error(request, sentence(error))
            return self._to_list()
        told = "registered" if is_new else "was registered before"
        messages.success(request, f"{account}: {told}. Its list is read from now on.")
        self.log_change(request, account, "Registered for M-Pesa's list")
        return self._to_list()

    def read_view(self, request: HttpRequest, account_id: object) -> HttpResponse:
        """Read an account's list now."""
        account = self._account(request, account_id)
        try:
            pulled = pulling.pull_now(account)
        except DomainError as error:
            messages.error(request, sentence(error))
            return self._to_list()
        if pulled.is_busy:
            messages.warning(request, "The list is being read already: wait a little.")
        elif pulled.error:
            messages.error(request, words.plain(pulled.error))
        else:
            told = f"{pulled.rows:,} payments in the list, {pulled.new:,} of them new."
            messages.success(request, told)
        self.log_change(request, account, f"Read M-Pesa's list: {pulled.new} new")
        return self._to_list()

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = context["original"]
        context |= {
            "standing": imports.standing(row),
            "may_manage": accounts_of(request).filter(pk=row.account_id).exists(),
            "bad_rows": row.bad_rows[:BAD_ROWS_SHOWN],
            "bad_more": max(0, len(row.bad_rows) - BAD_ROWS_SHOWN),
            "disputed": [
                (
                    cells.page("payments_collection", one.pk, one),
                    one.disputed,
                    offer(request, one),
                )
                for one in disputes.disputed_in(row)
            ],
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="Account")
    def into(self, row: StatementImport) -> str:
        """Whose statement it is."""
        return str(row.account)

    @admin.display(description="State")
    def stands(self, row: StatementImport) -> SafeString:
        """Whether it was imported to its end."""
        stands = imports.standing(row)
        return cells.pill(stands.word, stands.tone)

    @admin.display(description="Complete for")
    def time(self, row: StatementImport) -> SafeString:
        """The time for which it is complete."""
        return _span(row.covers_from, row.covers_to)

    @admin.display(description="Rows")
    def length(self, row: StatementImport) -> str:
        """How many rows the table has, also those that do not count."""
        return f"{row.rows:,}"

    @admin.display(description="Payments", ordering="payments")
    def paid(self, row: StatementImport) -> SafeString | str:
        """How many payments of customers it has."""
        return _figure(row, row.payments)

    @admin.display(description="New to us", ordering="new_receipts")
    def news(self, row: StatementImport) -> SafeString | str:
        """How many receipt numbers nobody had told us."""
        return _figure(row, row.new_receipts)

    @admin.display(description="Receipts filled in", ordering="filled")
    def completed(self, row: StatementImport) -> SafeString | str:
        """How many of those belong to money that lacked its number."""
        return _figure(row, row.filled)

    @admin.display(description="Known before")
    def known(self, row: StatementImport) -> SafeString | str:
        """How many of its payments we knew already."""
        return _figure(row, row.payments - row.new_receipts)

    @admin.display(description="Other movements")
    def moved(self, row: StatementImport) -> SafeString:
        """Link what moved beside payments."""
        if not row.movements:
            return cells.NOTHING
        address = reverse("admin:payments_movement_changelist")
        return format_html(
            '<a href="{}?statement__id__exact={}">{}</a>',
            address,
            row.pk,
            row.movements,
        )

    @admin.display(description="Rows not read")
    def not_read(self, row: StatementImport) -> SafeString:
        """How many rows could not be read."""
        count = len(row.bad_rows)
        return cells.pill(count, cells.BAD) if count else cells.NOTHING

    @admin.display(description="Disputed", ordering="disputed")
    def doubt(self, row: StatementImport) -> SafeString:
        """How much of our money it contradicted when it was imported."""
        return cells.pill(row.disputed, cells.BAD) if row.disputed else cells.NOTHING

    @admin.display(description="By")
    def by(self, row: StatementImport) -> str:
        """Who imported it."""
        return cells.person(row.imported_by)

    @admin.display(description="Uploaded", ordering="imported_at")
    def at(self, row: StatementImport) -> SafeString:
        """When it was uploaded."""
        return cells.moment(row.imported_at)

    def _accounts(self, request: HttpRequest) -> QuerySet[MpesaAccount]:
        accounts = accounts_of(request).select_related("shop")
        if not reach_of(request).may(Right.STATEMENTS):
            raise PermissionDenied
        return accounts

    def _account(self, request: HttpRequest, account_id: object) -> MpesaAccount:
        account = self._accounts(request).filter(pk=str(account_id)).first()
        if account is None:
            raise Http404
        return account

    def _tell(self, request: HttpRequest, received: Received) -> None:
        row = received.row
        if received.is_new:
            messages.success(request, "The file is kept, and is being imported.")
            self.log_change(request, row, f"Uploaded {row.file_name}")
        elif row.finished_at is not None:
            messages.info(
                request,
                "This very file was imported before: nothing was changed by it.",
            )
        else:
            messages.info(
                request, "This very file is here already, and is being imported."
            )

    def _to_page(self, row: StatementImport) -> HttpResponse:
        page = reverse("admin:payments_statementimport_change", args=[row.pk])
        return HttpResponseRedirect(page)

    def _to_list(self) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:payments_statementimport_list"))

    def _page(self, request: HttpRequest, name: str, **context: Any) -> HttpResponse:
        return TemplateResponse(
            request,
            f"admin/payments/statementimport/{name}",
            {**self.admin_site.each_context(request), "opts": self.opts, **context},
        )


def _figure(row: StatementImport, count: int) -> SafeString | str:
    """Write a count, once it is true."""
    return cells.NOTHING if row.finished_at is None else f"{count:,}"


def _span(first: datetime | None, end: datetime | None) -> SafeString:
    if first is None or end is None:
        return cells.NOTHING
    # One element, for a narrow list puts each of a cell's beside the other.
    words = "<span>{} to {}</span>"
    return format_html(words, cells.moment(first), cells.moment(end))


def _list_row(account: MpesaAccount) -> dict[str, Any]:
    return {
        "account": account,
        "since": cells.moment(account.pull_registered_at),
        "until": cells.moment(account.pulled_until),
        "error": words.plain(account.pull_error) if account.pull_error else "",
    }
