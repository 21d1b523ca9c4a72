"""Statements: what they make, what they fill, and what they must leave alone."""

import csv
import io
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from payments import (
    accounts,
    drawer,
    gateways,
    matching,
    receipts,
    refunds,
    retention,
    reversals,
    settlement,
    statement_booking,
    statement_import,
)
from payments.enums import Source
from payments.models import (
    Collection,
    Movement,
    MpesaSettings,
    Payment,
    Receipt,
    Refund,
    Sighting,
    StatementImport,
)
from payments.receipts import Told
from payments.spreadsheets import UnreadableFile
from payments.statement_import import NotThisAccount
from shops.tenancy import Access
from smartduka.lib import clock
from tests.factories import MpesaAccountFactory, OrderFactory, PaymentFactory
from tests.payments.conftest import START
from tests.support.facts import (
    money_of,
    nothing_changes,
    path_of,
    sale_of,
)
from tests.support.organisation import FakeOrganisation
from tests.support.statements import (
    HEADER,
    as_csv,
    as_xlsx,
    back,
    charge,
    line,
    paid,
    preamble,
    stamp,
    sweep,
)


pytestmark = pytest.mark.django_db

NUMBER = "UAE5B2K9QT"
OTHER = "UAE5B2K9QU"
DAY = START.replace(hour=0) - timedelta(hours=3)  # midnight in Nairobi
NEXT = DAY + timedelta(days=1)
AT = START + timedelta(seconds=30)


@pytest.fixture
def account(duka, mpesa, time):
    return accounts.platform_account()


@pytest.fixture
def owner(alice):
    return alice.user


@pytest.fixture
def load(account, owner, time):
    """Import rows as the statement of the day, downloaded the next morning."""

    def load(*rows, of=account, since=DAY, until=NEXT, write=as_csv, name="day.csv"):
        time.now = max(time.now, until + timedelta(hours=6))
        data = write(of, since, until, *rows)
        return statement_import.imported(
            account=of or account, data=data, file_name=name, actor=owner
        )

    return load


def queried(payment):
    """M-Pesa answers that it was paid, without a receipt."""
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        settlement.record_success(order, held, settlement.Proof(Source.QUERY))


def called_back(payment, number=NUMBER, at=AT):
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        proof = settlement.Proof(Source.CALLBACK, number, payment.phone, at)
        settlement.record_success(order, held, proof)
    return Collection.objects.get(receipt=number)


def counts(row):
    return {
        name: getattr(row, name)
        for name in ("payments", "new_receipts", "filled", "movements", "disputed")
    }


def money():
    """Every collection: source, receipt, amount, and where it went."""
    return [
        (
            one.source, one.receipt, one.amount, one.payment_id, one.shop_id,
            [(a.kind, a.amount) for a in one.allocations.all()],
        )
        for one in Collection.objects.order_by("pk")
    ]  # fmt: skip


def every_row():
    """All that imports write, so that a second one can be seen to write nothing."""
    models = (StatementImport, Movement, Receipt, Sighting, Refund)
    return [list(model.objects.order_by("pk").values()) for model in models]


# Payments.


@pytest.mark.parametrize("write", [as_csv, as_xlsx], ids=["csv", "xlsx"])
def test_a_row_fills_the_receipt_that_is_missing(load, payment, order, write):
    queried(payment)

    row = load(paid(NUMBER, AT, reference=payment.reference), write=write)

    assert counts(row) == {
        "payments": 1, "new_receipts": 1, "filled": 1, "movements": 0, "disputed": 0,
    }  # fmt: skip
    assert money_of(order) == [("query", NUMBER, 250, [("sale", 250)])]
    assert sale_of(order) == ("paid", 250, 0, 0)
    payment.refresh_from_db()
    assert (payment.receipt, path_of(payment)) == (
        NUMBER, ["created", "pending", "completed"],
    )  # fmt: skip
    last = payment.events.last()
    assert (last.source, last.reason) == ("statement", f"Receipt {NUMBER} filled in")


def test_a_row_of_an_undecided_payment_pays_it(load, payment, order):
    load(paid(NUMBER, AT, reference=payment.reference))

    assert money_of(order) == [("statement", NUMBER, 250, [("sale", 250)])]
    assert sale_of(order) == ("paid", 250, 0, 0)
    assert path_of(payment) == ["created", "pending", "completed"]


def test_a_row_that_is_nobodys_is_unmatched_money(load, account):
    row = load(paid(NUMBER, AT, "75.50", reference="MAMA"))

    assert money() == [("statement", NUMBER, Decimal("75.50"), None, None, [])]
    assert counts(row) == {
        "payments": 1, "new_receipts": 1, "filled": 0, "movements": 0, "disputed": 0,
    }  # fmt: skip
    receipt = Receipt.objects.get()
    assert (receipt.state, receipt.is_proven, receipt.paid_at) == ("counted", True, AT)
    told = Sighting.objects.get()
    assert (told.source, told.statement, told.amount) == (
        "statement", row, Decimal("75.50"),
    )  # fmt: skip


def test_a_row_that_a_callback_told_confirms_it(load, payment, order):
    collection = called_back(payment)
    assert collection.confirmed_at is None

    row = load(paid(NUMBER, AT, reference=payment.reference))

    collection.refresh_from_db()
    assert collection.confirmed_at is not None
    assert money_of(order) == [("callback", NUMBER, 250, [("sale", 250)])]
    assert counts(row) == {
        "payments": 1, "new_receipts": 0, "filled": 0, "movements": 0, "disputed": 0,
    }  # fmt: skip


def test_a_masked_number_never_replaces_a_full_one(load, payment):
    collection = called_back(payment)

    load(paid(NUMBER, AT, payer="2547****5678 - JANE"))

    collection.refresh_from_db()
    assert collection.phone == payment.phone


def test_a_row_confirms_what_the_c2b_address_claimed(load, account):
    with transaction.atomic():
        claim = receipts.sight(
            account, Told(NUMBER, Decimal(250), reference="MAMA"), Source.C2B
        )
    matching.resolve(claim.pk)
    assert money() == []

    row = load(paid(NUMBER, AT, reference="MAMA"))

    assert money() == [("statement", NUMBER, 250, None, None, [])]
    assert row.new_receipts == 0


def test_two_receipts_of_two_equal_payments_are_both_told_first(load, duka, time):
    """Neither names its payment: which is whose does not matter, that both are does."""
    payments = [
        PaymentFactory(order=OrderFactory(shop=duka), phone="254712345678")
        for _ in range(2)
    ]
    for payment in payments:
        queried(payment)

    row = load(
        line(OTHER, AT, "Pay Bill Online", paid="250.00", other="254712345678 - JANE"),
        line(NUMBER, AT, "Pay Bill Online", paid="250.00", other="254712345678 - JANE"),
    )

    found = {one.receipt for one in Collection.objects.all()}
    assert found == {NUMBER, OTHER}
    assert (row.filled, row.disputed) == (2, 0)
    assert set(Payment.objects.values_list("receipt", flat=True)) == {NUMBER, OTHER}


# What is no payment.


def test_charges_and_sweeps_are_movements_and_never_money(load, account):
    row = load(
        paid(NUMBER, AT, reference="MAMA"),
        charge(NUMBER, AT),
        sweep("UAE5SWEEP1", AT + timedelta(hours=2)),
        line("UAE5OTHER9", AT, "Float purchase", paid="40.00"),
    )

    assert row.movements == 3
    moved = Movement.objects.order_by("kind")
    assert [(m.kind, m.number, m.amount, m.linked, m.at) for m in moved] == [
        ("charge", NUMBER, -5, "", AT),
        ("other", "UAE5OTHER9", 40, "", AT),
        ("sweep", "UAE5SWEEP1", -900, "", AT + timedelta(hours=2)),
    ]
    assert {m.statement for m in moved} == {row}
    assert [one.receipt for one in Collection.objects.all()] == [NUMBER]
    assert [one.number for one in Receipt.objects.all()] == [NUMBER]


def test_withdrawn_and_unfinished_rows_make_nothing(load):
    with nothing_changes():
        row = load(
            line(NUMBER, AT, "Pay Bill Online", gone="250.00"),
            paid(OTHER, AT, status="Failed"),
        )

    assert counts(row) == {
        "payments": 0, "new_receipts": 0, "filled": 0, "movements": 1, "disputed": 0,
    }  # fmt: skip
    assert (Receipt.objects.count(), Collection.objects.count()) == (0, 0)


def test_bad_rows_are_told_by_line_and_spoil_no_other(load):
    row = load(
        paid(NUMBER, AT, reference="MAMA"),
        paid(OTHER, AT, "free", reference="MAMA"),
    )

    assert row.bad_rows == [
        {"line": 7, "reason": "the amount paid in is no sum of money"}
    ]
    assert [one.receipt for one in Collection.objects.all()] == [NUMBER]
    # What was not read may be anything: such a file is complete for no time.
    assert (row.covers_from, row.covers_to) == (None, None)


# Reversals.


def test_a_reversal_row_proves_that_its_original_went_back(load, payment, order):
    collection = called_back(payment)
    gone_at = AT + timedelta(hours=1)

    row = load(
        paid(NUMBER, AT, reference=payment.reference),
        back("UAE9BACK01", gone_at, NUMBER),
    )

    collection.refresh_from_db()
    assert collection.reversed_at == gone_at
    assert path_of(payment) == ["created", "pending", "completed", "reversed"]
    assert sale_of(order) == ("refunded", 250, 0, 0)
    [moved] = Movement.objects.all()
    assert (moved.kind, moved.number, moved.linked, moved.amount) == (
        "reversal", "UAE9BACK01", NUMBER, -250,
    )  # fmt: skip
    [refund] = Refund.objects.all()
    assert (refund.state, refund.receipt, refund.amount) == ("done", "UAE9BACK01", 250)
    assert (row.payments, row.movements, row.disputed) == (1, 1, 0)


def test_a_reversal_of_a_payment_that_only_the_statement_has(load):
    load(
        back("UAE9BACK01", AT + timedelta(hours=1), NUMBER),
        paid(NUMBER, AT, reference="MAMA"),
    )

    [collection] = Collection.objects.all()
    kinds = [a.kind for a in collection.allocations.exclude(released_by__isnull=False)]
    assert collection.reversed_at == AT + timedelta(hours=1)
    assert "refunded" in kinds


def test_a_reversal_waits_until_its_original_is_known(load, payment, order):
    load(back("UAE9BACK01", AT + timedelta(hours=1), NUMBER))
    with nothing_changes():
        statement_import.catch_up()
    called_back(payment)

    statement_import.catch_up()

    assert path_of(payment)[-1] == "reversed"
    assert sale_of(order)[0] == "refunded"
    with nothing_changes():
        statement_import.catch_up()


@pytest.fixture
def unnamed():
    """A reversal row that does not say what it undoes."""
    return line(
        "UAE9BACK01", AT + timedelta(hours=1), "Pay Bill Reversal to 2547****5678",
        gone="-250.00", reason="Pay Bill Reversal",
    )  # fmt: skip


def test_a_reversal_that_names_no_original_is_for_a_person(load, payment, unnamed):
    collection = called_back(payment)
    rows = (paid(NUMBER, AT, reference=payment.reference), unnamed)

    row = load(*rows)

    assert row.bad_rows == [
        {
            "line": 7,
            "reason": "KES 250 went back (UAE9BACK01), and the row does not name the"
            " payment: look in M-Pesa's portal",
        }
    ]
    # The file is complete all the same, and nothing is undone.
    assert (row.covers_to, counts(row)) == (
        NEXT,
        {"payments": 1, "new_receipts": 0, "filled": 0, "movements": 1, "disputed": 0},
    )
    collection.refresh_from_db()
    assert (collection.reversed_at, path_of(payment)[-1]) == (None, "completed")
    assert load(*rows).bad_rows == row.bad_rows


def test_a_refund_of_ours_without_its_original_is_no_news(load, payment, unnamed):
    collection = called_back(payment)
    reversals.prove_reversed(
        collection, receipt="UAE9BACK01", source=Source.STATUS, at=AT
    )

    row = load(paid(NUMBER, AT, reference=payment.reference), unnamed)

    assert (row.bad_rows, row.movements) == ([], 1)


def test_a_partial_reversal_is_told_and_undoes_nothing(load, payment, order):
    collection = called_back(payment)

    row = load(
        paid(NUMBER, AT, reference=payment.reference),
        back("UAE9BACK01", AT + timedelta(hours=1), NUMBER, amount="100.00"),
    )

    collection.refresh_from_db()
    assert collection.reversed_at is None
    assert collection.disputed == (
        "M-Pesa's statement says that KES 100 of KES 250 went back."
    )
    assert sale_of(order) == ("paid", 250, 0, 0)
    assert row.disputed == 1


def test_parts_that_make_the_whole_are_told_too(load, payment, order):
    collection = called_back(payment)

    row = load(
        paid(NUMBER, AT, reference=payment.reference),
        back("UAE9BACK01", AT + timedelta(hours=1), NUMBER, amount="100.00"),
        back("UAE9BACK02", AT + timedelta(hours=2), NUMBER, amount="150.00"),
    )

    collection.refresh_from_db()
    assert (collection.reversed_at, collection.disputed) == (
        None, "M-Pesa's statement says that KES 250 of KES 250 went back.",
    )  # fmt: skip
    assert (sale_of(order), row.disputed) == (("paid", 250, 0, 0), 1)


def short(of, since, until, *rows):
    """An export without the columns after the balance."""
    out = io.StringIO()
    lines = [*preamble(of, since, until), HEADER[:8], *(row[:8] for row in rows)]
    csv.writer(out).writerows(lines)
    return out.getvalue().encode()


def test_a_fuller_file_says_what_a_reversal_undoes(load, payment):
    collection = called_back(payment)
    rows = (
        paid(NUMBER, AT, reference=payment.reference),
        back("UAE9BACK01", AT + timedelta(hours=1), NUMBER),
    )
    assert len(load(*rows, write=short).bad_rows) == 1
    collection.refresh_from_db()
    assert collection.reversed_at is None

    load(*rows)

    collection.refresh_from_db()
    assert collection.reversed_at == AT + timedelta(hours=1)
    [moved] = Movement.objects.all()
    assert (moved.number, moved.linked) == ("UAE9BACK01", NUMBER)


def test_a_fuller_file_says_which_payment_was_meant(load, payment, order):
    row = paid(NUMBER, AT, payer="2547****0000 - JOE", reference=payment.reference)
    load(row, write=short)
    [money_] = Collection.objects.all()
    assert (money_.payment, sale_of(order)[0]) == (None, "open")

    second = load(row)

    money_.refresh_from_db()
    assert (money_.payment, sale_of(order)) == (payment, ("paid", 250, 0, 0))
    assert counts(second) == {
        "payments": 1, "new_receipts": 0, "filled": 0, "movements": 0, "disputed": 0,
    }  # fmt: skip
    before = every_row()[1:]
    with nothing_changes():
        load(row, write=as_xlsx)
    assert every_row()[1:] == before


def test_a_fuller_file_takes_what_a_person_used(
    load, payment, order, operator, alice, duka
):
    """Only the full export names the payment, whose push was never answered."""
    Payment.objects.update(checkout_request_id=None)
    row = paid(NUMBER, AT, payer="2547****0000 - JOE", reference=payment.reference)
    load(row, write=short)
    [money_] = Collection.objects.all()
    other = OrderFactory(shop=duka, total=250)
    drawer.hand_to_shop(operator.user, money_, duka)
    drawer.apply(
        access=Access(alice.user, duka, "owner"),
        piece=f"collection:{money_.pk}",
        order_id=other.pk,
        reason="It is hers",
    )
    assert (sale_of(order)[0], sale_of(other)[0]) == ("open", "paid")

    load(row)

    money_.refresh_from_db()
    assert (money_.payment, sale_of(order)) == (payment, ("paid", 250, 0, 0))


def test_what_was_masked_since_is_not_told_again(load, payment, settings, time):
    settings.RETENTION_DAYS = 30
    row = paid(NUMBER, AT, payer="2547****0000 - JOE", reference="WATER")
    load(row)
    time.turn(31 * 86400)
    retention.mask()
    [told] = Receipt.objects.all()
    assert (told.payer, told.payer_name, told.reference) == ("", "", "")

    load(row, write=as_xlsx)

    told.refresh_from_db()
    assert (told.payer, told.payer_name, told.reference) == ("", "", "")


def test_times_without_seconds_book_no_movement_twice(load):
    """A spreadsheet that saves a CSV anew leaves the seconds out."""
    at = AT + timedelta(seconds=7)
    load(charge(NUMBER, at), sweep(OTHER, at))

    again = load(
        *(row[:1] + (stamp(at)[:-3],) * 2 + row[3:]
          for row in (charge(NUMBER, at), sweep(OTHER, at))),
    )  # fmt: skip

    assert (again.bad_rows, again.movements, Movement.objects.count()) == ([], 0, 2)


def test_a_row_confirms_a_claim_that_paid_a_sale(load, account, duka, order):
    """It was counted on its notice's word, and looked at, before its statement."""
    MpesaSettings.objects.update(claimed_limit=1000)
    payment = PaymentFactory(order=order, checkout_request_id=None)
    with transaction.atomic():
        told = Told(NUMBER, Decimal(250), reference=payment.reference)
        receipt = receipts.sight(account, told, Source.C2B)
    assert matching.look(receipt.pk) == "counted"
    matching.look(receipt.pk)
    assert (matching.due(9), sale_of(order)[0]) == ([], "paid")
    assert Collection.objects.get().confirmed_at is None

    load(paid(NUMBER, AT, reference=payment.reference))

    assert Collection.objects.get().confirmed_at == clock.now()


def test_a_reversal_that_is_pending_in_the_statement_is_not_missing(
    load, payment, mary, monkeypatch
):
    fake = FakeOrganisation()
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    refund = refunds.ask(
        access=Access(mary.user, mary.shop, "manager"), method="reversal", amount=250,
        collection_id=called_back(payment).pk, reason="Worn", restocks=False,
    )  # fmt: skip
    pending = line(
        "UAE9BACK01", AT, "Pay Bill Reversal", gone="-250.00", linked=NUMBER,
        status="Pending",
    )  # fmt: skip
    rows = (paid(NUMBER, AT), paid(OTHER, AT + timedelta(hours=3)))

    row = load(*rows, pending)

    refund.refresh_from_db()
    assert (refund.state, len(row.bad_rows), row.covers_to) == ("sending", 1, None)
    load(*rows)  # as if it had never been there
    refund.refresh_from_db()
    assert refund.state == "failed"


def test_one_broken_reversal_leaves_the_others(load, payment, monkeypatch, caplog):
    called_back(payment)
    original = reversals.prove_reversed

    def broken(collection_id, **said):
        if said["receipt"] == "UAE9BACK01":
            raise RuntimeError("a bug")
        return original(collection_id, **said)

    monkeypatch.setattr(reversals, "prove_reversed", broken)
    row = load(
        paid(OTHER, AT, reference="MAMA"),
        back("UAE9BACK01", AT + timedelta(hours=1), NUMBER),
        back("UAE9BACK02", AT + timedelta(hours=1), OTHER),
    )

    assert row.finished_at is not None
    reversed_ = Collection.objects.filter(reversed_at__isnull=False)
    assert [one.receipt for one in reversed_] == [OTHER]
    monkeypatch.setattr(reversals, "prove_reversed", original)
    statement_import.catch_up()
    assert reversed_.all().count() == 2
    assert "could not be booked" in caplog.text


# Once.


def test_the_same_file_again_changes_nothing(load, payment):
    queried(payment)
    rows = [
        paid(NUMBER, AT, reference=payment.reference),
        charge(NUMBER, AT),
        back("UAE9BACK01", AT + timedelta(hours=1), NUMBER),
    ]
    first = load(*rows)
    before = every_row()

    with nothing_changes():
        again = load(*rows, name="copy.csv")

    assert again == first
    assert again.file_name == "day.csv"
    assert every_row() == before


def test_the_same_rows_in_another_file_change_nothing(load, payment):
    queried(payment)
    rows = [paid(NUMBER, AT, reference=payment.reference), charge(NUMBER, AT)]
    load(*rows)
    before = every_row()[1:]

    with nothing_changes():
        second = load(*rows, write=as_xlsx, name="day.xlsx")

    assert counts(second) == {
        "payments": 1, "new_receipts": 0, "filled": 0, "movements": 0, "disputed": 0,
    }  # fmt: skip
    assert every_row()[1:] == before


def test_an_overlapping_file_brings_only_what_is_new(load, payment):
    called_back(payment)
    load(paid(NUMBER, AT), charge(NUMBER, AT))
    money_before = money()

    row = load(
        paid(OTHER, AT + timedelta(hours=20), "80.00", reference="MAMA"),
        paid(NUMBER, AT),
        charge(NUMBER, AT),
        charge(OTHER, AT + timedelta(hours=20)),
        until=NEXT + timedelta(days=1),
    )

    assert counts(row) == {
        "payments": 2, "new_receipts": 1, "filled": 0, "movements": 1, "disputed": 0,
    }  # fmt: skip
    assert money() == [*money_before, ("statement", OTHER, 80, None, None, [])]


@pytest.fixture
def broken_off(load, payment, monkeypatch):
    """An import that died when it kept its second payment, and its file."""
    queried(payment)
    rows = [
        paid(NUMBER, AT, reference=payment.reference),
        paid(OTHER, AT, "80.00", reference="MAMA"),
        charge(NUMBER, AT),
    ]
    original = receipts.merge

    def dies_at_the_second(receipt, told, source, now):
        if told.number == OTHER:
            raise KeyboardInterrupt
        return original(receipt, told, source, now)

    with monkeypatch.context() as patches:
        patches.setattr(receipts, "merge", dies_at_the_second)
        patches.setattr(statement_booking, "TOLD_AT_ONCE", 1)
        with pytest.raises(KeyboardInterrupt):
            load(*rows)
    [half] = StatementImport.objects.all()
    assert half.finished_at is None
    assert [one.number for one in Receipt.objects.all()] == [NUMBER]
    assert Movement.objects.count() == 0
    return half, as_csv(half.account, DAY, NEXT, *rows)


def is_whole(row):
    row.refresh_from_db()
    assert row.finished_at is not None
    assert counts(row) == {
        "payments": 2, "new_receipts": 2, "filled": 1, "movements": 1, "disputed": 0,
    }  # fmt: skip
    assert {one.receipt for one in Collection.objects.all()} == {NUMBER, OTHER}


def test_an_import_that_broke_off_is_finished_by_the_same_file(broken_off):
    half, file = broken_off

    done = statement_import.imported(
        account=half.account, data=file, file_name="x.csv", actor=half.imported_by
    )

    assert done == half
    is_whole(half)


def test_an_import_that_broke_off_is_finished_by_the_sweep(broken_off, time, settings):
    half, _ = broken_off
    assert statement_import.hand_out() == 0
    time.turn(settings.STATEMENT_LEASE_S)

    assert statement_import.hand_out() == 1
    statement_import.attend(half.pk)

    is_whole(half)


def test_a_receipt_that_cannot_be_resolved_is_kept_for_the_sweep(
    load, payment, monkeypatch, caplog
):
    def breaks(receipt_id):
        raise RuntimeError("a bug")

    monkeypatch.setattr(matching, "resolve", breaks)
    row = load(paid(NUMBER, AT, reference="MAMA"))
    monkeypatch.undo()

    assert row.finished_at is not None
    receipt = Receipt.objects.get()
    assert (receipt.state, receipt.collection) == ("held", None)
    assert receipt.look_at > clock.now() - timedelta(days=400)
    assert matching.look(receipt.pk) == "counted"


# Refused.


def test_a_file_of_another_account_is_refused(load, account):
    other = MpesaAccountFactory()
    with nothing_changes(), pytest.raises(NotThisAccount) as caught:
        statement_import.imported(
            account=account,
            data=as_csv(other, DAY, NEXT, paid(NUMBER, AT)),
            file_name="x.csv",
            actor=None,
        )

    assert caught.value.message == (
        "This statement is of 600200, not of Paybill 600100. Nothing was imported."
    )
    assert (StatementImport.objects.count(), Receipt.objects.count()) == (0, 0)


def test_a_file_without_a_number_is_refused_if_its_payments_went_elsewhere(
    load, payment, owner
):
    called_back(payment)
    other = MpesaAccountFactory()

    with pytest.raises(NotThisAccount):
        statement_import.imported(
            account=other,
            data=as_csv(None, DAY, NEXT, paid(NUMBER, AT)),
            file_name="x.csv",
            actor=owner,
        )

    assert StatementImport.objects.count() == 0


def test_a_file_without_a_number_is_complete_for_no_time(load, account):
    row = load(paid(NUMBER, AT, reference="MAMA"), of=None)

    assert (row.account, row.payments) == (account, 1)
    assert (row.covers_from, row.covers_to) == (None, None)


def test_an_account_of_another_environment_is_refused(owner):
    account = MpesaAccountFactory(environment="production")

    with pytest.raises(NotThisAccount):
        statement_import.imported(
            account=account,
            data=as_csv(account, DAY, NEXT, paid(NUMBER, AT)),
            file_name="x.csv",
            actor=owner,
        )

    assert StatementImport.objects.count() == 0


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7", b"Receipt No.,Paid In\n"])
def test_an_unreadable_file_leaves_nothing(account, owner, data):
    with pytest.raises(UnreadableFile) as caught:
        statement_import.imported(
            account=account, data=data, file_name="x.csv", actor=owner
        )

    assert caught.value.message
    assert StatementImport.objects.count() == 0
