"""The Content-Security-Policy holds: nothing inline, nothing foreign, on any page."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from payments.enums import FailureReason, PaymentStatus
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory, ProductFactory


ROOT = Path(__file__).resolve().parents[2]


class Faults(HTMLParser):
    """Collects what a strict policy would block, and the files a page needs."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.files = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "style" or (tag == "script" and not values.get("src")):
            self.found.append(f"inline <{tag}>")
        for name, value in attrs:
            if name == "style" or name.startswith(("on", "hx-on")):
                self.found.append(f"{tag} {name}")
            if name == "hx-vals" or (value or "").strip().startswith(
                ("javascript:", "js:")
            ):
                self.found.append(f"{tag} {name}={value}")
        if tag in ("script", "link", "img", "use"):
            self.files.append(values.get("src") or values.get("href") or "")


@pytest.fixture
def pages(bob, mary, db):
    """Every page and fragment of the till, by address."""
    ProductFactory(shop=bob.shop)
    fresh, waiting, failed = (OrderFactory(shop=bob.shop, total=250) for _ in range(3))
    PaymentFactory(order=waiting)
    PaymentFactory(
        order=failed,
        status=PaymentStatus.FAILED,
        failure_reason=FailureReason.WRONG_PIN,
        result_code="2001",
        may_retry=True,
        decided_at=clock.now(),
    )
    paths = ["/till/", "/till/shops", "/till/products", "/till/pay/", "/till/pay/pill"]
    paths += [f"/till/pay/{order.pk}" for order in (fresh, waiting, failed)]
    methods = ("cash", "code", "cancel")
    paths += [f"/till/pay/{fresh.pk}?method={method}" for method in methods]
    paths += [f"/till/pay/{waiting.pk}/receipt", "/nothing"]
    found = {path: bob.client.get(path) for path in paths}
    code = bob.client.post(f"/till/pay/{fresh.pk}/code", {"text": "UAE5B2K9QT"})
    sort = mary.client.get("/till/pay/sort")
    by_hand = {"/till/pay/code": code, "/till/pay/sort": sort}
    return found | by_hand | {"/login": Client().get("/login")}


def test_pages_have_nothing_inline_and_nothing_foreign(pages):
    for path, response in pages.items():
        faults = Faults()
        faults.feed(response.content.decode())

        assert faults.found == [], path
        for file in faults.files:
            assert file.startswith("/static/"), f"{path}: {file}"
            name = file.removeprefix("/static/").split("#")[0]
            assert finders.find(name), f"{path}: {file} is not there"


def test_policy_is_sent_with_every_page(pages):
    for path, response in pages.items():
        policy = response.headers["Content-Security-Policy"]

        assert "script-src 'self'" in policy, path
        assert "unsafe" not in policy, path


def test_stylesheets_fetch_nothing_and_scripts_import_only_ours():
    for sheet in (ROOT / "static").rglob("*.css"):
        assert not re.search(r"@import|url\(", sheet.read_text()), sheet
    for script in (ROOT / "static" / "orders").glob("*.js"):
        source = script.read_text()
        imported = re.findall(r'from "([^"]+)"', source)
        assert all((script.parent / name).is_file() for name in imported), script
        assert not re.search(r"\beval\(|new Function|https?://", source), script


def test_icons_that_templates_use_are_drawn():
    drawn = set(
        re.findall(
            r'<symbol id="(\w+)"', (ROOT / "static/smartduka/icons.svg").read_text()
        )
    )
    used = {
        name
        for template in (ROOT / "templates").rglob("*.html")
        for name in re.findall(r'{% icon "(\w+)" %}', template.read_text())
    }

    assert used
    assert used <= drawn
