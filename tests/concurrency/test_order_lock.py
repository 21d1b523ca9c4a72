"""The order's lock, and the payment's below it: money of one sale, one by one."""

from decimal import Decimal

import pytest
from django.db.models import Sum

from orders import checkout, lifecycle
from orders.models import Order, OrderEvent
from payments import cash, inbox, intents, ordering, prompting, questions, settlement
from payments.models import Allocation, Collection, Payment
from shops.models import StockMovement
from tests.concurrency.racing import MARKS, kinds, together
from tests.factories import OrderFactory, PaymentFactory, ProductFactory
from tests.support.callbacks import success
from tests.support.gateway import final


pytestmark = MARKS

PHONES = ("254711000111", "254711000222")


@pytest.fixture
def order(duka):
    """A sale of KES 1,000, with the platform's account made."""
    PaymentFactory(order=OrderFactory(shop=duka))
    return OrderFactory(shop=duka, total=1000)


def push_700_twice(seller, order):
    return together(
        *[
            lambda p=phone: prompting.request(
                access=seller, order_id=order.pk, phone=p, amount=700,
                key=None, accept_risk=False,
            )
            for phone in PHONES
        ]
    )  # fmt: skip


def test_two_pushes_never_ask_for_more_than_the_balance(
    seller, order, mpesa, rendezvous
):
    rendezvous(patience_s=0.3).after(intents, "require_unspoken")

    assert kinds(push_700_twice(seller, order)) == ["PromptInTheWay", "ok"]

    assert [push.amount for push in mpesa.pushes] == [700]
    assert list(order.payments.values_list("amount", flat=True)) == [Decimal(700)]


def test_two_pushes_ask_for_more_than_the_balance_without_the_lock(
    seller, order, mpesa, off, rendezvous
):
    off.lock(Order)
    rendezvous().after(intents, "require_unspoken")

    assert kinds(push_700_twice(seller, order)) == ["ok", "ok"]

    assert [push.amount for push in mpesa.pushes] == [700, 700]


def pay_cash_twice(seller, order, amount):
    return together(
        *[lambda: cash.take(access=seller, order_id=order.pk, amount=amount, key=None)]
        * 2
    )


def paid_and_allocated(order):
    order.refresh_from_db()
    sale = Allocation.objects.filter(order=order, kind="sale")
    return order.paid, sale.aggregate(total=Sum("amount"))["total"]


def test_two_cash_payments_both_count(seller, order, rendezvous):
    rendezvous(patience_s=0.3).after(lifecycle, "locked")

    assert kinds(pay_cash_twice(seller, order, 300)) == ["ok", "ok"]

    assert paid_and_allocated(order) == (Decimal(600), Decimal(600))


def test_two_cash_payments_lose_one_without_the_lock(seller, order, off, rendezvous):
    off.lock(Order)
    rendezvous().after(lifecycle, "locked")

    assert kinds(pay_cash_twice(seller, order, 300)) == ["ok", "ok"]

    assert paid_and_allocated(order) == (Decimal(300), Decimal(600))


def test_two_who_close_a_sale_with_cash_close_it_once(seller, order, rendezvous):
    rendezvous(patience_s=0.3).after(lifecycle, "locked")

    results = pay_cash_twice(seller, order, 1000)

    assert kinds(results) == ["OrderNotOpen", "ok"]
    assert paid_and_allocated(order) == (Decimal(1000), Decimal(1000))
    assert StockMovement.objects.filter(reason="sold").count() == 1
    assert [one.old for one in order.events.all()] == ["", "open"]


def pay_and_cancel_at_once(order):
    """Return whether what came of it is one of the two lawful ends."""
    payment = PaymentFactory(order=order, amount=Decimal(100))
    results = together(
        lambda: questions._apply(payment.pk, final("0")),
        lambda: lifecycle.cancel(order.pk, actor=None),
    )
    order.refresh_from_db()
    arrived = Allocation.objects.values_list("kind", "amount").get()
    end = (kinds(results), order.status, order.paid, order.surplus, arrived)
    hundred = Decimal(100)
    return end in (
        (["OrderHasMoney", "ok"], "open", hundred, 0, ("sale", hundred)),
        (["ok", "ok"], "cancelled", 0, hundred, ("surplus", hundred)),
    )


def test_money_and_cancelling_never_both_win(order, rendezvous):
    rendezvous(patience_s=0.3).after(lifecycle, "locked")

    assert pay_and_cancel_at_once(order)


def test_money_and_cancelling_fall_out_without_the_lock(order, off, rendezvous):
    off.lock(Order)
    rendezvous().after(lifecycle, "locked")

    assert not pay_and_cancel_at_once(order)


def change_lines_while_prompting(seller, order):
    other = ProductFactory(shop=seller.shop, price=Decimal(10))
    return together(
        lambda: prompting.request(
            access=seller, order_id=order.pk, phone=PHONES[0], amount=None,
            key=None, accept_risk=False,
        ),
        lambda: checkout.replace_lines(
            order.pk, shop=seller.shop, actor=seller.user,
            items=[checkout.Item(str(other.pk), 1)],
        ),
    )  # fmt: skip


def test_lines_change_before_the_push_or_not_at_all(seller, order, mpesa, rendezvous):
    rendezvous(patience_s=0.3).after(lifecycle, "locked")

    change_lines_while_prompting(seller, order)

    order.refresh_from_db()
    assert order.payments.get().amount == order.total == order.lines.get().line_total


def test_a_push_asks_for_other_lines_without_the_lock(
    seller, order, mpesa, off, rendezvous
):
    off.lock(Order)
    rendezvous().after(lifecycle, "locked")

    change_lines_while_prompting(seller, order)

    order.refresh_from_db()
    assert order.payments.get().amount == Decimal(1000)
    assert order.total == Decimal(10)


def fail_and_pay_at_once(payment, rendezvous, patience_s):
    """The money arrives while somebody who read earlier writes that it did not."""
    here = rendezvous(patience_s=patience_s)
    here.after(settlement, "locked")
    stored = inbox.store_for_payment(
        payment.token_hash, inbox.Raw(success(payment), False, "", True)
    )
    late = rendezvous(patience_s=patience_s)
    late.before(settlement.result_codes, "judge")

    def pay():
        verdict = inbox.process(stored.notice_id)
        late.meet()
        return verdict

    def fail():
        return settle_failure(payment)

    return together(pay, fail)


def settle_failure(payment):
    with settlement.transaction.atomic(durable=True):
        order, locked = settlement.locked(payment.pk)
        return settlement.record_failure(
            order, locked, "1032", source=settlement.Source.CALLBACK
        )


@pytest.mark.parametrize("kept", [Order, Payment], ids=["order lock", "payment lock"])
def test_a_failure_never_overwrites_money_by_either_lock(kept, order, off, rendezvous):
    payment = PaymentFactory(order=order, status="cancelled")
    off.lock(*{Order, Payment} - {kept})

    results = fail_and_pay_at_once(payment, rendezvous, 0.3)

    assert results in (["applied", "contradiction"], ["applied", "decided"])
    payment.refresh_from_db()
    facts = (payment.status, payment.result_code, payment.failure_reason)
    assert facts == ("completed", "0", "")
    assert Collection.objects.count() == 1


def test_a_failure_overwrites_money_without_both_locks(order, off, rendezvous):
    payment = PaymentFactory(order=order, status="cancelled")
    off.lock(Order, Payment)

    assert fail_and_pay_at_once(payment, rendezvous, 5.0) == ["applied", "decided"]

    payment.refresh_from_db()
    facts = (payment.status, payment.result_code, payment.failure_reason)
    assert facts == ("completed", "1032", "cancelled_on_phone")


def test_cancelling_a_sale_twice_is_one_cancelling(seller, order, rendezvous):
    rendezvous(patience_s=0.3).after(lifecycle, "locked")

    results = together(
        *[lambda: ordering.cancel_order(access=seller, order_id=order.pk)] * 2
    )

    assert kinds(results) == ["ok", "ok"]
    assert [one.new for one in order.events.all()] == ["open", "cancelled"]
    assert order.lines.get().product.stock == 100


def cancelled_twice(order):
    """What came of it, and which statuses the sale entered."""
    results = together(*[lambda: lifecycle.cancel(order.pk, actor=None)] * 2)
    return kinds(results), [one.new for one in order.events.all()]


def test_without_the_lock_the_constraint_cancels_a_sale_once(order, off, rendezvous):
    off.lock(Order)
    rendezvous().after(lifecycle, "locked")

    assert cancelled_twice(order) == (["IntegrityError", "ok"], ["open", "cancelled"])


def test_a_sale_is_cancelled_twice_without_both(order, off, rendezvous):
    off.lock(Order)
    off.constraint(OrderEvent, "order_enters_a_status_once")
    rendezvous().after(lifecycle, "locked")

    assert cancelled_twice(order) == (
        ["ok", "ok"], ["open", "cancelled", "cancelled"],
    )  # fmt: skip
