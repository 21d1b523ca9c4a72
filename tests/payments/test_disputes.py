"""What M-Pesa's statement does not have, and how two people correct our books."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from orders import lifecycle as order_lifecycle
from payments import (
    accounts,
    cash,
    corrections,
    direct,
    disputes,
    drawer,
    ledger,
    matching,
    receipts,
    refunds,
    settlement,
    statement_import,
)
from payments.corrections import (
    CorrectionDecided,
    CorrectionWaits,
    MoreThanThere,
    NotDisputed,
    SamePerson,
)
from payments.enums import Source
from payments.models import Collection, Correction, StatementImport
from payments.receipts import Told
from payments.refunds import Operator
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.errors import Forbidden, InvalidRequest, NotFound
from tests.factories import OrderFactory, PaymentFactory, UserFactory
from tests.payments.conftest import START
from tests.support.facts import nothing_changes, path_of, sale_of
from tests.support.statements import as_csv, back, charge, paid


pytestmark = pytest.mark.django_db

NUMBER = "UAE5B2K9QT"
OTHER = "UAE5B2K9QU"
DAY = START.replace(hour=0) - timedelta(hours=3)  # midnight in Nairobi
NEXT = DAY + timedelta(days=1)
AT = START + timedelta(seconds=30)
# Somebody else's payment, late in the day: so the file was not downloaded early.
LAST = paid("UAE5LAST00", NEXT - timedelta(minutes=5), "70.00", reference="MAMA")


@pytest.fixture
def account(duka, mpesa, time):
    return accounts.platform_account()


@pytest.fixture
def owner(alice):
    return Access(alice.user, alice.shop, "owner")


@pytest.fixture
def manager(mary):
    return Access(mary.user, mary.shop, "manager")


@pytest.fixture
def load(account, alice, time):
    def load(*rows, since=DAY, until=NEXT, of=account, after=timedelta(hours=6)):
        time.now = max(time.now, until + after)
        return statement_import.imported(
            account=account,
            data=as_csv(of, since, until, *rows),
            file_name="day.csv",
            actor=alice.user,
        )

    return load


def queried(payment):
    """M-Pesa answers that it was paid, without a receipt."""
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        settlement.record_success(order, held, settlement.Proof(Source.QUERY))
    return Collection.objects.get(payment=payment)


def called_back(payment, number=NUMBER, at=AT):
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        proof = settlement.Proof(Source.CALLBACK, number, payment.phone, at)
        settlement.record_success(order, held, proof)
    return Collection.objects.get(payment=payment)


def stands(collection):
    """Return what the dispute says, and the payment's alarm and last event."""
    collection.refresh_from_db()
    payment = collection.payment
    payment.refresh_from_db()
    last = payment.events.last()
    return collection.disputed, payment.alarm, (last.source, last.reason)


DISPUTED = (disputes.MISSING, disputes.ALARM, ("statement", disputes.MISSING))


def portions(collection):
    """Return what the money is for now; what is left over is unmatched."""
    collection.refresh_from_db()
    found = {}
    for one in ledger.current(collection):
        found[one.kind] = found.get(one.kind, 0) + one.amount
    assert sum(found.values()) == collection.allocated
    rest = collection.amount - collection.allocated
    return found | ({"unmatched": rest} if rest else {})


# What a statement has the time of.


def test_a_whole_file_covers_its_time(load):
    row = load(LAST)

    assert (row.covers_from, row.covers_to) == (DAY, NEXT)


def test_a_file_whose_time_is_not_over_covers_until_now(load):
    row = load(paid(NUMBER, AT, reference="MAMA"), after=timedelta(hours=-6))

    assert (row.covers_from, row.covers_to) == (DAY, NEXT - timedelta(hours=6))


@pytest.mark.parametrize("how", ["told by hand", "answered"])
def test_any_word_of_mpesas_shows_an_early_download(load, payment, account, how):
    """Also one without a receipt, or that nobody counted."""
    last = START - timedelta(hours=3)
    if how == "answered":
        queried(payment)
    else:
        with transaction.atomic():
            told = Told(NUMBER, Decimal(70), reference="MAMA", paid_at=AT)
            receipts.sight(account, told, Source.C2B)

    row = load(paid(OTHER, last, "70.00", reference="MAMA"))

    assert (row.covers_to, row.disputed) == (last + timedelta(seconds=1), 0)


def test_a_file_that_was_downloaded_early_covers_what_it_shows(load, payment):
    """M-Pesa told of a payment after its last row: it was not there yet."""
    called_back(payment, at=AT + timedelta(hours=5))

    row = load(paid(OTHER, AT, reference="MAMA"))

    assert (row.covers_from, row.covers_to) == (DAY, AT + timedelta(seconds=1))
    assert row.disputed == 0


@pytest.mark.parametrize(
    "rows",
    [(), (charge(NUMBER, AT),), (LAST, paid(OTHER, AT, "free"))],
    ids=["no rows", "another purse", "a bad row"],
)
def test_a_file_that_may_lack_payments_covers_nothing(load, payment, rows):
    collection = queried(payment)

    row = load(*rows)

    assert (row.covers_from, row.covers_to, row.disputed) == (None, None, 0)
    assert collection.disputed == ""


# Disputes.


def test_money_without_a_receipt_that_no_statement_has(load, payment, order):
    collection = queried(payment)

    row = load(LAST)

    assert stands(collection) == DISPUTED
    assert row.disputed == 1
    assert disputes.disputed_in(row) == [collection]
    # Nothing is undone by a dispute.
    assert sale_of(order) == ("paid", 250, 0, 0)
    assert path_of(payment) == ["created", "pending", "completed"]
    assert portions(collection) == {"sale": 250}


def test_money_with_a_receipt_that_no_statement_has(load, payment):
    collection = called_back(payment)

    load(LAST)

    assert stands(collection) == DISPUTED


def test_money_with_another_amount(load, payment, account):
    collection = called_back(payment)

    row = load(LAST, paid(NUMBER, AT, "205.00", reference="MAMA"))

    why = "We counted KES 250, M-Pesa's statement has KES 205."
    assert stands(collection) == (why, disputes.ALARM, ("statement", why))
    assert row.disputed == 1
    assert Collection.objects.filter(receipt=NUMBER).get().amount == 250


def test_an_alarm_that_was_there_stays(load, payment):
    collection = queried(payment)
    type(payment).objects.update(alarm="Something else.")

    load(LAST)

    assert stands(collection)[:2] == (disputes.MISSING, "Something else.")


def test_the_same_dispute_is_told_once(load, payment):
    queried(payment)
    load(LAST)

    with nothing_changes():
        load(LAST, since=DAY - timedelta(days=1))
        statement_import.catch_up()


@pytest.mark.parametrize(
    ("made", "is_disputed"),
    [
        (DAY + timedelta(minutes=50), False),
        (DAY + timedelta(minutes=70), True),
        (NEXT - timedelta(minutes=70), True),
        (NEXT - timedelta(minutes=50), False),
    ],
    ids=["just in", "an hour in", "an hour before its end", "just before its end"],
)
def test_money_without_a_time_is_not_judged_near_the_edges(
    load, order, time, made, is_disputed
):
    time.now = made
    collection = queried(PaymentFactory(order=order))

    load(LAST)

    collection.refresh_from_db()
    assert bool(collection.disputed) is is_disputed


@pytest.mark.parametrize(
    ("at", "is_disputed"),
    [
        (DAY - timedelta(seconds=1), False),
        (DAY, True),
        (NEXT - timedelta(minutes=6), True),
        (NEXT, False),
    ],
)
def test_money_with_a_time_is_judged_by_it(load, payment, at, is_disputed):
    collection = called_back(payment, at=at)

    load(LAST)

    collection.refresh_from_db()
    assert bool(collection.disputed) is is_disputed


def test_money_that_we_learned_of_days_later_is_of_the_day_of_its_prompt(
    load, payment, time
):
    time.turn(47 * 3600)
    collection = queried(payment)

    day_after = NEXT + timedelta(days=1)
    load(
        paid("UAE5LAST02", day_after - timedelta(minutes=5), "70.00", reference="X"),
        since=NEXT, until=day_after,
    )  # fmt: skip
    collection.refresh_from_db()
    assert collection.disputed == ""

    load(LAST)
    assert stands(collection) == DISPUTED


def test_two_statements_side_by_side_cover_what_lies_between(load, order, time):
    time.now = NEXT - timedelta(minutes=30)
    collection = queried(PaymentFactory(order=order))
    load(LAST)
    collection.refresh_from_db()
    assert collection.disputed == ""

    end = NEXT + timedelta(days=1)
    load(
        paid("UAE5LAST02", end - timedelta(minutes=5), "70.00", reference="X"),
        since=NEXT, until=end,
    )  # fmt: skip

    assert stands(collection) == DISPUTED


def test_money_whose_row_may_be_one_that_is_held_is_not_disputed(
    load, payment, duka, monkeypatch
):
    """The row is told, and what it is for is not decided: nothing is said yet."""
    collection = queried(payment)
    monkeypatch.setattr(matching, "look", lambda receipt_id: None)
    row = load(LAST, paid(NUMBER, AT, payer="254712345678 - JANE", reference=""))
    monkeypatch.undo()
    collection.refresh_from_db()
    assert collection.disputed == ""
    assert row.disputed == 0


def test_cash_is_no_business_of_a_statement(load, seller, order):
    cash.take(access=seller, order_id=order.pk, amount=250, key=None)

    with nothing_changes():
        row = load(charge(NUMBER, AT))

    assert row.disputed == 0


def test_money_of_another_account_is_not_judged(load, charlie):
    collection = queried(charlie.payment)

    load(LAST)

    collection.refresh_from_db()
    assert collection.disputed == ""


def test_a_dispute_of_the_list_that_only_may_be_in_the_time(load, account, time):
    """The list's times are in either zone: near the edge nothing is said."""
    moment = DAY + timedelta(hours=2)
    time.now = moment
    with transaction.atomic():
        told = receipts.sight(
            account, Told(NUMBER, Decimal(250), paid_at=moment), Source.PULL
        )
    matching.resolve(told.pk)

    load(LAST)

    assert Collection.objects.get(receipt=NUMBER).disputed == ""


# Cleared.


def test_a_later_statement_that_has_the_row_clears_it(load, payment):
    collection = called_back(payment)
    load(LAST)
    assert stands(collection) == DISPUTED

    row = load(LAST, paid(NUMBER, AT, reference=payment.reference))

    said = ("statement", "M-Pesa's statement and our books agree")
    assert stands(collection) == ("", "", said)
    assert row.disputed == 0


def test_a_receipt_that_comes_later_clears_it(load, payment, order):
    """Nobody looked at the row: the sweep of statements does."""
    collection = queried(payment)
    load(LAST)

    load(LAST, paid(NUMBER, AT, reference=payment.reference))

    assert stands(collection)[:2] == ("", "")
    assert collection.receipt == NUMBER
    assert sale_of(order) == ("paid", 250, 0, 0)


def test_the_sweep_disputes_what_an_import_could_not_yet(load, payment, monkeypatch):
    collection = called_back(payment)
    original = disputes.compare
    monkeypatch.setattr(disputes, "compare", lambda row, after: [])
    load(LAST)
    monkeypatch.setattr(disputes, "compare", original)

    statement_import.catch_up()

    assert stands(collection) == DISPUTED


def test_the_sweep_leaves_old_statements_alone(load, payment, time, settings):
    collection = called_back(payment)
    row = load(LAST)
    Collection.objects.update(disputed="")
    time.turn(settings.DISPUTES_REVIEWED_S + 1)

    statement_import.catch_up()

    collection.refresh_from_db()
    assert collection.disputed == ""
    assert StatementImport.objects.get() == row


# Corrections.


@pytest.fixture
def disputed(load, payment):
    """KES 250 of a sale that no statement has, and that has no receipt."""
    collection = queried(payment)
    load(LAST)
    collection.refresh_from_db()
    return collection


def ask(access, collection, amount=-250, reason="M-Pesa never had it"):
    return corrections.ask_correction(
        access=access, collection_id=collection.pk, amount=Decimal(amount),
        reason=reason,
    )  # fmt: skip


def test_two_people_take_away_what_never_was_there(
    disputed, manager, owner, order, payment, messages
):
    asked = ask(manager, disputed)
    assert (asked.state, asked.amount, asked.asked_by) == ("asked", -250, manager.user)
    assert portions(disputed) == {"sale": 250}

    booked = corrections.book(access=owner, correction_id=asked.pk)

    assert (booked.state, booked.decided_by, booked.decided_at) == (
        "booked", owner.user, clock.now(),
    )  # fmt: skip
    assert portions(disputed) == {"correction": 250}
    # The sale was paid and its goods are gone: that is not undone, it is told.
    assert sale_of(order) == ("paid", 250, 0, 0)
    assert stands(disputed)[:2] == ("", corrections.ALARM)
    reasons = [event.reason for event in payment.events.order_by("pk")]
    assert "Corrected by -KES 250: M-Pesa never had it" in reasons
    assert path_of(payment) == ["created", "pending", "completed"]
    assert messages[-1] == ("payment.updated", "completed")


def test_who_asked_does_not_book(disputed, manager):
    asked = ask(manager, disputed)

    with nothing_changes(), pytest.raises(SamePerson):
        corrections.book(access=manager, correction_id=asked.pk)

    asked.refresh_from_db()
    assert (asked.state, asked.decided_by) == ("asked", None)


def test_the_database_keeps_the_second_person(disputed, manager):
    asked = ask(manager, disputed)

    with pytest.raises(IntegrityError, match=r"two_people|CHECK"), transaction.atomic():
        Correction.objects.filter(pk=asked.pk).update(
            state="booked", decided_by=manager.user
        )


def test_a_correction_is_booked_once(disputed, manager, owner):
    asked = ask(manager, disputed)
    corrections.book(access=owner, correction_id=asked.pk)

    with nothing_changes(), pytest.raises(CorrectionDecided):
        corrections.book(access=owner, correction_id=asked.pk)
    with nothing_changes(), pytest.raises(CorrectionDecided):
        corrections.refuse(access=owner, correction_id=asked.pk)


def test_what_was_confirmed_meanwhile_is_not_corrected(disputed, manager, owner):
    asked = ask(manager, disputed)
    with transaction.atomic():
        disputes.settle(disputed, disputed.payment, "")

    with nothing_changes(), pytest.raises(corrections.NotDisputed):
        corrections.book(access=owner, correction_id=asked.pk)

    assert portions(disputed) == {"sale": 250}
    refused = corrections.refuse(access=owner, correction_id=asked.pk)
    assert refused.state == "refused"


@pytest.mark.parametrize("who", ["owner", "manager"])
def test_a_correction_is_refused_or_taken_back(request, disputed, manager, who):
    asked = ask(manager, disputed)

    with nothing_changes():
        refused = corrections.refuse(
            access=request.getfixturevalue(who), correction_id=asked.pk
        )

    assert (refused.state, disputed.disputed) == ("refused", disputes.MISSING)
    assert ask(manager, disputed).state == "asked"


def test_free_money_goes_first_then_the_sales(load, duka, manager, owner):
    payment = PaymentFactory(order=OrderFactory(shop=duka, total=100), amount=250)
    collection = called_back(payment)
    load(LAST, paid(NUMBER, AT, "60.00", reference="MAMA"))
    assert portions(collection) == {"sale": 100, "surplus": 150}

    asked = ask(manager, collection, -190)
    corrections.book(access=owner, correction_id=asked.pk)

    assert portions(collection) == {"sale": 60, "correction": 190}
    assert sale_of(payment.order) == ("paid", 100, 0, 0)
    # What is left is what M-Pesa has.
    assert stands(collection)[0] == ""


def test_a_correction_of_free_money_leaves_the_sale_alone(load, duka, manager, owner):
    payment = PaymentFactory(order=OrderFactory(shop=duka, total=100), amount=250)
    collection = called_back(payment)
    load(LAST, paid(NUMBER, AT, "205.00", reference="MAMA"))

    corrections.book(access=owner, correction_id=ask(manager, collection, -45).pk)

    assert portions(collection) == {"sale": 100, "surplus": 105, "correction": 45}
    assert sale_of(payment.order) == ("paid", 100, 0, 105)
    assert stands(collection)[:2] == ("", "")


def test_a_correction_that_does_not_settle_it_leaves_the_dispute(
    load, payment, manager, owner
):
    collection = called_back(payment)
    load(LAST, paid(NUMBER, AT, "205.00", reference="MAMA"))

    corrections.book(access=owner, correction_id=ask(manager, collection, -40).pk)

    assert stands(collection)[0] == (
        "We counted KES 210, M-Pesa's statement has KES 205."
    )


@pytest.mark.parametrize("parts", [(100,), (100, 150)])
def test_what_went_back_in_parts_is_corrected(load, payment, manager, owner, parts):
    collection = called_back(payment)
    rows = [
        back(f"UAE9BACK0{n}", AT + timedelta(hours=1), NUMBER, f"{amount}.00")
        for n, amount in enumerate(parts)
    ]
    load(LAST, paid(NUMBER, AT, reference="MAMA"), *rows)
    assert stands(collection)[0].endswith(f"KES {sum(parts)} of KES 250 went back.")

    corrections.book(
        access=owner, correction_id=ask(manager, collection, -sum(parts)).pk
    )

    assert stands(collection)[0] == ""
    assert portions(collection).get("correction") == sum(parts)
    load(LAST, since=DAY - timedelta(days=1))
    assert stands(collection)[0] == ""


def test_an_open_sale_needs_its_money_again(load, duka, manager, owner):
    payment = PaymentFactory(order=OrderFactory(shop=duka, total=600), amount=250)
    collection = queried(payment)
    load(LAST)
    assert sale_of(payment.order) == ("open", 250, 350, 0)

    corrections.book(access=owner, correction_id=ask(manager, collection).pk)

    assert sale_of(payment.order) == ("open", 0, 600, 0)
    assert portions(collection) == {"correction": 250}


def test_more_than_we_counted_becomes_money_of_nobody(load, payment, manager, owner):
    collection = called_back(payment)
    load(LAST, paid(NUMBER, AT, "300.00", reference="MAMA"))

    corrections.book(access=owner, correction_id=ask(manager, collection, 50).pk)

    more = Collection.objects.get(corrects=collection)
    assert (more.amount, more.receipt, more.payment, more.shop, more.source) == (
        50, None, None, collection.shop, "statement",
    )  # fmt: skip
    assert (more.allocated, more.account, more.phone) == (
        0, collection.account, collection.phone,
    )  # fmt: skip
    assert portions(collection) == {"sale": 250}
    assert stands(collection)[:2] == ("", "")
    # Its own row is the first one's.
    statement_import.catch_up()
    more.refresh_from_db()
    assert more.disputed == ""


def test_a_row_that_comes_after_the_correction_disputes_it_again(
    load, payment, manager, owner
):
    collection = called_back(payment)
    load(LAST)
    corrections.book(access=owner, correction_id=ask(manager, collection).pk)
    assert stands(collection)[0] == ""

    load(LAST, paid(NUMBER, AT, reference=payment.reference))

    assert stands(collection)[0] == (
        "We counted KES 0, M-Pesa's statement has KES 250."
    )


def test_money_that_is_going_back_is_not_corrected_away(disputed, manager, owner, bob):
    asked = ask(manager, disputed)
    refunds.ask(
        access=manager, collection_id=disputed.pk, method="cash", amount=100,
        reason="Did not fit", restocks=False, has_looked=True,
    )  # fmt: skip

    with nothing_changes(), pytest.raises(MoreThanThere) as caught:
        corrections.book(access=owner, correction_id=asked.pk)

    assert caught.value.message.startswith("Only KES 150 of this money is left")
    asked.refresh_from_db()
    assert asked.state == "asked"
    with pytest.raises(CorrectionWaits):
        ask(manager, disputed, -150)
    corrections.refuse(access=manager, correction_id=asked.pk)
    with pytest.raises(MoreThanThere):
        ask(manager, disputed)
    assert ask(manager, disputed, -150).amount == -150


def test_money_used_for_another_sale_is_taken_from_there(load, duka, manager, owner):
    payment = PaymentFactory(order=OrderFactory(shop=duka, total=100), amount=250)
    collection = called_back(payment)
    other = OrderFactory(shop=duka, total=400)
    with transaction.atomic():
        order_lifecycle.locked_all([payment.order_id, other.pk])
        [surplus] = ledger.current(collection).filter(kind="surplus")
        ledger.release(surplus, actor=None, reason="used")
        order_lifecycle.give_up_surplus(order_lifecycle.locked(payment.order_id), 150)
        surplus.collection.refresh_from_db()
        used = direct.pay(
            order_lifecycle.locked(other.pk), surplus.collection, Decimal(150),
            actor=manager.user, reason="used",
        )  # fmt: skip
    load(LAST)

    corrections.book(access=owner, correction_id=ask(manager, collection).pk)

    assert portions(collection) == {"correction": 250}
    assert sale_of(other) == ("open", 0, 400, 0)
    assert sale_of(payment.order) == ("paid", 100, 0, 0)
    for one in (payment, used):
        one.refresh_from_db()
        reasons = [event.reason for event in one.events.order_by("pk")]
        assert "Corrected by -KES 250: M-Pesa never had it" in reasons
        assert one.alarm == corrections.ALARM


def test_only_who_lost_money_by_a_correction_is_told_so(load, duka, manager, owner):
    """The sale that it came for had its own given back before."""
    payment = PaymentFactory(order=OrderFactory(shop=duka, total=100), amount=250)
    collection = called_back(payment)
    refunds.ask(
        access=manager, collection_id=collection.pk, method="cash", amount=100,
        reason="Worn", restocks=True,
    )  # fmt: skip
    [surplus] = ledger.current(collection).filter(kind="surplus")
    other = OrderFactory(shop=duka, total=150)
    used = drawer.apply(
        access=manager, piece=f"allocation:{surplus.pk}", order_id=other.pk, reason="x"
    )
    load(LAST)

    corrections.book(access=owner, correction_id=ask(manager, collection, -150).pk)

    assert portions(collection) == {"correction": 150, "refunded": 100}
    for one, alarm in ((used, corrections.ALARM), (payment, disputes.ALARM)):
        one.refresh_from_db()
        assert one.alarm == alarm


@pytest.mark.parametrize(
    ("amount", "reason", "refusal"),
    [
        (0, "why", InvalidRequest),
        ("0.001", "why", InvalidRequest),
        (-250, " ", InvalidRequest),
        (-251, "why", MoreThanThere),
    ],
)
def test_what_cannot_be_asked_for(disputed, manager, amount, reason, refusal):
    with pytest.raises(refusal):
        ask(manager, disputed, amount, reason)

    assert Correction.objects.count() == 0


def test_what_is_not_disputed_is_not_corrected(payment, manager, account):
    collection = queried(payment)

    with pytest.raises(NotDisputed):
        ask(manager, collection)


def test_one_correction_waits_at_a_time(disputed, manager, owner):
    ask(manager, disputed)

    with pytest.raises(CorrectionWaits):
        ask(owner, disputed, -100)

    assert Correction.objects.count() == 1


def test_only_managers_of_the_shop_correct(
    disputed, manager, charlie, seller, operator, alice, audrey
):
    asked = ask(manager, disputed)
    foreign = Access(charlie.user, charlie.shop, "owner")
    platform = Operator(operator.user)

    for who in (foreign, platform):
        with pytest.raises(NotFound):
            ask(who, disputed)
        for act in (corrections.book, corrections.refuse):
            with pytest.raises(NotFound):
                act(access=who, correction_id=asked.pk)
        assert list(corrections.corrections_of(who)) == []
    for who in (
        seller, Access(audrey.user, audrey.shop, "auditor"), Operator(alice.user),
    ):  # fmt: skip
        with pytest.raises(Forbidden):
            ask(who, disputed)
        for act in (corrections.book, corrections.refuse):
            with pytest.raises(Forbidden):
                act(access=who, correction_id=asked.pk)
    for nonsense in ("", "x", "٣", "9" * 30, None):
        with pytest.raises(NotFound):
            corrections.book(access=manager, correction_id=nonsense)
    assert list(corrections.corrections_of(manager)) == [asked]


def test_the_operator_corrects_what_is_no_shops(load, account, operator, time):
    with transaction.atomic():
        told = receipts.sight(
            account, Told(NUMBER, Decimal(250), paid_at=AT), Source.STATUS
        )
    matching.resolve(told.pk)
    load(LAST)
    collection = Collection.objects.get(receipt=NUMBER)
    assert (collection.shop, collection.disputed) == (None, disputes.MISSING)
    first, second = Operator(operator.user), Operator(UserFactory(is_superuser=True))

    corrections.book(access=second, correction_id=ask(first, collection).pk)

    assert portions(collection) == {"correction": 250}
    assert collection.disputed == ""


def test_reversed_money_is_not_disputed(load, payment):
    collection = called_back(payment)

    row = load(
        LAST,
        paid(NUMBER, AT, reference=payment.reference),
        back("UAE9BACK01", AT + timedelta(hours=1), NUMBER),
    )

    collection.refresh_from_db()
    assert (collection.disputed, row.disputed) == ("", 0)


@pytest.mark.parametrize("amount", [100, 250])
def test_nobodys_money_that_went_out_twice_stays_disputed(load, operator, amount):
    """It has no payment that could carry an alarm, and a statement ends no such doubt."""
    came = paid(NUMBER, AT, reference="MAMA")
    load(came, LAST)
    collection = Collection.objects.get(receipt=NUMBER)
    refunds.ask(
        access=Operator(operator.user), collection_id=collection.pk, method="cash",
        amount=amount, reason="He was here", restocks=False,
    )  # fmt: skip

    for until in (NEXT, NEXT + timedelta(days=1)):
        load(
            came, back("UAE9BACK01", AT + timedelta(hours=1), NUMBER), LAST, until=until
        )

    collection.refresh_from_db()
    assert (collection.disputed, portions(collection), collection.reversed_at) == (
        f"Sent back twice: KES {amount} had been given back before.",
        {"refunded": 250},
        AT + timedelta(hours=1),
    )
