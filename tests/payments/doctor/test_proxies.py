"""Proxies: as many as are believed."""

import pytest

from payments.doctor import proxies
from payments.doctor.proxies import Seen
from payments.models import Notice
from smartduka.lib import clock
from tests.payments.doctor.conftest import BROKEN, FINE, LOOK, UNKNOWN, state


pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("believed", "came", "health"),
    [
        (0, Seen("41.90.1.1", (), False), FINE),
        (0, Seen("127.0.0.1", ("41.90.1.1",), False), BROKEN),
        (0, Seen("41.90.1.1", ("10.0.0.1",), False), LOOK),
        (1, Seen("127.0.0.1", ("41.90.1.1",), True), FINE),
        (1, Seen("127.0.0.1", (), False), BROKEN),
        (2, Seen("127.0.0.1", ("41.90.1.1",), True), BROKEN),
        (1, Seen("127.0.0.1", ("41.90.1.1", "10.0.0.1"), True), BROKEN),
        (1, Seen("127.0.0.1", ("41.90.1.1", "104.16.0.1"), True), LOOK),
        (1, Seen("127.0.0.1", ("41.90.1.1",), False), BROKEN),
    ],
    ids=[
        "none", "one unknown", "header of a caller", "one", "none there", "too many",
        "one more of ours", "one more of somebody's", "no scheme",
    ],
)  # fmt: skip
def test_proxies_are_those_that_are_believed(settings, believed, came, health):
    settings.TRUSTED_PROXY_COUNT = believed
    settings.MPESA_CALLBACK_URL = (
        "https://duka.example.co.ke" if believed else "http://127.0.0.1:8000"
    )

    assert state(proxies.finding(came)) == health


def test_headers_of_a_call_are_read(rf):
    request = rf.get("/", HTTP_X_FORWARDED_FOR="1.2.3.4, 5.6.7.8", REMOTE_ADDR="::1")

    assert proxies.seen(request) == Seen("::1", ("1.2.3.4", "5.6.7.8"), False)


@pytest.mark.parametrize(
    ("caller", "health"), [(None, UNKNOWN), ("10.0.0.1", BROKEN), ("41.90.1.1", FINE)]
)
def test_without_a_call_the_last_message_shows_the_proxies(settings, caller, health):
    settings.MPESA_ENV = "sandbox"
    if caller:
        Notice.objects.create(body=b"", received_at=clock.now(), address=caller)

    assert state(proxies.finding(None)) == health
