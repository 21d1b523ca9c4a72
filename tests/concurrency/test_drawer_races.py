"""One piece of free money and two people who would use it: one of them does."""

import threading
from decimal import Decimal

import pytest
from django.db import transaction
from django.db.models import Sum

from orders import lifecycle as order_lifecycle
from orders.models import Order
from payments import (
    accounts,
    cash,
    code_box,
    direct,
    drawer,
    inquiries,
    ledger,
    matching,
    precedence,
    receipts,
    refunds,
    settlement,
)
from payments.enums import Source
from payments.models import (
    Allocation,
    CodeClaim,
    Collection,
    MpesaSettings,
    OrganisationRequest,
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
from tests.support import own_till
from tests.support.facts import sale_of


pytestmark = MARKS

HASTY_S = 0.4
R1, R2 = "UAE5B2K9QT", "UAE5B2K9QU"
FULL, OTHERS = "254712345678", "254733000222"
DENIAL = "M-Pesa does not know this code. Look at the SMS again."
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
def test_without_the_net_the_locks_hold(kind, account, people, sales, off, rendezvous):
    piece = piece_of(kind, account)
    without_the_net(off)
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


def both_type(people, sales):
    answers = together(
        *[
            lambda access=access, order=order: code_box.check(
                access=access, order_id=order.pk, text=R1
            )
            for access, order in zip(people, sales, strict=True)
        ]
    )
    return sorted(answer.found for answer in answers), CodeClaim.objects.count()


def test_two_tills_type_one_unknown_code(account, people, sales, rendezvous):
    rendezvous().before(code_box, "_claim")

    assert both_type(people, sales) == (["used", "waiting"], 1)


def test_two_tills_wait_for_one_code_without_the_constraint(
    account, people, sales, off, rendezvous
):
    off.constraint(CodeClaim, "code_is_claimed_for_one_sale_at_a_time")
    rendezvous().before(code_box, "_claim")

    assert both_type(people, sales) == (["waiting", "waiting"], 2)


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


def hand_over_while_it_is_found(operator, duka, is_bound):
    """The operator hands money to a shop while it is found to be another one's.

    Returns what came of it, whose it was found to be, and the money.
    """
    there = ShopFactory(platform=True)
    collection = sight(
        accounts.platform_account(), Source.PULL, "UAE5NOBODY"
    ).collection
    payment = PaymentFactory(order=OrderFactory(shop=there, total=250), phone=FULL)
    assert (collection.shop, collection.payment) == (None, None)
    owner = (there, payment if is_bound else None)
    has_locked, may_go_on = threading.Event(), threading.Event()

    def first():
        with transaction.atomic():
            rows = Collection.objects.select_for_update(no_key=True)
            one = rows.get(pk=collection.pk)
            has_locked.set()
            may_go_on.wait(HASTY_S)
            one.shop, one.payment = owner
            one.save(update_fields=["shop", "payment"])

    def second():
        assert has_locked.wait(10)
        drawer.hand_to_shop(operator.user, collection, duka)

    ended = kinds(together(first, second))
    collection.refresh_from_db()
    return ended, owner, collection


FOUND = pytest.mark.parametrize(
    "is_bound", [True, False], ids=["to a payment", "to a shop"]
)


@FOUND
def test_money_is_handed_to_no_shop_that_found_another_owner(is_bound, operator, duka):
    """Who waits for its lock looks again at all of it."""
    ended, owner, money = hand_over_while_it_is_found(operator, duka, is_bound)

    assert ended == ["NotToBePlaced", "ok"]
    assert (money.shop, money.payment) == owner


@FOUND
def test_without_the_condition_a_shop_is_handed_what_is_anothers(
    is_bound, operator, duka, off
):
    off.condition(drawer, "Collection")

    ended, owner, money = hand_over_while_it_is_found(operator, duka, is_bound)

    assert ended == ["ok", "ok"]
    assert (money.shop, money.payment) == (duka, owner[1])


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


# Two pieces of one sale.


@pytest.fixture
def two_surpluses(account):
    """A sale of KES 100 that was paid three times over: two pieces of KES 250."""
    order = OrderFactory(shop=account.shop, total=100)
    for number, amount, phone in ((R1, 350, FULL), (R2, 250, OTHERS)):
        payment = PaymentFactory(order=order, amount=amount, phone=phone)
        with transaction.atomic():
            locked, held = settlement.locked(payment.pk)
            proof = settlement.Proof(Source.CALLBACK, number, phone, clock.now())
            settlement.record_success(locked, held, proof)
    return order


def both_are_used(people, order, sales):
    """What came of it, the sale's surplus as it stands, and as the sale has it."""
    free = ledger.current().filter(kind="surplus", order=order)
    jobs = [
        lambda access=access, one=one, sale=sale: apply(
            access, f"allocation:{one}", sale
        )
        for access, one, sale in zip(
            people, free.values_list("pk", flat=True), sales, strict=True
        )
    ]
    ended = kinds(together(*jobs))
    order.refresh_from_db()
    return ended, ledger.total_of(free), order.surplus


def test_two_pieces_of_one_sale_are_both_given_up(
    two_surpluses, people, sales, rendezvous
):
    rendezvous(patience_s=HASTY_S).before(order_lifecycle, "give_up_surplus")

    assert both_are_used(people, two_surpluses, sales) == (["ok", "ok"], 0, 0)


def test_without_the_sales_lock_a_surplus_stays_that_is_nowhere(
    two_surpluses, people, sales, off, rendezvous
):
    off.lock(Order)
    rendezvous().before(order_lifecycle, "give_up_surplus")

    assert both_are_used(people, two_surpluses, sales) == (["ok", "ok"], 0, 250)


# A claim that is denied while it is spent.


def by_the_drawer(account, people, sales):
    piece = piece_of("claimed", account)
    return lambda: apply(people[0], piece, sales[0])


def by_its_code(account, people, sales):
    """Somebody typed the code; the notice that claims it pays the sale by itself."""
    code_box.check(access=people[0], order_id=sales[0].pk, text=R1)
    with transaction.atomic():
        told = Told(R1, Decimal(250), "2547 ***** 678", paid_at=clock.now())
        receipt = receipts.sight(account, told, Source.C2B)
    return lambda: matching.resolve(receipt.pk)


def spend_while_it_is_denied(spend, account, monkeypatch, patience_s):
    """The claim is denied when who spends it has looked and not yet counted it."""
    looked, denied = threading.Event(), threading.Event()
    original = direct.collect

    def collect(*args, **kwargs):
        looked.set()
        denied.wait(patience_s)
        return original(*args, **kwargs)

    def deny():
        assert looked.wait(10)
        request = OrganisationRequest(account=account, receipt=R1)
        inquiries._deny_claims(request, DENIAL)
        denied.set()

    monkeypatch.setattr(direct, "collect", collect)
    ended = kinds(together(spend, deny))
    rows = Collection.objects.values_list("receipt", "allocated", "disputed")
    return ended, list(rows)


@pytest.mark.parametrize("road", [by_the_drawer, by_its_code])
def test_a_claim_that_is_denied_while_it_is_spent_is_disputed(
    road, account, people, sales, monkeypatch
):
    spend = road(account, people, sales)

    assert spend_while_it_is_denied(spend, account, monkeypatch, HASTY_S) == (
        ["ok", "ok"], [(R1, 250, DENIAL)],
    )  # fmt: skip


@pytest.mark.parametrize("road", [by_the_drawer, by_its_code])
def test_without_its_lock_a_denied_claim_is_spent_and_nobody_is_told(
    road, account, people, sales, off, monkeypatch
):
    spend = road(account, people, sales)
    off.lock(Receipt)

    assert spend_while_it_is_denied(spend, account, monkeypatch, 20.0) == (
        ["ok", "ok"], [(R1, 250, "")],
    )  # fmt: skip


# Money that turns out to be a payment's, and the sale that had it.


def a_whole(account, people, open_sale):
    """All of it is on the sale: a payment by hand has it."""
    apply(people[0], piece_of("collection", account), open_sale)
    return 250


def a_rest(account, people, open_sale):
    """A part went back before: the money is no payment's, and the rest is on the sale."""
    piece = piece_of("collection", account)
    collection = Collection.objects.get()
    refunds.ask(
        access=people[0], collection_id=collection.pk, method="cash", amount=50,
        reason="Did not fit", restocks=False,
    )  # fmt: skip
    apply(people[0], piece, open_sale)
    return 200


@pytest.fixture
def open_sale(duka):
    return OrderFactory(shop=duka, total=1000)


@pytest.fixture
def prompt(account):
    """A prompt for KES 250, to somebody whose number the money does not show."""
    return PaymentFactory(
        order=OrderFactory(shop=account.shop, total=250), phone=OTHERS
    )


def prove(prompt):
    """M-Pesa says by the prompt's own callback that the money is its."""
    with transaction.atomic():
        order, held = settlement.locked(prompt.pk)
        proof = settlement.Proof(Source.CALLBACK, R1, OTHERS, clock.now())
        return settlement.record_success(order, held, proof)


def prove_while_cash_comes(prompt, open_sale, access):
    """What came of it, what the sale counts as paid, and what stands for it."""
    results = together(
        lambda: prove(prompt),
        lambda: cash.take(access=access, order_id=open_sale.pk, amount=300, key=None),
    )
    stands = ledger.current().filter(kind="sale", order=open_sale)
    return kinds(results), sale_of(open_sale)[1], ledger.total_of(stands)


@pytest.mark.parametrize("road", [a_whole, a_rest])
def test_a_sale_loses_its_money_while_cash_comes_for_it(
    road, account, people, open_sale, prompt, rendezvous
):
    paid = road(account, people, open_sale)
    assert sale_of(open_sale) == ("open", paid, 1000 - paid, 0)
    meeting = rendezvous(patience_s=HASTY_S)
    meeting.before(order_lifecycle, "give_back")
    meeting.before(order_lifecycle, "take_payment")

    ended = prove_while_cash_comes(prompt, open_sale, people[1])

    assert ended == (["ok", "ok"], 300, 300)


@pytest.mark.parametrize("road", [a_whole, a_rest])
def test_without_the_sales_lock_it_counts_what_is_not_there(
    road, account, people, open_sale, prompt, off, rendezvous
):
    paid = road(account, people, open_sale)
    off.lock(Order)
    meeting = rendezvous()
    meeting.before(order_lifecycle, "give_back")
    meeting.before(order_lifecycle, "take_payment")

    ended, counted, stands = prove_while_cash_comes(prompt, open_sale, people[1])

    assert (ended, stands) == (["ok", "ok"], 300)
    # Who writes last: without the cash, or with the money that is gone.
    assert counted in (0, paid + 300)


# Money that its payment binds while somebody spends it.


def prove_while_it_is_spent(account, access, sale, prompt, monkeypatch, patience_s):
    """It is spent when the callback has looked whose it is and not yet bound it."""
    piece = piece_of("collection", account)
    looked, spent = threading.Event(), threading.Event()
    original = precedence.yields

    def yields(*args):
        looked.set()
        spent.wait(patience_s)
        return original(*args)

    def spend():
        assert looked.wait(10)
        apply(access, piece, sale)
        spent.set()

    monkeypatch.setattr(precedence, "yields", yields)
    results = together(lambda: prove(prompt), spend)
    return kinds(results), handed_out()


def test_money_that_its_payment_binds_is_not_spent(
    account, people, sales, prompt, monkeypatch
):
    ended = prove_while_it_is_spent(
        account, people[0], sales[0], prompt, monkeypatch, HASTY_S
    )

    assert ended == (["SpentAlready", "ok"], ({"sale": 250}, 250))
    assert [sale_of(one)[:2] for one in (prompt.order, sales[0])] == [
        ("paid", 250), ("open", 0),
    ]  # fmt: skip


def test_without_its_lock_the_condition_refuses_to_bind_it(
    account, people, sales, prompt, off, monkeypatch
):
    off.lock(Collection)

    ended = prove_while_it_is_spent(
        account, people[0], sales[0], prompt, monkeypatch, 20.0
    )

    # Nothing is written; the callback's notice is processed again.
    assert ended == (["AssertionError", "ok"], ({"sale": 250}, 250))
    assert [sale_of(one)[:2] for one in (prompt.order, sales[0])] == [
        ("open", 0), ("paid", 250),
    ]  # fmt: skip


def test_without_any_guard_it_is_bound_and_spent(
    account, people, sales, prompt, off, monkeypatch
):
    off.lock(Collection)
    off.condition(settlement, "Collection")
    off.condition(ledger, "Collection")
    off.constraint(Collection, "collection_is_not_overdrawn")

    ended = prove_while_it_is_spent(
        account, people[0], sales[0], prompt, monkeypatch, 20.0
    )

    assert ended == (["ok", "ok"], ({"sale": 500}, 500))
    assert [sale_of(one)[:2] for one in (prompt.order, sales[0])] == [
        ("paid", 250), ("paid", 250),
    ]  # fmt: skip


# Money that a question finds while somebody spends it.


def unspent(account, access):
    """It was counted as nobody's."""
    return piece_of("collection", account)


def kept(account, access):
    """It was kept as a customer's credit."""
    return f"allocation:{keep(access, piece_of('collection', account)).pk}"


@pytest.fixture
def denied(account):
    """A prompt that M-Pesa called unpaid, twice."""
    payment = PaymentFactory(
        order=OrderFactory(shop=account.shop, total=250), phone=FULL
    )
    own_till.fail(payment)
    # It is not asked about once more for what is told in a moment.
    Payment.objects.update(asked_at=clock.now() + clock.seconds(60))
    return payment


def answer_while_it_is_spent(denied, access, piece, sale, monkeypatch, patience_s):
    """It is spent when M-Pesa's answer has found it and not yet bound it."""
    found, spent = threading.Event(), threading.Event()
    original = settlement._complete

    def complete(*args):
        found.set()
        spent.wait(patience_s)
        return original(*args)

    def spend():
        assert found.wait(10)
        apply(access, piece, sale)
        spent.set()

    monkeypatch.setattr(settlement, "_complete", complete)
    results = together(
        lambda: own_till.succeed(denied, None, source=Source.QUERY), spend
    )
    return kinds(results), sale_of(denied.order)[:2], sale_of(sale)[:2], handed_out()


@pytest.mark.parametrize(
    ("road", "portions"), [(unspent, {"sale": 250}), (kept, {"credit": 250})]
)
def test_money_that_a_question_finds_is_not_spent(
    road, portions, account, people, sales, denied, monkeypatch
):
    piece = road(account, people[0])

    ended, own, other, there = answer_while_it_is_spent(
        denied, people[0], piece, sales[0], monkeypatch, HASTY_S
    )

    assert (ended, other) == (["SpentAlready", "ok"], ("open", 0))
    assert there == (portions, 250)
    assert own == (("paid", 250) if road is unspent else ("open", 0))


@pytest.mark.parametrize("road", [unspent, kept])
def test_without_its_lock_the_answer_finds_it_and_breaks(
    road, account, people, sales, denied, off, monkeypatch
):
    piece = road(account, people[0])
    off.lock(Collection)

    assert answer_while_it_is_spent(
        denied, people[0], piece, sales[0], monkeypatch, 20.0
    ) == (
        ["AssertionError", "ok"], ("open", 0), ("paid", 250), ({"sale": 250}, 250),
    )  # fmt: skip
