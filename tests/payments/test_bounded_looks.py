"""How much work a receipt makes that may be an undecided payment's."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ

from payments import matching, receipts
from payments import tasks as workers
from payments.enums import Source
from payments.models import MpesaSettings, Receipt
from payments.receipts import Told
from tests.factories import MpesaAccountFactory, OrderFactory, PaymentFactory
from tests.support.facts import kes


pytestmark = pytest.mark.django_db

NUMBER = "UAE5B2K9QT"


@pytest.fixture(autouse=True)
def _quiet(messages, time, mpesa):
    return messages


@pytest.fixture
def account(duka):
    account = MpesaAccountFactory(
        shop=duka, type="till", shortcode="600300", party_b="300300"
    )
    MpesaSettings.objects.update_or_create(
        shop=duka, defaults={"account": account, "uses_platform_account": False}
    )
    return account


def sight(account, number=NUMBER):
    with transaction.atomic():
        return receipts.sight(account, Told(number, kes(250)), Source.C2B).pk


def looks(tasks):
    """The looks that are handed out, with the moment of each."""
    return [at for path, _, at in tasks() if path == matching.MATCH_TASK]


def test_looks_that_come_together_make_one_more(account, duka, tasks, time):
    PaymentFactory(order=OrderFactory(shop=duka), account=account)
    receipt_id = sight(account)
    for _ in range(3):  # three sources told of it at the same moment
        matching.look(receipt_id)

    for _ in range(4):
        time.turn(60)
        many = len(looks(tasks))
        OrmQ.objects.all().delete()
        for _ in range(many):
            workers.match(receipt_id)

    assert len(looks(tasks)) == 1
    assert Receipt.objects.get().look_at == looks(tasks)[0]


def test_a_receipt_that_fits_many_costs_no_more_than_one_that_fits_few(account, duka):
    counts = []
    for number, many in (("UAE5B2K9Q1", 5), ("UAE5B2K9Q2", 60)):
        for _ in range(many):
            PaymentFactory(order=OrderFactory(shop=duka), account=account)
        receipt_id = sight(account, number)
        with CaptureQueriesContext(connection) as caught:
            assert matching.resolve(receipt_id) == "held"
        counts.append(len(caught))

    assert counts[1] <= counts[0]
