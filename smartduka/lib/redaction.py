"""Keeps hook tokens, tickets, bearer tokens and phone numbers out of logs.

It works on the finished line, whoever wrote it: ours, Django's, a library's, a
traceback. Law 10 of the money laws: a hook token is a secret like a password.
"""

from __future__ import annotations

import logging
import re
from collections.abc import ItemsView
from types import FrameType, TracebackType
from typing import Any

from daphne.access import AccessLogGenerator
from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter


RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(/hooks/[a-z0-9-]+/)[^\s/?\"']+"), r"\1[token]"),
    (re.compile(r"(/join/)[^\s/?\"']+"), r"\1[token]"),
    (re.compile(r"\b(ticket|token|access|refresh)=[^\s&\"']+"), r"\1=[secret]"),
    (re.compile(r"\b(Bearer|Basic) [A-Za-z0-9._~+/=-]+"), r"\1 [secret]"),
    # Daraja's own ids end in the payer's number.
    (re.compile(r"\b(ws_CO_\d{15,17})\d{6}(\d{3})(?!\d)"), r"\1…\2"),
    (re.compile(r"(?<!\d)(\+?254|0)([17])\d{5}(\d{3})(?!\d)"), r"\1\2…\3"),
)
# A phone number as people group it; the rules above know those without blanks.
GROUPED = re.compile(
    r"(?<!\d)(?:\+?254|0)[ .-]?([17]\d{2})[ .-]?\d{3}[ .-]?(\d{3})(?!\d)"
)


def anonymous(text: str) -> str:
    """Return a text of somebody else's without phone numbers and secrets."""
    return GROUPED.sub(r"0\1 ••• \2", redacted(text))


def redacted(line: str) -> str:
    for pattern, replacement in RULES:
        line = pattern.sub(replacement, line)
    return line


class LineFormatter(logging.Formatter):
    """Writes one line per message, redacted; a traceback follows it.

    Line breaks inside the message are escaped: what comes from outside must not
    look like another entry.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the base class's name
        line = super().formatMessage(record)
        return line.replace("\r", "\\r").replace("\n", "\\n")

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class ErrorPages(SafeExceptionReporterFilter):
    """Keeps the values of variables out of error pages and mails, with DEBUG too.

    Deep in a call to M-Pesa any of them may hold a key, a token or a password, under
    whatever name a library gave it; the lines of code that failed are enough.
    """

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        """Say which fields were sent, and nothing of what was in them."""
        sent = () if request is None else request.POST
        return dict.fromkeys(sent, self.cleansed_substitute)

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType | TracebackType
    ) -> ItemsView[str, Any]:
        nothing: dict[str, Any] = {}
        return nothing.items()


def redact_access_log() -> None:
    """Make Daphne's access log go through the same rules; safe to call twice.

    That log is written to a stream without the logging module, so no filter of ours
    would see it; it carries paths, and ours can carry tokens.
    """
    plain_write = AccessLogGenerator.write_entry
    if plain_write.__module__ == __name__:
        return

    def write_entry(
        self: AccessLogGenerator, *, request: str, **details: object
    ) -> None:
        plain_write(self, request=redacted(request), **details)

    AccessLogGenerator.write_entry = write_entry
