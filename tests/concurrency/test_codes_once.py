"""One code or link and two who use it: one of them gets in."""

import pytest

from shops import invitations, pins, second_factor
from shops.enums import Role
from shops.models import CashierPin, Invitation, Membership, RecoveryCode, SecondFactor
from shops.tenancy import Access
from smartduka.lib import clock
from tests.concurrency.racing import MARKS, kinds, together
from tests.factories import UserFactory
from tests.support.authenticator import STEP_S, code_at


pytestmark = MARKS
HASTY_S = 0.4


@pytest.fixture
def codes(alice):
    """A code of Alice's app and one on paper, both unused."""
    factor = second_factor.begin(alice.user)
    step = int(clock.now().timestamp()) // STEP_S
    paper = second_factor.confirm(alice.user, code_at(factor.secret, step - 1))
    return {"app": code_at(factor.secret, step + 1), "paper": paper[0]}


def both_type(alice, code):
    def accept():
        second_factor.accept(alice.user, code)

    return kinds(together(accept, accept))


def test_code_of_the_app_lets_two_in_without_the_condition(
    alice, codes, off, rendezvous
):
    rendezvous().after(second_factor, "_step_of")
    off.condition(second_factor, "SecondFactor")

    assert both_type(alice, codes["app"]) == ["ok", "ok"]


def test_code_of_the_app_lets_one_in(alice, codes, rendezvous):
    rendezvous().after(second_factor, "_step_of")

    assert both_type(alice, codes["app"]) == ["WrongCode", "ok"]
    assert SecondFactor.objects.count() == 1


def test_code_on_paper_lets_two_in_without_the_condition(alice, codes, off, rendezvous):
    rendezvous().after(second_factor, "_unused")
    off.condition(second_factor, "RecoveryCode")

    assert both_type(alice, codes["paper"]) == ["ok", "ok"]


def test_code_on_paper_lets_one_in(alice, codes, rendezvous):
    rendezvous().after(second_factor, "_unused")

    assert both_type(alice, codes["paper"]) == ["WrongCode", "ok"]
    assert RecoveryCode.objects.filter(used_at__isnull=False).count() == 1


def test_setting_it_up_twice_at_once_makes_one_key(alice, off, rendezvous):
    def begin():
        return second_factor.begin(alice.user).pk

    rendezvous(patience_s=HASTY_S).after(second_factor, "is_on")
    assert kinds(together(begin, begin)) == ["ok", "ok"]
    assert SecondFactor.objects.count() == 1


def test_setting_it_up_twice_at_once_breaks_without_the_lock(alice, off, rendezvous):
    def begin():
        return second_factor.begin(alice.user).pk

    off.lock(type(alice.user))
    rendezvous().after(second_factor, "is_on")
    assert kinds(together(begin, begin)) == ["IntegrityError", "ok"]


# Invitations: one link and two who open it.


@pytest.fixture
def two_new_ones(alice):
    _, token = invitations.invite(
        shop=alice.shop, role=Role.CASHIER, name="x", by=alice.user
    )

    def joining(name):
        return lambda: invitations.join_as_new(
            token, username=name, password="mpya-na-refu-2031"
        )

    return joining("wanjiku"), joining("njeri")


def test_link_lets_two_in_without_the_condition(alice, two_new_ones, off, rendezvous):
    rendezvous().after(invitations, "of_token")
    off.condition(invitations, "Invitation")

    assert kinds(together(*two_new_ones)) == ["ok", "ok"]


def test_link_lets_one_in(alice, two_new_ones, rendezvous):
    rendezvous().after(invitations, "of_token")

    assert kinds(together(*two_new_ones)) == ["NotGood", "ok"]
    new = Membership.objects.filter(shop=alice.shop).exclude(user=alice.user)
    assert new.count() == 1
    assert new.get().user == Invitation.objects.get().used_by


@pytest.fixture
def link(alice):
    """An invitation and its token."""
    return invitations.invite(
        shop=alice.shop, role=Role.CASHIER, name="Njeri", by=alice.user
    )


def join_while_it_is_withdrawn(link, monkeypatch):
    """It is withdrawn when who opens it was let in and has not yet used it."""
    invitation, token = link
    user = UserFactory(username="njeri")
    original = invitations._use

    def use(*args):
        [withdrawn] = together(lambda: invitations.withdraw(invitation))
        assert withdrawn is True
        return original(*args)

    monkeypatch.setattr(invitations, "_use", use)
    ended = kinds(together(lambda: invitations.join(token, user)))
    return ended, Membership.objects.filter(user=user).exists()


def test_a_link_that_is_withdrawn_meanwhile_lets_nobody_in(link, monkeypatch):
    assert join_while_it_is_withdrawn(link, monkeypatch) == (["NotGood"], False)


def test_without_the_condition_the_constraint_keeps_them_out(link, off, monkeypatch):
    off.condition(invitations, "Invitation")

    assert join_while_it_is_withdrawn(link, monkeypatch) == (["IntegrityError"], False)


def test_without_both_a_withdrawn_link_lets_somebody_in(link, off, monkeypatch):
    off.condition(invitations, "Invitation")
    off.constraint(Invitation, "invitation_is_used_by_somebody_or_withdrawn")

    assert join_while_it_is_withdrawn(link, monkeypatch) == (["ok"], True)


def join_by_two_links(alice):
    """Somebody opens two links to one shop at once; what came of it, and their roles."""
    user = UserFactory(username="njeri")
    tokens = [
        invitations.invite(shop=alice.shop, role=role, name="Njeri", by=alice.user)[1]
        for role in (Role.CASHIER, Role.MANAGER)
    ]
    ended = kinds(
        together(*[lambda t=one: invitations.join(t, user) for one in tokens])
    )
    return ended, Membership.objects.filter(user=user, shop=alice.shop).count()


def test_two_links_make_one_person_of_the_shop(alice, rendezvous):
    rendezvous().before(Membership, "save")

    assert join_by_two_links(alice) == (["ok", "ok"], 1)


def test_two_links_make_two_without_the_constraint(alice, off, rendezvous):
    off.constraint(Membership, "person_has_one_role_in_a_shop")
    rendezvous().before(Membership, "save")

    assert join_by_two_links(alice) == (["ok", "ok"], 2)


# PINs: one try left, and two guesses at once.


@pytest.fixture
def two_guesses(bob):
    access = Access(bob.user, bob.shop, "cashier")
    pins.set_pin(access, "4071")
    CashierPin.objects.update(tries_left=1)
    member = str(CashierPin.objects.get().member_id)

    def guess(pin):
        return lambda: pins.check(access, member, pin)

    return guess("9999"), guess("8888")


def test_two_guesses_are_looked_at_without_the_condition(two_guesses, off, rendezvous):
    rendezvous().after(pins, "people_of")
    off.condition(pins, "CashierPin")

    # The database still knows no less than no try.
    assert kinds(together(*two_guesses)) == ["IntegrityError", "WrongPin"]


def test_one_guess_is_looked_at(two_guesses, rendezvous):
    rendezvous().after(pins, "people_of")

    assert kinds(together(*two_guesses)) == ["PinSpent", "WrongPin"]
