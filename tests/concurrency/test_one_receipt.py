"""One receipt is one row and one collection, whoever tells of it at once."""

import threading
from decimal import Decimal

import pytest
from django.db import transaction

from orders.models import Order
from payments import direct, ledger, matching, receipt_batches, receipts, settlement
from payments.enums import AllocationKind, ReceiptState, Source
from payments.models import (
    Allocation,
    Collection,
    MpesaSettings,
    Payment,
    Receipt,
    Sighting,
    StatementImport,
)
from payments.receipts import Told
from payments.settlement import Proof
from smartduka.lib import clock
from tests.concurrency.racing import MARKS, kinds, together
from tests.factories import MpesaAccountFactory, OrderFactory, PaymentFactory


pytestmark = MARKS

NUMBER, OTHER = "UAE5B2K9QT", "UAE5B2K9QU"
PHONE, MASKED = "254712345678", "2547 ***** 678"
KES = Decimal(250)
AT_ONCE = 12


@pytest.fixture
def account(duka):
    account = MpesaAccountFactory(
        shop=duka, type="till", shortcode="600300", party_b="300300"
    )
    MpesaSettings.objects.update_or_create(
        shop=duka, defaults={"account": account, "uses_platform_account": False}
    )
    return account


@pytest.fixture
def payment(duka, account):
    return PaymentFactory(order=OrderFactory(shop=duka, total=250), phone=PHONE)


def sight(account, source=Source.PULL, number=NUMBER):
    with transaction.atomic():
        return receipts.sight(account, Told(number, KES, MASKED), source).pk


def prove(payment, receipt=None):
    with transaction.atomic():
        order, locked = settlement.locked(payment.pk)
        source = Source.CALLBACK if receipt else Source.QUERY
        return settlement.record_success(order, locked, Proof(source, receipt))


def money():
    rows = Collection.objects.order_by("receipt")
    return [(row.receipt, row.amount, row.allocated) for row in rows]


# One row.


def test_tellers_at_once_make_one_row(account):
    together(*[lambda: sight(account)] * AT_ONCE)

    assert [row.number for row in Receipt.objects.all()] == [NUMBER]
    assert Sighting.objects.values_list("source").get() == ("pull",)


def test_without_its_constraint_a_receipt_is_many_rows(account, off, rendezvous):
    off.constraint(Receipt, "receipt_is_one_row_of_an_account")
    rendezvous().before(receipts, "merge")

    together(*[lambda: sight(account)] * 2)

    assert [row.number for row in Receipt.objects.all()] == [NUMBER] * 2


def test_without_its_constraint_a_source_is_heard_twice(account, off):
    off.constraint(Sighting, "receipt_is_sighted_once_by_a_source")

    together(*[lambda: sight(account)] * 4)

    assert Sighting.objects.count() == 4


def told_by_two(account, monkeypatch, patience_s):
    """M-Pesa's list has what a second notice tells of, who has read the row already."""
    sight(account, Source.C2B)
    read, written = threading.Event(), threading.Event()
    original = receipts.merge

    def merge(receipt, told, source, now):
        if source == Source.C2B:
            read.set()
            written.wait(patience_s)
        return original(receipt, told, source, now)

    def list_it():
        assert read.wait(10)
        sight(account, Source.PULL)
        written.set()

    monkeypatch.setattr(receipts, "merge", merge)
    results = together(lambda: sight(account, Source.C2B), list_it)
    sources = Sighting.objects.order_by("source").values_list("source", flat=True)
    return kinds(results), list(sources), Receipt.objects.get().is_proven


def test_who_tells_of_a_receipt_again_forgets_no_proof(account, monkeypatch):
    assert told_by_two(account, monkeypatch, 0.4) == (
        ["ok", "ok"], ["c2b", "pull"], True,
    )  # fmt: skip


def test_without_its_lock_a_receipt_loses_its_proof(account, off, monkeypatch):
    off.lock(Receipt)

    assert told_by_two(account, monkeypatch, 20.0) == (
        ["ok", "ok"], ["c2b", "pull"], False,
    )  # fmt: skip


def told_by_a_statement(account, user, monkeypatch, patience_s):
    """A statement shows three digits of a payer whose number M-Pesa tells meanwhile."""
    with transaction.atomic():
        receipts.sight(account, Told(NUMBER, KES), Source.C2B)
    row = StatementImport.objects.create(
        account=account, file_hash="a hash", file_name="day.csv", imported_by=user,
        imported_at=clock.now(),
    )  # fmt: skip
    read, written = threading.Event(), threading.Event()
    original = receipts.merge

    def merge(receipt, told, source, now):
        if source == Source.STATEMENT:
            read.set()
            written.wait(patience_s)
        return original(receipt, told, source, now)

    def tell():
        assert read.wait(10)
        with transaction.atomic():
            receipts.sight(account, Told(NUMBER, KES, PHONE), Source.STATUS)
        written.set()

    monkeypatch.setattr(receipts, "merge", merge)
    told = [Told(NUMBER, KES, MASKED)]
    results = together(lambda: receipt_batches.sight_all(row, told), tell)
    return kinds(results), Receipt.objects.get().payer


def test_a_statement_forgets_no_payer(account, alice, monkeypatch):
    assert told_by_a_statement(account, alice.user, monkeypatch, 0.4) == (
        ["ok", "ok"], PHONE,
    )  # fmt: skip


def test_without_its_lock_a_receipt_loses_its_payer(account, alice, off, monkeypatch):
    off.lock(Receipt)

    assert told_by_a_statement(account, alice.user, monkeypatch, 20.0) == (
        ["ok", "ok"], MASKED,
    )  # fmt: skip


# One collection.


def test_matchers_at_once_count_it_once(account, duka):
    receipt_id = sight(account)

    results = together(*[lambda: matching.resolve(receipt_id)] * AT_ONCE)

    assert results == [ReceiptState.COUNTED] * AT_ONCE
    assert money() == [(NUMBER, KES, Decimal(0))]


def test_without_lock_and_constraint_it_is_counted_twice(account, off, rendezvous):
    receipt_id = sight(account)
    off.lock(Receipt)
    off.constraint(Collection, "receipt_is_one_collection_of_an_account")
    rendezvous().before(direct, "collect")

    together(*[lambda: matching.resolve(receipt_id)] * 2)

    assert money() == [(NUMBER, KES, Decimal(0))] * 2


def test_the_lock_alone_counts_it_once(account, off, rendezvous):
    receipt_id = sight(account)
    off.constraint(Collection, "receipt_is_one_collection_of_an_account")
    rendezvous(patience_s=0.4).before(direct, "collect")

    results = together(*[lambda: matching.resolve(receipt_id)] * 2)

    assert results == [ReceiptState.COUNTED] * 2
    assert money() == [(NUMBER, KES, Decimal(0))]


def test_the_constraint_alone_counts_it_once(account, off, rendezvous):
    receipt_id = sight(account)
    off.lock(Receipt)
    rendezvous().before(direct, "collect")

    results = together(*[lambda: matching.resolve(receipt_id)] * 2)

    assert results == [ReceiptState.COUNTED] * 2
    assert money() == [(NUMBER, KES, Decimal(0))]


@pytest.mark.parametrize("number", range(10))
def test_callback_question_and_row_at_once_are_one_collection(number, payment, account):
    receipt_id = sight(account)

    together(
        lambda: prove(payment, NUMBER),
        lambda: prove(payment),
        lambda: matching.resolve(receipt_id),
    )
    matching.resolve(receipt_id)

    assert money() == [(NUMBER, KES, KES)]
    assert Order.objects.values_list("paid", "surplus").get() == (KES, 0)
    assert Receipt.objects.get().collection == Collection.objects.get()


def test_two_receipts_fill_one_lack_once(payment, account):
    prove(payment)
    rows = [sight(account, number=NUMBER), sight(account, number=OTHER)]

    together(*[lambda row=row: matching.resolve(row) for row in rows])
    for row in rows:
        matching.resolve(row)

    assert [(amount, allocated) for _, amount, allocated in money()] in (
        [(KES, KES), (KES, 0)], [(KES, 0), (KES, KES)]
    )  # fmt: skip


def test_callback_and_another_receipt_are_two_collections(payment, account):
    prove(payment)
    row = sight(account, number=NUMBER)

    together(lambda: matching.resolve(row), lambda: prove(payment, OTHER))
    matching.resolve(row)

    assert [(number, amount) for number, amount, _ in money()] == [
        (NUMBER, KES), (OTHER, KES)
    ]  # fmt: skip


def test_without_locks_one_of_two_receipts_is_lost(payment, account, off, rendezvous):
    prove(payment)
    row = sight(account, number=NUMBER)
    off.lock(Order, Payment, Receipt, Collection)
    off.condition(settlement, "Collection")
    rendezvous().before(settlement, "_fill_receipt")

    results = together(lambda: matching.resolve(row), lambda: prove(payment, OTHER))

    # M-Pesa told of KES 500 under two numbers, and nobody was refused.
    assert kinds(results) == ["ok", "ok"]
    [(number, amount, _)] = money()
    assert (number in (NUMBER, OTHER), amount) == (True, KES)


# A portion is freed once.


@pytest.fixture
def surplus(account):
    """KES 250 that nobody needed."""
    matching.resolve(sight(account))
    collection = Collection.objects.get()
    with transaction.atomic():
        (portion,) = ledger.allocate(
            collection, [ledger.Portion(AllocationKind.CREDIT, KES, customer="Jane")]
        )
    return portion


def free(portion):
    with transaction.atomic():
        ledger.release(Allocation.objects.get(pk=portion.pk), actor=None, reason="?")


def test_a_portion_is_freed_once(surplus):
    results = together(*[lambda: free(surplus)] * 8)

    assert kinds(results) == ["SpentAlready"] * 7 + ["ok"]
    assert money() == [(NUMBER, KES, Decimal(0))]
    assert Allocation.objects.filter(releases=surplus).count() == 1


def test_without_lock_and_constraints_it_is_freed_twice(surplus, off):
    off.lock(Collection)
    off.constraint(Allocation, "releases")
    off.constraint(Collection, "collection_is_not_overdrawn")
    Collection.objects.update(allocated=2 * KES)

    results = together(*[lambda: free(surplus)] * 2)

    assert kinds(results) == ["ok", "ok"]
    assert money() == [(NUMBER, KES, Decimal(0))]


def test_money_that_the_drawer_takes_meanwhile_is_not_bound(
    payment, account, duka, bob, rendezvous
):
    """A question proves a payment while somebody spends what looked like its money."""
    with transaction.atomic():
        order, locked = settlement.locked(payment.pk)
        settlement.record_failure(order, locked, "1032", source=Source.CALLBACK)
    receipt_id = sight(account)
    # M-Pesa said it again, so that the money is nobody's.
    Payment.objects.filter(pk=payment.pk).update(asked_at=clock.now())
    matching.resolve(receipt_id)
    collection = Collection.objects.get()
    other = OrderFactory(shop=duka, total=250)
    meet = rendezvous(patience_s=1.0)
    meet.after(receipts, "unbound_for")

    def spend():
        with transaction.atomic():
            target = Order.objects.select_for_update(no_key=True).get(pk=other.pk)
            meet.meet()
            return direct.pay(target, collection, KES, actor=bob.user, reason="?")

    results = together(lambda: prove(payment), spend)

    # Whoever was second found the money gone, and nothing broke.
    assert AssertionError not in map(type, results)
    assert sorted(money(), key=str) in (
        [(NUMBER, KES, KES)], [(NUMBER, KES, KES), (None, KES, KES)]
    ), results  # fmt: skip
