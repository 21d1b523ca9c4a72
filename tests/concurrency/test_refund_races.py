"""Money goes back once, whoever asks for it and whoever else would spend it."""

import threading
from decimal import Decimal

import pytest
from django.db import transaction
from django.db.models import Sum

from orders import lifecycle as order_lifecycle
from orders.models import Order, OrderEvent
from payments import (
    errands,
    gateways,
    inquiries,
    ledger,
    lifecycle,
    refund_money,
    refund_questions,
    refunds,
    settlement,
)
from payments.enums import AllocationKind, RequestKind, Source
from payments.gateways.organisation import Acknowledged
from payments.models import (
    Allocation,
    Collection,
    MpesaAccount,
    MpesaSettings,
    OrganisationRequest,
    Payment,
    PaymentEvent,
    Refund,
)
from payments.notices_results import parse_result
from shops.tenancy import Access
from smartduka.lib import clock
from tests.concurrency.racing import MARKS, kinds, together
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import sale_of
from tests.support.organisation import FakeOrganisation, result, reversed_, tell
from tests.support.own_till import own_till, sight


pytestmark = MARKS

HASTY_S = 0.4


@pytest.fixture
def organisation(monkeypatch, mpesa):
    fake = FakeOrganisation()
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    return fake


@pytest.fixture
def managers(alice, mary):
    return [
        Access(alice.user, alice.shop, "owner"),
        Access(mary.user, mary.shop, "manager"),
    ]


def settled(shop, *, total=250):
    """A collection of KES 250; what a smaller sale does not need is surplus."""
    payment = PaymentFactory(order=OrderFactory(shop=shop, total=total), amount=250)
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        proof = settlement.Proof(
            Source.CALLBACK, "UAE5B2K9QT", payment.phone, clock.now()
        )
        settlement.record_success(order, held, proof)
    return Collection.objects.get()


@pytest.fixture
def paid(duka, organisation):
    """All of it is a sale's."""
    return settled(duka)


@pytest.fixture
def surplus(duka, organisation):
    """KES 150 of it are surplus."""
    return settled(duka, total=100)


def ask(access, collection, method, amount=250, seen=None):
    return refunds.ask(
        access=access, collection_id=collection.pk, method=method, amount=amount,
        reason="Did not fit", restocks=False, seen=seen,
    )  # fmt: skip


def portions(collection):
    rows = ledger.current(collection).values("kind").annotate(sum=Sum("amount"))
    return {row["kind"]: row["sum"] for row in rows}


# Two managers, one collection.


def both_ask(managers, collection, method, amount=250):
    return kinds(
        together(*[lambda a=a: ask(a, collection, method, amount) for a in managers])
    )


@pytest.mark.parametrize(
    ("method", "loser"), [("cash", "MoreThanLeft"), ("reversal", "RefundInTheWay")]
)
def test_two_managers_give_back_once(
    paid, managers, organisation, rendezvous, method, loser
):
    rendezvous(patience_s=HASTY_S).before(refund_money, "reserve")

    assert both_ask(managers, paid, method) == [loser, "ok"]

    assert Refund.objects.count() == 1
    expected = {"refunded": 250} if method == "cash" else {"reserved": 250}
    assert portions(paid) == expected
    assert len(organisation.reversals) == (method == "reversal")


def without_locks(off):
    off.lock(Order, Payment, Collection, Refund, OrganisationRequest)


def without_the_net(off):
    """What is below the locks when money is freed and reserved."""
    off.condition(ledger, "Collection")
    off.constraint(Collection, "collection_is_not_overdrawn")
    off.constraint(Allocation, "releases")


@pytest.mark.parametrize("method", ["cash", "reversal"])
def test_without_the_locks_the_net_holds(
    paid, managers, organisation, off, rendezvous, method
):
    without_locks(off)
    rendezvous().before(refund_money, "reserve")

    assert both_ask(managers, paid, method) == ["SpentAlready", "ok"]

    assert Refund.objects.count() == 1
    assert len(organisation.reversals) == (method == "reversal")


def test_one_undecided_refund_holds_alone(
    paid, managers, organisation, off, rendezvous
):
    without_locks(off)
    without_the_net(off)
    rendezvous().before(refund_money, "reserve")

    assert both_ask(managers, paid, "reversal") == ["RefundInTheWay", "ok"]

    assert len(organisation.reversals) == 1


def test_without_any_guard_it_is_sent_twice(
    paid, managers, organisation, off, rendezvous
):
    without_locks(off)
    without_the_net(off)
    off.constraint(Refund, "collection_has_one_undecided_refund")
    rendezvous().before(refund_money, "reserve")

    assert both_ask(managers, paid, "reversal") == ["ok", "ok"]

    assert len(organisation.reversals) == 2


# In parts, alone: the limit from which a second person is needed.


@pytest.fixture
def two_halves(duka):
    """KES 600 of one sale in two collections; from KES 500 a second person is needed."""
    order = OrderFactory(shop=duka, total=600)
    MpesaSettings.objects.filter(shop=duka).update(second_person_from=500)
    for number, phone in (
        ("UAE5B2K9QT", "254712345678"),
        ("UAE5B2K9QU", "254733111222"),
    ):
        payment = PaymentFactory(order=order, amount=300, phone=phone)
        with transaction.atomic():
            locked, held = settlement.locked(payment.pk)
            proof = settlement.Proof(Source.CALLBACK, number, phone, clock.now())
            settlement.record_success(locked, held, proof)
    return list(Collection.objects.order_by("pk"))


def each_gives_a_half(managers, halves):
    """What came of it, the states of the refunds, and what the sale gave back."""
    jobs = [
        lambda a=access, one=half: ask(a, one, "cash", 300)
        for access, half in zip(managers, halves, strict=True)
    ]
    ended = kinds(together(*jobs))
    states = sorted(Refund.objects.values_list("state", flat=True))
    return ended, states, Order.objects.values_list("refunded", flat=True).get()


def test_two_halves_of_a_sale_need_a_second_person(two_halves, managers, rendezvous):
    rendezvous(patience_s=HASTY_S).after(refunds, "_given_alone")

    assert each_gives_a_half(managers, two_halves) == (
        ["ok", "ok"], ["asked", "done"], 300,
    )  # fmt: skip


def test_without_the_sales_lock_two_halves_go_back_alone(
    two_halves, managers, off, rendezvous
):
    off.lock(Order)
    rendezvous().after(refunds, "_given_alone")

    # Both are gone, and the sale knows of one of them.
    assert each_gives_a_half(managers, two_halves) == (
        ["ok", "ok"], ["done", "done"], 300,
    )  # fmt: skip


@pytest.fixture
def nobodys(duka):
    """KES 600 that is no payment's."""
    return sight(own_till(duka), amount=600).collection


def both_give_what_they_saw(managers, collection):
    """Two managers each give KES 100 of money that they both see untouched."""
    seen = refunds.mark_of(collection)
    jobs = [
        lambda a=access: ask(a, collection, "cash", 100, seen) for access in managers
    ]
    return kinds(together(*jobs)), portions(collection)


def test_who_gives_back_has_seen_what_was_given_before(nobodys, managers, rendezvous):
    rendezvous(patience_s=HASTY_S).before(refund_money, "reserve")

    assert both_give_what_they_saw(managers, nobodys) == (
        ["ChangedMeanwhile", "ok"], {"refunded": 100},
    )  # fmt: skip


def test_without_the_moneys_lock_nobody_sees_what_the_other_gives(
    nobodys, managers, off, rendezvous
):
    off.lock(Collection)
    rendezvous().before(refund_money, "reserve")

    assert both_give_what_they_saw(managers, nobodys) == (
        ["ok", "ok"], {"refunded": 200},
    )  # fmt: skip


# A refund and the drawer.


def spend(collection, amount):
    """Use the surplus for another purpose, as the drawer does."""
    with transaction.atomic():
        portion = ledger.current(collection).get(kind="surplus")
        order = order_lifecycle.locked(portion.order_id)
        portion = ledger.current(collection).filter(pk=portion.pk).first()
        if portion is None:
            raise ledger.SpentAlready
        ledger.release(portion, actor=None, reason="spent")
        order_lifecycle.give_up_surplus(order, amount)
        ledger.allocate(
            portion.collection,
            [ledger.Portion(AllocationKind.CREDIT, amount, None, "", None, "Jane")],
        )


def refund_and_spend(managers, collection):
    seen = refunds.mark_of(collection)
    return kinds(
        together(
            lambda: ask(managers[0], collection, "cash", 150, seen),
            lambda: spend(collection, Decimal(150)),
        )
    )


def test_a_surplus_is_given_back_or_spent(surplus, managers, rendezvous):
    rendezvous(patience_s=HASTY_S).before(ledger, "release")

    ended = refund_and_spend(managers, surplus)

    assert (ended, portions(surplus)) in (
        (["ChangedMeanwhile", "ok"], {"sale": 100, "credit": 150}),
        (["SpentAlready", "ok"], {"sale": 100, "refunded": 150}),
    )
    assert sale_of(surplus.payment.order) == ("paid", 100, 0, 0)


def test_a_surplus_is_given_back_and_spent_without_the_guards(
    surplus, managers, off, rendezvous
):
    without_locks(off)
    without_the_net(off)
    off.constraint(Order, "order_surplus_is_not_negative")
    rendezvous().before(ledger, "release")

    assert refund_and_spend(managers, surplus) == ["ok", "ok"]

    assert sum(portions(surplus).values()) == 400


# Deciding, and proof.


@pytest.fixture
def waiting(paid, managers):
    MpesaSettings.objects.update(second_person_from=1)
    return ask(managers[1], paid, "cash")


def approve_and_refuse(managers, waiting):
    owner = managers[0]
    return kinds(
        together(
            lambda: refunds.approve(access=owner, refund_id=waiting.pk),
            lambda: refunds.refuse(access=owner, refund_id=waiting.pk, reason="No"),
        )
    )


def test_a_refund_is_approved_or_refused(waiting, managers, paid, rendezvous):
    rendezvous(patience_s=HASTY_S).after(refund_money, "locked")

    assert approve_and_refuse(managers, waiting) == ["NotWaiting", "ok"]

    waiting.refresh_from_db()
    expected = {"done": {"refunded": 250}, "refused": {"sale": 250}}
    assert portions(paid) == expected[waiting.state]


def test_without_the_locks_its_money_is_freed_once(
    waiting, managers, paid, off, rendezvous
):
    without_locks(off)
    rendezvous().before(ledger, "release")

    ended = approve_and_refuse(managers, waiting)

    assert ended[1:] == ["ok"]
    # Without the locks the two may also stop each other, and the second looks again.
    assert ended[0] in ("SpentAlready", "IllegalMove", "NotWaiting")
    assert sum(portions(paid).values()) == 250


def prove_twice(managers, paid):
    refund = ask(managers[0], paid, "reversal")
    body = reversed_(refund.request, 250)
    return kinds(
        together(
            lambda: tell(refund.request, body),
            lambda: refunds.prove_reversed(
                paid, receipt="UAE9BACK01", source=Source.STATEMENT, at=clock.now()
            ),
        )
    )


def test_a_result_and_a_statement_book_one_reversal(paid, managers, rendezvous):
    rendezvous(patience_s=HASTY_S).before(refund_money, "book")

    assert prove_twice(managers, paid) == ["ok", "ok"]

    assert portions(paid) == {"refunded": 250}
    assert [(one.state, one.amount) for one in Refund.objects.all()] == [("done", 250)]
    assert sale_of(paid.payment.order) == ("refunded", 250, 0, 0)
    assert PaymentEvent.objects.filter(new="reversed").count() == 1


def test_without_the_guards_it_is_booked_twice(paid, managers, off, rendezvous):
    without_locks(off)
    without_the_net(off)
    off.condition(refund_money, "Refund")
    off.condition(lifecycle, "Payment")
    off.constraint(PaymentEvent, "payment_enters_a_status_once")
    off.constraint(Order, "order_gives_back_at_most_what_was_paid")
    off.constraint(OrderEvent, "order_enters_a_status_once")
    rendezvous().before(refund_money, "book")

    assert prove_twice(managers, paid) == ["ok", "ok"]

    assert sum(portions(paid).values()) == 500


# Questions.


@pytest.fixture
def silent(paid, managers):
    refund = ask(managers[0], paid, "reversal")
    Refund.objects.update(next_ask_at=clock.now())
    return refund


def test_two_workers_ask_once(silent, organisation, rendezvous):
    rendezvous(patience_s=HASTY_S).before(refund_questions, "_next")

    asked = together(*[lambda: refund_questions.attend(silent.pk)] * 2)

    assert sorted(asked) == [False, True]
    assert len(organisation.questions) == 1


def test_without_its_lock_a_refund_is_asked_about_once_by_its_state(
    silent, organisation, off, rendezvous
):
    off.lock(Refund)
    rendezvous().before(refund_questions, "_next")

    asked = together(*[lambda: refund_questions.attend(silent.pk)] * 2)

    # The second one finds that the state has moved, and breaks.
    assert kinds(asked) == ["IllegalMove", "ok"]
    assert len(organisation.questions) == 1


def test_without_the_guards_a_refund_is_asked_about_twice(
    silent, organisation, off, rendezvous
):
    off.lock(Refund, MpesaAccount)
    off.condition(refund_money, "Refund")
    rendezvous().before(refund_questions, "_next")
    rendezvous().before(inquiries.errands, "begin")

    assert together(*[lambda: refund_questions.attend(silent.pk)] * 2) == [True, True]

    assert len(organisation.questions) == 2


def test_two_askers_of_a_receipt_ask_once(paid, organisation, rendezvous):
    account = paid.account
    rendezvous(patience_s=HASTY_S).before(inquiries.errands, "begin")

    together(*[lambda: inquiries.ask_status(account, "UAE5OTHER1")] * 2)

    assert len(organisation.questions) == 1


def test_two_askers_ask_twice_without_the_lock(paid, organisation, off, rendezvous):
    account = paid.account
    off.lock(type(account))
    rendezvous().before(inquiries.errands, "begin")

    together(*[lambda: inquiries.ask_status(account, "UAE5OTHER1")] * 2)

    assert len(organisation.questions) == 2


# An answer to a question, and what M-Pesa said when it took the question.


@pytest.fixture
def question(paid):
    """A question that is being sent."""
    return OrganisationRequest.objects.create(
        kind=RequestKind.STATUS, account=paid.account, receipt="UAE5OTHER1",
        token_hash="a hash", asked_at=clock.now(),
    )  # fmt: skip


def answered_while_it_is_taken(question, monkeypatch, patience_s):
    """The result comes when the acknowledgement has read the row, and not written it."""
    read, answered = threading.Event(), threading.Event()
    original = errands.record

    def record(*args):
        read.set()
        answered.wait(patience_s)
        return original(*args)

    def answer():
        assert read.wait(10)
        inquiries._answered(question.pk, parse_result(result(question)))
        answered.set()

    monkeypatch.setattr(errands, "record", record)
    taken = Acknowledged("AG_1", "orig-1")
    ended = kinds(
        together(lambda: inquiries._record_answer(question.pk, taken), answer)
    )
    question.refresh_from_db()
    return ended, question.state, question.conversation_id


def test_a_question_that_is_answered_stays_answered(question, monkeypatch):
    assert answered_while_it_is_taken(question, monkeypatch, HASTY_S) == (
        ["ok", "ok"], "answered", "AG_1",
    )  # fmt: skip


def test_without_its_lock_an_answered_question_waits_for_its_answer(
    question, off, monkeypatch
):
    off.lock(OrganisationRequest)

    assert answered_while_it_is_taken(question, monkeypatch, 20.0) == (
        ["ok", "ok"], "sent", "AG_1",
    )  # fmt: skip
