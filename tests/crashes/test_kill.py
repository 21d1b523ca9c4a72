"""kill -9 at each step of a real payment: the same books afterwards, one push.

Web, worker and M-Pesa are processes, the database is PostgreSQL, the phone is the
simulator's. A process kills itself at a named place (tests/support/fatal), is started
again, and goes on; nobody repairs anything.
"""

import contextlib

import pytest
import requests

from orders.models import Order
from payments import audit
from payments.models import Collection, Notice, Payment
from shops.enums import Role
from tests.factories import PASSWORD, MembershipFactory, UserFactory
from tests.support.callbacks import RECEIPT
from tests.support.facts import money_of, sale_of
from tests.support.processes import Caller, end
from tests.support.simulator import wait_until


pytestmark = [
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
]

PHONE = "254700112211"  # waits for the virtual phone
LIMIT_S = 40
SALE = [("sale", 250)]


@pytest.fixture
def cashier(product, shop):
    """Return a function that signs a cashier in, once the web is up."""
    user = UserFactory(username="till")
    MembershipFactory(user=user, shop=product.shop, role=Role.CASHIER)
    return lambda: Caller(shop, "till", PASSWORD)


@pytest.fixture
def sale(cashier, shop, product, mpesa):
    """A sale of KES 250 in a shop whose web process is up."""

    def begin(place=None, *, phone=PHONE):
        if place is not None:
            shop.dies_at(place)
        shop.start()
        till = cashier()
        answer = till.post(
            "/api/orders", {"items": [{"productId": str(product.pk), "quantity": 2}]}
        )
        order = Order.objects.get(pk=answer.json()["id"])
        # What dies, dies in the middle of its answer.
        with contextlib.suppress(requests.RequestException):
            till.post(
                "/api/payments/mpesa/initiate",
                {"orderId": str(order.pk), "phoneNumber": phone},
            )
        return order, till

    return begin


def is_dead(shop):
    wait_until(lambda: shop.process.poll() is not None, timeout_s=LIMIT_S)
    assert shop.process.returncode == -9
    assert shop.flag.exists()


def is_paid(order):
    wait_until(lambda: sale_of(order)[0] == "paid", timeout_s=LIMIT_S)


def assert_paid_once(order, shop, mpesa, *, receipt=True):
    """One prompt, one payment, one collection, one sale; nothing left to be done."""
    assert len(mpesa.prompts()) == mpesa.stats()["pushes"] == 1
    ledger = mpesa.ledger()
    assert [row["amount"] for row in ledger] == [250]
    payment = Payment.objects.get()
    (collection,) = Collection.objects.all()
    known = ledger[0]["receipt"] if receipt else None
    assert (collection.receipt, collection.amount, collection.allocated) == (
        known, 250, 250
    )  # fmt: skip
    assert [rows for _, _, _, rows in money_of(order)] == [SALE]
    assert sale_of(order) == ("paid", 250, 0, 0)
    assert (payment.status, payment.receipt) == ("completed", known or "")
    entered = [e.new for e in payment.events.all() if e.new != e.old]
    assert len(set(entered)) == len(entered)
    assert not Notice.objects.exclude(verdict__in=("applied", "duplicate")).exists()
    audit.seal()
    assert audit.verify()[1] == []


# The web dies before M-Pesa was asked.


def test_killed_before_the_intent_is_committed(sale, shop, mpesa, cashier):
    order, _ = sale("payments.lifecycle:begin:after")
    is_dead(shop)
    shop.start()

    assert (Payment.objects.count(), mpesa.stats()["pushes"]) == (0, 0)
    till = cashier()
    answer = till.post(
        "/api/payments/mpesa/initiate",
        {"orderId": str(order.pk), "phoneNumber": PHONE},
    )
    assert answer.status_code == 201
    mpesa.answer(answer.json()["checkoutRequestId"], "pay")
    is_paid(order)
    assert_paid_once(order, shop, mpesa)


def test_killed_before_the_push_leaves(sale, shop, mpesa, cashier):
    """Nobody was asked, and no machine asks: the cashier takes cash."""
    order, _ = sale("payments.intents:begin:after")
    is_dead(shop)
    shop.start()

    with shop.worker():
        till = cashier()
        answer = till.post(f"/api/orders/{order.pk}/pay-cash", {"amount": 250})

    assert answer.status_code == 201
    payment = Payment.objects.get(method="mpesa_stk")
    assert answer.json()["undecided"] == [str(payment.pk)]
    assert (payment.status, payment.checkout_request_id) == ("created", None)
    assert mpesa.stats()["pushes"] == 0
    assert money_of(order) == [("drawer", None, 250, SALE)]
    assert sale_of(order) == ("paid", 250, 0, 0)


# After M-Pesa took it.


@pytest.mark.parametrize(
    "place",
    [
        "payments.pushing:_call:after",
        "payments.acceptance:learn_ids:after",
        "payments.pushing:_record_answer:after",
    ],
)
def test_killed_after_the_push(place, sale, shop, mpesa):
    order, _ = sale(place)
    is_dead(shop)
    shop.start()

    with shop.worker():
        mpesa.answer(mpesa.wait_for_prompt()["checkoutRequestId"], "pay")
        is_paid(order)

    assert_paid_once(order, shop, mpesa)


# While the callback is taken.


@pytest.mark.parametrize(
    ("place", "receipt"),
    [
        ("payments.hooks:_raw:after", False),  # not stored: only a question helps
        ("payments.inbox:_insert:after", True),
        ("payments.settlement:_collect:after", True),
        ("payments.settlement:_offer:after", True),
        ("payments.inbox:process:after", True),
    ],
)
def test_killed_while_a_callback_is_taken(place, receipt, sale, shop, mpesa):
    order, _ = sale()
    checkout_id = mpesa.wait_for_prompt()["checkoutRequestId"]
    end(shop.process)
    shop.dies_at(place)
    shop.start()

    mpesa.answer(checkout_id, "pay")
    is_dead(shop)
    shop.start()
    with shop.worker():
        is_paid(order)
        if receipt:
            wait_until(
                lambda: Collection.objects.filter(receipt__isnull=False).exists(),
                timeout_s=LIMIT_S,
            )
            wait_until(
                lambda: not Notice.objects.filter(processed_at=None).exists(),
                timeout_s=LIMIT_S,
            )

    assert_paid_once(order, shop, mpesa, receipt=receipt)


def test_killed_between_storing_and_processing_a_notice(sale, shop, mpesa):
    """The notice was born due: the sweep has it, without a question to M-Pesa."""
    order, _ = sale()
    checkout_id = mpesa.wait_for_prompt()["checkoutRequestId"]
    end(shop.process)
    shop.dies_at("payments.inbox:store_for_payment:after")
    shop.start()
    Payment.objects.update(next_ask_at=None)

    mpesa.answer(checkout_id, "pay")
    is_dead(shop)
    assert Notice.objects.values_list("verdict", "processed_at").get() == ("new", None)
    assert Collection.objects.count() == 0
    shop.start()
    with shop.worker():
        is_paid(order)

    assert_paid_once(order, shop, mpesa)
    assert RECEIPT not in Collection.objects.values_list("receipt", flat=True)


# The worker dies; the callback is lost, so that it alone can find the money.


@pytest.mark.parametrize(
    "place",
    [
        "payments.questions:attend:before",
        "payments.questions:_claim:after",
        "payments.questions:_query:after",
        "payments.settlement:_collect:after",
        "payments.questions:_apply:after",
        "payments.reconciliation:_lease:after",
        "payments.tasks:sweep:before",
    ],
)
def test_the_worker_is_killed(place, sale, shop, mpesa):
    mpesa.faults(callback_drop=True)
    order, _ = sale(phone="254700112295")
    shop.dies_at(place, family=True)

    with shop.worker():
        wait_until(shop.flag.exists, timeout_s=LIMIT_S)
        is_paid(order)

    assert_paid_once(order, shop, mpesa, receipt=False)
