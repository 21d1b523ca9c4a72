"""All the switches: how this Daraja can misbehave, and its uneven rules.

A use is one callback for ``callback_…``, one request for ``push_…``, ``query_…``,
``oauth_…`` and ``expire_token``. Times are seconds, amounts whole shillings. In
brackets what a switch takes, and what it is by default. How to set them: ``faults``.
"""

from __future__ import annotations

from typing import Any

from payments.simulator import switches_business
from payments.simulator.outcomes import Outcome
from payments.simulator.switch import (
    BODIES,
    ERRORS,
    BadSwitch,
    Switch,
    choice,
    flag,
    is_number,
    number,
    posting,
    text,
)


_OUTCOMES = tuple(outcome.value for outcome in Outcome if outcome is not Outcome.IGNORE)

SWITCHES = (
    # Callbacks: whether and when.
    *posting("callback_", "The callback"),
    flag(
        "callback_before_response",
        "The phone answers at once (pays, unless its number says otherwise) and the "
        "callback comes before the answer to the push.",
    ),
    flag(
        "callback_failure_then_success",
        "A paid prompt is first reported as 1037, then as paid.",
    ),
    number("callback_success_gap_s", "Between that failure and success.", default=1),
    # Callbacks: what they say.
    Switch("callback_amount", None, "a number", is_number, "The amount is this one."),
    choice(
        "callback_amount_style",
        "250.00, 250.0, 250 or the string 250.00.",
        ("decimal", "float", "int", "string"),
        default="decimal",
    ),
    choice(
        "callback_result_code_type",
        "The type of ResultCode.",
        ("number", "string"),
        default="number",
    ),
    text("callback_result_code", "The ResultCode is this one."),
    text("callback_receipt", "The MpesaReceiptNumber is this one."),
    text("callback_phone", "The PhoneNumber is this one; not only digits: a string."),
    text(
        "callback_desc_prefix",
        "Before the ResultDesc, such as [STK_CB - ].",
        default="",
    ),
    flag("callback_foreign_checkout_id", "The CheckoutRequestID is of somebody else."),
    flag("callback_foreign_merchant_id", "The MerchantRequestID is of somebody else."),
    choice(
        "callback_balance",
        "The item Balance: without Value, absent, a number, or the old text.",
        ("no_value", "absent", "number", "text"),
        default="no_value",
    ),
    flag("callback_items_reversed", "The metadata come in another order."),
    choice(
        "callback_body",
        "The body as a whole; doubled_key says two amounts under one key.",
        (*BODIES, "doubled_key"),
        default="json",
    ),
    # Push.
    choice("push_error", "The push is answered with this.", ERRORS, default=None),
    flag("push_error_after_accept", "… after it was accepted: the prompt appears."),
    flag("push_reset_after_accept", "Accepted, then the connection is cut."),
    number("push_latency_s", "The way there takes so long (benchmarks)."),
    number("push_slow_s", "Accepted at once, answered so much later."),
    # Query.
    choice(
        "query_pending_mode",
        "An open prompt: A is HTTP 500 500.001.1001, B is HTTP 200 with 4999.",
        ("A", "B"),
        default="B",
    ),
    text("query_result_code", "The ResultCode is this one, whatever happened."),
    choice("query_error", "The query is answered with this.", ERRORS, default=None),
    number("query_slow_s", "The answer takes so long."),
    # OAuth.
    choice("oauth_error", "The request is answered with this.", ERRORS, default=None),
    number("oauth_slow_s", "The answer takes so long."),
    choice(
        "oauth_expires_in_type",
        "The type of expires_in.",
        ("string", "number"),
        default="string",
    ),
    number(
        "oauth_expires_in",
        "What is said; a token really lives that long.",
        default=3599,
    ),
    flag("oauth_new_token_kills_old", "A new token ends the app's older ones."),
    flag("expire_token", "The token of a request is found expired."),
    choice(
        "error_casing",
        "errorCode or ErrorCode in envelopes.",
        ("camel", "pascal"),
        default="camel",
    ),
    # Phones.
    number("auto_delay_s", "A phone that answers by itself takes so long.", default=1),
    choice(
        "auto_outcome",
        "What phones without a habit of their own do by themselves.",
        _OUTCOMES,
        default=None,
    ),
    number("prompt_lifetime_s", "An unanswered prompt goes away.", default=60),
    choice(
        "prompt_timeout_code",
        "… with this code.",
        ("1037", "1032", "1019"),
        default="1037",
    ),
    flag(
        "other_networks_unreachable",
        "Numbers that were not given to Safaricom end in 1037 by themselves.",
    ),
    # Rules that Daraja applies unevenly.
    flag(
        "rule17",
        "The same amount again within 2 minutes after it was paid ends in 17.",
        default=True,
    ),
    flag(
        "text_limits",
        "AccountReference ≤ 12 letters and digits, TransactionDesc ≤ 13.",
        default=True,
    ),
    flag("require_remarks", "TransactionDesc must not be empty.", default=True),
    flag("url_words", "Addresses without mpesa, safaricom, sql, query, …"),
    flag("https_only", "Addresses by https only."),
    flag("eat_strict", "Timestamp within 15 minutes of East Africa Time."),
    number("max_amount", "More ends in code 3.", default=250_000),
    number("daily_limit", "More from one phone in a day ends in 4.", default=500_000),
    *switches_business.SWITCHES,
)
__doc__ = f"{__doc__}\n" + "".join(
    f"``{switch.name}`` ({switch.values}; {switch.default!r})\n    {switch.about}\n"
    for switch in SWITCHES
)
BY_NAME = {switch.name: switch for switch in SWITCHES}
CALLBACK_PREFIX = "callback_"
C2B_PREFIX = "c2b_"
RESULT_PREFIX = "result_"

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


def default_shape(prefix: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Return what these switches are by default, named without their prefix."""
    return {name: BY_NAME[f"{prefix}{name}"].default for name in names}
