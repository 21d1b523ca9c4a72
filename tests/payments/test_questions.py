"""Asking M-Pesa: claimed once, nothing held meanwhile, the answer applied."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection

from payments import accounts, budget, questions
from payments.gateways.base import Answered, QueryAnswer
from payments.models import MpesaAccount, Payment
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import kes, money_of, nothing_changes, path_of, sale_of
from tests.support.gateway import PENDING, final


pytestmark = pytest.mark.django_db

ASK = "payments.tasks.ask"


@pytest.fixture
def payment(order, time, mpesa):
    """A pending prompt, born now on the clock that stands still."""
    return PaymentFactory(order=order, phone="254712345678")


def row(payment):
    return Payment.objects.filter(pk=payment.pk).values().get()


def now(payment, *names):
    values = row(payment)
    return tuple(values[name] for name in names)


def decide(payment, status):
    facts = {"decided_at": payment.created_at, "next_ask_at": None}
    if status == "failed":
        facts["failure_reason"] = "other"
    if status in ("completed", "reversed"):
        facts["completed_at"] = payment.created_at
    Payment.objects.filter(pk=payment.pk).update(status=status, **facts)


# The claim.


def test_a_question_is_counted_and_the_next_is_set(payment, mpesa, time, tasks):
    before = row(payment)

    assert questions.ask(payment.pk) is True

    assert mpesa.questions == [payment.checkout_request_id]
    after = row(payment)
    next_ask_at = after["next_ask_at"]
    assert after == before | {
        "asked_at": time.now, "ask_count": 1, "next_ask_at": next_ask_at
    }  # fmt: skip
    assert 10 <= (next_ask_at - time.now).total_seconds() <= 12
    assert [task[:2] for task in tasks()] == [(ASK, (str(payment.pk),))]


def test_a_payment_is_asked_about_once_in_ten_seconds(payment, mpesa, time):
    assert questions.ask(payment.pk) is True
    time.turn(9.9)
    assert questions.ask(payment.pk) is False
    time.turn(0.1)
    assert questions.ask(payment.pk) is True

    assert len(mpesa.questions) == 2


@pytest.mark.parametrize("status", ["completed", "reversed"])
def test_recorded_money_is_not_asked_about(payment, mpesa, status):
    decide(payment, status)

    with nothing_changes():
        assert questions.ask(payment.pk) is False

    assert mpesa.questions == []


def test_recorded_money_is_confirmed_by_its_question(payment, mpesa, time):
    decide(payment, "completed")
    Payment.objects.update(next_ask_at=time.now)

    assert questions.ask(payment.pk) is True


def test_a_failed_payment_may_be_asked_about_and_gets_no_next_question(
    payment, mpesa, tasks
):
    decide(payment, "failed")

    assert questions.ask(payment.pk) is True

    assert now(payment, "next_ask_at") == (None,)
    assert tasks() == []


def test_a_payment_without_an_id_is_not_asked_about(payment, mpesa):
    Payment.objects.update(checkout_request_id=None)

    with nothing_changes():
        assert questions.ask(payment.pk) is False

    assert (mpesa.questions, now(payment, "ask_count")) == ([], (0,))


def test_cash_is_not_asked_about(payment, mpesa):
    Payment.objects.update(method="cash", account=None)

    assert questions.ask(payment.pk) is False
    assert mpesa.questions == []


def test_a_payment_that_is_none_is_not_asked_about(mpesa, db):
    assert questions.ask("00000000-0000-0000-0000-000000000000") is False


def test_another_environment_is_not_asked_about(payment, mpesa):
    Payment.objects.update(environment="sandbox")

    assert questions.ask(payment.pk) is False

    assert mpesa.questions == []
    assert now(payment, "asked_at") == (None,)


def test_a_spent_budget_is_no_question_but_a_next_one(payment, mpesa, monkeypatch):
    monkeypatch.setattr(budget, "take", lambda *args, **kwargs: False)

    assert questions.ask(payment.pk) is False

    assert mpesa.questions == []
    asked_at, count, next_ask_at = now(payment, "asked_at", "ask_count", "next_ask_at")
    assert (asked_at, count, next_ask_at is None) == (None, 0, False)


@pytest.mark.parametrize(("age_s", "young"), [(0, True), (299, True), (300, False)])
def test_most_of_the_budget_is_for_the_young(payment, time, monkeypatch, age_s, young):
    taken = []

    def take(account_id, *, young):
        taken.append((account_id, young))
        return True

    monkeypatch.setattr(budget, "take", take)
    time.turn(age_s)

    questions.ask(payment.pk)

    assert taken == [(payment.account_id, young)]


def test_who_stands_waiting_is_young_however_old_the_payment(
    payment, mpesa, time, settings
):
    """The budget of the old ones is spent; a cashier acts on a sale of an hour ago."""
    settings.QUESTIONS_PER_ACCOUNT_PER_MINUTE = 5  # one of them for old payments
    time.turn(3600)
    old = PaymentFactory(order=payment.order, created_at=payment.created_at)
    assert questions.ask(old.pk) is True
    assert questions.ask(payment.pk) is False

    questions.ask_first([payment])

    assert mpesa.questions == [old.checkout_request_id, payment.checkout_request_id]


@pytest.mark.django_db(transaction=True)
def test_nothing_is_held_during_the_call(duka, mpesa):
    payment = PaymentFactory(order=OrderFactory(shop=duka))
    held = []

    def answer(checkout_id):
        held.append((connection.connection is None, connection.in_atomic_block))
        return PENDING

    mpesa.otherwise = answer

    assert questions.ask(payment.pk) is True
    assert held == [(True, False)]


def test_the_time_limit_reaches_the_gateway(payment, mpesa, time):
    questions.ask(payment.pk, limit_s=2.5)
    time.turn(10)
    questions.ask(payment.pk)

    assert mpesa.limits == [2.5, 10]


# What did not leave.


@pytest.mark.parametrize("why", ["gateway", "keys"])
def test_what_never_left_needs_no_rest(payment, mpesa, why):
    if why == "gateway":
        mpesa.otherwise = QueryAnswer(Answered.NOT_ASKED, description="breaker open")
    else:
        MpesaAccount.objects.update(passkey_sealed=None)

    assert questions.ask(payment.pk) is False
    assert now(payment, "asked_at") == (None,)

    mpesa.otherwise = PENDING
    account = MpesaAccount.objects.get()
    account.passkey = "passkey"
    account.save()
    assert questions.ask(payment.pk) is True


@pytest.mark.parametrize(
    "answer",
    [PENDING, QueryAnswer(Answered.UNKNOWN), RuntimeError("odd")],
    ids=["pending", "unknown", "a bug"],
)
def test_an_answer_that_means_nothing_changes_nothing(payment, mpesa, answer):
    def told(checkout_id):
        if isinstance(answer, Exception):
            raise answer
        return answer

    mpesa.otherwise = told

    with nothing_changes():
        assert questions.ask(payment.pk) is True

    assert now(payment, "ask_count") == (1,)


# What an answer does.


def test_paid_completes_without_a_receipt(payment, mpesa):
    mpesa.otherwise = final("0", "processed")

    assert questions.ask(payment.pk) is True

    assert path_of(payment) == ["created", "pending", "completed"]
    assert money_of(payment.order) == [("query", None, kes(250), [("sale", kes(250))])]
    assert sale_of(payment.order) == ("paid", kes(250), 0, 0)
    assert now(payment, "receipt", "result_desc", "next_ask_at") == (
        "", "processed", None
    )  # fmt: skip


@pytest.mark.parametrize(
    "code", ["1", "1032", "1037", "1019", "2001", "8", "SFC_IC0003"]
)
def test_not_paid_fails(payment, mpesa, code):
    mpesa.otherwise = final(code)

    questions.ask(payment.pk)

    assert path_of(payment) == ["created", "pending", "failed"]
    assert now(payment, "result_code", "next_ask_at") == (code, None)


@pytest.mark.parametrize("code", ["9999", "E3008", "15"])
def test_an_uncertain_answer_is_shown_and_asked_on(payment, mpesa, code):
    mpesa.otherwise = final(code)

    questions.ask(payment.pk)

    assert path_of(payment) == ["created", "pending"]
    result_code, next_ask_at = now(payment, "result_code", "next_ask_at")
    assert (result_code, next_ask_at is None) == (code, False)


def test_a_contradiction_after_the_money_alarms(payment, mpesa, time):
    mpesa.otherwise = final("0")
    questions.ask(payment.pk)
    mpesa.otherwise = final("1032")
    Payment.objects.update(next_ask_at=time.now)
    time.turn(10)

    questions.attend(payment.pk)

    assert path_of(payment)[-1] == "completed"
    alarm, next_ask_at = now(payment, "alarm", "next_ask_at")
    assert (alarm[:17], next_ask_at) == ("M-Pesa also said ", None)


# Due questions, expiry.


def test_attending_asks_what_is_due(payment, mpesa, time):
    time.turn(14.4)
    assert questions.attend(payment.pk) is False
    time.turn(0.1)
    assert questions.attend(payment.pk) is True
    assert questions.attend(payment.pk) is False

    assert len(mpesa.questions) == 1


@pytest.mark.parametrize(("age_s", "expires"), [(299.9, False), (300, True)])
def test_a_payment_expires_in_time(payment, time, messages, age_s, expires):
    time.turn(age_s)

    assert questions.expire_if_over(payment.pk) is expires

    assert path_of(payment) == ["created", "pending"] + ["expired"] * expires
    assert messages == [("payment.expired", "expired")] * expires
    assert now(payment, "decided_at") == (None,)


def test_expired_is_still_asked_about(payment, mpesa, time):
    time.turn(300)
    questions.attend(payment.pk)
    assert now(payment, "status")[0] == "expired"
    mpesa.otherwise = final("0")
    time.turn(120)

    assert questions.ask(payment.pk) is True

    assert path_of(payment) == ["created", "pending", "expired", "completed"]


def test_a_payment_without_an_id_expires_and_is_let_go(payment, mpesa, time):
    Payment.objects.update(checkout_request_id=None)
    time.turn(300)

    assert questions.attend(payment.pk) is False

    assert now(payment, "status", "next_ask_at", "decided_at") == (
        "expired",
        None,
        None,
    )
    assert mpesa.questions == []


@pytest.mark.parametrize("status", ["failed", "cancelled", "completed"])
def test_what_is_over_does_not_expire(payment, time, status):
    decide(payment, status)
    time.turn(400)

    with nothing_changes():
        assert questions.expire_if_over(payment.pk) is False


def test_a_callback_between_look_and_lock_wins_over_the_clock(
    payment, time, monkeypatch
):
    time.turn(300)
    original = questions.settlement.locked

    def locked(payment_id):
        decide(payment, "completed")
        return original(payment_id)

    monkeypatch.setattr(questions.settlement, "locked", locked)

    assert questions.expire_if_over(payment.pk) is False
    assert now(payment, "status") == ("completed",)


def test_a_broken_question_still_lets_it_expire(payment, time, monkeypatch):
    def broken(*args):
        raise RuntimeError("bug")

    monkeypatch.setattr(questions, "_ask", broken)
    time.turn(300)

    with pytest.raises(RuntimeError):
        questions.attend(payment.pk)

    assert now(payment, "status") == ("expired",)


def test_a_twin_that_was_faster_leaves_nothing_to_claim(
    payment, mpesa, monkeypatch, time
):
    """Somebody asks between the look and the lock."""
    original = budget.take

    def take(*args, **kwargs):
        Payment.objects.update(asked_at=time.now)
        return original(*args, **kwargs)

    monkeypatch.setattr(budget, "take", take)

    assert questions.ask(payment.pk) is False
    assert (mpesa.questions, now(payment, "ask_count")) == ([], (0,))


# Before acting.


def test_all_are_asked_within_one_limit(order, mpesa, time):
    payments = [
        PaymentFactory(order=order, phone=f"25471200000{n}", amount=Decimal(n + 1))
        for n in range(4)
    ]
    mpesa.otherwise = lambda _: time.turn(1.4) or PENDING

    questions.ask_first(payments)

    assert mpesa.questions == [one.checkout_request_id for one in payments[:2]]
    assert mpesa.limits == [3.0, 1.6]


def test_who_was_asked_a_moment_ago_costs_no_time(order, payment, mpesa, time):
    questions.ask(payment.pk)
    time.turn(1)

    questions.ask_first([payment])

    assert len(mpesa.questions) == 1


def test_nobody_undecided_is_no_question(mpesa, db):
    questions.ask_first([])

    assert mpesa.questions == []


def test_keys_that_cannot_be_read_ask_nothing(payment, mpesa, settings):
    settings.MPESA_ENCRYPTION_KEYS = [b"\x99" * 32]

    assert questions.ask(payment.pk) is False
    with pytest.raises(accounts.NotConfigured):
        accounts.credentials(payment.account)
    assert mpesa.questions == []


def test_the_gap_is_of_the_settings(payment, mpesa, time, settings):
    settings.QUESTION_MIN_GAP_S = 3
    questions.ask(payment.pk)
    time.turn(3)

    assert questions.ask(payment.pk) is True
    assert time.now - payment.created_at == timedelta(seconds=3)
