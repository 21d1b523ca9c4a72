"""What a correction added to the books: whose it is, and how it is corrected itself."""

import pytest

from payments import corrections, disputes, drawer, receipts
from payments.drawer_refusals import NotLookedAt
from payments.enums import Source
from payments.models import Collection, Receipt
from shops.tenancy import Access
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import kes, sale_of
from tests.support.own_till import FULL, MASKED, R1, R2, kinds, own_till, sight, succeed


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


def pay(manager, collection, order, *, has_looked=True):
    return drawer.apply(
        access=manager, piece=f"collection:{collection.pk}", order_id=order.pk,
        reason="It is hers", has_looked=has_looked,
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


def test_a_correction_that_added_too_much_is_corrected(counted, manager, owner):
    more = correct(manager, owner, counted, 500)
    why = "We counted KES 750, M-Pesa's statement has KES 300."
    assert books() == [(R1, kes(250), why), (None, kes(500), why)]

    correct(manager, owner, more, -450)

    assert books() == [(R1, kes(250), ""), (None, kes(500), "")]
    assert kinds(more) == [("correction", kes(450), None)]
    assert disputes.counted_of(counted) == kes(300)


def test_what_is_missing_of_a_corrected_correction_is_added_to_the_first(
    counted, manager, owner
):
    more = correct(manager, owner, counted, 500)
    correct(manager, owner, more, -480)
    why = "We counted KES 270, M-Pesa's statement has KES 300."
    assert books() == [(R1, kes(250), why), (None, kes(500), why)]

    last = correct(manager, owner, more, 30)

    assert books() == [(R1, kes(250), ""), (None, kes(500), ""), (None, kes(30), "")]
    assert last.corrects == counted
    assert disputes.counted_of(counted) == kes(300)


def test_who_pays_with_what_was_added_too_much_is_told(
    counted, manager, owner, duka, payment
):
    """A manager looked, and it paid a sale all the same; then two people correct it."""
    more = correct(manager, owner, counted, 500)
    sale = OrderFactory(shop=duka, total=500)
    with pytest.raises(NotLookedAt):
        pay(manager, more, sale, has_looked=False)
    typed = pay(manager, more, sale)

    correct(manager, owner, more, -450)

    assert sale_of(sale) == ("paid", kes(500), kes(0), kes(0))
    assert kinds(more) == [
        ("sale", kes(50), sale.pk), ("correction", kes(450), sale.pk),
    ]  # fmt: skip
    for one, alarm in ((typed, corrections.ALARM), (payment, "")):
        one.refresh_from_db()
        assert one.alarm == alarm
    assert books() == [(R1, kes(250), ""), (None, kes(500), "")]


def test_what_was_added_is_as_doubtful_as_the_first(counted, manager, owner):
    """It was right; then M-Pesa's statement has another amount."""
    more = correct(manager, owner, counted, 50)
    assert books() == [(R1, kes(250), ""), (None, kes(50), "")]
    Receipt.objects.get().sightings.filter(source=Source.STATEMENT).update(amount=40)
    Collection.objects.filter(pk=counted.pk).update(disputed="Look")

    disputes.review(counted.account)

    why = "We counted KES 300, M-Pesa's statement has KES 40."
    assert books() == [(R1, kes(250), why), (None, kes(50), why)]
    correct(manager, owner, more, -50)
    why = "We counted KES 250, M-Pesa's statement has KES 40."
    assert books() == [(R1, kes(250), why), (None, kes(50), "")]
