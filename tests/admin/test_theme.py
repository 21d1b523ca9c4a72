"""The books look like SmartDuka, and work under the strict policy."""

import pytest
from django.contrib.staticfiles import finders

from tests.admin.conftest import MODELS
from tests.pages.test_strict_pages import Faults


@pytest.fixture
def pages(operator, ours, theirs):
    """Every page of the books, by address."""
    paths = ["", "password_change/", "shops/product/nothing/change/"]
    paths += [f"{model}/" for model in MODELS]
    paths += [
        f"{model}/add/"
        for model in (
            "payments/mpesasettings", "shops/product", "shops/membership", "shops/shop",
            "auth/user",
        )
    ]  # fmt: skip
    for model, row in theirs.by_path.items():
        paths += [f"{model}/{row.pk}/change/", f"{model}/{row.pk}/history/"]
    paths.append(f"shops/product/{theirs.product.pk}/stock/")
    paths.append(f"auth/user/{theirs.user.pk}/password/")
    return {path: operator.get(f"/admin/{path}") for path in paths}


def test_pages_have_nothing_inline_and_every_file_is_there(pages):
    for path, response in pages.items():
        faults = Faults()
        faults.feed(response.content.decode())

        assert faults.found == [], path
        for file in faults.files:
            if file in ("", "/admin/jsi18n/") or file.startswith("#"):
                continue
            assert file.startswith("/static/"), f"{path}: {file}"
            name = file.removeprefix("/static/").split("#")[0]
            assert finders.find(name), f"{path}: {file} is not there"


def test_policy_is_sent_with_every_page(pages):
    for path, response in pages.items():
        policy = response.headers["Content-Security-Policy"]

        assert "script-src 'self'" in policy, path
        assert "unsafe" not in policy, path


def test_pages_wear_our_look(pages):
    for path, response in pages.items():
        text = response.content.decode()
        if response.status_code == 404:
            continue
        assert response.status_code == 200, path
        assert "/static/admin_theme/admin.css" in text, path
        assert text.index("admin/css/base.css") < text.index("admin_theme/admin.css")
        assert text.index("smartduka/tokens.css") < text.index("admin_theme/admin.css")
        assert "SmartDuka" in text, path
        assert "Django" not in text.split("<body")[1], path


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ("simulator", "Practice mode: no real money moves."),
        ("sandbox", "Sandbox: M-Pesa&#x27;s test money."),
        ("production", None),
    ],
)
def test_environment_stands_on_top(alice, settings, environment, words):
    settings.MPESA_ENV = environment
    text = alice.get("/admin/").content.decode()

    assert ('class="environment"' in text) is (words is not None)
    if words:
        assert words.replace("&#x27;", "'") in text.replace("&#x27;", "'")
