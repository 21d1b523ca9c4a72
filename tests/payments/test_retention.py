"""Personal data ends after its time; money and the audit chain stay as they are."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.apps import apps

from payments import audit, demo, gateways, prompting, refusals, retention
from payments.enums import PaymentStatus
from payments.models import (
    Act,
    Allocation,
    Collection,
    Notice,
    Payment,
    PhoneGuard,
    Receipt,
    StatementFile,
    Suspicion,
)
from shops.tenancy import Access
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.support import full_books


pytestmark = pytest.mark.django_db

DAYS = 90
# The only columns that may change, by model.
PERSONAL = {
    "Payment": {"phone", "may_retry"},
    "Collection": {"phone"},
    "Receipt": {"payer", "payer_name", "reference"},
    "Sighting": {"payer", "reference"},
    "Notice": {"body", "address", "error"},
    "StatementFile": {"body"},
    "StatementImport": {"bad_rows"},
    "Movement": {"details"},
    "Allocation": {"customer"},
    "Act": {"address"},
    "Suspicion": {"address", "subject"},
}


@pytest.fixture(autouse=True)
def _days(settings):
    settings.RETENTION_DAYS = DAYS


@pytest.fixture
def later(monkeypatch):
    """Turn the clock ahead by so many days."""
    now = clock.now()

    def turn(days, **more):
        monkeypatch.setattr(clock, "now", lambda: now + timedelta(days=days, **more))

    return turn


@pytest.fixture
def books(db):
    """Two shops with a day of everything."""
    demo.load()
    full_books.make()


def everything():
    """Return every row of money, by model and key, without its personal columns."""
    found = {}
    for model in apps.get_app_config("payments").get_models():
        if model is PhoneGuard:
            continue
        left_out = PERSONAL.get(model._meta.concrete_model.__name__, set())
        found[model.__name__] = [
            {name: value for name, value in row.items() if name not in left_out}
            for row in model._base_manager.order_by("pk").values()
        ]
    return found


def seal_all():
    while audit.seal():
        pass


def faults():
    return [fault.what for fault in audit.verify()[1]]


def mask_all():
    done = {}
    while found := retention.mask():
        for name, count in found.items():
            done[name] = done.get(name, 0) + count
    return done


def test_personal_data_is_masked_and_nothing_else_changes(books, later):
    seal_all()
    before, heads = everything(), audit.verify()[0]
    later(DAYS + 10)

    done = mask_all()

    assert set(done) >= {
        "Payment", "Collection", "Receipt", "Sighting", "Notice", "StatementFile",
        "StatementImport",
    }  # fmt: skip
    assert everything() == before
    assert audit.verify() == (heads, [])


def test_no_phone_and_no_message_is_left_of_what_is_decided(books, later):
    later(DAYS + 10)
    mask_all()

    decided = Payment.objects.filter(decided_at__isnull=False)
    assert {row.phone for row in decided} <= {"", "masked"}
    assert not decided.filter(may_retry=True).exists()
    counted = Receipt.objects.filter(state="counted")
    assert {(r.payer, r.payer_name, r.reference) for r in counted} == {("", "", "")}
    used = [row for row in Collection.objects.all() if row.allocated == row.amount]
    assert {row.phone for row in used} == {""}
    done = Notice.objects.filter(next_try_at__isnull=True).exclude(verdict="parked")
    assert {bytes(row.body) for row in done} == {retention.REMOVED}
    assert {row.address for row in done} == {None}
    files = StatementFile.objects.filter(statement__finished_at__isnull=False)
    assert {bytes(row.body) for row in files} == {retention.REMOVED}


def test_what_is_undecided_keeps_what_decides_it(books, later):
    undecided = list(
        Payment.objects.filter(decided_at__isnull=True, method="mpesa_stk").values()
    )
    waiting = list(Receipt.objects.exclude(state="counted").order_by("pk").values())
    parked = list(Notice.objects.filter(verdict="parked").order_by("pk").values())
    credit = list(
        Allocation.objects.filter(kind="credit", released_by=None).values("customer")
    )
    unused = [
        (row.pk, row.phone)
        for row in Collection.objects.order_by("pk")
        if row.allocated < row.amount
    ]
    assert all((undecided, waiting, parked, credit, unused))
    later(DAYS + 10)

    mask_all()

    assert list(
        Payment.objects.filter(decided_at__isnull=True, method="mpesa_stk").values()
    ) == undecided  # fmt: skip
    left = Receipt.objects.exclude(state="counted").order_by("pk").values()
    assert list(left) == waiting
    left = Notice.objects.filter(verdict="parked").order_by("pk").values()
    assert list(left) == parked
    kept = Allocation.objects.filter(kind="credit", released_by=None)
    assert list(kept.values("customer")) == credit
    assert [
        (row.pk, row.phone)
        for row in Collection.objects.order_by("pk")
        if row.allocated < row.amount
    ] == unused


def paid(shop, at):
    order = OrderFactory(shop=shop)
    return PaymentFactory(
        order=order, status=PaymentStatus.FAILED, failure_reason="wrong_pin",
        decided_at=at, created_at=at, may_retry=True, phone="254712345678",
    )  # fmt: skip


def test_limit_is_met_to_the_moment(duka, monkeypatch):
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    limit = now - timedelta(days=DAYS)
    younger, older = paid(duka, limit), paid(duka, limit - timedelta(microseconds=1))

    assert retention.mask() == {"Payment": 1}

    younger.refresh_from_db()
    older.refresh_from_db()
    assert (younger.phone, older.phone) == ("254712345678", "masked")
    assert retention.is_past(limit - timedelta(microseconds=1))
    assert not retention.is_past(limit)


def test_again_changes_nothing(duka):
    paid(duka, clock.now() - timedelta(days=DAYS + 1))

    assert retention.mask() == {"Payment": 1}
    assert retention.mask() == {}


def test_nothing_is_masked_where_it_is_off(duka, settings):
    settings.RETENTION_DAYS = 0
    payment = paid(duka, clock.now() - timedelta(days=5000))

    assert retention.mask() == {}
    assert not retention.is_past(payment.created_at)
    payment.refresh_from_db()
    assert payment.phone == "254712345678"


def test_round_is_bounded_and_goes_on_next_time(
    duka, settings, django_assert_max_num_queries
):
    settings.RETENTION_BATCH, settings.RETENTION_ROWS = 2, 5
    for _ in range(7):
        paid(duka, clock.now() - timedelta(days=DAYS + 1))

    with django_assert_max_num_queries(60):
        assert retention.mask() == {"Payment": 5}
    assert retention.mask() == {"Payment": 2}
    assert retention.mask() == {}


def test_masked_payment_is_not_tried_again(duka, bob, monkeypatch):
    monkeypatch.setattr(gateways, "mpesa", None)
    payment = paid(duka, clock.now() - timedelta(days=DAYS + 1))
    retention.mask()
    seller = Access(bob.user, duka, "cashier")

    with pytest.raises(refusals.NotRetryable):
        prompting.retry(access=seller, payment_id=payment.pk)


def test_guards_of_phones_go_and_addresses_of_people(duka, alice):
    long_ago = clock.now() - timedelta(days=DAYS + 1)
    facts = {"amount": Decimal(1), "free_same_at": long_ago, "free_at": long_ago}
    PhoneGuard.objects.create(phone="254712345678", **facts)
    now = {"free_at": clock.now(), "free_same_at": clock.now()}
    PhoneGuard.objects.create(phone="254712345679", **(facts | now))
    Act.objects.create(
        at=long_ago, shop=duka, actor=alice.user, road="api", address="10.1.2.3",
        what="POST api/orders", status=201,
    )  # fmt: skip
    for number, seen_at in enumerate((long_ago, None)):
        Suspicion.objects.create(
            kind="forged", subject=f"from:10.1.2.{number}", address=f"10.1.2.{number}",
            count=9, first_at=long_ago, last_at=long_ago, seen_at=seen_at,
            seen_by=alice.user, seen_reason="a test",
        )  # fmt: skip

    assert retention.mask() == {"Act": 1, "Suspicion": 1, "PhoneGuard": 1}

    assert [row.phone for row in PhoneGuard.objects.all()] == ["254712345679"]
    assert Act.objects.get().address is None
    seen, unseen = Suspicion.objects.order_by("pk")
    assert (seen.subject, seen.address) == (f"masked:{seen.pk}", None)
    assert (unseen.subject, unseen.address) == ("from:10.1.2.1", "10.1.2.1")


def test_the_rules_name_the_columns_that_may_change():
    ruled = {rule.model.__name__: set(rule.values) for rule in retention.RULES}

    assert ruled == PERSONAL
