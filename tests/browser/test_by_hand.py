"""Customers who pay by hand, in a real browser: the code box, the offer, the sorting."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import rows
from tests.support.servers import WorkerProcess


pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
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

PROMPT = """
from payments.models import MpesaAccount
from tests.factories import OrderFactory, PaymentFactory
account = MpesaAccount.objects.get(shortcode="600300")
PaymentFactory(
    order=OrderFactory(shop=account.shop, total={amount}), account=account,
    phone="254700000149", checkout_request_id="ws_CO_1")
"""
ANOTHER_SALE = """
from payments.models import MpesaAccount
from tests.factories import OrderFactory
account = MpesaAccount.objects.get(shortcode="600300")
OrderFactory(shop=account.shop, total={amount})
"""
PROMPT_FAILED = """
from django.db import transaction
from payments import matching, settlement
from payments.enums import Source
from payments.models import Payment, Receipt
from smartduka.lib import clock
payment = Payment.objects.get(checkout_request_id="ws_CO_1")
with transaction.atomic():
    order, held = settlement.locked(payment.pk)
    settlement.record_failure(order, held, "1032", source=Source.QUERY)
Payment.objects.update(asked_at=clock.now())
matching.resolve(Receipt.objects.get().pk)
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
        open_code_box(till, soda)
        code = till.page.locator("#code")
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


def open_code_box(till, product):
    till.page.locator(".tile", has_text=product["name"]).click()
    expect(till.page.locator(".line")).to_have_count(1)
    till.page.keyboard.press("Alt+2")
    till.expect_state("mpesa")
    till.page.keyboard.press("Alt+3")
    till.expect_state("code")
    expect(till.page.locator("#code")).to_be_focused()


def test_answer_comes_at_once_and_the_page_looks_again_by_itself(
    shop, till_of, simulator
):
    installation = shop()
    installation.manage("shell", "-c", OWN_TILL)
    soda = installation.demo["shops"][0]["products"][0]
    till = till_of(installation)
    open_code_box(till, soda)
    paid = simulator.pay("5600301", int(float(soda["price"])), phone=CUSTOMER)
    till.page.keyboard.type(paid["receipt"])
    till.page.keyboard.press("Enter")

    # Nobody asks M-Pesa as long as no worker runs: the answer needed nobody.
    answer = till.page.locator("#answer")
    expect(answer).to_contain_text("Not found yet, asking M-Pesa")
    expect(till.page.locator("#code")).to_be_focused()
    till.page.keyboard.type("typed meanwhile")
    till.picture("code-asking")
    with WorkerProcess(installation):
        till.expect_state("paid", timeout_s=40)

    assert rows(installation, PAYMENTS) == [("c2b", "completed", paid["receipt"])]


def test_page_says_by_itself_that_mpesa_does_not_know_the_code(shop, till_of):
    installation = shop()
    installation.manage("shell", "-c", OWN_TILL)
    till = till_of(installation)
    open_code_box(till, installation.demo["shops"][0]["products"][0])
    till.page.keyboard.type("UAE5B2K9QT")
    till.page.keyboard.press("Enter")
    answer = till.page.locator("#answer")
    expect(answer).to_contain_text("Not found yet, asking M-Pesa")

    with WorkerProcess(installation):
        expect(answer).to_contain_text("does not know this code", timeout=40_000)

    till.expect_state("code")
    expect(till.page.locator("#code")).to_be_focused()
    expect(till.page.locator("#claims")).to_have_count(0)
    till.picture("code-denied")
    assert rows(installation, PAYMENTS) == []


def test_enter_takes_money_that_became_free_while_the_page_was_open(shop, till_of):
    installation = shop()
    installation.manage("shell", "-c", OWN_TILL)
    soda = installation.demo["shops"][0]["products"][0]
    price = int(float(soda["price"]))
    till = till_of(installation)
    open_code_box(till, soda)
    # Another sale's prompt of the amount is undecided, so the money is held.
    installation.manage("shell", "-c", PROMPT.format(amount=price))
    arrive(installation, "UAE5B2K9QT", price)
    till.page.keyboard.type("UAE5B2K9QT")
    till.page.keyboard.press("Enter")
    expect(till.page.locator("#answer")).to_contain_text("still being checked")
    till.picture("code-held")

    installation.manage("shell", "-c", PROMPT_FAILED)

    expect(till.page.locator("#use-code")).to_be_focused()
    till.picture("code-free-now")
    till.page.keyboard.press("Enter")
    till.expect_state("paid")


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


def test_offer_that_is_refused_leaves_the_cash_form_as_it_was(shop, till_of):
    installation = shop()
    installation.manage("shell", "-c", OWN_TILL)
    soda = installation.demo["shops"][0]["products"][0]
    price = int(float(soda["price"]))
    arrive(installation, "UAE5B2K9QT", price)
    till = till_of(installation)
    till.page.locator(".tile", has_text=soda["name"]).click()
    expect(till.page.locator(".line")).to_have_count(1)
    till.page.keyboard.press("Alt+1")
    till.expect_state("cash")
    till.page.locator("#given").fill("1000")
    installation.manage("shell", "-c", ANOTHER_SALE.format(amount=price))

    till.page.keyboard.press("Alt+4")

    expect(till.page.locator("#told")).to_contain_text("Another open sale")
    till.expect_state("cash")
    expect(till.page.locator("#given")).to_have_value("1000")
    till.picture("offer-refused")
    assert rows(installation, PAYMENTS) == []


def test_tie_of_two_sales_is_decided_by_keys_but_not_by_one(shop, till_of):
    installation = shop()
    installation.manage("shell", "-c", OWN_TILL)
    soda = installation.demo["shops"][0]["products"][0]
    tills = [till_of(installation, role) for role in ("manager", "cashier")]
    for till in tills:
        till.page.locator(".tile", has_text=soda["name"]).click()
        expect(till.page.locator(".line")).to_have_count(1)
        till.page.keyboard.press("Alt+2")
        till.expect_state("mpesa")

    arrive(installation, "UAE5B2K9QT", int(float(soda["price"])))

    for till, other in zip(
        tills, ("sale 2 · mama-cashier", "sale 1 · mama-manager"), strict=True
    ):
        expect(till.page.locator("#offer")).to_contain_text(other)
    cashier = tills[1]
    cashier.page.keyboard.press("Alt+4")
    cashier.expect_state("mpesa")
    cashier.page.keyboard.press("Shift+Tab")
    expect(cashier.page.locator("#offer button")).to_be_focused()
    cashier.picture("tie")
    cashier.page.keyboard.press("Enter")
    cashier.expect_state("paid")
    expect(tills[0].page.locator("#offer")).to_have_count(0)
    tills[0].expect_state("mpesa")


def test_genuine_code_pays_by_keys_alone(shop, till_of):
    installation = shop()
    installation.manage("shell", "-c", OWN_TILL)
    soda = installation.demo["shops"][0]["products"][0]
    arrive(installation, "UAE5B2K9QT", int(float(soda["price"])) + 100)
    till = till_of(installation)
    open_code_box(till, soda)
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
    piece.locator("summary", has_text="Keep as credit").focus()
    till.page.keyboard.press("Enter")
    expect(piece.locator("details[open]")).to_have_count(1)
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
    expect(till.page.locator(".piece")).to_have_count(3, timeout=40_000)
