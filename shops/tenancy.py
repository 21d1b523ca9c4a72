"""Whose is it? The one place that says which shop a person acts for.

Every page, API call, socket and admin list takes its shop from here, never from
a body. What belongs to another shop does not exist (NotFound, not Forbidden).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from shops import rights
from shops.enums import Role
from shops.models import Membership, Shop
from shops.rights import Right
from smartduka.lib import caller
from smartduka.lib.errors import DomainError, Forbidden, NotFound


class ShopRequired(DomainError):
    """The person works in several shops and named none."""

    code = "SHOP_REQUIRED"
    message = "You work in several shops: name one in the header X-Shop."


class NotAMember(Forbidden):
    """The person belongs to no shop."""

    message = "You do not work in any shop yet. Ask the owner to add you."


@dataclass(frozen=True, slots=True)
class Access:
    """One person acting for one shop."""

    user: Any
    shop: Shop
    role: str

    @property
    def rights(self) -> frozenset[Right]:
        """What they may do there; by PIN no more than to sell."""
        held = rights.of_role(self.role)
        return held & rights.BY_PIN if self.is_by_pin else held

    @property
    def is_by_pin(self) -> bool:
        """Whether the person took over a till with a PIN."""
        return pin_shop_of(self.user) is not None

    def may(self, right: Right) -> bool:
        """Whether this person has a right in this shop."""
        return right in self.rights

    def require(self, right: Right) -> None:
        """Raise Forbidden, which says who has the right, unless this person does."""
        if not self.may(right):
            raise Forbidden(rights.refusal(right))


def access(user: Any, shop_id: str | None = None) -> Access:
    """Return for whom this person acts.

    Without `shop_id` the person's only shop. Raises NotAMember, ShopRequired, or
    NotFound for a shop that is not theirs. The platform's operator (superuser)
    may read any shop that is named, with the role of an auditor.
    """
    found = _access(user, shop_id)
    caller.acts_for(found.shop.pk)
    return found


def _access(user: Any, shop_id: str | None) -> Access:
    members = list(memberships(user))
    if shop_id:
        for member in members:
            if str(member.shop_id) == shop_id:
                return Access(user, member.shop, member.role)
        return _operator(user, shop_id)
    if len(members) == 1:
        return Access(user, members[0].shop, members[0].role)
    if members or user.is_superuser:
        raise ShopRequired
    raise NotAMember


def memberships(user: Any) -> QuerySet[Membership]:
    """The person's living memberships in living shops, by shop name.

    Who came by PIN works in the shop of that PIN alone.
    """
    rows = Membership.objects.filter(user=user, is_active=True, shop__is_active=True)
    if (shop_id := pin_shop_of(user)) is not None:
        rows = rows.filter(shop=shop_id)
    return rows.select_related("shop").order_by("shop__name", "shop_id")


def pin_shop_of(user: Any) -> int | None:
    """The shop whose till a person took over with a PIN; None for a password.

    A note on the person of a request or a socket, made by `came_by_pin`.
    """
    found: int | None = getattr(user, "pin_shop_id", None)
    return found


def came_by_pin(user: Any, shop_id: int | None) -> None:
    """Note whose till a person took over with a PIN; None: nobody's."""
    user.pin_shop_id = shop_id


def shops_of(user: Any) -> list[Shop]:
    """The shops a person sees: the operator all, others their own."""
    if user.is_superuser:
        return list(Shop.objects.all())
    return [member.shop for member in memberships(user)]


def _operator(user: Any, shop_id: str) -> Access:
    if user.is_superuser and shop_id.isascii() and shop_id.isdigit():
        shop = Shop.objects.filter(pk=min(int(shop_id[:18]), 2**62)).first()
        if shop is not None:
            return Access(user, shop, Role.AUDITOR)
    raise NotFound("This shop does not exist, or it is not yours.")
