"""What was guessed, or used by people, before M-Pesa said whose money it is."""

import pytest

from payments import (
    accounts,
    cash,
    corrections,
    disputes,
    drawer,
    ledger,
    matching,
    precedence,
    refunds,
    reversals,
)
from payments.enums import Source
from payments.models import Collection, Receipt
from payments.settlement import Outcome
from shops.tenancy import Access
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory, ShopFactory
from tests.support.facts import kes, sale_of
from tests.support.own_till import (
    FULL,
    MASKED,
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
def second(duka, account, payment):
    """Another prompt to the same phone, for as much, for another sale."""
    return PaymentFactory(order=OrderFactory(shop=duka), phone=FULL)


@pytest.fixture
def manager(mary):
    return Access(mary.user, mary.shop, "manager")


def keep(manager, receipt):
    return drawer.keep_as_credit(
        access=manager, piece=f"collection:{receipt.collection_id}",
        customer="0712345678", reason="Nobody knows for what",
    )  # fmt: skip


def apply(manager, piece, order):
    return drawer.apply(
        access=manager, piece=piece, order_id=order.pk, reason="It is this one's"
    )


def send_back(collection):
    """M-Pesa's statement says that the money went back."""
    reversals.prove_reversed(
        collection, receipt="", source=Source.STATEMENT, at=clock.now()
    )


def look_again():
    for _ in range(2):
        for receipt in Receipt.objects.filter(collection=None).order_by("pk"):
            matching.look(receipt.pk)


def books():
    """Each shilling that we count: its receipt, whose it is, what is doubted, where."""
    return in_order(
        *(
            (str(one.receipt), one.payment, one.disputed, kinds(one))
            for one in Collection.objects.all()
            if "correction" not in [kind for kind, _, _ in kinds(one)]
        )
    )


def in_order(*rows):
    return sorted(rows, key=lambda row: row[0])


def told(payment):
    payment.refresh_from_db()
    return payment.status, payment.receipt, payment.alarm


# M-Pesa names the money of a payment that was guessed to have other money.


def test_two_prompts_that_were_guessed_crosswise_and_one_was_sent_back(
    account, payment, second
):
    """What was sent back was the second's: the first's money is there."""
    for one in (payment, second):
        succeed(one, None, Source.QUERY)
    for number in (R1, R2):
        sight(account, number)
    look_again()
    back, kept = (told(one)[1] for one in (payment, second))
    assert {back, kept} == {R1, R2}
    send_back(Collection.objects.get(receipt=back))

    succeed(second, back)

    gone = (back, second, "", [("refunded", kes(250), payment.order_id)])
    sold = (kept, second, "", [("sale", kes(250), second.order_id)])
    spare = [("surplus", kes(250), payment.order_id)]
    own = ("None", payment, precedence.PERHAPS, spare)
    assert books() == in_order(own, gone, sold)

    succeed(payment, kept)

    assert books() == in_order(gone, (kept, payment, "", spare))
    assert sale_of(payment.order) == ("refunded", kes(250), kes(0), kes(250))
    assert told(second) == ("completed", "", precedence.ANOTHER_SALES)


def test_a_guess_falls_when_the_payment_has_a_receipt_that_mpesa_named(
    account, payment, order, second, manager
):
    fail(payment)
    fail(second)
    by_hand = sight(account, R1)
    sight(account, R2)
    apply(manager, f"collection:{by_hand.collection_id}", order)
    succeed(payment, None, Source.QUERY)
    assert told(payment)[1] == R2

    succeed(payment, R1)
    succeed(second, R2)

    assert books() == [
        (R1, payment, "", [("sale", kes(250), order.pk)]),
        (R2, second, "", [("sale", kes(250), second.order_id)]),
    ]
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert sale_of(second.order) == ("paid", kes(250), kes(0), kes(0))


def test_own_money_is_doubted_while_the_takers_guess_may_be_it(
    account, payment, order, second, manager
):
    fail(payment)
    fail(second)
    keep(manager, sight(account, R2))
    succeed(payment, None, Source.QUERY)
    succeed(second, None, Source.QUERY)
    sight(account, R1)
    assert [told(one)[1] for one in (payment, second)] == [R2, R1]

    succeed(second, R2)

    own = ("None", payment, precedence.PERHAPS, [("sale", kes(250), order.pk)])
    assert books()[0] == own
    assert [row[:3] for row in books()[1:]] == [(R1, None, ""), (R2, second, "")]

    succeed(payment, R1)

    assert [row[:3] for row in books()] == [(R1, payment, ""), (R2, second, "")]
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))


@pytest.mark.parametrize("went", ["kept", "sent back"])
def test_money_is_doubted_when_used_money_is_no_longer_anothers(
    account, payment, order, second, manager, went
):
    """It was guessed to be the first's; M-Pesa names another one for that."""
    fail(payment)
    fail(second)
    used = sight(account, R2)
    if went == "kept":
        keep(manager, used)
    else:
        send_back(used.collection)
    succeed(payment, None, Source.QUERY)
    succeed(second, None, Source.QUERY)
    assert told(second)[1:] == ("", "")

    assert succeed(payment, R1) == Outcome.ADDED

    own = [("sale", kes(250), second.order_id)]
    assert books()[0] == ("None", second, precedence.PERHAPS, own)
    assert told(second) == ("completed", "", precedence.PERHAPS)
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))

    succeed(second, R2)

    named = [(R1, payment, ""), (R2, second, "")]
    if went == "sent back":
        named.insert(0, ("None", second, precedence.DOUBLE))
    assert [row[:3] for row in books()] == named


@pytest.mark.parametrize("is_pulled", [False, True])
def test_who_loses_what_was_sent_back_has_its_own(account, duka, is_pulled):
    order = OrderFactory(shop=duka, total=400)
    payment = PaymentFactory(order=order, phone=FULL, amount=250)
    succeed(payment, None, Source.QUERY)
    guessed = sight(account, R2).collection
    send_back(guessed)
    other = PaymentFactory(order=OrderFactory(shop=duka), phone="254712340678")

    assert succeed(other, R2) == Outcome.COMPLETED
    if is_pulled:
        sight(account, R1, payer=FULL)

    own = str(R1 if is_pulled else None)
    assert books() == in_order(
        (own, payment, "", [("sale", kes(250), order.pk)]),
        (R2, other, "", [("refunded", kes(250), order.pk)]),
    )
    assert sale_of(order)[:2] == ("open", kes(250))
    assert told(other) == ("reversed", R2, precedence.WENT_BACK)


# The callback names the money that a question had guessed.


@pytest.mark.parametrize("is_used", [False, True])
def test_a_callback_takes_a_credit_back_as_if_nobody_had_asked(
    account, payment, order, manager, duka, is_used
):
    fail(payment)
    credit = keep(manager, sight(account))
    succeed(payment, None, Source.QUERY)
    assert told(payment) == ("completed", R1, precedence.WAS_KEPT)
    other = OrderFactory(shop=duka)
    made = apply(manager, f"allocation:{credit.pk}", other) if is_used else None

    assert succeed(payment, R1) == Outcome.CONFIRMED

    assert books() == [(R1, payment, "", [("sale", kes(250), order.pk)])]
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    if made is None:
        assert told(payment) == ("completed", R1, precedence.WAS_CREDIT)
    else:
        assert told(payment) == ("completed", R1, "")
        assert told(made) == ("completed", "", precedence.ANOTHER_SALES)
        assert sale_of(other) == ("paid", kes(250), kes(0), kes(0))
    assert succeed(payment, R1) == Outcome.DUPLICATE


def test_a_credit_stays_when_its_receipt_and_a_guessed_one_change_places(
    account, payment, order, manager
):
    """One customer paid twice: by hand, and at the prompt."""
    sight(account, R1)
    succeed(payment, None, Source.QUERY)
    assert told(payment) == ("completed", R1, "")
    credit = keep(manager, sight(account, R2))

    assert succeed(payment, R2) == Outcome.FILLED

    assert books() == [
        (R1, None, "", [("credit", kes(250), None)]),
        (R2, payment, "", [("sale", kes(250), order.pk)]),
    ]
    assert ledger.current(Collection.objects.get(receipt=R1)).get() == credit
    assert told(payment) == ("completed", R2, "")


@pytest.mark.parametrize("is_used", [False, True])
def test_a_credit_that_is_used_or_perhaps_anothers_does_not_stay(
    account, payment, order, manager, duka, is_used
):
    sight(account, R1, payer=MASKED if is_used else "")
    succeed(payment, None, Source.QUERY)
    credit = keep(manager, sight(account, R2))
    other = OrderFactory(shop=duka)
    made = apply(manager, f"allocation:{credit.pk}", other) if is_used else None

    assert succeed(payment, R2) == Outcome.FILLED

    assert books() == [
        (R1, None, "", []),
        (R2, payment, "", [("sale", kes(250), order.pk)]),
    ]
    if made is None:
        assert told(payment) == ("completed", R2, precedence.WAS_CREDIT)
    else:
        assert told(payment) == ("completed", R2, "")
        assert told(made) == ("completed", "", precedence.ANOTHER_SALES)


def test_a_callback_leaves_a_surplus_that_was_used_for_another_sale(
    account, payment, order, manager, duka, seller
):
    """It was the payment's own from the beginning."""
    cash.take(access=seller, order_id=order.pk, amount=250, key=None)
    succeed(payment, None, Source.QUERY)
    sight(account, R1)
    extra = Collection.objects.get(payment=payment)
    portion = extra.allocations.get()
    other = OrderFactory(shop=duka)
    apply(manager, f"allocation:{portion.pk}", other)

    assert succeed(payment, R1) == Outcome.DUPLICATE

    assert kinds(extra) == [("sale", kes(250), other.pk)]
    assert sale_of(other) == ("paid", kes(250), kes(0), kes(0))


# What is nobody's, and no prompt's either.


def test_what_pays_another_sale_in_part_is_not_given_back(
    account, payment, order, manager, duka
):
    fail(payment)
    receipt = sight(account)
    refunds.ask(
        access=manager, collection_id=receipt.collection_id, method="cash", amount=50,
        reason="Too much", restocks=False,
    )  # fmt: skip
    other = OrderFactory(shop=duka, total=200)
    apply(manager, f"collection:{receipt.collection_id}", other)

    succeed(payment, None, Source.QUERY)

    assert [row[:3] for row in books()] == [
        ("None", payment, precedence.PERHAPS), (R1, None, ""),
    ]  # fmt: skip
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert sale_of(other) == ("paid", kes(200), kes(0), kes(0))


def test_what_was_corrected_away_is_no_prompts_money(
    account, payment, order, manager, alice
):
    fail(payment)
    receipt = sight(account)
    Collection.objects.update(disputed=disputes.MISSING)
    asked = corrections.ask_correction(
        access=manager, collection_id=receipt.collection_id, amount=kes(-250),
        reason="The statement has no such row",
    )  # fmt: skip
    owner = Access(alice.user, alice.shop, "owner")
    corrections.book(access=owner, correction_id=asked.pk)

    succeed(payment, None, Source.QUERY)

    assert books() == [("None", payment, "", [("sale", kes(250), order.pk)])]
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    sight(account, R2, payer=FULL)
    assert told(payment) == ("completed", R2, "")


def test_what_the_operator_gave_to_a_shop_stays_there(duka, operator, time):
    account = accounts.platform_account()
    there = OrderFactory(shop=ShopFactory(platform=True))
    payment = PaymentFactory(order=there, phone=FULL)
    fail(payment)
    receipt = sight(account, payer=FULL)
    drawer.hand_to_shop(operator.user, receipt.collection, duka)

    succeed(payment, None, Source.QUERY)

    assert books() == [
        ("None", payment, precedence.PERHAPS, [("sale", kes(250), there.pk)]),
        (R1, None, "", []),
    ]
    assert Receipt.objects.get().collection.shop_id == duka.pk


def test_a_person_paid_the_same_sale_with_what_is_parted_from_its_prompt(
    account, manager, duka
):
    """Both are the sale's money: the credit, and the prompt's own when it comes."""
    order = OrderFactory(shop=duka, total=400)
    payment = PaymentFactory(order=order, phone=FULL, amount=250)
    fail(payment)
    credit = keep(manager, sight(account))
    succeed(payment, None, Source.QUERY)
    made = apply(manager, f"allocation:{credit.pk}", order)

    assert succeed(payment, R2) == Outcome.ADDED

    assert books() == [
        (R1, None, "", [("sale", kes(250), order.pk)]),
        (R2, payment, "", [("sale", kes(150), order.pk), ("surplus", kes(100), order.pk)]),
    ]  # fmt: skip
    assert sale_of(order) == ("paid", kes(400), kes(0), kes(100))
    assert told(made)[0::2] == told(payment)[0::2] == ("completed", "")
