"""Money that goes back: every state, every refusal, and each shilling afterwards."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import Sum

from orders import lifecycle as order_lifecycle
from orders.models import Order
from payments import (
    accounts,
    cash,
    direct,
    errands,
    gateways,
    inquiries,
    ledger,
    refund_money,
    refund_questions,
    refunds,
    reversals,
    settlement,
    tasks,
)
from payments.drawer_refusals import NotLookedAt
from payments.enums import AllocationKind, RefundState, Source
from payments.gateways.base import GatewayError
from payments.gateways.organisation import Acknowledged
from payments.models import (
    Collection,
    Movement,
    MpesaSettings,
    OrganisationRequest,
    Payment,
    Refund,
    RefundEvent,
    StatementImport,
)
from payments.refund_refusals import (
    CannotReverse,
    ChangedMeanwhile,
    NotUndecided,
    NotWaiting,
    RefundInTheWay,
    SamePerson,
    SentBackAlready,
)
from payments.refunds import Operator
from payments.refusals import AmountTooSmall
from payments.states import payment_state
from shops.models import Product, StockMovement
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.errors import Forbidden, InvalidRequest, NotFound
from tests.factories import OrderFactory, PaymentFactory, UserFactory
from tests.payments.conftest import START
from tests.support.facts import nothing_changes, path_of, sale_of
from tests.support.gateway import final
from tests.support.organisation import (
    FakeOrganisation,
    result,
    reversed_,
    status,
    tell,
)


pytestmark = pytest.mark.django_db

NUMBER = "UAE5B2K9QT"


@pytest.fixture
def organisation(monkeypatch, time, mpesa):
    fake = FakeOrganisation()
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    return fake


@pytest.fixture
def manager(mary):
    """Mary, acting for her shop."""
    return Access(mary.user, mary.shop, "manager")


@pytest.fixture
def owner(alice):
    """Alice, acting for her shop."""
    return Access(alice.user, alice.shop, "owner")


@pytest.fixture
def paid(organisation, payment, bob):
    """The collection of a sale of KES 250 that was paid by M-Pesa."""
    return settle(payment)


def settle(payment, receipt=NUMBER):
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        proof = settlement.Proof(Source.CALLBACK, receipt, payment.phone, clock.now())
        settlement.record_success(order, held, proof)
    return Collection.objects.get(receipt=receipt)


def ask(access, collection, method="cash", amount=250, **wish):
    return refunds.ask(
        access=access,
        collection_id=collection.pk,
        method=method,
        amount=amount,
        **{"reason": "Did not fit", "restocks": False} | wish,
    )


def portions(collection):
    """Return what the money is for now, summed up; what is left over is unmatched."""
    collection.refresh_from_db()
    found = {
        row["kind"]: row["sum"]
        for row in ledger.current(collection).values("kind").annotate(sum=Sum("amount"))
    }
    assert sum(found.values()) == collection.allocated
    rest = collection.amount - collection.allocated
    return found | ({"unmatched": rest} if rest else {})


def states(refund):
    return list(refund.events.values_list("old", "new"))


def refunded(order):
    return Order.objects.get(pk=order.pk).refunded


def level(order):
    return Product.objects.get(pk=order.lines.get().product_id).stock


def row(refund):
    refund.refresh_from_db()
    return refund.state, refund.receipt, refund.why_failed, refund.next_ask_at


def sending(manager, collection):
    """A reversal that M-Pesa took, and its request."""
    refund = ask(manager, collection, "reversal")
    assert refund.state == "sending"
    return refund


# Cash.


def test_cash_is_done_at_once(paid, manager, order, payment, messages):
    refund = ask(manager, paid)

    assert (refund.state, refund.amount, refund.from_sale) == ("done", 250, 250)
    assert (refund.asked_by, refund.approved_by) == (manager.user, None)
    assert (refund.shop, refund.order, refund.payment) == (order.shop, order, payment)
    assert refund.decided_at == refund.sent_at == clock.now()
    assert states(refund) == [("", "sending"), ("sending", "done")]
    assert portions(paid) == {"refunded": 250}
    assert sale_of(order) == ("refunded", 250, 0, 0)
    assert (refunded(order), level(order)) == (250, 99)
    payment.refresh_from_db()
    assert (payment.status, paid.reversed_at) == ("completed", None)
    assert messages == [("payment.updated", "completed")]


def test_a_part_leaves_the_rest_with_the_sale(paid, manager, order):
    ask(manager, paid, amount=100)

    assert portions(paid) == {"refunded": 100, "sale": 150}
    assert (sale_of(order), refunded(order)) == (("paid", 250, 0, 0), 100)
    ask(manager, paid, "manual", amount=150)
    assert portions(paid) == {"refunded": 250}
    assert (sale_of(order), refunded(order)) == (("refunded", 250, 0, 0), 250)
    assert Refund.objects.filter(state="done").count() == 2


def test_cash_for_cash(organisation, duka, bob, manager):
    order = OrderFactory(shop=duka)
    seller = Access(bob.user, duka, "cashier")
    cash.take(access=seller, order_id=order.pk, amount=250, key=None)
    collection = Collection.objects.get()

    ask(manager, collection)

    assert portions(collection) == {"refunded": 250}
    assert sale_of(order) == ("refunded", 250, 0, 0)
    with pytest.raises(refunds.MoreThanLeft):
        ask(manager, collection, amount=1)


@pytest.mark.parametrize("asked", [(True, True), (True, False), (False, True)])
def test_goods_come_back_with_the_last_of_the_money_and_once(
    paid, manager, order, asked
):
    ask(manager, paid, amount=100, restocks=asked[0])
    assert level(order) == 99
    ask(manager, paid, amount=150, restocks=asked[1])

    assert level(order) == 100
    moved = StockMovement.objects.filter(reference=order.stock_reference).order_by("pk")
    assert list(moved.values_list("reason", "quantity")) == [
        ("sold", -1), ("returned", 1),
    ]  # fmt: skip


def test_free_money_goes_before_the_sales(organisation, duka, manager):
    order = OrderFactory(shop=duka, total=250)
    payments = [PaymentFactory(order=order), PaymentFactory(order=order)]
    settle(payments[0], "UAE5FIRST1")
    surplus = settle(payments[1], "UAE5SECOND")
    assert portions(surplus) == {"surplus": 250}

    refund = ask(manager, surplus, amount=100)

    assert (refund.from_sale, refund.order) == (0, order)
    assert portions(surplus) == {"refunded": 100, "surplus": 150}
    assert (sale_of(order), refunded(order)) == (("paid", 250, 0, 150), 0)


@pytest.fixture
def mixed(organisation, duka, manager, mary):
    """KES 250: 100 of a sale, 100 its surplus, 30 a credit, 20 unmatched."""
    order = OrderFactory(shop=duka, total=100)
    payment = PaymentFactory(order=order, amount=250)
    collection = settle(payment)
    with transaction.atomic():
        order = refund_money.locked(collection.pk).orders[order.pk]
        [surplus] = ledger.current(collection).filter(kind="surplus")
        surplus.collection = collection = Collection.objects.get(pk=collection.pk)
        ledger.release(surplus, actor=None, reason="shared out")
        order_lifecycle.give_up_surplus(order, Decimal(50))
        ledger.allocate(
            collection,
            [
                ledger.Portion(AllocationKind.SURPLUS, Decimal(100), order, "too much"),
                ledger.Portion(
                    AllocationKind.CREDIT, Decimal(30), None, "kept", None, "Jane W"
                ),
            ],
        )
    assert portions(collection) == {
        "sale": 100, "surplus": 100, "credit": 30, "unmatched": 20,
    }  # fmt: skip
    return collection


TAKEN = [
    (10, False, {"sale": 100, "surplus": 100, "credit": 30, "unmatched": 10}),
    (20, False, {"sale": 100, "surplus": 100, "credit": 30}),
    (70, False, {"sale": 100, "surplus": 50, "credit": 30}),
    (120, False, {"sale": 100, "credit": 30}),
    (135, False, {"sale": 100, "credit": 15}),
    (200, False, {"sale": 50}),
    (250, False, {}),
    (40, True, {"sale": 60, "surplus": 100, "credit": 30, "unmatched": 20}),
    (110, True, {"surplus": 100, "credit": 30, "unmatched": 10}),
]


@pytest.mark.parametrize(("amount", "restocks", "left"), TAKEN)
def test_what_a_refund_takes_and_what_it_leaves(mixed, manager, amount, restocks, left):
    order = mixed.payment.order
    before = Order.objects.get(pk=order.pk)

    refund = ask(manager, mixed, amount=amount, restocks=restocks)

    assert portions(mixed) == left | {"refunded": amount}
    after = Order.objects.get(pk=order.pk)
    assert (after.paid, after.surplus) == (before.paid, left.get("surplus", 0))
    assert after.refunded == refund.from_sale == 100 - left.get("sale", 0)


@pytest.mark.parametrize(("amount", "restocks", "left"), TAKEN)
def test_a_refusal_restores_exactly_what_was(
    mixed, manager, owner, amount, restocks, left
):
    limit(mixed.shop, 1)
    before, facts = portions(mixed), sale_of(mixed.payment.order)
    customers = credits(mixed)
    refund = ask(manager, mixed, amount=amount, restocks=restocks)
    assert portions(mixed) == left | {"reserved": amount}

    refunds.refuse(access=owner, refund_id=refund.pk, reason="No receipt shown")

    assert (portions(mixed), sale_of(mixed.payment.order)) == (before, facts)
    assert (credits(mixed), refunded(mixed.payment.order)) == (customers, 0)


def credits(collection):
    rows = ledger.current(collection).filter(kind="credit")
    return list(rows.values_list("customer").annotate(sum=Sum("amount")))


def limit(shop, kes):
    MpesaSettings.objects.filter(shop=shop).update(second_person_from=kes)


def test_money_of_an_open_sale_is_needed_again(organisation, duka, manager):
    order = OrderFactory(shop=duka, total=250)
    collection = settle(PaymentFactory(order=order, amount=100))
    assert sale_of(order) == ("open", 100, 150, 0)

    ask(manager, collection, amount=100)

    assert portions(collection) == {"refunded": 100}
    assert (sale_of(order), refunded(order)) == (("open", 0, 250, 0), 0)


def test_parts_of_one_payment_add_up_to_the_limit(paid, manager, owner):
    limit(paid.shop, 250)
    assert ask(manager, paid, amount=100).state == "done"
    assert ask(manager, paid, amount=149).state == "done"

    last = ask(manager, paid, amount=1)

    assert (last.state, portions(paid)) == ("asked", {"refunded": 249, "reserved": 1})
    refunds.approve(access=owner, refund_id=last.pk)
    assert portions(paid) == {"refunded": 250}


def test_what_two_people_decided_does_not_count_to_the_limit(paid, manager, owner):
    limit(paid.shop, 200)
    big = ask(manager, paid, amount=200)
    refunds.approve(access=owner, refund_id=big.pk)

    assert ask(manager, paid, amount=50).state == "done"


def test_all_money_of_a_sale_adds_up_to_the_limit(organisation, duka, manager):
    order = OrderFactory(shop=duka, total=500)
    first, second = (
        settle(PaymentFactory(order=order), number)
        for number in ("UAE5FIRST1", "UAE5SECOND")
    )
    limit(duka, 400)

    assert ask(manager, first).state == "done"
    assert ask(manager, second).state == "asked"


# Who may, and what is refused.


@pytest.mark.parametrize("name", ["bob", "audrey"])
def test_only_a_manager_may_ask(paid, request, name):
    person = request.getfixturevalue(name)
    role = {"bob": "cashier", "audrey": "auditor"}[name]

    with nothing_changes(), pytest.raises(Forbidden):
        ask(Access(person.user, person.shop, role), paid)

    assert Refund.objects.count() == 0


def test_another_shops_money_does_not_exist(paid, charlie, operator):
    for access in (
        Access(charlie.user, charlie.shop, "owner"),
        Operator(operator.user),
    ):
        with nothing_changes(), pytest.raises(NotFound):
            ask(access, paid)
    with pytest.raises(NotFound):
        refunds.ask(
            access=Access(charlie.user, charlie.shop, "owner"), collection_id=10**9,
            method="cash", amount=1, reason="x", restocks=False,
        )  # fmt: skip


WRONG = {
    "nothing": ({"amount": 0}, AmountTooSmall, "at least KES 1"),
    "less than nothing": ({"amount": -5}, AmountTooSmall, "at least KES 1"),
    "no reason": ({"reason": "  "}, InvalidRequest, "Say why"),
    "no such way": ({"method": "pigeon"}, InvalidRequest, "Say how"),
    "too much": ({"amount": 251}, refunds.MoreThanLeft, "Only KES 250"),
    "part by M-Pesa": (
        {"method": "reversal", "amount": 249}, CannotReverse, "whole payment",
    ),
    "more by M-Pesa": (
        {"method": "reversal", "amount": 251}, CannotReverse, "whole payment",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("wish", "error", "words"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_is_refused_and_nothing_changes(
    paid, manager, organisation, wish, error, words
):
    with nothing_changes(), pytest.raises(error, match=words):
        ask(manager, paid, **{"method": "cash", "amount": 250} | wish)

    assert (Refund.objects.count(), OrganisationRequest.objects.count()) == (0, 0)
    assert organisation.reversals == []


def test_cash_that_came_is_not_reversed(organisation, duka, bob, manager):
    order = OrderFactory(shop=duka)
    cash.take(
        access=Access(bob.user, duka, "cashier"), order_id=order.pk, amount=250,
        key=None,
    )  # fmt: skip

    with nothing_changes(), pytest.raises(CannotReverse, match="did not come by"):
        ask(manager, Collection.objects.get(), "reversal")


def test_money_without_its_receipt_is_not_reversed_yet(paid, manager):
    Collection.objects.filter(pk=paid.pk).update(receipt=None)

    with nothing_changes(), pytest.raises(CannotReverse, match="not known yet"):
        ask(manager, paid, "reversal")


def test_an_account_without_initiator_reverses_nothing(paid, manager):
    account = accounts.platform_account()
    type(account).objects.update(initiator_name="")

    with nothing_changes(), pytest.raises(CannotReverse, match="no initiator"):
        ask(manager, paid, "reversal")


def test_what_went_back_in_part_is_not_reversed(paid, manager):
    ask(manager, paid, amount=100)

    with nothing_changes(), pytest.raises(refunds.MoreThanLeft, match="Part of this"):
        ask(manager, paid, "reversal")


def test_a_form_that_is_sent_twice_gives_back_once(paid, manager):
    wish = {"amount": 100, "seen": refunds.mark_of(paid)}
    ask(manager, paid, **wish)

    with nothing_changes(), pytest.raises(ChangedMeanwhile):
        ask(manager, paid, **wish)

    assert portions(paid) == {"refunded": 100, "sale": 150}
    assert ask(manager, paid, amount=100, seen=refunds.mark_of(paid)).state == "done"


# A second person.


@pytest.fixture
def going(organisation, duka, manager):
    """An open sale of KES 250 whose KES 100 are on their way back."""
    order = OrderFactory(shop=duka, total=250)
    collection = settle(PaymentFactory(order=order, amount=100))
    refund = ask(manager, collection, "reversal", amount=100)
    assert (refund.state, refund.from_sale) == ("sending", 100)
    return refund


def take_cash(bob, order, amount):
    seller = Access(bob.user, bob.shop, "cashier")
    cash.take(access=seller, order_id=order.pk, amount=amount, key=None)


def test_an_open_sale_does_not_close_with_money_on_its_way_back(messages, going, bob):
    order = going.order
    assert sale_of(order) == ("open", 0, 250, 0)
    assert messages[-1] == ("payment.updated", "completed")
    take_cash(bob, order, 150)
    assert sale_of(order) == ("open", 150, 100, 0)

    tell(going.request, reversed_(going.request, 100))

    assert (sale_of(order), refunded(order)) == (("open", 150, 100, 0), 0)
    take_cash(bob, order, 100)
    assert (sale_of(order), refunded(order)) == (("paid", 250, 0, 0), 0)
    assert portions(going.collection) == {"refunded": 100}


@pytest.mark.parametrize("paid_meanwhile", [0, 150, 200, 250])
def test_what_does_not_go_back_is_offered_to_the_open_sale_again(
    going, bob, paid_meanwhile
):
    order = going.order
    if paid_meanwhile:
        take_cash(bob, order, paid_meanwhile)

    tell(going.request, result(going.request, 1))

    to_sale = min(100, 250 - paid_meanwhile)
    paid_in_all = paid_meanwhile + to_sale
    assert sale_of(order) == (
        "paid" if paid_in_all == 250 else "open", paid_in_all, 250 - paid_in_all,
        100 - to_sale,
    )  # fmt: skip
    expected = {"sale": to_sale, "surplus": 100 - to_sale}
    assert portions(going.collection) == {k: v for k, v in expected.items() if v}
    assert (row(going)[0], refunded(order)) == ("failed", 0)
    assert level(order) == (99 if paid_in_all == 250 else 100)


def test_a_sale_all_of_whose_money_is_going_back_can_be_cancelled(going, bob):
    order = going.order
    order_lifecycle.cancel(order.pk, actor=bob.user)

    tell(going.request, result(going.request, 1))

    assert sale_of(order) == ("cancelled", 0, 0, 100)
    assert portions(going.collection) == {"surplus": 100}


@pytest.fixture
def waiting(paid, manager):
    """KES 250 in cash, from which on the owner wants to look."""
    limit(paid.shop, 250)
    return ask(manager, paid)


def test_what_is_disputed_since_it_was_asked_for_is_looked_at(
    waiting, paid, manager, owner, time
):
    time.turn(60)
    Collection.objects.update(
        disputed="M-Pesa's books say otherwise", disputed_at=clock.now()
    )

    with nothing_changes(), pytest.raises(NotLookedAt, match="since the refund"):
        refunds.approve(access=owner, refund_id=waiting.pk)

    refunds.refuse(access=owner, refund_id=waiting.pk, reason="Look first")
    again = ask(manager, paid, has_looked=True)
    assert refunds.approve(access=owner, refund_id=again.pk).state == "done"


def test_from_the_limit_a_second_person_decides(waiting, paid, order, organisation):
    assert (waiting.state, waiting.decided_at, waiting.sent_at) == ("asked", None, None)
    assert portions(paid) == {"reserved": 250}
    assert (sale_of(order), refunded(order)) == (("paid", 250, 0, 0), 0)
    assert waiting.reserved.kind == "reserved"
    assert organisation.reversals == []


def test_below_the_limit_nobody_else_is_asked(paid, manager):
    limit(paid.shop, 251)

    assert ask(manager, paid).state == "done"


@pytest.mark.parametrize("rows", [0, 1])
def test_without_a_setting_the_limit_is_five_thousand(duka, organisation, rows):
    if not rows:
        MpesaSettings.objects.all().delete()

    assert refunds.second_person_from(duka) == 5000
    assert refunds.second_person_from(None) == 5000


def test_the_second_person_approves(waiting, owner, manager, paid, order):
    refund = refunds.approve(access=owner, refund_id=waiting.pk)

    assert (refund.state, refund.asked_by, refund.approved_by) == (
        "done", manager.user, owner.user,
    )  # fmt: skip
    assert states(refund) == [("", "asked"), ("asked", "sending"), ("sending", "done")]
    assert portions(paid) == {"refunded": 250}
    assert (sale_of(order), refunded(order)) == (("refunded", 250, 0, 0), 250)


def test_money_found_to_be_another_shops_is_not_let_go(waiting, owner, paid, charlie):
    Collection.objects.filter(pk=paid.pk).update(shop=charlie.shop)

    with nothing_changes(), pytest.raises(ChangedMeanwhile):
        refunds.approve(access=owner, refund_id=waiting.pk)

    refund = refunds.refuse(access=owner, refund_id=waiting.pk, reason="Not ours")
    assert refund.state == "refused"
    assert "reserved" not in portions(paid)


def test_money_that_moves_to_another_shop_meanwhile_does_not_go_back(
    paid, manager, charlie, monkeypatch
):
    def ask_first(orders, others):
        Collection.objects.filter(pk=paid.pk).update(shop=charlie.shop)
        return ""

    monkeypatch.setattr(refunds, "_ask_first", ask_first)

    with pytest.raises(ChangedMeanwhile):
        ask(manager, paid)

    assert not Refund.objects.exists()


def test_disputed_money_goes_back_when_somebody_looked(paid, manager):
    Collection.objects.filter(pk=paid.pk).update(disputed="The statement has no row.")

    with nothing_changes(), pytest.raises(NotLookedAt):
        ask(manager, paid)

    assert ask(manager, paid, has_looked=True).state == "done"


def test_the_second_person_refuses(waiting, owner, paid, order):
    refund = refunds.refuse(access=owner, refund_id=waiting.pk, reason="Worn already")

    assert row(refund) == ("refused", "", "Worn already", None)
    assert (refund.approved_by, refund.decided_at) == (owner.user, clock.now())
    assert states(refund) == [("", "asked"), ("asked", "refused")]
    assert portions(paid) == {"sale": 250}
    assert (sale_of(order), refunded(order)) == (("paid", 250, 0, 0), 0)


def test_the_asker_is_not_the_second_person(waiting, manager):
    with nothing_changes(), pytest.raises(SamePerson):
        refunds.approve(access=manager, refund_id=waiting.pk)

    assert row(waiting)[0] == "asked"


def test_the_asker_takes_it_back(waiting, manager, paid, order):
    """A shop of one person has nobody else who could."""
    refunds.refuse(access=manager, refund_id=waiting.pk, reason="She keeps it")

    assert row(waiting) == ("refused", "", "She keeps it", None)
    assert portions(paid) == {"sale": 250}
    assert (sale_of(order), refunded(order)) == (("paid", 250, 0, 0), 0)
    assert ask(manager, paid, amount=250).state == "asked"


@pytest.mark.parametrize("act", ["approve", "refuse"])
def test_nobody_else_may_decide(waiting, bob, charlie, operator, act):
    wish = {"reason": "x"} if act == "refuse" else {}
    cases = [
        (Access(bob.user, bob.shop, "cashier"), Forbidden),
        (Access(charlie.user, charlie.shop, "owner"), NotFound),
        (Operator(operator.user), NotFound),
        (Operator(bob.user), Forbidden),
    ]
    for access, error in cases:
        with nothing_changes(), pytest.raises(error):
            getattr(refunds, act)(access=access, refund_id=waiting.pk, **wish)

    assert row(waiting)[0] == "asked"


@pytest.mark.parametrize("key", ["nonsense", "0" * 32, 7])
def test_a_refund_that_is_none_is_not_there(manager, key):
    with pytest.raises(NotFound):
        refunds.approve(access=manager, refund_id=key)


@pytest.mark.parametrize("first", ["approve", "refuse"])
@pytest.mark.parametrize("second", ["approve", "refuse"])
def test_it_is_decided_once(waiting, owner, first, second):
    wish = {"approve": {}, "refuse": {"reason": "No"}}
    getattr(refunds, first)(access=owner, refund_id=waiting.pk, **wish[first])

    with nothing_changes(), pytest.raises(NotWaiting):
        getattr(refunds, second)(access=owner, refund_id=waiting.pk, **wish[second])


def test_refusing_needs_a_reason(waiting, owner):
    with nothing_changes(), pytest.raises(InvalidRequest, match="why it is refused"):
        refunds.refuse(access=owner, refund_id=waiting.pk, reason=" ")


def test_one_undecided_refund_of_a_collection(waiting, paid, owner):
    with nothing_changes(), pytest.raises(RefundInTheWay, match="second person"):
        ask(owner, paid, amount=1)

    assert Refund.objects.count() == 1


def test_an_approved_reversal_is_sent_then(paid, manager, owner, organisation):
    limit(paid.shop, 250)
    refund = ask(manager, paid, "reversal")
    assert (refund.state, refund.request, organisation.reversals) == ("asked", None, [])

    refund = refunds.approve(access=owner, refund_id=refund.pk)

    assert (refund.state, len(organisation.reversals)) == ("sending", 1)
    assert refund.request.asked_by == owner.user
    assert refund.next_ask_at == clock.now() + timedelta(seconds=60)


# Asking first.


@pytest.fixture
def other(payment, paid):
    """A second prompt of the same sale, not decided."""
    return PaymentFactory(order=payment.order, amount=Decimal(40))


def test_what_was_learned_first_is_told(paid, manager, other, mpesa):
    mpesa.answers[other.checkout_request_id] = final("0")

    refund = ask(manager, paid)

    assert mpesa.questions == [other.checkout_request_id]
    first = refund.events.first()
    assert first.reason == "Did not fit. M-Pesa was asked first: KES 40 more arrived."
    other.refresh_from_db()
    assert other.status == "completed"
    # The sale was paid: what came later is surplus, and still there.
    assert sale_of(paid.payment.order) == ("refunded", 250, 0, 40)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (final("1032"), "M-Pesa was asked first: nothing else was paid."),
        (None, "M-Pesa was asked first: KES 40 asked from the customer is undecided."),
    ],
)
def test_what_is_still_undecided_is_told(paid, manager, other, mpesa, answer, words):
    if answer:
        mpesa.answers[other.checkout_request_id] = answer

    refund = ask(manager, paid, amount=100)

    assert refund.events.first().reason == f"Did not fit. {words}"


def test_the_second_person_asks_first_too(waiting, owner, other, mpesa):
    mpesa.answers[other.checkout_request_id] = final("0")

    refund = refunds.approve(access=owner, refund_id=waiting.pk)

    assert refund.events.all()[1].reason == (
        "Approved. M-Pesa was asked first: KES 40 more arrived."
    )


def test_late_money_on_a_refunded_order_is_surplus(paid, manager, other, order):
    ask(manager, paid)
    assert sale_of(order) == ("refunded", 250, 0, 0)

    late = settle(other, "UAE9LATE01")

    other.refresh_from_db()
    assert (other.status, portions(late)) == ("completed", {"surplus": 40})
    assert (sale_of(order), refunded(order)) == (("refunded", 250, 0, 40), 250)
    # And it can go back as well.
    refund = ask(manager, late, "reversal", amount=40)
    tell(refund.request, reversed_(refund.request, 40))
    assert (row(refund)[0], portions(late)) == ("done", {"refunded": 40})
    assert (sale_of(order), refunded(order)) == (("refunded", 250, 0, 0), 250)


# A reversal.


def test_a_reversal_is_asked_once_and_waits(
    paid, manager, organisation, order, payment, settings
):
    refund = ask(manager, paid, "reversal", restocks=True)

    [asked] = organisation.reversals
    assert (asked.receipt, asked.amount) == (NUMBER, 250)
    assert asked.urls.result.startswith(f"{settings.MPESA_CALLBACK_URL}/hooks/result/")
    assert row(refund) == ("sending", "", "", clock.now() + timedelta(seconds=60))
    request = refund.request
    assert (request.kind, request.state, request.receipt, request.asked_by) == (
        "reversal", "sent", NUMBER, manager.user,
    )  # fmt: skip
    assert portions(paid) == {"reserved": 250}
    assert (sale_of(order), refunded(order), level(order)) == (
        ("paid", 250, 0, 0), 0, 99,
    )  # fmt: skip
    payment.refresh_from_db()
    assert payment.status == "completed"


def test_its_result_proves_it(paid, manager, order, payment, messages):
    refund = ask(manager, paid, "reversal", restocks=True)
    messages.clear()

    assert tell(refund.request, reversed_(refund.request, 250)) == "applied"

    assert row(refund) == ("done", "UAE9BACK01", "", None)
    assert states(refund)[-1] == ("sending", "done")
    assert portions(paid) == {"refunded": 250}
    assert paid.reversed_at.isoformat() == "2026-11-20T09:05:00+00:00"
    assert (sale_of(order), refunded(order), level(order)) == (
        ("refunded", 250, 0, 0), 250, 100,
    )  # fmt: skip
    payment.refresh_from_db()
    assert (payment.status, payment.next_ask_at) == ("reversed", None)
    assert payment_state(payment)["message"] == (
        "M-Pesa sent this money back to the customer."
    )
    assert path_of(payment)[-2:] == ["completed", "reversed"]
    assert messages == [("payment.reversed", "reversed")]
    request = refund.request
    request.refresh_from_db()
    assert (request.state, request.result_code, request.result_receipt) == (
        "answered", "0", "UAE9BACK01",
    )  # fmt: skip


def test_the_same_result_again_changes_nothing(paid, manager):
    refund = sending(manager, paid)
    body = reversed_(refund.request, 250)
    tell(refund.request, body)

    with nothing_changes():
        assert tell(refund.request, body + b" ") == "duplicate"
    assert RefundEvent.objects.filter(new="done").count() == 1


def test_money_that_is_gone_is_not_asked_back_again(paid, manager):
    refund = sending(manager, paid)
    tell(refund.request, reversed_(refund.request, 250))

    for method in ("cash", "reversal"):
        with nothing_changes(), pytest.raises(SentBackAlready):
            ask(manager, paid, method)


REFUSED = ["1", "11", "21", "2001", "2006", "2028", "8006", "R000002"]


@pytest.mark.parametrize("code", REFUSED)
def test_a_certain_failure_frees_what_was(paid, manager, order, payment, code):
    refund = sending(manager, paid)

    assert tell(refund.request, result(refund.request, code)) == "applied"

    state, receipt, why, next_ask_at = row(refund)
    assert (state, receipt, next_ask_at) == ("failed", "", None)
    assert why.endswith(f"(code {code})")
    assert portions(paid) == {"sale": 250}
    assert (sale_of(order), refunded(order)) == (("paid", 250, 0, 0), 0)
    payment.refresh_from_db()
    assert (payment.status, paid.reversed_at) == ("completed", None)
    # The money can be given back in another way now.
    assert ask(manager, paid).state == "done"


@pytest.mark.parametrize(("amount", "restocks", "left"), TAKEN[:1])
def test_a_failed_reversal_of_mixed_money_restores_it_all(
    mixed, manager, amount, restocks, left
):
    before, facts = portions(mixed), sale_of(mixed.payment.order)
    refund = ask(manager, mixed, "reversal")
    assert portions(mixed) == {"reserved": 250}
    assert sale_of(mixed.payment.order) == ("paid", 100, 0, 0)

    tell(refund.request, result(refund.request, 1))

    assert (portions(mixed), sale_of(mixed.payment.order)) == (before, facts)
    assert credits(mixed) == [("Jane W", 30)]


@pytest.mark.parametrize("code", ["26", "9999", "500.001", "1037", "R000001"])
def test_any_other_code_leaves_it_unknown_and_reserved(paid, manager, code):
    refund = sending(manager, paid)

    assert tell(refund.request, result(refund.request, code)) == "uncertain"

    assert row(refund)[0] == "unknown"
    assert row(refund)[3] == clock.now() + timedelta(seconds=60)
    assert portions(paid) == {"reserved": 250}


@pytest.mark.parametrize(
    "how",
    [
        {"original": "UAE5OTHER1"},
        {"original": ""},
        {"amount": 249},
        {"amount": None},
    ],
    ids=str,
)
def test_a_success_that_does_not_fit_proves_nothing(paid, manager, order, how):
    refund = sending(manager, paid)
    amount = how.get("amount", 250)
    original = how.get("original")

    body = reversed_(refund.request, amount, original=original)
    with nothing_changes():
        assert tell(refund.request, body) == "unverified"

    assert (row(refund)[0], portions(paid)) == ("unknown", {"reserved": 250})


def test_a_foreign_result_is_believed_nothing(paid, manager):
    refund = sending(manager, paid)

    body = reversed_(refund.request, 250, ConversationID="AG_other")
    assert tell(refund.request, body) == "unverified"
    assert (row(refund)[0], portions(paid)) == ("unknown", {"reserved": 250})
    # The right one still counts.
    assert tell(refund.request, reversed_(refund.request, 250)) == "applied"
    assert row(refund)[0] == "done"


@pytest.mark.parametrize(
    ("kind", "body", "verdict"),
    [
        ("result", lambda r: b"rubbish", "malformed"),
        ("timeout", lambda r: result(r, 0), "uncertain"),
        ("result", lambda r: reversed_(r, 250, ResultType=1), "uncertain"),
    ],
    ids=["rubbish", "time-out", "more to come"],
)
def test_what_decides_nothing_makes_it_unknown(paid, manager, kind, body, verdict):
    refund = sending(manager, paid)

    assert tell(refund.request, body(refund.request), kind=kind) == verdict

    assert (row(refund)[0], portions(paid)) == ("unknown", {"reserved": 250})
    assert tell(refund.request, reversed_(refund.request, 250)) == "applied"
    assert row(refund)[0] == "done"


def test_a_refusal_after_it_was_done_undoes_nothing(paid, manager):
    refund = sending(manager, paid)
    tell(refund.request, reversed_(refund.request, 250))

    with nothing_changes():
        assert tell(refund.request, result(refund.request, 1)) == "contradiction"
    assert row(refund)[0] == "done"


def test_a_success_after_a_refusal_is_the_truth(paid, manager, order, payment):
    refund = sending(manager, paid)
    tell(refund.request, result(refund.request, 1))

    assert tell(refund.request, reversed_(refund.request, 250)) == "applied"

    assert (row(refund)[0], portions(paid)) == ("failed", {"refunded": 250})
    made = Refund.objects.exclude(pk=refund.pk).get()
    assert (made.state, made.reason, made.receipt, made.asked_by) == (
        "done", "Sent back at M-Pesa", "UAE9BACK01", None,
    )  # fmt: skip
    payment.refresh_from_db()
    assert (payment.status, sale_of(order)[0]) == ("reversed", "refunded")


# M-Pesa's answer to the request.


def test_a_certain_refusal_of_the_request_frees_it(paid, manager, organisation, order):
    organisation.answers = [GatewayError("HTTP 400 Invalid", certain=True)]

    refund = ask(manager, paid, "reversal")

    assert row(refund) == (
        "failed", "", "M-Pesa was not asked: HTTP 400 Invalid", None,
    )  # fmt: skip
    assert (portions(paid), sale_of(order)) == ({"sale": 250}, ("paid", 250, 0, 0))
    assert refund.request.state == "refused"


@pytest.mark.parametrize(
    "error", [GatewayError("HTTP 504", certain=False), RuntimeError("broke")], ids=str
)
def test_a_lost_answer_is_unknown_and_never_sent_again(
    paid, manager, organisation, time, error
):
    organisation.answers = [error]

    refund = ask(manager, paid, "reversal")

    assert (row(refund)[0], portions(paid)) == ("unknown", {"reserved": 250})
    for _ in range(100):
        time.turn(3600)
        for refund_id in refund_questions.due(10):
            refund_questions.attend(refund_id)
    assert len(organisation.reversals) == 1
    assert (row(refund)[0], portions(paid)) == ("unknown", {"reserved": 250})
    assert row(refund)[3] is None
    assert 40 < len(organisation.questions) < 60


def test_an_initiator_that_is_gone_by_then_frees_it(paid, manager, owner, organisation):
    limit(paid.shop, 1)
    refund = ask(manager, paid, "reversal")
    type(paid.account).objects.update(initiator_name="")

    refund = refunds.approve(access=owner, refund_id=refund.pk)

    assert (row(refund)[0], portions(paid)) == ("failed", {"sale": 250})
    assert "no initiator" in refund.why_failed
    assert organisation.reversals == []


def test_the_answer_is_kept_through_a_short_outage(
    paid, manager, organisation, monkeypatch
):
    monkeypatch.setattr(errands, "KEEP_PAUSES_S", (0, 0))
    outages = [OperationalError("gone"), OperationalError("gone")]
    original = errands.record

    def record(*args):
        if outages:
            raise outages.pop()
        original(*args)

    monkeypatch.setattr(errands, "record", record)

    refund = ask(manager, paid, "reversal")

    assert (outages, refund.state, refund.request.conversation_id) == (
        [], "sending", "AG_1",
    )  # fmt: skip


def test_an_uncertain_code_after_it_was_done_says_nothing_new(paid, manager):
    refund = sending(manager, paid)
    tell(refund.request, reversed_(refund.request, 250))

    with nothing_changes():
        assert tell(refund.request, result(refund.request, "R000001")) == "duplicate"
    assert row(refund)[0] == "done"


def test_a_second_refusal_says_nothing_new(paid, manager):
    refund = sending(manager, paid)
    tell(refund.request, result(refund.request, 1))

    with nothing_changes():
        assert tell(refund.request, result(refund.request, 21)) == "duplicate"
    assert row(refund)[2].endswith("(code 1)")


def test_cents_are_not_sent_by_mpesa(paid, manager):
    Collection.objects.filter(pk=paid.pk).update(amount=Decimal("250.50"))

    with nothing_changes(), pytest.raises(CannotReverse, match="whole shillings"):
        ask(manager, paid, "reversal")


def test_who_cannot_ask_is_told_so(paid, manager):
    refund = sending(manager, paid)
    type(paid.account).objects.update(initiator_name="")

    with pytest.raises(errands.NoInitiator):
        refund_questions.ask_mpesa(access=manager, refund_id=refund.pk)


IDS = {"ConversationID": "AG_9", "OriginatorConversationID": "orig-9"}


def test_a_result_finds_a_request_whose_answer_was_lost(paid, manager, organisation):
    organisation.answers = [GatewayError("HTTP 504", certain=False)]
    refund = ask(manager, paid, "reversal")

    assert tell(refund.request, reversed_(refund.request, 250, **IDS)) == "applied"

    assert row(refund)[0] == "done"
    refund.request.refresh_from_db()
    assert refund.request.conversation_id == "AG_9"


def test_a_refusal_without_known_ids_frees_nothing(paid, manager, organisation):
    organisation.answers = [GatewayError("HTTP 504", certain=False)]
    refund = ask(manager, paid, "reversal")

    assert tell(refund.request, result(refund.request, 1, **IDS)) == "unverified"

    assert (row(refund)[0], portions(paid)) == ("unknown", {"reserved": 250})


def test_a_result_that_overtakes_the_answer(paid, manager, organisation):
    def overtake(asked):
        request = OrganisationRequest.objects.get()
        assert tell(request, reversed_(request, 250, **IDS)) == "applied"
        return Acknowledged("AG_9", "orig-9")

    organisation.answers = [overtake]

    refund = ask(manager, paid, "reversal")

    assert row(refund) == ("done", "UAE9BACK01", "", None)
    assert refund.request.state == "answered"


def test_a_process_that_died_before_the_call_is_unknown_later(
    paid, manager, monkeypatch, time
):
    monkeypatch.setattr(reversals, "send", lambda *args: None)
    refund = ask(manager, paid, "reversal")
    assert (row(refund)[0], refund.request.state) == ("sending", "made")

    time.turn(59)
    assert refund_questions.due(10) == []
    time.turn(1)
    assert refund_questions.due(10) == [refund.pk]
    refund_questions.attend(refund.pk)

    assert (row(refund)[0], portions(paid)) == ("unknown", {"reserved": 250})


# Questions about a reversal.


def question(organisation):
    """The last question that M-Pesa was asked, and its request."""
    return OrganisationRequest.objects.filter(kind="status").latest("asked_at")


def about(request, **said):
    """What M-Pesa says of the transaction of a reversal."""
    facts = {
        "receipt": "UAE9BACK01",
        "payer": "600100 - SMARTDUKA",
        "payee": "254712345678 - JANE",
    }
    return status(request, **facts | said)


@pytest.fixture
def silent(paid, manager, organisation, time):
    """A reversal that M-Pesa took, and said nothing; asked about after a minute."""
    refund = sending(manager, paid)
    time.turn(60)
    assert refund_questions.attend(refund.pk)
    return refund


def test_a_lost_result_is_asked_about_by_our_own_id(silent, organisation, paid):
    [asked] = organisation.questions
    assert (asked.receipt, asked.original_conversation_id) == ("", "orig-1")
    assert question(organisation).about == silent.request
    assert (row(silent)[0], portions(paid)) == ("unknown", {"reserved": 250})
    assert row(silent)[3] == clock.now() + timedelta(seconds=120)


def test_a_lost_result_is_healed_by_the_answer(silent, organisation, paid, payment):
    asked = question(organisation)

    assert tell(asked, about(asked)) == "applied"

    assert row(silent) == ("done", "UAE9BACK01", "", None)
    assert portions(paid) == {"refunded": 250}
    payment.refresh_from_db()
    assert payment.status == "reversed"
    # The result turns up after all.
    with nothing_changes():
        late = reversed_(silent.request, 250)
        assert tell(silent.request, late) == "duplicate"


@pytest.mark.parametrize(
    "said",
    [
        {"amount": "249"},
        {"amount": None},
        {"receipt": NUMBER},
        {"receipt": ""},
        {"payer": "700700 - OTHER"},
        {"payee": "600100 - SMARTDUKA"},
    ],
    ids=str,
)
def test_an_answer_that_does_not_fit_proves_nothing(silent, organisation, paid, said):
    asked = question(organisation)

    assert tell(asked, about(asked, **said)) == "unverified"

    assert (row(silent)[0], portions(paid)) == ("unknown", {"reserved": 250})


@pytest.mark.parametrize("word", ["Authorized", "Initiated", "Hazy"])
def test_a_reversal_under_way_stays_unknown(silent, organisation, paid, word):
    asked = question(organisation)

    assert tell(asked, about(asked, word=word)) == "uncertain"

    assert (row(silent)[0], portions(paid)) == ("unknown", {"reserved": 250})


@pytest.mark.parametrize("word", ["Declined", "Cancelled", "Expired"])
def test_a_reversal_that_ended_undone_has_failed(silent, organisation, paid, word):
    asked = question(organisation)

    assert tell(asked, about(asked, word=word)) == "applied"

    assert row(silent) == ("failed", "", f"M-Pesa says: {word}", None)
    assert portions(paid) == {"sale": 250}


def test_no_such_transaction_does_not_prove_that_nothing_went(
    silent, organisation, paid
):
    asked = question(organisation)

    assert tell(asked, result(asked, 25)) == "uncertain"

    assert (row(silent)[0], portions(paid)) == ("unknown", {"reserved": 250})


def test_questions_grow_rarer_and_end(silent, organisation, time):
    gaps = []
    while row(silent)[3] is not None:
        gap = row(silent)[3] - clock.now()
        gaps.append(int(gap.total_seconds()))
        time.turn(gaps[-1])
        assert refund_questions.attend(silent.pk)

    assert gaps[:3] == [120, 600, 3600]
    assert set(gaps[3:]) == {3600}
    assert len(gaps) < 60


def test_a_question_is_asked_once_however_often_it_is_handed_out(
    silent, organisation, time
):
    time.turn(120)

    assert refund_questions.attend(silent.pk)
    assert not refund_questions.attend(silent.pk)

    assert len(organisation.questions) == 2


def test_the_sweep_hands_out_what_is_due(paid, manager, time, tasks):
    refund = sending(manager, paid)
    before = len(tasks())
    assert refund_questions.sweep() == 0
    time.turn(60)

    assert refund_questions.sweep() == 1

    assert [task[:2] for task in tasks()[before:]] == [
        ("payments.tasks.attend_refund", (str(refund.pk),))
    ]


def test_a_decided_refund_is_not_asked_about(paid, manager, organisation, time):
    refund = sending(manager, paid)
    tell(refund.request, reversed_(refund.request, 250))
    time.turn(3600)

    assert refund_questions.due(10) == []
    assert not refund_questions.attend(refund.pk)
    assert organisation.questions == []


def test_a_manager_asks_now(paid, manager, organisation, bob, charlie):
    refund = sending(manager, paid)

    asked = refund_questions.ask_mpesa(access=manager, refund_id=refund.pk)

    assert (asked.state, asked.about, asked.asked_by) == (
        "sent", refund.request, manager.user,
    )  # fmt: skip
    # Again within half a minute: not asked.
    assert refund_questions.ask_mpesa(access=manager, refund_id=refund.pk) is None
    for access, error in (
        (Access(bob.user, bob.shop, "cashier"), Forbidden),
        (Access(charlie.user, charlie.shop, "owner"), NotFound),
    ):
        with pytest.raises(error):
            refund_questions.ask_mpesa(access=access, refund_id=refund.pk)
    assert len(organisation.questions) == 1


def test_there_is_nothing_to_ask_about_cash(waiting, owner, organisation):
    with pytest.raises(NotUndecided):
        refund_questions.ask_mpesa(access=owner, refund_id=waiting.pk)

    assert organisation.questions == []


# Proof from elsewhere.


def prove(collection, **facts):
    refunds.prove_reversed(
        collection,
        **{"receipt": "UAE9BACK01", "source": Source.STATEMENT, "at": clock.now()}
        | facts,
    )


def test_a_reversal_that_nobody_here_asked_for(paid, order, payment, messages):
    messages.clear()

    prove(paid)

    refund = Refund.objects.get()
    assert (refund.method, refund.state, refund.amount, refund.from_sale) == (
        "reversal", "done", 250, 250,
    )  # fmt: skip
    assert (refund.reason, refund.receipt, refund.asked_by, refund.order) == (
        "Sent back at M-Pesa", "UAE9BACK01", None, order,
    )  # fmt: skip
    assert (refund.shop, refund.payment, refund.request) == (order.shop, payment, None)
    assert portions(paid) == {"refunded": 250}
    assert paid.reversed_at == clock.now()
    assert (sale_of(order), refunded(order), level(order)) == (
        ("refunded", 250, 0, 0), 250, 99,
    )  # fmt: skip
    payment.refresh_from_db()
    assert (payment.status, path_of(payment)[-1]) == ("reversed", "reversed")
    assert messages == [("payment.reversed", "reversed")]


def test_it_is_booked_once_however_many_tell(paid, payment):
    prove(paid, receipt="")
    with nothing_changes():
        prove(paid)
        prove(paid, receipt="UAE9OTHER1")

    assert Refund.objects.get().receipt == "UAE9BACK01"


@pytest.mark.parametrize("state", ["asked", "sending", "unknown"])
def test_proof_decides_a_reversal_in_any_state(
    paid, manager, organisation, payment, state
):
    if state == "asked":
        limit(paid.shop, 1)
    if state == "unknown":
        organisation.answers = [GatewayError("HTTP 504", certain=False)]
    refund = ask(manager, paid, "reversal")
    assert refund.state == state

    prove(paid)

    assert row(refund) == ("done", "UAE9BACK01", "", None)
    assert (Refund.objects.count(), portions(paid)) == (1, {"refunded": 250})
    payment.refresh_from_db()
    assert payment.status == "reversed"


def test_cash_that_waits_for_a_second_person_fails(waiting, paid, owner, order):
    prove(paid)

    assert row(waiting)[:3] == ("failed", "", "M-Pesa sent this money back meanwhile")
    made = Refund.objects.exclude(pk=waiting.pk).get()
    assert (made.method, made.state, made.amount) == ("reversal", "done", 250)
    assert (portions(paid), refunded(order)) == ({"refunded": 250}, 250)
    with pytest.raises(NotWaiting):
        refunds.approve(access=owner, refund_id=waiting.pk)


@pytest.mark.parametrize("amount", [100, 250])
def test_cash_that_went_out_before_is_an_alarm(paid, manager, order, payment, amount):
    ask(manager, paid, amount=amount)

    prove(paid)

    assert (portions(paid), refunded(order)) == ({"refunded": 250}, 250)
    payment.refresh_from_db()
    assert (payment.status, payment.alarm) == (
        "reversed", f"Sent back twice: KES {amount} had been given back before.",
    )  # fmt: skip
    assert paid.reversed_at is not None
    assert sorted(Refund.objects.values_list("method", "amount")) == sorted(
        [("cash", amount)] + ([("reversal", 250 - amount)] if amount < 250 else [])
    )


def test_reversal_asked_and_its_result_lost_while_cash_is_handed_back(
    paid, manager, owner, order, payment, organisation, time
):
    """The till refuses; and what went out of the drawer anyway counts nowhere twice."""
    organisation.answers = [GatewayError("HTTP 504", certain=False)]
    refund = ask(manager, paid, "reversal")
    before = portions(paid)

    for access in (manager, owner):
        with nothing_changes(), pytest.raises(RefundInTheWay) as refusal:
            ask(access, paid, "cash")
    assert refusal.value.message == (
        "M-Pesa was asked to send this money back and has not said what came of it:"
        " giving it back now could pay the customer twice. Ask M-Pesa again, or wait."
    )
    assert (portions(paid), before) == (before, {"reserved": 250})

    # Somebody gave cash all the same, as an expense of the drawer. Proof comes late.
    time.turn(86_400)
    prove(paid)
    with nothing_changes():
        prove(paid)
        tell(refund.request, reversed_(refund.request, 250, **IDS))

    assert row(refund)[0] == "done"
    assert (portions(paid), refunded(order)) == ({"refunded": 250}, 250)
    assert sale_of(order) == ("refunded", 250, 0, 0)
    assert [(one.method, one.amount) for one in Refund.objects.all()] == [
        ("reversal", 250)
    ]
    payment.refresh_from_db()
    assert (payment.status, payment.alarm) == ("reversed", "")


def test_mpesas_word_reversed_about_a_counted_receipt_is_proof(paid, account_of):
    asked = account_of(paid)

    assert tell(asked, status(asked, word="Reversed")) == "applied"

    assert (portions(paid), Refund.objects.get().state) == ({"refunded": 250}, "done")


def test_the_word_reversed_with_another_amount_proves_nothing(paid, account_of):
    asked = account_of(paid)

    with nothing_changes():
        assert tell(asked, status(asked, "249", word="Reversed")) == "unverified"


@pytest.fixture
def account_of(organisation):
    return lambda collection: inquiries.ask_status(
        collection.account, collection.receipt
    )


def test_already_reversed_is_believed_once_it_is_checked(
    paid, manager, organisation, time
):
    refund = sending(manager, paid)
    tell(refund.request, result(refund.request, "R000001"))
    assert (row(refund)[0], portions(paid)) == ("unknown", {"reserved": 250})

    prove(paid)

    assert row(refund) == ("done", "UAE9BACK01", "", None)


def test_a_part_that_paid_another_sale_goes_back_too(organisation, duka, manager, bob):
    """A surplus had been used for a second sale: that payment is reversed as well."""
    order = OrderFactory(shop=duka, total=100)
    collection = settle(PaymentFactory(order=order, amount=250))
    second = OrderFactory(shop=duka, total=150)
    with transaction.atomic():
        held = refund_money.locked(collection.pk)
        [surplus] = ledger.current(collection).filter(kind="surplus")
        surplus.collection = held.collection
        ledger.release(surplus, actor=bob.user, reason="used")
        order_lifecycle.give_up_surplus(held.orders[order.pk], Decimal(150))
        made = direct.pay(
            order_lifecycle.locked(second.pk), held.collection,
            Decimal(150), actor=bob.user, reason="from the drawer",
        )  # fmt: skip
    assert (sale_of(order), sale_of(second)) == (
        ("paid", 100, 0, 0), ("paid", 150, 0, 0),
    )  # fmt: skip

    refund = sending(manager, collection)
    tell(refund.request, reversed_(refund.request, 250))

    assert portions(collection) == {"refunded": 250}
    assert (sale_of(order), sale_of(second)) == (
        ("refunded", 100, 0, 0), ("refunded", 150, 0, 0),
    )  # fmt: skip
    assert (refunded(order), refunded(second)) == (100, 150)
    statuses = Payment.objects.values_list("status", flat=True)
    assert (list(statuses), made.order) == (["reversed", "reversed"], second)


def test_a_payment_with_another_receipt_stays_paid(organisation, payment, manager):
    settle(payment)
    twice = settle(payment, "UAE5SECOND")
    assert portions(twice) == {"surplus": 250}

    refund = sending(manager, twice)
    tell(refund.request, reversed_(refund.request, 250))

    payment.refresh_from_db()
    assert (payment.status, portions(twice)) == ("completed", {"refunded": 250})
    assert sale_of(payment.order) == ("paid", 250, 0, 0)


def test_a_receipt_that_was_guessed_wrongly_is_reversed_where_it_is(
    paid, manager, duka, payment
):
    """The number moved to another payment while its reversal was under way."""
    refund = sending(manager, paid)
    Collection.objects.filter(pk=paid.pk).update(receipt=None)
    other = PaymentFactory(order=OrderFactory(shop=duka))
    holder = settle(other)

    assert tell(refund.request, reversed_(refund.request, 250)) == "applied"

    assert row(refund)[0] == "failed"
    assert (portions(paid), portions(holder)) == ({"sale": 250}, {"refunded": 250})
    assert (paid.reversed_at, holder.reversed_at is None) == (None, False)
    payment.refresh_from_db()
    other.refresh_from_db()
    assert (payment.status, other.status) == ("completed", "reversed")


def moving(monkeypatch, name, paid, duka, *, first):
    """Let the receipt be found to be another payment's around the first such call."""
    act, moved = getattr(reversals, name), []

    def move():
        if not moved:
            moved.append(paid.pk)
            Collection.objects.filter(pk=paid.pk).update(receipt=None)
            settle(PaymentFactory(order=OrderFactory(shop=duka)))

    def around(*args, **facts):
        if first:
            move()
        act(*args, **facts)
        move()

    monkeypatch.setattr(reversals, name, around)


def test_a_receipt_that_moves_before_its_result_has_the_locks(
    paid, manager, duka, monkeypatch
):
    """The proof is tried again, and booked where the receipt is by then."""
    refund = sending(manager, paid)
    moving(monkeypatch, "_prove_where_the_receipt_is", paid, duka, first=False)
    with pytest.raises(reversals.ReceiptNotCounted):
        tell(refund.request, reversed_(refund.request, 250))
    assert portions(paid) == {"reserved": 250}

    assert tell(refund.request, reversed_(refund.request, 250) + b" ") == "applied"

    holder = Collection.objects.get(receipt=NUMBER)
    assert (portions(holder), portions(paid)) == ({"refunded": 250}, {"sale": 250})
    assert (holder.reversed_at is None, paid.reversed_at) == (False, None)


def test_a_receipt_that_moves_before_an_answer_has_the_locks(
    silent, organisation, paid, duka, monkeypatch
):
    moving(monkeypatch, "prove_reversed", paid, duka, first=True)
    refund_questions.attend(silent.pk)
    asked = question(organisation)
    with pytest.raises(reversals.ReceiptNotCounted):
        tell(asked, about(asked))
    assert portions(paid) == {"reserved": 250}

    assert tell(asked, about(asked) + b" ") == "applied"

    holder = Collection.objects.get(receipt=NUMBER)
    assert (portions(holder), portions(paid)) == ({"refunded": 250}, {"sale": 250})
    assert (holder.reversed_at is None, paid.reversed_at) == (False, None)


def test_a_receipt_that_moved_is_not_booked_as_reversed_where_it_was(paid, duka):
    Collection.objects.filter(pk=paid.pk).update(receipt=None)

    with nothing_changes(), pytest.raises(reversals.ReceiptNotCounted):
        reversals.prove_reversed(
            paid, receipt="UAE9BACK01", source=Source.STATEMENT, at=clock.now()
        )


def test_a_receipt_that_is_nobodys_for_a_moment_is_tried_again(paid, manager, duka):
    refund = sending(manager, paid)
    Collection.objects.filter(pk=paid.pk).update(receipt=None)

    with nothing_changes(), pytest.raises(reversals.ReceiptNotCounted):
        tell(refund.request, reversed_(refund.request, 250))

    assert (row(refund)[0], refund.request.state) == ("sending", "sent")


# Statements.


@pytest.mark.parametrize(
    ("since", "until", "state"),
    [(-60, 3600, "failed"), (-60, 3599, "unknown"), (1, 7200, "unknown")],
    ids=["covers it", "too early", "begins later"],
)
def test_a_complete_statement_without_it_decides_a_reversal(
    silent, paid, since, until, state
):
    sent_at = Refund.objects.get().sent_at

    refunds.settle_by_statement(
        paid.account,
        covers_from=sent_at + timedelta(seconds=since),
        covers_to=sent_at + timedelta(seconds=until),
    )

    assert row(silent)[0] == state
    expected = {"sale": 250} if state == "failed" else {"reserved": 250}
    assert portions(paid) == expected


SINCE, UNTIL = timedelta(seconds=60), timedelta(hours=2)


def import_of(collection, bob, **facts):
    sent_at = Refund.objects.get().sent_at
    return StatementImport.objects.create(
        account=collection.account, file_hash="h", file_name="f.csv",
        imported_by=bob.user, imported_at=clock.now(),
        covers_from=sent_at - SINCE, covers_to=sent_at + UNTIL, **facts,
    )  # fmt: skip


def settle_by(statement):
    return refunds.settle_by_statement(
        statement.account,
        covers_from=statement.covers_from,
        covers_to=statement.covers_to,
    )


def test_a_statement_with_unreadable_rows_decides_nothing(silent, paid, bob):
    bad = import_of(paid, bob, bad_rows=[{"line": 9}])

    assert (settle_by(bad), row(silent)[0]) == (0, "unknown")
    StatementImport.objects.update(bad_rows=[])
    assert (settle_by(bad), row(silent)[0]) == (1, "failed")


@pytest.mark.parametrize(
    ("moved", "state"),
    [
        ({"linked": NUMBER, "amount": -100}, "unknown"),
        ({"linked": "", "amount": -250}, "unknown"),
        ({"linked": "", "amount": -249}, "failed"),
        ({"linked": "UAE5OTHER1", "amount": -250}, "failed"),
        ({"linked": "", "amount": -250, "kind": "sweep"}, "failed"),
        ({"linked": "", "amount": -250, "at": START - timedelta(minutes=3)}, "failed"),
    ],
    ids=str,
)
def test_a_reversal_that_may_be_it_decides_nothing(silent, paid, bob, moved, state):
    statement = import_of(paid, bob)
    Movement.objects.create(
        **{
            "account": paid.account, "kind": "reversal", "number": "UAE9BACK01",
            "at": clock.now(), "statement": statement,
        } | moved
    )  # fmt: skip
    Refund.objects.update(sent_at=START + timedelta(seconds=1))

    settle_by(statement)

    assert row(silent)[0] == state


# The platform's own account.


@pytest.fixture
def nobodys(organisation):
    account = accounts.platform_account()
    return Collection.objects.create(
        account=account, environment=account.environment, receipt="UAE5NOBODY",
        amount=700, source=Source.PULL, sighted_at=clock.now(),
    )  # fmt: skip


def test_the_operator_sends_back_what_is_nobodys(nobodys, operator):
    refund = ask(Operator(operator.user), nobodys, "reversal", amount=700)
    tell(refund.request, reversed_(refund.request, 700))

    assert (row(refund)[0], refund.shop, refund.order) == ("done", None, None)
    assert portions(nobodys) == {"refunded": 700}
    assert refund.reserved.order is None


def test_what_is_nobodys_and_fails_is_unmatched_again(nobodys, operator):
    refund = ask(Operator(operator.user), nobodys, "reversal", amount=700)
    assert portions(nobodys) == {"reserved": 700}

    tell(refund.request, result(refund.request, 1))

    assert (row(refund)[0], portions(nobodys)) == ("failed", {"unmatched": 700})


def test_no_shop_sends_back_what_is_nobodys(nobodys, owner, operator, bob):
    with nothing_changes():
        with pytest.raises(NotFound):
            ask(owner, nobodys, amount=700)
        with pytest.raises(Forbidden):
            ask(Operator(bob.user), nobodys, amount=700)


def test_another_operator_decides_about_much(nobodys, operator, owner):
    Collection.objects.filter(pk=nobodys.pk).update(amount=5000)
    refund = ask(Operator(operator.user), nobodys, amount=5000)
    assert refund.state == "asked"

    with pytest.raises(SamePerson):
        refunds.approve(access=Operator(operator.user), refund_id=refund.pk)
    with pytest.raises(NotFound):
        refunds.approve(access=owner, refund_id=refund.pk)
    other = UserFactory(is_superuser=True)
    refunds.approve(access=Operator(other), refund_id=refund.pk)

    assert (row(refund)[0], portions(nobodys)) == ("done", {"refunded": 5000})


# What the words promise.


def test_every_certain_code_has_words():
    assert set(reversals.REFUSALS) == set(REFUSED)


def test_products_are_not_touched_unless_asked(paid, manager, order):
    before = list(Product.objects.values())

    refund = sending(manager, paid)
    tell(refund.request, reversed_(refund.request, 250))

    assert list(Product.objects.values()) == before


@pytest.mark.parametrize("old", RefundState.values)
@pytest.mark.parametrize("new", RefundState.values)
def test_only_the_lawful_moves_move(paid, manager, old, new):
    refund = ask(manager, paid, amount=1)
    Refund.objects.filter(pk=refund.pk).update(state=old)
    refund.refresh_from_db()
    lawful = {
        ("asked", "sending"), ("asked", "done"), ("asked", "refused"),
        ("asked", "failed"), ("sending", "unknown"), ("sending", "done"),
        ("sending", "failed"), ("unknown", "done"), ("unknown", "failed"),
    }  # fmt: skip
    events = states(refund)

    if (old, new) in lawful:
        refund_money.move(refund, RefundState(new), reason="x")
        assert states(refund) == [*events, (old, new)]
        assert row(refund)[0] == refund.state == new
    else:
        with pytest.raises(refund_money.IllegalMove):
            refund_money.move(refund, RefundState(new), reason="x")
        assert (row(refund)[0], states(refund)) == (old, events)


def test_a_move_from_a_state_that_it_left_writes_nothing(waiting):
    twin = Refund.objects.get(pk=waiting.pk)
    refund_money.move(waiting, RefundState.SENDING, reason="first")

    with pytest.raises(refund_money.IllegalMove, match="no longer"):
        refund_money.move(twin, RefundState.DONE, reason="second")

    assert states(waiting) == [("", "asked"), ("asked", "sending")]


def test_a_refund_does_not_begin_at_its_end(paid, manager):
    reserved = refund_money.Reserved(paid.allocations.get(), ())

    with pytest.raises(refund_money.IllegalMove, match="does not begin"):
        refund_money.begin(
            Refund(collection=paid, state="failed"), reserved, actor=None, reason=""
        )


def test_the_workers_tasks_hand_out_and_ask(paid, manager, organisation, time):
    refund = sending(manager, paid)
    time.turn(60)

    tasks.sweep_refunds()
    tasks.attend_refund(str(refund.pk))

    assert len(organisation.questions) == 1
    assert "payments.tasks.sweep_refunds" in settings.PERIODIC_TASKS
