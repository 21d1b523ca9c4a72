"""Where M-Pesa calls back: whether the address may be used, and whether it answers.

Source: portal page CustomerToBusinessRegisterURL, URL requirements. They are published
for payments by hand and hold for prompts in practice.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.http.request import validate_host
from django.utils import timezone
from django.utils.formats import date_format

from payments.doctor import wire
from payments.doctor.findings import Finding, Who
from payments.doctor.wire import Unreached
from payments.enums import Health
from payments.models import Notice


HEALTH_PATH = "/healthz"
HEALTHY = '"ok"'
# It takes POST only, says so, and keeps nothing of a GET.
HOOK_PATH = "/hooks/stk/doctor"
HOOKED = "INVALID_REQUEST"
# So many of the newest messages are looked at for one that M-Pesa brought.
NEWEST = 50
ONLY_A_MESSAGE = (
    " Whether M-Pesa's own network gets through cannot be known from here: the first"
    " message that comes back proves it. Pay KES 1 in Set up M-Pesa."
)
CHANGE = "Change MPESA_CALLBACK_URL, and restart web and worker. "
FROM_OUTSIDE = (
    "Open {url} on a phone without Wi-Fi: it must say ok. If it does, this server only"
    " cannot see itself from outside, which some routers do not allow."
)


def findings() -> tuple[Finding, ...]:
    """Look at the rules of the address, then ask it as M-Pesa would."""
    return (rules(), reach())


def rules() -> Finding:
    """Whether M-Pesa accepts an address below ours. Asks nobody."""
    parts = urlsplit(settings.MPESA_CALLBACK_URL)
    host = parts.hostname or ""
    broken = [*_words(settings.MPESA_CALLBACK_URL), *_host_rules(parts, host)]
    if broken:
        remedy = CHANGE + "It must be like https://duka.example.co.ke."
        return _rules(Health.BROKEN, " ".join(broken), remedy)
    if doubts := _doubts(parts, host):
        return _rules(Health.LOOK, " ".join(doubts), CHANGE)
    if settings.MPESA_ENV == "simulator":
        words = f"Practice mode: the simulator may call {_origin(parts)}."
    else:
        words = f"{_origin(parts)} keeps M-Pesa's rules."
    return _rules(Health.FINE, words)


def reach() -> Finding:
    """Ask our own public address for its health page and a hook, from this server.

    Both, for probes are let through where a hook may be sent elsewhere.
    """
    base = settings.MPESA_CALLBACK_URL
    parts = urlsplit(base)
    try:
        health = wire.look(base + HEALTH_PATH)
        hook = wire.look(base + HOOK_PATH)
    except Unreached as unreached:
        return _not_reached(unreached, base + HEALTH_PATH, parts)
    if any(300 <= answer.status < 400 for answer in (health, hook)):
        return _leads_elsewhere(parts)
    is_healthy = health.status == 200 and HEALTHY in health.text
    is_hook = hook.status == 405 and HOOKED in hook.text
    if not (is_healthy and is_hook):
        odd = hook if is_healthy else health
        words = (
            f"{_origin(parts)} answers, but not as this installation does"
            f" (HTTP {odd.status})."
        )
        remedy = (
            "Look where the name leads, and what stands before the server: it must hand"
            " everything below /hooks/ to SmartDuka."
        )
        return _reach(Health.BROKEN, words, remedy)
    return _reached(parts)


def _leads_elsewhere(parts: SplitResult) -> Finding:
    words = f"{_origin(parts)} leads elsewhere: M-Pesa does not follow."
    remedy = (
        "Enter in MPESA_CALLBACK_URL the address that it leads to. If that is the same"
        " one, TRUSTED_PROXY_COUNT is too low: the server does not believe that the"
        " call came over HTTPS."
    )
    return _reach(Health.BROKEN, words, remedy)


def _reached(parts: SplitResult) -> Finding:
    words = f"{_origin(parts)} answers when this server asks."
    if settings.MPESA_ENV == "simulator":
        return _reach(Health.FINE, words + " The simulator needs no more.")
    rows = Notice.objects.defer("body").order_by("-pk")[:NEWEST]
    brought = next((row for row in rows if _is_mpesas(row)), None)
    if brought is None:
        return _reach(Health.UNKNOWN, words + ONLY_A_MESSAGE)
    at = date_format(timezone.localtime(brought.received_at), "j M Y, H:i")
    return _reach(Health.FINE, f"{words} M-Pesa got through to it on {at}.")


def _is_mpesas(row: Notice) -> bool:
    """Whether it came to an address that only M-Pesa was told."""
    has_owner = row.payment_id or row.account_id or row.request_id
    return bool(has_owner and row.address_is_listed)


def _not_reached(unreached: Unreached, url: str, parts: SplitResult) -> Finding:
    if unreached.why == Unreached.NO_NAME:
        words = f"The name {parts.hostname} leads nowhere: nobody finds this server."
        return _reach(Health.BROKEN, words, "Enter the name at your domain's provider.")
    if unreached.why == Unreached.BAD_CERTIFICATE:
        words = f"The certificate of {_origin(parts)} is not accepted by others."
        remedy = (
            "Install one of a known authority with its whole chain, such as Let's"
            " Encrypt's: M-Pesa calls nobody with a self-signed or expired one."
        )
        return _reach(Health.BROKEN, words, remedy)
    words = f"{_origin(parts)} does not answer when this server asks."
    return _reach(Health.LOOK, words, FROM_OUTSIDE.format(url=url))


def _words(url: str) -> list[str]:
    words = [word for word in settings.FORBIDDEN_URL_WORDS if word in url.lower()]
    found = [f"It contains {words[0]!r}: M-Pesa refuses it."] if words else []
    hosts = [word for word in settings.FORBIDDEN_HOST_WORDS if word in url.lower()]
    if hosts:
        found.append(f"It is at a {hosts[0]} host: M-Pesa blocks those.")
    return found


def _host_rules(parts: SplitResult, host: str) -> list[str]:
    found = []
    is_practice = settings.MPESA_ENV == "simulator"
    if settings.MPESA_ENV == "production" and parts.scheme != "https":
        found.append("It is not HTTPS: M-Pesa calls nothing else for real money.")
    if not is_practice and not _is_public(host):
        found.append(f"{host} is not public: M-Pesa cannot call it.")
    named = f"[{host}]" if ":" in host else host
    if not validate_host(named, settings.ALLOWED_HOSTS):
        found.append(
            f"ALLOWED_HOSTS does not name {host}, so this server turns calls away."
        )
    return found


def _doubts(parts: SplitResult, host: str) -> list[str]:
    if settings.MPESA_ENV == "simulator":
        return []
    found = []
    if parts.scheme != "https":
        found.append("It is not HTTPS: the sandbox allows that, real money does not.")
    if _ip(host) is not None:
        found.append("It is a bare IP address: some say that M-Pesa wants a name.")
    if parts.port not in (None, 443):
        found.append(
            f"It has a port of its own ({parts.port}): some say that M-Pesa calls"
            " port 443 only."
        )
    return found


def _is_public(host: str) -> bool:
    ip = _ip(host)
    if ip is not None:
        return ip.is_global
    is_local = host == "localhost" or host.endswith((".local", ".localhost", ".lan"))
    return "." in host and not is_local and not host.endswith(".internal")


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _origin(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}"


def _rules(health: Health, words: str, remedy: str = "") -> Finding:
    name = "Address for M-Pesa's messages"
    return Finding("address", name, health, words, remedy.strip(), Who.OPERATOR)


def _reach(health: Health, words: str, remedy: str = "") -> Finding:
    name = "Reachable from outside"
    return Finding("reach", name, health, words, remedy, Who.OPERATOR)
