"""Cash: always possible, counted once, change given, undecided prompts named."""

from decimal import Decimal

import pytest
from django.db import IntegrityError

from orders import lifecycle as order_lifecycle
from orders.models import Order
from payments import cash, ordering
from payments.models import Collection, Payment
from payments.refusals import AmountTooSmall, IdempotencyMismatch, InFlight
from shops.models import StockMovement
from shops.tenancy import Access
from smartduka.lib.errors import Forbidden, InvalidRequest, NotFound
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import kes, money_of, nothing_changes, path_of, sale_of
from tests.support.gateway import final


pytestmark = pytest.mark.django_db


@pytest.fixture
def take(seller, order, mpesa, time):
    """Take cash as Bob does; everything can be said otherwise."""

    def act(amount, **changes):
        asked = {"access": seller, "order_id": order.pk, "key": None}
        return cash.take(amount=amount, **asked | changes)

    return act


def row(payment):
    return Payment.objects.filter(pk=payment.pk).values().get()


def test_cash_pays_the_sale_and_gives_change(take, order, bob, time, messages):
    taken = take(300)

    assert (taken.change, taken.is_new, taken.undecided) == (50, True, [])
    assert sale_of(order) == ("paid", kes(250), 0, 0)
    values = row(taken.payment)
    kept = {
        name: values[name]
        for name in ("method", "status", "amount", "tendered", "created_by_id",
                     "created_at", "completed_at", "decided_at", "account_id",
                     "phone", "token_hash", "next_ask_at", "expires_at")
    }  # fmt: skip
    assert kept == {
        "method": "cash",
        "status": "completed",
        "amount": kes(250),
        "tendered": kes(300),
        "created_by_id": bob.user.pk,
        "created_at": time.now,
        "completed_at": time.now,
        "decided_at": time.now,
        "account_id": None,
        "phone": "",
        "token_hash": None,
        "next_ask_at": None,
        "expires_at": None,
    }
    assert money_of(order) == [("drawer", None, kes(250), [("sale", kes(250))])]
    assert list(
        taken.payment.events.values_list("old", "new", "source", "actor", "reason")
    ) == [
        ("", "created", "drawer", bob.user.pk, "KES 300 given in cash"),
        ("created", "completed", "drawer", bob.user.pk, "KES 250 kept"),
    ]
    assert messages == [("payment.completed", "completed")]
    assert StockMovement.objects.get(reason="sold").quantity == -1


def test_a_balance_with_cents_takes_the_next_shilling(take, order, messages):
    """Two people corrected what had been paid by cents."""
    Order.objects.filter(pk=order.pk).update(paid=kes("99.50"))

    part = take(100)
    rest = take(60)

    assert (part.change, part.payment.amount) == (0, kes(100))
    assert (rest.change, rest.payment.amount) == (9, kes(51))
    assert sale_of(order) == ("paid", kes(250), 0, kes("0.50"))
    assert money_of(order) == [
        ("drawer", None, kes(100), [("sale", kes(100))]),
        ("drawer", None, kes(51), [("sale", kes("50.50")), ("surplus", kes("0.50"))]),
    ]
    assert [event for event, _ in messages] == ["payment.completed"] * 2


def test_less_than_the_balance_is_a_part(take, order, time):
    taken = take(100)

    assert (taken.change, taken.order.balance) == (0, kes(150))
    assert sale_of(order) == ("open", kes(100), kes(150), 0)
    order.refresh_from_db()
    assert order.frozen_at == time.now
    assert not StockMovement.objects.filter(reason="sold").exists()


def test_parts_make_a_whole(take, order):
    take(100)
    taken = take(200)

    assert (taken.change, taken.payment.amount) == (50, kes(150))
    assert sale_of(order) == ("paid", kes(250), 0, 0)


@pytest.mark.parametrize("amount", [0, -1])
def test_no_cash_is_too_little(take, amount):
    with nothing_changes(), pytest.raises(AmountTooSmall):
        take(amount)


@pytest.mark.parametrize(
    ("amount", "fits"), [(100_000_000, True), (100_000_001, False)]
)
def test_more_than_a_till_holds_is_refused(take, amount, fits):
    if fits:
        assert take(amount).change == amount - 250
        return
    with nothing_changes(), pytest.raises(InvalidRequest, match="more cash"):
        take(amount)


@pytest.mark.parametrize("status", ["paid", "cancelled"])
def test_a_closed_sale_takes_no_cash(take, order, status):
    if status == "paid":
        take(250)
    else:
        order_lifecycle.cancel(order.pk, actor=None)

    with nothing_changes(), pytest.raises(order_lifecycle.OrderNotOpen):
        take(250)


def test_an_auditor_takes_no_cash(take, audrey):
    access = Access(audrey.user, audrey.shop, "auditor")

    with nothing_changes(), pytest.raises(Forbidden):
        take(250, access=access)


@pytest.mark.parametrize("whose", ["foreign", "nonsense"])
def test_another_shops_sale_does_not_exist(take, charlie, whose):
    order_id = charlie.order.pk if whose == "foreign" else "nonsense"

    with nothing_changes(), pytest.raises(NotFound):
        take(250, order_id=order_id)


# Undecided prompts.


def test_undecided_prompts_are_asked_about_and_named(take, order, mpesa, time):
    """The oldest first."""
    prompts = []
    for number in range(2):
        phone = f"25471100000{number}"
        prompts.append(PaymentFactory(order=order, phone=phone, amount=Decimal(100)))
        time.turn(1)

    taken = take(250)

    assert mpesa.questions == [one.checkout_request_id for one in prompts]
    assert [one.pk for one in taken.undecided] == [one.pk for one in prompts]
    assert sale_of(order) == ("paid", kes(250), 0, 0)


def test_what_a_question_finds_is_not_taken_again(take, order, mpesa):
    PaymentFactory(order=order, amount=Decimal(100))
    mpesa.otherwise = final("0")

    taken = take(250)

    assert (taken.change, taken.payment.amount, taken.undecided) == (100, kes(150), [])
    assert sale_of(order) == ("paid", kes(250), 0, 0)


def test_a_sale_that_a_question_pays_takes_no_cash(take, order, mpesa):
    PaymentFactory(order=order)
    mpesa.otherwise = final("0")

    with pytest.raises(order_lifecycle.OrderNotOpen, match="paid already"):
        take(250)

    assert [one[0] for one in money_of(order)] == ["query"]


# One key.


def test_a_key_returns_the_cash_it_took(take, order):
    first = take(300, key="key")

    with nothing_changes():
        again = take(300, key="key")

    assert (again.payment.pk, again.change, again.is_new) == (
        first.payment.pk, 50, False
    )  # fmt: skip


def test_a_key_means_one_amount(take):
    take(100, key="key")

    with nothing_changes(), pytest.raises(IdempotencyMismatch):
        take(150, key="key")


def test_a_key_of_a_prompt_is_no_key_for_cash(take, order):
    PaymentFactory(order=order, idempotency_key="key", request_hash="other")

    with nothing_changes(), pytest.raises(IdempotencyMismatch):
        take(100, key="key")


def test_without_a_key_two_times_are_two(take, order):
    take(100)
    take(100)

    assert sale_of(order) == ("open", kes(200), kes(50), 0)
    assert Collection.objects.count() == 2


def test_a_twin_that_was_faster_under_the_lock_is_returned(take, order, monkeypatch):
    original = cash.questions.ask_first
    first = []

    def meanwhile(payments):
        monkeypatch.setattr(cash.questions, "ask_first", original)
        first.append(take(100, key="key"))

    monkeypatch.setattr(cash.questions, "ask_first", meanwhile)

    again = take(100, key="key")

    assert (again.payment.pk, again.is_new) == (first[0].payment.pk, False)
    assert sale_of(order) == ("open", kes(100), kes(150), 0)


@pytest.mark.parametrize("key", ["key", None])
def test_a_constraint_that_nobody_won_says_look_again(take, monkeypatch, key):
    def broken(*args):
        raise IntegrityError("odd")

    monkeypatch.setattr(cash, "_take", broken)

    with nothing_changes(), pytest.raises((InFlight, IntegrityError)):
        take(100, key=key)


def test_a_constraint_that_a_twin_won_returns_the_twin(take, monkeypatch):
    original = cash._take

    def won_by_another(*args):
        original(*args)
        raise IntegrityError("idempotency key")

    monkeypatch.setattr(cash, "_take", won_by_another)

    taken = take(100, key="key")

    assert (taken.payment.amount, taken.is_new) == (kes(100), False)
    assert Payment.objects.count() == 1


# Cancelling a sale asks first too.


def cancel(access, order):
    return ordering.cancel_order(access=access, order_id=order.pk)


def test_cancelling_asks_about_undecided_prompts(seller, order, payment, mpesa):
    assert cancel(seller, order).status == "cancelled"

    assert mpesa.questions == [payment.checkout_request_id]
    assert path_of(payment) == ["created", "pending"]


def test_a_sale_that_a_question_pays_is_not_cancelled(seller, order, payment, mpesa):
    mpesa.otherwise = final("0")

    with pytest.raises(order_lifecycle.OrderHasMoney):
        cancel(seller, order)

    assert sale_of(order) == ("paid", kes(250), 0, 0)


def test_an_auditor_cancels_nothing(audrey, order):
    with nothing_changes(), pytest.raises(Forbidden):
        cancel(Access(audrey.user, audrey.shop, "auditor"), order)


def test_another_shops_sale_is_not_cancelled(seller, charlie):
    his = OrderFactory(shop=charlie.shop)

    with nothing_changes(), pytest.raises(NotFound):
        cancel(seller, his)
