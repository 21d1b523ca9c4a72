"""Six facts about one prompt, in all 720 orders, each subset of them lost.

The 1,957 sequences are walked as a tree: each fact is applied once per prefix, and
taken back with a savepoint, so that what is seen at each node is one sequence's end.
"""

import pytest
from django.db import transaction

from orders.models import Order
from payments import inbox, lifecycle, prompting, pushing, questions, settlement
from payments.enums import PaymentStatus
from payments.gateways.base import PushAccepted
from payments.models import Allocation, Collection, Notice, Payment
from shops.models import Product
from smartduka.lib import clock
from tests.factories import PaymentFactory
from tests.support.callbacks import RECEIPT, success
from tests.support.facts import kes, path_of
from tests.support.gateway import final


pytestmark = pytest.mark.django_db

CHECKOUT, MERCHANT = "ws_CO_21112026090000708374149", "29115-34620561-1"
SUCCESSES = {"callback", "query", "late"}
FACTS = ("push", "callback", "query", "cancel", "expire", "late")


@pytest.fixture
def payment(order, time, messages):
    """A prompt whose push was not answered yet, and whose time is nearly over."""
    return PaymentFactory(
        order=order,
        phone="254708374149",
        status=PaymentStatus.CREATED,
        checkout_request_id=None,
        merchant_request_id="",
        answered_at=None,
        expires_at=time.now,
    )


def push(payment, _):
    pushing._record_answer(payment.pk, PushAccepted(MERCHANT, CHECKOUT))


def callback(payment, _, extra=""):
    body = success(payment, checkout_id=CHECKOUT, extra=extra)
    body = body.replace(b'"MerchantRequestID": ""', f'"{MERCHANT}"'.encode())
    stored = inbox.store_for_payment(
        payment.token_hash, inbox.Raw(body, False, "", True)
    )
    inbox.process(stored.notice_id)


def late(payment, user):
    callback(payment, user, extra=" ")


def query(payment, _):
    questions._apply(payment.pk, final("0"))


def cancel(payment, user):
    prompting._stop(payment.pk, user)


def expire(payment, _):
    questions.expire_if_over(payment.pk)


ACTS = {
    "push": push, "callback": callback, "query": query, "cancel": cancel,
    "expire": expire, "late": late,
}  # fmt: skip


def books(payment):
    """Everything about money, goods and the prompt that somebody could see."""
    row = Payment.objects.get(pk=payment.pk)
    order = Order.objects.get(pk=payment.order_id)
    return {
        "payment": (row.status, row.receipt, row.is_undecided, row.alarm),
        "completions": path_of(row).count("completed"),
        "collections": [
            (one.receipt, one.amount, one.allocated, one.payment_id)
            for one in Collection.objects.all()
        ],
        "allocations": [
            (one.kind, one.amount, one.order_id) for one in Allocation.objects.all()
        ],
        "sale": (order.status, order.paid, order.surplus),
        "stock": list(Product.objects.values_list("stock", flat=True)),
        "parked": Notice.objects.filter(processed_at=None).count(),
    }


def expected(payment, sequence):
    """The books that must be there, whatever the order of the facts."""
    heard = SUCCESSES & set(sequence)
    receipt = RECEIPT if heard - {"query"} else None
    if not heard:
        return {
            "payment": (_waiting(sequence), "", True, ""),
            "completions": 0,
            "collections": [],
            "allocations": [],
            "sale": ("open", kes(0), kes(0)),
            "stock": [100],
            "parked": 0,
        }
    return {
        "payment": ("completed", receipt or "", False, ""),
        "completions": 1,
        "collections": [(receipt, kes(250), kes(250), payment.pk)],
        "allocations": [("sale", kes(250), payment.order_id)],
        "sale": ("paid", kes(250), kes(0)),
        "stock": [99],
        "parked": 0,
    }


def _waiting(sequence):
    """Where a prompt stands of which no outcome was heard."""
    for fact in sequence:
        if fact in ("cancel", "expire"):
            return "cancelled" if fact == "cancel" else "expired"
    return "pending" if "push" in sequence else "created"


def walk(payment, user, sequence, seen):
    """Look at the end of this sequence, and at those of all that go on from it."""
    seen.append(sequence)
    assert books(payment) == expected(payment, sequence), sequence
    for fact in FACTS:
        if fact in sequence:
            continue
        here = transaction.savepoint()
        ACTS[fact](Payment.objects.get(pk=payment.pk), user)
        walk(payment, user, (*sequence, fact), seen)
        transaction.savepoint_rollback(here)


@pytest.mark.parametrize("first", FACTS)
def test_every_order_ends_in_the_same_books(first, payment, bob):
    seen = []
    ACTS[first](payment, bob.user)

    walk(payment, bob.user, (first,), seen)

    # 1 + 5 + 5*4 + 5*4*3 + 5*4*3*2 + 5! sequences begin with it.
    assert (len(seen), len(set(seen))) == (326, 326)
    assert sum(len(sequence) == 6 for sequence in seen) == 120


def test_nothing_heard_is_nothing_booked(payment):
    assert books(payment) == expected(payment, ())


def test_the_walk_would_notice_a_receipt_counted_twice(payment, bob, monkeypatch):
    """A receipt that does not fill what a question proved is money once more."""
    monkeypatch.setattr(settlement, "_fill_receipt", lambda payment, proof: False)

    with pytest.raises(AssertionError, match=RECEIPT):
        walk(payment, bob.user, (), [])


def test_the_walk_would_notice_a_cancelled_prompt_that_takes_no_money(
    payment, bob, monkeypatch
):
    monkeypatch.setitem(PaymentStatus.MOVES, "cancelled", frozenset())

    with pytest.raises(lifecycle.IllegalMove):
        walk(payment, bob.user, (), [])


def test_the_clock_stands_still(payment, time):
    """The walk is about order alone: no fact is older than another."""
    assert clock.now() == time.now
