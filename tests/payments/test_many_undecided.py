"""3,000 undecided payments and one new one: the new one's till does not wait."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from payments import hook_tokens, questions, reconciliation, references
from payments.enums import Method, PaymentStatus
from payments.models import Payment
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import money_of
from tests.support.gateway import PENDING, final


pytestmark = pytest.mark.django_db

ASK = "payments.tasks.ask"


@pytest.fixture
def crowd(duka, time):
    """Make so many payments that nobody decided, each with a question overdue."""
    order = OrderFactory(shop=duka)
    account = PaymentFactory.build(order=order).account

    def make(count):
        born = time.now - timedelta(hours=3)
        Payment.objects.bulk_create(
            Payment(
                shop=duka,
                order=order,
                method=Method.MPESA_STK,
                status=PaymentStatus.EXPIRED,
                amount=Decimal(100),
                phone=f"2547{10_000_000 + number:08}",
                account=account,
                environment=account.environment,
                shortcode=account.shortcode,
                party_b=account.party_b,
                reference=references.new_reference(),
                token_hash=hook_tokens.issue().nonce_hash,
                checkout_request_id=f"ws_CO_{uuid.uuid4().hex}",
                created_at=born + timedelta(seconds=number),
                answered_at=born,
                expires_at=born + timedelta(minutes=5),
                next_ask_at=time.now
                - timedelta(minutes=90)
                + timedelta(seconds=number),
            )
            for number in range(count)
        )

    return make


@pytest.fixture
def newcomer(duka, time):
    """The one whose customer stands at the till, its question overdue too."""
    payment = PaymentFactory(order=OrderFactory(shop=duka), phone="254712345678")
    time.turn(40)
    return payment


def handed_out(tasks):
    return [arguments[0] for path, arguments, _ in tasks() if path == ASK]


def run_next(tasks):
    """Carry out what a worker would: the oldest task that was handed out."""
    questions.attend(handed_out(tasks)[0])


def test_the_new_one_is_asked_about_first_of_3000(crowd, newcomer, mpesa, tasks):
    crowd(3000)
    mpesa.answers[newcomer.checkout_request_id] = final("0")

    swept = reconciliation.sweep()

    assert swept == reconciliation.Swept(settings.SWEEP_LIMIT, 0, 0)
    first = handed_out(tasks)
    oldest = Payment.objects.exclude(pk=newcomer.pk).order_by("next_ask_at")
    expected = oldest.values_list("pk", flat=True)[: settings.SWEEP_LIMIT - 1]
    assert first[0] == str(newcomer.pk)
    assert set(first[1:]) == set(map(str, expected))
    leased = Payment.objects.filter(leased_until__isnull=False)
    assert {str(pk) for pk in leased.values_list("pk", flat=True)} == set(first)

    run_next(tasks)
    newcomer.refresh_from_db()
    assert newcomer.status == "completed"
    assert mpesa.questions == [newcomer.checkout_request_id]
    assert money_of(newcomer.order) == [("query", None, 250, [("sale", 250)])]


def test_the_old_ones_keep_half_of_a_round(crowd, duka, time, tasks):
    """A busy Saturday does not starve those who wait since the morning."""
    crowd(3000)
    for _ in range(settings.SWEEP_LIMIT):
        PaymentFactory(order=OrderFactory(shop=duka))
    time.turn(40)

    reconciliation.sweep()

    leased = Payment.objects.filter(leased_until__isnull=False)
    assert leased.filter(status="pending").count() == settings.SWEEP_LIMIT // 2
    assert leased.filter(status="expired").count() == settings.SWEEP_LIMIT // 2


def test_a_round_by_hand_decides_the_new_one_too(crowd, newcomer, mpesa):
    crowd(3000)
    mpesa.answers[newcomer.checkout_request_id] = final("0")

    done = reconciliation.sweep_now()

    assert (done.looked_at, done.decided) == (settings.SWEEP_LIMIT, 1)
    assert mpesa.questions[0] == newcomer.checkout_request_id
    newcomer.refresh_from_db()
    assert newcomer.status == "completed"


def test_the_old_ones_do_not_spend_the_budget_of_the_young(
    crowd, newcomer, mpesa, settings
):
    settings.QUESTIONS_PER_ACCOUNT_PER_MINUTE = 20
    crowd(60)
    mpesa.otherwise = PENDING
    old = Payment.objects.exclude(pk=newcomer.pk).order_by("next_ask_at")
    asked = [questions.ask(payment.pk) for payment in old]
    assert sum(asked) == 20 * settings.QUESTIONS_OLD_SHARE

    mpesa.answers[newcomer.checkout_request_id] = final("0")

    assert questions.ask(newcomer.pk) is True
    newcomer.refresh_from_db()
    assert newcomer.status == "completed"


def test_sweeping_3000_costs_what_sweeping_30_does(crowd):
    """One statement more for each task that is handed out, and none for the rest."""
    costs = []
    for count in (30, 2970):
        crowd(count)
        Payment.objects.update(leased_until=None)
        with CaptureQueriesContext(connection) as queries:
            swept = reconciliation.sweep()
        costs.append(len(queries) - swept.questions)
        assert swept.questions == min(count, settings.SWEEP_LIMIT)

    assert costs[0] == costs[1]


def test_a_second_sweep_takes_the_next_ones(crowd, newcomer, tasks):
    crowd(3000)
    reconciliation.sweep()
    first = set(handed_out(tasks))

    reconciliation.sweep()

    both = handed_out(tasks)
    assert len(both) == len(set(both)) == 2 * len(first)
