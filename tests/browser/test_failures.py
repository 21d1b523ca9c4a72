"""A prompt fails at the till, and the owner finds why, tries again, and has evidence."""

import csv
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import WAIT_MS, rows
from tests.support.simulator import wait_until


pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]
# The last digits choose: not enough money.
POOR = "0700000092"
STATES = "select status from payments_payment order by created_at"


def saved(page, link):
    with page.expect_download() as download:
        page.get_by_role("link", name=link).click()
    return Path(download.value.path()).read_bytes()


def test_owner_finds_why_tries_again_and_has_evidence(shop, till_of):
    # A phone rests for some seconds after a prompt that failed; here it does not.
    installation = shop(T_PHONE_GUARD_AFTER_FAILURE_S="0")
    cashier = till_of(installation)
    cashier.expect_live("on")
    cashier.scan(installation.demo["shops"][0]["products"][0]["barcode"])
    expect(cashier.page.locator(".line")).to_have_count(1)
    cashier.send_to(POOR)
    cashier.expect_state("failed")

    owner = till_of(installation, "owner")
    page = owner.page
    page.goto(f"{installation.url}/admin/")
    page.get_by_role("link", name="Failed payments", exact=True).first.click()
    row = page.locator("#result_list tbody tr")
    expect(row).to_have_count(1)
    for words in (
        "Not enough money in M-Pesa.", "The customer can top up and try again",
        "0700 ••• 092",
    ):  # fmt: skip
        expect(row).to_contain_text(words)
    owner.picture("failed-payments")
    menu = page.locator("#toggle-nav-sidebar")
    menu.click()
    expect(page.locator("#main")).not_to_have_class(re.compile("shifted"))
    # What is beside the menu begins where it ended, and not left of the page.
    assert page.locator("#content").bounding_box()["x"] == menu.bounding_box()["width"]
    menu.click()
    file = saved(page, "Save as CSV").decode("utf-8-sig")
    header, line = csv.reader(file.splitlines())
    assert dict(zip(header, line, strict=True))["Phone"] == "0700 ••• 092"

    row.locator("input.action-select").check()
    page.get_by_label("Action:").select_option("retry")
    page.get_by_role("button", name=re.compile("^(Go|Run)")).click()
    expect(page.locator(".messagelist")).to_contain_text("a new prompt is on the phone")
    # The second one fails as well: the first is seen, this one is new.
    both = [("failed",), ("failed",)]
    wait_until(lambda: rows(installation, STATES) == both, timeout_s=WAIT_MS / 1000)
    page.reload()
    expect(row).to_have_count(1)
    expect(row.locator(".field-tries")).to_have_text("2")

    row.locator("th a").click()
    page.get_by_role("link", name="Evidence").click()
    expect(page.locator(".timeline")).to_contain_text("Message about the prompt")
    page.locator("summary", has_text="Word for word").first.click()
    expect(page.locator("pre.said").first).to_contain_text('"ResultCode"')
    owner.picture("evidence")
    assert saved(page, "Save as PDF").startswith(b"%PDF-")
    found = json.loads(saved(page, "Save as JSON"))
    assert found["payment"]["phoneNumber"] == "0700 ••• 092"
    assert "254700000092" not in json.dumps(found)
