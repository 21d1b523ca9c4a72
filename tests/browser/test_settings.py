"""An owner sets up the shop's own till, with a second step, up to the first sale."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import (
    SIZES,
    WAIT_MS,
    send,
    set_up_second_step,
    sign_in,
)
from tests.browser.test_books import WIDE, pale


pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

PASSKEY = "simtillpasskey".ljust(64, "0")
SECRETS = ("sim-till-key", "sim-till-secret", PASSKEY)
MINE = "254712345678"


@pytest.fixture
def installation(shop):
    return shop()


@pytest.fixture
def owner(browser, installation):
    """Sign the owner in with a second step: `owner(size, colors)` gives their page."""
    contexts = []
    login = installation.demo["shops"][0]["owner"]

    def open_page(size="1280", colors="light"):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=colors
        )
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page, page.faults = context.new_page(), []
        sign_in(page, installation.url, login)
        phone = set_up_second_step(page, installation.url, login["password"])
        context.clear_cookies()
        sign_in(page, installation.url, login, phone)
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on(
            "console",
            lambda said: said.type == "error" and page.faults.append(said.text),
        )
        page.goto(f"{installation.url}/admin/payments/mpesasettings/")
        with page.expect_navigation():
            page.get_by_role("link", name="Set up M-Pesa").click()
        return page

    yield open_page
    for context in contexts:
        context.close()


def enter(page, till, store, key, secret, passkey):
    for label, text in (
        ("Till number", till), ("Store number", store), ("Consumer key", key),
        ("Consumer secret", secret), ("Passkey", passkey),
    ):  # fmt: skip
        page.get_by_label(label).fill(text)
    page.get_by_role("button", name="Check and save").click()


def fault(page, label):
    """Return what stands beside a field."""
    row = page.locator(".form-row", has=page.get_by_label(label))
    return row.locator(".errorlist")


def step(page, name):
    return page.locator(f"#{name} h2 .pill")


def fits(page, width):
    """Whether it can be read as it is: nothing too wide, nothing too pale."""
    assert page.evaluate(WIDE) == ""
    assert list(pale(page)) == []


def test_owner_signs_in_twice_enters_keys_pays_a_shilling_and_goes_live(
    owner, simulator, till_of, installation
):
    page = owner()
    expect(page.locator(".verdict")).to_contain_text("the platform's account")
    page.get_by_role("link", name="Our own till").click()

    # Wrong keys are explained, and nothing of them stays.
    enter(page, "5600301", "5600301", "sim-till-key", "wrong", PASSKEY)
    expect(fault(page, "Store number")).to_contain_text("This is the till number once")
    enter(page, "5600301", "600300", "sim-till-key", "wrong", PASSKEY)
    for label in ("Consumer key", "Consumer secret"):
        expect(fault(page, label)).to_contain_text("M-Pesa does not know this consumer")
    assert page.get_by_label("Passkey").input_value() == ""
    enter(page, "600300", "5600301", *SECRETS)
    expect(fault(page, "Store number")).to_contain_text("the wrong way round")
    enter(page, "5600301", "600300", "sim-till-key", "sim-till-secret", "wrong")
    expect(fault(page, "Passkey")).to_contain_text("The passkey does not fit 600300.")
    expect(step(page, "keys")).to_have_text("to enter")

    enter(page, "5600301", "600300", *SECRETS)
    expect(step(page, "keys")).to_have_text("entered")
    assert not any(secret in page.content() for secret in SECRETS)

    page.get_by_role("button", name="Test now").click()
    expect(step(page, "verify")).to_have_text("tested")

    page.get_by_label("Your phone").fill("0712 345 678")
    page.get_by_role("button", name="Ask for KES 1").click()
    expect(step(page, "pay")).to_have_text("waiting")
    prompt = simulator.wait_for_prompt(MINE)
    assert (prompt["amount"], prompt["partyB"]) == (1, "5600301")
    simulator.answer(prompt["checkoutRequestId"], "pay")
    # The page looks by itself.
    expect(step(page, "pay")).to_have_text("paid")

    page.get_by_label("Type the number that customers pay to").fill("5600302")
    page.get_by_role("button", name="Go live").click()
    expect(fault(page, "Type the number")).to_contain_text("This is not the number")
    page.get_by_label("Type the number that customers pay to").fill("5600301")
    page.get_by_role("button", name="Go live").click()
    expect(step(page, "live")).to_have_text("live")
    expect(page.locator(".verdict")).to_contain_text("Customers pay to till 5600301")
    fits(page, 1280)
    assert page.faults == []

    # The till asks for that one from now on.
    till = till_of(installation)
    till.scan(installation.demo["shops"][0]["products"][0]["barcode"])
    expect(till.page.locator(".line")).to_have_count(1)
    till.send_to("0722 000 111")
    prompt = simulator.wait_for_prompt("254722000111")
    assert prompt["partyB"] == "5600301"


def test_all_of_it_by_keys_alone_on_a_phone_at_night(owner, simulator):
    page = owner("360", "dark")
    keys = page.keyboard

    def tab_to(name):
        for _ in range(60):
            keys.press("Tab")
            here = page.evaluate(
                "(() => { const one = document.activeElement; return [one.value,"
                " one.innerText, one.labels && one.labels[0] && one.labels[0].innerText]"
                ".join(' '); })()"
            )
            if name in here:
                return
        raise AssertionError(f"no key leads to {name}")

    tab_to("Our own till")
    keys.press("Enter")
    page.wait_for_url("**kind=till*")
    fits(page, 360)
    # Half of it: the first field that is wrong has the focus.
    tab_to("Till number")
    keys.type("5600301")
    send(page)
    expect(page.get_by_label("Store number")).to_be_focused()
    fits(page, 360)
    keys.type("600300")
    for secret in SECRETS:
        keys.press("Tab")
        keys.type(secret)
    send(page)
    expect(step(page, "keys")).to_have_text("entered")
    tab_to("Test now")
    send(page)
    expect(step(page, "verify")).to_have_text("tested")
    fits(page, 360)
    tab_to("Type the number")
    keys.type("5600301")
    send(page)
    expect(step(page, "live")).to_have_text("live")
    fits(page, 360)
    assert page.faults == []
