"""The API's description: valid, and its page made of our own files alone."""

import re

import pytest
from django.core.management import call_command


pytestmark = pytest.mark.django_db


def test_schema_is_valid_and_free_of_warnings(capsys):
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", "/dev/null")


def test_schema_is_served_without_signing_in(client):
    response = client.get("/api/schema", headers={"Accept": "application/json"})

    assert response.status_code == 200
    schema = response.json()
    assert schema["openapi"].startswith("3.")
    state = schema["components"]["schemas"]["State"]["properties"]
    assert list(state) == [
        "transactionId", "orderId", "orderNumber", "method", "status", "amount",
        "phoneNumber", "checkoutRequestId", "mpesaReceiptNumber", "resultCode",
        "resultDesc", "errorCode", "message", "retryable", "undecided", "canResendAt",
        "expiresAt", "completedAt", "orderStatus",
    ]  # fmt: skip


def test_docs_page_needs_nothing_but_our_own_files(client):
    page = client.get("/api/docs")

    assert page.status_code == 200
    html = page.content.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>", html)
    assert not re.search(r"<style\b|\sstyle=|\son[a-z]+=", html)
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)""", html)
    assert addresses
    for address in addresses:
        assert address.startswith(("/", "data:")), address
        if address.startswith("/"):
            found = client.get(address)
            assert found.status_code == 200, address
            found.close()
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
