"""Whether the proxies before the server are as many as it believes.

Believing too few makes every caller look like the proxy; believing too many lets a
caller write an address of their own. See smartduka/lib/net.py.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest

from payments.doctor.findings import Finding, Who
from payments.enums import Health
from payments.models import Notice
from smartduka.lib import net


SETTING = "Set TRUSTED_PROXY_COUNT to the number of proxies of yours that a call passes"
RESTART = ", and restart the web processes."


@dataclass(frozen=True, slots=True)
class Seen:
    """How the request of the person who asked the doctor came in."""

    peer: str
    hops: tuple[str, ...]
    is_secure: bool


def seen(request: HttpRequest) -> Seen:
    """Return what the headers of a request show of the proxies it passed."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    hops = tuple(hop.strip() for hop in forwarded.split(",") if hop.strip())
    peer = net.plain_address(request.META.get("REMOTE_ADDR", "") or "")
    return Seen(peer, hops, request.is_secure())


def finding(came: Seen | None) -> Finding:
    """Compare TRUSTED_PROXY_COUNT with what the request showed.

    Without a request, on the command line, with what the last message of M-Pesa's did.
    """
    return _of_notices() if came is None else _of_request(came)


def _of_request(came: Seen) -> Finding:
    believed, there = settings.TRUSTED_PROXY_COUNT, len(came.hops)
    told = f"Believed: {_proxies(believed)}. Your own call shows {_proxies(there)}."
    if believed > there:
        words = f"{told} Addresses of callers cannot be told."
        return _finding(Health.BROKEN, words, SETTING + RESTART)
    if believed == 0 and there and not _is_public(came.peer):
        words = f"{told} Every caller looks like the proxy {came.peer}."
        return _finding(Health.BROKEN, words, SETTING + RESTART)
    hop = net.plain_address(came.hops[-believed]) if believed else ""
    if there > believed and hop and not _is_public(hop):
        words = f"{told} The caller would be {hop}, which is a machine of yours."
        return _finding(Health.BROKEN, words, SETTING + RESTART)
    if there > believed:
        words = f"{told} The rest may be written by anybody, or a proxy of yours."
        return _finding(Health.LOOK, words, f"Count your proxies. {SETTING}.")
    if _wants_https() and not came.is_secure:
        words = f"{told} But none says that the call came over HTTPS."
        remedy = "Have the outermost proxy send X-Forwarded-Proto."
        return _finding(Health.BROKEN, words, remedy)
    return _finding(Health.FINE, told)


def _of_notices() -> Finding:
    believed = f"Believed: {_proxies(settings.TRUSTED_PROXY_COUNT)}."
    newest = (
        Notice.objects.filter(address__isnull=False)
        .order_by("-pk")
        .values_list("address", flat=True)
        .first()
    )
    if newest is None or settings.MPESA_ENV == "simulator":
        words = f"{believed} Only a call through them can show how many there are."
        remedy = (
            "Press Check now on this page of the admin, through the public address."
        )
        return _finding(Health.UNKNOWN, words, remedy)
    if not _is_public(newest):
        words = f"{believed} The last message seemed to come from {newest}: a proxy."
        return _finding(Health.BROKEN, words, SETTING + RESTART)
    words = f"{believed} The last message came from the public address {newest}."
    return _finding(Health.FINE, words)


def _proxies(count: int) -> str:
    return {0: "no proxy", 1: "1 proxy"}.get(count, f"{count} proxies")


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def _wants_https() -> bool:
    return urlsplit(settings.MPESA_CALLBACK_URL).scheme == "https"


def _finding(health: Health, words: str, remedy: str = "") -> Finding:
    name = "Proxies before the server"
    return Finding("proxies", name, health, words, remedy, Who.OPERATOR)
