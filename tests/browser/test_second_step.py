"""Setting up the second step and signing in with it, with keys alone."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SIZES, sign_in
from tests.support.authenticator import Authenticator


pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_manager_sets_it_up_and_signs_in_with_it(shop, till_of):
    installation = shop(REQUIRE_SECOND_FACTOR="true")
    owner = installation.demo["shops"][0]["owner"]
    till = till_of(installation, "cashier")  # who needs none sells as before
    page, keys = till.page, till.page.keyboard
    till.context.clear_cookies()

    page.goto(f"{installation.url}/login")
    keys.type(owner["username"])
    keys.press("Tab")
    keys.type(owner["password"])
    keys.press("Enter")
    page.wait_for_url("**/second-step")
    expect(page.get_by_label("Your password")).to_be_focused()
    till.picture("second-step-asked")
    page.goto(f"{installation.url}/admin/")
    page.wait_for_url("**/second-step")

    keys.type("not the password")
    keys.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This is not your password.")
    keys.type(owner["password"])
    keys.press("Enter")
    expect(page.get_by_role("img")).to_be_visible()
    till.picture("second-step-key")
    phone = Authenticator(page.locator(".secret").inner_text())

    keys.type("000000")
    keys.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This code is not right")
    keys.type(phone.code())
    keys.press("Enter")
    expect(page.locator(".codes li")).to_have_count(10)
    paper = page.locator(".codes code").first.inner_text()
    till.picture("second-step-codes")
    page.get_by_role("link", name="I have them").focus()
    keys.press("Enter")
    page.wait_for_url("**/till/")

    for code in (phone.code(), paper):
        till.context.clear_cookies()
        page.goto(f"{installation.url}/login")
        keys.type(owner["username"])
        keys.press("Tab")
        keys.type(owner["password"])
        keys.press("Enter")
        expect(page.get_by_label("Code")).to_be_focused()
        till.picture("second-step-code")
        keys.type("000000")
        keys.press("Enter")
        expect(page.get_by_role("alert")).to_be_visible()
        till.picture("second-step-wrong")
        keys.type(code)
        keys.press("Enter")
        page.wait_for_url("**/till/")

    page.goto(f"{installation.url}/second-step")
    expect(page.locator("main")).to_contain_text("9 recovery codes are left")
    till.picture("second-step-on")
    for width, height in SIZES.values():
        page.set_viewport_size({"width": width, "height": height})
        wide = "document.documentElement.scrollWidth > innerWidth"
        assert page.evaluate(wide) is False

    till.context.clear_cookies()
    sign_in(page, installation.url, owner, phone)


def test_too_many_wrong_ones_read_how_long_to_wait(shop, till_of):
    installation = shop(T_SIGN_IN_TRIES="2")
    till = till_of(installation)
    # The till would lead to the sign-in by itself, at any moment.
    till.page.goto("about:blank")
    till.context.clear_cookies()
    till.page.goto(f"{installation.url}/login")
    till.page.keyboard.type("mama-cashier")
    for _ in range(3):
        till.page.get_by_label("Password").fill("wrong")
        till.page.keyboard.press("Enter")
        expect(till.page.get_by_role("alert")).to_be_visible()

    expect(till.page.get_by_role("alert")).to_contain_text("in 15 minutes")
    till.picture("locked-out")
