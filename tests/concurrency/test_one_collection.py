"""One callback is one collection, however often it comes and to whomever."""

from decimal import Decimal

import pytest
from django.test import Client

from orders.models import Order
from payments import acceptance, inbox, lifecycle, settlement
from payments.models import (
    Allocation,
    Collection,
    Notice,
    Payment,
    PaymentEvent,
)
from shops.models import StockMovement
from tests.concurrency.racing import MARKS, ROUNDS, kinds, together
from tests.factories import OrderFactory, PaymentFactory
from tests.support.callbacks import RECEIPT, success


pytestmark = MARKS

AT_ONCE = 50
ACCEPTED = {"ResultCode": 0, "ResultDesc": "Accepted"}


@pytest.fixture
def payment(duka):
    return PaymentFactory(order=OrderFactory(shop=duka, total=250))


@pytest.fixture
def call_back():
    """Return a call of the hook as Daraja makes it; its status and answer."""
    first = Client()
    first.handler.load_middleware()

    def call(payment, body):
        client = Client()
        client.handler = first.handler
        answer = client.post(
            f"/hooks/stk/{payment.hook_token}", body, content_type="application/json"
        )
        return answer.status_code, answer.json()

    return call


@pytest.mark.parametrize("number", range(ROUNDS))
def test_50_copies_of_one_callback_are_one_collection(
    number, payment, call_back, messages
):
    body = success(payment)

    answers = together(*[lambda: call_back(payment, body)] * AT_ONCE)

    assert answers == [(200, ACCEPTED)] * AT_ONCE
    assert_paid_once(payment, messages)
    notice = Notice.objects.get()
    assert (notice.copies, notice.verdict, notice.next_try_at) == (
        AT_ONCE, "applied", None
    )  # fmt: skip


def test_50_other_bytes_of_one_callback_are_one_collection(
    payment, call_back, messages
):
    """Each is a notice of its own and is processed: the locks stand alone."""
    bodies = [success(payment, extra=" " * count) for count in range(AT_ONCE)]

    answers = together(*[lambda b=body: call_back(payment, b) for body in bodies])

    assert answers == [(200, ACCEPTED)] * AT_ONCE
    assert_paid_once(payment, messages)
    verdicts = sorted(Notice.objects.values_list("verdict", flat=True))
    assert verdicts == ["applied"] + ["duplicate"] * (AT_ONCE - 1)


def test_the_same_crowd_collects_often_without_the_guards(
    payment, call_back, off, rendezvous
):
    off.lock(Order, Payment)
    off.condition(lifecycle, "Payment")
    off.constraint(PaymentEvent, "payment_enters_a_status_once")
    off.constraint(Collection, "receipt_is_one_collection_of_an_account")
    Payment.objects.update(amount=50)  # the sale stays open: it has guards of its own
    payment.refresh_from_db()
    rendezvous(parties=12).before(settlement, "_complete")
    bodies = [success(payment, extra=" " * count) for count in range(12)]

    together(*[lambda b=body: call_back(payment, b) for body in bodies])

    assert Collection.objects.filter(receipt=RECEIPT).count() > 1


def test_without_its_constraint_a_notice_is_stored_twice(payment, off, monkeypatch):
    """The statement that counts copies needs it: a plain insert stores two."""
    monkeypatch.setattr(inbox, "_insert", insert_plainly)
    raw = inbox.Raw(success(payment), False, "", True)

    def store():
        return inbox.store_for_payment(payment.token_hash, raw)

    assert kinds(together(store, store)) == ["IntegrityError", "ok"]
    off.constraint(Notice, "notice_of_a_payment_is_stored_once")
    assert kinds(together(store)) == ["ok"]
    assert Notice.objects.count() == 2


@pytest.mark.parametrize("kind", [inbox.UNTOKENED, inbox.REJECTED])
def test_copies_for_nobody_are_stored_once(kind, transactional_db):
    raw = inbox.Raw(b"the same", False, "", True)
    store = inbox.store_untokened if kind == inbox.UNTOKENED else inbox.count_rejected

    together(*[lambda: store(raw)] * 8)

    assert list(Notice.objects.values_list("kind", "copies")) == [(kind, 8)]


def test_one_receipt_for_two_payments_is_one_collection(duka, rendezvous):
    first, second = two_payments(duka)
    notices = [stored(payment, success(payment)) for payment in (first, second)]
    rendezvous().before(settlement, "_complete")

    results = together(*[lambda n=number: inbox.process(n) for number in notices])

    assert kinds(results) == ["IntegrityError", "ok"]
    assert list(Collection.objects.values_list("receipt", "amount")) == [
        (RECEIPT, Decimal("250.00"))
    ]
    assert Payment.objects.filter(status="completed").count() == 1
    assert Payment.objects.filter(status="pending").count() == 1
    loser = Notice.objects.get(processed_at=None)
    assert inbox.process_again(loser.pk) == "unverified"
    assert Collection.objects.count() == 1


def test_one_receipt_pays_two_payments_without_the_constraint(duka, off, rendezvous):
    off.constraint(Collection, "receipt_is_one_collection_of_an_account")
    first, second = two_payments(duka)
    notices = [stored(payment, success(payment)) for payment in (first, second)]
    rendezvous().before(settlement, "_complete")

    results = together(*[lambda n=number: inbox.process(n) for number in notices])

    assert kinds(results) == ["ok", "ok"]
    assert Collection.objects.filter(receipt=RECEIPT).count() == 2


def test_one_checkout_id_belongs_to_one_payment(duka, rendezvous):
    first, second = two_payments(duka, checkout_request_id=None)
    notices = claim_one_id(first, second)
    rendezvous().before(acceptance, "learn_ids")

    results = together(*[lambda n=number: inbox.process(n) for number in notices])

    assert sorted(results) == ["applied", "unverified"]
    assert Payment.objects.filter(checkout_request_id="ws_CO_1").count() == 1
    assert Collection.objects.count() == 1
    loser = Payment.objects.get(status="pending")
    assert loser.alarm == "M-Pesa gave this payment the id of another."


def test_one_checkout_id_serves_two_payments_without_the_constraint(
    duka, off, rendezvous
):
    off.constraint(Payment, "checkout_request_id")
    first, second = two_payments(duka, checkout_request_id=None)
    notices = claim_one_id(first, second)
    rendezvous().before(acceptance, "learn_ids")

    results = together(*[lambda n=number: inbox.process(n) for number in notices])

    assert results == ["applied", "applied"]
    assert Payment.objects.filter(checkout_request_id="ws_CO_1").count() == 2


def assert_paid_once(payment, messages):
    payment.refresh_from_db()
    payment.order.refresh_from_db()
    assert (payment.status, payment.receipt) == ("completed", RECEIPT)
    assert list(Collection.objects.values_list("receipt", "amount", "allocated")) == [
        (RECEIPT, Decimal("250.00"), Decimal("250.00"))
    ]
    assert list(Allocation.objects.values_list("kind", "order", "amount")) == [
        ("sale", payment.order_id, Decimal("250.00"))
    ]
    assert list(payment.events.values_list("old", "new")) == [
        ("", "created"), ("created", "pending"), ("pending", "completed")
    ]  # fmt: skip
    assert (payment.order.status, payment.order.surplus) == ("paid", Decimal(0))
    sold = StockMovement.objects.filter(reason="sold").values_list(
        "quantity", flat=True
    )
    assert list(sold) == [-1]
    assert payment.order.lines.get().product.stock == 99
    assert messages == [("payment.completed", str(payment.pk))]


def two_payments(shop, **facts):
    return [
        PaymentFactory(order=OrderFactory(shop=shop, total=250), **facts)
        for _ in range(2)
    ]


def claim_one_id(*payments):
    return [
        stored(one, success(one, checkout_id="ws_CO_1", receipt=f"UAE5B2K9Q{place}"))
        for place, one in enumerate(payments)
    ]


def stored(payment, body):
    raw = inbox.Raw(body, False, "", True)
    return inbox.store_for_payment(payment.token_hash, raw).notice_id


def insert_plainly(row):
    row.body_hash = "one hash"
    row.save()
