import io
import logging
import sys

import pytest
from daphne.access import AccessLogGenerator
from django.test import RequestFactory
from django.views.debug import technical_500_response

from smartduka.lib.redaction import LineFormatter, redact_access_log, redacted


TOKEN = "9f" * 40


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"POST /hooks/stk/{TOKEN} 200", "POST /hooks/stk/[token] 200"),
        (f"http://d.ke/hooks/stk/{TOKEN}?a=1", "http://d.ke/hooks/stk/[token]?a=1"),
        ("GET /join/aB3_-x HTTP", "GET /join/[token] HTTP"),
        ("/ws/shop/?shop=1&ticket=abc.def", "/ws/shop/?shop=1&ticket=[secret]"),
        ("Authorization: Bearer a.b-c", "Authorization: Bearer [secret]"),
        ("Basic c2ltOnNpbQ==", "Basic [secret]"),
        ("phone 254708374149", "phone 2547…149"),
        ("phone +254110374149.", "phone +2541…149."),
        ("phone 0708374149", "phone 07…149"),
        ("ws_CO_14012026093015482708374149", "ws_CO_14012026093015482…149"),
        ("order 1234567890123 of 20260114093031", None),
        ("receipt UAE5B2K9QT, KES 1500", None),
    ],
)
def test_secrets_and_phones_leave_a_line(line, expected):
    assert redacted(line) == (line if expected is None else expected)


def formatted(message, *args, exc_info=None):
    record = logging.LogRecord("x", logging.INFO, "f", 1, message, args, exc_info)
    return LineFormatter("%(levelname)s %(message)s").format(record)


def test_message_is_one_line_and_redacted_after_its_arguments():
    line = formatted("paid by %s\nERROR forged", "254708374149")

    assert line == "INFO paid by 2547…149\\nERROR forged"


def test_traceback_is_redacted():
    try:
        raise ValueError("no such phone: 254708374149")
    except ValueError as error:
        line = formatted("broken", exc_info=(ValueError, error, error.__traceback__))

    assert "254708374149" not in line
    assert "no such phone: 2547…149" in line


def test_access_log_of_the_server_is_redacted():
    redact_access_log()
    redact_access_log()
    stream = io.StringIO()

    AccessLogGenerator(stream)(
        "http",
        "complete",
        {
            "client": "1.1.1.1:5",
            "method": "POST",
            "path": f"/hooks/stk/{TOKEN}",
            "status": 200,
            "size": 9,
            "time": 0.01,
        },
    )

    assert '"POST /hooks/stk/[token]" 200 9' in stream.getvalue()
    assert TOKEN not in stream.getvalue()


@pytest.mark.parametrize("is_debug", [False, True])
def test_error_page_shows_where_it_broke_and_no_value(settings, is_debug):
    settings.DEBUG = is_debug
    request = RequestFactory().post("/x", {"anything": "sent" * 3})
    name = "kept" * 3
    try:
        raise RuntimeError(len(name))
    except RuntimeError:
        page = technical_500_response(request, *sys.exc_info()).content.decode()

    assert {"test_redaction.py" in page, "anything" in page} == {True}
    assert {name in page, "sent" * 3 in page} == {False}
