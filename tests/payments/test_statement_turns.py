"""A worker imports a statement in turns, and may die at any moment of them."""

import contextlib
import hashlib
from datetime import timedelta
from decimal import Decimal

import pytest
from django.conf import settings as project
from django.db import connection, transaction

from payments import (
    accounts,
    receipts,
    settlement,
    statement_booking,
    statement_import,
    tasks,
)
from payments.enums import Source
from payments.models import (
    Collection,
    Movement,
    Payment,
    Receipt,
    Refund,
    Sighting,
    StatementFile,
    StatementImport,
)
from payments.receipts import Told
from payments.spreadsheets import UnreadableFile
from payments.statement_import import IMPORT_TASK, NotThisAccount
from smartduka.lib import clock
from tests.factories import MpesaAccountFactory, OrderFactory, PaymentFactory
from tests.payments.conftest import START
from tests.support.statements import as_csv, as_xlsx, back, charge, paid, sweep


pytestmark = pytest.mark.django_db

DAY = START.replace(hour=0) - timedelta(hours=3)
NEXT = DAY + timedelta(days=1)
AT = START + timedelta(seconds=30)
QUERIED, CALLED, CLAIMED, NEW, GONE = (
    "UAE5QUER01", "UAE5CALL02", "UAE5CLAM03", "UAE5NEWW04", "UAE5GONE05",
)  # fmt: skip
LATE = "UAE5LATE06"


@pytest.fixture
def account(duka, mpesa, time):
    return accounts.platform_account()


@pytest.fixture
def owner(alice):
    return alice.user


def settled(payment, proof):
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        settlement.record_success(order, held, proof)


@pytest.fixture
def file(account, duka, time):
    """A day of everything: what each row finds is written beside it."""
    pays = [PaymentFactory(order=OrderFactory(shop=duka)) for _ in range(3)]
    settled(pays[0], settlement.Proof(Source.QUERY))  # lacks its receipt
    settled(pays[1], settlement.Proof(Source.CALLBACK, CALLED, pays[1].phone, AT))
    settled(pays[2], settlement.Proof(Source.CALLBACK, "UAE5NOTHER", "", AT))
    with transaction.atomic():
        receipts.sight(account, Told(CLAIMED, Decimal(80)), Source.C2B)
    time.now = NEXT + timedelta(hours=6)
    return as_csv(
        account, DAY, NEXT,
        paid(LATE, NEXT - timedelta(minutes=1), "60.00", reference="MAMA"),
        back("UAE9BACK01", AT + timedelta(hours=1), GONE, "70.00"),
        paid(GONE, AT, "70.00", reference="MAMA"),
        paid(NEW, AT, "90.00", reference="MAMA"),
        paid(CLAIMED, AT, "80.00", reference="MAMA"),
        paid(CALLED, AT, reference=pays[1].reference),
        paid(QUERIED, AT, reference=pays[0].reference),
        charge(NEW, AT),
        sweep("UAE5SWEEP1", AT + timedelta(hours=2)),
        paid("UAE5BADROW", AT, "free"),
    )  # fmt: skip


def receive(account, file, owner, name="day.csv"):
    return statement_import.receive(
        account=account, data=file, file_name=name, actor=owner
    )


def books():
    """What was booked, without the moments at which a worker did it."""
    return (
        [
            (
                one.receipt, one.amount, one.source, one.payment_id, one.shop_id,
                one.phone, one.paid_at, one.disputed, one.binding,
                one.confirmed_at is not None, one.reversed_at,
                [(a.kind, a.amount) for a in one.allocations.order_by("pk")],
            )
            for one in Collection.objects.order_by("receipt")
        ],
        list(
            Receipt.objects.order_by("number").values_list(
                "number", "amount", "payer", "payer_name", "reference", "paid_at",
                "state", "collection__receipt", "look_at", "alarm",
            )
        ),
        list(
            Sighting.objects.order_by("receipt__number", "source").values_list(
                "receipt__number", "source", "amount", "payer", "paid_at",
            )
        ),
        list(Movement.objects.order_by("number").values_list("number", "amount")),
        list(Refund.objects.values_list("receipt", "amount", "state")),
        list(Payment.objects.order_by("pk").values_list("status", "receipt", "alarm")),
    )  # fmt: skip


FIGURES = {
    "rows": 10, "payments": 6, "new_receipts": 4, "filled": 1, "movements": 3,
    "disputed": 0,
}  # fmt: skip


def figures(row):
    row.refresh_from_db()
    return {name: getattr(row, name) for name in FIGURES}


# Kept, then imported.


def test_a_file_is_kept_and_handed_to_a_worker(account, file, owner, tasks, time):
    received = receive(account, file, owner)

    row = StatementImport.objects.get()
    assert (received.row, received.is_new) == (row, True)
    assert bytes(row.file.body) == file
    assert (row.stage, row.next_try_at, row.finished_at) == ("new", time.now, None)
    assert [one for one in tasks() if one[0] == IMPORT_TASK] == [
        (IMPORT_TASK, (row.pk,), time.now)
    ]
    assert Sighting.objects.filter(source="statement").count() == 0


def test_a_worker_imports_it(account, file, owner):
    row = receive(account, file, owner).row

    tasks.import_statement(row.pk)

    assert figures(row) == FIGURES
    assert row.bad_rows == [
        {"line": 15, "reason": "the amount paid in is no sum of money"}
    ]
    assert (row.next_try_at, row.attempts, row.error) == (None, 0, "")
    assert row.finished_at == clock.now()


def test_a_task_that_runs_twice_does_it_once(account, file, owner):
    row = receive(account, file, owner).row
    statement_import.attend(row.pk)
    before, finished_at = books(), row.finished_at

    statement_import.attend(row.pk)

    assert books() == before
    assert figures(row) == FIGURES
    assert finished_at is None


def test_a_kept_file_is_never_changed(account, file, owner):
    kept = receive(account, file, owner).row.file

    with pytest.raises(TypeError):
        kept.save()
    with pytest.raises(TypeError):
        kept.delete()


def test_the_same_file_is_kept_once(account, file, owner, tasks):
    first = receive(account, file, owner)
    queued = tasks()

    again = receive(account, file, owner, "copy.csv")

    assert (again.row, again.is_new) == (first.row, False)
    assert (StatementImport.objects.count(), StatementFile.objects.count()) == (1, 1)
    assert tasks() == queued


def test_a_finished_file_is_not_imported_again(account, file, owner, tasks):
    row = receive(account, file, owner).row
    statement_import.attend(row.pk)
    before, queued = books(), tasks()

    again = receive(account, file, owner, "copy.csv")

    statement_import.attend(row.pk)
    assert (again.row, again.is_new, again.row.finished_at) == (
        row, False, clock.now(),
    )  # fmt: skip
    assert (books(), tasks()) == (before, queued)


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7", b"Receipt No.,Paid In\n"])
def test_what_is_bad_at_a_glance_is_not_kept(account, owner, data):
    with pytest.raises(UnreadableFile):
        receive(account, data, owner)

    assert StatementImport.objects.count() == StatementFile.objects.count() == 0


def test_a_file_of_another_account_is_not_kept(account, owner):
    other = MpesaAccountFactory()
    with pytest.raises(NotThisAccount):
        receive(account, as_csv(other, DAY, NEXT, paid(NEW, AT)), owner)

    assert StatementImport.objects.count() == 0


def test_a_file_ends_when_it_was_uploaded(account, owner, time):
    """Not when a worker came to it: what was paid since cannot be in it."""
    uploaded_at = DAY + timedelta(hours=15)
    time.now = uploaded_at
    row = receive(account, as_csv(account, DAY, NEXT, paid(NEW, AT)), owner).row
    time.now = DAY + timedelta(hours=20)

    statement_import.attend(row.pk)

    row.refresh_from_db()
    assert (row.covers_from, row.covers_to) == (DAY, uploaded_at)


def test_a_turn_does_not_outlast_its_task():
    """A task is killed after its time-out: a turn takes half of that, a lease more."""
    assert project.STATEMENT_LEASE_S > project.TASK_TIMEOUT_S
    assert "payments.tasks.sweep_statements" in project.PERIODIC_TASKS


# Turns.


@pytest.fixture
def small_steps(monkeypatch):
    for name in ("TOLD_AT_ONCE", "MATCHED_AT_ONCE", "MOVED_AT_ONCE"):
        monkeypatch.setattr(statement_booking, name, 1)


@pytest.fixture
def whole(account, file, owner):
    """Return what the books are when nothing goes wrong; nothing of it stays."""
    sid = transaction.savepoint()
    statement_import.imported(
        account=account, data=file, file_name="day.csv", actor=owner
    )
    found = books()
    transaction.savepoint_rollback(sid)
    assert Movement.objects.count() == 0
    return found


def test_turns_that_are_over_at_once_end_in_the_same_books(
    whole, account, file, owner, small_steps, settings, tasks
):
    settings.TASK_TIMEOUT_S = 0
    row = receive(account, file, owner).row
    turns = 0
    while figures(row) and row.finished_at is None:
        queued = len(tasks())
        statement_import.attend(row.pk)
        turns += 1
        row.refresh_from_db()
        if row.finished_at is None:
            assert len([t for t in tasks() if t[0] == IMPORT_TASK]) == turns + 1
            assert len(tasks()) > queued
        assert turns < 60

    assert turns > 15
    assert (books(), figures(row)) == (whole, FIGURES)


class Killed(BaseException):
    """The process is gone: nothing of it catches this."""


def killed_at(monkeypatch, step, *, told):
    """Kill the worker when a step is done: before or after it wrote that down."""
    original = statement_import._Lease.goes_on
    steps = []

    def goes_on(lease, stage, reached):
        steps.append(stage)
        if len(steps) == step and not told:
            raise Killed
        result = original(lease, stage, reached)
        if len(steps) == step:
            raise Killed
        return result

    monkeypatch.setattr(statement_import._Lease, "goes_on", goes_on)


@pytest.mark.parametrize("told", [False, True], ids=["untold", "told"])
@pytest.mark.parametrize("step", [1, 2, 5, 6, 7, 9, 12, 13, 14, 15, 16, 17, 18, 19])
def test_a_death_at_any_step_changes_nothing(
    whole, account, file, owner, small_steps, monkeypatch, time, settings, step, told
):
    row = receive(account, file, owner).row
    with monkeypatch.context() as patches:
        killed_at(patches, step, told=told)
        with pytest.raises(Killed):
            statement_import.attend(row.pk)
    row.refresh_from_db()
    assert row.finished_at is None
    # Nobody else may have it before its lease is over, then the sweep has it.
    statement_import.attend(row.pk)
    assert figures(row)["movements"] == 0
    time.turn(settings.STATEMENT_LEASE_S + 1)
    assert statement_import.hand_out() == 1

    statement_import.attend(row.pk)

    assert (books(), figures(row)) == (whole, FIGURES)
    assert statement_import.hand_out() == 0


class Queries:
    """Counts them; kills the process that asks when so many were asked."""

    ENDS = ("ROLLBACK", "RELEASE", "SAVEPOINT")  # of what the dead one held

    def __init__(self, most=None):
        self.most, self.count = most, 0

    def __call__(self, execute, sql, params, many, context):
        is_over = self.most is not None and self.count >= self.most
        if is_over and not sql.startswith(self.ENDS):
            raise Killed
        self.count += 1
        return execute(sql, params, many, context)


@pytest.mark.parametrize("percent", range(0, 100, 11))
def test_a_death_at_any_query_changes_nothing(
    whole, account, file, owner, small_steps, time, settings, percent
):
    """The first worker dies after this share of its queries, and so does the second."""
    row = receive(account, file, owner).row
    sid, all_of_them = transaction.savepoint(), Queries()
    with connection.execute_wrapper(all_of_them):
        statement_import.attend(row.pk)
    transaction.savepoint_rollback(sid)
    left = all_of_them.count
    for _ in range(2):
        queries = Queries(left * percent // 100)
        with connection.execute_wrapper(queries), contextlib.suppress(Killed):
            statement_import.attend(row.pk)
        # A statement of its own died alone; the test's transaction goes on.
        transaction.set_rollback(False)
        assert queries.count >= queries.most
        left -= queries.count
        time.turn(settings.STATEMENT_LEASE_S + 1)

    statement_import.attend(row.pk)

    assert all_of_them.count > 150
    assert (books(), figures(row)) == (whole, FIGURES)


def test_a_worker_that_was_too_slow_leaves_it_to_the_next(
    account, file, owner, small_steps, monkeypatch, time, settings, caplog
):
    row = receive(account, file, owner).row
    original = statement_booking.receipt_batches.sight_all
    begun = []

    def slow(*told):
        begun.append(told)
        if len(begun) == 2:
            time.turn(settings.STATEMENT_LEASE_S + 1)
            statement_import.attend(row.pk)
        return original(*told)

    monkeypatch.setattr(statement_booking.receipt_batches, "sight_all", slow)
    statement_import.attend(row.pk)

    assert figures(row) == FIGURES
    assert "was taken over" in caplog.text
    # The first one ended after the step that it was at.
    assert len(begun) == 1 + 1 + 5


# Failures.


@pytest.fixture
def broken(monkeypatch):
    def breaks(row, told):
        raise RuntimeError("a bug")

    monkeypatch.setattr(statement_booking.receipt_batches, "sight_all", breaks)


def test_one_that_breaks_is_tried_later_and_then_stops(
    account, file, owner, broken, time, settings, tasks, caplog
):
    row = receive(account, file, owner).row

    for wait_s in settings.STATEMENT_BACKOFF_S:
        statement_import.attend(row.pk)
        row.refresh_from_db()
        assert row.next_try_at == time.now + timedelta(seconds=wait_s)
        assert (IMPORT_TASK, (row.pk,), row.next_try_at) in tasks()
        statement_import.attend(row.pk)  # too soon
        time.turn(wait_s)
    statement_import.attend(row.pk)

    row.refresh_from_db()
    assert (row.next_try_at, row.finished_at) == (None, None)
    assert row.error == statement_import.BROKE_OFF
    assert statement_import.hand_out() == 0
    assert caplog.text.count("broke off") == 1 + len(settings.STATEMENT_BACKOFF_S)


def test_one_that_kills_each_worker_stops(
    account, file, owner, monkeypatch, time, settings
):
    def kills(lease):
        raise Killed

    monkeypatch.setattr(statement_import, "_work", kills)
    row = receive(account, file, owner).row
    deaths = 0
    while statement_import.hand_out():
        try:
            statement_import.attend(row.pk)
        except Killed:
            deaths += 1
        time.turn(settings.STATEMENT_LEASE_S + 1)
        assert deaths < 10

    row.refresh_from_db()
    assert deaths == len(settings.STATEMENT_BACKOFF_S) + 1
    assert (row.next_try_at, row.error) == (None, statement_import.BROKE_OFF)


def test_one_that_stopped_is_tried_again_by_a_person(
    account, file, owner, whole, monkeypatch, time, tasks
):
    row = receive(account, file, owner).row
    stopped = {"next_try_at": None, "error": "It broke off.", "attempts": 4}
    StatementImport.objects.update(**stopped)

    assert statement_import.try_again(row)

    assert [one for one in tasks() if one[0] == IMPORT_TASK][1:] == [
        (IMPORT_TASK, (row.pk,), time.now)
    ]
    statement_import.attend(row.pk)
    assert (books(), figures(row), row.error) == (whole, FIGURES, "")
    assert not statement_import.try_again(row)


def test_one_that_stopped_is_tried_again_by_its_file(account, file, owner, whole):
    row = receive(account, file, owner).row
    StatementImport.objects.update(next_try_at=None, error="It broke off.", attempts=4)

    again = receive(account, file, owner)

    assert (again.row, again.is_new) == (row, False)
    statement_import.attend(row.pk)
    assert (books(), figures(row), row.error) == (whole, FIGURES, "")


def test_what_was_imported_before_files_were_kept_is_kept_when_it_comes_again(
    account, file, owner, whole
):
    row = StatementImport.objects.create(
        account=account, file_name="old.csv", imported_by=owner,
        imported_at=clock.now(), file_hash=hashlib.sha256(file).hexdigest(),
    )  # fmt: skip
    assert not statement_import.try_again(row)

    receive(account, file, owner)
    statement_import.attend(row.pk)

    assert (books(), figures(row)) == (whole, FIGURES)


@pytest.mark.parametrize("write", [as_csv, as_xlsx], ids=["csv", "xlsx"])
def test_what_only_the_worker_sees_stops_it_in_words(
    account, owner, write, monkeypatch
):
    monkeypatch.setattr("payments.statements.GLANCED", 1)
    monkeypatch.setattr("payments.spreadsheets.ROW_LIMIT", 8)
    rows = [paid(f"UAE5B2K{n:03}", AT) for n in range(2)]
    data = write(account, DAY, NEXT, *rows, *[sweep("UAE5SWEEP1", AT)] * 9)
    if write is as_csv:
        with pytest.raises(UnreadableFile):
            receive(account, data, owner)
        return
    row = receive(account, data, owner).row

    statement_import.attend(row.pk)

    row.refresh_from_db()
    assert (row.stage, row.next_try_at, row.finished_at) == ("new", None, None)
    assert row.error == "This file has more than 8 rows. Export a shorter time."
    assert Receipt.objects.count() == 0
