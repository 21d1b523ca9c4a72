"""Money by hand that is offered to a sale: what stands out, and what is a tie."""

import pytest
from django.db import transaction

from orders.models import Order
from payments import offers, settlement
from payments.drawer_refusals import NoSuchOffer, OthersOffer
from payments.enums import Source
from payments.models import Allocation, Receipt
from smartduka.lib import clock
from tests.factories import MpesaAccountFactory, OrderFactory, PaymentFactory
from tests.support.facts import kes, nothing_changes, sale_of
from tests.support.own_till import FULL, MASKED, R1, R2, own_till, sight


pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quiet(messages, time, mpesa):
    return messages


@pytest.fixture
def account(duka):
    """The shop's own till, without an initiator: M-Pesa cannot be asked."""
    return own_till(duka)


def collection_of(receipt):
    return f"collection:{receipt.collection_id}"


def prompt_failed(order, phone=FULL):
    """The customer was asked, and did not pay."""
    payment = PaymentFactory(order=order, phone=phone)
    with transaction.atomic():
        locked, held = settlement.locked(payment.pk)
        settlement.record_failure(locked, held, "1032", source=Source.QUERY)
    held.asked_at = clock.now()
    held.save(update_fields=["asked_at"])


def offered(order):
    """What stands out, what is a tie, and what else there is, by the pieces' keys."""
    found = offers.offers_for(Order.objects.get(pk=order.pk))
    return (
        found.best and found.best.key,
        [one.key for one in found.alike],
        [one.key for one in found.others],
    )


def rivals_of(order, piece):
    """The other sales that an offered piece names."""
    offer = offers.offers_for(Order.objects.get(pk=order.pk)).of(piece)
    return [(one.number, one.cashier) for one in offer.rivals]


def test_fresh_money_of_the_balance_is_offered_and_accepted(
    duka, account, seller, time
):
    order = OrderFactory(shop=duka)
    receipt = sight(account, paid_at=clock.now())
    time.turn(20)

    best = offers.offers_for(order).best
    assert (best.key, best.amount, best.payer, best.age_s, best.score) == (
        collection_of(receipt), kes(250), "2547 ••• 678", 20, 3,
    )  # fmt: skip
    payment = offers.accept(access=seller, order_id=order.pk, piece=best.key)

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert payment.created_by == seller.user
    with nothing_changes(), pytest.raises(NoSuchOffer):
        offers.accept(access=seller, order_id=order.pk, piece=best.key)


def test_two_alike_are_a_list_and_none_stands_out(duka, account):
    order = OrderFactory(shop=duka)
    one, two = (
        sight(account, number, paid_at=clock.now(), payer=payer)
        for number, payer in ((R1, MASKED), (R2, "2547 ***** 111"))
    )

    assert offered(order) == (None, [collection_of(one), collection_of(two)], [])


def test_digits_of_a_phone_that_was_asked_make_one_stand_out(duka, account):
    order = OrderFactory(shop=duka)
    prompt_failed(order)
    other = sight(account, R2, payer="2547 ***** 111")
    hers = sight(account, R1, payer=MASKED)

    assert offered(order) == (collection_of(hers), [], [collection_of(other)])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"amount": 251}, (None, 0)),
        ({"source": Source.C2B}, (None, 0)),
        ({"age_s": 7201}, (None, 0)),
        ({"age_s": 3600}, (None, 1)),
        ({}, (True, 0)),
    ],
    ids=["another amount", "not confirmed", "too old", "not fresh", "fresh"],
)
def test_what_is_offered(duka, account, time, change, expected):
    age_s = change.pop("age_s", 0)
    sight(account, paid_at=clock.now(), **change)
    time.turn(age_s)
    order = OrderFactory(shop=duka)

    best, alike, others = offered(order)

    assert (best and True, len(others)) == expected
    assert alike == []


def test_no_offer_across_shops_nor_of_the_platforms_money(duka, charlie):
    order = OrderFactory(shop=duka)
    his = MpesaAccountFactory(shop=charlie.shop, shortcode="600500")
    sight(his)
    sight(PaymentFactory(order=OrderFactory(shop=duka)).account, R2)
    assert Receipt.objects.filter(state="counted").count() == 2

    assert offered(order) == (None, [], [])


def test_what_was_never_offered_cannot_be_accepted(duka, account, seller):
    receipt = sight(account, amount=300)
    order = OrderFactory(shop=duka)

    with nothing_changes(), pytest.raises(NoSuchOffer):
        offers.accept(access=seller, order_id=order.pk, piece=collection_of(receipt))


def test_money_that_two_sales_could_mean_is_a_tie(duka, account, seller, bob, mary):
    order = OrderFactory(shop=duka, actor=bob.user)
    other = OrderFactory(shop=duka, actor=mary.user)
    piece = collection_of(sight(account, paid_at=clock.now()))

    assert offered(order) == offered(other) == (None, [piece], [])
    assert rivals_of(order, piece) == [(other.number, "mary")]
    assert rivals_of(other, piece) == [(order.number, "bob")]

    with nothing_changes(), pytest.raises(OthersOffer):
        offers.accept(access=seller, order_id=order.pk, piece=piece)
    offers.accept(access=seller, order_id=order.pk, piece=piece, beside=[other.number])

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert sale_of(other) == ("open", kes(0), kes(250), kes(0))
    assert Allocation.objects.get().reason == (
        f"The cashier said that it is this sale's, not that of {other.number}."
    )
    assert offered(other) == (None, [], [])


def test_digits_decide_between_two_sales_and_the_other_is_named(duka, account, seller):
    order, other = OrderFactory(shop=duka), OrderFactory(shop=duka)
    prompt_failed(order)
    piece = collection_of(sight(account, paid_at=clock.now()))

    assert offered(order) == (piece, [], [])
    assert rivals_of(order, piece) == [(other.number, "")]
    # It fits the other sale better: no button, for any eye to press, of its own.
    assert offered(other) == (None, [], [piece])


@pytest.mark.parametrize(
    ("change", "is_rival"),
    [
        ({}, True),
        ({"total": 251}, False),
        ({"status": "cancelled"}, False),
        ({"age_s": 7201}, False),
        ({"age_s": 7199}, True),
        ({"age_s": 90_000, "asked": True}, True),
        ({"elsewhere": True}, False),
    ],
    ids=["same", "amount", "closed", "left behind", "young", "asked", "elsewhere"],
)
def test_which_sales_are_rivals(duka, charlie, account, time, change, is_rival):
    facts = {"shop": charlie.shop if change.get("elsewhere") else duka}
    other = OrderFactory(**facts, total=change.get("total", 250))
    time.turn(change.get("age_s", 0))
    if "status" in change:
        Order.objects.update(status="cancelled", cancelled_at=clock.now())
    if "asked" in change:
        prompt_failed(other, phone="254799000111")
    order = OrderFactory(shop=duka)
    piece = collection_of(sight(account, paid_at=clock.now()))

    assert bool(rivals_of(order, piece)) is is_rival


def test_part_payment_makes_a_sale_a_rival_by_what_it_still_needs(duka, account):
    bigger = OrderFactory(shop=duka, total=400)
    Order.objects.filter(pk=bigger.pk).update(paid=kes(150))
    order = OrderFactory(shop=duka)
    piece = collection_of(sight(account, paid_at=clock.now()))

    assert rivals_of(order, piece) == [(bigger.number, "")]


def test_offers_ask_the_database_the_same_for_many_sales(
    duka, account, django_assert_num_queries
):
    order = OrderFactory(shop=duka)
    OrderFactory(shop=duka)
    sight(account, paid_at=clock.now())
    with django_assert_num_queries(5):
        offers.offers_for(order)
    for _ in range(2):
        prompt_failed(OrderFactory(shop=duka), phone="254799000111")

    with django_assert_num_queries(5):
        offers.offers_for(order)
