"""The go-live doctor in a real browser: pressed, read at night on a phone, copied."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SIZES, WAIT_MS
from tests.browser.test_books import pale


pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
WRONG_PASSKEY = """
from payments.models import MpesaAccount
account = MpesaAccount.objects.get(shortcode="600200")
account.passkey = "wrong" * 8
account.save()
"""


def test_owner_finds_what_is_wrong_and_what_to_send(shop, browser):
    installation = shop()
    installation.manage("shell", "-c", WRONG_PASSKEY)
    login = installation.demo["shops"][1]["owner"]
    width, height = SIZES["360"]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark",
        permissions=["clipboard-read", "clipboard-write"],
    )  # fmt: skip
    context.set_default_timeout(WAIT_MS)
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{installation.url}/login?next=/admin/")
    page.get_by_label("User name").fill(login["username"])
    page.get_by_label("Password").fill(login["password"])
    page.keyboard.press("Enter")
    page.on("console", lambda said: said.type == "error" and faults.append(said.text))

    page.get_by_role("link", name="Go-live doctor").first.click()
    expect(page.get_by_text("Not checked yet")).to_be_visible()
    page.get_by_role("button", name="Check now").click()

    passkey = page.locator("#passkey")
    expect(passkey).to_contain_text("The passkey does not fit 600200.")
    expect(page.locator("#keys")).to_contain_text("Fine")
    expect(page.locator("#reach")).to_contain_text("answers when this server asks")
    passkey.locator("summary").click()
    passkey.get_by_role("button", name="Copy the text").click()
    expect(passkey.get_by_role("button")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert (
        "Subject: Please send our passkey for M-Pesa Express (paybill 600200)" in copied
    )
    assert "wrong" not in copied
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert list(pale(page)) == []
    assert faults == []
    context.close()
