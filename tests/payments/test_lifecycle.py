"""Every pair of statuses, and what the database refuses below the code."""

from decimal import Decimal

import pytest

from payments import lifecycle
from payments.enums import Method, PaymentStatus, Source
from payments.models import Payment, PaymentEvent
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.support.refusals import refuses


pytestmark = pytest.mark.django_db

LEGAL = {
    ("created", "pending"),
    ("created", "completed"),
    ("created", "failed"),
    ("created", "expired"),
    ("created", "cancelled"),
    ("pending", "completed"),
    ("pending", "failed"),
    ("pending", "expired"),
    ("pending", "cancelled"),
    ("failed", "completed"),
    ("expired", "completed"),
    ("cancelled", "completed"),
    ("completed", "reversed"),
}
ALL = [(old, new) for old in PaymentStatus.values for new in PaymentStatus.values]
FACTS = {
    "failed": {"failure_reason": "other", "decided_at": clock.now()},
    "completed": {"completed_at": clock.now(), "decided_at": clock.now()},
    "reversed": {"completed_at": clock.now(), "decided_at": clock.now()},
}


def row(payment):
    return Payment.objects.filter(pk=payment.pk).values().get()


def events(payment):
    return list(payment.events.values("old", "new", "source", "reason", "actor"))


def payment_in(status, order):
    return PaymentFactory(order=order, status=status, **FACTS.get(status, {}))


@pytest.mark.parametrize(("old", "new"), sorted(LEGAL))
def test_a_legal_move_moves_and_leaves_one_event(old, new, order, bob, time):
    payment = payment_in(old, order)
    before, told = row(payment), events(payment)
    changes = {"failure_reason": "other"} if new == "failed" else {}

    lifecycle.move(
        payment, PaymentStatus(new), source=Source.PERSON, actor=bob.user,
        reason="because", **changes,
    )  # fmt: skip

    after = before | {"status": new} | changes
    if new in ("completed", "failed"):
        after["decided_at"] = time.now
    if new == "completed":
        after["completed_at"] = time.now
    assert row(payment) == after
    assert payment.status == new
    assert events(payment) == [
        *told,
        {
            "old": old,
            "new": new,
            "source": "person",
            "reason": "because",
            "actor": bob.user.pk,
        },
    ]


@pytest.mark.parametrize(("old", "new"), sorted(set(ALL) - LEGAL))
def test_an_illegal_move_raises_and_leaves_nothing(old, new, order):
    payment = payment_in(old, order)
    before, told = row(payment), events(payment)

    with pytest.raises(lifecycle.IllegalMove, match=f"{old} → {new}"):
        lifecycle.move(
            payment, PaymentStatus(new), source=Source.CLOCK, reason="no", alarm="no"
        )

    assert row(payment) == before
    assert events(payment) == told
    assert payment.status == old


def test_the_table_of_moves_names_every_status():
    assert set(PaymentStatus.MOVES) == set(PaymentStatus.values)
    moves = {
        (old, new) for old in PaymentStatus.MOVES for new in PaymentStatus.MOVES[old]
    }
    assert moves == LEGAL


@pytest.mark.parametrize("new", ["completed", "failed"])
def test_a_move_from_a_status_that_is_no_longer_so_leaves_nothing(new, payment):
    Payment.objects.filter(pk=payment.pk).update(status="cancelled")
    before, told = row(payment), events(payment)

    with pytest.raises(lifecycle.IllegalMove, match="pending no longer"):
        lifecycle.move(
            payment, PaymentStatus(new), source=Source.QUERY, reason="late",
            failure_reason="other",
        )  # fmt: skip

    assert row(payment) == before
    assert events(payment) == told


def test_a_note_records_without_moving(payment, messages):
    before, told = row(payment), events(payment)

    lifecycle.note(payment, source=Source.QUERY, reason="seen", alarm="look here")

    assert row(payment) == before | {"alarm": "look here"}
    assert payment.alarm == "look here"
    assert events(payment) == [
        *told,
        {
            "old": "pending",
            "new": "pending",
            "source": "query",
            "reason": "seen",
            "actor": None,
        },
    ]


def test_a_note_without_changes_writes_the_event_alone(payment):
    before = row(payment)

    lifecycle.note(payment, source=Source.QUERY, reason="seen")

    assert row(payment) == before
    assert payment.events.last().reason == "seen"


def test_notes_may_repeat_a_status(payment):
    for _ in range(2):
        lifecycle.note(payment, source=Source.QUERY, reason="again")

    assert payment.events.filter(reason="again").count() == 2


def test_a_long_reason_is_cut(payment):
    lifecycle.note(payment, source=Source.QUERY, reason="x" * 400)

    assert payment.events.last().reason == "x" * 300


def test_begin_stores_the_payment_as_created_with_its_first_event(order, bob, time):
    payment = cash_payment(order)

    lifecycle.begin(payment, source=Source.PERSON, actor=bob.user, reason="asked")

    assert row(payment)["status"] == "created"
    assert events(payment) == [
        {
            "old": "",
            "new": "created",
            "source": "person",
            "reason": "asked",
            "actor": bob.user.pk,
        }
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", ["begin", "move", "note"])
def test_writing_outside_a_transaction_is_refused(verb, duka):
    payment = PaymentFactory(order=OrderFactory(shop=duka))
    before, told = row(payment), events(payment)
    calls = {
        "begin": lambda: lifecycle.begin(
            payment, source=Source.PUSH, actor=None, reason=""
        ),
        "move": lambda: lifecycle.move(
            payment, PaymentStatus.EXPIRED, source=Source.CLOCK, reason=""
        ),
        "note": lambda: lifecycle.note(payment, source=Source.CLOCK, reason=""),
    }

    with pytest.raises(AssertionError, match="inside a transaction"):
        calls[verb]()

    assert row(payment) == before
    assert events(payment) == told


# What the database itself refuses.


def test_the_database_refuses_a_status_entered_twice(payment):
    assert refuses(
        "payment_enters_a_status_once",
        lambda: PaymentEvent.objects.create(
            payment=payment, old="created", new="pending", source="push",
            created_at=clock.now(),
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("payment_amount_is_positive", {"amount": 0}),
        ("payment_amount_is_positive", {"amount": -5}),
        ("payment_status_is_known", {"status": "paid"}),
        ("payment_failed_has_reason", {"status": "failed"}),
        ("payment_completed_has_its_time", {"status": "completed"}),
        (
            "payment_completed_has_its_time",
            {"status": "completed", "completed_at": clock.now()},
        ),
        (
            "payment_completed_has_its_time",
            {"status": "completed", "decided_at": clock.now()},
        ),
        ("mpesa_payment_says_who_pays_whom", {"phone": ""}),
        ("mpesa_payment_says_who_pays_whom", {"reference": ""}),
        ("mpesa_payment_says_who_pays_whom", {"account": None}),
        ("mpesa_payment_says_who_pays_whom", {"token_hash": None}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_the_database_refuses_a_payment_that_cannot_be(name, changes, payment):
    before = row(payment)
    rows = Payment.objects.filter(pk=payment.pk)

    assert refuses(name, lambda: rows.update(**changes))

    assert row(payment) == before


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("idempotency_key_makes_one_payment_of_a_shop", "idempotency_key"),
        ("reference_names_one_payment_of_an_account", "reference"),
        ("token_hash", "token_hash"),
        ("checkout_request_id", "checkout_request_id"),
        ("retry_of", "retry_of_id"),
    ],
)
def test_the_database_refuses_a_second_payment_with_the_same(name, column, payment):
    first, second = (
        PaymentFactory(order=OrderFactory(shop=payment.shop)) for _ in range(2)
    )
    value = {
        "idempotency_key": "key",
        "retry_of_id": payment.pk,
    }.get(column) or getattr(first, column)
    Payment.objects.filter(pk=first.pk).update(**{column: value})

    assert refuses(
        name, lambda: Payment.objects.filter(pk=second.pk).update(**{column: value})
    )


def test_the_database_refuses_a_second_open_prompt_of_a_sale(payment):
    assert refuses(
        "order_has_one_open_prompt_per_phone_and_amount",
        lambda: PaymentFactory(order=payment.order, phone=payment.phone),
    )


@pytest.mark.parametrize("status", ["cancelled", "expired"])
def test_the_database_allows_the_same_prompt_after_one_that_is_over(status, order):
    PaymentFactory(order=order, phone="254712345678", status=status)

    assert PaymentFactory(order=order, phone="254712345678").pk is not None


def test_an_event_is_never_changed_or_deleted(payment):
    event = payment.events.first()

    with pytest.raises(TypeError, match="never changed"):
        event.save()
    with pytest.raises(TypeError, match="never deleted"):
        event.delete()


def cash_payment(order):
    return Payment(
        shop=order.shop, order=order, method=Method.CASH, amount=Decimal(250),
        created_at=clock.now(),
    )  # fmt: skip
