"""One piece of free money and two people who would use it: one of them does."""

import threading
from decimal import Decimal

import pytest
from django.db import transaction
from django.db.models import Sum

from orders.models import Order
from payments import (
    accounts,
    code_box,
    direct,
    drawer,
    ledger,
    matching,
    receipts,
    settlement,
)
from payments.enums import Source
from payments.models import (
    Allocation,
    CodeClaim,
    Collection,
    MpesaSettings,
    Payment,
    Receipt,
)
from payments.receipts import Told
from shops.tenancy import Access
from smartduka.lib import clock
from tests.concurrency.racing import MARKS, kinds, together
from tests.factories import (
    MpesaAccountFactory,
    OrderFactory,
    PaymentFactory,
    ShopFactory,
)
from tests.support.facts import sale_of


pytestmark = MARKS

HASTY_S = 0.4
R1 = "UAE5B2K9QT"
FULL = "254712345678"
PIECES = ["surplus", "collection", "claimed"]


@pytest.fixture(autouse=True)
def account(duka):
    """The shop's own till; a claim may pay up to KES 1,000."""
    account = MpesaAccountFactory(
        shop=duka, type="till", shortcode="600300", party_b="300300"
    )
    MpesaSettings.objects.filter(shop=duka).update(
        account=account, uses_platform_account=False, claimed_limit=1000
    )
    return account


@pytest.fixture
def people(alice, mary):
    return [
        Access(alice.user, alice.shop, "owner"),
        Access(mary.user, mary.shop, "manager"),
    ]


@pytest.fixture
def sales(duka):
    return [OrderFactory(shop=duka, total=250) for _ in range(2)]


def sight(account, source, number=R1):
    with transaction.atomic():
        told = Told(number, Decimal(250), "2547 ***** 678", paid_at=clock.now())
        receipt = receipts.sight(account, told, source)
    matching.resolve(receipt.pk)
    receipt.refresh_from_db()
    return receipt


def piece_of(kind, account):
    """KES 250 of free money of this kind, by its key."""
    if kind == "claimed":
        return f"receipt:{sight(account, Source.C2B).pk}"
    if kind == "collection":
        return f"collection:{sight(account, Source.PULL).collection_id}"
    order = OrderFactory(shop=account.shop, total=100)
    payment = PaymentFactory(order=order, amount=350, phone=FULL)
    with transaction.atomic():
        locked, held = settlement.locked(payment.pk)
        proof = settlement.Proof(Source.CALLBACK, R1, FULL, clock.now())
        settlement.record_success(locked, held, proof)
    return f"allocation:{ledger.current().get(kind='surplus').pk}"


def apply(access, piece, order):
    return drawer.apply(access=access, piece=piece, order_id=order.pk, reason="hers")


def keep(access, piece):
    return drawer.keep_as_credit(
        access=access, piece=piece, customer="Mama Njeri", reason="hers"
    )


def both_apply(people, piece, sales):
    jobs = [
        lambda access=access, order=order: apply(access, piece, order)
        for access, order in zip(people, sales, strict=True)
    ]
    return kinds(together(*jobs))


def handed_out():
    """What stands of the one collection by kind, and what the collection says."""
    collection = Collection.objects.get(receipt=R1)
    rows = ledger.current(collection).values("kind").annotate(sum=Sum("amount"))
    return {row["kind"]: row["sum"] for row in rows}, collection.allocated


def without_locks(off):
    off.lock(Order, Payment, Collection, Receipt)


def without_the_net(off):
    """What stands below the locks when money is freed, counted and allocated."""
    off.condition(ledger, "Collection")
    off.constraint(Collection, "collection_is_not_overdrawn")
    off.constraint(Collection, "receipt_is_one_collection_of_an_account")
    off.constraint(Receipt, "collection")
    off.constraint(Allocation, "releases")
    off.constraint(Order, "order_surplus_is_not_negative")


def assert_used_once(kind, sales):
    before = Decimal(100) if kind == "surplus" else Decimal(0)
    assert handed_out() == ({"sale": before + 250}, before + 250)
    assert sorted(sale_of(order) for order in sales) == [
        ("open", 0, 250, 0), ("paid", 250, 0, 0),
    ]  # fmt: skip
    assert Payment.objects.filter(method="c2b").count() == 1
    assert not Order.objects.filter(surplus__gt=0).exists()


@pytest.mark.parametrize("kind", PIECES)
def test_two_people_use_one_piece_once(kind, account, people, sales, rendezvous):
    piece = piece_of(kind, account)
    rendezvous(patience_s=HASTY_S).before(direct, "pay")

    assert both_apply(people, piece, sales) == ["SpentAlready", "ok"]

    assert_used_once(kind, sales)


@pytest.mark.parametrize("kind", PIECES)
def test_without_the_locks_the_net_holds(kind, account, people, sales, off, rendezvous):
    piece = piece_of(kind, account)
    without_locks(off)
    rendezvous().before(drawer, "_freed")

    assert both_apply(people, piece, sales) == ["SpentAlready", "ok"]

    assert_used_once(kind, sales)


@pytest.mark.parametrize("kind", PIECES)
def test_without_any_guard_a_piece_pays_two_sales(
    kind, account, people, sales, off, rendezvous
):
    piece = piece_of(kind, account)
    without_locks(off)
    without_the_net(off)
    rendezvous().before(drawer, "_freed")

    assert both_apply(people, piece, sales) == ["ok", "ok"]

    assert [sale_of(order)[0] for order in sales] == ["paid", "paid"]
    assert Payment.objects.filter(method="c2b").count() == 2


@pytest.mark.parametrize("kind", PIECES)
def test_a_piece_is_kept_or_pays(kind, account, people, sales, rendezvous):
    piece = piece_of(kind, account)
    rendezvous(patience_s=HASTY_S).before(drawer, "_freed")

    ended = kinds(
        together(
            lambda: apply(people[0], piece, sales[0]), lambda: keep(people[1], piece)
        )
    )

    assert ended == ["SpentAlready", "ok"]
    portions, allocated = handed_out()
    assert sum(portions.values()) == allocated
    is_paid = sale_of(sales[0])[0] == "paid"
    assert is_paid != ("credit" in portions)


def test_two_tills_use_one_code_once(account, people, sales, rendezvous):
    sight(account, Source.PULL)
    rendezvous(patience_s=HASTY_S).before(direct, "pay")

    ended = kinds(
        together(
            *[
                lambda access=access, order=order: code_box.use(
                    access=access, order_id=order.pk, number=R1
                )
                for access, order in zip(people, sales, strict=True)
            ]
        )
    )

    assert ended in (["SpentAlready", "ok"], ["NotThisSales", "ok"])
    assert_used_once("collection", sales)


def test_two_tills_type_one_unknown_code(account, people, sales):
    answers = together(
        *[
            lambda access=access, order=order: code_box.check(
                access=access, order_id=order.pk, text=R1
            )
            for access, order in zip(people, sales, strict=True)
        ]
    )

    assert sorted(answer.found for answer in answers) == ["used", "waiting"]
    assert CodeClaim.objects.count() == 1


def test_a_claim_is_used_while_mpesa_confirms_it(account, people, sales, rendezvous):
    piece = piece_of("claimed", account)
    rendezvous(patience_s=HASTY_S).before(direct, "collect")

    results = together(
        lambda: apply(people[0], piece, sales[0]),
        lambda: sight(account, Source.STATEMENT),
    )

    # The statement may count it first; then the manager looks again.
    assert kinds(results) in (["ok", "ok"], ["SpentAlready", "ok"])
    collection = Collection.objects.get()
    assert (collection.receipt, collection.amount) == (R1, 250)
    if kinds(results) == ["SpentAlready", "ok"]:
        apply(people[0], piece, sales[0])
    assert handed_out() == ({"sale": 250}, 250)
    assert sale_of(sales[0]) == ("paid", 250, 0, 0)


@pytest.mark.parametrize("bound", [True, False], ids=["to a payment", "to a shop"])
def test_money_is_handed_to_no_shop_that_found_another_owner(operator, duka, bound):
    """Who waits for its lock looks again at all of it."""
    there = ShopFactory(platform=True)
    collection = sight(
        accounts.platform_account(), Source.PULL, "UAE5NOBODY"
    ).collection
    payment = PaymentFactory(order=OrderFactory(shop=there, total=250), phone=FULL)
    assert (collection.shop, collection.payment) == (None, None)
    has_locked, may_go_on = threading.Event(), threading.Event()

    def first():
        with transaction.atomic():
            rows = Collection.objects.select_for_update(no_key=True)
            one = rows.get(pk=collection.pk)
            has_locked.set()
            may_go_on.wait(HASTY_S)
            one.shop, one.payment = there, payment if bound else None
            one.save(update_fields=["shop", "payment"])

    def second():
        has_locked.wait(10)
        drawer.hand_to_shop(operator.user, collection, duka)

    assert kinds(together(first, second)) == ["NotToBePlaced", "ok"]
    collection.refresh_from_db()
    assert (collection.shop, collection.payment) == (there, payment if bound else None)


def test_a_sale_is_paid_by_its_prompt_and_by_the_drawer(account, people, sales):
    """Both are recorded: what the sale does not need any more is surplus."""
    piece = piece_of("collection", account)
    prompt = PaymentFactory(order=sales[0], phone="254733000222")

    def succeed():
        with transaction.atomic():
            order, payment = settlement.locked(prompt.pk)
            proof = settlement.Proof(Source.CALLBACK, "UAE5B2K9QU", FULL, clock.now())
            settlement.record_success(order, payment, proof)

    results = together(lambda: apply(people[0], piece, sales[0]), succeed)

    # Whoever is second: the prompt's money is surplus, or the piece stays free.
    after = sale_of(sales[0])
    assert (kinds(results), after) in (
        (["ok", "ok"], ("paid", 250, 0, 250)),
        (["OrderNotOpen", "ok"], ("paid", 250, 0, 0)),
    )
    assert Collection.objects.aggregate(sum=Sum("amount"))["sum"] == 500
