"""The books of people: who works in a shop as what, and who can sign in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.cache import add_never_cache_headers
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from shops import book_cells as cells
from shops import invitations, lockout, second_factor, sessions, staff
from shops.book_filters import ShopFilter, active_filter
from shops.books import BookAdmin, ModelForm, reach_of
from shops.enums import Role
from shops.models import Invitation, Membership, Shop
from shops.rights import Right
from smartduka.lib.errors import DomainError


if TYPE_CHECKING:
    PlainUserAdmin = UserAdmin[Any]
    PlainNewUserForm = AdminUserCreationForm[Any]
    PlainPasswordForm = AdminPasswordChangeForm[Any]
else:
    PlainUserAdmin = UserAdmin
    PlainNewUserForm = AdminUserCreationForm
    PlainPasswordForm = AdminPasswordChangeForm


ROLES_IN_WORDS = {
    Role.OWNER: "Owner: everything, staff and settings too",
    Role.MANAGER: "Manager: sells, goods, money that waits, refunds",
    Role.CASHIER: "Cashier: sells and takes payments",
    Role.AUDITOR: "Auditor: reads everything, changes nothing",
}
# What an owner does about how somebody signs in: address, act, what is written down.
ACTS: tuple[tuple[str, Callable[..., object], str], ...] = (
    ("reset", staff.reset_second_step, "second step reset"),
    ("unlock", staff.unlock, "unlocked"),
    ("sign-out", staff.sign_out, "signed out everywhere"),
)


MOST_OPEN = 50


class InviteForm(forms.Form):
    """Whom, as what, and for which shop where there is a choice."""

    name = forms.CharField(label="Who", max_length=80, help_text="Your own note.")
    role = forms.ChoiceField(
        choices=[(role.value, ROLES_IN_WORDS[role]) for role in Role],
        widget=forms.RadioSelect,
        initial=Role.CASHIER,
    )
    shop: forms.ModelChoiceField[Shop] = forms.ModelChoiceField(Shop.objects.none())

    def __init__(self, sent: Any, shops: QuerySet[Shop]) -> None:
        super().__init__(sent)
        shop: Any = self.fields["shop"]
        shop.queryset = shops
        self.only_shop = shops.get() if shops.count() == 1 else None
        if self.only_shop is not None:
            del self.fields["shop"]

    def clean(self) -> dict[str, Any]:
        """Add the shop that needed no choice."""
        cleaned = super().clean() or self.cleaned_data
        if self.only_shop is not None:
            cleaned["shop"] = self.only_shop
        return cleaned


class MembershipForm(ModelForm):
    """Who works in a shop as what. A shop keeps an owner, or nobody could change it."""

    LAST_OWNER = "This is the shop's last owner: make somebody else owner first."

    def clean(self) -> dict[str, Any]:
        """Refuse to take the last owner away. Locks the shop's owners."""
        cleaned = super().clean() or self.cleaned_data
        member = self.instance
        if member.pk is None:
            return cleaned
        stays_owner = cleaned.get("is_active") and cleaned.get("role") == Role.OWNER
        owners = Membership.objects.select_for_update(no_key=True).filter(
            shop=member.shop_id, role=Role.OWNER, is_active=True
        )
        ids = set(owners.order_by("pk").values_list("pk", flat=True))
        if ids == {member.pk} and not stays_owner:
            raise forms.ValidationError(self.LAST_OWNER)
        return cleaned


class MembershipAdmin(BookAdmin):
    """Staff. The owner changes roles and sends people home; the operator adds them."""

    book_name, row_name, rows_name = "Staff", "person", "people"
    about = "Who works in the shop, and what they may do."

    form = MembershipForm
    list_display = ("who", "role", "state", "shop_name")
    list_display_links = ("who",)
    list_filter = (ShopFilter, "role", active_filter("Works here", "Sent home"))
    labels = {"is_active": "Works here", "user": "Person"}
    help_texts = {
        "is_active": "Without the tick the person cannot enter this shop any more.",
        "role": "Owner: everything. Manager: money and goods. Cashier: sells."
        " Auditor: reads all, changes nothing.",
    }
    list_select_related = ("user", "shop")
    ordering = ("shop__name", "user__username", "pk")
    search_fields = ("user__username", "user__first_name", "user__last_name")
    search_help_text = "A person's name"
    autocomplete_fields = ("user", "shop")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return who and where first; both stay as they are once they are there."""
        if obj is None:
            return ("user", "shop", "role", "is_active")
        return ("who", "shop_name", "role", "is_active", "second_step", "wrong_tries")

    def get_readonly_fields(
        self, request: HttpRequest, obj: Any = None
    ) -> tuple[str, ...]:
        """Return what no form changes."""
        return () if obj is None else ("who", "shop_name", "second_step", "wrong_tries")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return reach_of(request).may(Right.PLATFORM)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return reach_of(request).may(Right.STAFF, self.shop_id_of(obj))

    def save_model(
        self,
        request: HttpRequest,
        obj: Membership,
        form: ModelForm,
        change: bool,  # noqa: FBT001 -- the base class's signature
    ) -> None:
        """Save; another role, or none, begins with signing in anew."""
        super().save_model(request, obj, form, change)
        staff.let_read(obj)
        if change and form.changed_data:
            own = request.session.session_key if obj.user == request.user else None
            sessions.end_all(obj.user, but=own)

    def get_urls(self) -> list[URLPattern]:
        guard = self.admin_site.admin_view
        own = [
            path(
                f"<path:object_id>/{name}/",
                guard(require_POST(self._acting(act, done))),
                name=f"shops_membership_{name}",
            )
            for name, act, done in ACTS
        ]
        invite = path(
            "invite/", guard(self.invite_view), name="shops_membership_invite"
        )
        withdraw = path(
            "invite/<int:invitation_id>/withdraw/",
            guard(require_POST(self.withdraw_view)),
            name="shops_membership_withdraw",
        )
        return [invite, withdraw, *own, *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the people, with the way to invite one more."""
        more = {"may_invite": reach_of(request).may(Right.STAFF)}
        return super().changelist_view(request, more | (extra_context or {}))

    def invite_view(self, request: HttpRequest) -> HttpResponse:
        """Make a link for somebody new, and show it once; list those that are open."""
        shops = self._staffed(request)
        if not shops.exists():
            raise PermissionDenied
        form = InviteForm(request.POST if request.method == "POST" else None, shops)
        link = ""
        if request.method == "POST" and form.is_valid():
            with transaction.atomic():
                invitation, token = invitations.invite(
                    **form.cleaned_data, by=request.user
                )
                self.log_addition(request, invitation, f"invited: {invitation}")
            link = request.build_absolute_uri(reverse("join", args=[token]))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Invite somebody",
            "book": self.name_of_book,
            "form": form,
            "link": link,
            "days": settings.INVITATION_S // 86_400,
            "open_ones": invitations.open_ones()
            .filter(shop__in=shops)
            .order_by("-invited_at")[:MOST_OPEN],
        }
        answer = render(request, "admin/shops/membership/invite.html", context)
        add_never_cache_headers(answer)
        return answer

    def withdraw_view(self, request: HttpRequest, invitation_id: int) -> HttpResponse:
        """Make a link no good."""
        rows = Invitation.objects.filter(shop__in=self._staffed(request))
        invitation = rows.filter(pk=min(invitation_id, 2**62)).first()
        if invitation is None:
            raise Http404
        with transaction.atomic():
            if invitations.withdraw(invitation):
                self.log_change(request, invitation, f"withdrawn: {invitation}")
        messages.success(
            request, f"The link for {invitation.name} is no good any more."
        )
        return HttpResponseRedirect(reverse("admin:shops_membership_invite"))

    def _staffed(self, request: HttpRequest) -> QuerySet[Shop]:
        """The living shops whose people this person looks after."""
        reach, living = reach_of(request), Shop.objects.filter(is_active=True)
        if reach.is_operator:
            return living
        theirs = reach.shops_with(Right.STAFF)
        return living.filter(pk__in=[shop.pk for shop in theirs])

    def _acting(self, act: Callable[..., object], done: str) -> Callable[..., Any]:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            member = self.get_object(request, unquote(object_id))
            if not self.has_change_permission(request, member):
                raise PermissionDenied
            try:
                with transaction.atomic():
                    act(actor=request.user, person=member.user)
                    self.log_change(request, member, done)
            except DomainError as refused:
                messages.error(request, refused.message)
            else:
                messages.success(request, f"{self.who(member)}: {done}")
            page = reverse("admin:shops_membership_change", args=[member.pk])
            return HttpResponseRedirect(page)

        return view

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show the row with what can be done about how the person signs in."""
        member = context.get("original")
        if member is not None and self.has_change_permission(request, member):
            context |= {
                "may_help": staff.looks_after(request.user, member.user),
                "has_second_step": second_factor.is_on(member.user),
                "must_wait": lockout.wrong_tries(member.user.get_username()) > 0,
            }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="Second step when signing in")
    def second_step(self, member: Membership) -> SafeString:
        """Whether the person is asked for a code, and whether they should be."""
        if second_factor.is_on(member.user):
            return cells.pill("on", cells.GOOD)
        if second_factor.is_required(member.user):
            return cells.pill("must be set up", cells.WAIT)
        return cells.pill("off", cells.QUIET)

    @admin.display(description="Wrong tries lately")
    def wrong_tries(self, member: Membership) -> SafeString:
        """How often somebody was wrong with this person's name."""
        count = lockout.wrong_tries(member.user.get_username())
        return cells.pill(f"{count}", cells.WAIT if count else cells.QUIET)

    @admin.display(description="Person", ordering="user__username")
    def who(self, member: Membership) -> str:
        """Name the person."""
        full = member.user.get_full_name()
        name = member.user.get_username()
        return f"{full} ({name})" if full else name

    @admin.display(description="State", ordering="is_active")
    def state(self, member: Membership) -> SafeString:
        """Whether the person works here."""
        return cells.state(member, "works here", "sent home")


class PasswordForm(PlainPasswordForm):
    """A new password for somebody. There is no other way to sign in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.pop("usable_password", None)


class NewPersonForm(PlainNewUserForm):
    """Somebody new, with a password."""

    usable_password = None  # type: ignore[assignment]  # Django's way to leave a field out


class PersonAdmin(BookAdmin, PlainUserAdmin):
    """Who can sign in. The operator's alone; people are switched off, not deleted."""

    book_name, row_name, rows_name = "People who can sign in", "person", "people"
    shop_path = None
    list_display = ("username", "first_name", "last_name", "state", "reads")
    list_filter = (
        active_filter("May sign in", "Switched off"), "is_staff", "is_superuser",
    )  # fmt: skip
    labels = {
        "is_active": "May sign in",
        "is_staff": "Reads the books of their shops",
        "is_superuser": "Operator of the platform",
    }
    help_texts = {
        "is_active": "Take the tick away instead of deleting somebody.",
        "is_staff": "Their role in each shop says what they may do there.",
        "is_superuser": "Sees every shop and everything in it.",
    }
    search_help_text = "Name or e-mail"
    filter_horizontal = ()
    add_form = NewPersonForm
    add_fieldsets = ((None, {"fields": ("username", "password1", "password2")}),)
    change_password_form = PasswordForm
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("May", {"fields": ("is_active", "is_staff", "is_superuser")}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return reach_of(request).may(Right.PLATFORM)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return reach_of(request).may(Right.PLATFORM)

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: ModelForm,
        change: bool,  # noqa: FBT001 -- the base class's signature
    ) -> None:
        """Save; who is switched off, or may more or less, is signed out at once."""
        super().save_model(request, obj, form, change)
        if change and {"is_active", "is_staff", "is_superuser"} & {*form.changed_data}:
            own = request.session.session_key if obj == request.user else None
            sessions.end_all(obj, but=own)

    @admin.display(description="Reads", ordering="is_staff")
    def reads(self, person: Any) -> str:
        """How far the person sees."""
        if person.is_superuser:
            return "every shop"
        return "the books of their shops" if person.is_staff else cells.NOTHING

    @admin.display(description="State", ordering="is_active")
    def state(self, person: Any) -> SafeString:
        """Whether the person may sign in."""
        return cells.state(person, "may sign in", "switched off")
