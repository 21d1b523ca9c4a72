"""A dispute is written of money as it is, not as it was a moment before."""

import threading
from datetime import timedelta

import pytest

from orders.models import Order
from payments import disputes, drawer, precedence
from payments.enums import Source
from payments.models import Collection, Payment
from shops.tenancy import Access
from smartduka.lib import clock
from tests.concurrency.racing import MARKS, kinds, together
from tests.factories import OrderFactory, PaymentFactory
from tests.support.own_till import FULL, R1, R2, fail, own_till, sight, succeed


pytestmark = MARKS

HASTY_S = 0.4
R3 = "UAE5B2K9QV"
PAID_TWICE = "Paid twice: another receipt came for the same prompt."


@pytest.fixture
def account(duka):
    return own_till(duka)


@pytest.fixture
def payment_of(duka, account):
    """Make a prompt for KES 250 of a sale of its own."""

    def make():
        return PaymentFactory(order=OrderFactory(shop=duka, total=250), phone=FULL)

    return make


@pytest.fixture
def payment(payment_of):
    """KES 250 of a sale, under the receipt that its callback named."""
    payment = payment_of()
    succeed(payment, R1)
    return payment


def judge(collection):
    """Compare money with a statement that is complete for yesterday and today."""
    now, day = clock.now(), timedelta(days=1)
    disputes._judge_one(collection.pk, [disputes.Span(now - day, now + day)])


def judged_while(collection, other, monkeypatch, patience_s):
    """Something happens when the money is judged and that is not yet written."""
    judged, happened = threading.Event(), threading.Event()
    original = disputes.settle

    def settle(*args, **kwargs):
        if not judged.is_set():
            judged.set()
            happened.wait(patience_s)
        return original(*args, **kwargs)

    def do_other():
        assert judged.wait(10)
        other()
        happened.set()

    monkeypatch.setattr(disputes, "settle", settle)
    ended = kinds(together(lambda: judge(collection), do_other))
    collection.refresh_from_db()
    return ended, collection.disputed


def disputed_while_more_comes(payment, monkeypatch, patience_s):
    money = Collection.objects.get(receipt=R1)
    ended = judged_while(money, lambda: succeed(payment, R2), monkeypatch, patience_s)
    payment.refresh_from_db()
    return *ended, payment.alarm


def test_a_dispute_hides_no_alarm_of_its_payment(payment, monkeypatch):
    assert disputed_while_more_comes(payment, monkeypatch, HASTY_S) == (
        ["ok", "ok"], disputes.MISSING, PAID_TWICE,
    )  # fmt: skip


def test_without_the_payments_lock_a_dispute_hides_an_alarm(payment, off, monkeypatch):
    off.lock(Payment)

    assert disputed_while_more_comes(payment, monkeypatch, 20.0) == (
        ["ok", "ok"], disputes.MISSING, disputes.ALARM,
    )  # fmt: skip


def disputed_while_its_row_comes(account, monkeypatch, patience_s):
    """Another statement has the row; it is judged by that as well."""
    money = sight(account, R1).collection

    def comes():
        sight(account, R1, source=Source.STATEMENT)
        judge(money)

    return judged_while(money, comes, monkeypatch, patience_s)


def test_a_dispute_ends_when_its_row_comes_meanwhile(account, monkeypatch):
    assert disputed_while_its_row_comes(account, monkeypatch, HASTY_S) == (
        ["ok", "ok"], "",
    )  # fmt: skip


def test_without_the_moneys_lock_it_stays_disputed_though_its_row_is_there(
    account, off, monkeypatch
):
    off.lock(Collection)

    assert disputed_while_its_row_comes(account, monkeypatch, 20.0) == (
        ["ok", "ok"], disputes.MISSING,
    )  # fmt: skip


# Money that is doubted because another's receipt was guessed wrongly.


@pytest.fixture
def lacking(payment_of, account, mary):
    """A payment without a receipt, and one that was guessed to have money kept before.

    M-Pesa is about to name another receipt for the second one.
    """
    guessed, lacking = payment_of(), payment_of()
    for one in (guessed, lacking):
        fail(one)
    # Neither is asked about once more for what is told in a moment.
    Payment.objects.update(asked_at=clock.now() + clock.seconds(60))
    drawer.keep_as_credit(
        access=Access(mary.user, mary.shop, "manager"),
        piece=f"collection:{sight(account, R1).collection_id}",
        customer="0712345678", reason="Nobody knows for what",
    )  # fmt: skip
    for one in (guessed, lacking):
        succeed(one, None, Source.QUERY)
    return guessed, lacking


def doubted_while_its_receipt_comes(guessed, lacking, monkeypatch, patience_s):
    """Its own receipt comes when it was seen to lack one and that is not yet written.

    Returns what came of it, its receipt, its alarm, and the doubt about its money.
    """
    seen, came = threading.Event(), threading.Event()
    original = precedence.doubt_answered

    def doubt_answered(*args):
        seen.set()
        came.wait(patience_s)
        return original(*args)

    def comes():
        assert seen.wait(10)
        succeed(lacking, R3)
        came.set()

    monkeypatch.setattr(precedence, "doubt_answered", doubt_answered)
    ended = kinds(together(lambda: succeed(guessed, R2), comes))
    lacking.refresh_from_db()
    money = Collection.objects.get(payment=lacking)
    return ended, (lacking.receipt, lacking.alarm), (money.receipt, money.disputed)


def test_what_gets_its_receipt_meanwhile_is_not_doubted(lacking, monkeypatch):
    assert doubted_while_its_receipt_comes(*lacking, monkeypatch, HASTY_S) == (
        ["ok", "ok"], (R3, ""), (R3, ""),
    )  # fmt: skip


def test_without_its_locks_it_is_doubted_for_ever(lacking, off, monkeypatch):
    off.lock(Order, Payment)

    assert doubted_while_its_receipt_comes(*lacking, monkeypatch, 20.0) == (
        ["ok", "ok"], (R3, precedence.PERHAPS), (R3, precedence.PERHAPS),
    )  # fmt: skip
