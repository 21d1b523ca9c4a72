"""Money that only a notice claims, when M-Pesa's own answer says otherwise."""

import pytest
from django.db import transaction

from payments import drawer, gateways, inquiries, matching, receipts
from payments.drawer_refusals import NotConfirmed
from payments.enums import Source
from payments.models import Collection, MpesaSettings, Payment
from payments.receipts import Told
from shops.tenancy import Access
from tests.factories import MpesaAccountFactory, PaymentFactory
from tests.support.facts import kes
from tests.support.gateway import PENDING
from tests.support.organisation import FakeOrganisation, result, status, tell


pytestmark = pytest.mark.django_db

NUMBER = "UAE5B2K9QT"


@pytest.fixture(autouse=True)
def organisation(monkeypatch, messages, time, mpesa):
    fake = FakeOrganisation()
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    return fake


@pytest.fixture
def account(duka):
    """The shop's own till, with an initiator; claims up to KES 1,000 may be spent."""
    account = MpesaAccountFactory(
        shop=duka, type="till", shortcode="600300", party_b="300300",
        initiator_name="api", initiator_password="secret",
    )  # fmt: skip
    MpesaSettings.objects.update_or_create(
        shop=duka,
        defaults={
            "account": account, "uses_platform_account": False, "claimed_limit": 1000,
        },
    )  # fmt: skip
    return account


@pytest.fixture
def manager(mary):
    return Access(mary.user, mary.shop, "manager")


def sight(account, source):
    with transaction.atomic():
        receipt = receipts.sight(
            account, Told(NUMBER, kes(250), "2547 ***** 678", "JANE"), source
        )
    matching.resolve(receipt.pk)
    receipt.refresh_from_db()
    return receipt


DENIALS = {
    "unknown": lambda request: result(request, 25),
    "undone": lambda request: status(request, word="Cancelled"),
    "reversed": lambda request: status(request, word="Reversed"),
    "another's": lambda request: status(request, payee="600999 - ANOTHER SHOP"),
}


@pytest.mark.parametrize("how", DENIALS)
def test_what_mpesa_denied_pays_no_sale(account, order, manager, how):
    receipt = sight(account, Source.C2B)
    request = inquiries.ask_status(account, NUMBER)
    tell(request, DENIALS[how](request))

    with pytest.raises(NotConfirmed):
        drawer.apply(
            access=manager, piece=f"receipt:{receipt.pk}", order_id=order.pk,
            reason="The customer says so", has_looked=True,
        )  # fmt: skip

    assert not Payment.objects.exists()


@pytest.mark.parametrize("how", ["unknown", "undone", "another's"])
def test_what_mpesas_books_have_later_is_money_all_the_same(
    account, order, manager, how
):
    sight(account, Source.C2B)
    request = inquiries.ask_status(account, NUMBER)
    tell(request, DENIALS[how](request))

    receipt = sight(account, Source.PULL)

    assert receipt.state == "counted"
    drawer.apply(
        access=manager, piece=f"receipt:{receipt.pk}", order_id=order.pk,
        reason="The customer says so",
    )  # fmt: skip


def test_what_is_denied_while_the_customer_is_asked_about_pays_no_sale(
    account, order, manager, mpesa
):
    """The answer comes while the sale's own prompt is asked about (law 6)."""
    receipt = sight(account, Source.C2B)
    request = inquiries.ask_status(account, NUMBER)
    PaymentFactory(order=order, amount=kes(100), phone="254700000001")

    def meanwhile(_):
        tell(request, DENIALS["unknown"](request))
        return PENDING

    mpesa.otherwise = meanwhile

    with pytest.raises(NotConfirmed):
        drawer.apply(
            access=manager, piece=f"receipt:{receipt.pk}", order_id=order.pk,
            reason="The customer says so", has_looked=True,
        )  # fmt: skip

    assert not Payment.objects.filter(method="c2b").exists()


def test_what_was_sent_back_before_it_was_told_is_no_money(account, order, manager):
    """M-Pesa's list still has the payment; its own answer said that it went back."""
    request = inquiries.ask_status(account, NUMBER)
    tell(request, status(request, word="Reversed", payee="600300 - MAMA MBOGA"))

    sight(account, Source.PULL)

    (collection,) = Collection.objects.all()
    assert collection.reversed_at is not None
