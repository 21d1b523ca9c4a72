"""Money that was used for a weaker reason, and to which M-Pesa names a better right."""

import pytest
from django.db import transaction

from payments import (
    accounts,
    corrections,
    disputes,
    drawer,
    ledger,
    precedence,
    questions,
    refunds,
    reversals,
    schedule,
    settlement,
)
from payments.enums import AllocationKind, Source
from payments.models import Collection, MpesaSettings, Payment
from payments.settlement import Outcome
from shops.tenancy import Access
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import kes, sale_of
from tests.support.gateway import final
from tests.support.own_till import (
    FULL,
    R1,
    R2,
    fail,
    kinds,
    own_till,
    sight,
    succeed,
)


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


def spend(manager, receipt, order):
    return drawer.apply(
        access=manager,
        piece=f"collection:{receipt.collection_id}",
        order_id=order.pk,
        reason="It is this one's",
    )


def ask(payment):
    """Ask M-Pesa about a payment, as its next question does."""
    with transaction.atomic():
        _, locked = settlement.locked(payment.pk)
        schedule.bring_forward(locked)
    questions.attend(payment.pk)


def test_every_sale_that_used_it_is_told(account, payment, order, manager, duka):
    fail(payment)
    receipt = sight(account)
    first, second = (
        OrderFactory(shop=duka, total=150),
        OrderFactory(shop=duka, total=100),
    )
    spend(manager, receipt, first)
    surplus = ledger.current().get(kind="surplus")
    drawer.apply(
        access=manager,
        piece=f"allocation:{surplus.pk}",
        order_id=second.pk,
        reason="The rest",
    )
    assert sale_of(second)[0] == "paid"

    succeed(payment)

    used = Payment.objects.filter(method="c2b", order__in=(first, second))
    assert [one.alarm != "" for one in used] == [True, True]


def test_an_open_sale_needs_the_money_again(account, payment, order, manager, duka):
    fail(payment)
    receipt = sight(account)
    mine = OrderFactory(shop=duka, total=400)
    spend(manager, receipt, mine)
    assert sale_of(mine) == ("open", kes(250), kes(150), kes(0))

    succeed(payment)

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert sale_of(mine) == ("open", kes(0), kes(400), kes(0))


def test_the_same_sale_keeps_the_money(account, payment, order, manager):
    """The code was typed for the sale itself; then its own callback came."""
    fail(payment)
    receipt = sight(account)
    spend(manager, receipt, order)

    assert succeed(payment) == Outcome.COMPLETED

    (collection,) = Collection.objects.all()
    assert collection.payment_id == payment.pk
    assert kinds(collection) == [("sale", kes(250), order.pk)]
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    typed = Payment.objects.get(method="c2b")
    assert (typed.status, typed.alarm) == ("completed", precedence.SAME_SALES)


def test_what_was_corrected_away_is_not_there_again(
    account, payment, order, manager, alice, duka
):
    fail(payment)
    receipt = sight(account)
    mine = OrderFactory(shop=duka)
    spend(manager, receipt, mine)
    Collection.objects.update(disputed="M-Pesa has less")
    asked = corrections.ask_correction(
        access=manager, collection_id=receipt.collection_id, amount=kes(-100),
        reason="The statement has 150",
    )  # fmt: skip
    corrections.book(
        access=Access(alice.user, alice.shop, "owner"), correction_id=asked.pk
    )

    succeed(payment)

    collection = Collection.objects.get(receipt=R1)
    gone = ledger.current(collection).filter(kind=AllocationKind.CORRECTION)
    assert ledger.total_of(gone) == kes(100)
    assert collection.payment_id == payment.pk
    assert sale_of(order) == ("open", kes(150), kes(100), kes(0))


@pytest.mark.parametrize("is_used", [False, True], ids=["nobodys", "another sale's"])
def test_what_went_back_in_cash_is_not_counted_again(
    account, payment, order, manager, duka, mpesa, is_used
):
    fail(payment)
    receipt = sight(account)
    if is_used:
        spend(manager, receipt, OrderFactory(shop=duka))
    refunds.ask(
        access=manager, collection_id=receipt.collection_id, method="cash",
        amount=250, reason="Paid twice", restocks=False,
    )  # fmt: skip
    mpesa.otherwise = final("0")

    succeed(payment)
    ask(payment)

    (collection,) = Collection.objects.all()
    assert collection.amount == kes(250)
    assert [kind for kind, _, _ in kinds(collection)] == ["refunded"]
    payment.refresh_from_db()
    assert (payment.status, payment.alarm) == ("completed", precedence.WENT_BACK)
    assert sale_of(order) == ("open", kes(0), kes(250), kes(0))


def test_money_kept_as_credit_is_not_counted_again(
    account, payment, order, manager, mpesa
):
    fail(payment)
    receipt = sight(account)
    drawer.keep_as_credit(
        access=manager, piece=f"collection:{receipt.collection_id}",
        customer="0712345678", reason="Nobody knows for what",
    )  # fmt: skip
    mpesa.otherwise = final("0")

    succeed(payment)
    ask(payment)

    (collection,) = Collection.objects.all()
    assert (collection.amount, collection.payment_id) == (kes(250), payment.pk)
    assert kinds(collection) == [("sale", kes(250), order.pk)]
    payment.refresh_from_db()
    assert (payment.status, payment.alarm) == ("completed", precedence.WAS_CREDIT)
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))


@pytest.mark.parametrize("use", ["credit", "waiting refund", "cash"])
def test_what_people_used_is_not_counted_again_by_a_question(
    account, payment, order, manager, mpesa, use
):
    """M-Pesa said twice that it was not paid, and then that it was; no receipt."""
    fail(payment)
    receipt = sight(account)
    if use == "credit":
        drawer.keep_as_credit(
            access=manager, piece=f"collection:{receipt.collection_id}",
            customer="0712345678", reason="Nobody knows for what",
        )  # fmt: skip
    else:
        MpesaSettings.objects.update(second_person_from=250 if use != "cash" else 999)
        refunds.ask(
            access=manager, collection_id=receipt.collection_id, method="cash",
            amount=250, reason="Nobody knows for what", restocks=False,
        )  # fmt: skip
    kind = {"credit": "credit", "waiting refund": "reserved", "cash": "refunded"}[use]

    assert succeed(payment, receipt=None, source=Source.QUERY) == Outcome.COMPLETED

    (collection,) = Collection.objects.all()
    assert (collection.receipt, collection.payment_id) == (R1, payment.pk)
    assert kinds(collection) == [(kind, kes(250), None)]
    payment.refresh_from_db()
    words = precedence.WAS_KEPT if use == "credit" else precedence.WENT_BACK
    assert (payment.status, payment.receipt, payment.alarm) == ("completed", R1, words)
    assert sale_of(order) == ("open", kes(0), kes(250), kes(0))


def test_other_money_that_people_used_is_not_taken(
    account, payment, order, manager, mpesa
):
    """Of another payer: this payment's own money is another, and is to follow."""
    receipt = sight(account, payer="2547 ***** 111")
    drawer.keep_as_credit(
        access=manager, piece=f"collection:{receipt.collection_id}",
        customer="0712345111", reason="Nobody knows for what",
    )  # fmt: skip

    succeed(payment, receipt=None, source=Source.QUERY)

    assert list(
        Collection.objects.order_by("pk").values_list("receipt", "payment")
    ) == [(R1, None), (None, payment.pk)]


def test_money_that_went_back_keeps_its_number(account, payment, order, time):
    """R1 was sent back as nobody's; the callback says that it was this prompt's."""
    fail(payment)
    back = sight(account)
    reversals.prove_reversed(
        back.collection, receipt="", source=Source.STATEMENT, at=clock.now()
    )
    time.turn(30)
    Payment.objects.update(asked_at=clock.now())
    sight(account, number=R2)
    succeed(payment, receipt=None, source=Source.QUERY)
    assert Collection.objects.get(payment=payment).receipt == R2

    assert succeed(payment) == Outcome.ADDED

    reversed_, guessed = Collection.objects.order_by("pk")
    assert (reversed_.receipt, kinds(reversed_)) == (R1, [("refunded", kes(250), None)])
    assert (guessed.receipt, guessed.reversed_at) == (R2, None)
    assert kinds(guessed) == [("sale", kes(250), order.pk)]
    payment.refresh_from_db()
    assert (payment.status, payment.alarm) == ("completed", precedence.GUESSED)


@pytest.mark.parametrize("then", ["callback", "its reference"])
def test_what_a_question_proved_gets_the_receipt_that_was_nobodys(order, time, then):
    """On a shared account a row without payer and reference fits no prompt."""
    account = accounts.platform_account()
    payment = PaymentFactory(order=order, phone=FULL)
    succeed(payment, receipt=None, source=Source.QUERY)
    sight(account, payer="")
    assert Collection.objects.get(receipt=R1).payment is None

    if then == "callback":
        assert succeed(payment) == Outcome.FILLED
    else:
        sight(account, source=Source.C2B, payer="", reference=payment.reference)

    ours, double = Collection.objects.order_by("pk")
    assert (ours.receipt, ours.payment_id) == (R1, payment.pk)
    assert kinds(ours) == [("sale", kes(250), order.pk)]
    assert (double.receipt, kinds(double)) == (None, [("correction", kes(250), None)])
    assert disputes.counted_of(double) == 0
    payment.refresh_from_db()
    assert (payment.receipt, payment.alarm) == (R1, "")
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert ours.receipt_row.number == R1


@pytest.mark.parametrize("use", ["given back", "the same sale"])
def test_what_was_used_and_counted_twice_is_disputed(
    duka, manager, operator, time, use
):
    """Its row fitted no prompt, so people used it, and then the callback names it."""
    account = accounts.platform_account()
    sale = OrderFactory(shop=duka, total=500)
    payment = PaymentFactory(order=sale, phone=FULL, amount=250)
    succeed(payment, receipt=None, source=Source.QUERY)
    receipt = sight(account, payer="")
    if use == "given back":
        refunds.ask(
            access=refunds.Operator(operator.user), method="cash", restocks=False,
            collection_id=receipt.collection_id, amount=250, reason="He was here",
        )  # fmt: skip
    else:
        drawer.hand_to_shop(operator.user, receipt.collection, duka)
        spend(manager, receipt, sale)

    assert succeed(payment) == Outcome.ADDED

    answered, used = Collection.objects.order_by("pk")
    assert (answered.receipt, answered.disputed) == (None, precedence.DOUBLE)
    assert (used.receipt, used.payment_id, used.disputed) == (R1, payment.pk, "")
    payment.refresh_from_db()
    assert payment.alarm == precedence.DOUBLE


def test_counted_twice_is_no_longer_said_of_what_gets_a_receipt(
    account, payment, order, manager
):
    fail(payment)
    receipt = sight(account, payer="2547 ***** 111")
    refunds.ask(
        access=manager, collection_id=receipt.collection_id, method="cash",
        amount=250, reason="He was here", restocks=False,
    )  # fmt: skip
    succeed(payment, receipt=None, source=Source.QUERY)
    succeed(payment)
    assert Collection.objects.get(receipt=None).disputed == precedence.DOUBLE

    sight(account, number=R2)

    filled = Collection.objects.get(receipt=R2)
    assert (filled.payment_id, filled.disputed) == (payment.pk, "")
    payment.refresh_from_db()
    assert payment.alarm == precedence.GUESSED
