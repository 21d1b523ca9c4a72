"""Every answer has the security headers, whoever gave it and whatever went wrong."""

import pytest
from django.db import DatabaseError
from django.test import Client

from orders import till
from smartduka import health


POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " font-src 'self'; media-src 'self'; manifest-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
WANTED = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
    ),
}


def parts(policy):
    return sorted(part.strip() for part in policy.split(";"))


def check(response, status, **more):
    if response.streaming:
        response.close()  # a file
    assert response.status_code == status
    wanted = WANTED | {name.replace("_", "-"): value for name, value in more.items()}
    found = {name: response.headers.get(name, "") for name in wanted}
    policy = "Content-Security-Policy"
    assert parts(found.pop(policy)) == parts(wanted.pop(policy))
    assert found == wanted


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/login", 200), ("/", 302), ("/admin", 302), ("/nothing", 404), ("/healthz", 200),
        ("/readyz", 200), ("/api/nothing", 404), ("/api/orders", 401), ("/api/docs", 200),
        ("/api/schema", 200), ("/hooks/stk/0000", 405), ("/static/smartduka/base.css", 200),
        ("/static/admin_theme/tables.js", 200), ("/static/smartduka/icons.svg", 200),
        ("/static/admin/css/base.css", 200), ("/static/nothing.css", 404),
    ],
)  # fmt: skip
def test_answer_has_them(client, path, status):
    check(client.get(path), status)


@pytest.mark.django_db
def test_pages_behind_a_login_have_them(alice, operator):
    for path in ("/admin/", "/admin/payments/payment/", "/admin/doctor/"):
        check(operator.get(path), 200)
    check(operator.client.post("/admin/payments/payment/add/"), 403)
    check(alice.get("/till/"), 200)


@pytest.mark.django_db
def test_refused_forms_and_bad_tokens_have_them():
    client = Client(enforce_csrf_checks=True)

    check(client.post("/login", {"username": "x"}), 403)
    check(client.post("/hooks/stk/0000", b"{}", content_type="text/plain"), 403)


def test_foreign_host_has_them(client):
    check(client.get("/login", headers={"host": "evil.example.com"}), 400)


@pytest.mark.django_db
def test_errors_of_ours_have_them(alice, client, monkeypatch):
    def break_down(*args, **kwargs):
        raise DatabaseError("the database is away")

    monkeypatch.setitem(health.PROBES, "database", break_down)
    check(client.get("/readyz"), 503)

    client.raise_request_exception = alice.client.raise_request_exception = False
    monkeypatch.setattr(till, "_shelf", break_down)
    check(alice.get("/till/products"), 500)


def test_redirect_to_https_has_them(client, settings):
    settings.SECURE_SSL_REDIRECT = True

    check(client.get("/login"), 301)
    check(client.get("/login", headers={"host": "evil.example.com"}), 400)


@pytest.mark.django_db
def test_https_is_remembered_also_by_files_and_errors(client, settings):
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 3600
    remembered = {"Strict_Transport_Security": "max-age=3600"}

    for path, status in (
        ("/login", 200), ("/static/smartduka/base.css", 200), ("/nothing", 404),
    ):  # fmt: skip
        check(client.get(path, secure=True), status, **remembered)
    host = {"host": "evil.example.com"}
    check(client.get("/login", secure=True, headers=host), 400, **remembered)
    assert "Strict-Transport-Security" not in client.get("/healthz").headers


@pytest.mark.django_db
@pytest.mark.parametrize(("debug", "has_policy"), [(True, False), (False, True)])
def test_pages_for_developers_keep_their_styles(client, settings, debug, has_policy):
    settings.DEBUG = debug

    answer = client.get("/nothing")

    assert ("Content-Security-Policy" in answer.headers) is has_policy


def test_nothing_stands_outside_it(settings):
    assert settings.MIDDLEWARE[0] == "smartduka.lib.headers.HeadersMiddleware"
