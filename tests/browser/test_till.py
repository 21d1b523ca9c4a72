"""The till under a cashier's hands: keyboard, scanner, mistakes, a bad network."""

import itertools
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SIZES, Till, rows
from tests.support.servers import Installation, WebProcess
from tests.support.simulator import wait_until


pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
AUDIT = (Path(__file__).parent / "audit.js").read_text()
# The page notes by itself when it turns green: whoever looks from outside is late.
CLOCK_GREEN = """() => new MutationObserver(() => {
  const body = document.querySelector("#sheet-body");
  if (body?.dataset.state === "paid") window.greenAt ??= performance.now();
}).observe(document.querySelector("#sheet"), {
  attributes: true, childList: true, subtree: true,
})"""
# The next picture is drawn, and the green has finished turning.
STILL = """async () => {
  const drawn = (done) => requestAnimationFrame(() => requestAnimationFrame(done));
  await new Promise(drawn);
  const turning = document.getAnimations().filter((one) => one.animationName);
  await Promise.allSettled(turning.map((one) => one.finished));
}"""


@pytest.fixture(scope="module")
def simulator(simulator_process):
    return simulator_process


@pytest.fixture(scope="module")
def installation(tmp_path_factory, simulator):
    """One for the whole file: each test sells to a phone of its own."""
    one = Installation(
        tmp_path_factory.mktemp("shop"),
        simulator_url=simulator.url,
        STK_RATE_PER_SHOP="500/m",
        STK_RATE_PER_PHONE="500/m",
        STK_RATE_PER_IP="500/m",
    )
    with WebProcess(one):
        yield one


@pytest.fixture
def goods(installation):
    return installation.demo["shops"][0]["products"]


@pytest.fixture
def till(till_of, installation) -> Till:
    one = till_of(installation)
    one.expect_live("on")
    return one


def add(till, product):
    before = till.page.locator(".line").count()
    till.scan(product["barcode"])
    expect(till.page.locator(".line")).to_have_count(before + 1)


def test_keyboard_alone_sells_for_cash(till):
    press = till.page.keyboard.press
    press("/")
    till.page.keyboard.type("sukari", delay=60)
    expect(till.page.locator(".tile")).to_have_count(1)
    press("Enter")
    expect(till.page.locator(".line")).to_have_count(1)
    expect(till.page.locator("#search")).to_have_value("")
    press("Escape")
    press("+")
    expect(till.page.locator("#total")).to_have_text("KES 330")
    press("-")
    expect(till.page.locator("#total")).to_have_text("KES 165")
    press("Alt+1")
    expect(till.page.locator("#given")).to_be_focused()
    till.page.keyboard.type("200", delay=60)
    expect(till.page.locator("#change")).to_contain_text("KES 35")
    press("Enter")
    till.expect_state("paid")
    expect(till.sheet).to_contain_text("Give back")
    press("Enter")
    expect(till.page.locator("#sheet")).to_be_hidden()
    expect(till.page.locator(".line")).to_have_count(0)


def test_green_stays_long_enough_to_be_seen(till, goods):
    add(till, goods[0])
    till.page.evaluate(CLOCK_GREEN)
    till.page.keyboard.press("Alt+1")
    till.page.locator("[data-note]").first.click()
    till.page.keyboard.press("Enter")
    till.expect_state("paid")

    till.page.keyboard.press("Enter")
    expect(till.page.locator("#sheet")).to_be_hidden()

    assert till.page.evaluate("performance.now() - window.greenAt") > 1300


def test_cart_survives_a_reload_and_a_sale_can_be_held(till, goods):
    add(till, goods[0])
    till.page.reload()
    expect(till.page.locator(".line")).to_have_count(1)

    till.page.keyboard.press("F4")
    expect(till.page.locator("#hold")).to_contain_text("Held: 1")
    add(till, goods[1])
    till.page.keyboard.press("F4")
    till.page.keyboard.press("F4")
    till.page.locator("#held-list .btn").first.click()

    expect(till.page.locator(".line")).to_contain_text(goods[0]["name"])


@pytest.mark.parametrize("typed", ["0", "99999", "abc", "", "1.5", "-1"])
def test_impossible_quantity_is_told_at_the_line(till, goods, typed):
    add(till, goods[0])
    box = till.page.locator(".line input")

    box.fill(typed)
    box.press("Tab")

    expect(till.page.locator(".line .why")).to_contain_text("Write a whole number")
    expect(till.page.locator("#total")).to_have_text("KES 80")


@pytest.mark.parametrize("key", ["Alt+1", "Alt+2"])
def test_pay_key_takes_the_quantity_that_is_typed(till, goods, key):
    add(till, goods[0])
    till.page.locator(".line input").fill("5")

    till.page.keyboard.press(key)

    expect(till.page.locator("#to-pay")).to_have_text("KES 400")
    till.page.keyboard.press("Escape")
    expect(till.page.locator("#total")).to_have_text("KES 400")


def test_hold_key_takes_the_quantity_that_is_typed(till, goods):
    add(till, goods[0])
    till.page.locator(".line input").fill("5")

    till.page.keyboard.press("F4")
    expect(till.page.locator(".line")).to_have_count(0)
    till.page.keyboard.press("F4")

    expect(till.page.locator("#total")).to_have_text("KES 400")


def test_scan_takes_the_quantity_that_is_typed(till, goods):
    add(till, goods[0])
    till.page.locator(".line input").fill("5")

    add(till, goods[1])

    expect(till.page.locator("#total")).to_have_text("KES 580")
    till.page.keyboard.press("Alt+1")
    expect(till.page.locator("#to-pay")).to_have_text("KES 580")


def test_pay_key_over_an_impossible_quantity_pays_nothing(till, goods):
    add(till, goods[0])
    till.page.locator(".line input").fill("1.5")

    till.page.keyboard.press("Alt+1")

    expect(till.page.locator(".line .why")).to_contain_text("Write a whole number")
    till.page.wait_for_timeout(500)
    expect(till.page.locator("#sheet")).to_be_hidden()
    till.page.keyboard.press("Alt+1")
    expect(till.page.locator("#to-pay")).to_have_text("KES 80")


def test_quantity_is_fixed_once_a_sheet_is_open(till, goods):
    add(till, goods[0])
    till.page.keyboard.press("Alt+1")
    till.expect_state("cash")

    # As a field tells that loses the focus late.
    till.page.locator(".line input").evaluate(
        """field => {
          field.value = "5";
          field.dispatchEvent(new Event("change", { bubbles: true }));
        }"""
    )

    expect(till.page.locator("#count")).to_have_text("1 piece")
    expect(till.page.locator(".line input")).to_have_value("1")


def test_more_than_the_stock_is_told_and_nothing_is_lost(till, goods):
    add(till, goods[0])
    box = till.page.locator(".line input")
    box.fill("9000")
    box.press("Tab")
    expect(till.page.locator("#total")).to_have_text("KES 720,000")

    till.page.keyboard.press("Alt+2")

    expect(till.page.locator("#trouble")).to_contain_text(
        re.compile(r"Only \d+ left of")
    )
    expect(till.page.locator(".line .why")).to_contain_text("left of")
    expect(till.page.locator("#sheet")).to_be_hidden()
    expect(till.page.locator(".line")).to_have_count(1)


def test_what_is_scanned_while_the_sale_is_saved_is_told(till, goods):
    add(till, goods[0])
    held = []
    till.page.route("**/till/sale", lambda route: held.append(route), times=1)

    till.page.keyboard.press("Alt+1")
    till.scan(goods[1]["barcode"])
    expect(till.page.locator("#tell")).to_contain_text("The sale is being saved")
    held[0].continue_()

    till.expect_state("cash")
    expect(till.page.locator("#to-pay")).to_have_text("KES 80")


def test_escape_closes_a_form_but_never_a_prompt_and_focus_comes_back(
    till, goods, installation
):
    add(till, goods[0])
    till.page.locator("#mpesa").focus()
    till.page.keyboard.press("Enter")
    expect(till.page.locator("#phone")).to_be_focused()
    till.page.keyboard.press("Escape")
    expect(till.page.locator("#sheet")).to_be_hidden()
    expect(till.page.locator("#mpesa")).to_be_focused()

    till.send_to("0700000101")
    till.expect_state("waiting")
    for _ in range(3):
        till.page.keyboard.press("Escape")

    till.expect_state("waiting")
    expect(till.page.locator("#sheet")).to_be_visible()
    found = "select status from payments_payment where phone = '254700000101'"
    assert rows(installation, found) == [("pending",)]


def test_sheet_keeps_the_focus_inside(till, goods):
    add(till, goods[0])
    till.page.keyboard.press("Alt+2")
    expect(till.page.locator("#phone")).to_be_focused()

    for _ in range(20):
        till.page.keyboard.press("Tab")
        assert till.page.evaluate(
            "document.activeElement === document.body"
            " || document.querySelector('#sheet').contains(document.activeElement)"
        )


def test_double_click_on_send_is_one_push(till, goods, installation):
    add(till, goods[0])
    till.page.keyboard.press("Alt+2")
    till.page.locator("#phone").fill("0700000102")

    till.page.locator("button[type=submit]", has_text="Send to phone").dblclick()

    till.expect_state("waiting")
    found = "select count(*) from payments_payment where phone = '254700000102'"
    assert rows(installation, found) == [(1,)]


def test_scan_is_told_by_the_keys_own_times(till, goods):
    barcode = goods[0]["barcode"]
    till.keys(barcode, gap_s=0.02, pause_s=0.15)
    expect(till.page.locator(".line")).to_have_count(1)

    # A person's keys, 60 ms apart, are none, though the browser gets them at once.
    till.keys(barcode, gap_s=0.06)
    till.scan(goods[1]["barcode"])

    expect(till.page.locator(".line")).to_have_count(2)
    expect(till.page.locator("#count")).to_have_text("2 pieces")


def test_scans_keep_their_order_and_so_does_a_key_for_the_last_one(till, goods):
    add(till, goods[0])
    held = []
    first = re.compile(goods[1]["barcode"])
    till.page.route(first, lambda route: held.append(route), times=1)

    till.scan(goods[1]["barcode"])
    till.scan("0000000000000")
    till.page.keyboard.press("+")
    till.page.wait_for_timeout(500)
    expect(till.page.locator("#tell")).to_be_hidden()
    expect(till.page.locator("#count")).to_have_text("1 piece")
    held[0].continue_()

    expect(till.page.locator("#tell")).to_contain_text("0000000000000")
    expect(till.page.locator("#count")).to_have_text("3 pieces")
    quantities = till.page.locator(".line input")
    assert [one.input_value() for one in quantities.all()] == ["1", "2"]


@contextmanager
def looked_up(till, product, end="continue_"):
    """Scan something whose answer comes, or is lost, when the block ends."""
    held = []
    asked = re.compile(product["barcode"])
    till.page.route(asked, lambda route: held.append(route), times=1)
    till.scan(product["barcode"])
    yield
    getattr(held[0], end)()


def save_unpaid(till):
    """Press a key for paying and go back: the sale is known to the server then."""
    till.page.keyboard.press("Alt+1")
    till.expect_state("cash")
    till.page.keyboard.press("Escape")
    expect(till.page.locator("#sheet")).to_be_hidden()


@pytest.mark.parametrize(("key", "state"), [("Alt+1", "cash"), ("Alt+2", "mpesa")])
def test_pay_key_waits_for_what_was_scanned_before_it(till, goods, key, state):
    add(till, goods[0])
    save_unpaid(till)

    with looked_up(till, goods[1]):
        till.page.keyboard.press(key)
        till.page.wait_for_timeout(500)
        expect(till.page.locator("#sheet")).to_be_hidden()

    till.expect_state(state)
    expect(till.page.locator("#to-pay")).to_have_text("KES 260")


@contextmanager
def price_changed(installation, product, price):
    """The owner asks another price while the block runs."""
    change = "update shops_product set price = {} where barcode = '{}'"
    rows(installation, change.format(price, product["barcode"]))
    try:
        yield
    finally:
        rows(installation, change.format(product["price"], product["barcode"]))


@pytest.mark.parametrize("key", ["Alt+1", "Alt+2"])
def test_sheet_asks_for_the_price_that_the_ticket_shows(till, goods, installation, key):
    add(till, goods[0])
    save_unpaid(till)

    with price_changed(installation, goods[0], 120):
        till.page.reload()
        expect(till.page.locator("#tell")).to_contain_text("A price changed")
        expect(till.page.locator("#total")).to_have_text("KES 120")
        till.page.keyboard.press(key)

        expect(till.page.locator("#to-pay")).to_have_text("KES 120")


def test_sheet_that_is_loaded_again_asks_for_the_price_of_today(
    till, goods, installation
):
    add(till, goods[0])
    till.page.keyboard.press("Alt+1")
    till.expect_state("cash")

    with price_changed(installation, goods[0], 120):
        till.page.reload()

        expect(till.page.locator("#to-pay")).to_have_text("KES 120")
        expect(till.page.locator("#total")).to_have_text("KES 120")


def test_ticket_shows_a_sale_whose_payment_was_begun_as_it_is(
    till, goods, installation
):
    add(till, goods[0])
    save_unpaid(till)
    rows(installation, "update orders_order set frozen_at = created_at")

    with price_changed(installation, goods[0], 120):
        till.page.reload()
        expect(till.page.locator("#total")).to_have_text("KES 120")
        till.page.keyboard.press("Alt+1")
        expect(till.page.locator("#trouble")).to_contain_text("already begun")
        expect(till.page.locator("#sheet")).to_be_hidden()
        till.page.get_by_role("button", name="Show the payment").first.click()

        expect(till.page.locator("#to-pay")).to_have_text("KES 80")
        expect(till.page.locator("#total")).to_have_text("KES 80")
        expect(till.sheet).to_contain_text("the goods of this sale are fixed")


def test_hold_key_waits_for_what_was_scanned_before_it(till, goods):
    add(till, goods[0])

    with looked_up(till, goods[1]):
        till.page.keyboard.press("F4")
        till.page.wait_for_timeout(500)
        expect(till.page.locator(".line")).to_have_count(1)

    expect(till.page.locator("#hold")).to_contain_text("Held: 1")
    expect(till.page.locator(".line")).to_have_count(0)
    till.page.keyboard.press("F4")
    expect(till.page.locator(".line")).to_have_count(2)


def test_pay_key_waits_for_a_barcode_in_the_search(till, goods):
    add(till, goods[0])
    save_unpaid(till)
    held = []
    page = till.page
    asked = re.compile("code=" + goods[1]["barcode"])
    page.route(asked, lambda route: held.append(route), times=1)

    page.locator("#search").fill(goods[1]["barcode"])
    page.keyboard.press("Enter")
    page.keyboard.press("Alt+1")
    page.wait_for_timeout(500)
    expect(page.locator("#sheet")).to_be_hidden()
    held[0].continue_()

    expect(page.locator("#to-pay")).to_have_text("KES 260")


@pytest.mark.parametrize("key", ["Alt+1", "F4"])
def test_key_after_a_scan_that_failed_is_to_be_pressed_again(till, goods, key):
    add(till, goods[0])

    with looked_up(till, goods[1], end="abort"):
        till.page.keyboard.press(key)
        till.page.wait_for_timeout(300)

    expect(till.page.locator("#tell")).to_contain_text("could not be looked up")
    till.page.wait_for_timeout(500)
    expect(till.page.locator("#sheet")).to_be_hidden()
    expect(till.page.locator(".line")).to_have_count(1)
    till.page.keyboard.press("Alt+1")
    expect(till.page.locator("#to-pay")).to_have_text("KES 80")


def test_answer_that_comes_while_a_sheet_is_open_is_told(till, goods):
    add(till, goods[0])
    save_unpaid(till)

    with looked_up(till, goods[1]):
        till.page.go_back()
        till.expect_state("mpesa")

    expect(till.sheet).to_contain_text("A payment is on the screen")
    till.page.keyboard.press("Escape")
    expect(till.page.locator("#tell")).to_contain_text("A payment is on the screen")
    expect(till.page.locator("#count")).to_have_text("1 piece")


def test_scan_is_told_on_the_sheet_that_is_being_opened(till, goods):
    add(till, goods[0])
    held = []
    asked = "**/till/pay/*method=cash"
    till.page.route(asked, lambda route: held.append(route), times=1)

    till.page.keyboard.press("Alt+1")
    expect(till.page.locator("#sheet[open]")).to_have_count(1)
    till.scan(goods[1]["barcode"])
    expect(till.page.locator("#tell")).to_contain_text("A payment is on the screen")
    held[0].continue_()

    till.expect_state("cash")
    expect(till.sheet).to_contain_text("A payment is on the screen")


def test_back_button_brings_the_sale_up_to_the_ticket(till, goods):
    add(till, goods[0])
    save_unpaid(till)
    add(till, goods[1])

    till.page.go_back()

    expect(till.page.locator("#to-pay")).to_have_text("KES 260")


def test_scan_while_the_number_is_typed_leaves_the_number(till, goods):
    add(till, goods[0])
    till.page.keyboard.press("Alt+2")
    till.page.locator("#phone").press_sequentially("0712", delay=120)
    till.page.wait_for_timeout(150)

    till.scan(goods[1]["barcode"])

    expect(till.page.locator("#phone")).to_have_value("0712")
    till.expect_state("mpesa")


def test_whole_number_typed_very_fast_is_no_scan(till, goods):
    add(till, goods[0])
    till.page.keyboard.press("Alt+2")
    expect(till.page.locator("#phone")).to_be_focused()

    till.scan("0700000103")

    till.expect_state("waiting")


def test_next_customer_is_scanned_while_it_is_green(till, goods):
    add(till, goods[0])
    till.page.keyboard.press("Alt+1")
    till.page.locator("[data-note]").first.click()
    till.page.keyboard.press("Enter")
    till.expect_state("paid")

    till.scan(goods[1]["barcode"])

    expect(till.page.locator("#sheet")).to_be_hidden()
    expect(till.page.locator(".line")).to_have_count(1)
    expect(till.page.locator(".line")).to_contain_text(goods[1]["name"])


def test_lost_network_while_sending_is_told_and_a_second_press_sends_once(
    till, goods, installation
):
    add(till, goods[0])
    till.page.keyboard.press("Alt+2")
    till.page.locator("#phone").fill("0700000104")
    reached = []

    def lose_the_answer(route):
        reached.append(route.fetch().status)
        route.abort()

    till.page.route("**/mpesa", lose_the_answer, times=1)
    till.page.keyboard.press("Enter")
    expect(till.sheet).to_contain_text("No connection to the till’s server")  # noqa: RUF001 -- as written there
    expect(till.page.locator("#phone")).to_have_value("0700 000 104")
    till.page.locator("button[type=submit]", has_text="Send to phone").click()
    till.expect_state("waiting")

    till.faults.clear()  # htmx told the console what the page told the cashier
    found = "select count(*) from payments_payment where phone = '254700000104'"
    assert (reached, rows(installation, found)) == ([200], [(1,)])


def test_several_payers_of_one_sale(till, goods, simulator):
    add(till, goods[1])
    till.page.keyboard.press("Alt+2")
    till.page.locator("#phone").fill("0700000105")
    till.page.get_by_text("Only a part of it").click()
    till.page.locator("#part").fill("100")
    till.page.keyboard.press("Enter")
    till.expect_state("waiting")
    till.page.get_by_role("button", name=re.compile("Another payer")).click()
    till.page.locator("#phone").fill("0700000106")
    till.page.get_by_text("Only a part of it").click()
    till.page.locator("#part").fill("80")
    till.page.keyboard.press("Enter")
    till.expect_state("waiting")

    for phone in ("254700000105", "254700000106"):
        prompt = simulator.wait_for_prompt(phone)
        simulator.answer(prompt["checkoutRequestId"], "pay")

    till.expect_state("paid")
    expect(till.page.locator(".parts li")).to_have_count(2)


def test_open_cash_form_follows_what_is_paid_meanwhile(till, goods, simulator):
    add(till, goods[1])
    till.page.keyboard.press("Alt+2")
    till.page.locator("#phone").fill("0700000108")
    till.page.get_by_text("Only a part of it").click()
    till.page.locator("#part").fill("100")
    till.page.keyboard.press("Enter")
    till.expect_state("waiting")
    whole = till.page.evaluate(
        "document.querySelector('#total').textContent.replace(/[^0-9]/g, '')"
    )
    left = int(whole) - 100
    till.page.keyboard.press("Alt+1")
    till.expect_state("cash")
    expect(till.page.locator("#undecided")).to_contain_text("KES 100")
    till.page.locator("#given").fill("1000")

    prompt = simulator.wait_for_prompt("254700000108")
    simulator.answer(prompt["checkoutRequestId"], "pay")

    expect(till.page.locator("#to-pay")).to_have_text(f"KES {left}")
    expect(till.page.locator("#undecided")).to_have_count(0)
    expect(till.page.locator("#given")).to_have_value("1000")
    expect(till.page.locator("#change")).to_contain_text(f"KES {1000 - left}")
    till.page.get_by_role("button", name="Exact").click()
    expect(till.page.locator("#given")).to_have_value(str(left))


def test_box_to_tick_stays_when_the_sheet_is_refreshed(till, goods):
    add(till, goods[0])
    till.send_to("0700000109")
    till.expect_state("waiting")
    till.page.route(
        "**/till/pay/*seen=*",
        lambda route: route.continue_(
            url=re.sub(r"seen=\w+", "seen=0", route.request.url)
        ),
    )

    # As a refusal after two minutes puts it there.
    till.page.evaluate(
        """() => {
          document.querySelector("#sheet-body").dataset.old = "1";
          document.querySelector("#resend-form").insertAdjacentHTML("afterbegin",
            '<label class="confirm"><input type="checkbox" id="accept-risk"></label>');
          document.querySelector("#accept-risk").checked = true;
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )

    expect(till.page.locator("#sheet-body[data-old]")).to_have_count(0)
    expect(till.page.locator("#accept-risk")).to_be_checked()
    till.page.unroute_all(behavior="wait")


def test_sheet_that_may_not_be_seen_any_more_says_so(till, goods):
    add(till, goods[0])
    till.page.keyboard.press("Alt+2")
    till.expect_state("mpesa")
    named = []

    def refuse(route):
        named.append(route.request.headers.get("x-shop"))
        route.fulfill(status=404, body="")

    till.page.route("**/till/pay/*seen=*", refuse)
    look = "document.dispatchEvent(new Event('visibilitychange'))"
    till.page.evaluate(look)
    expect(till.sheet).to_contain_text("This cannot be shown any more")
    till.page.unroute_all(behavior="wait")
    till.page.evaluate(look)

    expect(till.page.locator("[data-trouble]")).to_have_count(0)
    assert named[0] == till.page.evaluate("document.body.dataset.shop")


FRESH_PHONES = itertools.count(700_000_160)
DIALOGS = {
    "sheet": ("Alt+1", "**/till/pay/*method=cash", "#given"),
    "queue": ("F8", re.compile("/till/pay/$"), "#queue-body .queue .btn"),
    "switch": ("F9", "**/till/switch", "#switch-title"),
}


@pytest.fixture(params=DIALOGS)
def not_loaded(request, till, goods):
    """A dialog whose server cannot be reached: its selector, and what it shows then."""
    key, asked, first = DIALOGS[request.param]
    add(till, goods[0])
    if request.param == "queue":
        till.send_to(f"0{next(FRESH_PHONES)}")
        till.expect_state("waiting")
        till.page.locator("#next").click()
        expect(till.page.locator("#pill-button")).to_be_visible()
    till.page.route(asked, lambda route: route.abort())
    till.page.keyboard.press(key)
    yield f"#{request.param}", first
    till.faults.clear()  # htmx told the console what the page told the cashier


def test_dialog_that_could_not_be_loaded_is_loaded_again_by_a_key(till, not_loaded):
    dialog, first = not_loaded
    again = till.page.locator(dialog).get_by_role("button", name="Try again")
    expect(till.page.locator(dialog)).to_contain_text("No connection")
    expect(again).to_be_focused()

    till.page.keyboard.press("Enter")
    till.page.wait_for_timeout(500)
    expect(till.page.locator(dialog)).to_contain_text("No connection")
    expect(again).to_be_focused()
    till.page.unroute_all(behavior="wait")
    till.page.keyboard.press("Enter")

    expect(till.page.locator(dialog).locator(first).first).to_be_visible()
    expect(till.page.locator(dialog)).not_to_contain_text("No connection")


def test_dialog_that_could_not_be_loaded_leads_back_to_the_till(till, not_loaded):
    dialog, _ = not_loaded

    till.page.locator(dialog).get_by_role("button", name="Back to the till").click()

    expect(till.page.locator(dialog)).to_be_hidden()
    expect(till.page.locator("#search")).to_be_visible()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_dialog_that_could_not_be_loaded_can_be_read_and_pressed(
    till, not_loaded, theme, size
):
    dialog, _ = not_loaded
    till.page.emulate_media(color_scheme=theme)
    till.page.set_viewport_size(
        dict(zip(("width", "height"), SIZES[size], strict=True))
    )
    expect(till.page.locator(dialog)).to_contain_text("No connection")

    till.page.evaluate(STILL)
    till.keep(f"not-loaded-{dialog[1:]}-{theme}-{size}")

    assert till.page.evaluate(AUDIT) == []


def test_sheet_that_could_not_be_loaded_comes_by_itself_at_the_next_look(till, goods):
    add(till, goods[0])
    asked = "**/till/pay/*method=cash"
    till.page.route(asked, lambda route: route.fulfill(status=500, body=""), times=1)

    till.page.keyboard.press("Alt+1")
    expect(till.page.locator("#sheet")).to_contain_text("Something broke")
    till.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    till.expect_state("cash")
    expect(till.page.locator("#given")).to_be_focused()
    expect(till.page.locator("#sheet")).not_to_contain_text("Something broke")
    till.faults.clear()  # htmx told the console what the page told the cashier


@contextmanager
def paid_before_it_arrives(till, installation, simulator, phone, asked):
    """What the block asks for was answered before the payment and arrives after it.

    The page looks only when it is told of something, not every few seconds.
    """
    held = []

    def hold(route):
        held.append((route, route.fetch()))

    till.page.route(asked, hold, times=1)
    yield
    till.page.evaluate(
        "() => Object.defineProperty(document, 'hidden', { get: () => true })"
    )
    for _ in range(400):
        till.page.wait_for_timeout(50)
        if held:
            break
    prompt = simulator.wait_for_prompt(phone)
    simulator.answer(prompt["checkoutRequestId"], "pay")
    found = f"select status from payments_payment where phone = '{phone}'"
    wait_until(lambda: rows(installation, found) == [("completed",)], timeout_s=20)
    till.page.wait_for_timeout(1500)  # the page is told of it
    [(route, answer)] = held
    route.fulfill(response=answer)


# Far from the end of the prompt, at which the sheet would look by itself.
SOON_S = 20


def test_look_under_way_does_not_swallow_the_next_one(
    till, goods, installation, simulator
):
    add(till, goods[0])
    till.send_to("0700000112")
    till.expect_state("waiting")

    with paid_before_it_arrives(
        till, installation, simulator, "254700000112", "**/till/pay/*seen=*"
    ):
        till.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    till.expect_state("paid", timeout_s=SOON_S)


def test_button_under_way_does_not_swallow_what_came_meanwhile(
    till, goods, installation, simulator
):
    add(till, goods[0])
    till.send_to("0700000113")
    till.expect_state("waiting")

    with paid_before_it_arrives(
        till, installation, simulator, "254700000113", "**/stop"
    ):
        till.page.locator("#stop").click()

    till.expect_state("paid", timeout_s=SOON_S)


def test_sheet_that_is_being_opened_does_not_swallow_what_came_meanwhile(
    till, goods, installation, simulator
):
    add(till, goods[0])
    till.send_to("0700000114")
    till.expect_state("waiting")
    till.page.go_back()
    expect(till.page.locator("#sheet")).to_be_hidden()

    with paid_before_it_arrives(
        till,
        installation,
        simulator,
        "254700000114",
        re.compile("/till/pay/[0-9a-f-]+$"),
    ):
        till.page.locator("#show").click()

    till.expect_state("paid", timeout_s=SOON_S)


def test_any_mark_in_the_name_of_goods_is_shown_as_it_is(till):
    told = till.page.evaluate(
        """async () => {
          const { word } = await import("/static/orders/words.js");
          return word("onlyLeft", "Omo $& @ #1", "3");
        }"""
    )

    assert told == "Only 3 left of Omo $& @ #1."


def test_back_button_leaves_the_sheet_and_forward_brings_it_back(till, goods):
    add(till, goods[0])
    till.send_to("0700000107")
    till.expect_state("waiting")

    till.page.go_back()
    expect(till.page.locator("#sheet")).to_be_hidden()
    expect(till.page.locator("#show")).to_be_visible()
    till.page.go_forward()

    till.expect_state("waiting")


@pytest.mark.parametrize(
    ("phone", "pressed", "refreshed", "seen"),
    [
        ("0700000142", ".tile", "#search-form", "#lines .line"),
        ("0700000143", "#pill-button", "#pill", "#queue"),
    ],
)
def test_press_is_heard_though_what_is_pressed_is_refreshed(
    till, goods, phone, pressed, refreshed, seen
):
    """Each sale that ends refreshes goods and pill, just when the next one begins."""
    page = till.page
    add(till, goods[0])
    till.send_to(phone)
    till.expect_state("waiting")
    page.locator("#next").click()
    expect(page.locator(seen)).to_be_hidden()
    expect(page.locator("#pill-button")).to_be_visible()

    page.locator("#search").focus()  # which the press takes away
    page.locator(pressed).first.hover()
    page.mouse.down()
    with page.expect_response(lambda answer: answer.ok):
        page.evaluate("where => window.htmx.trigger(where, 'refresh')", refreshed)
    page.wait_for_timeout(300)
    with page.expect_response(lambda answer: answer.ok):  # it is refreshed after all
        page.mouse.up()

    expect(page.locator(seen)).to_be_visible()


def test_sale_that_is_not_there_is_told(till, installation):
    till.page.goto(
        f"{installation.url}/till/?sale=00000000-0000-4000-8000-000000000000"
    )

    expect(till.page.locator("#tell")).to_contain_text("does not exist in your shop")
    expect(till.page.locator("#sheet")).to_be_hidden()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "sw"])
def test_everything_can_be_read_and_pressed(
    till, goods, simulator, language, theme, size
):
    page = till.page
    if language == "sw":
        page.locator("#menu summary").click()
        page.get_by_role("button", name="Kiswahili").click()
        expect(page.locator("html")).to_have_attribute("lang", "sw")
        till.expect_live("on")  # its scripts run, so that a scan is heard
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
    phone = f"0700{hash_of(language, theme, size):04}11"
    faults = {}

    def look(at):
        page.evaluate(STILL)
        if found := page.evaluate(AUDIT):
            faults[at] = found
        till.keep(f"{at}-{language}-{theme}-{size}")

    look("empty till")
    add(till, goods[1])
    look("till")
    page.keyboard.press("Alt+1")
    till.expect_state("cash")
    page.locator("#given").fill("100")
    look("cash")
    page.keyboard.press("Enter")
    till.expect_state("part")
    look("part paid")
    till.send_to(phone)
    till.expect_state("waiting")
    look("waiting")
    page.locator("#stop").click()
    till.expect_state("stopped")
    look("stopped")
    page.locator("#next").click()
    page.locator("#pill-button").click()
    expect(page.locator("#queue .queue .btn").first).to_be_visible()
    look("queue")
    page.locator("#queue .queue .btn").first.click()
    till.expect_state("stopped")
    simulator.answer(
        simulator.prompts("254" + phone[1:])[0]["checkoutRequestId"], "pay"
    )
    till.expect_state("paid")
    look("paid")

    assert faults == {}


def hash_of(*words):
    """A small number that differs between the cases of one test."""
    return sum(ord(letter) * place for place, letter in enumerate("".join(words))) % 899
