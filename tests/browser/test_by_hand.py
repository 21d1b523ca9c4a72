"""Customers who pay by hand, in a real browser: the code box, the offer, the sorting."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import rows
from tests.support.servers import WorkerProcess


pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(180)]
PAYMENTS = "select method, status, receipt from payments_payment order by created_at"
CUSTOMER = "254711222333"
# The first shop gets a till of its own, which the simulator knows.
OWN_TILL = """
from payments.models import MpesaAccount, MpesaSettings
from shops.models import Shop
shop = Shop.objects.order_by("pk").first()
account = MpesaAccount(
    shop=shop, environment="simulator", type="till", shortcode="600300",
    party_b="5600301", consumer_key="sim-till-key",
    consumer_secret="sim-till-secret", passkey="simtillpasskey".ljust(64, "0"),
    initiator_name="simapi", initiator_password="SimPass123#")
account.save()
MpesaSettings.objects.update_or_create(
    shop=shop, defaults={"account": account, "uses_platform_account": False})
"""
MONEY_COMES = """
from decimal import Decimal
from django.db import transaction
from payments import matching, receipts
from payments.enums import Source
from payments.models import MpesaAccount
account = MpesaAccount.objects.get(shortcode="600300")
with transaction.atomic():
    told = receipts.Told("{number}", Decimal({amount}), "2547 ***** 149", "JANE")
    receipt = receipts.sight(account, told, Source.{source})
matching.resolve(receipt.pk)
"""


def arrive(installation, number, amount, source="PULL"):
    """Money comes by hand to the shop's own till."""
    code = MONEY_COMES.format(number=number, amount=amount, source=source)
    installation.manage("shell", "-c", code)


def test_code_of_a_payment_by_hand_turns_the_sale_green(shop, till_of, simulator):
    installation = shop()
    installation.manage("shell", "-c", OWN_TILL)
    soda = installation.demo["shops"][0]["products"][0]
    with WorkerProcess(installation):
        till = till_of(installation)
        till.expect_live("on")
        till.page.locator(".tile", has_text=soda["name"]).click()
        expect(till.page.locator(".line")).to_have_count(1)
        till.page.keyboard.press("Alt+2")
        till.expect_state("mpesa")
        till.page.keyboard.press("Alt+3")
        till.expect_state("code")
        code = till.page.locator("#code")
        expect(code).to_be_focused()
        till.picture("code-box")

        price = int(float(soda["price"]))
        paid = simulator.pay("5600301", price, phone=CUSTOMER)
        code.press_sequentially(paid["receipt"].lower(), delay=20)
        code.press("Enter")

        # M-Pesa is asked about the receipt; its answer may be faster than we look.
        till.expect_state("paid", timeout_s=40)
        expect(till.page.locator("#receipt-number")).to_have_text(paid["receipt"])
        till.picture("code-paid")

    assert rows(installation, PAYMENTS) == [("c2b", "completed", paid["receipt"])]
    assert rows(installation, "select status, surplus from orders_order") == [
        ("paid", 0)
    ]


def test_money_that_comes_is_offered_on_the_open_sheet(shop, till_of):
    installation = shop()
    installation.manage("shell", "-c", OWN_TILL)
    soda = installation.demo["shops"][0]["products"][0]
    price = int(float(soda["price"]))
    till = till_of(installation)
    till.page.locator(".tile", has_text=soda["name"]).click()
    expect(till.page.locator(".line")).to_have_count(1)
    till.page.keyboard.press("Alt+2")
    till.expect_state("mpesa")
    phone = till.page.locator("#phone")
    phone.fill("0712")

    arrive(installation, "UAE5B2K9QT", price)

    expect(till.page.locator("#offer")).to_contain_text("2547 ••• 149")
    expect(phone).to_have_value("0712")
    expect(phone).to_be_focused()
    till.picture("offer")
    till.page.keyboard.press("Alt+4")
    till.expect_state("paid")
    expect(till.page.locator("#receipt-number")).to_have_text("UAE5B2K9QT")
    assert rows(installation, PAYMENTS) == [("c2b", "completed", "UAE5B2K9QT")]


def test_genuine_code_pays_by_keys_alone(shop, till_of):
    installation = shop()
    installation.manage("shell", "-c", OWN_TILL)
    soda = installation.demo["shops"][0]["products"][0]
    arrive(installation, "UAE5B2K9QT", int(float(soda["price"])) + 100)
    till = till_of(installation)
    till.page.locator(".tile", has_text=soda["name"]).click()
    expect(till.page.locator(".line")).to_have_count(1)
    till.page.keyboard.press("Alt+2")
    till.expect_state("mpesa")
    till.page.keyboard.press("Alt+3")
    till.expect_state("code")
    till.page.keyboard.type("UAE5B2KOQT")
    till.page.keyboard.press("Enter")
    expect(till.page.locator("#answer")).to_contain_text("Not found yet")
    till.picture("code-unknown")
    till.page.locator("#code").fill(
        "UAE5B2K9QT Confirmed. Ksh1,000.00 paid to MAMA MBOGA. on 21/11/26 at 7:05 AM."
    )
    till.page.keyboard.press("Enter")
    expect(till.page.locator("#answer")).to_contain_text("genuine and free")
    expect(till.page.locator("#use-code")).to_be_focused()
    till.picture("code-free")
    till.page.keyboard.press("Enter")
    till.expect_state("paid")


def test_manager_sorts_money_by_keys_alone(shop, till_of):
    installation = shop()
    installation.manage("shell", "-c", OWN_TILL)
    arrive(installation, "UAE5B2K9QT", 250)
    arrive(installation, "UAE5B2K9QU", 90, source="C2B")
    till = till_of(installation, "manager")
    till.page.locator("#menu summary").focus()
    till.page.keyboard.press("Enter")
    till.page.get_by_role("link", name="Money to sort").press("Enter")
    till.page.wait_for_url("**/till/pay/sort")
    expect(till.page.locator(".piece")).to_have_count(2)
    till.expect_live("on")
    till.picture("sort")

    piece = till.page.locator('.piece[data-kind="unmatched"]')
    piece.get_by_text("Keep as credit").focus()
    till.page.keyboard.press("Enter")
    till.page.keyboard.press("Tab")
    till.page.keyboard.type("Jane Wanjiru")
    till.page.keyboard.press("Tab")
    till.page.keyboard.type("She comes back tomorrow")
    till.picture("sort-open")
    till.page.keyboard.press("Enter")

    expect(till.page.locator(".note.good")).to_contain_text("KES 250")
    expect(till.page.locator('.piece[data-kind="credit"]')).to_contain_text("Jane")
    till.picture("sort-done")

    arrive(installation, "UAE5B2K9QV", 70)
    expect(till.page.locator(".piece")).to_have_count(3, timeout=20_000)
