"""The home page in a real browser: its figures move while somebody looks at them."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SIZES, WAIT_MS


pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
ARRIVES = """
from payments.models import Collection
from shops.models import Shop
from smartduka.lib import clock
Collection.objects.create(
    shop=Shop.objects.order_by("pk")[0], amount={amount}, allocated={amount},
    source="drawer", sighted_at=clock.now())
"""
# What the browser itself says when a connection fails is no fault of the page.
HARMLESS = re.compile("Failed to load resource|htmx:sendError")
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def home(browser, shop):
    """The home page of the first shop's owner, on a phone at night."""
    installation = shop()
    login = installation.demo["shops"][0]["owner"]
    width, height = SIZES["360"]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark"
    )
    context.set_default_timeout(WAIT_MS)
    page, faults = context.new_page(), []
    page.goto(f"{installation.url}/")
    page.get_by_label("User name").fill(login["username"])
    page.get_by_label("Password").fill(login["password"])
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console",
        lambda said: (
            said.type in ("error", "warning")
            and not HARMLESS.match(said.text)
            and faults.append(said.text)
        ),
    )
    page.goto(f"{installation.url}/admin/")
    page.arrives = lambda amount: installation.manage(
        "shell", "-c", ARRIVES.format(amount=amount)
    )
    yield page
    context.close()
    assert faults == [], "\n".join(faults)


def takings(page):
    return page.locator("#tile-takings + .large")


def test_figures_move_without_a_reload_and_open_tables_stay_open(home):
    expect(takings(home)).to_have_text("KES 0")
    home.evaluate("window.isTheSame = true")
    table = home.locator("#hours-table")
    table.locator("summary").click()
    home.locator("#days-summary").focus()

    home.arrives(1234)

    expect(takings(home)).to_have_text("KES 1,234")
    expect(table).to_have_attribute("open", "")
    expect(table.get_by_role("cell", name="KES 1,234")).to_be_visible()
    assert home.evaluate("document.activeElement.id") == "days-summary"
    expect(home.locator("#methods-heading ~ table")).to_contain_text("Cash")
    assert home.evaluate("window.isTheSame")
    assert home.evaluate("document.documentElement.scrollWidth") == SIZES["360"][0]


def test_hidden_page_asks_nothing_and_a_shown_one_at_once(home):
    asked = []
    home.evaluate(HIDE, True)
    home.on("request", lambda one: "/admin/" in one.url and asked.append(one.url))
    home.wait_for_timeout(6_500)
    assert asked == []

    with home.expect_response("**/admin/home/figures/**"):
        home.evaluate(HIDE, False)


def test_lost_connection_is_told_until_it_is_back(home):
    live = home.locator("#home-live")
    expect(live).to_contain_text("Live. As of")
    home.context.set_offline(True)
    expect(live).to_contain_text("No connection. These figures are those of")

    home.context.set_offline(False)
    expect(live).to_contain_text("Live. As of")


def test_ended_session_leads_to_the_sign_in_page(home):
    home.context.clear_cookies()

    expect(home.get_by_label("Password")).to_be_visible()
    assert "/admin/" in home.url
