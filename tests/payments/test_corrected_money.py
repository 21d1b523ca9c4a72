"""What a correction added to the books: whose it is, and how it is corrected itself."""

import pytest

from payments import corrections, drawer, receipts
from payments.enums import Source
from payments.models import Collection
from shops.tenancy import Access
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import kes, sale_of
from tests.support.own_till import FULL, MASKED, R1, R2, own_till, sight, succeed


pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quiet(messages, time, mpesa):
    return messages


@pytest.fixture
def account(duka):
    return own_till(duka)


@pytest.fixture
def payment(order, account, time):
    return PaymentFactory(order=order, phone=FULL)


@pytest.fixture
def manager(mary):
    return Access(mary.user, mary.shop, "manager")


@pytest.fixture
def owner(alice):
    return Access(alice.user, alice.shop, "owner")


@pytest.fixture
def counted(account, payment):
    """We counted KES 250; M-Pesa's statement has KES 300."""
    succeed(payment)
    sight(account, R1, 300, Source.STATEMENT)
    return Collection.objects.get()


def correct(manager, owner, collection, amount):
    """Two people book it; return what was added to the books, if anything was."""
    asked = corrections.ask_correction(
        access=manager, collection_id=collection.pk, amount=kes(amount),
        reason="The statement says so",
    )  # fmt: skip
    corrections.book(access=owner, correction_id=asked.pk)
    return Collection.objects.filter(corrects__isnull=False).order_by("pk").last()


def pay(manager, collection, order):
    return drawer.apply(
        access=manager, piece=f"collection:{collection.pk}", order_id=order.pk,
        reason="It is hers", has_looked=True,
    )  # fmt: skip


def books():
    rows = Collection.objects.order_by("pk")
    return [(one.receipt, one.amount, one.disputed) for one in rows]


@pytest.mark.parametrize("payer", [FULL, MASKED, ""])
def test_what_was_added_takes_no_receipt(counted, manager, owner, duka, time, payer):
    """It is the first receipt's money; who pays as much by hand pays for himself."""
    more = correct(manager, owner, counted, 50)
    other = OrderFactory(shop=duka, total=50)
    pay(manager, more, other)
    time.turn(600)

    receipt = sight(counted.account, R2, 50, Source.PULL, payer=payer)

    assert books() == [(R1, kes(250), ""), (None, kes(50), ""), (R2, kes(50), "")]
    assert (receipt.state, receipt.collection.payment) == ("counted", None)
    assert sale_of(other) == ("paid", kes(50), kes(0), kes(0))
    assert list(receipts.receiptless()) == []
