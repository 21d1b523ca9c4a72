"""The platform's account, as the environment gives it."""

import pytest

from payments import accounts
from payments.models import MpesaAccount, Payment
from tests.factories import OrderFactory
from tests.support.facts import nothing_changes, refusal


pytestmark = pytest.mark.django_db


def asking(order):
    return {"orderId": str(order.pk), "phoneNumber": "0712345678"}


def test_the_row_is_made_once(db):
    first = accounts.platform_account()

    assert accounts.platform_account() == first
    assert (first.shortcode, first.party_b, first.shop) == ("600100", "600100", None)
    assert MpesaAccount.objects.count() == 1


def test_new_numbers_make_a_new_row_and_the_old_one_stays(settings):
    old = accounts.platform_account()
    settings.MPESA_SHORTCODE = settings.MPESA_PARTY_B = "600555"

    new = accounts.platform_account()

    assert (new.pk != old.pk, new.shortcode) == (True, "600555")
    old.refresh_from_db()
    assert (old.shortcode, old.is_active) == ("600100", True)


def test_new_keys_replace_the_old_ones(settings):
    old = accounts.platform_account()
    settings.MPESA_PASSKEY = "another passkey"

    new = accounts.platform_account()

    assert new.pk == old.pk
    assert accounts.credentials(new).passkey == "another passkey"


@pytest.mark.parametrize(
    ("name", "value"), [("MPESA_PARTY_B", "600777"), ("MPESA_TYPE", "till")]
)
def test_numbers_that_changed_by_half_are_no_account(
    bob, order, mpesa, settings, caplog, name, value
):
    """The shortcode is the old account's for ever: all of it changes, or nothing."""
    accounts.platform_account()
    setattr(settings, name, value)

    with nothing_changes():
        answer = bob.post("/api/payments/mpesa/initiate", asking(order))

    refusal(answer, 409, "MPESA_NOT_CONFIGURED")
    assert mpesa.pushes == []
    assert MpesaAccount.objects.count() == 1
    assert "belong to another account already" in caplog.text


def test_payments_under_the_old_numbers_are_still_asked_about(
    bob, duka, mpesa, payment, settings
):
    settings.MPESA_SHORTCODE = settings.MPESA_PARTY_B = "600555"

    asked = bob.post(f"/api/payments/mpesa/query/{payment.pk}").json()["asked"]
    sent = bob.post("/api/payments/mpesa/initiate", asking(OrderFactory(shop=duka)))

    assert (asked, mpesa.questions) == (True, [payment.checkout_request_id])
    assert sent.status_code == 201
    assert Payment.objects.get(pk=sent.json()["transactionId"]).shortcode == "600555"


def test_two_processes_that_start_at_once_make_one_row(monkeypatch):
    """The other one commits its row between our look and our insert."""
    look, rows = accounts._platform_row, []

    def look_too_early():
        monkeypatch.setattr(accounts, "_platform_row", look)
        rows.append(accounts.platform_account())
        return

    monkeypatch.setattr(accounts, "_platform_row", look_too_early)

    ours = accounts.platform_account()

    assert [ours] == rows
    assert MpesaAccount.objects.count() == 1
