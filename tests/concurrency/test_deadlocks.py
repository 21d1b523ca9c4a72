"""Everybody at once: no deadlock, and the books agree afterwards."""

import logging
import random
import time
from decimal import Decimal

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import F, Sum

from orders import lifecycle
from orders.models import Order
from payments import cash, inbox, ordering, prompting, questions, reconciliation
from payments.models import Allocation, Collection, Notice, Payment
from shops import stock
from shops.models import Product, StockMovement
from smartduka.lib import transactions
from smartduka.lib.errors import DomainError
from smartduka.lib.transactions import repeated
from tests.concurrency.racing import MARKS, kinds, together
from tests.factories import OrderFactory, PaymentFactory, ProductFactory
from tests.support.callbacks import failure, success
from tests.support.gateway import PENDING, final


pytestmark = MARKS

THREADS = 8
OPERATIONS = 60
SECONDS = 15
PHONES = [f"2547110000{n:02}" for n in range(6)]


class Till:
    """One thread's random doings, on the same few sales as the others'."""

    def __init__(self, seed, seller, orders):
        self.random = random.Random(seed)
        self.seller = seller
        self.orders = orders
        self.done = []

    def run(self):
        acts = (
            self.prompt,
            self.prompt,
            self.call_back,
            self.call_back,
            self.call_back,
            self.take_cash,
            self.stop_waiting,
            self.ask,
            self.resend,
            self.cancel,
            self.sweep,
        )
        end = time.monotonic() + SECONDS
        for _ in range(OPERATIONS):
            if time.monotonic() > end:
                break
            act = self.random.choice(acts)
            try:
                act()
                self.done.append(act.__name__)
            except DomainError as refusal:
                self.done.append(type(refusal).__name__)
        return self.done

    def prompt(self):
        prompting.request(
            access=self.seller,
            order_id=self.random.choice(self.orders).pk,
            phone=self.random.choice(PHONES),
            amount=self.random.choice((100, 200, 300)),
            key=None,
            accept_risk=False,
        )

    def call_back(self):
        payment = self.some_payment()
        if payment is None:
            return
        receipt = f"R{payment.pk.hex[:9].upper()}"
        if self.random.random() < 0.1:
            receipt = "UAE5B2K9QT"  # somebody else's, perhaps
        body = (
            failure(payment, self.random.choice((1032, 1037, 1)))
            if self.random.random() < 0.4
            else success(payment, receipt=receipt)
        )
        stored = inbox.store_for_payment(
            payment.token_hash, inbox.Raw(body, False, "", True)
        )
        inbox.process_now(stored.notice_id)

    def take_cash(self):
        cash.take(
            access=self.seller,
            order_id=self.random.choice(self.orders).pk,
            amount=self.random.choice((50, 100, 150)),
            key=None,
        )

    def stop_waiting(self):
        if payment := self.some_payment():
            prompting.stop_waiting(access=self.seller, payment_id=payment.pk)

    def resend(self):
        if payment := self.some_payment():
            prompting.resend(
                access=self.seller, payment_id=payment.pk, accept_risk=True
            )

    def ask(self):
        if payment := self.some_payment():
            questions.ask(payment.pk)

    def cancel(self):
        if self.random.random() < 0.2:
            order = self.random.choice(self.orders)
            ordering.cancel_order(access=self.seller, order_id=order.pk)

    def sweep(self):
        reconciliation.sweep()

    def some_payment(self):
        rows = Payment.objects.filter(method="mpesa_stk")
        payments = list(rows.order_by("-created_at")[:12])
        return self.random.choice(payments) if payments else None


@pytest.mark.parametrize("seed", range(3))
def test_everybody_at_once_neither_deadlocks_nor_loses_a_shilling(
    seed, duka, seller, mpesa, settings, caplog
):
    settings.QUESTION_MIN_GAP_S = 0
    settings.PHONE_GUARD_S = settings.PHONE_GUARD_SAME_AMOUNT_S = 0
    settings.PHONE_GUARD_AFTER_FAILURE_S = 0
    dice = random.Random(seed)
    mpesa.otherwise = lambda _: dice.choice((PENDING, final("0"), final("1032")))
    goods = [ProductFactory(shop=duka, price=Decimal(300)) for _ in range(3)]
    # The same goods in other orders: the products' locks meet across sales.
    orders = [
        OrderFactory(shop=duka, items=[(one, 1) for one in mixed(goods, turn)])
        for turn in range(4)
    ]
    PaymentFactory(order=orders[0], amount=Decimal(100))
    tills = [Till(seed * 100 + n, seller, orders) for n in range(THREADS)]
    before = deadlocks()

    with caplog.at_level(logging.INFO, logger=transactions.__name__):
        results = together(*[till.run for till in tills])

    assert kinds(results) == ["ok"] * THREADS
    assert [one.message for one in caplog.records if "repeated" in one.message] == []
    assert deadlocks() == before
    assert_no_notice_broke()
    assert_books_agree()
    done = {name for till in tills for name in till.done}
    assert {"prompt", "call_back", "take_cash", "ask", "sweep"} <= done


def mixed(goods, turn):
    return goods[turn % 3 :] + goods[: turn % 3]


def deadlocks():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        return cursor.fetchone()[0]


def assert_no_notice_broke():
    broken = Notice.objects.exclude(error="").values_list("error", flat=True)
    # Two payments with one receipt at once: the constraint decides, the retry heals.
    assert [one for one in broken if "receipt_is_one_collection" not in one] == []


def assert_books_agree():
    for number in Notice.objects.filter(processed_at=None).values_list("pk", flat=True):
        inbox.process_again(number)
    assert Collection.objects.exists()
    assert not Collection.objects.exclude(allocated=F("amount")).exists()
    for collection in Collection.objects.all():
        shared = collection.allocations.aggregate(total=Sum("amount"))["total"]
        assert shared == collection.amount
    for order in Order.objects.all():
        assert order.paid == allocated(order, "sale")
        assert order.surplus == allocated(order, "surplus")
        assert (order.status == "paid") == (order.paid == order.total)
        assert [one.new for one in order.events.all()].count("paid") <= 1
    for payment in Payment.objects.all():
        arrived = payment.collections.count()
        assert (payment.status == "completed") == (arrived > 0)
        assert set(payment.collections.values_list("amount", flat=True)) <= {
            payment.amount
        }
    assert_stock_agrees()


def allocated(order, kind):
    rows = Allocation.objects.filter(order=order, kind=kind)
    return rows.aggregate(total=Sum("amount"))["total"] or Decimal(0)


def assert_stock_agrees():
    paid = Order.objects.filter(status="paid").count()
    for product in Product.objects.filter(price=300):
        moved = product.movements.aggregate(total=Sum("quantity"))["total"]
        assert product.stock == moved
        assert product.stock == 100 - paid
    assert StockMovement.objects.filter(reason="sold").count() == 3 * paid


def test_sales_of_the_same_goods_never_deadlock(duka):
    goods = [ProductFactory(shop=duka, stocked=0).pk for _ in range(5)]
    before = deadlocks()

    def sell(seed):
        dice = random.Random(seed)
        for number in range(15):
            mine = dict.fromkeys(dice.sample(goods, 4), 1)
            with transaction.atomic():
                stock.deduct(mine, reference=f"order:{seed}-{number}", actor=None)

    results = together(*[lambda s=seed: sell(s) for seed in range(THREADS)])

    assert kinds(results) == ["ok"] * THREADS
    assert deadlocks() == before
    sold = Product.objects.aggregate(total=Sum("stock"))["total"]
    assert sold == -4 * 15 * THREADS


# A deadlock that really happens is repeated.


def lock_both(first, second, rendezvous):
    """Lock two sales in an order that nobody of ours uses."""

    def lock():
        with transaction.atomic(durable=True):
            lifecycle.locked(first)
            rendezvous.meet()
            lifecycle.locked(second)
            Order.objects.filter(pk=second).update(surplus=F("surplus") + 1)

    return lock


@pytest.fixture
def pair(duka):
    return [OrderFactory(shop=duka).pk for _ in range(2)]


def test_a_deadlock_is_repeated(pair, rendezvous):
    here = rendezvous()
    jobs = [lock_both(*pair, here), lock_both(*reversed(pair), here)]

    results = together(*[repeated(job) for job in jobs])

    assert kinds(results) == ["ok", "ok"]
    assert list(Order.objects.values_list("surplus", flat=True)) == [1, 1]


def test_a_deadlock_breaks_what_is_not_repeated(pair, rendezvous):
    here = rendezvous()

    results = together(lock_both(*pair, here), lock_both(*reversed(pair), here))

    assert kinds(results) == ["OperationalError", "ok"]
    error = next(one for one in results if isinstance(one, OperationalError))
    assert error.__cause__.sqlstate == "40P01"
    assert sorted(Order.objects.values_list("surplus", flat=True)) == [0, 1]
