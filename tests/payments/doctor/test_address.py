"""The address that M-Pesa calls: its rules, and whether it answers."""

import socket

import pytest

from payments.doctor import address
from payments.models import Notice
from smartduka.lib import clock
from tests.payments.doctor.conftest import BROKEN, FINE, LOOK, UNKNOWN, state


pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("environment", "url", "health", "words"),
    [
        ("simulator", "http://127.0.0.1:8000", FINE, "Practice mode"),
        ("simulator", "http://127.0.0.1/mpesa", BROKEN, "It contains 'mpesa'"),
        ("sandbox", "https://duka.example.co.ke", FINE, "https://duka.example.co.ke"),
        ("sandbox", "http://duka.example.co.ke", LOOK, "It is not HTTPS: the sandbox"),
        ("production", "https://duka.example.co.ke", FINE, "https://duka"),
        ("production", "http://duka.example.co.ke", BROKEN, "It is not HTTPS: M-Pesa"),
        (
            "production",
            "https://duka.example.co.ke/Query",
            BROKEN,
            "It contains 'query",
        ),
        ("production", "https://sqlduka.co.ke", BROKEN, "It contains 'sql'"),
        ("production", "https://a.ngrok.io", BROKEN, "It is at a ngrok host"),
        ("production", "https://192.168.1.4", BROKEN, "192.168.1.4 is not public"),
        ("production", "https://duka.local", BROKEN, "duka.local is not public"),
        ("production", "https://duka", BROKEN, "duka is not public"),
        ("production", "https://41.90.1.1", LOOK, "It is a bare IP address"),
        ("production", "https://duka.example.co.ke:8443", LOOK, "It has a port of its"),
    ],
)
def test_address_keeps_mpesas_rules(settings, environment, url, health, words):
    settings.MPESA_ENV, settings.MPESA_CALLBACK_URL = environment, url
    settings.ALLOWED_HOSTS = ["*"]

    finding = address.rules()

    assert state(finding) == health
    assert finding.words.startswith(words)


def test_host_that_we_turn_away_ourselves_is_broken(settings):
    settings.MPESA_CALLBACK_URL = "http://127.0.0.2:8000"
    settings.ALLOWED_HOSTS = ["127.0.0.1"]

    assert "ALLOWED_HOSTS does not name 127.0.0.2" in address.rules().words
    assert state(address.rules()) == BROKEN


def test_address_that_answers_is_fine_for_the_simulator(server, settings):
    settings.MPESA_CALLBACK_URL = server.url

    assert state(address.reach()) == FINE


def test_only_a_message_of_mpesas_proves_that_it_gets_through(
    server, settings, account
):
    settings.MPESA_CALLBACK_URL, settings.MPESA_ENV = server.url, "sandbox"
    kept = Notice.objects.create(
        body=b"", received_at=clock.now(), address="203.0.113.7", address_is_listed=True
    )
    assert state(address.reach()) == UNKNOWN

    Notice.objects.filter(pk=kept.pk).update(account=account)
    assert state(address.reach()) == FINE
    Notice.objects.filter(pk=kept.pk).update(address_is_listed=False)
    assert state(address.reach()) == UNKNOWN


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (301, b"", "leads elsewhere"),
        (404, b"nothing", "not as this installation does (HTTP 404)"),
        (200, b"Welcome to nginx!", "not as this installation does (HTTP 200)"),
    ],
)
def test_address_where_something_else_answers_is_broken(
    server, settings, status, body, words
):
    settings.MPESA_CALLBACK_URL = server.url
    server.status, server.body, server.headers = status, body, {"Location": "/login"}

    finding = address.reach()

    assert (state(finding), words in finding.words) == (BROKEN, True)


@pytest.mark.parametrize(
    ("status", "words"), [(301, "leads elsewhere"), (404, "(HTTP 404)")]
)
def test_hooks_that_are_sent_elsewhere_are_broken(server, settings, status, words):
    settings.MPESA_CALLBACK_URL = server.url
    server.hook = (status, b"")

    finding = address.reach()

    assert (state(finding), words in finding.words) == (BROKEN, True)


def test_hook_answers_a_look_and_keeps_nothing(live_server, settings):
    settings.MPESA_CALLBACK_URL = live_server.url

    assert state(address.reach()) == FINE
    assert Notice.objects.count() == 0


def test_address_that_cannot_see_itself_is_looked_at_from_outside(settings, nowhere):
    settings.MPESA_CALLBACK_URL = nowhere

    assert state(address.reach()) == LOOK
    assert f"{nowhere}/healthz" in address.reach().remedy


def test_name_that_leads_nowhere_is_broken(settings, monkeypatch):
    settings.MPESA_CALLBACK_URL = "https://duka.example.co.ke"

    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    assert state(address.reach()) == BROKEN
    assert "duka.example.co.ke leads nowhere" in address.reach().words


def test_certificate_of_nobody_is_broken(settings, self_signed):
    settings.MPESA_CALLBACK_URL = self_signed.url

    finding = address.reach()

    assert state(finding) == BROKEN
    assert "certificate" in finding.words
