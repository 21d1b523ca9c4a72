"""When M-Pesa is asked: the contract's clockwork, question by question."""

import itertools
from datetime import timedelta

import pytest

from payments import questions, schedule
from payments.enums import Source
from payments.models import Payment
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.support.gateway import PENDING, final


pytestmark = pytest.mark.django_db

ASK = "payments.tasks.ask"
HOUR = 3600


@pytest.fixture
def no_jitter(settings):
    settings.QUESTION_JITTER = 0
    settings.QUESTIONS_PER_ACCOUNT_PER_MINUTE = 100_000  # days pass in a moment


def stored(payment):
    return Payment.objects.get(pk=payment.pk)


def live(payment, time, until_s):
    """Carry out every question when it is due; return the seconds they fell at."""
    born, asked = payment.created_at, []
    while (due := stored(payment).next_ask_at) is not None:
        time.now = due
        if (due - born).total_seconds() > until_s:
            break
        questions.attend(payment.pk)
        asked.append(round((due - born).total_seconds()))
    return asked


def test_questions_fall_as_the_contract_times_them(order, mpesa, time, no_jitter):
    payment = PaymentFactory(order=order)

    asked = live(payment, time, HOUR)

    gaps = [b - a for a, b in zip([0, *asked], asked, strict=False)]
    # To the expiry, one falls at 300 s; then every two minutes.
    assert asked[:8] == [15, 25, 45, 75, 135, 255, 300, 420]
    assert set(gaps[8:]) == {120}
    assert len(mpesa.questions) == len(asked)


def test_after_an_hour_questions_are_hourly_and_end_after_two_days(
    order, mpesa, time, no_jitter
):
    payment = PaymentFactory(order=order)

    asked = live(payment, time, 60 * HOUR)

    later = [moment for moment in asked if moment >= HOUR]
    assert {b - a for a, b in itertools.pairwise(later)} == {HOUR}
    assert 48 * HOUR <= asked[-1] < 49 * HOUR
    row = stored(payment)
    assert (row.next_ask_at, row.decided_at, row.status) == (None, None, "expired")


def test_a_payment_expires_after_a_last_question(order, mpesa, time, no_jitter):
    payment = PaymentFactory(order=order)
    live(payment, time, 299)
    assert stored(payment).status == "pending"
    questions_before = len(mpesa.questions)
    time.now = payment.created_at + timedelta(seconds=300)

    assert questions.attend(payment.pk) is True

    assert len(mpesa.questions) == questions_before + 1
    assert stored(payment).status == "expired"


def test_an_answer_at_the_last_question_saves_it(order, mpesa, time, no_jitter):
    payment = PaymentFactory(order=order)
    live(payment, time, 299)
    mpesa.otherwise = final("0")
    time.now = payment.created_at + timedelta(seconds=300)

    questions.attend(payment.pk)

    assert stored(payment).status == "completed"


def test_the_first_question_is_15_seconds_after_the_push(time):
    assert schedule.first_question(time.now) == time.now + timedelta(seconds=15)


@pytest.mark.parametrize(
    ("asked", "gap_s"), [(0, 10), (1, 20), (2, 30), (3, 60), (4, 120), (40, 120)]
)
def test_gaps_follow_the_number_of_questions(payment, time, no_jitter, asked, gap_s):
    payment.ask_count = asked

    due = schedule.next_question(payment, time.now)

    assert due == time.now + timedelta(seconds=gap_s)


@pytest.mark.parametrize("dice", [0.0, 0.5, 1.0])
def test_jitter_lengthens_a_gap_by_its_share(
    payment, time, settings, monkeypatch, dice
):
    settings.QUESTION_JITTER = 0.2
    monkeypatch.setattr(schedule.random, "random", lambda: dice)

    due = schedule.next_question(payment, time.now)

    assert due == time.now + timedelta(seconds=10 * (1 + 0.2 * dice))


@pytest.mark.parametrize(
    ("age_s", "gap_s"),
    [(3599, 120), (3600, 3600), (48 * HOUR - 1, 3600), (48 * HOUR, None)],
)
def test_gaps_follow_the_age(payment, time, no_jitter, age_s, gap_s):
    payment.ask_count, payment.status = 40, "expired"
    payment.created_at = time.now - timedelta(seconds=age_s)

    due = schedule.next_question(payment, time.now)

    assert due == (None if gap_s is None else time.now + timedelta(seconds=gap_s))


@pytest.mark.parametrize(
    ("status", "expires_in_s", "gap_s"),
    [
        ("pending", 30, 30),
        ("pending", 60, 60),
        ("pending", 61, 60),
        ("pending", 0, 60),
        ("pending", -5, 60),
        ("pending", None, 60),
        ("cancelled", 30, 60),
    ],
)
def test_a_question_falls_at_the_expiry(
    payment, time, no_jitter, status, expires_in_s, gap_s
):
    payment.ask_count, payment.status = 3, status
    payment.expires_at = (
        None if expires_in_s is None else time.now + timedelta(seconds=expires_in_s)
    )

    due = schedule.next_question(payment, time.now)

    assert due == time.now + timedelta(seconds=gap_s)


@pytest.mark.parametrize(
    ("source", "amount", "gap_s"),
    [
        (Source.QUERY, 9000, None),
        (Source.CALLBACK, 4999, 60),
        (Source.CALLBACK, 5000, 0),
        (Source.CALLBACK, 5001, 0),
    ],
)
def test_a_success_by_callback_is_confirmed(payment, time, source, amount, gap_s):
    payment.amount = amount

    due = schedule.confirmation_due(payment, source)

    assert due == (None if gap_s is None else time.now + timedelta(seconds=gap_s))


@pytest.mark.parametrize(("in_s", "tasks_now"), [(0, 1), (-1, 1), (1, 0), (None, 0)])
def test_only_what_is_due_now_is_handed_out_now(payment, time, tasks, in_s, tasks_now):
    payment.next_ask_at = None if in_s is None else time.now + timedelta(seconds=in_s)

    schedule.ask_at_once_if_due(payment)

    assert len(tasks()) == tasks_now


# The front of the queue.


@pytest.mark.parametrize(
    ("asked_ago_s", "due_in_s", "expected_s"),
    [
        (None, 60, 0),
        (None, None, 0),
        (3, 60, 7),
        (10, 60, 0),
        (30, 60, 0),
        (3, 5, 5),
        (None, -5, -5),
    ],
    ids=str,
)
def test_a_question_is_brought_forward_not_before_its_rest(
    payment, time, tasks, asked_ago_s, due_in_s, expected_s
):
    payment.asked_at = moment(time, asked_ago_s and -asked_ago_s)
    payment.next_ask_at = moment(time, due_in_s)
    payment.leased_until = time.now
    payment.save()

    schedule.bring_forward(payment)

    assert stored(payment).next_ask_at == moment(time, expected_s)
    was_there = due_in_s is not None and expected_s == due_in_s
    assert stored(payment).leased_until == (time.now if was_there else None)
    assert [task[:2] for task in tasks()] == (
        [] if was_there else [(ASK, (str(payment.pk),))]
    )


def moment(time, in_s):
    return None if in_s is None else time.now + timedelta(seconds=in_s)


@pytest.mark.parametrize(
    "facts",
    [
        {"status": "completed", "completed_at": clock.now(), "decided_at": clock.now()},
        {"status": "reversed"},
        {"checkout_request_id": None},
    ],
    ids=["completed", "reversed", "no id"],
)
def test_some_are_not_worth_a_question(duka, tasks, facts):
    payment = PaymentFactory(order=OrderFactory(shop=duka), **facts)
    before = stored(payment).next_ask_at

    schedule.bring_forward(payment)

    assert (stored(payment).next_ask_at, tasks()) == (before, [])


def test_pending_is_what_the_fake_answers(mpesa, payment):
    assert mpesa.query(None, "x", limit_s=1) == PENDING
