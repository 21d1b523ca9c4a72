"""When a phone may be prompted: one row per number, whatever shop asks."""

from datetime import timedelta
from decimal import Decimal

import pytest

from payments import guards
from payments.models import Payment, PhoneGuard
from smartduka.lib import clock


pytestmark = pytest.mark.django_db

PHONE = "254712345678"


def prompt(amount=250, phone=PHONE):
    """A payment as far as a guard looks at it."""
    return Payment(phone=phone, amount=Decimal(amount))


def free_in(time, amount, phone=PHONE):
    moment = guards.free_for(phone, Decimal(amount))
    return None if moment is None else (moment - time.now).total_seconds()


def test_a_new_phone_is_free(time):
    assert free_in(time, 250) is None
    assert guards.claim(prompt()) == 0


def test_a_claim_holds_the_phone(time):
    payment = prompt()

    guards.claim(payment)

    guard = PhoneGuard.objects.get()
    assert (guard.phone, guard.payment_id, guard.amount) == (PHONE, payment.pk, 250)
    assert (free_in(time, 250), free_in(time, 100)) == (120, 60)


def test_another_phone_is_free(time):
    guards.claim(prompt())

    assert guards.claim(prompt(phone="254711000222")) == 0


@pytest.mark.parametrize(
    ("amount", "after_s", "wait_s"),
    [
        (250, 0, 120),
        (100, 0, 60),
        (100, 59.5, 1),
        (100, 60, 0),
        (250, 60, 60),
        (250, 119.2, 1),
        (250, 120, 0),
    ],
    ids=str,
)
def test_a_held_phone_says_how_long(time, amount, after_s, wait_s):
    guards.claim(prompt())
    time.turn(after_s)

    assert guards.claim(prompt(amount)) == wait_s


def test_a_refused_claim_changes_nothing(time):
    guards.claim(prompt())
    before = PhoneGuard.objects.values().get()
    time.turn(10)

    assert guards.claim(prompt(100)) == 50

    assert PhoneGuard.objects.values().get() == before


def test_after_success_only_the_same_amount_waits(time):
    payment = prompt()
    guards.claim(payment)
    time.turn(20)

    guards.release_after_success(payment)

    assert (free_in(time, 250), free_in(time, 100)) == (120, 0)
    assert guards.claim(prompt(100)) == 0


@pytest.mark.parametrize(("wish_s", "wait_s"), [(0, 5), (3, 5), (60, 60), (120, 120)])
def test_after_a_failure_a_queue_is_waiting(time, wish_s, wait_s):
    payment = prompt()
    guards.claim(payment)

    guards.release_after_failure(payment, wish_s)

    assert (free_in(time, 250), free_in(time, 100)) == (wait_s, wait_s)


def test_only_the_last_prompt_releases_the_phone(time):
    first, second = prompt(), prompt(100)
    guards.claim(first)
    time.turn(60)
    guards.claim(second)

    guards.release_after_failure(first)
    guards.release_after_success(first)

    assert (free_in(time, 100), free_in(time, 250)) == (120, 60)


def test_releasing_what_was_never_claimed_is_nothing(time):
    guards.release_after_success(prompt())

    assert not PhoneGuard.objects.exists()


def test_times_are_of_the_settings(time, settings):
    settings.PHONE_GUARD_S, settings.PHONE_GUARD_SAME_AMOUNT_S = 7, 9

    guards.claim(prompt())

    assert (free_in(time, 100), free_in(time, 250)) == (7, 9)


def test_a_guard_shows_no_whole_number(time):
    guards.claim(prompt())

    assert str(PhoneGuard.objects.get()) == "0712 ••• 678"
    assert guards._seconds_until(None, clock.now()) == 0
    assert guards._seconds_until(time.now + timedelta(seconds=0.1), time.now) == 1
