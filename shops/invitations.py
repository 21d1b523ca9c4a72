"""How somebody becomes one of a shop's people: by a link that is good once.

The token in the link is a secret like a password: its hash alone is kept, and it is
shown to the owner one time. Using it is one conditional update: of two who open it at
the same moment one joins.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from shops import staff
from shops.models import Invitation, Membership, Shop
from smartduka.lib import clock
from smartduka.lib.errors import DomainError, NotFound


TOKEN_BYTES = 24


class NotGood(NotFound):
    """Used, withdrawn, too old, or never ours: nobody learns which."""

    message = "This link is not good any more. Ask the owner for a new one."


class WorksHereAlready(DomainError):
    """Their role is changed in Staff, not by a link."""

    message = "You work in this shop already."
    http_status = 409


class NameTaken(DomainError):
    """Names are the installation's, not a shop's."""

    message = "This user name is taken. Choose another one."
    http_status = 409


def invite(*, shop: Shop, role: str, name: str, by: Any) -> tuple[Invitation, str]:
    """Make an invitation; return it and its token, which is never shown again.

    That `by` looks after the shop's staff is for the caller to have made sure.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    invitation = Invitation.objects.create(
        shop=shop,
        role=role,
        name=name,
        token_hash=_hash(token),
        invited_by=by,
        expires_at=clock.now() + clock.seconds(settings.INVITATION_S),
    )
    return invitation, token


def open_ones() -> QuerySet[Invitation]:
    """The invitations that somebody can still use."""
    return Invitation.objects.filter(
        used_at=None,
        withdrawn_at=None,
        expires_at__gt=clock.now(),
        shop__is_active=True,
    ).select_related("shop")


def of_token(token: str) -> Invitation:
    """Return the open invitation of a link. Raises NotGood."""
    found = open_ones().filter(token_hash=_hash(token)).first()
    if found is None:
        raise NotGood
    return found


def withdraw(invitation: Invitation) -> bool:
    """Make a link no good; False if it was none any more."""
    still = open_ones().filter(pk=invitation.pk)
    return still.update(withdrawn_at=clock.now()) == 1


def join(token: str, user: Any) -> Membership:
    """Make somebody who can sign in already one of the shop's people.

    Who was sent home comes back, with the role of the link. Opens a transaction.
    Raises NotGood, WorksHereAlready.
    """
    with transaction.atomic():
        invitation = of_token(token)
        member = Membership.objects.filter(user=user, shop=invitation.shop).first()
        if member is not None and member.is_active:
            raise WorksHereAlready
        _use(invitation, user)
        return _made_member(invitation, user)


def join_as_new(token: str, *, username: str, password: str) -> Any:
    """Make a new person one of the shop's people; return them.

    The password was validated. Opens a transaction. Raises NotGood, NameTaken.
    """
    people = get_user_model().objects
    with transaction.atomic():
        invitation = of_token(token)
        if people.filter(username__iexact=username).exists():
            raise NameTaken
        try:
            with transaction.atomic():
                user = people.create_user(username, password=password)
        except IntegrityError as error:
            raise NameTaken from error
        _use(invitation, user)
        _made_member(invitation, user)
    return user


def _use(invitation: Invitation, user: Any) -> None:
    unused = Invitation.objects.filter(
        pk=invitation.pk, used_at=None, withdrawn_at=None
    )
    if unused.update(used_at=clock.now(), used_by=user) != 1:
        raise NotGood


def _made_member(invitation: Invitation, user: Any) -> Membership:
    member, _ = Membership.objects.update_or_create(
        user=user,
        shop=invitation.shop,
        defaults={"role": invitation.role, "is_active": True},
    )
    staff.let_read(member)
    return member


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
