"""Whether the keys of an account are right: what can be proved without moving money.

M-Pesa gives a token for the consumer key and secret, and is then asked about a prompt
that was never sent: whether the app may send prompts, whose the number is and whether
the passkey fits come before "no such prompt". What customers pay to is proved by a
payment alone. Nothing is called inside a transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

from payments import gateways
from payments.gateways.base import Credentials, GatewayError, Probe, Proof


# Each of the calls that a test makes; a person waits for them.
LIMIT_S = 5.0

KEYS, NUMBER, PASSKEY = ("consumer_key", "consumer_secret"), "shortcode", "passkey"


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of an account: right, wrong, or not to be told. `fields` are wrong."""

    name: str
    is_right: bool | None
    words: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tested:
    """What a test of an account found, part by part."""

    findings: tuple[Finding, ...]

    @property
    def is_good(self) -> bool:
        """Whether M-Pesa took all that it can be asked about."""
        return all(one.is_right for one in self.findings)

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """The parts that are wrong for certain."""
        return tuple(one for one in self.findings if one.is_right is False)

    @property
    def summary(self) -> str:
        """What keeps it from being good, in words; "" if nothing does."""
        open_ones = [one for one in self.findings if not one.is_right]
        return " ".join(one.words for one in self.wrong or open_ones[:1])


def test(account: Credentials) -> Tested:
    """Try the keys of an account. Call outside any transaction."""
    try:
        probe = gateways.prober().probe(account, limit_s=LIMIT_S)
    except GatewayError as error:
        probe = Probe(Proof.UNREACHED, str(error))
    return read(account, probe)


def read(account: Credentials, probe: Probe) -> Tested:
    """Say part by part what an answer means."""
    if probe.proof == Proof.UNREACHED:
        return Tested((_open("keys", _unreached(probe)), *_unknown(0)))
    if probe.proof == Proof.KEYS:
        return Tested((_wrong("keys", WRONG_KEYS, *KEYS), *_unknown(0)))
    good = [_right("keys", "M-Pesa knows the consumer key and secret.")]
    if probe.proof == Proof.PRODUCT:
        return Tested((*good, _wrong("product", NO_PRODUCT, KEYS[0]), *_unknown(1)))
    if probe.proof == Proof.UNCLEAR:
        words = f"M-Pesa's answer was not clear ({probe.detail}). Test again later."
        return Tested((*good, _open("product", words), *_unknown(1)))
    good.append(_right("product", "The app may send prompts."))
    if probe.proof == Proof.NUMBER:
        return Tested((*good, _wrong("number", _no_number(account), NUMBER),
                       *_unknown(2)))  # fmt: skip
    good.append(_right("number", f"{account.shortcode} belongs to the app."))
    if probe.proof == Proof.PASSKEY:
        words = WRONG_PASSKEY.format(number=account.shortcode)
        return Tested((*good, _wrong("passkey", words, PASSKEY)))
    return Tested((*good, _right("passkey", "The passkey fits the number.")))


WRONG_KEYS = (
    "M-Pesa does not know this consumer key and secret. Copy both from the same app at"
    " developer.safaricom.co.ke; keys of the sandbox do not work for real money."
)
NO_PRODUCT = (
    "The app of this consumer key may not send prompts: add the product M-Pesa Express"
    " to it at developer.safaricom.co.ke, or ask Safaricom to."
)
WRONG_PASSKEY = (
    "The passkey does not fit {number}. Safaricom e-mails it when the number goes live"
    " for prompts: paste it whole, without blanks."
)
NOT_TOLD = "Not known yet: something before it has to be right first."


def _right(name: str, words: str) -> Finding:
    return Finding(name, is_right=True, words=words)


def _wrong(name: str, words: str, *fields: str) -> Finding:
    return Finding(name, is_right=False, words=words, fields=fields)


def _open(name: str, words: str) -> Finding:
    return Finding(name, is_right=None, words=words)


def _unknown(known: int) -> tuple[Finding, ...]:
    names = ("product", "number", "passkey")[known:]
    return tuple(_open(name, NOT_TOLD) for name in names)


def _unreached(probe: Probe) -> str:
    return f"M-Pesa could not be reached ({probe.detail}). Try again in a moment."


def _no_number(account: Credentials) -> str:
    if account.is_till:
        return (
            f"M-Pesa knows no store number {account.shortcode} for these keys. For a"
            " till this is the store (head office) number of the letter from Safaricom,"
            " not the till number that customers pay to."
        )
    return (
        f"M-Pesa knows no paybill {account.shortcode} for these keys. Enter the paybill"
        " of the app that the keys come from."
    )
