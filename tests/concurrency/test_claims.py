"""Work that only one may claim: questions, phones, numbers, pieces, retries."""

import threading
from decimal import Decimal

import pytest
from django.db import transaction
from django_q.models import OrmQ

from orders import checkout
from orders.models import Order
from payments import (
    accounts,
    guards,
    inbox,
    intents,
    ledger,
    prompting,
    questions,
    reconciliation,
    schedule,
    settlement,
)
from payments.enums import AllocationKind
from payments.models import Allocation, Collection, Notice, Payment
from shops import stock
from shops.models import Product, Shop, StockMovement
from shops.tenancy import Access
from smartduka.lib import clock
from tests.concurrency.racing import MARKS, kinds, together
from tests.factories import OrderFactory, PaymentFactory, ProductFactory, ShopFactory
from tests.support.callbacks import failure
from tests.support.gateway import final


pytestmark = MARKS

PHONE = "254712345678"


@pytest.fixture
def payment(duka):
    return PaymentFactory(order=OrderFactory(shop=duka, total=250))


# One question in ten seconds.


def test_two_askers_ask_once(payment, mpesa, rendezvous):
    rendezvous(patience_s=0.3).before(schedule, "next_question")

    asked = together(*[lambda: questions.ask(payment.pk)] * 2)

    assert sorted(asked) == [False, True]
    assert mpesa.questions == [payment.checkout_request_id]
    payment.refresh_from_db()
    assert payment.ask_count == 1


def test_two_askers_ask_twice_without_the_lock(payment, mpesa, off, rendezvous):
    off.lock(Payment)
    rendezvous().before(schedule, "next_question")

    assert together(*[lambda: questions.ask(payment.pk)] * 2) == [True, True]

    assert len(mpesa.questions) == 2


def claim_while_it_fails(payment, monkeypatch, patience_s):
    """A question is claimed by one who read before the failure was written."""
    read, written = threading.Event(), threading.Event()
    original = schedule.next_question

    def next_question(*args):
        read.set()
        written.wait(patience_s)
        return original(*args)

    def fail():
        read.wait(5)
        stored = inbox.store_for_payment(
            payment.token_hash, inbox.Raw(failure(payment), False, "", True)
        )
        verdict = inbox.process(stored.notice_id)
        written.set()
        return verdict

    monkeypatch.setattr(schedule, "next_question", next_question)
    results = together(lambda: questions._claim(payment.pk, questions.Q()), fail)
    payment.refresh_from_db()
    return kinds(results), payment.status, payment.next_ask_at


def test_a_failed_payment_is_not_asked_about_again(payment, monkeypatch):
    end = claim_while_it_fails(payment, monkeypatch, 0.4)

    assert end == (["ok", "ok"], "failed", None)


def test_a_failed_payment_is_asked_about_without_the_lock(payment, off, monkeypatch):
    off.lock(Payment)

    results, status, next_ask_at = claim_while_it_fails(payment, monkeypatch, 5.0)

    assert (results, status) == (["ok", "ok"], "failed")
    assert next_ask_at is not None


def test_two_sweeps_hand_out_a_question_once(payment, rendezvous):
    make_due(payment)
    rendezvous(patience_s=0.3).before(reconciliation.later, "enqueue")

    swept = together(reconciliation.sweep, reconciliation.sweep)

    assert sorted(one.questions for one in swept) == [0, 1]
    assert OrmQ.objects.count() == 1


def test_two_sweeps_hand_it_out_twice_without_the_lock(payment, off, rendezvous):
    make_due(payment)
    off.lock(Payment)
    rendezvous().after(reconciliation, "_young_and_old")

    together(reconciliation.sweep, reconciliation.sweep)

    assert OrmQ.objects.count() == 2


def make_due(payment):
    due_at = clock.now() - clock.seconds(60)
    Payment.objects.filter(pk=payment.pk).update(next_ask_at=due_at)


def due_notice(payment):
    stored = inbox.store_for_payment(
        payment.token_hash, inbox.Raw(failure(payment), False, "", True)
    )
    Notice.objects.update(next_try_at=clock.now())
    return stored.notice_id


def test_two_workers_attempt_a_notice_once(payment, rendezvous):
    number = due_notice(payment)
    rendezvous(patience_s=0.3).before(inbox.later, "enqueue_later")

    counted = together(*[lambda: inbox._count_attempt(number)] * 2)

    assert sorted(counted) == [False, True]
    assert Notice.objects.get().attempts == 1


def test_two_workers_attempt_it_twice_without_the_lock(payment, off, rendezvous):
    number = due_notice(payment)
    off.lock(Notice)
    rendezvous().before(inbox.later, "enqueue_later")

    assert together(*[lambda: inbox._count_attempt(number)] * 2) == [True, True]


# One prompt per phone, across shops.


def push_from_two_shops(duka, bob):
    accounts.platform_account()
    other = ShopFactory(platform=True)
    sellers = [Access(bob.user, shop, "cashier") for shop in (duka, other)]
    orders = [OrderFactory(shop=seller.shop) for seller in sellers]
    return together(
        *[
            lambda s=seller, o=order: prompting.request(
                access=s,
                order_id=o.pk,
                phone=PHONE,
                amount=None,
                key=None,
                accept_risk=False,
            )
            for seller, order in zip(sellers, orders, strict=True)
        ]
    )


def test_two_shops_prompt_a_phone_once(duka, bob, mpesa, rendezvous):
    rendezvous().before(guards, "claim")

    assert kinds(push_from_two_shops(duka, bob)) == ["PromptInTheWay", "ok"]

    assert [push.phone for push in mpesa.pushes] == [PHONE]
    assert Payment.objects.count() == 1


def test_two_shops_prompt_a_phone_twice_without_the_condition(
    duka, bob, mpesa, off, rendezvous
):
    off.condition(guards, "PhoneGuard")
    rendezvous().before(guards, "claim")

    assert kinds(push_from_two_shops(duka, bob)) == ["ok", "ok"]

    assert [push.phone for push in mpesa.pushes] == [PHONE, PHONE]


# One retry.


def retry_twice(payment, seller):
    return together(
        *[lambda: prompting.retry(access=seller, payment_id=payment.pk)] * 2
    )


@pytest.fixture
def failed(payment):
    Payment.objects.filter(pk=payment.pk).update(
        status="failed",
        failure_reason="wrong_pin",
        decided_at=clock.now(),
        may_retry=True,
        next_ask_at=None,
    )
    return payment


@pytest.mark.parametrize("guard", ["order lock", "lock of the retried", "one retry"])
def test_two_retries_are_one_by_each_guard_alone(
    guard, failed, seller, mpesa, off, rendezvous
):
    leave_only(off, guard)
    here = rendezvous(patience_s=5.0 if guard == "one retry" else 0.3)
    here.after(intents, "require_unspoken")

    results = retry_twice(failed, seller)

    assert kinds(results) == ["ok", "ok"]
    assert len({one.payment.pk for one in results}) == len(mpesa.pushes) == 1
    assert sorted(one.is_new for one in results) == [False, True]


def test_two_retries_are_two_without_the_guards(failed, seller, mpesa, off, rendezvous):
    leave_only(off, None)
    rendezvous().after(intents, "require_unspoken")

    assert kinds(retry_twice(failed, seller)) == ["ok", "ok"]

    assert len(mpesa.pushes) == 2


def leave_only(off, guard):
    off.condition(guards, "PhoneGuard")
    off.constraint(Payment, "order_has_one_open_prompt_per_phone_and_amount")
    if guard != "order lock":
        off.lock(Order)
    if guard != "lock of the retried":
        off.lock(Payment)
    if guard != "one retry":
        off.constraint(Payment, "retry_of")


# Numbers of sales.


def place_two(shop):
    product = ProductFactory(shop=shop)
    items = [checkout.Item(str(product.pk), 1)]
    return together(
        *[lambda: checkout.place_order(shop=shop, actor=None, items=items)] * 2
    )


def count_by_reading(monkeypatch, rendezvous, shop):
    """The counter forgets its own statement: read, then write what was read."""
    here = rendezvous()

    class Read:
        def __init__(self, name):
            shop.refresh_from_db()
            self.value = getattr(shop, name)
            here.meet()

        def __add__(self, more):
            return self.value + more

    monkeypatch.setattr(checkout, "F", Read)


def test_two_sales_have_two_numbers(duka):
    results = place_two(duka)

    assert kinds(results) == ["ok", "ok"]
    assert sorted(order.number for order in results) == [1, 2]


def test_two_sales_never_share_a_number_by_the_constraint(
    duka, monkeypatch, rendezvous
):
    count_by_reading(monkeypatch, rendezvous, duka)

    assert kinds(place_two(duka)) == ["IntegrityError", "ok"]

    assert list(Order.objects.values_list("number", flat=True)) == [1]


def test_two_sales_share_a_number_without_counter_and_constraint(
    duka, monkeypatch, off, rendezvous
):
    count_by_reading(monkeypatch, rendezvous, duka)
    off.constraint(Order, "order_number_is_used_once_in_a_shop")

    assert kinds(place_two(duka)) == ["ok", "ok"]

    assert list(Order.objects.values_list("number", flat=True)) == [1, 1]


def try_out_twice(shop):
    """How many sales of KES 1 two people have who try out M-Pesa at once."""

    def place():
        return checkout.place_test(shop=shop, actor=None).pk

    return len(set(together(place, place))), Order.objects.filter(is_test=True).count()


def test_two_who_try_out_share_one_sale(duka, rendezvous):
    rendezvous(patience_s=0.3).before(checkout, "_open")

    assert try_out_twice(duka) == (1, 1)


def test_two_who_try_out_make_two_sales_without_the_lock(duka, off, rendezvous):
    off.lock(Shop)
    rendezvous().before(checkout, "_open")

    assert try_out_twice(duka) == (2, 2)


# Pieces on the shelf.


def sell_three_and_four(product):
    def sell(pieces, reference):
        with transaction.atomic():
            stock.deduct({product.pk: pieces}, reference=reference, actor=None)

    together(lambda: sell(3, "order:a"), lambda: sell(4, "order:b"))
    moved = product.movements.filter(reason="sold").values_list("quantity", flat=True)
    product.refresh_from_db()
    return product.stock, sorted(moved)


def test_two_sales_both_leave_the_stock(duka, rendezvous):
    rendezvous(patience_s=0.3).after(stock, "_locked")

    assert sell_three_and_four(ProductFactory(shop=duka)) == (93, [-4, -3])


def test_one_of_two_sales_is_lost_from_the_stock_without_the_lock(
    duka, off, rendezvous
):
    product = ProductFactory(shop=duka)
    off.lock(Product)
    rendezvous().after(stock, "_locked")

    level, moved = sell_three_and_four(product)

    assert moved == [-4, -3]
    assert level in (96, 97)


def twice_for_one_sale(act, product):
    """What came of it, the level, and what was moved for the one sale."""

    def move():
        with transaction.atomic():
            act({product.pk: 1}, reference="order:a", actor=None)

    ended = kinds(together(move, move))
    product.refresh_from_db()
    moved = product.movements.filter(reference="order:a")
    return ended, product.stock, list(moved.values_list("quantity", flat=True))


def test_a_sale_gives_its_goods_back_once(duka, rendezvous):
    rendezvous(patience_s=0.3).before(stock, "_move")

    assert twice_for_one_sale(stock.give_back, ProductFactory(shop=duka)) == (
        ["ok", "ok"], 101, [1],
    )  # fmt: skip


def test_the_lock_alone_gives_goods_back_once(duka, off, rendezvous):
    off.constraint(StockMovement, "a_sale_gives_a_product_back_once")
    rendezvous(patience_s=0.3).before(stock, "_move")

    assert twice_for_one_sale(stock.give_back, ProductFactory(shop=duka)) == (
        ["ok", "ok"], 101, [1],
    )  # fmt: skip


def test_without_the_lock_the_constraint_gives_goods_back_once(duka, off, rendezvous):
    product = ProductFactory(shop=duka)
    off.lock(Product)
    rendezvous().before(stock, "_move")

    assert twice_for_one_sale(stock.give_back, product) == (
        ["IntegrityError", "ok"], 101, [1],
    )  # fmt: skip


def test_goods_are_given_back_twice_without_both(duka, off, rendezvous):
    product = ProductFactory(shop=duka)
    off.lock(Product)
    off.constraint(StockMovement, "a_sale_gives_a_product_back_once")
    rendezvous().before(stock, "_move")

    ended, _, moved = twice_for_one_sale(stock.give_back, product)

    assert (ended, moved) == (["ok", "ok"], [1, 1])


def test_a_sale_takes_its_goods_once(duka, rendezvous):
    rendezvous().before(stock, "_move")

    assert twice_for_one_sale(stock.deduct, ProductFactory(shop=duka)) == (
        ["IntegrityError", "ok"], 99, [-1],
    )  # fmt: skip


def test_a_sale_takes_its_goods_twice_without_the_constraint(duka, off, rendezvous):
    product = ProductFactory(shop=duka)
    off.constraint(StockMovement, "a_sale_takes_a_product_from_stock_once")
    rendezvous().before(stock, "_move")

    assert twice_for_one_sale(stock.deduct, product) == (["ok", "ok"], 98, [-1, -1])


# A collection is never overdrawn.


def allocate_60_twice(order):
    collection = Collection.objects.create(
        shop=order.shop,
        amount=Decimal(100),
        source="drawer",
        sighted_at=clock.now(),
    )
    portion = ledger.Portion(AllocationKind.SALE, Decimal(60), order)

    def allocate():
        with transaction.atomic():
            ledger.allocate(collection, [portion])

    results = kinds(together(allocate, allocate))
    collection.refresh_from_db()
    return results, int(collection.allocated), Allocation.objects.count()


def test_a_collection_is_not_overdrawn(duka):
    assert allocate_60_twice(OrderFactory(shop=duka)) == (["Overdrawn", "ok"], 60, 1)


def test_a_collection_is_not_overdrawn_by_the_constraint_alone(duka, off):
    order = OrderFactory(shop=duka)
    off.condition(ledger, "Collection")

    assert allocate_60_twice(order) == (["IntegrityError", "ok"], 60, 1)


def test_a_collection_is_overdrawn_without_both(duka, off):
    order = OrderFactory(shop=duka)
    off.condition(ledger, "Collection")
    off.constraint(Collection, "collection_is_not_overdrawn")

    assert allocate_60_twice(order) == (["ok", "ok"], 120, 2)


# A receipt fills the collection that a question had proved, once.


def test_two_receipts_fill_one_collection_and_add_one(payment, rendezvous):
    questions._apply(payment.pk, final("0"))
    proofs = [
        settlement.Proof(settlement.Source.CALLBACK, f"UAE5B2K9Q{n}") for n in "AB"
    ]
    rendezvous(patience_s=0.3).before(settlement, "_fill_receipt")

    def record(proof):
        with transaction.atomic(durable=True):
            order, paid = settlement.locked(payment.pk)
            return settlement.record_success(order, paid, proof)

    results = together(*[lambda p=proof: record(p) for proof in proofs])

    assert sorted(results) == ["added", "filled"]
    assert sorted(Collection.objects.values_list("receipt", flat=True)) == [
        "UAE5B2K9QA",
        "UAE5B2K9QB",
    ]
