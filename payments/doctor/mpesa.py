"""Whether M-Pesa can be reached from here, and whether our clock agrees with its."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings

from payments.doctor import wire
from payments.doctor.findings import Finding, Who
from payments.doctor.wire import Answer, Unreached
from payments.enums import Health


# Every prompt carries our time. Both clocks may tick a little apart; M-Pesa is said to
# refuse a time that is minutes off (parseen254/daraja-mcp, 2026; nothing official).
FINE_S, BROKEN_S = 10.0, 120.0
NTP = "Turn on time synchronisation on the server: timedatectl set-ntp true."


def findings() -> tuple[Finding, ...]:
    """Ask M-Pesa's host for nothing, and look at the time it says."""
    try:
        answer = wire.look(settings.MPESA_BASE_URL + "/")
    except Unreached as unreached:
        return (_unreached(unreached), _skew(None))
    return (_reached(answer), _skew(answer))


def _reached(answer: Answer) -> Finding:
    if answer.status in (403, 503):
        return _mpesa(
            Health.LOOK,
            f"{_host()} turns this server away (HTTP {answer.status}).",
            "M-Pesa's edge blocks some addresses. Ask Safaricom to let this server's"
            " public address in, or try again later.",
        )
    return _mpesa(Health.FINE, f"It answers this server ({_host()}).")


def _unreached(unreached: Unreached) -> Finding:
    words = {
        Unreached.NO_NAME: f"The name {_host()} cannot be resolved.",
        Unreached.BAD_CERTIFICATE: f"The certificate of {_host()} is not accepted.",
    }.get(unreached.why, f"{_host()} does not answer this server.")
    remedy = (
        "Look whether the server has internet, a working name service, and a firewall"
        " that lets it out on port 443."
    )
    return _mpesa(Health.BROKEN, words, remedy)


def _skew(answer: Answer | None) -> Finding:
    if answer is None or answer.skew_s is None:
        words = "M-Pesa did not say what time it is, so the clocks were not compared."
        return _clock(Health.UNKNOWN, words, "Check again.")
    off_s = abs(answer.skew_s)
    if off_s <= FINE_S:
        return _clock(Health.FINE, "The server's clock agrees with M-Pesa's.")
    which = "ahead of" if answer.skew_s > 0 else "behind"
    words = f"The server's clock is {_length(off_s)} {which} M-Pesa's."
    if off_s <= BROKEN_S:
        return _clock(Health.LOOK, words, NTP)
    words += " M-Pesa may refuse every prompt because of it."
    return _clock(Health.BROKEN, words, NTP)


def _length(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours"


def _host() -> str:
    return urlsplit(settings.MPESA_BASE_URL).hostname or settings.MPESA_BASE_URL


def _mpesa(health: Health, words: str, remedy: str = "") -> Finding:
    return Finding("mpesa", "M-Pesa answers", health, words, remedy, Who.OPERATOR)


def _clock(health: Health, words: str, remedy: str = "") -> Finding:
    return Finding("clock", "The server's clock", health, words, remedy, Who.OPERATOR)
