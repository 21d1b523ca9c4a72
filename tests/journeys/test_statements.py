"""Callback and C2B notice are lost: the list or the statement has the receipt."""

import pytest
import requests
from django.core.files.uploadedfile import SimpleUploadedFile

from payments import pulling
from payments.models import Collection, MpesaSettings, Receipt, StatementImport
from shops.enums import Role
from tests.factories import MpesaAccountFactory
from tests.journeys.test_sales import Sale, history, paid_once
from tests.support.cast import join
from tests.support.facts import nothing_changes
from tests.support.processes import LIMIT_S
from tests.support.simulator import wait_until


pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.once,
]

CUSTOMER = "254711222333"


@pytest.fixture
def paybill(product, mpesa, shopfront, settings):
    """The shop's own paybill: M-Pesa tells us of no payment by hand."""
    settings.MPESA_BASE_URL = mpesa.url
    settings.MPESA_CALLBACK_URL = shopfront.url
    account = MpesaAccountFactory(shop=product.shop)
    MpesaSettings.objects.update_or_create(
        shop=product.shop,
        defaults={"account": account, "uses_platform_account": False},
    )
    return account


@pytest.fixture
def owner(product):
    person = join(product.shop, "mama", Role.OWNER)
    type(person.user).objects.filter(pk=person.user.pk).update(is_staff=True)
    return person


@pytest.fixture
def sale(till, product, paybill):
    return Sale(till, product)


@pytest.fixture
def healed_without_receipt(sale, shopfront, mpesa):
    """The callback was lost, a question proved the money: what was asked, the row."""
    with shopfront.worker():
        asked = sale.prompts("95")
        sale.is_paid(asked, mpesaReceiptNumber=None)
    [entry] = mpesa.ledger()
    assert sale.facts() == paid_once("query", None)
    assert Receipt.objects.count() == 0
    return asked, entry


def test_the_worker_reads_the_list_by_itself(sale, till, mpesa, shopfront, paybill):
    assert pulling.register(paybill, "0712345678")
    asked = sale.prompts("95")
    [entry] = wait_until(mpesa.ledger, timeout_s=LIMIT_S)

    with shopfront.worker():
        wait_until(
            lambda: till.state(asked["transactionId"])["mpesaReceiptNumber"],
            timeout_s=LIMIT_S,
        )
        # Its rows are booked before it is noted that all of it was read.
        wait_until(lambda: is_read_through(paybill), timeout_s=LIMIT_S)

    sale.is_paid(asked, mpesaReceiptNumber=entry["receipt"])
    [(source, *_)] = sale.facts()["money"]
    assert sale.facts() == paid_once(source, entry["receipt"])
    told = Receipt.objects.get().sightings.values_list("source", flat=True)
    assert list(told) == ["pull"]
    assert paybill.pull_error == ""
    assert mpesa.stats().get("confirmations", 0) == 0


def test_a_receipt_comes_from_the_list(healed_without_receipt, sale, owner, paybill):
    asked, entry = healed_without_receipt
    address = f"/admin/payments/statementimport/list/{paybill.pk}/"

    for button in ("register", "read"):
        page = owner.client.post(
            f"{address}{button}/", {"number": "0712345678"}, follow=True
        )
        assert page.status_code == 200
    assert "1 of them new" in page.content.decode()

    sale.is_paid(asked, mpesaReceiptNumber=entry["receipt"])
    assert sale.facts() == paid_once("query", entry["receipt"])
    assert history(asked)[-1] == "pull"


def is_read_through(account):
    account.refresh_from_db()
    return account.pulled_until and not account.pull_leased_until


@pytest.mark.parametrize(("kind", "times"), [("csv", "day_first"), ("xlsx", "iso")])
def test_a_receipt_comes_from_the_statement(
    healed_without_receipt, sale, mpesa, shopfront, owner, paybill, kind, times
):
    asked, entry = healed_without_receipt
    by_hand = mpesa.pay("600200", 80, phone=CUSTOMER, reference="MAMA")
    mpesa.faults(statement_times=times)
    file = download(mpesa, kind)

    upload(owner, paybill, file, f"day.{kind}")
    with shopfront.worker():
        wait_until(lambda: StatementImport.objects.get().finished_at, timeout_s=LIMIT_S)

    row = StatementImport.objects.get()
    page = owner.client.get(f"/admin/payments/statementimport/{row.pk}/change/")
    words = "2 payments, 2 of them new, 1 receipts filled in."
    assert words in page.content.decode()
    sale.is_paid(asked, mpesaReceiptNumber=entry["receipt"])
    assert sale.facts() == paid_once("query", entry["receipt"])
    assert history(asked)[-1] == "statement"
    found = Collection.objects.get(receipt=by_hand["receipt"])
    assert (found.amount, found.shop, found.payment, found.source) == (
        80, sale.product.shop, None, "statement",
    )  # fmt: skip
    assert (row.bad_rows, row.disputed, row.covers_from is not None) == ([], 0, True)

    with nothing_changes():
        again = upload(owner, paybill, file, "again")
    assert "imported before: nothing was changed by it" in again
    assert StatementImport.objects.get() == row


def download(mpesa, kind):
    """Return the statement as the simulator's portal gives it."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(
            f"{mpesa.url}/__sim__/statement",
            params={"shortcode": "600200", "format": kind},
            timeout=15,
        )
    assert answer.status_code == 200, answer.text
    return answer.content


def upload(owner, account, data, name):
    answer = owner.client.post(
        "/admin/payments/statementimport/upload/",
        {"account": str(account.pk), "file": SimpleUploadedFile(name, data)},
        follow=True,
    )
    assert answer.status_code == 200
    return answer.content.decode()
