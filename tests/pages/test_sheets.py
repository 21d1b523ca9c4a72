"""What a payment looks like to a cashier: the mapping, pair by pair."""

from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from orders.enums import OrderStatus
from orders.models import Order
from payments.enums import Method, PaymentStatus
from payments.models import Payment
from payments.sheets import Entry, SheetState, quick_notes, sheet_for, sheet_state


PUSHED = datetime(2026, 11, 20, 9, 0, tzinfo=timezone.utc)  # noqa: UP017 -- the name django-stubs knows
FRESH, LATE = PUSHED + timedelta(seconds=30), PUSHED + timedelta(seconds=60)


def payment(status, *, decided=False, answered=True, **facts):
    return Payment(
        order=order(),
        method=Method.MPESA_STK,
        status=status,
        amount=Decimal(250),
        phone="254712345678",
        created_at=PUSHED,
        answered_at=PUSHED if answered else None,
        decided_at=PUSHED if decided else None,
        **facts,
    )


def order(status=OrderStatus.OPEN, paid=0):
    return Order(number=7, status=status, total=Decimal(250), paid=Decimal(paid))


@pytest.mark.parametrize(
    ("status", "decided", "while_prompting", "afterwards"),
    [
        (PaymentStatus.PENDING, False, SheetState.WAITING, SheetState.UNKNOWN),
        (PaymentStatus.EXPIRED, False, SheetState.UNKNOWN, SheetState.UNKNOWN),
        (PaymentStatus.CANCELLED, False, SheetState.STOPPED, SheetState.UNKNOWN),
        (PaymentStatus.EXPIRED, True, SheetState.FAILED, SheetState.FAILED),
        (PaymentStatus.CANCELLED, True, SheetState.FAILED, SheetState.FAILED),
        (PaymentStatus.FAILED, True, SheetState.FAILED, SheetState.FAILED),
        (PaymentStatus.COMPLETED, True, SheetState.PAID, SheetState.PAID),
        (PaymentStatus.REVERSED, True, SheetState.REVERSED, SheetState.REVERSED),
    ],
)
def test_sheet_state_of_each_status(status, decided, while_prompting, afterwards):
    one = payment(status, decided=decided)

    assert sheet_state(one, now=FRESH) is while_prompting
    assert sheet_state(one, now=LATE) is afterwards


@pytest.mark.parametrize(
    ("answered", "after_s", "state"),
    [
        (False, 14, SheetState.WAITING),
        (False, 15, SheetState.UNKNOWN),
        (True, 1, SheetState.UNKNOWN),
    ],
    ids=["push under way", "push never answered", "push answer lost"],
)
def test_push_without_an_answer_is_unknown(answered, after_s, state):
    one = payment(PaymentStatus.CREATED, answered=answered)

    assert sheet_state(one, now=PUSHED + timedelta(seconds=after_s)) is state


def test_uncertain_code_is_unknown_at_once():
    one = payment(PaymentStatus.PENDING, result_code="1037")

    assert sheet_state(one, now=FRESH) is SheetState.UNKNOWN


@pytest.mark.parametrize(
    ("balance", "notes"),
    [
        (390, [390, 400, 500, 1000]),
        (1, [1, 50, 100, 200, 500, 1000]),
        (1000, [1000]),
        (1510, [1510, 1550, 1600, 2000]),
        (249_999, [249_999, 250_000]),
    ],
)
def test_quick_notes_are_what_people_hand_over(balance, notes):
    assert quick_notes(balance) == notes


def test_balance_with_cents_is_asked_for_in_whole_shillings():
    sale = order(paid="99.50")

    context = sheet_for(sale, [], now=FRESH, entry=Entry(method=Method.CASH)).context

    shown = (context["balance"], context["rest"], context["notes"][0])
    assert shown == (151, 151, 151)


@pytest.mark.parametrize(
    ("sale", "focus", "entry", "template"),
    [
        (order(), None, None, "_mpesa"),
        (order(), None, Entry(method=Method.CASH), "_cash"),
        (order(), None, Entry(method="cancel"), "_cancel"),
        (order(), PaymentStatus.PENDING, None, "_waiting"),
        (order(), PaymentStatus.PENDING, Entry(), "_mpesa"),
        (order(paid=100), PaymentStatus.COMPLETED, None, "_part"),
        (order(OrderStatus.PAID, 250), PaymentStatus.COMPLETED, None, "_paid"),
        (order(OrderStatus.PAID, 250), PaymentStatus.PENDING, None, "_paid"),
        (order(OrderStatus.PAID, 250), None, Entry(method=Method.CASH), "_paid"),
        (order(OrderStatus.CANCELLED), PaymentStatus.PENDING, None, "_closed"),
        (order(OrderStatus.REFUNDED, 250), None, None, "_closed"),
    ],
)
def test_sheet_of_a_sale(sale, focus, entry, template):
    one = payment(focus, decided=focus == PaymentStatus.COMPLETED) if focus else None

    sheet = sheet_for(sale, [one] if one else [], now=FRESH, focus=one, entry=entry)

    assert sheet.template == f"payments/{template}.html"


def test_fingerprint_changes_when_the_receipt_comes_and_not_by_time():
    one = payment(PaymentStatus.PENDING)
    before = sheet_for(order(), [one], now=FRESH, focus=one).context["seen"]
    later = sheet_for(order(), [one], now=PUSHED, focus=one).context["seen"]
    one.receipt = "UKL7RT61SV"

    after = sheet_for(order(), [one], now=FRESH, focus=one).context["seen"]

    assert before == later
    assert before != after
