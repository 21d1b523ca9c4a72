"""One payment is settled once: five guards, and each of them is enough alone."""

from decimal import Decimal

import pytest

from orders.models import Order
from payments import inbox, lifecycle, questions, settlement
from payments.models import Allocation, Collection, Notice, Payment, PaymentEvent
from tests.concurrency.racing import MARKS, kinds, together
from tests.factories import OrderFactory, PaymentFactory
from tests.support.callbacks import success
from tests.support.gateway import final


pytestmark = MARKS

LOCKS = ("order lock", "payment lock")
ALONE_BY_QUERY = [
    ("order lock", ["ok", "ok"]),
    ("payment lock", ["ok", "ok"]),
    ("conditional move", ["IllegalMove", "ok"]),
    ("event once per status", ["IntegrityError", "ok"]),
    ("one receipt-less collection", ["IntegrityError", "ok"]),
]
ALONE_BY_CALLBACK = [
    *ALONE_BY_QUERY[:4],
    ("one collection per receipt", ["IntegrityError", "ok"]),
]


@pytest.fixture
def payment(duka):
    """KES 100 asked for, on a sale of 300 that another payment may help to pay."""
    return PaymentFactory(order=OrderFactory(shop=duka, total=300), amount=Decimal(100))


@pytest.fixture
def only(off):
    """Leave only the named guard on."""

    def leave(name):
        switches = {
            "order lock": lambda: off.lock(Order),
            "payment lock": lambda: off.lock(Payment),
            "conditional move": lambda: off.condition(lifecycle, "Payment"),
            "event once per status": lambda: off.constraint(
                PaymentEvent, "payment_enters_a_status_once"
            ),
            "one receipt-less collection": lambda: off.constraint(
                Collection, "payment_has_one_receiptless_collection"
            ),
            "one collection per receipt": lambda: off.constraint(
                Collection, "receipt_is_one_collection_of_an_account"
            ),
        }
        assert name is None or name in switches
        for guard, switch in switches.items():
            if guard != name:
                switch()

    return leave


def settle_by_two_answers(payment):
    answer = final("0", "processed")
    return together(*[lambda: questions._apply(payment.pk, answer)] * 2)


def settle_by_two_callbacks(payment):
    """The same claim twice in other bytes, so that both are processed."""
    notices = [
        inbox.store_for_payment(
            payment.token_hash, inbox.Raw(success(payment, extra=tail), False, "", True)
        ).notice_id
        for tail in ("", " ")
    ]
    return together(*[lambda n=number: inbox.process(n) for number in notices])


def assert_settled_once(payment, receipt):
    payment.refresh_from_db()
    payment.order.refresh_from_db()
    assert (payment.status, payment.receipt) == ("completed", receipt or "")
    assert list(Collection.objects.values_list("amount", "allocated", "receipt")) == [
        (Decimal("100.00"), Decimal("100.00"), receipt)
    ]
    assert list(Allocation.objects.values_list("kind", "amount")) == [
        ("sale", Decimal("100.00"))
    ]
    assert (payment.order.paid, payment.order.surplus) == (Decimal(100), Decimal(0))
    moves = payment.events.values_list("old", "new")
    assert list(moves) == [
        ("", "created"), ("created", "pending"), ("pending", "completed")
    ]  # fmt: skip


@pytest.mark.parametrize(("guard", "results"), ALONE_BY_QUERY, ids=lambda x: str(x))
def test_two_answers_settle_once_by_each_guard_alone(
    payment, only, rendezvous, messages, guard, results
):
    only(guard)
    here = rendezvous(patience_s=0.3 if guard in LOCKS else 5.0)
    here.before(settlement, "_complete")

    assert kinds(settle_by_two_answers(payment)) == results

    assert_settled_once(payment, receipt=None)
    assert messages == [("payment.completed", str(payment.pk))]


def test_two_answers_count_twice_without_any_guard(payment, only, rendezvous):
    only(None)
    rendezvous().before(settlement, "_complete")

    assert kinds(settle_by_two_answers(payment)) == ["ok", "ok"]

    assert Collection.objects.count() == 2
    assert Allocation.objects.count() == 2


@pytest.mark.parametrize(("guard", "results"), ALONE_BY_CALLBACK, ids=lambda x: str(x))
def test_two_callbacks_settle_once_by_each_guard_alone(
    payment, only, rendezvous, messages, guard, results
):
    only(guard)
    here = rendezvous(patience_s=0.3 if guard in LOCKS else 5.0)
    here.before(settlement, "_complete")

    assert kinds(settle_by_two_callbacks(payment)) == results

    assert_settled_once(payment, receipt="UAE5B2K9QT")
    assert messages == [("payment.completed", str(payment.pk))]
    waiting = Notice.objects.filter(processed_at=None, next_try_at__isnull=False)
    assert waiting.count() == (0 if guard in LOCKS else 1)


def test_two_callbacks_count_twice_without_any_guard(payment, only, rendezvous):
    only(None)
    rendezvous().before(settlement, "_complete")

    assert kinds(settle_by_two_callbacks(payment)) == ["ok", "ok"]

    assert Collection.objects.filter(receipt="UAE5B2K9QT").count() == 2


def test_a_notice_processed_twice_at_once_is_applied_once(payment, rendezvous):
    rendezvous(patience_s=0.3).before(settlement, "_complete")
    stored = inbox.store_for_payment(
        payment.token_hash, inbox.Raw(success(payment), False, "", True)
    )

    results = together(*[lambda: inbox.process(stored.notice_id)] * 2)

    assert results == ["applied", "applied"]
    assert_settled_once(payment, receipt="UAE5B2K9QT")


def test_a_loser_of_the_race_is_settled_by_the_next_try(payment, only, rendezvous):
    only("conditional move")
    rendezvous().before(settlement, "_complete")
    settle_by_two_callbacks(payment)
    loser = Notice.objects.get(processed_at=None)

    assert inbox.process_again(loser.pk) == "duplicate"

    assert_settled_once(payment, receipt="UAE5B2K9QT")
