"""Setting up the second step and signing in with it, with keys alone."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SIZES, forget, send, sign_in, type_into
from tests.support.authenticator import Authenticator


pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_manager_sets_it_up_and_signs_in_with_it(shop, till_of):
    installation = shop(REQUIRE_SECOND_FACTOR="true")
    owner = installation.demo["shops"][0]["owner"]
    till = till_of(installation, "cashier")  # who needs none sells as before
    page, keys = till.page, till.page.keyboard
    name, password = page.locator("#id_username"), page.locator("#id_password")
    code = page.locator("#id_code")

    def sign_in_with_keys():
        forget(page)
        page.goto(f"{installation.url}/login")
        type_into(name, owner["username"])
        keys.press("Tab")
        type_into(password, owner["password"])
        send(page)

    sign_in_with_keys()
    page.wait_for_url("**/second-step")
    expect(page.get_by_label("Your password")).to_be_focused()
    till.picture("second-step-asked")
    page.goto(f"{installation.url}/admin/")
    page.wait_for_url("**/second-step")

    type_into(password, "not the password")
    send(page)
    expect(page.get_by_role("alert")).to_contain_text("This is not your password.")
    type_into(password, owner["password"])
    send(page)
    expect(page.get_by_role("img")).to_be_visible()
    till.picture("second-step-key")
    phone = Authenticator(page.locator(".secret").inner_text())

    type_into(code, "000000")
    send(page)
    expect(page.get_by_role("alert")).to_contain_text("This code is not right")
    type_into(code, phone.code())
    send(page)
    expect(page.locator(".codes li")).to_have_count(10)
    paper = page.locator(".codes code").first.inner_text()
    till.picture("second-step-codes")
    page.get_by_role("link", name="I have them").focus()
    keys.press("Enter")
    page.wait_for_url("**/till/")

    for shown in (phone.code, lambda: paper):
        sign_in_with_keys()
        expect(page.get_by_label("Code")).to_be_focused()
        till.picture("second-step-code")
        type_into(code, "000000")
        send(page)
        expect(page.get_by_role("alert")).to_be_visible()
        till.picture("second-step-wrong")
        type_into(code, shown())
        keys.press("Enter")
        page.wait_for_url("**/till/")

    page.goto(f"{installation.url}/second-step")
    expect(page.locator("main")).to_contain_text("9 recovery codes are left")
    till.picture("second-step-on")
    for width, height in SIZES.values():
        page.set_viewport_size({"width": width, "height": height})
        wide = "document.documentElement.scrollWidth > innerWidth"
        assert page.evaluate(wide) is False

    forget(page)
    sign_in(page, installation.url, owner, phone)


def test_too_many_wrong_ones_read_how_long_to_wait(shop, till_of):
    installation = shop(T_SIGN_IN_TRIES="2")
    till = till_of(installation)
    forget(till.page)
    till.page.goto(f"{installation.url}/login")
    type_into(till.page.locator("#id_username"), "mama-cashier")
    for _ in range(3):
        till.page.get_by_label("Password").fill("wrong")
        send(till.page)
        expect(till.page.get_by_role("alert")).to_be_visible()

    expect(till.page.get_by_role("alert")).to_contain_text("in 15 minutes")
    till.picture("locked-out")
