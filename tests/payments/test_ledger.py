"""Collections are shared out, never beyond what they are."""

from decimal import Decimal

import pytest

from payments import ledger
from payments.enums import AllocationKind
from payments.ledger import Portion
from payments.models import Allocation, Collection
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.support.refusals import refuses


pytestmark = pytest.mark.django_db

SALE, SURPLUS = AllocationKind.SALE, AllocationKind.SURPLUS


@pytest.fixture
def collection(duka):
    """KES 100 that arrived."""
    return collected(duka)


def collected(shop, **facts):
    values = {"amount": Decimal(100), "source": "drawer", "sighted_at": clock.now()}
    return Collection.objects.create(shop=shop, **values | facts)


def rows(collection):
    return list(
        collection.allocations.values_list("kind", "order", "amount", "reason", "actor")
    )


def allocated(collection):
    return Collection.objects.get(pk=collection.pk).allocated


def test_money_is_shared_out(collection, order, bob):
    portions = [
        Portion(SALE, Decimal(70), order),
        Portion(SURPLUS, Decimal(30), order, "too much"),
    ]

    ledger.allocate(collection, portions, actor=bob.user)

    assert rows(collection) == [
        ("sale", order.pk, Decimal(70), "", bob.user.pk),
        ("surplus", order.pk, Decimal(30), "too much", bob.user.pk),
    ]
    assert collection.allocated == allocated(collection) == Decimal(100)


def test_money_may_be_shared_in_steps(collection, order):
    for _ in range(2):
        ledger.allocate(collection, [Portion(SALE, Decimal(50), order)])

    assert allocated(collection) == Decimal(100)


@pytest.mark.parametrize("portions", [[], [0], [0, 0], [-5]], ids=str)
def test_portions_of_nothing_are_nothing(collection, order, portions):
    ledger.allocate(collection, [Portion(SALE, Decimal(p), order) for p in portions])

    assert (rows(collection), allocated(collection)) == ([], 0)


def test_a_portion_of_nothing_beside_another_is_left_out(collection, order):
    ledger.allocate(
        collection,
        [Portion(SALE, Decimal(100), order), Portion(SURPLUS, Decimal(0), order)],
    )

    assert [kind for kind, *_ in rows(collection)] == ["sale"]


@pytest.mark.parametrize("first", [0, 60, 100])
def test_more_than_there_is_leaves_nothing(collection, order, first):
    ledger.allocate(collection, [Portion(SALE, Decimal(first), order)])
    before = rows(collection)

    with pytest.raises(ledger.Overdrawn):
        ledger.allocate(collection, [Portion(SALE, Decimal(101 - first), order)])

    assert (rows(collection), allocated(collection)) == (before, first)


def test_the_last_shilling_may_go(collection, order):
    ledger.allocate(collection, [Portion(SALE, Decimal("99.99"), order)])
    ledger.allocate(collection, [Portion(SALE, Decimal("0.01"), order)])

    with pytest.raises(ledger.Overdrawn):
        ledger.allocate(collection, [Portion(SALE, Decimal("0.01"), order)])


@pytest.mark.django_db(transaction=True)
def test_sharing_out_needs_a_transaction(duka):
    collection = collected(duka)

    with pytest.raises(AssertionError, match="inside a transaction"):
        ledger.allocate(
            collection, [Portion(SALE, Decimal(1), OrderFactory(shop=duka))]
        )

    assert not Allocation.objects.exists()


# What the database itself refuses.


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("collection_is_not_overdrawn", {"allocated": Decimal("100.01")}),
        ("collection_is_not_overdrawn", {"allocated": -1}),
        ("collection_amount_is_positive", {"amount": 0}),
        ("receipt_is_in_capitals", {"receipt": "uae5b2k9qt"}),
    ],
    ids=lambda value: str(value),
)
def test_the_database_refuses_a_collection_that_cannot_be(collection, name, changes):
    rows = Collection.objects.filter(pk=collection.pk)
    before = rows.values().get()

    assert refuses(name, lambda: rows.update(**changes))

    assert rows.values().get() == before


def test_the_database_refuses_a_receipt_twice_in_an_account(duka, payment):
    facts = {"account": payment.account, "environment": "simulator", "receipt": "R1"}
    collected(duka, **facts)

    assert refuses(
        "receipt_is_one_collection_of_an_account", lambda: collected(duka, **facts)
    )
    assert collected(duka, **facts | {"environment": "sandbox"}).pk
    assert collected(duka, **facts | {"receipt": "R2"}).pk


def test_the_database_refuses_two_collections_without_receipt(duka, payment):
    collected(duka, payment=payment)

    assert refuses(
        "payment_has_one_receiptless_collection",
        lambda: collected(duka, payment=payment),
    )
    other = PaymentFactory(order=OrderFactory(shop=duka))
    assert collected(duka, payment=other).pk


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("allocation_amount_is_positive", {"amount": 0}),
        ("allocation_amount_is_positive", {"amount": -1}),
        ("allocation_kind_is_known", {"kind": "gift"}),
        ("allocation_to_a_sale_names_it", {"order": None}),
    ],
    ids=lambda value: str(value),
)
def test_the_database_refuses_an_allocation_that_cannot_be(
    collection, order, name, facts
):
    values = {"kind": "sale", "amount": 1, "order": order, "created_at": clock.now()}

    assert refuses(
        name,
        lambda: Allocation.objects.create(collection=collection, **values | facts),
    )


def test_an_allocation_is_never_changed_or_deleted(collection, order):
    ledger.allocate(collection, [Portion(SALE, Decimal(1), order)])
    allocation = collection.allocations.get()

    with pytest.raises(TypeError, match="never changed"):
        allocation.save()
    with pytest.raises(TypeError, match="never deleted"):
        allocation.delete()
