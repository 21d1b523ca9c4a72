"""Somebody is invited, joins, chooses a PIN and takes over a till: with keys alone."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SIZES, forget, send, sign_in, type_into


pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(400)]
WIDE = "document.documentElement.scrollWidth > innerWidth"


def fits(page):
    for width, height in SIZES.values():
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate(WIDE) is False
    page.set_viewport_size({"width": 1280, "height": 800})


def test_invited_cashier_joins_and_takes_over_with_a_pin(shop, till_of):
    installation = shop()
    till = till_of(installation, "owner")
    page, keys = till.page, till.page.keyboard
    owner = installation.demo["shops"][0]["owner"]

    page.goto(f"{installation.url}/admin/shops/membership/")
    page.get_by_role("link", name="Invite somebody").focus()
    keys.press("Enter")
    page.locator("#id_name").fill("Wanjiku from Kibera")
    till.picture("invite")
    fits(page)
    keys.press("Enter")
    link = page.locator(".link-once code").inner_text()
    till.picture("invite-link")
    fits(page)

    forget(page)
    page.goto(link)
    name, password = page.locator("#id_username"), page.locator("#id_password")
    expect(page.get_by_label("Choose a user name")).to_be_focused()
    till.picture("join")
    fits(page)
    type_into(name, "wanjiku")
    keys.press("Tab")
    type_into(password, "12345678")
    send(page)
    expect(page.locator("#password-hint")).to_contain_text("too common")
    till.picture("join-weak")
    type_into(password, "mpya-na-refu-2031")
    keys.press("Enter")
    page.wait_for_url("**/till/")

    page.goto(f"{installation.url}/till/pin")
    type_into(password, "mpya-na-refu-2031")
    keys.press("Tab")
    keys.type("1234")
    send(page)
    expect(page.get_by_role("alert")).to_contain_text("not in a row")
    till.picture("pin")
    fits(page)
    type_into(password, "mpya-na-refu-2031")
    keys.press("Tab")
    keys.type("4071")
    keys.press("Enter")
    page.wait_for_url("**/till/")

    forget(page)
    sign_in(page, installation.url, owner)
    keys.press("F9")
    expect(page.locator("#pin")).to_be_focused()
    expect(page.get_by_role("radio", name="wanjiku")).to_be_checked()
    till.picture("switch")
    keys.type("9999", delay=60)
    keys.press("Enter")
    expect(page.locator("#switch").get_by_role("alert")).to_be_visible()
    expect(page.locator("#pin")).to_be_focused()
    till.picture("switch-wrong")
    keys.type("4071", delay=60)
    keys.press("Enter")
    expect(page.locator("#menu .who")).to_have_text("wanjiku")
    page.locator("#menu summary").click()
    till.picture("switched-menu")
    expect(page.locator("#menu")).not_to_contain_text("The books")

    page.goto(f"{installation.url}/admin/")
    expect(page.locator("body")).to_contain_text("403")
    till.faults.clear()  # the refusal above, as the browser tells it


def test_sheet_says_so_where_nobody_has_a_pin(shop, till_of):
    till = till_of(shop())
    till.page.keyboard.press("F9")

    expect(till.page.locator("#switch")).to_contain_text("Nobody else of this shop")
    till.picture("switch-nobody")
    till.page.keyboard.press("Escape")
    expect(till.page.locator("#switch")).to_be_hidden()
