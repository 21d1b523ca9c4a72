"""The books in a real browser: every page fits a phone at night, and keys suffice."""

import re
from collections import Counter
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SIZES, WAIT_MS


pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
FILL = "from tests.support import full_books; full_books.make()"
AUDIT = Path(__file__).with_name("audit.js").read_text()
# Where nobody is led by a link, or which is no page.
NO_PAGES = re.compile(r"/(logout|autocomplete|jsi18n)/|/r/|\.(csv|xlsx|pdf|json)\b")
# A question of the home page; other choices are the same list, shorter.
QUESTION = re.compile(r"look=\w+|day=today")
# Pages of one kind differ by their rows: so many of each are opened.
OF_EACH_KIND = 2
WIDE = """() => {
  const page = document.documentElement;
  if (page.scrollWidth <= page.clientWidth) return "";
  const far = [...document.querySelectorAll("body *")].filter(
    (one) => one.getBoundingClientRect().right > page.clientWidth + 1);
  return `${page.scrollWidth} px wide: ` + far.slice(-3).map(
    (one) => `${one.tagName}.${one.className}`).join(", ");
}"""
LINKS = """() => [...document.querySelectorAll("a[href]")]
  .map((one) => new URL(one.href))
  .filter((one) => one.pathname.startsWith("/admin/"))
  .map((one) => one.pathname + one.search)"""
# Words of the program that say nothing to a shopkeeper.
JARGON = re.compile(
    r"object \(|\bNone\b|\bTrue\b|\bFalse\b|\bstk\b|mpesa_stk|\bc2b\b|_display"
    r"|\{'|\{&#39;|\bmpesa (accounts|settings)\b|\bmemberships?\b|\bcollections?\b"
)


@pytest.fixture
def full(shop):
    """An installation whose demo shops have something of everything."""
    installation = shop()
    installation.manage("shell", "-c", FILL)
    return installation


@pytest.fixture
def reader(browser, full):
    """Sign somebody in to the books: `reader(login)` gives the page and its faults."""
    contexts = []

    def sign_in(login, *, size="360", colors="dark"):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=colors
        )
        context.set_default_timeout(WAIT_MS * 2)
        contexts.append(context)
        page, faults = context.new_page(), []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda said: said.type == "error" and faults.append(said.text),
        )
        page.goto(f"{full.url}/")
        page.get_by_label("User name").fill(login["username"])
        page.get_by_label("Password").fill(login["password"])
        with page.expect_navigation():
            page.keyboard.press("Enter")
        page.goto(f"{full.url}/admin/")
        faults.clear()  # the till is another test's
        return page, faults

    yield sign_in
    for context in contexts:
        context.close()


def kind(address):
    """The same for pages that differ by their row alone; questions are pages."""
    path, _, query = address.partition("?")
    path = re.sub(r"/[0-9a-f-]{32,}/|/\d+/", "/id/", path)
    return f"{path}?{query if QUESTION.fullmatch(query) else ''}"


def walk(page, faults):
    """Open every kind of page that links lead to; return the troubles found."""
    base = page.url.removesuffix("/admin/")
    due, seen, count, troubles = ["/admin/"], {"/admin/"}, Counter(), []
    audited = set()
    while due:
        address = due.pop(0)
        answer = page.goto(base + address)
        if answer.status != 200:
            troubles.append(f"{address}: {answer.status}")
        sort = kind(address)
        troubles += [f"{address}: {told}" for told in look(page)]
        if sort not in audited:  # slow, and the colors of a kind are the same
            audited.add(sort)
            troubles += [f"{address}: {told}" for told in pale(page)]
        troubles += [f"{address}: {told}" for told in faults]
        faults.clear()
        for link in page.evaluate(LINKS):
            sort = kind(link)
            if link in seen or NO_PAGES.search(link):
                continue
            seen.add(link)
            if "?" in link and sort.endswith("?"):
                continue  # a list in another order is the same page
            count[sort] += 1
            if count[sort] <= OF_EACH_KIND:
                due.append(link)
    return troubles, count


def look(page):
    """What is wrong with the page as it stands, its filters open one by one."""
    if wide := page.evaluate(WIDE):
        yield wide
    for choice in page.locator(".choice > summary").all():
        choice.click()
        if wide := page.evaluate(WIDE):
            yield f"{choice.inner_text()}: {wide}"
    page.keyboard.press("Escape")
    text = page.locator("#container").inner_text()
    if found := JARGON.search(re.sub(r"(?s)Word for word.*", "", text)):
        yield f"says {found[0]!r}"


def pale(page):
    """What is too pale to be read."""
    return [told for told in page.evaluate(AUDIT) if told.startswith("contrast")]


@pytest.mark.parametrize("who", ["owner", "operator"])
def test_every_page_fits_a_phone_at_night(full, reader, who):
    demo = full.demo
    login = demo["admin"] if who == "operator" else demo["shops"][0][who]

    troubles, count = walk(*reader(login))

    assert troubles == [], "\n".join(troubles)
    # The walk reached what it is about.
    pages = {sort.partition("?")[0] for sort in count}
    for path in (
        "payments/payment/id/change/", "payments/collection/id/change/",
        "payments/receipt/id/change/", "payments/refund/id/change/",
        "payments/correction/id/change/", "payments/notice/id/change/",
        "orders/order/id/change/", "shops/product/id/change/",
    ):  # fmt: skip
        assert f"/admin/{path}" in pages, path
    questions = {sort for sort in count if "look=" in sort}
    assert len(questions) >= 6, questions


def test_keys_alone_reach_a_refund_and_decide_it(full, reader):
    page, faults = reader(full.demo["shops"][0]["owner"], size="1280")

    def tab_to(words):
        for _ in range(60):
            page.keyboard.press("Tab")
            told = page.evaluate(FOCUSED)
            if words in told["words"]:
                assert told["shown"], f"the focus is not to be seen on {words}"
                return
        raise AssertionError(f"no way to {words!r} by keys")

    tab_to("Refunds wait for a second person")
    page.keyboard.press("Enter")
    page.wait_for_url("**/refund/?look=waits")
    tab_to("What needs a look")
    page.keyboard.press("Enter")
    expect(page.locator(".choice[open]")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".choice[open]")).to_have_count(0)
    assert "What needs a look" in page.evaluate(FOCUSED)["words"]
    tab_to("KES 640")
    page.keyboard.press("Enter")
    page.wait_for_url("**/change/**")
    tab_to("Approve")
    page.keyboard.press("Enter")
    page.get_by_text("KES 640: Sent back.").wait_for()
    assert faults == []


FOCUSED = """() => {
  const one = document.activeElement;
  const style = getComputedStyle(one);
  return {
    words: one === document.body ? "" : (one.innerText || one.value || "").trim(),
    shown: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
  };
}"""
