"""Evidence about a payment, in every order it can come."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import IntegrityError, OperationalError, transaction

from orders import lifecycle as order_lifecycle
from orders.models import Order
from payments import acceptance, guards, lifecycle, settlement
from payments.enums import FailureReason, PaymentStatus, Source
from payments.gateways.base import GatewayError
from payments.models import Allocation, Collection, Payment
from payments.settlement import Outcome, Proof
from shops import stock
from shops.models import StockMovement
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import (
    kes,
    money_of,
    nothing_changes,
    path_of,
    sale_of,
    written_down,
)


pytestmark = pytest.mark.django_db

RECEIPT, OTHER = "UAE5B2K9QT", "UAE5B2K9QU"
PAID_AT = datetime(2026, 1, 14, 6, 30, 31, tzinfo=UTC)
CALLBACK = Proof(
    Source.CALLBACK, RECEIPT, "254708374149", PAID_AT, "processed successfully"
)
ANSWER = Proof(Source.QUERY, description="processed")
SALE_250 = [("sale", kes(250))]


@pytest.fixture(autouse=True)
def _money_is_told(messages):
    return messages


def under_locks(payment, act, *args, **kwargs):
    with transaction.atomic():
        order, locked = settlement.locked(payment.pk)
        return act(order, locked, *args, **kwargs)


def succeed(payment, proof=CALLBACK):
    return under_locks(payment, settlement.record_success, proof)


def fail(payment, code="1032", source=Source.CALLBACK):
    return under_locks(
        payment, settlement.record_failure, code, source=source, description="no"
    )


def doubt(payment, code="1037", source=Source.CALLBACK):
    return under_locks(
        payment, settlement.record_uncertainty, code, source=source, description="?"
    )


def row(payment):
    return Payment.objects.filter(pk=payment.pk).values().get()


def now(payment, *names):
    values = row(payment)
    return tuple(values[name] for name in names)


# Success.


def test_a_callback_completes_payment_and_sale(payment, messages, time):
    before = row(payment)

    assert succeed(payment) == Outcome.COMPLETED

    assert row(payment) == before | {
        "status": "completed",
        "receipt": RECEIPT,
        "result_code": "0",
        "result_desc": "processed successfully",
        "completed_at": time.now,
        "decided_at": time.now,
        "next_ask_at": time.now + clock.seconds(60),
    }
    collection = Collection.objects.values().get()
    collection.pop("id")
    assert collection == {
        "account_id": payment.account_id,
        "environment": payment.environment,
        "shop_id": payment.shop_id,
        "payment_id": payment.pk,
        "receipt": RECEIPT,
        "amount": kes(250),
        "allocated": kes(250),
        "phone": "254708374149",
        "binding": "token",
        "source": "callback",
        "paid_at": PAID_AT,
        "sighted_at": time.now,
        "confirmed_at": None,
        "disputed": "",
        "disputed_at": None,
        "reversed_at": None,
        "corrects_id": None,
    }
    assert money_of(payment.order) == [("callback", RECEIPT, kes(250), SALE_250)]
    assert sale_of(payment.order) == ("paid", kes(250), 0, 0)
    assert path_of(payment) == ["created", "pending", "completed"]
    event = payment.events.last()
    assert (event.source, event.reason) == (
        "callback", f"KES 250 arrived, receipt {RECEIPT}"
    )  # fmt: skip
    assert messages == [("payment.completed", "completed")]


def test_an_answer_completes_without_a_receipt(payment, messages, time):
    assert succeed(payment, ANSWER) == Outcome.COMPLETED

    assert now(payment, "status", "receipt", "next_ask_at") == ("completed", "", None)
    collection = Collection.objects.get()
    assert (collection.receipt, collection.phone) == (None, payment.phone)
    assert collection.confirmed_at == time.now
    assert payment.events.last().reason == "KES 250 arrived, receipt to follow"
    assert sale_of(payment.order) == ("paid", kes(250), 0, 0)


@pytest.mark.parametrize(
    "status", ["created", "pending", "failed", "expired", "cancelled"]
)
def test_success_beats_whatever_was_believed(order, status, messages):
    facts = {"failure_reason": "other", "decided_at": clock.now()}
    payment = PaymentFactory(
        order=order, status=status, may_retry=True, error_code="MPESA_004",
        **facts if status == "failed" else {},
    )  # fmt: skip

    assert succeed(payment) == Outcome.COMPLETED

    assert now(payment, "status", "failure_reason", "error_code", "may_retry") == (
        "completed", "", "", False
    )  # fmt: skip
    assert path_of(payment)[-1] == "completed"
    assert sale_of(order) == ("paid", kes(250), 0, 0)


@pytest.mark.parametrize("proof", [CALLBACK, ANSWER], ids=["callback", "answer"])
@pytest.mark.parametrize("status", ["paid", "cancelled"])
def test_money_for_a_closed_sale_is_surplus(order, payment, proof, status):
    close(order, status)
    paid = sale_of(order)[1]

    assert succeed(payment, proof) == Outcome.COMPLETED

    assert sale_of(order) == (status, paid, 0, kes(250))
    allocation = Allocation.objects.get(collection__payment=payment)
    assert (allocation.kind, allocation.amount, allocation.order) == (
        "surplus", kes(250), order
    )  # fmt: skip
    assert allocation.reason == f"The sale needed no more: it is {status}"


def close(order, status):
    if status == "cancelled":
        order_lifecycle.cancel(order.pk, actor=None)
        return
    with transaction.atomic():
        held = order_lifecycle.locked(order.pk)
        order_lifecycle.take_payment(held, Decimal(250), actor=None)


def test_money_beyond_the_need_is_shared(order, payment):
    PaymentFactory(order=order, amount=Decimal(100), phone="254711000222")
    succeed(order.payments.get(amount=100), Proof(Source.CALLBACK, OTHER))

    assert succeed(payment) == Outcome.COMPLETED

    assert money_of(order) == [
        ("callback", OTHER, kes(100), [("sale", kes(100))]),
        ("callback", RECEIPT, kes(250), [("sale", kes(150)), ("surplus", kes(100))]),
    ]
    assert sale_of(order) == ("paid", kes(250), 0, kes(100))


def test_the_same_success_again_says_nothing_new(payment):
    succeed(payment)

    with nothing_changes():
        assert succeed(payment) == Outcome.DUPLICATE


def test_another_receipt_is_more_money(payment, messages):
    succeed(payment)

    assert succeed(payment, Proof(Source.CALLBACK, OTHER)) == Outcome.ADDED

    assert money_of(payment.order) == [
        ("callback", RECEIPT, kes(250), SALE_250),
        ("callback", OTHER, kes(250), [("surplus", kes(250))]),
    ]
    assert sale_of(payment.order) == ("paid", kes(250), 0, kes(250))
    assert now(payment, "receipt", "alarm") == (
        RECEIPT, "Paid twice: another receipt came for the same prompt."
    )  # fmt: skip
    assert messages[-1] == ("payment.updated", "completed")


def test_a_receipt_of_another_payment_is_taken(payment, duka):
    other = PaymentFactory(order=OrderFactory(shop=duka))
    succeed(other)

    with nothing_changes():
        assert succeed(payment) == Outcome.RECEIPT_TAKEN


def test_a_receipt_is_taken_on_its_own_account_only(payment, charlie):
    succeed(charlie.payment)

    assert succeed(payment) == Outcome.COMPLETED

    assert Collection.objects.filter(receipt=RECEIPT).count() == 2


def test_a_receipt_fills_what_an_answer_proved(payment, messages, time):
    succeed(payment, ANSWER)
    time.turn(5)

    assert succeed(payment) == Outcome.FILLED

    assert money_of(payment.order) == [("query", RECEIPT, kes(250), SALE_250)]
    collection = Collection.objects.get()
    assert (collection.phone, collection.paid_at, collection.confirmed_at) == (
        "254708374149", PAID_AT, time.now
    )  # fmt: skip
    assert now(payment, "receipt", "status", "next_ask_at") == (
        RECEIPT, "completed", None
    )  # fmt: skip
    assert messages[-1] == ("payment.updated", "completed")


def test_an_answer_confirms_a_callback_once(payment, time):
    succeed(payment)
    time.turn(60)

    assert succeed(payment, ANSWER) == Outcome.CONFIRMED

    assert Collection.objects.get().confirmed_at == time.now
    assert now(payment, "next_ask_at", "leased_until") == (None, None)
    with nothing_changes():
        assert succeed(payment, ANSWER) == Outcome.DUPLICATE


@pytest.mark.parametrize(
    ("amount", "gap_s", "at_once"), [(4999, 60, 0), (5000, 0, 1)], ids=str
)
def test_a_large_success_is_confirmed_at_once(
    duka, time, tasks, amount, gap_s, at_once
):
    payment = PaymentFactory(order=OrderFactory(shop=duka, total=amount))

    succeed(payment)

    assert now(payment, "next_ask_at") == (time.now + clock.seconds(gap_s),)
    asked = [task for task in tasks() if task[:2] == (ASK, (str(payment.pk),))]
    assert len(asked) == at_once


ASK = "payments.tasks.ask"


def test_success_frees_the_phone_but_not_for_the_same_amount(payment, time):
    claim(payment)

    succeed(payment)

    phone = payment.phone
    assert guards.free_for(phone, Decimal(100)) == time.now
    assert guards.free_for(phone, kes(250)) == time.now + clock.seconds(120)


def claim(payment):
    with transaction.atomic():
        assert guards.claim(payment) == 0


def test_a_reversed_payment_answers_nothing_new(payment):
    succeed(payment)
    with transaction.atomic():
        payment.refresh_from_db()
        lifecycle.move(
            payment, PaymentStatus.REVERSED, source=Source.PERSON, reason="back"
        )
    Collection.objects.update(confirmed_at=clock.now())

    with nothing_changes():
        assert succeed(payment, ANSWER) == Outcome.DUPLICATE


# The sale may not stand in the money's way.


@pytest.mark.parametrize(
    "error", [KeyError("stock"), IntegrityError("odd")], ids=["a bug", "a constraint"]
)
def test_a_sale_that_breaks_cannot_stop_the_money(payment, monkeypatch, error):
    def broken(*args, **kwargs):
        raise error

    monkeypatch.setattr(stock, "deduct", broken)

    assert succeed(payment) == Outcome.COMPLETED

    assert money_of(payment.order) == [("callback", RECEIPT, kes(250), [])]
    assert Collection.objects.get().allocated == 0
    assert sale_of(payment.order) == ("open", 0, kes(250), 0)
    assert [one.new for one in payment.order.events.all()] == ["open"]
    assert now(payment, "status", "alarm") == (
        "completed", "The money arrived, but the sale could not take it."
    )  # fmt: skip


def test_a_sale_that_breaks_half_way_is_undone_whole(payment, monkeypatch):
    """The stock had left already."""

    def broken(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(order_lifecycle, "_move", broken)

    assert succeed(payment) == Outcome.COMPLETED

    assert money_of(payment.order) == [("callback", RECEIPT, kes(250), [])]
    assert payment.order.lines.get().product.stock == 100
    assert not StockMovement.objects.filter(reason="sold").exists()


def test_a_lock_that_is_not_to_be_had_repeats_the_whole(payment, monkeypatch):
    def locked(*args, **kwargs):
        raise OperationalError("lock timeout")

    monkeypatch.setattr(stock, "deduct", locked)

    with nothing_changes(), pytest.raises(OperationalError):
        succeed(payment)


# Failure.


def test_a_failure_fails_an_open_payment(payment, messages, time):
    claim(payment)
    before = row(payment)

    assert fail(payment) == Outcome.FAILED

    assert row(payment) == before | {
        "status": "failed",
        "decided_at": time.now,
        "result_code": "1032",
        "result_desc": "no",
        "failure_reason": "cancelled_on_phone",
        "may_retry": True,
        "next_ask_at": None,
    }
    assert path_of(payment) == ["created", "pending", "failed"]
    assert payment.events.last().reason == (
        "The customer cancelled, or did not answer in time. (code 1032)"
    )
    assert messages == [("payment.failed", "failed")]
    assert money_of(payment.order) == []
    free_at = guards.free_for(payment.phone, kes(250))
    assert free_at == time.now + clock.seconds(5)


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_a_failure_decides_what_was_given_up(order, status, messages, time):
    payment = PaymentFactory(order=order, status=status)

    assert fail(payment, "2001") == Outcome.DECIDED

    assert now(payment, "status", "decided_at", "failure_reason", "next_ask_at") == (
        status, time.now, "wrong_pin", None
    )  # fmt: skip
    assert path_of(payment) == ["created", status]
    assert messages == [("payment.updated", status)]


def test_the_same_failure_again_says_nothing_new(payment):
    fail(payment)

    with nothing_changes():
        assert fail(payment) == Outcome.DUPLICATE
        assert fail(payment, "1") == Outcome.DUPLICATE


def test_a_failure_ends_the_questions_about_a_decided_payment(payment):
    fail(payment)
    Payment.objects.update(next_ask_at=clock.now(), leased_until=clock.now())

    assert fail(payment) == Outcome.DUPLICATE

    assert now(payment, "next_ask_at", "leased_until") == (None, None)


@pytest.mark.parametrize("source", [Source.CALLBACK, Source.QUERY])
def test_a_failure_after_the_money_alarms_and_undoes_nothing(payment, source, messages):
    succeed(payment)
    before, told = written_down(), len(messages)

    assert fail(payment, source=source) == Outcome.CONTRADICTION

    after = written_down()
    assert after["PaymentEvent"][-1]["reason"] == (
        "Contradiction: code 1032 after the money was recorded"
    )
    alarm = "M-Pesa also said that this was not paid (code 1032)."
    assert [one.pop("alarm") for one in after["Payment"]] == [alarm]
    del after["PaymentEvent"][-1]
    assert [one.pop("alarm") for one in before["Payment"]] == [""]
    assert after == before
    is_asked_on = now(payment, "next_ask_at") != (None,)
    assert is_asked_on == (source == Source.CALLBACK)
    assert len(messages) == told


def test_the_same_contradiction_again_says_nothing_new(payment):
    succeed(payment)
    fail(payment)

    with nothing_changes():
        assert fail(payment, source=Source.QUERY) == Outcome.DUPLICATE

    assert now(payment, "next_ask_at") == (None,)


@pytest.mark.parametrize(("code", "wait_s"), [("17", 120), ("1001", 60), ("1", 5)])
def test_a_failure_holds_the_phone_as_long_as_mpesa_would(payment, time, code, wait_s):
    claim(payment)

    fail(payment, code)

    free_at = guards.free_for(payment.phone, Decimal(1))
    assert free_at == time.now + clock.seconds(wait_s)


# Uncertainty.


def test_an_uncertain_code_is_shown_and_moves_nothing(payment, messages):
    before = row(payment)

    assert doubt(payment) == Outcome.UNCERTAIN

    assert row(payment) == before | {"result_code": "1037", "result_desc": "?"}
    assert path_of(payment) == ["created", "pending"]
    assert payment.events.last().reason == "Uncertain code 1037: M-Pesa is asked"
    assert messages == [("payment.updated", "pending")]


def test_the_same_uncertain_answer_again_says_nothing_new(payment):
    doubt(payment, source=Source.QUERY)

    with nothing_changes():
        assert doubt(payment, source=Source.QUERY) == Outcome.DUPLICATE


@pytest.mark.parametrize("source", [Source.CALLBACK, Source.QUERY])
def test_an_uncertain_code_cannot_unsettle_what_is_decided(payment, source):
    fail(payment)
    Payment.objects.update(next_ask_at=clock.now())

    with nothing_changes():
        assert doubt(payment, "9999", source) == Outcome.DUPLICATE

    is_over = now(payment, "next_ask_at") == (None,)
    assert is_over == (source == Source.QUERY)


def test_an_uncertain_payment_can_still_be_paid(payment):
    doubt(payment)

    assert succeed(payment) == Outcome.COMPLETED

    assert now(payment, "status", "result_code") == ("completed", "0")


# What the push was answered.


def refuse(payment, error):
    return under_locks(payment, acceptance.refuse, error)


BUSY = GatewayError("busy", certain=True, reason=FailureReason.MPESA_BUSY)
LOCKED = GatewayError("lock", certain=True, reason=FailureReason.TOO_SOON, wait_s=60)


def test_a_refused_push_fails_the_payment(order, messages, time):
    payment = PaymentFactory(order=order, status="created", idempotency_key="key")
    claim(payment)

    refuse(payment, BUSY)

    assert now(
        payment, "status", "error_code", "failure_reason", "result_desc", "may_retry",
        "next_ask_at", "idempotency_key", "decided_at",
    ) == (
        "failed", "MPESA_004", "mpesa_busy", "busy", True, None, "key", time.now
    )  # fmt: skip
    assert payment.events.last().source == "push"
    assert messages == [("payment.failed", "failed")]
    assert guards.free_for(payment.phone, kes(250)) == time.now + clock.seconds(5)


def test_a_subscriber_lock_frees_the_key_and_keeps_the_phone(order, time):
    payment = PaymentFactory(order=order, status="created", idempotency_key="key")
    claim(payment)

    refuse(payment, LOCKED)

    assert now(payment, "error_code", "idempotency_key") == ("MPESA_006", None)
    assert guards.free_for(payment.phone, Decimal(1)) == time.now + clock.seconds(60)


@pytest.mark.parametrize("status", ["cancelled", "expired"])
def test_a_refused_push_decides_what_was_given_up(order, status, messages):
    payment = PaymentFactory(order=order, status=status)

    refuse(payment, BUSY)

    status_now, decided_at, reason = now(
        payment, "status", "decided_at", "failure_reason"
    )
    assert (status_now, decided_at is not None, reason) == (status, True, "mpesa_busy")
    assert messages == [("payment.updated", status)]


def test_a_refused_push_after_the_money_alarms(payment, messages, time):
    claim(payment)
    succeed(payment)
    before = row(payment)

    refuse(payment, BUSY)

    alarm = "M-Pesa refused the prompt: busy"
    assert row(payment) == before | {"alarm": alarm}
    # M-Pesa would still refuse the same amount: it was paid a moment ago.
    assert guards.free_for(payment.phone, kes(250)) == time.now + clock.seconds(120)
    assert path_of(payment)[-1] == "completed"
    assert messages[-1] == ("payment.updated", "completed")


@pytest.mark.parametrize(
    ("status", "path"),
    [
        ("created", ["created", "pending"]),
        ("pending", ["created", "pending"]),
        ("cancelled", ["created", "cancelled"]),
    ],
)
def test_an_accepted_push_moves_only_what_was_just_created(
    order, status, path, messages
):
    payment = PaymentFactory(order=order, status=status)

    under_locks(payment, acceptance.accept, Source.PUSH)

    assert path_of(payment) == path
    assert messages == ([("payment.pending", "pending")] if status == "created" else [])


@pytest.mark.parametrize("status", ["created", "cancelled"])
def test_an_unanswered_push_stays_as_it_was_and_says_so(order, status, messages):
    payment = PaymentFactory(order=order, status=status)

    under_locks(payment, acceptance.stay_unknown, "no answer: ReadTimeout")

    assert now(payment, "status", "decided_at") == (status, None)
    assert payment.events.last().reason == (
        "No answer to the push, the outcome is unknown: no answer: ReadTimeout"
    )
    assert messages == [("payment.updated", status)]


def test_a_payment_given_up_without_an_id_is_asked_about_no_more(order):
    payment = PaymentFactory(order=order, status="cancelled", checkout_request_id=None)

    under_locks(payment, acceptance.stay_unknown, "no answer")

    assert now(payment, "next_ask_at") == (None,)


def learn(payment, checkout_id, merchant_id="m-1"):
    return under_locks(
        payment,
        lambda _, locked: acceptance.learn_ids(
            locked, merchant_id, checkout_id, source=Source.PUSH
        ),
    )


def test_ids_are_written_once(order):
    payment = PaymentFactory(
        order=order, status="created", checkout_request_id=None, merchant_request_id=""
    )

    assert learn(payment, "ws_CO_1") is True
    assert learn(payment, "ws_CO_1", "m-2") is True

    assert now(payment, "checkout_request_id", "merchant_request_id", "alarm") == (
        "ws_CO_1", "m-1", ""
    )  # fmt: skip


def test_a_second_id_is_an_alarm(order):
    payment = PaymentFactory(order=order, checkout_request_id="ws_CO_1")

    assert learn(payment, "ws_CO_2") is False

    assert now(payment, "checkout_request_id", "alarm") == (
        "ws_CO_1", "M-Pesa named this payment twice, differently."
    )  # fmt: skip


def test_the_id_of_another_is_an_alarm(order, duka):
    PaymentFactory(order=OrderFactory(shop=duka), checkout_request_id="ws_CO_1")
    payment = PaymentFactory(order=order, checkout_request_id=None)

    assert learn(payment, "ws_CO_1") is False

    assert now(payment, "checkout_request_id", "alarm") == (
        None, "M-Pesa gave this payment the id of another."
    )  # fmt: skip


# Locks.


@pytest.mark.django_db(transaction=True)
def test_locking_needs_a_transaction(duka):
    payment = PaymentFactory(order=OrderFactory(shop=duka))

    with pytest.raises(AssertionError, match="inside a transaction"):
        settlement.locked(payment.pk)


def test_locking_takes_the_order_first(payment, django_assert_num_queries):
    with django_assert_num_queries(3) as queries:
        order, locked = settlement.locked(payment.pk)

    tables = [one["sql"].split('FROM "')[1].split('"')[0] for one in queries]
    assert tables == ["payments_payment", "orders_order", "payments_payment"]
    assert locked.order is order
    assert Order.objects.get() == order


def test_a_payment_that_is_none_cannot_be_locked(db):
    with pytest.raises(Payment.DoesNotExist):
        settlement.locked("00000000-0000-0000-0000-000000000000")
