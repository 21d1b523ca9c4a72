"""One file is one import, one list has one reader, and two people correct the books."""

import contextlib
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from django_q.models import OrmQ

from orders.models import Order
from payments import (
    accounts,
    corrections,
    gateways,
    ledger,
    matching,
    pulling,
    receipt_batches,
    refund_money,
    settlement,
    statement_booking,
    statement_import,
)
from payments.enums import Source
from payments.models import (
    Allocation,
    Collection,
    Correction,
    Movement,
    MpesaAccount,
    Payment,
    Receipt,
    Sighting,
    StatementFile,
    StatementImport,
)
from payments.notices_pull import PullPage, PullRow
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.transactions import repeated
from tests.concurrency.racing import MARKS, kinds, together
from tests.factories import OrderFactory, PaymentFactory
from tests.support.cast import join
from tests.support.facts import sale_of
from tests.support.statements import as_csv, back, charge, paid


pytestmark = MARKS

HASTY_S = 0.4
NUMBER = "UAE5B2K9QT"


@pytest.fixture
def account(duka, mpesa):
    return accounts.platform_account()


@pytest.fixture
def people(alice, mary):
    return [
        Access(alice.user, alice.shop, "owner"),
        Access(mary.user, mary.shop, "manager"),
    ]


def queried(shop):
    """KES 250 of a sale, proved by a question and without a receipt."""
    payment = PaymentFactory(order=OrderFactory(shop=shop))
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        settlement.record_success(order, held, settlement.Proof(Source.QUERY))
    return payment


# Imports.


@pytest.fixture
def file(account):
    now = clock.now()
    at = now - timedelta(minutes=5)
    return as_csv(
        account, now - timedelta(days=1), now,
        paid(NUMBER, at, reference="MAMA"),
        paid("UAE5B2K9QU", at, "80.00", reference="MAMA"),
        charge(NUMBER, at),
        back("UAE9BACK01", at, "UAE5B2K9QU", "80.00"),
    )  # fmt: skip


def both_import(account, file, actor):
    def job():
        return statement_import.imported(
            account=account, data=file, file_name="day.csv", actor=actor
        )

    return together(job, job)


def is_booked_once():
    row = StatementImport.objects.get()
    assert sorted(Collection.objects.values_list("receipt", "amount")) == [
        (NUMBER, 250), ("UAE5B2K9QU", 80),
    ]  # fmt: skip
    assert (Receipt.objects.count(), Sighting.objects.count()) == (2, 2)
    assert Movement.objects.count() == 2
    back_again = Collection.objects.get(receipt="UAE5B2K9QU")
    sums = [one.amount for one in ledger.current(back_again)]
    assert (back_again.reversed_at is not None, sums) == (True, [80])
    assert (row.payments, row.new_receipts, row.movements) == (2, 2, 2)
    assert (row.finished_at is not None, row.next_try_at) == (True, None)
    return row


@pytest.mark.parametrize("step", ["_told", "_waiting", "_chunks", "_settle_reversals"])
def test_two_imports_of_a_file_are_one(account, file, alice, rendezvous, step):
    rendezvous(patience_s=HASTY_S).after(statement_booking, step)

    first, second = both_import(account, file, alice.user)

    assert first == second == is_booked_once()


def test_two_imports_of_a_file_are_two_without_the_constraint(
    account, file, alice, off, rendezvous
):
    off.constraint(StatementImport, "statement_is_imported_once")
    rendezvous().before(StatementImport, "save")

    both_import(account, file, alice.user)

    assert StatementImport.objects.count() == 2
    # Even then no shilling counts twice.
    assert Collection.objects.count() == 2


def receive(account, file, actor):
    return statement_import.receive(
        account=account, data=file, file_name="day.csv", actor=actor
    )


def test_two_uploads_of_a_file_are_one(account, file, alice, rendezvous):
    rendezvous(patience_s=HASTY_S).after(statement_import, "_require_account")

    first, second = together(*[lambda: receive(account, file, alice.user)] * 2)

    assert first.row == second.row
    assert sorted([first.is_new, second.is_new]) == [False, True]
    assert StatementFile.objects.count() == OrmQ.objects.count() == 1


class Bookings:
    """Counts how many workers book a file."""

    def __init__(self, monkeypatch):
        self.count = 0
        original = statement_booking.book

        def book(row, statement, goes_on):
            self.count += 1
            return original(row, statement, goes_on)

        monkeypatch.setattr(statement_booking, "book", book)


@pytest.fixture
def bookings(monkeypatch):
    return Bookings(monkeypatch)


def both_attend(row):
    results = together(*[lambda: statement_import.attend(row.pk)] * 2)
    assert kinds(results) == ["ok", "ok"]


def test_a_file_has_one_worker(account, file, alice, bookings, rendezvous):
    row = receive(account, file, alice.user).row
    rendezvous(patience_s=HASTY_S).before(statement_import, "_claim")

    both_attend(row)

    assert bookings.count == 1
    is_booked_once()


@pytest.mark.parametrize(
    "step", ["_open", "_told", "_waiting", "_settle_reversals", "_finish"]
)
def test_a_file_has_two_workers_without_the_lease(
    account, file, alice, bookings, rendezvous, monkeypatch, step
):
    """Even then no shilling counts twice: the lease saves work, it keeps no law."""
    row = receive(account, file, alice.user).row
    open_rows = StatementImport.objects.filter(finished_at__isnull=True)
    monkeypatch.setattr(statement_import, "_due_as", lambda row: open_rows.all())
    monkeypatch.setattr(statement_import._Lease, "_mine", lambda one: open_rows.all())
    rendezvous().before(statement_import, "_claim")
    rendezvous(patience_s=HASTY_S).before(statement_booking, step)

    both_attend(row)

    assert bookings.count == 2
    is_booked_once()


@pytest.mark.parametrize("name", ["sight_all", "_count_plain"])
def test_two_workers_in_one_batch_count_it_once(account, file, alice, rendezvous, name):
    """One counts a batch while the other one is about to."""
    row = receive(account, file, alice.user).row
    rendezvous(patience_s=HASTY_S).before(receipt_batches, name)

    together(
        lambda: statement_import.attend(row.pk),
        lambda: statement_import.imported(
            account=account, data=file, file_name="day.csv", actor=alice.user
        ),
    )

    is_booked_once()


def called_back(payment):
    """A callback's settlement; its notice tries again when the receipt was faster."""
    for _ in range(2):
        with contextlib.suppress(IntegrityError):
            return settled(payment)
    raise AssertionError("never settled")


@repeated
def settled(payment):
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        proof = settlement.Proof(Source.CALLBACK, NUMBER, payment.phone)
        return settlement.record_success(order, held, proof)


def test_a_callback_and_a_batch_count_a_receipt_once(
    account, file, duka, alice, rendezvous
):
    """So late that nothing was waiting for this money any more."""
    long_ago = clock.now() - timedelta(hours=4)
    payment = PaymentFactory(order=OrderFactory(shop=duka), created_at=long_ago)
    meeting = rendezvous(patience_s=HASTY_S)
    meeting.before(receipt_batches, "_collect")
    meeting.before(settlement, "_collect")

    kept = together(
        lambda: called_back(payment),
        lambda: statement_import.imported(
            account=account, data=file, file_name="day.csv", actor=alice.user
        ),
    )

    assert kinds(kept) == ["ok", "ok"]
    collection = Collection.objects.get(receipt=NUMBER)
    assert (collection.payment, collection.amount) == (payment, 250)
    assert sale_of(payment.order) == ("paid", 250, 0, 0)
    assert Receipt.objects.get(number=NUMBER).collection == collection
    assert StatementImport.objects.get().finished_at is not None


def test_without_the_constraint_a_batch_counts_once_by_its_locks(
    account, file, alice, off, rendezvous
):
    off.constraint(Collection, "receipt_is_one_collection_of_an_account")
    rendezvous(patience_s=HASTY_S).before(receipt_batches, "_collect")

    assert kinds(both_import(account, file, alice.user)) == ["ok", "ok"]

    is_booked_once()


def test_a_batch_counts_twice_without_the_constraint(
    account, file, alice, off, rendezvous
):
    off.lock(Receipt, Collection)
    off.constraint(Collection, "receipt_is_one_collection_of_an_account")
    rendezvous().before(receipt_batches, "_collect")

    both_import(account, file, alice.user)

    assert Collection.objects.filter(receipt=NUMBER).count() == 2


def test_without_its_constraint_a_movement_is_booked_twice(
    account, file, alice, off, rendezvous
):
    off.constraint(Movement, "movement_is_booked_once")
    rendezvous().after(statement_booking, "_movement")

    assert kinds(both_import(account, file, alice.user)) == ["ok", "ok"]

    assert Movement.objects.count() == 4


# Corrections.


@pytest.fixture
def disputed(duka, account):
    payment = queried(duka)
    Collection.objects.update(disputed="M-Pesa's statement does not have it.")
    return Collection.objects.get(payment=payment)


def ask(access, collection):
    return corrections.ask_correction(
        access=access, collection_id=collection.pk, amount=Decimal(-250), reason="None"
    )


def test_two_people_ask_for_one_correction(disputed, people, rendezvous):
    rendezvous(patience_s=HASTY_S).after(corrections, "left_of")

    results = together(*[lambda a=a: ask(a, disputed) for a in people])

    assert kinds(results) == ["CorrectionWaits", "ok"]
    assert Correction.objects.count() == 1


def test_without_the_lock_the_constraint_keeps_one(disputed, people, off, rendezvous):
    off.lock(Collection)
    rendezvous().after(corrections, "left_of")

    results = together(*[lambda a=a: ask(a, disputed) for a in people])

    assert kinds(results) == ["CorrectionWaits", "ok"]


def test_without_the_constraint_the_lock_keeps_one(disputed, people, off, rendezvous):
    off.constraint(Correction, "collection_has_one_open_correction")
    rendezvous(patience_s=HASTY_S).after(corrections, "left_of")

    results = together(*[lambda a=a: ask(a, disputed) for a in people])

    assert kinds(results) == ["CorrectionWaits", "ok"]
    assert Correction.objects.count() == 1


def test_without_the_guards_two_corrections_wait(disputed, people, off, rendezvous):
    off.lock(Collection)
    off.constraint(Correction, "collection_has_one_open_correction")
    rendezvous().after(corrections, "left_of")

    together(*[lambda a=a: ask(a, disputed) for a in people])

    assert Correction.objects.count() == 2


def book_and_refuse(people, asked):
    return kinds(
        together(
            lambda: corrections.book(access=people[0], correction_id=asked.pk),
            lambda: corrections.refuse(access=people[1], correction_id=asked.pk),
        )
    )


def test_a_correction_is_booked_or_taken_back(disputed, people, rendezvous):
    asked = ask(people[1], disputed)
    rendezvous(patience_s=HASTY_S).after(corrections, "_waiting")

    assert book_and_refuse(people, asked) == ["CorrectionDecided", "ok"]

    asked.refresh_from_db()
    kind = [one.kind for one in ledger.current(disputed)]
    assert {"booked": ["correction"], "refused": ["sale"]}[asked.state] == kind


def test_without_its_lock_it_is_booked_and_taken_back(
    disputed, people, off, rendezvous
):
    asked = ask(people[1], disputed)
    off.lock(Correction)
    rendezvous().after(corrections, "_waiting")

    assert book_and_refuse(people, asked) == ["ok", "ok"]


def book_twice(people, third, asked):
    access = Access(third.user, third.shop, "manager")
    return kinds(
        together(
            lambda: corrections.book(access=people[0], correction_id=asked.pk),
            lambda: corrections.book(access=access, correction_id=asked.pk),
        )
    )


@pytest.fixture
def third(duka):
    return join(duka, "third", "manager")


def test_two_people_book_once(disputed, people, third, duka, rendezvous):
    asked = ask(people[1], disputed)
    rendezvous(patience_s=HASTY_S).after(refund_money, "locked")

    assert book_twice(people, third, asked) == ["CorrectionDecided", "ok"]

    assert [(one.kind, one.amount) for one in ledger.current(disputed)] == [
        ("correction", 250)
    ]
    assert sale_of(disputed.payment.order) == ("paid", 250, 0, 0)


def test_without_the_locks_each_portion_is_freed_once(
    disputed, people, third, off, rendezvous
):
    asked = ask(people[1], disputed)
    off.lock(Order, Payment, Collection, Correction)
    rendezvous().before(ledger, "release")

    ended = book_twice(people, third, asked)

    assert ended[1:] == ["ok"]
    assert ended[0] in ("SpentAlready", "MoreThanThere", "CorrectionDecided")
    assert sum(one.amount for one in ledger.current(disputed)) == 250


def test_without_any_guard_it_is_booked_twice(disputed, people, third, off, rendezvous):
    asked = ask(people[1], disputed)
    off.lock(Order, Payment, Collection, Correction)
    off.condition(ledger, "Collection")
    off.constraint(Collection, "collection_is_not_overdrawn")
    off.constraint(Allocation, "releases")
    rendezvous().before(ledger, "release")

    assert book_twice(people, third, asked) == ["ok", "ok"]

    assert sum(one.amount for one in ledger.current(disputed)) == 500


# The list.


class CountingList:
    """One page for everybody; counts who asks for its first."""

    def __init__(self):
        self.firsts = 0

    def pull(self, account, query, *, limit_s):
        if query.offset:
            return PullPage("1001")
        self.firsts += 1
        return PullPage("1000", (PullRow(NUMBER, Decimal(250), reference="MAMA"),))


@pytest.fixture
def mpesas_list(monkeypatch, account):
    fake = CountingList()
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    now = clock.now()
    MpesaAccount.objects.update(pull_registered_at=now, pulled_until=now)
    return fake


def both_read(account):
    return together(*[lambda: pulling.pull_now(account)] * 2)


def test_a_list_has_one_reader(account, mpesas_list, rendezvous):
    rendezvous(patience_s=HASTY_S).before(pulling, "pull_pages")

    results = both_read(account)

    assert sorted(one.is_busy for one in results) == [False, True]
    assert mpesas_list.firsts == 1
    assert Collection.objects.count() == 1


def test_a_list_has_two_readers_without_the_lease(
    account, mpesas_list, monkeypatch, rendezvous
):
    monkeypatch.setattr(pulling._Lease, "take", lambda self: True)
    monkeypatch.setattr(pulling._Lease, "keep", lambda self, **facts: None)
    rendezvous().before(pulling, "pull_pages")

    both_read(account)

    assert mpesas_list.firsts == 2
    # Even then no shilling counts twice.
    assert [one.amount for one in Collection.objects.all()] == [250]


def test_a_list_and_a_statement_tell_of_one_receipt(
    account, file, mpesas_list, alice, rendezvous
):
    rendezvous(patience_s=HASTY_S).before(matching, "decide")

    together(
        lambda: pulling.pull_now(account),
        lambda: statement_import.imported(
            account=account, data=file, file_name="day.csv", actor=alice.user
        ),
    )

    assert Collection.objects.filter(receipt=NUMBER).count() == 1
    told = Sighting.objects.filter(receipt__number=NUMBER).values_list("source")
    assert sorted(source for (source,) in told) == ["pull", "statement"]
