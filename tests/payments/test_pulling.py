"""M-Pesa's list of payments: what it brings, how far it was read, and by whom."""

import contextlib
import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from django_q.models import OrmQ

from payments import accounts, gateways, pulling, receipts, settlement
from payments import tasks as workers
from payments.enums import FailureReason, Source
from payments.gateways.base import GatewayError
from payments.gateways.organisation import Registered
from payments.models import (
    Collection,
    MpesaAccount,
    MpesaSettings,
    Receipt,
    Sighting,
)
from payments.notices_pull import BadPullRow, PullPage, PullRow, parse_pull
from payments.pulling import NotPullable, NotRegistered, Pulled
from payments.receipts import Told
from smartduka.lib import clock
from smartduka.lib.phone import InvalidPhone
from smartduka.lib.transactions import require_no_transaction
from tests.factories import MpesaAccountFactory, OrderFactory, PaymentFactory
from tests.payments.conftest import START
from tests.support.facts import money_of, nothing_changes, path_of, sale_of


pytestmark = pytest.mark.django_db

NUMBER = "UAE5B2K9QT"
OTHER = "UAE5B2K9QU"
HOUR = timedelta(hours=1)
LOST = GatewayError("HTTP 500", certain=False)
AWAY = GatewayError("no connection", certain=True, reason=FailureReason.MPESA_BUSY)
REFUSED = GatewayError("HTTP 400 400.001", certain=True, may_retry=False)


class FakeList:
    """Implements `pull` and `register_pull`: pages in order, then empty ones.

    An exception among the pages is raised, a function is called first. `asked` are
    the queries.
    """

    def __init__(self):
        self.pages = []
        self.asked = []
        self.registrations = []
        self.registered = Registered()

    def pull(self, account, query, *, limit_s):
        require_no_transaction()
        self.asked.append(query)
        page = self.pages.pop(0) if self.pages else PullPage("1001")
        if callable(page):
            page = page()
        if isinstance(page, Exception):
            raise page
        return page

    def register_pull(self, account, request, *, limit_s):
        require_no_transaction()
        self.registrations.append(request)
        if isinstance(self.registered, Exception):
            raise self.registered
        return self.registered


@pytest.fixture
def mpesas_list(monkeypatch, mpesa, time):
    fake = FakeList()
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    return fake


@pytest.fixture
def account(duka, mpesas_list):
    """The platform's, registered, and read until an hour ago."""
    account = accounts.platform_account()
    account.pull_registered_at = START - timedelta(days=9)
    account.pulled_until = START - HOUR
    account.save()
    return account


def row(number=NUMBER, amount="250.00", *, at=None, reference="", phone="", **facts):
    """A row whose stamp is in UTC; `at` None: none that can be read."""
    times = () if at is None else (at - timedelta(hours=3), at)
    return PullRow(
        receipt=number, amount=Decimal(amount), reference=reference, msisdn=phone,
        times=times, **facts,
    )  # fmt: skip


def page(*rows, bad=()):
    return PullPage("1000", tuple(rows), tuple(bad))


def queried(payment):
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        settlement.record_success(order, held, settlement.Proof(Source.QUERY))


def facts(account):
    """How far it was read, why not, and whether somebody reads it."""
    account = MpesaAccount.objects.get(pk=account.pk)
    return account.pulled_until, account.pull_error, account.pull_leased_until


# What it brings.


def test_the_receipt_of_a_lost_callback_comes_from_the_list(
    account, mpesas_list, payment, order
):
    queried(payment)
    mpesas_list.pages = [page(row(reference=payment.reference))]

    assert pulling.pull_now(account) == Pulled(rows=1, new=1)

    assert money_of(order) == [("query", NUMBER, 250, [("sale", 250)])]
    assert sale_of(order) == ("paid", 250, 0, 0)
    payment.refresh_from_db()
    assert payment.receipt == NUMBER
    last = payment.events.last()
    assert (last.source, last.reason) == ("pull", f"Receipt {NUMBER} filled in")
    assert facts(account) == (START, "", None)


def test_a_payment_that_nobody_told_of_is_paid_by_the_list(
    account, mpesas_list, payment, order
):
    mpesas_list.pages = [page(row(reference=payment.reference))]

    pulling.pull_now(account)

    assert money_of(order) == [("pull", NUMBER, 250, [("sale", 250)])]
    assert path_of(payment) == ["created", "pending", "completed"]


def test_money_of_nobody_is_unmatched_and_proved(account, mpesas_list):
    mpesas_list.pages = [
        page(row(phone="254711222333", sender="JANE", reference="MAMA", amount="75.5"))
    ]

    pulling.pull_now(account)

    [collection] = Collection.objects.all()
    assert (
        collection.source, collection.receipt, collection.amount, collection.payment,
        collection.shop, collection.phone, collection.confirmed_at,
    ) == ("pull", NUMBER, Decimal("75.5"), None, None, "254711222333", START)  # fmt: skip
    [told] = Sighting.objects.all()
    assert (told.source, told.amount, told.payer, told.reference) == (
        "pull", Decimal("75.5"), "254711222333", "MAMA",
    )  # fmt: skip


def test_reading_again_changes_nothing(account, mpesas_list, payment, time):
    queried(payment)
    told = page(row(reference=payment.reference))
    mpesas_list.pages = [told]
    pulling.pull_now(account)
    before = list(Sighting.objects.values())
    time.turn(300)

    mpesas_list.pages = [told]
    with nothing_changes():
        assert pulling.pull_now(account) == Pulled(rows=1, new=0)

    assert list(Sighting.objects.values()) == before


def test_all_of_a_page_is_told_before_any_is_matched(account, mpesas_list, duka):
    """Two equal payments lack two receipts: which is whose is all the same."""
    for _ in range(2):
        queried(PaymentFactory(order=OrderFactory(shop=duka), phone="254712345678"))
    mpesas_list.pages = [
        page(row(NUMBER, phone="254712345678"), row(OTHER, phone="254712345678"))
    ]

    pulling.pull_now(account)

    found = Collection.objects.values_list("receipt", "source")
    assert sorted(found) == [(NUMBER, "query"), (OTHER, "query")]


@pytest.mark.parametrize("kind", ["c2b-reversal", "Pay Bill Reversal", "b2c-payment"])
def test_what_is_no_payment_makes_nothing(account, mpesas_list, kind):
    mpesas_list.pages = [page(row(type=kind), row(OTHER, type="c2b-pay-bill-debit"))]

    pulled = pulling.pull_now(account)

    assert pulled == Pulled(2, 1, 1, "1 row of M-Pesa's list could not be read.")
    assert [one.receipt for one in Collection.objects.all()] == [OTHER]


def test_rows_that_cannot_be_read_are_told(account, mpesas_list):
    mpesas_list.pages = [
        page(row(), bad=[BadPullRow(1, "no amount"), BadPullRow(2, "no object")])
    ]

    pulled = pulling.pull_now(account)

    words = "2 rows of M-Pesa's list could not be read."
    assert pulled == Pulled(rows=1, new=1, bad=2, error=words)
    # They will not read better the next time: the list goes on.
    assert facts(account) == (START, words, None)


# Windows.


def test_the_window_overlaps_what_was_read_and_allows_for_the_zone(
    account, mpesas_list
):
    pulling.pull_now(account)

    [query] = mpesas_list.asked
    assert (query.start, query.end, query.offset) == (
        START - 5 * HOUR, START + 3 * HOUR, 0,
    )  # fmt: skip


def test_a_first_reading_takes_two_days_in_steps(account, mpesas_list):
    MpesaAccount.objects.update(pulled_until=None)

    pulling.pull_now(account)

    windows = [(query.start - START, query.end - START) for query in mpesas_list.asked]
    assert windows == [
        (-48 * HOUR, -33 * HOUR),
        (-40 * HOUR, -21 * HOUR),
        (-28 * HOUR, -9 * HOUR),
        (-16 * HOUR, 3 * HOUR),
    ]
    assert facts(account) == (START, "", None)


@pytest.mark.parametrize("hours", [47, 49, 2000])
def test_nothing_older_than_48_hours_is_asked_for(account, mpesas_list, time, hours):
    time.turn((hours - 1) * 3600)

    pulling.pull_now(account)

    oldest = min(query.start for query in mpesas_list.asked)
    assert oldest == clock.now() - 48 * HOUR
    assert facts(account)[0] == clock.now()


def test_pages_follow_each_other_by_rows(account, mpesas_list):
    mpesas_list.pages = [
        page(row(NUMBER, reference="A"), bad=[BadPullRow(1, "x")]),
        page(row(OTHER, reference="B")),
    ]

    pulled = pulling.pull_now(account)

    assert [query.offset for query in mpesas_list.asked] == [0, 2, 3]
    assert (pulled.rows, pulled.new, pulled.bad) == (2, 2, 1)


# Faults.


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (LOST, "M-Pesa did not answer as it should: HTTP 500."),
        (AWAY, "M-Pesa could not be reached or is busy: no connection."),
        (REFUSED, "M-Pesa refused: HTTP 400 400.001."),
    ],
)
def test_a_page_that_fails_keeps_what_was_read_and_does_not_advance(
    account, mpesas_list, fault, words
):
    mpesas_list.pages = [page(row(reference="A")), fault]

    pulled = pulling.pull_now(account)

    assert pulled == Pulled(rows=0, new=0, error=words)
    assert facts(account) == (START - HOUR, words, None)
    assert [one.receipt for one in Collection.objects.all()] == [NUMBER]


def test_the_next_reading_begins_where_the_failed_one_did(
    account, mpesas_list, time, payment, order
):
    queried(payment)
    mpesas_list.pages = [page(row(OTHER, reference="A")), LOST]
    pulling.pull_now(account)
    time.turn(300)
    mpesas_list.asked.clear()
    mpesas_list.pages = [
        page(row(OTHER, reference="A")), page(row(reference=payment.reference)),
    ]  # fmt: skip

    pulled = pulling.pull_now(account)

    assert mpesas_list.asked[0].start == START - 5 * HOUR
    assert (pulled.rows, pulled.new, pulled.error) == (2, 1, "")
    assert facts(account) == (clock.now(), "", None)
    assert money_of(order) == [("query", NUMBER, 250, [("sale", 250)])]


def test_steps_that_were_read_stay_read(account, mpesas_list):
    MpesaAccount.objects.update(pulled_until=START - 30 * HOUR)
    mpesas_list.pages = [PullPage("1001"), LOST]

    pulling.pull_now(account)

    assert facts(account)[0] == START - 18 * HOUR


def test_an_account_without_keys_is_told(account, mpesas_list):
    MpesaAccount.objects.update(passkey_sealed=None)

    pulled = pulling.pull_now(account)

    assert pulled.error == accounts.NO_KEYS
    assert facts(account)[1:] == (pulled.error, None)
    assert mpesas_list.asked == []


def test_a_bug_of_ours_frees_the_list_and_is_told(
    account, mpesas_list, monkeypatch, caplog
):
    def breaks(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(receipts, "sight", breaks)
    mpesas_list.pages = [page(row())]

    assert pulling.pull(account.pk) == Pulled(error=pulling.NOT_BOOKED)

    assert facts(account) == (START - HOUR, pulling.NOT_BOOKED, None)
    assert "a bug" in caplog.text


def test_secrets_in_an_answer_are_not_kept(account, mpesas_list):
    mpesas_list.pages = [GatewayError("no, 254712345678", certain=False)]

    assert "254712345678" not in pulling.pull_now(account).error


# One reader.


def test_a_second_reader_leaves_it(account, mpesas_list):
    second = []
    mpesas_list.pages = [
        lambda: second.append(pulling.pull_now(account)) or page(row(reference="A"))
    ]

    first = pulling.pull_now(account)

    assert (first, second) == (Pulled(rows=1, new=1), [Pulled(is_busy=True)])
    assert len(mpesas_list.asked) == 2  # the page, and the empty one behind it


def test_a_reader_that_died_is_replaced_when_its_lease_ends(
    account, mpesas_list, time, settings
):
    MpesaAccount.objects.update(
        pull_leased_until=clock.now() + clock.seconds(settings.PULL_LEASE_S)
    )
    assert pulling.pull_now(account).is_busy
    time.turn(settings.PULL_LEASE_S)

    assert not pulling.pull_now(account).is_busy
    assert facts(account) == (clock.now(), "", None)


def test_a_reader_that_was_too_slow_stops_and_takes_nothing_away(
    account, mpesas_list, time, settings
):
    def slow():
        time.turn(settings.PULL_LEASE_S + 1)
        MpesaAccount.objects.update(pull_leased_until=clock.now() + HOUR)
        return page(row(reference="A"))

    mpesas_list.pages = [slow]

    assert pulling.pull_now(account) == Pulled(is_busy=True)

    assert facts(account) == (START - HOUR, "", clock.now() + HOUR)
    assert Receipt.objects.count() == 0


def test_each_page_keeps_the_lease(account, mpesas_list, time, settings):
    def slow(number):
        def answer():
            time.turn(settings.PULL_LEASE_S - 1)
            assert pulling.pull_now(account).is_busy
            return page(row(number, reference="A"))

        return answer

    mpesas_list.pages = [slow(NUMBER), slow(OTHER)]

    assert pulling.pull_now(account).new == 2


# The schedule.


def test_registered_accounts_are_handed_out(account, mpesas_list, tasks):
    MpesaAccountFactory(shortcode="600300")
    MpesaAccountFactory(
        shortcode="600400", environment="production", pull_registered_at=START
    )

    assert pulling.hand_out() == 1

    assert [(path, args) for path, args, _ in tasks()] == [
        ("payments.tasks.pull_account", (str(account.pk),))
    ]


def test_the_tasks_read_the_list(account, mpesas_list, settings):
    assert settings.PERIODIC_TASKS["payments.tasks.pull"] == 300
    mpesas_list.pages = [page(row(reference="A"))]

    workers.pull()
    workers.pull_account(str(account.pk))

    assert Receipt.objects.count() == 1


def test_a_worker_hands_on_what_takes_too_long(account, mpesas_list, tasks, settings):
    MpesaAccount.objects.update(pulled_until=None)
    settings.TASK_TIMEOUT_S = 0

    pulling.pull(account.pk)

    assert mpesas_list.asked == []
    assert [path for path, _, _ in tasks()] == ["payments.tasks.pull_account"]
    assert facts(account)[2] is None


# A list that takes longer than a task may.


class LongList:
    """A list of payments in pages of two, each of which takes its time.

    `seconds` is what the clock of tasks shows; one that works for 30 s is killed.
    """

    def __init__(self, *, newest_first=False, heeds_times=True):
        self.newest_first, self.heeds_times = newest_first, heeds_times
        self.paid = []
        self.seconds = self.begun = 0
        self.latency_s = 4
        self.arrives = None

    def monotonic(self):
        return self.seconds

    def pull(self, account, query, *, limit_s):
        self.seconds += self.latency_s
        if self.seconds - self.begun > 30:
            raise SystemExit("time-out")
        if self.arrives:
            self.arrives()
        rows = [
            row(number, reference="A", at=at)
            for at, number in sorted(self.paid, reverse=self.newest_first)
            if query.start <= at <= query.end or not self.heeds_times
        ][query.offset : query.offset + 2]
        return page(*rows) if rows else PullPage("1001")


@pytest.fixture
def long_list(request, monkeypatch, mpesa, time):
    fake = LongList(**getattr(request, "param", {}))
    fake.paid = [
        (START - timedelta(minutes=30 * number), f"UAE5B2K{number:03}")
        for number in range(25)
    ]
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    monkeypatch.setattr(pulling, "time", fake)
    return fake


def turn(account, long_list):
    """What a worker does with a task: it ends it after a while."""
    long_list.begun = long_list.seconds
    with contextlib.suppress(SystemExit):
        pulling.pull(account.pk)


def do_what_is_handed_on(account, long_list, tasks):
    for _ in range(60):
        if not tasks():
            return
        OrmQ.objects.all().delete()
        turn(account, long_list)
    raise AssertionError("it keeps the worker busy")


def read_by_the_clock(account, long_list, time, tasks):
    """Hand the list out each five minutes; what is handed on is done at once."""
    for _ in range(20):
        turn(account, long_list)
        do_what_is_handed_on(account, long_list, tasks)
        if facts(account)[0] >= START:
            return
        time.turn(300)


@pytest.mark.parametrize(
    "long_list", [{}, {"newest_first": True}], indirect=True, ids=["oldest", "newest"]
)
def test_a_list_longer_than_a_task_is_read_to_its_end(account, long_list, time, tasks):
    MpesaAccount.objects.update(pulled_until=START - 13 * HOUR)

    read_by_the_clock(account, long_list, time, tasks)

    assert Receipt.objects.count() == len(long_list.paid)
    assert facts(account) == (START, "", None)


def test_a_list_that_takes_too_long_says_so_and_is_free(account, long_list, tasks):
    MpesaAccount.objects.update(pulled_until=START - 13 * HOUR)

    turn(account, long_list)

    assert facts(account) == (START - 13 * HOUR, pulling.TOO_LONG, None)
    assert [path for path, _, _ in tasks()] == [pulling.PULL_TASK]


@pytest.mark.parametrize(
    "long_list", [{}, {"newest_first": True}], indirect=True, ids=["oldest", "newest"]
)
def test_what_is_paid_while_a_long_list_is_read_is_read_too(
    account, long_list, time, tasks
):
    MpesaAccount.objects.update(pulled_until=START - 13 * HOUR)

    def arrives():
        time.turn(long_list.latency_s)
        if len(long_list.paid) < 35:
            long_list.paid.append((time.now, f"UAE5NEW{len(long_list.paid):03}"))

    long_list.arrives = arrives
    read_by_the_clock(account, long_list, time, tasks)
    assert len(long_list.paid) == 35

    long_list.latency_s = 0
    turn(account, long_list)

    assert Receipt.objects.count() == len(long_list.paid)


def test_what_is_paid_between_two_parts_is_read_too(account, long_list, time):
    """The machine was off in between, for longer than two windows overlap."""
    begun = START - timedelta(minutes=5)
    MpesaAccount.objects.update(pulled_until=begun, pull_part_s=4.5 * 3600)
    long_list.paid, asked = [], []

    def goes_off():
        asked.append(time.now)
        if len(asked) == 2:
            raise SystemExit("power cut")

    long_list.arrives = goes_off
    turn(account, long_list)
    account.refresh_from_db()
    assert (account.pulled_until, account.pull_part_until) == (
        begun, START + timedelta(minutes=25),
    )  # fmt: skip

    long_list.arrives = None
    long_list.paid.append((START + timedelta(minutes=10), NUMBER))
    time.turn(8 * 3600)
    for _ in range(5):
        turn(account, long_list)
        time.turn(300)

    assert [one.number for one in Receipt.objects.all()] == [NUMBER]
    account.refresh_from_db()
    assert (account.pull_part_until, account.pull_part_began) == (None, None)


def test_a_list_that_always_takes_parts_lets_go_of_the_worker(
    account, long_list, time, tasks
):
    """There is always something newer: the clock begins anew for that."""
    MpesaAccount.objects.update(pulled_until=START - timedelta(minutes=5))
    long_list.arrives = lambda: time.turn(long_list.latency_s)

    turn(account, long_list)
    do_what_is_handed_on(account, long_list, tasks)

    account.refresh_from_db()
    assert (account.pulled_until, account.pull_part_until) == (
        START + timedelta(seconds=32), None,
    )  # fmt: skip


def test_a_part_of_which_nobody_knows_when_it_began_is_read_again(account, long_list):
    long_list.paid, long_list.latency_s = [(START - HOUR, NUMBER)], 0
    MpesaAccount.objects.update(
        pulled_until=START - timedelta(minutes=5), pull_part_until=START
    )

    turn(account, long_list)

    assert Receipt.objects.get().number == NUMBER


def test_a_list_that_is_fast_again_is_read_at_once_again(
    account, long_list, time, tasks
):
    MpesaAccount.objects.update(pulled_until=START - 13 * HOUR)
    read_by_the_clock(account, long_list, time, tasks)
    long_list.latency_s = 0

    for _ in range(10):
        time.turn(300)
        turn(account, long_list)

    assert MpesaAccount.objects.get().pull_part_s is None


@pytest.mark.parametrize("long_list", [{"heeds_times": False}], indirect=True)
def test_a_list_that_heeds_no_times_keeps_no_worker_busy(account, long_list, tasks):
    turns = 0
    turn(account, long_list)
    while tasks():
        OrmQ.objects.all().delete()
        turn(account, long_list)
        turns += 1
        assert turns < 20

    assert facts(account) == (START - HOUR, pulling.TOO_LONG, None)


def test_a_person_waits_until_a_long_list_is_read(account, long_list):
    long_list.latency_s = 0.1
    MpesaAccount.objects.update(pulled_until=START - 13 * HOUR, pull_part_s=600)

    assert pulling.pull_now(account).new == len(long_list.paid)

    assert facts(account) == (START, "", None)


@pytest.mark.parametrize("facts_", [{"pull_registered_at": None}, {"environment": "x"}])
def test_what_is_not_registered_is_not_read(account, mpesas_list, facts_):
    MpesaAccount.objects.update(**facts_)

    assert pulling.pull(account.pk) == Pulled()
    with pytest.raises(NotPullable):
        pulling.pull_now(account)

    assert mpesas_list.asked == []


def test_all_accounts_are_read_for_a_person(account, mpesas_list):
    MpesaAccountFactory(pull_registered_at=START, pulled_until=START)
    mpesas_list.pages = [page(row(reference="A")), PullPage("1001"), LOST]

    pulled = pulling.pull_all_now()

    assert (pulled.rows, pulled.new) == (1, 1)
    assert pulled.error == "M-Pesa did not answer as it should: HTTP 500."


# Times, in one zone or the other.


def sighted_at():
    return Receipt.objects.get(number=NUMBER).paid_at


def test_a_time_ahead_of_us_was_east_africa_time(account, mpesas_list):
    mpesas_list.pages = [page(row(at=START + 3 * HOUR - timedelta(minutes=1)))]

    pulling.pull_now(account)

    assert sighted_at() == START - timedelta(minutes=1)


@pytest.mark.parametrize("zone", [0, 1])
def test_a_receipt_whose_time_is_known_tells_the_zone_of_all(
    account, mpesas_list, zone
):
    known, wanted = START - 10 * HOUR, START - 11 * HOUR
    with transaction.atomic():
        receipts.sight(account, Told(OTHER, Decimal(70), paid_at=known), Source.C2B)
    ahead = timedelta(0) if zone else 3 * HOUR
    mpesas_list.pages = [
        page(row(at=wanted + ahead), row(OTHER, "70", at=known + ahead))
    ]

    pulling.pull_now(account)

    assert sighted_at() == wanted


def test_a_callback_tells_the_zone_too(account, mpesas_list, payment):
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        proof = settlement.Proof(Source.CALLBACK, OTHER, payment.phone, START)
        settlement.record_success(order, held, proof)
    mpesas_list.pages = [page(row(at=START - HOUR), row(OTHER, at=START))]

    pulling.pull_now(account)

    assert sighted_at() == START - HOUR


def test_a_young_row_of_an_unknown_zone_has_the_time_when_it_was_seen(
    account, mpesas_list
):
    mpesas_list.pages = [page(row(at=START - HOUR))]

    pulling.pull_now(account)

    receipt = Receipt.objects.get()
    assert (receipt.paid_at, receipt.seen_at) == (None, START)


def test_an_old_row_of_an_unknown_zone_is_taken_at_its_word(account, mpesas_list):
    mpesas_list.pages = [page(row(at=START - 9 * HOUR))]

    pulling.pull_now(account)

    assert sighted_at() == START - 9 * HOUR


def test_a_till_that_was_away_for_a_day_finds_its_receipt(
    account, mpesas_list, payment, order, time
):
    """No reference, and no other receipt tells the zone."""
    queried(payment)
    time.turn(24 * 3600)
    mpesas_list.pages = [
        page(row(at=START + timedelta(seconds=30), phone=payment.phone))
    ]

    pulling.pull_now(account)

    assert money_of(order) == [("query", NUMBER, 250, [("sale", 250)])]


# Registering.


def test_an_account_is_registered(account, mpesas_list):
    MpesaAccount.objects.update(pull_registered_at=None)

    assert pulling.register(account, "0712 345 678") is True

    account.refresh_from_db()
    assert account.pull_registered_at == START
    [request] = mpesas_list.registrations
    assert request.nominated_number == "254712345678"
    assert request.callback_url.endswith("/hooks/pull")


def test_registered_before_is_fine(account, mpesas_list):
    MpesaAccount.objects.update(pull_registered_at=None)
    mpesas_list.registered = Registered(already=True)

    assert pulling.register(account, "254712345678") is False

    account.refresh_from_db()
    assert account.pull_registered_at == START


@pytest.mark.parametrize("fault", [LOST, AWAY, REFUSED])
def test_what_m_pesa_does_not_take_is_not_registered(account, mpesas_list, fault):
    MpesaAccount.objects.update(pull_registered_at=None)
    mpesas_list.registered = fault

    with pytest.raises(NotRegistered) as caught:
        pulling.register(account, "0712345678")

    assert caught.value.message.startswith("M-Pesa ")
    account.refresh_from_db()
    assert account.pull_registered_at is None


@pytest.mark.parametrize("number", ["", "12", "0800 000", "2547 ***** 126"])
def test_a_number_that_is_none_is_not_sent(account, mpesas_list, number):
    with pytest.raises(InvalidPhone):
        pulling.register(account, number)

    assert mpesas_list.registrations == []


@pytest.mark.parametrize("changes", [{"is_active": False}, {"environment": "x"}])
def test_an_account_that_is_not_in_use_is_not_registered(account, mpesas_list, changes):
    MpesaAccount.objects.update(**changes)
    account.refresh_from_db()

    with pytest.raises(accounts.NotConfigured):
        pulling.register(account, "0712345678")

    assert mpesas_list.registrations == []


# The simulator forgets whom it knew: the worker registers the demo anew.


def test_the_simulator_is_told_again_and_the_first_moment_stays(
    account, mpesas_list, time
):
    MpesaAccount.objects.update(pull_registered_at=None)
    assert pulling.register_with_simulator(account)
    time.turn(3600)

    assert pulling.register_with_simulator(account)

    account.refresh_from_db()
    assert account.pull_registered_at == START
    assert len(mpesas_list.registrations) == 2


@pytest.mark.parametrize(
    ("fault", "is_settled"), [(AWAY, False), (REFUSED, True)], ids=["away", "refused"]
)
def test_a_simulator_that_is_not_up_yet_is_tried_again(
    account, mpesas_list, fault, is_settled
):
    mpesas_list.registered = fault

    assert pulling.register_with_simulator(account) is is_settled


def test_an_account_without_keys_is_left_alone(account, mpesas_list):
    account.is_active = False

    assert pulling.register_with_simulator(account)
    assert mpesas_list.registrations == []


def test_nothing_registers_by_itself_elsewhere(account, mpesas_list, settings):
    settings.MPESA_ENV = "sandbox"

    assert pulling.register_with_simulator(account)
    assert mpesas_list.registrations == []


@pytest.mark.parametrize("amount", ["10000000000", 99999999999, 1e11])
def test_a_row_with_more_than_a_book_holds_stops_no_list(account, mpesas_list, amount):
    stamp = {"trxDate": "2026-11-20T08:30:00Z", "transactiontype": "c2b-pay-bill-debit"}
    rows = [
        {**stamp, "transactionId": OTHER, "amount": amount},
        {**stamp, "transactionId": NUMBER, "amount": "250.0"},
    ]
    body = json.dumps({"ResponseCode": "1000", "Response": [rows]}).encode()
    mpesas_list.pages = [parse_pull(body)]

    pulled = pulling.pull_now(account)

    assert (pulled.new, pulled.bad) == (1, 1)
    assert list(Collection.objects.values_list("receipt", flat=True)) == [NUMBER]
    assert facts(account)[0] == START


def test_the_list_after_a_long_outage_counts_no_prompt_twice(duka, mpesas_list, order):
    """Nothing but the prompt itself tells in which zone the stamps are."""
    till = MpesaAccountFactory(
        shop=duka, type="till", shortcode="600300", party_b="300300",
        pull_registered_at=START - 9 * HOUR, pulled_until=START - 7 * HOUR,
    )  # fmt: skip
    MpesaSettings.objects.filter(shop=duka).update(
        account=till, uses_platform_account=False
    )
    sent_at = START - 6 * HOUR
    payment = PaymentFactory(order=order, phone="254712345678", created_at=sent_at)
    queried(payment)
    paid_at = sent_at + timedelta(seconds=20)
    mpesas_list.pages = [page(row(at=paid_at + 3 * HOUR, phone=payment.phone))]

    pulling.pull_now(till)

    assert money_of(order) == [("query", NUMBER, 250, [("sale", 250)])]
    assert Collection.objects.get().paid_at == paid_at
