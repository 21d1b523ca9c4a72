"""Free money: what is in the drawer, and what a person may do with it."""

import pytest
from django.db import transaction

from orders import lifecycle as order_lifecycle
from orders.enums import OrderStatus
from payments import (
    drawer,
    free_money,
    gateways,
    ledger,
    matching,
    offers,
    refunds,
    settlement,
)
from payments.drawer import PieceKind
from payments.drawer_refusals import (
    HeldMoney,
    NobodysCredit,
    NotConfirmed,
    NotConfirmedAsked,
    NotToBePlaced,
)
from payments.enums import Source
from payments.ledger import SpentAlready
from payments.models import (
    Allocation,
    CodeClaim,
    Collection,
    MpesaSettings,
    OrganisationRequest,
    Payment,
    PaymentEvent,
    Receipt,
)
from payments.settlement import Proof
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.errors import Forbidden, InvalidRequest, NotFound
from tests.factories import (
    MpesaAccountFactory,
    OrderFactory,
    PaymentFactory,
    ProductFactory,
)
from tests.support.facts import kes, nothing_changes, path_of, sale_of
from tests.support.gateway import final
from tests.support.organisation import FakeOrganisation
from tests.support.own_till import FULL, R1, R2, own_till, sight


pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quiet(messages, time):
    return messages


@pytest.fixture
def account(duka):
    """The shop's own till, without an initiator: M-Pesa cannot be asked."""
    return own_till(duka)


@pytest.fixture
def boss(alice):
    return Access(alice.user, alice.shop, "owner")


def collection_of(receipt):
    return f"collection:{receipt.collection_id}"


def pay_late(order, receipt=R1, amount=None):
    """A prompt of this sale is paid after the sale ended."""
    payment = PaymentFactory(order=order, amount=amount or order.total, phone=FULL)
    with transaction.atomic():
        locked, held = settlement.locked(payment.pk)
        settlement.record_success(locked, held, Proof(Source.CALLBACK, receipt, FULL))
    return payment


def surplus_of(order):
    """The one portion of surplus that stands on a sale, by its key."""
    return f"allocation:{ledger.current().get(kind='surplus', order=order).pk}"


def standing(receipt=R1):
    """Where the money of a receipt is: kind, sale and sum of what stands."""
    rows = ledger.current(Collection.objects.get(receipt=receipt)).order_by("pk")
    return [(one.kind, one.order and one.order.number, one.amount) for one in rows]


def listed(access):
    return [(one.kind, one.key, one.amount) for one in drawer.pieces(access)]


# What is in it.


def test_each_kind_of_free_money_is_listed_with_what_it_is(duka, account, boss, time):
    sold = OrderFactory(shop=duka, total=100)
    late = pay_late(sold, R1, amount=150)
    surplus = surplus_of(sold)
    time.turn(1)
    unmatched = sight(account, R2, 80)
    time.turn(1)
    claimed = sight(account, "UAE5B2K9QV", 90, Source.C2B)
    time.turn(1)
    other = sight(account, "UAE5B2K9QW", 70)
    drawer.keep_as_credit(
        access=boss, piece=collection_of(other), customer="Mama Njeri", reason="Deposit"
    )

    credit = Allocation.objects.get(kind="credit")
    assert listed(boss) == [
        (PieceKind.CREDIT, f"allocation:{credit.pk}", kes(70)),
        (PieceKind.CLAIMED, f"receipt:{claimed.pk}", kes(90)),
        (PieceKind.UNMATCHED, collection_of(unmatched), kes(80)),
        (PieceKind.SURPLUS, surplus, kes(50)),
    ]
    facts = {
        one.kind: (one.receipt, one.payer, one.customer, one.order, one.is_usable)
        for one in drawer.pieces(boss)
    }
    assert facts == {
        PieceKind.CREDIT: ("UAE5B2K9QW", "2547 ••• 678", "Mama Njeri", None, True),
        PieceKind.CLAIMED: ("UAE5B2K9QV", "2547 ••• 678", "", None, False),
        PieceKind.UNMATCHED: (R2, "2547 ••• 678", "", None, True),
        PieceKind.SURPLUS: (R1, "0712 ••• 678", "", late.order, True),
    }


def test_drawer_is_the_managers_and_of_their_shop_alone(duka, account, bob, charlie):
    sight(account)
    charlies = MpesaAccountFactory(shop=charlie.shop, shortcode="600500")
    sight(charlies, R2)

    with pytest.raises(Forbidden):
        drawer.pieces(Access(bob.user, duka, "cashier"))
    [his] = drawer.pieces(Access(charlie.user, charlie.shop, "owner"))
    assert his.receipt == R2


def test_nobodys_money_of_the_platform_is_in_no_shops_drawer(duka, boss):
    shared = PaymentFactory(order=OrderFactory(shop=duka)).account
    receipt = sight(shared, reference="MAMA MBOGA")

    assert receipt.collection.shop is None
    assert drawer.pieces(boss) == []
    with pytest.raises(NotFound):
        drawer.apply(
            access=boss,
            piece=collection_of(receipt),
            order_id=OrderFactory(shop=duka).pk,
            reason="mine",
        )


def test_claim_on_the_platform_is_listed_where_its_reference_leads(duka, boss, charlie):
    payment = PaymentFactory(order=OrderFactory(shop=duka), phone=FULL)
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        settlement.record_failure(order, held, "1032", source=Source.QUERY)
    shared = payment.account
    told = sight(shared, R1, 200, Source.C2B, reference=payment.reference.lower())

    assert [one.key for one in drawer.pieces(boss)] == [f"receipt:{told.pk}"]
    assert drawer.pieces(Access(charlie.user, charlie.shop, "owner")) == []


def test_held_money_is_seen_and_is_no_piece(duka, account, boss):
    PaymentFactory(order=OrderFactory(shop=duka), phone=FULL)
    receipt = sight(account)

    assert receipt.state == "held"
    assert drawer.pieces(boss) == []
    assert free_money.held(boss) == [receipt]
    order = OrderFactory(shop=duka)
    with nothing_changes(), pytest.raises(HeldMoney):
        drawer.apply(
            access=boss, piece=f"receipt:{receipt.pk}", order_id=order.pk, reason="hers"
        )


# Applied to a sale.


def test_unmatched_money_pays_a_sale(duka, account, boss, alice, messages):
    receipt = sight(account)
    order = OrderFactory(shop=duka)

    payment = drawer.apply(
        access=boss, piece=collection_of(receipt), order_id=order.pk, reason="She says"
    )

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert (payment.method, payment.status, payment.receipt, payment.amount) == (
        "c2b", "completed", R1, kes(250),
    )  # fmt: skip
    assert path_of(payment) == ["created", "completed"]
    assert standing() == [("sale", order.number, kes(250))]
    allocation = Allocation.objects.get()
    assert (allocation.actor, allocation.reason) == (alice.user, "She says")
    first = PaymentEvent.objects.filter(payment=payment).earliest("pk")
    assert (first.actor, first.reason) == (alice.user, "She says")
    assert ("payment.completed", "completed") in messages
    assert drawer.pieces(boss) == []
    order.refresh_from_db()
    assert order.frozen_at is not None


@pytest.mark.parametrize(
    ("total", "expected", "portions"),
    [
        (400, ("open", 250, 150, 0), [("sale", 250)]),
        (100, ("paid", 100, 0, 150), [("sale", 100), ("surplus", 150)]),
    ],
    ids=["less is a part payment", "more is surplus of this sale"],
)
def test_amount_that_does_not_fit(duka, account, boss, total, expected, portions):
    receipt = sight(account)
    order = OrderFactory(shop=duka, total=total)

    drawer.apply(
        access=boss, piece=collection_of(receipt), order_id=order.pk, reason="hers"
    )

    status, *sums = expected
    assert sale_of(order) == (status, *map(kes, sums))
    assert standing() == [(kind, order.number, kes(n)) for kind, n in portions]
    order.refresh_from_db()
    assert order.frozen_at is not None


def test_surplus_leaves_its_old_sale(duka, account, boss, alice, messages):
    old = OrderFactory(shop=duka, total=100)
    late = pay_late(old, amount=350)
    piece = surplus_of(old)
    new = OrderFactory(shop=duka, total=200)
    messages.clear()

    payment = drawer.apply(
        access=boss, piece=piece, order_id=new.pk, reason="Her next one"
    )

    assert sale_of(old) == ("paid", kes(100), kes(0), kes(0))
    assert sale_of(new) == ("paid", kes(200), kes(0), kes(50))
    assert standing() == [
        ("sale", old.number, kes(100)),
        ("sale", new.number, kes(200)),
        ("surplus", new.number, kes(50)),
    ]
    [release] = Allocation.objects.filter(kind="release")
    assert (release.actor, release.reason) == (alice.user, "Her next one")
    assert (payment.method, payment.amount, payment.receipt) == ("c2b", kes(250), R1)
    assert Collection.objects.get().payment == late
    assert messages == [
        ("payment.completed", "completed"), ("payment.updated", "completed"),
    ]  # fmt: skip


def test_piece_is_used_once(duka, account, boss):
    receipt = sight(account)
    piece = collection_of(receipt)
    first, second = OrderFactory(shop=duka), OrderFactory(shop=duka)
    drawer.apply(access=boss, piece=piece, order_id=first.pk, reason="hers")

    with nothing_changes(), pytest.raises(SpentAlready):
        drawer.apply(access=boss, piece=piece, order_id=second.pk, reason="hers")


def test_cents_stay_where_they_were(duka, account, boss):
    receipt = sight(account, amount="250.50")
    order = OrderFactory(shop=duka)

    drawer.apply(
        access=boss, piece=collection_of(receipt), order_id=order.pk, reason="hers"
    )

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert [(one.kind, one.amount) for one in drawer.pieces(boss)] == [
        (PieceKind.UNMATCHED, kes("0.50"))
    ]
    other, piece = OrderFactory(shop=duka), collection_of(receipt)
    with nothing_changes(), pytest.raises(InvalidRequest, match="one shilling"):
        drawer.apply(access=boss, piece=piece, order_id=other.pk, reason="the rest")


@pytest.mark.parametrize("reason", ["", "   "])
def test_no_reason_no_act(duka, account, boss, reason):
    piece = collection_of(sight(account))
    order = OrderFactory(shop=duka)

    with nothing_changes(), pytest.raises(InvalidRequest, match="Say why"):
        drawer.apply(access=boss, piece=piece, order_id=order.pk, reason=reason)
    with nothing_changes(), pytest.raises(InvalidRequest, match="Say why"):
        drawer.keep_as_credit(
            access=boss, piece=piece, customer="Mama Njeri", reason=reason
        )


@pytest.mark.parametrize(
    "piece",
    ["", "x", "collection:", "collection:-1", "collection:1e3", "payment:1",
     "allocation:99999999999999999999", "receipt:٣", "collection:7777777"],
)  # fmt: skip
def test_nonsense_is_not_found(duka, boss, piece):
    order = OrderFactory(shop=duka)

    with nothing_changes(), pytest.raises(NotFound):
        drawer.apply(access=boss, piece=piece, order_id=order.pk, reason="x")


def test_another_shops_piece_and_sale_are_not_found(duka, account, boss, charlie):
    his = MpesaAccountFactory(shop=charlie.shop, shortcode="600500")
    foreign = sight(his, R2)
    own = sight(account)
    order = OrderFactory(shop=duka)
    claimed = sight(his, "UAE5B2K9QX", 40, Source.C2B)

    with nothing_changes():
        for piece in (collection_of(foreign), f"receipt:{claimed.pk}"):
            with pytest.raises(NotFound):
                drawer.apply(access=boss, piece=piece, order_id=order.pk, reason="mine")
        with pytest.raises(NotFound):
            drawer.apply(
                access=boss,
                piece=collection_of(own),
                order_id=charlie.order.pk,
                reason="his",
            )


def test_cashier_may_not_sort_money(duka, account, bob):
    piece = collection_of(sight(account))
    cashier = Access(bob.user, duka, "cashier")
    order = OrderFactory(shop=duka)

    with nothing_changes():
        with pytest.raises(Forbidden):
            drawer.apply(access=cashier, piece=piece, order_id=order.pk, reason="x")
        with pytest.raises(Forbidden):
            drawer.keep_as_credit(
                access=cashier, piece=piece, customer="Mama Njeri", reason="x"
            )


# Asked first (law 6).


def test_prompt_that_was_paid_meanwhile_closes_the_sale_first(
    duka, account, boss, mpesa
):
    receipt = sight(account, amount=300)
    order = OrderFactory(shop=duka)
    prompt = PaymentFactory(order=order, phone="254733000222")
    mpesa.answers[prompt.checkout_request_id] = final("0")

    with pytest.raises(order_lifecycle.OrderNotOpen, match="paid already"):
        drawer.apply(
            access=boss, piece=collection_of(receipt), order_id=order.pk, reason="hers"
        )

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert [(one.key, one.amount) for one in drawer.pieces(boss)] == [
        (collection_of(receipt), kes(300))
    ]


def test_what_was_learned_is_written_down(duka, account, boss, mpesa):
    receipt = sight(account, amount=300)
    order = OrderFactory(shop=duka, total=300)
    PaymentFactory(order=order, amount=200, phone="254733000222")

    payment = drawer.apply(
        access=boss, piece=collection_of(receipt), order_id=order.pk, reason="hers"
    )

    said = PaymentEvent.objects.filter(payment=payment).earliest("pk").reason
    assert said == (
        "hers M-Pesa was asked first: KES 200 asked from the customer is undecided."
    )


# Claimed money.


def test_claim_above_the_limit_is_refused_in_words(duka, account, boss):
    claimed = sight(account, source=Source.C2B)
    order = OrderFactory(shop=duka)

    with nothing_changes(), pytest.raises(NotConfirmed) as refused:
        drawer.apply(
            access=boss, piece=f"receipt:{claimed.pk}", order_id=order.pk, reason="x"
        )

    assert not isinstance(refused.value, NotConfirmedAsked)
    assert not OrganisationRequest.objects.exists()


def test_claim_above_the_limit_is_asked_about(duka, account, boss, monkeypatch):
    account.initiator_name, account.initiator_password = "till", "secret"
    account.save()
    fake = FakeOrganisation()
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    claimed = sight(account, source=Source.C2B)

    with nothing_changes(), pytest.raises(NotConfirmedAsked):
        drawer.keep_as_credit(
            access=boss,
            piece=f"receipt:{claimed.pk}",
            customer="Mama Njeri",
            reason="x",
        )

    assert [one.receipt for one in fake.questions] == [R1]


def test_claim_within_the_limit_is_used(duka, account, boss):
    MpesaSettings.objects.filter(shop=duka).update(claimed_limit=250)
    claimed = sight(account, source=Source.C2B)
    order = OrderFactory(shop=duka)

    drawer.apply(
        access=boss, piece=f"receipt:{claimed.pk}", order_id=order.pk, reason="hers"
    )

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    claimed.refresh_from_db()
    assert (claimed.state, claimed.collection.shop) == ("counted", duka)
    assert claimed.collection.confirmed_at is None


def test_claim_that_was_confirmed_since_it_was_listed_is_used(duka, account, boss):
    claimed = sight(account, source=Source.C2B)
    [piece] = drawer.pieces(boss)
    sight(account, source=Source.STATEMENT)
    order = OrderFactory(shop=duka)

    drawer.apply(access=boss, piece=piece.key, order_id=order.pk, reason="hers")

    assert piece.key == f"receipt:{claimed.pk}"
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))


def test_claim_that_a_prompt_may_own_by_now_is_refused(duka, account, boss):
    MpesaSettings.objects.filter(shop=duka).update(claimed_limit=250)
    claimed = sight(account, source=Source.C2B)
    PaymentFactory(order=OrderFactory(shop=duka), phone=FULL)

    with nothing_changes(), pytest.raises(HeldMoney):
        drawer.keep_as_credit(
            access=boss,
            piece=f"receipt:{claimed.pk}",
            customer="Mama Njeri",
            reason="x",
        )


def test_code_that_waited_for_this_money_is_told(duka, account, boss, bob):
    receipt = sight(account)
    order, other = OrderFactory(shop=duka), OrderFactory(shop=duka)
    claims = [
        CodeClaim.objects.create(
            shop=duka,
            order=one,
            account=account,
            number=number,
            created_by=bob.user,
            created_at=clock.now(),
        )
        for one, number in ((other, R1), (order, R2))
    ]

    drawer.apply(
        access=boss, piece=collection_of(receipt), order_id=order.pk, reason="hers"
    )

    for claim in claims:
        claim.refresh_from_db()
    assert [one.state for one in claims] == ["denied", "waiting"]


# Credit.


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("0712 345 678", FULL),
        ("+254712345678", FULL),
        ("0112345678", "254112345678"),
        ("  Mama   Njeri ", "Mama Njeri"),
        ("Kamau 2", "Kamau 2"),
    ],
)
def test_credit_is_a_full_number_or_a_name(duka, account, boss, alice, typed, kept):
    receipt = sight(account)

    credit = drawer.keep_as_credit(
        access=boss, piece=collection_of(receipt), customer=typed, reason="Deposit"
    )

    credit.refresh_from_db()
    assert (credit.kind, credit.customer, credit.amount, credit.actor) == (
        "credit", kept, kes(250), alice.user,
    )  # fmt: skip
    assert credit.reason == "Deposit"
    assert Collection.objects.get().allocated == kes(250)
    assert not Payment.objects.exists()


@pytest.mark.parametrize(
    "typed", ["", "J", "2547****678", "2547 ••• 678", "071234567", "+1 202 555 0100"]
)
def test_credit_of_nobody_is_refused(account, boss, typed):
    receipt = sight(account)

    with nothing_changes(), pytest.raises(NobodysCredit):
        drawer.keep_as_credit(
            access=boss, piece=collection_of(receipt), customer=typed, reason="x"
        )


def test_surplus_becomes_credit_and_pays_a_later_sale(duka, account, boss):
    old = OrderFactory(shop=duka, total=100)
    pay_late(old, amount=350)
    credit = drawer.keep_as_credit(
        access=boss, piece=surplus_of(old), customer="0712345678", reason="Next time"
    )
    assert sale_of(old) == ("paid", kes(100), kes(0), kes(0))
    new = OrderFactory(shop=duka, total=250)

    drawer.apply(
        access=boss, piece=f"allocation:{credit.pk}", order_id=new.pk, reason="Today"
    )

    assert sale_of(new) == ("paid", kes(250), kes(0), kes(0))
    assert sale_of(old) == ("paid", kes(100), kes(0), kes(0))
    assert standing() == [
        ("sale", old.number, kes(100)), ("sale", new.number, kes(250)),
    ]  # fmt: skip


# Sent back.


def test_refund_takes_the_piece_out_of_the_drawer(duka, account, boss):
    receipt = sight(account)

    refunds.ask(
        access=boss, collection_id=receipt.collection_id, method="cash", amount=250,
        reason="She wants it back", restocks=False,
    )  # fmt: skip

    assert drawer.pieces(boss) == []
    with pytest.raises(SpentAlready):
        drawer.apply(
            access=boss,
            piece=collection_of(receipt),
            order_id=OrderFactory(shop=duka).pk,
            reason="again",
        )


# The platform's operator.


def test_operator_hands_money_to_a_shop(duka, boss, operator, bob):
    shared = PaymentFactory(order=OrderFactory(shop=duka)).account
    receipt = sight(shared, reference="MAMA MBOGA")

    with pytest.raises(Forbidden):
        drawer.hand_to_shop(bob.user, receipt.collection, duka)
    drawer.hand_to_shop(operator.user, receipt.collection, duka)

    assert [one.key for one in drawer.pieces(boss)] == [collection_of(receipt)]
    with nothing_changes(), pytest.raises(NotToBePlaced):
        drawer.hand_to_shop(operator.user, receipt.collection, duka)


def test_money_handed_over_pays_the_sale_whose_code_waits(duka, operator, bob):
    shared = PaymentFactory(order=OrderFactory(shop=duka)).account
    receipt = sight(shared, reference="MAMA MBOGA")
    order = OrderFactory(shop=duka)
    claim = CodeClaim.objects.create(
        shop=duka, order=order, account=shared, number=R1, created_by=bob.user,
        created_at=clock.now(),
    )  # fmt: skip

    drawer.hand_to_shop(operator.user, receipt.collection, duka)

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    claim.refresh_from_db()
    assert claim.state == "used"


@pytest.mark.parametrize("kind", ["surplus", "collection", "claimed"])
def test_money_of_another_environment_pays_nothing(duka, account, boss, settings, kind):
    """Law 13: what a shop tried out with closes no real sale."""
    if kind == "surplus":
        pay_late(cancelled(duka, boss))
    else:
        sight(account, source=Source.PULL if kind == "collection" else Source.C2B)
    [piece] = drawer.pieces(boss)
    assert piece.kind in (kind, "unmatched")
    order = OrderFactory(shop=duka, total=250)

    settings.MPESA_ENV = "sandbox"

    assert (drawer.pieces(boss), list(free_money.held(boss))) == ([], [])
    with nothing_changes(), pytest.raises(NotFound):
        drawer.apply(access=boss, piece=piece.key, order_id=order.pk, reason="x")
    assert offers.offers_for(order).shown == ()
    Receipt.objects.update(look_at=clock.now())
    assert matching.due(9) == []
    if piece.collection_id is not None:
        with nothing_changes(), pytest.raises(InvalidRequest, match="environment"):
            refunds.ask(
                access=boss, collection_id=piece.collection_id, method="cash",
                amount=250, reason="x", restocks=False,
            )  # fmt: skip


def test_shops_own_money_is_not_the_operators_to_place(duka, account, operator):
    receipt = sight(account)

    with nothing_changes(), pytest.raises(NotToBePlaced):
        drawer.hand_to_shop(operator.user, receipt.collection, duka)


# Named in the issue.


def test_last_piece_is_sold_twice_and_both_are_paid(duka, account, boss):
    last = ProductFactory(shop=duka, stocked=1)
    first = OrderFactory(shop=duka, items=[(last, 1)])
    second = OrderFactory(shop=duka, items=[(last, 1)])
    one, two = sight(account, R1), sight(account, R2)

    drawer.apply(
        access=boss, piece=collection_of(one), order_id=first.pk, reason="hers"
    )
    drawer.apply(
        access=boss, piece=collection_of(two), order_id=second.pk, reason="his"
    )

    assert [sale_of(order) for order in (first, second)] == [
        ("paid", kes(250), kes(0), kes(0))
    ] * 2
    last.refresh_from_db()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (last.stock, first.stock_short, second.stock_short) == (-1, False, True)


def cancelled(duka, boss):
    order = OrderFactory(shop=duka)
    return order_lifecycle.cancel(order.pk, actor=boss.user)


def refunded(duka, boss):
    order = OrderFactory(shop=duka)
    pay_late(order, "UAE5B2K9QA")
    refunds.ask(
        access=boss, collection_id=Collection.objects.get().pk, method="cash",
        amount=250, reason="Did not fit", restocks=True,
    )  # fmt: skip
    order.refresh_from_db()
    return order


def paid(duka, boss):
    order = OrderFactory(shop=duka)
    pay_late(order, "UAE5B2K9QA")
    order.refresh_from_db()
    return order


@pytest.mark.parametrize("end", [cancelled, refunded, paid])
def test_late_money_on_a_cancelled_a_refunded_and_a_paid_order(
    duka, account, boss, end
):
    order = end(duka, boss)
    ended = sale_of(order)[:3]
    assert order.status == OrderStatus(end.__name__)

    pay_late(order, R1)

    assert sale_of(order) == (*ended, kes(250))
    [piece] = drawer.pieces(boss)
    assert (piece.kind, piece.amount, piece.order, piece.receipt) == (
        PieceKind.SURPLUS, kes(250), order, R1,
    )  # fmt: skip
    new = OrderFactory(shop=duka)
    drawer.apply(access=boss, piece=piece.key, order_id=new.pk, reason="Hers")
    assert sale_of(order) == (*ended, kes(0))
    assert sale_of(new) == ("paid", kes(250), kes(0), kes(0))
    assert drawer.pieces(boss) == []
