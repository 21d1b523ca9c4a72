"""Disputed money: since when, who may use it, and what is written down of that."""

import pytest
from django.db import transaction

from orders import lifecycle as order_lifecycle
from payments import (
    code_box,
    disputes,
    drawer,
    free_money,
    ledger,
    matching,
    offers,
    receipts,
    settlement,
)
from payments.code_box import Found
from payments.drawer_refusals import DisputedMoney, NotLookedAt, NotThisSales
from payments.enums import Source
from payments.models import Allocation, CodeClaim, Collection, MpesaSettings, Receipt
from payments.receipts import Told
from payments.settlement import Proof
from shops.tenancy import Access
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import kes, nothing_changes, sale_of
from tests.support.own_till import own_till


pytestmark = pytest.mark.django_db

R1 = "UAE5B2K9QT"


@pytest.fixture(autouse=True)
def _quiet(messages, time, mpesa):
    return messages


@pytest.fixture
def account(duka):
    return own_till(duka)


@pytest.fixture
def boss(alice):
    return Access(alice.user, alice.shop, "owner")


def sight(account, amount=250, source=Source.PULL):
    with transaction.atomic():
        told = Told(R1, kes(amount), "2547 ***** 678", "JANE", paid_at=clock.now())
        receipt = receipts.sight(account, told, source)
    matching.resolve(receipt.pk)
    receipt.refresh_from_db()
    return receipt


def dispute(collection, why=disputes.MISSING):
    """The statement says something else, as an import finds it."""
    collection.refresh_from_db()
    with transaction.atomic():
        disputes.settle(collection, None, why)


@pytest.fixture
def disputed(account):
    """Money of nobody that M-Pesa's books do not have."""
    collection = sight(account).collection
    dispute(collection)
    return collection


def key_of(collection):
    return f"collection:{collection.pk}"


def test_piece_says_that_it_is_disputed_and_since_when(account, boss, time):
    collection = sight(account).collection
    time.turn(600)
    since = clock.now()
    dispute(collection)
    time.turn(600)
    dispute(collection, "We counted KES 250, M-Pesa's statement has KES 200.")

    [piece] = drawer.pieces(boss)

    assert (piece.disputed, piece.disputed_at) == (
        "We counted KES 250, M-Pesa's statement has KES 200.", since,
    )  # fmt: skip
    dispute(collection, "")
    [piece] = drawer.pieces(boss)
    assert (piece.disputed, piece.disputed_at) == ("", None)


def test_other_amount_of_another_source_is_dated(duka, account, boss, time):
    payment = PaymentFactory(order=OrderFactory(shop=duka, total=200), amount=200)
    order_lifecycle.cancel(payment.order_id, actor=boss.user)
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        settlement.record_success(order, held, Proof(Source.CALLBACK, R1))
    time.turn(60)
    sight(account)

    [piece] = drawer.pieces(boss)

    assert piece.kind == "surplus"
    assert piece.disputed == "We counted KES 200, M-Pesa told of KES 250."
    assert piece.disputed_at == clock.now()


def test_two_claims_of_one_receipt_are_dated_by_the_second(account, boss, time):
    sight(account, source=Source.C2B)
    time.turn(60)
    since = clock.now()
    Receipt.objects.get().sightings.create(
        source=Source.STATUS, amount=kes(200), seen_at=since
    )
    Receipt.objects.update(alarm="Two amounts.")
    time.turn(60)

    [piece] = drawer.pieces(boss)

    assert (piece.disputed, piece.disputed_at) == ("Two amounts.", since)
    Receipt.objects.update(alarm="")
    assert free_money.alarmed_at(Receipt.objects.get()) is None


def test_manager_who_did_not_look_is_asked_to(duka, disputed, boss):
    order = OrderFactory(shop=duka)
    piece = key_of(disputed)

    with nothing_changes():
        with pytest.raises(NotLookedAt):
            drawer.apply(access=boss, piece=piece, order_id=order.pk, reason="hers")
        with pytest.raises(NotLookedAt):
            drawer.keep_as_credit(
                access=boss, piece=piece, customer="Mama Njeri", reason="hers"
            )


def test_manager_who_looked_uses_it_and_that_is_written_down(duka, disputed, boss):
    order = OrderFactory(shop=duka)

    drawer.apply(
        access=boss,
        piece=key_of(disputed),
        order_id=order.pk,
        reason="The SMS is genuine",
        has_looked=True,
    )

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert Allocation.objects.get().reason == (
        "Disputed, looked at: The SMS is genuine"
    )


def test_manager_who_looked_keeps_it_as_credit(disputed, boss):
    drawer.keep_as_credit(
        access=boss,
        piece=key_of(disputed),
        customer="Mama Njeri",
        reason="She comes back",
        has_looked=True,
    )

    [kept] = ledger.current(disputed)
    assert (kept.kind, kept.reason) == ("credit", "Disputed, looked at: She comes back")


def test_looking_at_what_is_not_disputed_is_not_written_down(duka, account, boss):
    order = OrderFactory(shop=duka)

    drawer.apply(
        access=boss,
        piece=key_of(sight(account).collection),
        order_id=order.pk,
        reason="hers",
        has_looked=True,
    )

    assert Allocation.objects.get().reason == "hers"


def test_money_that_becomes_disputed_meanwhile_is_not_used(
    duka, account, boss, monkeypatch
):
    collection = sight(account).collection
    order = OrderFactory(shop=duka)

    def ask_first(_order):
        dispute(collection)
        return ""

    monkeypatch.setattr(drawer, "ask_first", ask_first)

    with pytest.raises(NotLookedAt):
        drawer.apply(
            access=boss, piece=key_of(collection), order_id=order.pk, reason="hers"
        )

    assert sale_of(order) == ("open", kes(0), kes(250), kes(0))
    assert Allocation.objects.count() == 0


def test_cashier_is_not_offered_it_and_sent_to_the_manager(duka, disputed, seller):
    order = OrderFactory(shop=duka)

    assert offers.offers_for(order).shown == ()
    answer = code_box.check(access=seller, order_id=order.pk, text=R1)
    assert (answer.found, answer.amount, answer.disputed_at, answer.piece) == (
        Found.DISPUTED, kes(250), clock.now(), "",
    )  # fmt: skip
    with nothing_changes():
        with pytest.raises(NotThisSales):
            code_box.use(access=seller, order_id=order.pk, number=R1)
        with pytest.raises(DisputedMoney, match="Call the manager"):
            drawer.spend(
                access=seller, piece=key_of(disputed), order_id=order.pk, reason="x"
            )
    assert CodeClaim.objects.count() == 0


def test_claim_of_two_amounts_is_the_managers(duka, account, seller, time):
    MpesaSettings.objects.filter(shop=duka).update(claimed_limit=500)
    receipt = sight(account, source=Source.C2B)
    order = OrderFactory(shop=duka)
    assert offers.offers_for(order).best.key == f"receipt:{receipt.pk}"
    Receipt.objects.update(alarm="Two amounts.")

    assert offers.offers_for(order).shown == ()
    answer = code_box.check(access=seller, order_id=order.pk, text=R1)

    assert (answer.found, answer.disputed_at, answer.piece) == (
        Found.DISPUTED, None, "",
    )  # fmt: skip
    assert Collection.objects.count() == 0
