"""The people of a shop: who may look after whom, and what a change of role ends.

An owner looks after somebody who works in shops of theirs alone: a manager's second
step is not to be taken away by the owner of another shop that they also work for.
"""

from __future__ import annotations

from typing import Any

from shops import lockout, rights, second_factor, sessions, tenancy
from shops.models import Membership
from shops.rights import Right
from smartduka.lib.errors import Forbidden


class NotTheirs(Forbidden):
    """The person works elsewhere too, or is the one who asks."""

    message = (
        "This person also works elsewhere, so only the platform's operator may do this."
    )


def looks_after(actor: Any, person: Any) -> bool:
    """Whether the actor may reset how this person signs in. Never their own."""
    if actor.pk == person.pk:
        return False
    if actor.is_superuser:
        return True
    if person.is_superuser:
        return False
    staffed = {
        member.shop_id
        for member in tenancy.memberships(actor)
        if Right.STAFF in rights.of_role(member.role)
    }
    theirs = set(
        person.memberships.filter(is_active=True).values_list("shop", flat=True)
    )
    return bool(theirs) and theirs <= staffed


def let_read(member: Membership) -> None:
    """Open the books to somebody whose role reads them."""
    user = member.user
    if Right.READ_BOOKS in rights.of_role(member.role) and not user.is_staff:
        user.is_staff = True
        user.save(update_fields=["is_staff"])


def reset_second_step(*, actor: Any, person: Any) -> bool:
    """Forget phone and paper of somebody who lost both, and end their sessions.

    False if there was nothing to forget. Raises NotTheirs.
    """
    _require(actor, person)
    was_on = second_factor.reset(person)
    sessions.end_all(person)
    return was_on


def sign_out(*, actor: Any, person: Any) -> int:
    """End the sessions of somebody, as of one who forgot to. Raises NotTheirs."""
    _require(actor, person)
    return sessions.end_all(person)


def unlock(*, actor: Any, person: Any) -> None:
    """Let somebody try again who was wrong too often. Raises NotTheirs."""
    _require(actor, person)
    lockout.unlock(person.get_username())


def _require(actor: Any, person: Any) -> None:
    if not looks_after(actor, person):
        raise NotTheirs
