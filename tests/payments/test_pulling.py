"""Reading M-Pesa's list: on time, once, all of it, and without fear of its faults."""

from datetime import UTC, datetime, timedelta

import pytest

from payments import gateways, pulling, tasks
from payments.gateways.base import GatewayError
from payments.gateways.organisation import Registered
from payments.models import Collection, MpesaAccount, MpesaSettings, Receipt, Sighting
from payments.notices_pull import BadPullRow, PullPage, PullRow
from smartduka.lib.transactions import require_no_transaction
from tests.factories import MpesaAccountFactory, OrderFactory, PaymentFactory
from tests.support.facts import kes, nothing_changes, sale_of


pytestmark = pytest.mark.django_db

R1, R2, R3 = "UAE5B2K9QT", "UAE5B2K9QU", "UAE5B2K9QV"
FULL = "254712345678"


class List:
    """M-Pesa's list: pages of rows, and what it was asked."""

    def __init__(self):
        self.pages, self.asked, self.registered = [], [], []

    def pull(self, account, query, *, limit_s):
        require_no_transaction()
        self.asked.append((account.shortcode, query.start, query.end, query.offset))
        number = (
            len([1 for one in self.asked if one[3] <= query.offset]) and query.offset
        )
        page = self.pages[number] if number < len(self.pages) else PullPage("1001")
        if isinstance(page, Exception):
            raise page
        return page

    def register_pull(self, account, request, *, limit_s):
        require_no_transaction()
        self.registered.append((account.shortcode, request.nominated_number))
        return Registered(already=True)


@pytest.fixture
def listed(monkeypatch, time, messages):
    fake = List()
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    return fake


@pytest.fixture
def account(duka, time):
    account = MpesaAccountFactory(
        shop=duka, shortcode="600300", pull_registered_at=time.now
    )
    MpesaSettings.objects.filter(shop=duka).update(
        account=account, uses_platform_account=False
    )
    return account


def row(number=R1, amount=250, reference="", payer=FULL, times=()):
    return PullRow(number, kes(amount), reference, payer, "c2b", "JANE", times)


def page(*rows, bad=()):
    return PullPage("1000", tuple(rows), tuple(bad))


def now(account):
    account.refresh_from_db()
    return account.pulled_until, account.pull_error, account.pull_leased_until


def test_a_lost_payment_comes_with_the_list(listed, account, time, duka):
    payment = PaymentFactory(order=OrderFactory(shop=duka), phone=FULL)
    listed.pages = [page(row(reference=payment.reference))]

    assert pulling.pull(account.pk) == pulling.Pulled(rows=1, new=1)

    assert sale_of(payment.order) == ("paid", kes(250), kes(0), kes(0))
    (collection,) = Collection.objects.all()
    assert (collection.receipt, collection.source, collection.binding) == (
        R1, "pull", "reference"
    )  # fmt: skip
    assert now(account) == (time.now, "", None)


def test_reading_again_changes_nothing_and_asks_from_where_it_was(
    listed, account, time
):
    listed.pages = [page(row(), row(R2))]
    pulling.pull(account.pk)
    first = time.now
    time.turn(300)

    with nothing_changes():
        assert pulling.pull(account.pk) == pulling.Pulled(rows=2, new=0)

    assert Sighting.objects.count() == 2
    starts = [start for _, start, _, offset in listed.asked if offset == 0]
    assert starts == [
        first - timedelta(hours=52), first - timedelta(hours=4)
    ]  # fmt: skip
    assert listed.asked[-1][2] == time.now + timedelta(hours=3)


def test_never_more_than_48_hours_back(listed, account, time):
    pulling.pull(account.pk)
    time.turn(10 * 24 * 3600)

    pulling.pull(account.pk)

    assert listed.asked[-1][1] == time.now - timedelta(hours=48 + 1 + 3)


def test_pages_are_read_until_one_is_empty(listed, account):
    listed.pages = [page(row(R1)), page(row(R2)), page(row(R3))]

    assert pulling.pull(account.pk) == pulling.Pulled(rows=3, new=3)

    assert [offset for *_, offset in listed.asked] == [0, 1, 2, 3]
    assert {one.number for one in Receipt.objects.all()} == {R1, R2, R3}


def test_what_was_read_stays_when_a_later_page_fails(listed, account, time):
    listed.pages = [page(row(R1)), GatewayError("HTTP 500", certain=False)]

    assert pulling.pull(account.pk) == pulling.Pulled(error="HTTP 500")

    assert [one.receipt for one in Collection.objects.all()] == [R1]
    assert now(account) == (None, "HTTP 500", None)
    listed.pages[1] = page(row(R2))
    assert pulling.pull(account.pk) == pulling.Pulled(rows=2, new=1)
    assert now(account) == (time.now, "", None)


def test_a_row_that_cannot_be_read_spoils_no_other(listed, account):
    listed.pages = [page(row(R1), bad=[BadPullRow(1, "no amount")])]

    assert pulling.pull(account.pk) == pulling.Pulled(rows=1, new=1, bad=1)


def test_a_receipt_that_breaks_hides_no_other(listed, account, monkeypatch):
    listed.pages = [page(row(R1), row(R2))]
    resolve = pulling.matching.resolve

    def broken(receipt_id):
        if Receipt.objects.get(pk=receipt_id).number == R1:
            raise RuntimeError("broken")
        return resolve(receipt_id)

    monkeypatch.setattr(pulling.matching, "resolve", broken)

    assert pulling.pull(account.pk) == pulling.Pulled(rows=2, new=2)

    assert [one.receipt for one in Collection.objects.all()] == [R2]
    assert Receipt.objects.get(number=R1).look_at is not None


def test_one_reader_at_a_time(listed, account, time, settings):
    lease = time.now + timedelta(seconds=60)
    MpesaAccount.objects.update(pull_leased_until=lease)

    assert pulling.pull(account.pk) == pulling.Pulled()
    assert listed.asked == []

    time.turn(61)
    assert pulling.pull(account.pk) == pulling.Pulled()
    assert len(listed.asked) == 1


@pytest.mark.parametrize(
    "changes", [{"pull_registered_at": None}, {"environment": "sandbox"}]
)
def test_an_account_that_is_not_registered_is_left_alone(listed, account, changes):
    MpesaAccount.objects.update(**changes)

    assert pulling.pull(account.pk) == pulling.Pulled()
    assert pulling.hand_out() == 0
    assert listed.asked == []


def test_a_task_reads_each_account(listed, account, tasks):
    """The clock hands out one task for each."""
    expected = [("payments.tasks.pull_account", (str(account.pk),))]
    assert pulling.hand_out() == 1

    assert [(path, arguments) for path, arguments, _ in tasks()] == expected


def test_the_task_reads(listed, account):
    listed.pages = [page(row())]
    tasks.pull_account(str(account.pk))
    assert [one.receipt for one in Collection.objects.all()] == [R1]


@pytest.mark.parametrize(
    ("hours", "known"),
    [((-3.1, -0.1), False), ((-0.1, 2.9), True), ((-50, -47), False)],
)
def test_a_time_counts_only_if_it_can_be_but_one(listed, account, time, hours, known):
    times = tuple(time.now + timedelta(hours=one) for one in hours)
    listed.pages = [page(row(times=times))]

    pulling.pull(account.pk)

    assert Receipt.objects.get().paid_at == (times[0] if known else None)


def test_registering_again_is_fine(listed, account, time):
    MpesaAccount.objects.update(pull_registered_at=None)

    pulling.register(account, "0712 345 678")

    assert listed.registered == [("600300", FULL)]
    account.refresh_from_db()
    assert account.pull_registered_at == time.now


def test_a_number_that_is_none_is_not_sent(listed, account):
    with pytest.raises(pulling.NotRegistered, match="KYC"):
        pulling.register(account, "12345")
    assert listed.registered == []


def test_a_refusal_is_told(listed, account, monkeypatch):
    def refuse(*_, **__):
        raise GatewayError("the shortcode is wrong", certain=True)

    monkeypatch.setattr(listed, "register_pull", refuse)
    MpesaAccount.objects.update(pull_registered_at=None)

    with pytest.raises(pulling.NotRegistered, match="the shortcode is wrong"):
        pulling.register(account, FULL)

    account.refresh_from_db()
    assert account.pull_registered_at is None


def test_the_stamp_of_a_row_is_any_time(listed, account):
    """What the parser could not read is no time at all."""
    listed.pages = [page(row(times=()))]
    pulling.pull(account.pk)
    assert Receipt.objects.get().paid_at is None
    assert datetime(2026, 1, 1, tzinfo=UTC) < Receipt.objects.get().seen_at
