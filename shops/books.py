"""The books: whose rows a person reads in the admin, and what they may change.

Permissions come from the role in a shop, never from Django's permission tables.
Every list, page, search, filter and choice starts from `BookAdmin.get_queryset`, so
what belongs to another shop does not exist here (404, law 9), and nothing at all can
be deleted (law 11). Rows without a shop are the platform operator's alone.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.filters import SimpleListFilter
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.text import capfirst

from shops import rights, tenancy
from shops.book_cells import NOTHING
from shops.models import Shop
from shops.rights import Right


if TYPE_CHECKING:
    # Generic to the type checker alone.
    ModelAdmin = admin.ModelAdmin[Any]
    ModelForm = forms.ModelForm[Any]
    Pages = Paginator[Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    ModelAdmin, ModelForm = admin.ModelAdmin, forms.ModelForm
    Pages, TabularInline = Paginator, admin.TabularInline


@dataclass(frozen=True, slots=True)
class Reach:
    """The shops whose books one person reads, each with the role there.

    The platform's operator reads all of them, and `shops` is then empty: that they
    are not filtered is said by `is_operator` alone.
    """

    is_operator: bool
    shops: tuple[Shop, ...]
    roles: Mapping[int, str]

    @property
    def may_enter(self) -> bool:
        """Whether there is any book to read."""
        return self.is_operator or bool(self.roles)

    def may(self, right: Right, shop_id: int | None = None) -> bool:
        """Whether they have a right in this shop; in any shop when none is named."""
        if self.is_operator:
            return right in rights.TABLE[rights.OPERATOR]
        if shop_id is not None:
            return right in rights.of_role(self.roles.get(shop_id, ""))
        return any(right in rights.of_role(role) for role in self.roles.values())

    def shops_with(self, right: Right) -> list[Shop]:
        """Return the shops in which they have a right by their role there."""
        return [shop for shop in self.shops if self.may(right, shop.pk)]


NOBODY = Reach(is_operator=False, shops=(), roles={})


def reach_of(request: HttpRequest) -> Reach:
    """Return the reach of the person behind a request; read once per request."""
    found = getattr(request, "_books_reach", None)
    if found is None:
        found = _reach(request.user)
        request._books_reach = found  # type: ignore[attr-defined]  # our own note on it
    return found


def facts(title: str, *fields: str) -> Any:
    """Return a card of facts for a page on which nothing is changed."""
    return title, {"fields": fields, "classes": ("facts",)}


def _reach(user: Any) -> Reach:
    is_by_pin = tenancy.pin_shop_of(user) is not None
    if is_by_pin or not user.is_active or not user.is_staff:
        return NOBODY
    if user.is_superuser:
        return Reach(is_operator=True, shops=(), roles={})
    members = list(
        tenancy.memberships(user).filter(role__in=rights.roles_with(Right.READ_BOOKS))
    )
    return Reach(
        is_operator=False,
        shops=tuple(member.shop for member in members),
        roles={member.shop_id: member.role for member in members},
    )


class BoundedPaginator(Pages):
    """Counts to a limit: a list of millions opens as fast as one of hundreds.

    `is_cut` says that there are more; the filters and the search reach those.
    """

    LIMIT = 1000

    @functools.cached_property
    def counted(self) -> int:
        """How many rows there are, at most one more than the limit."""
        rows = self.object_list
        if isinstance(rows, QuerySet):
            return rows.order_by()[: self.LIMIT + 1].count()
        return len(rows)

    @functools.cached_property
    def count(self) -> int:
        """How many rows the pages show."""
        return min(self.counted, self.LIMIT)

    @property
    def is_cut(self) -> bool:
        """Whether rows are left out."""
        return self.counted > self.LIMIT


class BookAdmin(ModelAdmin):
    """A list of a shop's rows. Reading is allowed; the rest says so itself.

    `shop_path` leads from the row to its shop; None means the operator alone. Rows
    that may hang on something else have `other_shop_paths` too; one leads somewhere.
    `lookups` are the query parameters that links of ours use besides the filters:
    all others are refused, or a masked column could be guessed digit by digit.
    """

    shop_path: str | None = "shop"
    other_shop_paths: tuple[str, ...] = ()
    lookups: tuple[str, ...] = ()

    # What people call the book, one row of it and several; what it is, in a sentence.
    book_name = ""
    row_name = ""
    rows_name = ""
    about = ""
    # What the fields of its form are called, and what they mean.
    labels: Mapping[str, str] = {}
    help_texts: Mapping[str, str] = {}

    actions_on_top = True
    empty_value_display = NOTHING
    list_max_show_all = 0
    list_per_page = 50
    paginator = BoundedPaginator
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    view_on_site = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows of the person's shops; all of them for the operator.

        Raises SuspiciousOperation (400) for a NUL in the query: whichever filter it
        reached, PostgreSQL would break on it.
        """
        sent = (value for _, values in request.GET.lists() for value in values)
        if any("\0" in value for value in sent):
            raise SuspiciousOperation("a NUL in the query")
        rows = super().get_queryset(request)
        reach = reach_of(request)
        if reach.is_operator:
            return rows
        if self.shop_path is None:
            return rows.none()
        theirs = Q(**{f"{self.shop_path}__in": list(reach.roles)})
        for path in self.other_shop_paths:
            theirs |= Q(**{f"{path}__in": list(reach.roles)})
        return rows.filter(theirs)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Return the row. Raises Http404 before any permission is looked at."""
        row = super().get_object(request, object_id, from_field)
        if row is None:
            raise Http404
        return row

    def shop_id_of(self, row: Model | None) -> int | None:
        """Return whose row this is; None for no row and for one without a shop."""
        if row is None or self.shop_path is None:
            return None
        shop = self._shop_of(row)
        return shop.pk if shop is not None else None

    def may_read(self, request: HttpRequest) -> bool:
        """Whether this list is for the person at all."""
        reach = reach_of(request)
        return reach.is_operator if self.shop_path is None else reach.may_enter

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may_read(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_read(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def lookup_allowed(
        self, lookup: str, value: str, request: HttpRequest | None = None
    ) -> bool:
        """Allow what a filter of this list or a link of ours asks for."""
        allowed = set(self.lookups)
        for one in self.list_filter:
            if isinstance(one, str):
                allowed |= {f"{one}__exact", f"{one}__isnull"}
            elif isinstance(one, type) and issubclass(one, SimpleListFilter):
                allowed.add(str(one.parameter_name))
        return lookup in allowed

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Return the columns; the shop's only to who sees several."""
        columns = list(super().get_list_display(request))
        reach = reach_of(request)
        if not reach.is_operator and len(reach.shops) == 1:
            columns = [column for column in columns if column != "shop_name"]
        return columns

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,  # noqa: FBT001, FBT002 -- the base class's signature
        **kwargs: Any,
    ) -> Any:
        """Return the form, its fields under the names that people use."""
        named = {"labels": self.labels, "help_texts": self.help_texts}
        return super().get_form(request, obj, change=change, **(named | kwargs))

    def message_user(
        self,
        request: HttpRequest,
        message: Any,
        level: int | str = messages.INFO,
        extra_tags: str = "",
        fail_silently: bool = False,  # noqa: FBT001, FBT002 -- the base class's signature
    ) -> None:
        """Say what Django says after a form, without the names of its tables."""
        told = "Saved." if level == messages.SUCCESS else message
        super().message_user(request, told, level, extra_tags, fail_silently)

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Return a field without the signs that open other books beside it."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(
            widget := getattr(field, "widget", None), RelatedFieldWidgetWrapper
        ):
            widget.can_add_related = False
            widget.can_change_related = False
            widget.can_view_related = False
        return field

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list under its own name, with a sentence on what it is.

        Raises Http404 for an action on rows that are not the person's.
        """
        self._require_chosen(request)
        named = {"title": self.name_of_book, "subtitle": None, "about": self.about}
        return super().changelist_view(request, named | (extra_context or {}))

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show what was done to a row, under the book's own name."""
        row = self.get_object(request, unquote(object_id))
        named = {
            "title": "History",
            "subtitle": None,
            "module_name": self.name_of_book,
            "row_title": self.title_of(row),
        }
        return super().history_view(request, object_id, named | (extra_context or {}))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show the row under its own name, in the book of its own name."""
        row = context.get("original")
        title = f"New {self.name_of_row}" if row is None else self.title_of(row)
        context |= {"title": title, "subtitle": None, "book": self.name_of_book}
        return super().render_change_form(request, context, *args, **kwargs)

    @property
    def name_of_book(self) -> str:
        """What people call the book."""
        return self.book_name or capfirst(str(self.opts.verbose_name_plural))

    @property
    def name_of_row(self) -> str:
        """What people call one of its rows."""
        return self.row_name or str(self.opts.verbose_name)

    @property
    def name_of_rows(self) -> str:
        """What people call several of its rows."""
        return self.rows_name or str(self.opts.verbose_name_plural)

    def title_of(self, row: Any) -> str:
        """Return what stands above the page of a row."""
        return str(row)

    @admin.display(description="Shop")
    def shop_name(self, row: Any) -> str:
        """Name the row's shop."""
        shop = self._shop_of(row)
        return shop.name if shop is not None else NOTHING

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: ModelForm,
        change: bool,  # noqa: FBT001 -- the base class's signature
    ) -> None:
        """Write only what the form changed.

        A whole row would put back the stock level or the last order number as it
        was when the page was read.
        """
        if not change:
            obj.save()
        elif form.changed_data:
            obj.save(update_fields=form.changed_data)

    def _require_chosen(self, request: HttpRequest) -> None:
        keys = set(request.POST.getlist(ACTION_CHECKBOX_NAME))
        if not keys:
            return
        # Whose they are, whatever part of those a list shows: a row may have left it.
        rows = BookAdmin.get_queryset(self, request).select_related(None).order_by()
        try:
            found = rows.filter(pk__in=keys).values("pk").distinct().count()
        except (ValueError, ValidationError, OverflowError):
            raise Http404 from None
        if found != len(keys):
            raise Http404

    def _shop_of(self, row: Any) -> Shop | None:
        for shop_path in (self.shop_path or "", *self.other_shop_paths):
            names = () if shop_path == "pk" else shop_path.split("__")
            found: Shop | None = functools.reduce(
                lambda value, name: getattr(value, name, None), names, row
            )
            if found is not None:
                return found
        return None


class LedgerInline(TabularInline):
    """Rows of a ledger beside their parent, whose page decided who reads them."""

    can_delete = False
    extra = 0
    max_num = 0

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
