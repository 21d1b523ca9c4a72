"""M-Pesa accounts in the books: secrets are never shown, choices are the shop's own."""

import pytest

from payments import accounts
from payments.models import MpesaSettings
from tests.factories import MpesaAccountFactory, ShopFactory


SECRETS = ("sim-shop2-key", "sim-shop2-secret", "simshop2passkey")


@pytest.mark.parametrize("name", ["charlie", "operator"])
def test_account_says_what_is_set_and_shows_no_secret(people, charlie, name):
    account = charlie.shop.mpesa_accounts.get()
    page = people[name].get(f"/admin/payments/mpesaaccount/{account.pk}/change/")
    listing = people[name].get("/admin/payments/mpesaaccount/").content.decode()
    text = page.content.decode()

    told = {
        field.field["field"]: field.contents()
        for fieldset in page.context["adminform"]
        for line in fieldset
        for field in line
    }
    is_set, not_set = (
        '<span class="pill good">set</span>',
        ('<span class="pill quiet">not set</span>'),
    )
    assert {n: told[n] for n in ("key", "secret", "pass_key", "initiator")} == {
        "key": is_set, "secret": is_set, "pass_key": is_set, "initiator": not_set,
    }  # fmt: skip
    assert "600200" in text
    for page_text in (text, listing):
        assert [secret for secret in SECRETS if secret in page_text] == []
        assert bytes(account.passkey_sealed).hex()[:16] not in page_text


def test_shop_on_the_platforms_account_sees_that_it_is(alice, ours):
    text = alice.get("/admin/payments/mpesasettings/").content.decode()

    assert "Mama Mboga" in text
    assert "icon-yes" in text
    assert "600100" not in text


def choose(operator, shop, **changes):
    row = MpesaSettings.objects.get(shop=shop)
    address = f"/admin/payments/mpesasettings/{row.pk}/change/"
    response = operator.client.post(
        address, {"account": "", "max_amount": ""} | changes
    )
    row.refresh_from_db()
    errors = response.context["adminform"].form.errors if response.context else {}
    return dict(errors), row


def test_operator_chooses_an_account_for_a_shop(operator, duka):
    own = MpesaAccountFactory(shop=duka, shortcode="600300")
    errors, row = choose(operator, duka, account=own.pk, max_amount=5000)

    assert errors == {}
    assert (row.shop, row.account, row.uses_platform_account, row.max_amount) == (
        duka, own, False, 5000,
    )  # fmt: skip


@pytest.mark.parametrize(
    "whose", ["another shop's", "the platform's", "sandbox", "both"]
)
def test_account_that_would_pay_somebody_else_is_refused(operator, duka, whose):
    changes = {}
    if whose == "another shop's":
        account, field = (
            MpesaAccountFactory(shop=ShopFactory(), shortcode="600300"),
            "account",
        )
    elif whose == "the platform's":
        account, field = accounts.platform_account(), "account"
    elif whose == "sandbox":
        account = MpesaAccountFactory(shop=duka, environment="sandbox")
        field = "account"
    else:
        account, field = (
            MpesaAccountFactory(shop=duka, shortcode="600300"),
            "uses_platform_account",
        )
        changes = {"uses_platform_account": "on"}
    errors, row = choose(operator, duka, account=account.pk, **changes)

    assert field in errors
    assert (row.account, row.uses_platform_account) == (None, True)


def test_operator_adds_the_settings_of_a_new_shop_once(operator):
    shop = ShopFactory()
    account = MpesaAccountFactory(shop=shop, shortcode="600300")
    sent = {"shop": shop.pk, "account": account.pk, "max_amount": ""}
    first = operator.client.post("/admin/payments/mpesasettings/add/", sent)
    again = operator.client.post("/admin/payments/mpesasettings/add/", sent)

    assert (first.status_code, again.status_code) == (302, 200)
    row = MpesaSettings.objects.get(shop=shop)
    assert (row.account, row.uses_platform_account) == (account, False)
