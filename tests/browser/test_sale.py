"""Sales in a real browser, against real processes and the virtual phone."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import rows
from tests.support.servers import WorkerProcess
from tests.support.simulator import wait_until


pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
PAYMENTS = "select status, receipt, phone from payments_payment order by created_at"


def test_sale_through_the_pages_with_the_virtual_phone(
    shop, till_of, virtual_phone, simulator
):
    installation = shop()
    soda, unga = installation.demo["shops"][0]["products"][:2]
    with WorkerProcess(installation):
        till = till_of(installation)
        till.expect_live("on")

        till.scan(soda["barcode"])
        till.scan("0000000000000")
        expect(till.page.locator("#tell")).to_contain_text("0000000000000")
        till.page.locator(".tile", has_text=unga["name"]).click()
        till.page.get_by_role("button", name="One more", exact=True).click()
        expect(till.page.locator("#total")).to_have_text("KES 440")
        till.picture("till")

        till.page.keyboard.press("Alt+2")
        phone = till.page.locator("#phone")
        phone.press_sequentially("0712345678", delay=60)
        expect(phone).to_have_value("0712 345 678")
        expect(till.page.locator("#phone-hint")).to_have_text("Safaricom number")
        till.picture("number")
        phone.press("Enter")
        till.expect_state("waiting")
        till.picture("waiting")

        handset = virtual_phone(till, "254712345678")
        expect(handset.locator("#question")).to_contain_text("440")
        handset.locator("#pin").fill("1234")
        handset.locator("#send").click()

        till.expect_state("paid")
        [paid] = simulator.ledger()
        expect(till.page.locator("#receipt-number")).to_have_text(
            re.compile(r"^[A-Z0-9]{10}$")
        )
        receipt = till.page.locator("#receipt-number").inner_text()
        till.picture("success")
        till.page.bring_to_front()
        till.page.keyboard.press("Enter")
        expect(till.page.locator("#sheet")).to_be_hidden()
        expect(till.page.locator("#sale-name")).to_have_text("New sale")
        expect(till.page.locator(".line")).to_have_count(0)

    assert receipt in str(paid)
    assert rows(installation, PAYMENTS) == [("completed", receipt, "254712345678")]
    assert rows(installation, "select status, paid, surplus from orders_order") == [
        ("paid", 440, 0)
    ]
    assert simulator.stats()["pushes"] == 1


def test_cancelled_prompt_is_told_and_tried_again(
    shop, till_of, virtual_phone, simulator
):
    installation = shop()
    with WorkerProcess(installation):
        till = till_of(installation)
        till.scan(installation.demo["shops"][0]["products"][0]["barcode"])
        expect(till.page.locator(".line")).to_have_count(1)
        till.send_to("0712345678")
        till.expect_state("waiting")
        handset = virtual_phone(till, "254712345678")
        handset.locator("#cancel").click()

        till.expect_state("failed")
        expect(till.sheet).to_contain_text("The customer cancelled")
        till.picture("failure")
        till.page.bring_to_front()
        again = till.page.locator("#retry")
        expect(again).to_be_enabled()
        expect(again).to_be_focused()
        again.press("Enter")
        till.expect_state("waiting")
        handset.bring_to_front()
        handset.locator("#pin").fill("1234")
        handset.locator("#send").click()

        till.expect_state("paid")

    statuses = [status for status, _, _ in rows(installation, PAYMENTS)]
    assert statuses == ["failed", "completed"]
    assert len(simulator.ledger()) == 1


def test_lost_callback_is_found_by_the_sweep(shop, till_of, simulator):
    # The prompt is short, so that amber is seen before the net finds the money.
    installation = shop(
        T_PROMPT_S="5", T_QUESTION_GAPS_S="2,2,2,2,2", T_SWEEP_EVERY_S="2"
    )
    till = till_of(installation)
    till.scan(installation.demo["shops"][0]["products"][0]["barcode"])
    expect(till.page.locator(".line")).to_have_count(1)
    till.send_to("0712345695")
    till.expect_state("waiting")
    wait_until(simulator.ledger, timeout_s=40)
    # The delayed question is lost too: nothing but the sweep is left to notice.
    rows(installation, "delete from django_q_ormq")

    till.expect_state("unknown")
    expect(till.sheet).to_contain_text("The customer must not pay again")
    till.picture("unknown")
    till.page.locator("#next").click()
    pill = till.page.locator("#pill-button")
    expect(pill).to_have_text("1 waiting · KES 80")
    other = till_of(installation, "manager")
    other.page.locator("#pill-button").click()
    other.page.locator("#queue .queue .btn").click()
    other.expect_state("unknown")
    other.page.reload()
    other.expect_state("unknown")

    with WorkerProcess(installation):
        other.expect_state("paid", timeout_s=60)
        # M-Pesa's notice of the payment came beside the callback that was lost.
        [paid] = simulator.ledger()
        expect(other.page.locator("#receipt-number")).to_have_text(paid["receipt"])
        expect(pill).to_have_count(0)

    assert [status for status, _, _ in rows(installation, PAYMENTS)] == ["completed"]
    assert simulator.stats()["pushes"] == 1


def test_websocket_cut_in_the_middle_of_a_payment(
    shop, till_of, virtual_phone, simulator
):
    installation = shop()
    sockets = []
    is_cut = False

    def pass_on(socket):
        if is_cut:
            socket.close()
            return
        socket.connect_to_server()
        sockets.append(socket)

    till = till_of(installation)
    till.page.route_web_socket(re.compile("/ws/"), pass_on)
    till.page.reload()
    till.expect_live("on")
    till.scan(installation.demo["shops"][0]["products"][0]["barcode"])
    expect(till.page.locator(".line")).to_have_count(1)
    till.send_to("0712345678")
    till.expect_state("waiting")

    is_cut = True
    for socket in sockets:
        socket.close()
    till.expect_live("off")
    handset = virtual_phone(till, "254712345678")
    handset.locator("#pin").fill("1234")
    handset.locator("#send").click()

    # Without the link the page looks by itself, every three seconds.
    till.page.bring_to_front()
    till.expect_state("paid")
    expect(till.page.locator("#live")).to_have_attribute("data-state", "off")
    is_cut = False
    till.expect_live("on")
    assert rows(installation, PAYMENTS)[0][0] == "completed"
    assert len(simulator.ledger()) == 1
