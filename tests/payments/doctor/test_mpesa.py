"""M-Pesa as it is reached from here, its clock, and how long a look takes."""

import socket
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from django.db import transaction

from payments.doctor import mpesa, wire
from tests.payments.doctor.conftest import BROKEN, FINE, LOOK, UNKNOWN, by_key, state


pytestmark = pytest.mark.django_db


def test_real_simulator_answers_and_its_clock_is_ours(simulator):
    assert by_key(mpesa.findings()) == {"mpesa": FINE, "clock": FINE}


@pytest.mark.parametrize(
    ("off_s", "health", "words"),
    [
        (0, FINE, "The server's clock agrees with M-Pesa's."),
        (-8, FINE, "The server's clock agrees with M-Pesa's."),
        (60, LOOK, "The server's clock is 60 seconds behind M-Pesa's."),
        (-3600, BROKEN, "The server's clock is 60 minutes ahead of M-Pesa's. M-Pesa"),
        (3 * 3600, BROKEN, "The server's clock is 3 hours behind M-Pesa's. M-Pesa"),
    ],
)
def test_clock_is_compared_with_mpesas(server, settings, off_s, health, words):
    settings.MPESA_BASE_URL = server.url
    theirs = datetime.now(UTC) + timedelta(seconds=off_s)
    server.date = format_datetime(theirs, usegmt=True)

    clock_finding = mpesa.findings()[1]

    assert state(clock_finding) == health
    assert clock_finding.words.startswith(words[:38])


@pytest.mark.parametrize("date", [None, "yesterday", "Fri, 20 Nov 2026 09:00:00 -0000"])
def test_clock_that_is_not_told_is_not_compared(server, settings, date):
    settings.MPESA_BASE_URL, server.date = server.url, date

    assert by_key(mpesa.findings()) == {"mpesa": FINE, "clock": UNKNOWN}


def test_mpesa_that_does_not_answer_is_broken(settings, nowhere):
    settings.MPESA_BASE_URL = nowhere

    assert by_key(mpesa.findings()) == {"mpesa": BROKEN, "clock": UNKNOWN}


def test_edge_that_blocks_us_is_told(server, settings):
    settings.MPESA_BASE_URL, server.status = server.url, 403

    assert by_key(mpesa.findings())["mpesa"] == LOOK


# One look is bounded, whatever is at the other end.


def test_name_service_that_hangs_does_not_hang_us(monkeypatch):
    released, answers = threading.Event(), []
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *a, **k: answers.append(released.wait(10))
    )

    with pytest.raises(wire.Unreached):
        wire.look("http://slow.example.co.ke", limit_s=0.2)

    assert answers == []
    released.set()


def test_nobody_is_asked_inside_a_transaction(server):
    with transaction.atomic(), transaction.atomic(), pytest.raises(RuntimeError):
        wire.look(server.url)
