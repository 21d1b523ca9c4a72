"""How money, times, states and people are written in the books."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from smartduka.lib import clock
from smartduka.lib.money import format_kes


NOTHING = mark_safe('<span class="none">–</span>')  # noqa: RUF001 -- a dash of ours
GOOD, WAIT, BAD, QUIET = "good", "wait", "bad", "quiet"


def kes(amount: Decimal | None) -> SafeString:
    """Return `KES 1,500`, in digits of one width."""
    if amount is None:
        return NOTHING
    return format_html('<span class="money">{}</span>', format_kes(amount))


def moment(at: datetime | None) -> SafeString:
    """Return a time in Nairobi, to the second; without the year while it lasts."""
    if at is None:
        return NOTHING
    local = timezone.localtime(at)
    this_year = timezone.localtime(clock.now()).year
    pattern = "j M, H:i:s" if local.year == this_year else "j M Y, H:i:s"
    return format_html(
        '<time datetime="{}">{}</time>',
        local.isoformat(timespec="seconds"),
        date_format(local, pattern),
    )


def pill(words: object, tone: str) -> SafeString:
    """Return a state as a coloured word; the word alone says it too."""
    return format_html('<span class="pill {}">{}</span>', tone, words)


def state(row: Any, on: str, off: str) -> SafeString:
    """Say in words what a tick would leave to be guessed."""
    return pill(on, GOOD) if row.is_active else pill(off, QUIET)


def code(text: str | None) -> SafeString:
    """Return a receipt or an id in letters that cannot be mixed up."""
    return format_html('<span class="code">{}</span>', text) if text else NOTHING


def person(user: Any) -> str:
    """Return who did it; nobody means that a machine did."""
    return str(user) if user is not None else NOTHING


def page(name: str, key: object, words: object) -> SafeString:
    """Return a link to the page of a row; `name` is `app_model`."""
    address = reverse(f"admin:{name}_change", args=[key])
    return format_html('<a href="{}">{}</a>', address, words)
