"""How money and phones are written on a page: the project's one filter library."""

from __future__ import annotations

from decimal import Decimal

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from shops.words import sentence
from smartduka.lib import money, phone


register = template.Library()
register.filter("sentence", sentence)


@register.filter
def format_kes(amount: Decimal | int) -> str:
    """Return `KES 1,500`."""
    return money.format_kes(amount)


@register.filter
def format_amount(amount: Decimal | int) -> str:
    """Return `1,500`: for columns that say KES once."""
    return money.format_kes(amount).removeprefix("KES ")


@register.filter
def cents(amount: Decimal) -> int:
    """Return an amount in cents, as scripts count."""
    return int(amount * 100)


@register.filter
def masked_phone(msisdn: str) -> str:
    """Return `0712 ••• 678`."""
    return phone.masked(msisdn)


@register.filter
def minutes(seconds: int) -> int:
    """Return the whole minutes in so many seconds."""
    return int(seconds) // 60


@register.filter
def unsigned(amount: Decimal) -> Decimal:
    """Return an amount without its sign."""
    return abs(amount)


@register.filter
def said(text: str) -> str:
    """Return a fixed sentence that was stored in English in the page's language."""
    return gettext(text) if text else ""


@register.filter
def countdown(seconds: int) -> str:
    """Return `0:43`."""
    minutes, rest = divmod(max(int(seconds), 0), 60)
    return f"{minutes}:{rest:02}"


@register.simple_tag
def icon(name: str) -> SafeString:
    """Draw one of the icons of `static/smartduka/icons.svg`; silent to readers."""
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false">'
        '<use href="{}#{}"></use></svg>',
        static("smartduka/icons.svg"),
        name,
    )
