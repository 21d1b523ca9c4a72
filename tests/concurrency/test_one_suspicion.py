"""Two workers that look at once flag a subject once; two people close it once."""

import pytest
from django.db.models import QuerySet

from payments import suspicions
from payments.enums import PaymentStatus
from payments.models import Suspicion
from tests.concurrency.racing import MARKS, together
from tests.factories import OrderFactory, PaymentFactory


pytestmark = MARKS

UNIQUE = "subject_has_one_open_suspicion_of_a_kind"


@pytest.fixture(autouse=True)
def _failures(bob, settings):
    settings.SUSPICION_FAILURES = 2
    for _ in range(2):
        PaymentFactory(
            order=OrderFactory(shop=bob.shop), created_by=bob.user,
            status=PaymentStatus.FAILED, failure_reason="wrong_pin",
        )  # fmt: skip


@pytest.fixture
def meet_before_creating(monkeypatch, rendezvous):
    """Let both rounds see that there is no flag before either opens one."""
    meeting = rendezvous()
    original = QuerySet.create

    def create(rows, **facts):
        if rows.model is Suspicion:
            meeting.meet()
        return original(rows, **facts)

    monkeypatch.setattr(QuerySet, "create", create)


def test_without_the_constraint_two_rounds_flag_twice(off, meet_before_creating):
    off.constraint(Suspicion, UNIQUE)

    assert together(suspicions.look, suspicions.look) == [1, 1]
    assert Suspicion.objects.count() == 2


def test_the_constraint_lets_one_of_two_rounds_flag(meet_before_creating, bob):
    assert sorted(together(suspicions.look, suspicions.look)) == [0, 1]

    [row] = Suspicion.objects.all()
    assert (row.subject, row.count) == (f"shop:{bob.shop.pk} person:{bob.user.pk}", 2)


def both_close(row, alice, mary):
    return together(
        lambda: suspicions.mark_seen(row, actor=alice.user, reason="rain"),
        lambda: suspicions.mark_seen(row, actor=mary.user, reason="sun"),
    )


def test_without_the_condition_who_closes_it_last_is_written_down(off, alice, mary):
    suspicions.look()
    row = Suspicion.objects.get()
    off.condition(suspicions, "Suspicion")

    # Both are told that they closed it.
    assert both_close(row, alice, mary) == [True, True]


def test_two_who_close_it_at_once_are_one(alice, mary):
    suspicions.look()
    row = Suspicion.objects.get()

    closed = both_close(row, alice, mary)

    row.refresh_from_db()
    assert sorted(closed) == [False, True]
    winner = (alice, "rain") if closed[0] else (mary, "sun")
    assert (row.seen_by, row.seen_reason) == (winner[0].user, winner[1])
