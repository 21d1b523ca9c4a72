"""A deadlock rolled it back for another's sake: done again, and done once."""

from contextlib import contextmanager
from decimal import Decimal

import pytest
from django.db import OperationalError, connection

from orders import checkout, lifecycle
from payments import cash, inbox, ordering, prompting, questions
from payments.models import Notice, Payment
from shops import catalog
from shops.models import StockMovement
from shops.tenancy import Access
from tests.factories import OrderFactory, PaymentFactory, ProductFactory
from tests.support import callbacks
from tests.support.facts import money_of, nothing_changes, sale_of
from tests.support.gateway import final


pytestmark = pytest.mark.django_db(transaction=True)

DEADLOCK, SERIALIZATION, LOCK_TIMEOUT = "40P01", "40001", "55P03"


class Rolled(Exception):
    def __init__(self, sqlstate):
        self.sqlstate = sqlstate


@contextmanager
def rolled_back(verb, table, *, times=1, sqlstate=DEADLOCK):
    """Let the database roll back at this statement, so many times."""
    left = [sqlstate] * times

    def execute(run, sql, params, many, context):
        if left and sql.startswith(verb) and f'"{table}"' in sql:
            raise OperationalError("deadlock detected") from Rolled(left.pop())
        return run(sql, params, many, context)

    with connection.execute_wrapper(execute):
        yield
    assert left == [], "the statement was not met"


@pytest.fixture
def product(duka):
    return ProductFactory(shop=duka, price=Decimal(250))


@pytest.fixture
def owner(alice):
    return Access(alice.user, alice.shop, "owner")


@pytest.fixture
def shop(duka, order, payment, product, seller, owner, mpesa):
    """Everything that the calls below need, by name."""
    other = OrderFactory(shop=duka, items=[(product, 1)])
    return locals() | {"settled": PaymentFactory(order=OrderFactory(shop=duka))}


def items(product, count=1):
    return [checkout.Item(str(product.pk), count)]


def store(payment):
    raw = inbox.Raw(callbacks.success(payment), False, "127.0.0.1", True)
    return inbox.store_for_payment(payment.token_hash, raw).notice_id


# Each with the last statement that changes something in its transaction.
CALLS = {
    "place_order": (
        "INSERT INTO", "orders_orderline",
        lambda shop: checkout.place_order(
            shop=shop["duka"], actor=None, items=items(shop["product"])
        ),
    ),
    "replace_lines": (
        "INSERT INTO", "orders_orderline",
        lambda shop: checkout.replace_lines(
            shop["other"].pk, shop=shop["duka"], actor=None,
            items=items(shop["product"], 2),
        ),
    ),
    "cancel": (
        "UPDATE", "orders_order",
        lambda shop: lifecycle.cancel(shop["other"].pk, actor=None),
    ),
    "add_product": (
        "INSERT INTO", "shops_stockmovement",
        lambda shop: catalog.add_product(
            access=shop["owner"], name="Sukari", price=Decimal(120), stock=5
        ),
    ),
    "change_product": (
        "INSERT INTO", "shops_stockmovement",
        lambda shop: catalog.change_product(
            shop["product"], access=shop["owner"], name="Chumvi", stock=5
        ),
    ),
    "take cash": (
        "INSERT INTO", "payments_allocation",
        lambda shop: cash.take(
            access=shop["seller"], order_id=shop["other"].pk, amount=250, key="k"
        ),
    ),
    "begin a prompt": (
        "UPDATE", "payments_phoneguard",
        lambda shop: prompting.request(
            access=shop["seller"], order_id=shop["other"].pk, phone="0722000111",
            amount=None, key="k", accept_risk=False,
        ),
    ),
    "stop waiting": (
        "INSERT INTO", "payments_paymentevent",
        lambda shop: prompting.stop_waiting(
            access=shop["seller"], payment_id=shop["payment"].pk
        ),
    ),
    "apply an answer": (
        "INSERT INTO", "payments_collection",
        lambda shop: questions.ask(shop["settled"].pk),
    ),
    "process a notice": (
        "INSERT INTO", "payments_allocation",
        lambda shop: inbox.process(store(shop["payment"])),
    ),
}  # fmt: skip


@pytest.mark.parametrize("sqlstate", [DEADLOCK, SERIALIZATION])
@pytest.mark.parametrize("name", CALLS)
def test_a_deadlock_is_not_seen(shop, name, sqlstate):
    shop["mpesa"].answers[shop["settled"].checkout_request_id] = final("0")
    verb, table, call = CALLS[name]

    with rolled_back(verb, table, times=2, sqlstate=sqlstate):
        assert call(shop)


@pytest.mark.parametrize("name", CALLS)
def test_the_third_deadlock_is_seen_and_leaves_nothing(shop, name):
    shop["mpesa"].answers[shop["settled"].checkout_request_id] = final("0")
    verb, table, call = CALLS[name]

    with (
        nothing_changes(),
        rolled_back(verb, table, times=3),
        pytest.raises(OperationalError),
    ):
        call(shop)


def test_what_is_no_deadlock_is_not_repeated(shop):
    """A lock that was held too long would be held still."""
    verb, table, call = CALLS["cancel"]

    with (
        nothing_changes(),
        rolled_back(verb, table, sqlstate=LOCK_TIMEOUT),
        pytest.raises(OperationalError),
    ):
        call(shop)


def test_what_was_repeated_counts_once(shop):
    duka, other, seller = shop["duka"], shop["other"], shop["seller"]
    movements = StockMovement.objects.count()

    with rolled_back("INSERT INTO", "orders_orderline"):
        placed = checkout.place_order(
            shop=duka, actor=None, items=items(shop["product"])
        )
    with rolled_back("INSERT INTO", "payments_allocation"):
        cash.take(access=seller, order_id=other.pk, amount=250, key=None)
    with rolled_back("INSERT INTO", "payments_allocation"):
        inbox.process(store(shop["payment"]))

    assert placed.lines.count() == 1
    numbers = list(duka.orders.order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    for order in (other, shop["order"]):
        assert sale_of(order) == ("paid", 250, 0, 0)
        assert [row[2] for row in money_of(order)] == [250]
    assert StockMovement.objects.count() == movements + 2
    assert Payment.objects.filter(method="cash").count() == 1
    assert Notice.objects.get().verdict == "applied"


def test_ordering_says_the_same(shop):
    with rolled_back("UPDATE", "orders_order"):
        cancelled = ordering.cancel_order(
            access=shop["seller"], order_id=shop["other"].pk
        )

    assert cancelled.status == "cancelled"
