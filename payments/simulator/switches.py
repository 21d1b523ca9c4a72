"""All the switches: how this Daraja can misbehave, and its uneven rules.

A use is one callback for ``callback_…``, one request for ``push_…``, ``query_…``,
``oauth_…`` and ``expire_token``. Times are seconds, amounts whole shillings. In
brackets what a switch takes, and what it is by default. How to set them: ``faults``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from payments.simulator import refusals
from payments.simulator.outcomes import Outcome


class BadSwitch(ValueError):
    """Names a switch that is not there, or a value it cannot take."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One way to misbehave."""

    name: str
    default: Any
    values: str
    accepts: Callable[[Any], bool]
    about: str


def _flag(name: str, about: str, *, default: bool = False) -> Switch:
    return Switch(
        name, default, "true | false", lambda value: isinstance(value, bool), about
    )


def _number(name: str, about: str, *, default: float = 0) -> Switch:
    return Switch(name, default, "a number ≥ 0", _is_number, about)


def _text(name: str, about: str, *, default: str | None = None) -> Switch:
    return Switch(name, default, "text", lambda value: isinstance(value, str), about)


def _choice(
    name: str, about: str, words: tuple[str, ...], *, default: str | None
) -> Switch:
    return Switch(name, default, " | ".join(words), lambda value: value in words, about)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < float("inf")


_ERRORS = tuple(refusals.BY_NAME)
_OUTCOMES = tuple(outcome.value for outcome in Outcome if outcome is not Outcome.IGNORE)

SWITCHES = (
    # Callbacks: whether and when.
    _flag("callback_drop", "The callback is never sent; money moves all the same."),
    _number("callback_delay_s", "The callback comes so much later."),
    _number("callback_duplicates", "So many copies follow the callback."),
    _number("callback_duplicate_gap_s", "Between copies.", default=0.3),
    _flag(
        "callback_before_response",
        "The phone answers at once (pays, unless its number says otherwise) and the "
        "callback comes before the answer to the push.",
    ),
    _flag(
        "callback_failure_then_success",
        "A paid prompt is first reported as 1037, then as paid.",
    ),
    _number("callback_success_gap_s", "Between that failure and success.", default=1),
    _flag("callback_retry_on_non200", "Anything but a 200 is tried again, 3 in all."),
    _number("callback_retry_gap_s", "Between these tries.", default=2),
    # Callbacks: what they say.
    Switch("callback_amount", None, "a number", _is_number, "The amount is this one."),
    _choice(
        "callback_amount_style",
        "250.00, 250.0, 250 or the string 250.00.",
        ("decimal", "float", "int", "string"),
        default="decimal",
    ),
    _choice(
        "callback_result_code_type",
        "The type of ResultCode.",
        ("number", "string"),
        default="number",
    ),
    _text("callback_result_code", "The ResultCode is this one."),
    _text("callback_receipt", "The MpesaReceiptNumber is this one."),
    _text("callback_phone", "The PhoneNumber is this one; not only digits: a string."),
    _text(
        "callback_desc_prefix",
        "Before the ResultDesc, such as [STK_CB - ].",
        default="",
    ),
    _flag("callback_foreign_checkout_id", "The CheckoutRequestID is of somebody else."),
    _flag("callback_foreign_merchant_id", "The MerchantRequestID is of somebody else."),
    _choice(
        "callback_balance",
        "The item Balance: without Value, absent, a number, or the old text.",
        ("no_value", "absent", "number", "text"),
        default="no_value",
    ),
    _flag("callback_items_reversed", "The metadata come in another order."),
    _choice(
        "callback_body",
        "The body as a whole; doubled_key says two amounts under one key.",
        ("json", "truncated", "non_json", "empty", "array", "doubled_key"),
        default="json",
    ),
    # Push.
    _choice("push_error", "The push is answered with this.", _ERRORS, default=None),
    _flag("push_error_after_accept", "… after it was accepted: the prompt appears."),
    _flag("push_reset_after_accept", "Accepted, then the connection is cut."),
    _number("push_latency_s", "The way there takes so long (benchmarks)."),
    _number("push_slow_s", "Accepted at once, answered so much later."),
    # Query.
    _choice(
        "query_pending_mode",
        "An open prompt: A is HTTP 500 500.001.1001, B is HTTP 200 with 4999.",
        ("A", "B"),
        default="B",
    ),
    _text("query_result_code", "The ResultCode is this one, whatever happened."),
    _choice("query_error", "The query is answered with this.", _ERRORS, default=None),
    _number("query_slow_s", "The answer takes so long."),
    # OAuth.
    _choice("oauth_error", "The request is answered with this.", _ERRORS, default=None),
    _number("oauth_slow_s", "The answer takes so long."),
    _choice(
        "oauth_expires_in_type",
        "The type of expires_in.",
        ("string", "number"),
        default="string",
    ),
    _number(
        "oauth_expires_in",
        "What is said; a token really lives that long.",
        default=3599,
    ),
    _flag("oauth_new_token_kills_old", "A new token ends the app's older ones."),
    _flag("expire_token", "The token of a push or query is found expired."),
    _choice(
        "error_casing",
        "errorCode or ErrorCode in envelopes.",
        ("camel", "pascal"),
        default="camel",
    ),
    # Phones.
    _number("auto_delay_s", "A phone that answers by itself takes so long.", default=1),
    _choice(
        "auto_outcome",
        "What phones without a habit of their own do by themselves.",
        _OUTCOMES,
        default=None,
    ),
    _number("prompt_lifetime_s", "An unanswered prompt goes away.", default=60),
    _choice(
        "prompt_timeout_code",
        "… with this code.",
        ("1037", "1032", "1019"),
        default="1037",
    ),
    _flag(
        "other_networks_unreachable",
        "Numbers that were not given to Safaricom end in 1037 by themselves.",
    ),
    # Rules that Daraja applies unevenly.
    _flag(
        "rule17",
        "The same amount again within 2 minutes after it was paid ends in 17.",
        default=True,
    ),
    _flag(
        "text_limits",
        "AccountReference ≤ 12 letters and digits, TransactionDesc ≤ 13.",
        default=True,
    ),
    _flag("require_remarks", "TransactionDesc must not be empty.", default=True),
    _flag("url_words", "CallBackURL without mpesa, safaricom, sql, query, …"),
    _flag("https_only", "CallBackURL by https only."),
    _flag("eat_strict", "Timestamp within 15 minutes of East Africa Time."),
    _number("max_amount", "More ends in code 3.", default=250_000),
    _number("daily_limit", "More from one phone in a day ends in 4.", default=500_000),
)
__doc__ = f"{__doc__}\n" + "".join(
    f"``{switch.name}`` ({switch.values}; {switch.default!r})\n    {switch.about}\n"
    for switch in SWITCHES
)
BY_NAME = {switch.name: switch for switch in SWITCHES}
CALLBACK_PREFIX = "callback_"

ALIASES = {
    "drop": "callback_drop",
    "delay": "callback_delay_s",
    "duplicate": "callback_duplicates",
    "before_response": "callback_before_response",
    "failure_then_success": "callback_failure_then_success",
    "retry_on_non200": "callback_retry_on_non200",
    "reset_after_accept": "push_reset_after_accept",
    "latency_s": "push_latency_s",
    "slow_s": "push_slow_s",
    "pending_mode": "query_pending_mode",
}


def check(name: str, value: object) -> None:
    """Raise BadSwitch unless this switch is there and can take this value."""
    switch = BY_NAME.get(name)
    if switch is None:
        known = ", ".join(BY_NAME)
        raise BadSwitch(f"There is no switch {name}. Known: {known}.")
    if not switch.accepts(value):
        raise BadSwitch(f"{name} cannot be {value!r}; it takes {switch.values}.")
