"""A shop keeps an owner, whoever sends whom away at once."""

import pytest
from django.contrib.auth import get_user_model

from shops import staff_books
from shops.enums import Role
from shops.models import Membership
from tests.concurrency.racing import MARKS, together
from tests.support.cast import join


pytestmark = MARKS

HASTY_S = 1.0


@pytest.fixture
def anne(duka):
    """The other owner of the duka."""
    return join(duka, "anne", Role.OWNER)


@pytest.fixture(autouse=True)
def staff(alice, anne):
    """They read the books."""
    get_user_model().objects.update(is_staff=True)


def demote(person, other):
    """One owner makes the other a cashier, on their page; how the page answers."""
    member = Membership.objects.get(user=other.user)
    sent = {"role": Role.CASHIER, "is_active": "on"}
    page = f"/admin/shops/membership/{member.pk}/change/"
    return person.client.post(page, sent).status_code


def demote_each_other(alice, anne):
    answers = together(lambda: demote(alice, anne), lambda: demote(anne, alice))
    roles = Membership.objects.order_by("role").values_list("role", flat=True)
    return sorted(answers), list(roles)


def test_two_owners_who_demote_each_other_leave_one(alice, anne, rendezvous):
    # Both are let in as owners before either is none any more.
    rendezvous().before(staff_books.MembershipForm, "clean")
    rendezvous(patience_s=HASTY_S).after(staff_books.MembershipForm, "clean")

    assert demote_each_other(alice, anne) == ([200, 302], ["cashier", "owner"])


def test_without_their_lock_two_owners_leave_none(alice, anne, off, rendezvous):
    off.lock(Membership)
    rendezvous().after(staff_books.MembershipForm, "clean")

    assert demote_each_other(alice, anne) == ([302, 302], ["cashier", "cashier"])
