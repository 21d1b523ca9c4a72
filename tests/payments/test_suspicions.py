"""What is flagged, what is not, and that a flag is there once until somebody looked."""

import itertools
import logging
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from payments import inbox, suspicions
from payments.enums import PaymentStatus
from payments.models import Collection, Notice, Payment, Refund, Suspicion
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import nothing_changes


pytestmark = pytest.mark.django_db

PHONES = itertools.count(1)


@pytest.fixture(autouse=True)
def _few(settings):
    settings.SUSPICION_FAILURES = 3
    settings.SUSPICION_PHONES = 3
    settings.SUSPICION_REFUNDS = 2
    settings.SUSPICION_FORGED = 3


def prompts(person, count, *, shop=None, age_s=60, phone="254712345678", **facts):
    """Make prompts that one person sent, one sale each."""
    values = {"status": PaymentStatus.FAILED, "failure_reason": "wrong_pin"} | facts
    for _ in range(count):
        order = OrderFactory(shop=shop or person.shop)
        PaymentFactory(
            order=order, created_by=person.user, phone=phone() if callable(phone) else phone,
            created_at=clock.now() - timedelta(seconds=age_s), **values,
        )  # fmt: skip


def new_phone():
    return f"25471200{next(PHONES):04}"


def refunds(person, count, age_s=60):
    for _ in range(count):
        payment = PaymentFactory(order=OrderFactory(shop=person.shop))
        collection = Collection.objects.create(
            account=payment.account, environment=payment.environment, shop=person.shop,
            payment=payment, receipt=f"UAE{next(PHONES):07}", amount=Decimal(100),
            source="callback", sighted_at=clock.now(),
        )  # fmt: skip
        reserved = collection.allocations.create(
            kind="reserved", amount=1, created_at=clock.now()
        )
        Refund.objects.create(
            shop=person.shop, collection=collection, method="cash", amount=1,
            state="failed", reason="no", reserved=reserved, asked_by=person.user,
            asked_at=clock.now() - timedelta(seconds=age_s),
        )  # fmt: skip


def forged(count, address="203.0.113.7", *, is_listed=False):
    for _ in range(count):
        body = f"forged {next(PHONES)}".encode()
        inbox.count_rejected(inbox.Raw(body, False, address, is_listed))


def flags():
    rows = Suspicion.objects.order_by("kind", "subject")
    return [(row.kind, row.subject, row.count) for row in rows]


def test_many_failures_of_one_cashier_are_flagged(bob, caplog):
    prompts(bob, 3)

    with nothing_changes(), caplog.at_level(logging.WARNING):
        assert suspicions.look() == 1

    subject = f"shop:{bob.shop.pk} person:{bob.user.pk}"
    [row] = Suspicion.objects.all()
    assert (row.kind, row.subject, row.count) == ("failures", subject, 3)
    assert (row.shop, row.person, row.seen_at) == (bob.shop, bob.user, None)
    assert f"suspicion failures: {subject}, 3 times" in caplog.text


@pytest.mark.parametrize(
    "facts",
    [
        {"age_s": 3601},
        {"status": PaymentStatus.PENDING, "failure_reason": ""},
        {"status": PaymentStatus.EXPIRED, "failure_reason": ""},
    ],
    ids=["an hour ago", "undecided", "nobody knows"],
)
def test_what_is_no_failure_of_this_hour_is_not_flagged(bob, facts):
    prompts(bob, 4, **facts)

    assert (suspicions.look(), flags()) == (0, [])


def test_failures_of_several_people_and_shops_do_not_add_up(bob, mary, charlie):
    prompts(bob, 2)
    prompts(mary, 2)
    prompts(charlie, 2)
    prompts(bob, 2, shop=charlie.shop)

    assert (suspicions.look(), flags()) == (0, [])


def test_many_phones_that_did_not_pay_are_flagged(bob):
    prompts(bob, 3, phone=new_phone, status=PaymentStatus.EXPIRED, failure_reason="")

    assert suspicions.look() == 1
    assert flags() == [("phones", f"shop:{bob.shop.pk} person:{bob.user.pk}", 3)]


def test_many_prompts_to_one_phone_are_not_many_phones(bob):
    prompts(bob, 4, status=PaymentStatus.EXPIRED, failure_reason="")

    assert suspicions.look() == 0


def test_refunds_of_one_person_are_flagged_by_the_day(mary, alice):
    refunds(mary, 2, age_s=23 * 3600)
    refunds(alice, 1)
    refunds(alice, 1, age_s=25 * 3600)

    assert suspicions.look() == 1
    assert flags() == [("refunds", f"shop:{mary.shop.pk} person:{mary.user.pk}", 2)]


def test_forged_messages_of_nobody_are_the_operators():
    forged(3)
    forged(2, address="203.0.113.8")

    assert suspicions.look() == 1
    assert flags() == [("forged", "from:203.0.113.7", 3)]
    assert Suspicion.objects.get().shop is None


def test_wrong_token_is_forged_also_where_addresses_are_not_compared():
    forged(3, is_listed=True)

    suspicions.look()

    assert flags() == [("forged", "from:203.0.113.7", 3)]


def test_copies_of_one_forged_message_count(bob):
    raw = inbox.Raw(b"the same", False, "203.0.113.7", False)
    for _ in range(4):
        inbox.count_rejected(raw)

    suspicions.look()

    assert flags() == [("forged", "from:203.0.113.7", 4)]


def test_forged_messages_about_a_payment_are_its_shops(charlie):
    for number in range(3):
        Notice.objects.create(
            payment=charlie.payment, body=b"x", body_hash=f"{number}", verdict="unverified",
            address="203.0.113.7", address_is_listed=False, received_at=clock.now(),
        )  # fmt: skip

    suspicions.look()

    assert flags() == [("forged", f"shop:{charlie.shop.pk} from:203.0.113.7", 3)]


def test_messages_from_mpesas_own_addresses_are_not_forged(charlie):
    for number in range(3):
        Notice.objects.create(
            payment=charlie.payment, body=b"x", body_hash=f"{number}", verdict="unverified",
            address="196.201.214.200", received_at=clock.now(),
        )  # fmt: skip

    assert suspicions.look() == 0


def test_looking_again_changes_the_open_flag_and_adds_none(bob, time):
    prompts(bob, 3)
    suspicions.look()
    first = Suspicion.objects.get()
    time.turn(300)
    prompts(bob, 2)

    assert suspicions.look() == 0

    again = Suspicion.objects.get()
    assert (again.count, again.first_at, again.last_at) == (5, first.first_at, time.now)


def test_what_was_before_somebody_looked_is_not_counted_again(bob, alice, time):
    prompts(bob, 3)
    suspicions.look()
    time.turn(60)
    row = Suspicion.objects.get()
    assert suspicions.mark_seen(row, actor=alice.user, reason=" New phone system ")

    time.turn(60)
    prompts(bob, 2, age_s=1)
    assert suspicions.look() == 0
    prompts(bob, 1, age_s=1)
    assert suspicions.look() == 1

    row.refresh_from_db()
    assert (row.seen_by, row.seen_reason) == (alice.user, "New phone system")
    assert [one.count for one in Suspicion.objects.order_by("pk")] == [3, 3]


def test_a_flag_is_closed_once_and_with_a_reason(bob, alice, mary):
    prompts(bob, 3)
    suspicions.look()
    row = Suspicion.objects.get()

    with pytest.raises(suspicions.ReasonMissing):
        suspicions.mark_seen(row, actor=alice.user, reason="  ")
    assert suspicions.mark_seen(row, actor=alice.user, reason="it rained")
    assert not suspicions.mark_seen(row, actor=mary.user, reason="me too")

    row.refresh_from_db()
    assert (row.seen_by, row.seen_reason) == (alice.user, "it rained")


def test_seen_without_who_or_what_is_refused_by_the_database(bob):
    prompts(bob, 3)
    suspicions.look()

    with pytest.raises(IntegrityError), transaction.atomic():
        Suspicion.objects.update(seen_at=clock.now())


def test_round_costs_the_same_for_one_subject_and_for_many(
    bob, mary, alice, django_assert_num_queries
):
    prompts(bob, 3)
    suspicions.look()
    with django_assert_num_queries(QUERIES_OF_A_KNOWN_ONE):
        suspicions.look()
    prompts(mary, 3, shop=bob.shop)
    prompts(alice, 3)
    Payment.objects.exclude(created_by=bob.user).update(status="cancelled")
    with django_assert_num_queries(QUERIES_OF_A_KNOWN_ONE):
        suspicions.look()


# Three questions, who was seen, and the open flag: looked up, written.
QUERIES_OF_A_KNOWN_ONE = 8
