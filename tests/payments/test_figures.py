"""The figures of the day: each equal to what happened, in the right day and shop."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from orders.models import Order
from payments import (
    accounts,
    cash,
    corrections,
    drawer,
    figures,
    going_live,
    inbox,
    ledger,
    matching,
    receipts,
    refunds,
    reversals,
    settlement,
)
from payments.enums import (
    AllocationKind,
    FailureReason,
    Method,
    PaymentStatus,
    Source,
)
from payments.figures import Scope, Takings
from payments.models import Allocation, Collection, Payment
from payments.receipts import Told
from shops.tenancy import Access
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory, ShopFactory
from tests.support import callbacks
from tests.support.facts import kes


pytestmark = pytest.mark.django_db

TODAY = date(2026, 11, 20)
TOMORROW = TODAY + timedelta(days=1)
A_DAY = 24 * 3600


@pytest.fixture(autouse=True)
def _quiet(messages, time, mpesa):
    return messages


@pytest.fixture
def scope(duka):
    return Scope((duka.pk,))


@pytest.fixture
def owner(alice):
    return Access(alice.user, alice.shop, "owner")


def succeed(payment, receipt, *, paid_at=None, source=Source.CALLBACK):
    with transaction.atomic():
        order, locked = settlement.locked(payment.pk)
        proof = settlement.Proof(
            source, receipt, payment.phone if receipt else "", paid_at=paid_at
        )
        settlement.record_success(order, locked, proof)
    payment.refresh_from_db()
    return Collection.objects.get(payment=payment)


def fail(payment, code):
    with transaction.atomic():
        order, locked = settlement.locked(payment.pk)
        settlement.record_failure(order, locked, code, source=Source.CALLBACK)


def paid(shop, amount=250, receipt="UAE5PAID01", *, by=None, **how):
    payment = PaymentFactory(order=OrderFactory(shop=shop, total=amount), created_by=by)
    return succeed(payment, receipt, **how)


def pay_cash(access, amount):
    order = OrderFactory(shop=access.shop, total=amount)
    return cash.take(access=access, order_id=order.pk, amount=amount, key=None).payment


def by_hand(shop, amount, number):
    """Money without a sale, in the shop's own books."""
    return Collection.objects.create(
        account=accounts.platform_account(), environment="simulator", shop=shop,
        receipt=number, amount=kes(amount), source=Source.PULL,
        paid_at=clock.now(), sighted_at=clock.now(),
    )  # fmt: skip


def taken(scope, day=TODAY):
    """What the day's takings are, after its parts were found to agree with it."""
    found = figures.takings_of_day(scope, day)
    for parts in (found.hours, found.methods.values(), dict(found.cashiers).values()):
        assert sum(parts, Takings()) == found.total
    days = dict(figures.takings_of_days(scope, day, clock.now()).days)
    assert days[day] == found.total
    return found.total


def give_back(owner, collection, amount, method="cash"):
    return refunds.ask(
        access=owner, collection_id=collection.pk, method=method, amount=amount,
        reason="Did not fit", restocks=False,
    )  # fmt: skip


def test_day_without_money_is_zero_everywhere(scope):
    found = figures.takings_of_day(scope, TODAY)

    assert found.total == Takings(kes(0), kes(0))
    assert found.hours == (Takings(),) * 24
    assert found.methods == dict.fromkeys(Method, Takings())
    assert found.cashiers == ()


def test_takings_are_what_arrived_by_method_hour_and_cashier(
    duka, scope, seller, owner, time
):
    pay_cash(seller, 200)
    paid(duka, 250, by=owner.user)
    time.turn(3 * 3600)
    # A question proved it: no receipt, and nobody said when.
    paid(duka, 70, None, by=seller.user, source=Source.QUERY)
    by_hand(duka, 35, "UAE5HAND01")

    found = figures.takings_of_day(scope, TODAY)
    assert taken(scope).kept == kes(555)
    assert {way: one.kept for way, one in found.methods.items()} == {
        Method.CASH: kes(200), Method.MPESA_STK: kes(320), Method.C2B: kes(35),
    }  # fmt: skip
    hours = {hour: one.kept for hour, one in enumerate(found.hours) if one.kept}
    assert hours == {12: kes(450), 15: kes(105)}
    people = [(name, one.kept) for name, one in found.cashiers]
    assert people == [("bob", kes(270)), ("alice", kes(250)), ("", kes(35))]


def test_two_people_of_one_name_are_two(duka, scope, alice, bob, time):
    for person, amount in ((alice, 200), (bob, 50)):
        person.user.first_name = "Wanjiru"
        person.user.save(update_fields=["first_name"])
        paid(duka, amount, f"UAE5NAME{amount:02}", by=person.user)

    people = figures.takings_of_day(scope, TODAY).cashiers
    assert [(name, one.kept) for name, one in people] == [
        ("Wanjiru (alice)", kes(200)), ("Wanjiru (bob)", kes(50)),
    ]  # fmt: skip


def test_day_is_nairobis_by_the_time_the_customer_paid(duka, scope, time):
    midnight = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
    paid(duka, 10, "UAE5LAST01", paid_at=midnight - timedelta(microseconds=1))
    paid(duka, 20, "UAE5FIRST1", paid_at=midnight)
    time.turn(5 * A_DAY)
    # Learned of days later: it belongs to the day on which it was paid.
    paid(duka, 40, "UAE5LATE01", paid_at=datetime(2026, 11, 19, 21, 0, tzinfo=UTC))

    assert taken(scope).kept == kes(50)
    assert taken(scope, TOMORROW).kept == kes(20)
    assert figures.takings_of_day(scope, TODAY).hours[23].kept == kes(10)
    assert figures.takings_of_day(scope, TODAY).hours[0].kept == kes(40)
    assert taken(scope, date(2026, 11, 25)).kept == 0


def test_refund_is_taken_off_on_the_day_it_is_given(duka, scope, owner, time):
    collection = paid(duka, 250)
    time.turn(A_DAY)
    give_back(owner, collection, 100)

    assert taken(scope) == Takings(kes(250), kes(0))
    assert taken(scope, TOMORROW) == Takings(kes(0), kes(100))
    assert taken(scope, TOMORROW).kept == kes(-100)
    methods = figures.takings_of_day(scope, TOMORROW).methods
    assert methods[Method.MPESA_STK].kept == kes(-100)


def test_refund_that_waits_or_is_refused_takes_nothing_off(
    duka, scope, owner, mary, time
):
    collection = paid(duka, 6000)
    refund = give_back(owner, collection, 6000)
    assert refund.state == "asked"
    assert taken(scope).kept == kes(6000)

    manager = Access(mary.user, mary.shop, "manager")
    refunds.refuse(access=manager, refund_id=refund.pk, reason="Used")
    assert taken(scope).kept == kes(6000)


def test_reversal_of_mpesa_is_taken_off(duka, scope, time):
    collection = paid(duka, 250)
    reversals.prove_reversed(
        collection, receipt="UAE5BACK01", source=Source.PULL, at=clock.now()
    )

    assert taken(scope) == Takings(kes(250), kes(250))
    assert figures.prompts_of_day(scope, TODAY).paid == 1


def test_surplus_that_pays_another_sale_is_counted_once(
    duka, scope, owner, seller, time
):
    both = PaymentFactory(order=OrderFactory(shop=duka, total=250))
    cash.take(access=seller, order_id=both.order_id, amount=250, key=None)
    succeed(both, "UAE5TWICE1")
    assert taken(scope).kept == kes(500)  # both are in the till

    other = OrderFactory(shop=duka, total=250)
    [piece] = drawer.pieces(owner)
    made = drawer.apply(
        access=owner, piece=piece.key, order_id=other.pk, reason="Buys more"
    )
    assert Payment.objects.filter(status="completed").count() == 3
    assert made.amount == kes(250)
    assert taken(scope).kept == kes(500)


def test_payment_whose_money_was_anothers_is_counted_once(duka, scope, time):
    account = accounts.platform_account()
    guessed = PaymentFactory(order=OrderFactory(shop=duka), phone="254712345678")
    with transaction.atomic():
        told = Told(
            "UAE5WHOSE1", kes(250), "254712345678", "JANE", guessed.reference, None
        )
        receipt = receipts.sight(account, told, Source.PULL)
    matching.resolve(receipt.pk)
    guessed.refresh_from_db()
    assert guessed.status == PaymentStatus.COMPLETED
    Collection.objects.filter(payment=guessed).update(binding="fit")
    real = PaymentFactory(order=OrderFactory(shop=duka), phone="254712345678")
    succeed(real, "UAE5WHOSE1")

    assert Payment.objects.filter(status="completed").count() == 2
    assert taken(scope).kept == kes(250)


def test_shilling_counted_twice_comes_off_the_day_it_was_counted(duka, scope, time):
    paid(duka, 250, None, source=Source.QUERY)
    twin = by_hand(duka, 250, "UAE5TWIN01")
    assert taken(scope).kept == kes(500)
    time.turn(A_DAY)
    with transaction.atomic():
        ledger.allocate(
            twin, [ledger.Portion(AllocationKind.CORRECTION, kes(250), reason="Twice")]
        )

    assert taken(scope).kept == kes(250)
    assert taken(scope, TOMORROW) == Takings()


@pytest.mark.parametrize(("amount", "left"), [(-100, 150), (-250, 0), (40, 290)])
def test_correction_changes_the_day_of_its_money(
    duka, scope, owner, mary, time, amount, left
):
    collection = paid(duka, 250, paid_at=clock.now())
    Collection.objects.filter(pk=collection.pk).update(disputed="Not in the statement")
    time.turn(A_DAY)
    row = corrections.ask_correction(
        access=owner, collection_id=collection.pk, amount=kes(amount), reason="Looked"
    )
    assert taken(scope).kept == kes(250)
    manager = Access(mary.user, mary.shop, "manager")
    corrections.book(access=manager, correction_id=row.pk)

    assert taken(scope).kept == kes(left)
    assert taken(scope, TOMORROW) == Takings()


def test_money_of_others_and_of_nobody_is_in_no_takings(duka, scope, charlie, time):
    paid(duka, 250)
    paid(charlie.shop, 999, "UAE5THEIRS")
    by_hand(None, 700, "UAE5NOBODY")

    assert taken(scope).kept == kes(250)
    assert taken(Scope((charlie.shop.pk,))).kept == kes(999)
    assert taken(Scope((duka.pk, charlie.shop.pk), nobodys=True)).kept == kes(1249)
    assert taken(Scope(())) == Takings()


def test_days_are_fourteen_with_the_same_weekday_until_this_time(duka, scope, time):
    then = clock.now()
    time.turn(-7 * A_DAY)
    paid(duka, 100, "UAE5WEEK01")
    time.turn(1)
    paid(duka, 50, "UAE5WEEK02")  # a second later in the day than it is now
    time.turn(-6 * A_DAY)
    paid(duka, 30, "UAE5WEEK03")
    time.turn(-A_DAY)
    paid(duka, 7, "UAE5WEEK04")  # the fifteenth day
    time.now = then + timedelta(seconds=1)
    paid(duka, 5, "UAE5WEEK05")

    found = figures.takings_of_days(scope, TODAY, clock.now())
    assert [day for day, _ in found.days] == [
        TODAY - timedelta(days=number) for number in range(13, -1, -1)
    ]
    kept = {day: one.kept for day, one in found.days if one.kept}
    assert kept == {
        TODAY: kes(5), date(2026, 11, 13): kes(150), date(2026, 11, 7): kes(30),
    }  # fmt: skip
    assert found.week_ago.kept == kes(100)
    # A day that is over is compared with a whole one.
    time.turn(A_DAY)
    whole = figures.takings_of_days(scope, TODAY, clock.now())
    assert whole.week_ago.kept == kes(150)


def hear(payment, body):
    raw = inbox.Raw(body, False, "196.201.214.200", True)
    stored = inbox.store_for_payment(payment.token_hash, raw)
    inbox.process_now(stored.notice_id)


def test_prompts_of_the_day_by_what_became_of_them(duka, scope, charlie, time):
    def prompt(**facts):
        return PaymentFactory(order=OrderFactory(shop=duka), **facts)

    one, two, three, four, lost = (prompt() for _ in range(5))
    time.turn(8)
    hear(one, callbacks.success(one, receipt="UAE5HEARD1"))
    for payment, code in ((two, 1032), (three, 1032), (four, 1)):
        hear(payment, callbacks.failure(payment, code))
    time.turn(32)
    succeed(lost, None, source=Source.QUERY)
    prompt()  # nobody has answered yet
    prompt(status=PaymentStatus.EXPIRED)
    prompt(status=PaymentStatus.CANCELLED)
    refused = prompt(checkout_request_id=None, status=PaymentStatus.CREATED)
    fail(refused, "17")
    prompt(created_at=clock.now() - timedelta(days=1))
    hear(charlie.payment, callbacks.success(charlie.payment, receipt="UAE5THEIRS"))

    found = figures.prompts_of_day(scope, TODAY)
    assert (found.made, found.paid, found.not_paid, found.failed) == (9, 2, 4, 4)
    assert (found.expired, found.stopped) == (1, 1)
    assert found.reasons[:2] == (
        (FailureReason.CANCELLED_ON_PHONE, 2), (FailureReason.INSUFFICIENT_FUNDS, 1),
    )  # fmt: skip
    # What M-Pesa never took has no callback to lose.
    assert (found.taken, found.heard, found.lost, found.healed) == (5, 4, 1, 1)
    assert (found.median, found.slow) == (timedelta(seconds=8), timedelta(seconds=40))
    assert figures.last_callback(scope, clock.now()) == clock.now() - timedelta(
        seconds=32
    )
    assert figures.last_callback(scope, clock.now() + timedelta(days=30)) is None
    pending = figures.pending_now(scope)
    assert (pending.waiting, pending.amount, pending.unknown) == (2, kes(500), 2)


def test_callback_that_cannot_be_believed_is_none(duka, scope, time):
    payment = PaymentFactory(order=OrderFactory(shop=duka))
    hear(payment, callbacks.success(payment, amount=1))
    hear(payment, b"not JSON")
    succeed(payment, "UAE5ASKED1", source=Source.QUERY)

    found = figures.prompts_of_day(scope, TODAY)
    assert (found.taken, found.heard, found.healed) == (1, 0, 1)
    assert figures.last_callback(scope, clock.now()) is None


@pytest.mark.parametrize(
    ("count", "median", "slow"), [(1, 1, 1), (2, 1, 2), (20, 10, 19), (21, 11, 20)]
)
def test_times_are_those_of_the_nearest_rank(duka, scope, time, count, median, slow):
    order = OrderFactory(shop=duka)
    for seconds in range(count, 0, -1):
        PaymentFactory(
            order=order, amount=seconds, status=PaymentStatus.COMPLETED,
            completed_at=clock.now() + timedelta(seconds=seconds),
            decided_at=clock.now(),
        )  # fmt: skip

    found = figures.prompts_of_day(scope, TODAY)
    assert found.median == timedelta(seconds=median)
    assert found.slow == timedelta(seconds=slow)


def test_free_money_is_what_the_list_has(duka, scope, owner, seller, charlie, time):
    for number in (1, 2, 3):
        both = PaymentFactory(order=OrderFactory(shop=duka, total=100 * number))
        cash.take(access=seller, order_id=both.order_id, amount=100 * number, key=None)
        succeed(both, f"UAE5FREE0{number}")
    by_hand(duka, 77, "UAE5FREE04")
    by_hand(None, 700, "UAE5NOBODY")
    by_hand(charlie.shop, 900, "UAE5THEIRS")
    used, kept, _ = (one for one in drawer.pieces(owner) if one.amount != 77)
    drawer.apply(
        access=owner, piece=used.key, reason="Buys more",
        order_id=OrderFactory(shop=duka, total=300).pk,
    )  # fmt: skip
    drawer.keep_as_credit(
        access=owner, piece=kept.key, customer="Jane", reason="Buys tomorrow"
    )

    found = figures.free_now(scope)
    assert found.amounts == {
        "surplus": kes(100), "credit": kes(200), "unmatched": kes(77),
    }  # fmt: skip
    assert found.pieces == {"surplus": 1, "credit": 1, "unmatched": 1}
    assert found.total == sum(one.amount for one in drawer.pieces(owner))
    both_shops = (duka.pk, charlie.shop.pk)
    everything = figures.free_now(Scope(both_shops, nobodys=True))
    assert everything.amounts["unmatched"] == kes(77 + 700 + 900)


def test_money_of_the_sandbox_is_in_no_figure_after_going_live(
    duka, scope, owner, seller, settings, time
):
    pay_cash(seller, 30)
    give_back(owner, paid(duka, 250), 10)
    both = PaymentFactory(order=OrderFactory(shop=duka, total=100))
    cash.take(access=seller, order_id=both.order_id, amount=100, key=None)
    succeed(both, "UAE5SAND01")
    by_hand(duka, 77, "UAE5SAND02")
    by_hand(None, 700, "UAE5SAND03")
    PaymentFactory(order=OrderFactory(shop=duka, total=50))
    whole = Scope(scope.shop_ids, nobodys=True)
    assert taken(scope) == Takings(kes(557), kes(10))
    assert figures.free_now(whole).total == kes(100 + 77 + 700)

    settings.MPESA_ENV = "production"

    assert taken(scope) == Takings(kes(130), kes(0))
    assert figures.prompts_of_day(scope, TODAY) == figures.Prompts()
    assert figures.pending_now(scope) == figures.Pending()
    assert figures.last_callback(scope, clock.now()) is None
    assert figures.free_now(whole).total == 0 == len(drawer.pieces(owner))


def read(scope):
    with CaptureQueriesContext(connection) as captured:
        figures.takings_of_day(scope, TODAY)
        figures.takings_of_days(scope, TODAY, clock.now())
        figures.prompts_of_day(scope, TODAY)
        figures.last_callback(scope, clock.now())
        figures.pending_now(scope)
        figures.free_now(scope)
    return [query["sql"] for query in captured]


def test_figures_cost_the_same_for_every_number_of_rows(duka, scope, owner, time):
    costs = [len(read(scope))]
    for number in range(3):
        give_back(owner, paid(duka, 250, f"UAE5COST0{number}", by=owner.user), 10)
        costs.append(len(read(scope)))

    # Three for the day, three for the days, four of the prompts; then one, one, two.
    assert costs == [14, 14, 14, 14]


def fill_days_before(shop, count=2_000):
    """Give the shop so many sales for cash before today, one an hour."""
    order = OrderFactory(shop=shop)
    times = [clock.now() - timedelta(hours=24 + number) for number in range(count)]
    collections = Collection.objects.bulk_create(
        Collection(
            shop=shop, amount=kes(10), allocated=kes(10), source=Source.DRAWER,
            sighted_at=at,
        )
        for at in times
    )  # fmt: skip
    Allocation.objects.bulk_create(
        Allocation(
            collection=one, kind=AllocationKind.SALE, order=order, amount=kes(10),
            created_at=one.sighted_at,
        )
        for one in collections
    )  # fmt: skip


@pytest.mark.postgres
def test_figures_are_read_by_indexes(duka, scope, owner, time):
    """With tables of any size: no plan may need to read one from end to end."""
    give_back(owner, paid(duka, 250, by=owner.user), 10)
    # Of a few rows any index is as good as any other, and which one is taken depends
    # on what autovacuum last saw of other tests.
    fill_days_before(duka)
    statements = read(scope)
    plans = []
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute("SET LOCAL enable_seqscan = off")
        for sql in statements:
            cursor.execute(f"EXPLAIN {sql}")
            plans.append("\n".join(row[0] for row in cursor.fetchall()))

    for sql, plan in zip(statements, plans, strict=True):
        assert "Seq Scan" not in plan, f"{sql}\n{plan}"
    told = "\n".join(plans)
    for name in ("collection_day", "collection_not_allocated", "allocation_unusual"):
        assert name in told, f"{name} is not used:\n{told}"


def test_sale_that_only_tried_the_till_is_in_no_figure(
    duka, scope, owner, seller, time
):
    paid(duka, 250)
    cash_taken = pay_cash(seller, 30)
    real = [figures.takings_of_day(scope, TODAY), figures.prompts_of_day(scope, TODAY)]
    first, second = (OrderFactory(shop=duka, total=1) for _ in range(2))
    Order.objects.filter(pk__in=[first.pk, second.pk]).update(is_test=True)
    collection = succeed(PaymentFactory(order=first), "UAE5TEST01")
    give_back(owner, collection, 1)
    PaymentFactory(order=second)

    assert cash_taken.amount == kes(30)
    assert taken(scope) == real[0].total == Takings(kes(280), kes(0))
    assert figures.prompts_of_day(scope, TODAY) == real[1]
    assert figures.pending_now(scope) == figures.Pending()


def test_rows_of_a_shop_without_any_are_not_anothers(charlie, time):
    paid(charlie.shop, 999, "UAE5THEIRS")
    scope = Scope((ShopFactory().pk,))

    assert taken(scope) == Takings()
    assert figures.prompts_of_day(scope, TODAY) == figures.Prompts()
    assert figures.pending_now(scope) == figures.Pending()
    assert figures.free_now(scope).total == 0
    assert figures.last_callback(scope, clock.now()) is None


def test_a_shilling_that_tried_an_account_is_no_takings(duka, owner, scope, mpesa):
    paid(duka, 250)
    test = going_live.pay_test(owner, "0711000222").payment
    collection = succeed(test, "UAE5SHILL1")

    day = figures.takings_of_day(scope, TODAY)

    assert (day.total, day.methods[Method.MPESA_STK]) == (Takings(kes(250)),) * 2
    assert figures.takings_of_days(scope, TODAY, clock.now()).days[-1] == (
        TODAY, Takings(kes(250)),
    )  # fmt: skip
    prompts = figures.prompts_of_day(scope, TODAY)
    assert (prompts.made, prompts.paid) == (1, 1)
    # It is in the books all the same.
    assert Collection.objects.get(pk=collection.pk).allocated == kes(1)
