"""A browser at the till: real processes, a fresh database, and bounded waits."""

import os
import re
import sqlite3
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.support.authenticator import Authenticator
from tests.support.servers import Installation, WebProcess
from tests.support.simulator import SimulatorProcess


WAIT_MS = 40_000
HARMLESS = re.compile("Failed to load resource|htmx:(afterRequest|sendAbort)")
SIZES = {"1280": (1280, 800), "360": (360, 740)}


@pytest.fixture(scope="session")
def browser():
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
            args=["--no-sandbox"],
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def simulator_process():
    with SimulatorProcess() as process:
        yield process


@pytest.fixture
def simulator(simulator_process):
    """M-Pesa as it is on its first day."""
    simulator_process.reset()
    yield simulator_process
    simulator_process.reset()


def type_into(field: Locator, text: str):
    """Type with keys alone, as soon as the page has put the focus into this field.

    A page that is only just there takes keys before it has put it anywhere.
    """
    expect(field).to_be_focused()
    field.page.keyboard.type(text)


def send(page: Page):
    """Press Enter and wait for the page that answers, though it may look the same."""
    with page.expect_navigation():
        page.keyboard.press("Enter")


def forget(page: Page):
    """End the session in the browser alone.

    A till that is still open would lead to the sign-in page by itself, at any moment.
    """
    page.goto("about:blank")
    page.context.clear_cookies()


def sign_in(page: Page, url: str, person: dict, phone: Authenticator | None = None):
    """Sign somebody in by hand; `phone` shows the code where they have a second step."""
    page.goto(url + "/login")
    page.get_by_label("User name").fill(person["username"])
    page.get_by_label("Password").fill(person["password"])
    page.keyboard.press("Enter")
    if phone is not None:
        page.wait_for_url("**/login/code")
        page.get_by_label("Code").fill(phone.code())
        page.keyboard.press("Enter")
    page.wait_for_url("**/till/")


def set_up_second_step(page: Page, url: str, password: str) -> Authenticator:
    """Turn the second step on for who is signed in; return the phone that has it."""
    page.goto(url + "/second-step")
    page.get_by_label("Your password").fill(password)
    page.keyboard.press("Enter")
    phone = Authenticator(page.locator(".secret").inner_text())
    page.get_by_label("The code that the app shows now").fill(phone.code())
    page.keyboard.press("Enter")
    expect(page.locator(".codes li")).to_have_count(10)
    return phone


class Till:
    """A signed-in cashier's page, and what they do there."""

    def __init__(self, browser: Browser, installation: Installation, role: str):
        self.installation = installation
        self.faults: list[str] = []
        self.context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.context.set_default_timeout(WAIT_MS)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._hear)
        person = installation.demo["shops"][0][role]
        sign_in(self.page, installation.url, person)

    def _hear(self, message):
        # What the policy blocks is told here. A refused request is no fault, nor is a
        # search that the next letter replaced.
        if message.type == "error" and not HARMLESS.match(message.text):
            self.faults.append(message.text)

    @property
    def sheet(self):
        return self.page.locator("#sheet-body")

    def expect_state(self, state: str, *, timeout_s: float = WAIT_MS / 1000):
        expect(self.sheet).to_have_attribute(
            "data-state", state, timeout=timeout_s * 1000
        )

    def expect_live(self, state: str):
        expect(self.page.locator("#live")).to_have_attribute("data-state", state)

    def scan(self, barcode: str):
        """A scanner's keys: 5 ms apart by their own clock, however busy the machine."""
        self.keys(barcode, gap_s=0.005)

    def keys(self, text: str, *, gap_s: float, pause_s: float = 0):
        """Type, then press Enter, with the keys' own times `gap_s` apart.

        `pause_s`: how much later each key really comes, as on a page that is busy.
        """
        devtools = self.context.new_cdp_session(self.page)
        first = time.time() - gap_s * len(text)
        for place, sign in enumerate((*text, "Enter")):
            key = {"key": sign, "timestamp": first + gap_s * place}
            shown = {"text": "\r" if sign == "Enter" else sign}
            if sign == "Enter":
                key |= {"code": "Enter", "windowsVirtualKeyCode": 13}
            devtools.send("Input.dispatchKeyEvent", {"type": "keyDown", **key, **shown})
            devtools.send("Input.dispatchKeyEvent", {"type": "keyUp", **key})
            time.sleep(pause_s)
        devtools.detach()

    def send_to(self, phone: str):
        """Press M-Pesa, type the number, send."""
        self.page.keyboard.press("Alt+2")
        self.page.locator("#phone").fill(phone)
        self.page.keyboard.press("Enter")

    def keep(self, name: str):
        """Keep how it looks now, where SCREENSHOT_DIR says."""
        if folder := os.environ.get("SCREENSHOT_DIR"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            path = f"{folder}/{name}.png"
            # Otherwise it puts a style into the page, which the policy blocks.
            self.page.screenshot(path=path, animations="allow", caret="initial")

    def picture(self, name: str):
        """Keep how it looks in both sizes, by day and by night."""
        if not os.environ.get("SCREENSHOT_DIR"):
            return
        for size, (width, height) in SIZES.items():
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.wait_for_timeout(350)  # the green has finished turning
            self.keep(f"{name}-{size}")
            self.page.emulate_media(color_scheme="dark")
            self.keep(f"{name}-dark-{size}")
            self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size({"width": 1280, "height": 800})


@pytest.fixture
def shop(tmp_path, simulator):
    """Start an installation: `shop(T_PROMPT_S="6")` gives it and its web process."""
    started = []

    def start(**environment: str) -> Installation:
        installation = Installation(
            tmp_path, simulator_url=simulator.url, **environment
        )
        web = WebProcess(installation)
        web.start()
        started.append(web)
        return installation

    yield start
    for web in started:
        web.stop()


@pytest.fixture
def till_of(browser):
    """Open a till: `till_of(installation, role)`; no page may have had a fault."""
    tills = []

    def open_till(installation: Installation, role: str = "cashier") -> Till:
        tills.append(Till(browser, installation, role))
        return tills[-1]

    yield open_till
    faults = [fault for till in tills for fault in till.faults]
    for till in tills:
        till.context.close()
    assert faults == [], "\n".join(faults)


@pytest.fixture
def virtual_phone(simulator):
    """Open the simulated phone of a number beside a till."""

    def open_phone(till: Till, msisdn: str) -> Page:
        page = till.context.new_page()
        page.goto(f"{simulator.url}/phone/{msisdn}")
        return page

    return open_phone


def rows(installation: Installation, query: str) -> list[tuple]:
    """Read the installation's database behind its back."""
    with sqlite3.connect(installation.folder / "shop.sqlite3", timeout=20) as database:
        found = database.execute(query).fetchall()
    database.close()
    return found
