"""The switches of C2B, of initiator calls, of Pull, QR and statements.

A use is one validation or confirmation for ``c2b_…``, one result for ``result_…``, one
payment for ``charge_percent``, one request for all others.
"""

from __future__ import annotations

from payments.simulator.switch import (
    BODIES,
    ERRORS,
    Switch,
    choice,
    flag,
    is_number,
    is_percent,
    number,
    posting,
    text,
)


SWITCHES = (
    # C2B: registering.
    flag(
        "c2b_production",
        "Addresses are registered once, then 500.003.1001 Urls are already registered; "
        "there is no simulate endpoint.",
    ),
    flag(
        "c2b_url_words",
        "ConfirmationURL and ValidationURL without mpesa, safaricom, sql, query, …",
        default=True,
    ),
    choice(
        "register_error", "Registering is answered with this.", ERRORS, default=None
    ),
    # C2B: validation and confirmation, whether and when.
    flag("c2b_validation", "M-Pesa asks the ValidationURL before money moves by hand."),
    number("c2b_validation_timeout_s", "It waits so long for an answer.", default=8),
    flag(
        "c2b_for_stk", "A prompt that was paid is confirmed by C2B too.", default=True
    ),
    *posting("c2b_", "The confirmation"),
    # C2B: what they say.
    Switch("c2b_amount", None, "a number", is_number, "The TransAmount is this one."),
    choice("c2b_amount_style", "250.00 or 250.", ("decimal", "int"), default="decimal"),
    text("c2b_receipt", "The TransID is this one."),
    text("c2b_bill_reference", "The BillRefNumber is this one."),
    text("c2b_shortcode", "The BusinessShortCode is this one."),
    text("c2b_transaction_type", "The TransactionType is this one."),
    text("c2b_phone", "The MSISDN is this one, whatever the version."),
    choice(
        "c2b_mask",
        "Version 2 masks as 2547 ***** 678 or 25471****678.",
        ("new", "old"),
        default="new",
    ),
    choice(
        "c2b_names", "FirstName is told, or empty.", ("first", "empty"), default="first"
    ),
    choice(
        "c2b_body",
        "The body as a whole; doubled_key says two amounts under one key.",
        (*BODIES, "doubled_key"),
        default="json",
    ),
    # Initiator calls.
    choice(
        "initiator_error",
        "A status, reversal or balance request is answered with this.",
        ERRORS,
        default=None,
    ),
    flag("initiator_error_after_accept", "… after it was accepted: it is done."),
    number("initiator_slow_s", "Accepted at once, answered so much later."),
    number("initiator_delay_s", "What was ordered is done after so long.", default=1),
    flag(
        "initiator_queue_timeout",
        "It is never done; the QueueTimeOutURL hears of it, not the ResultURL.",
    ),
    number("credential_tries", "So many wrong passwords lock a user.", default=3),
    text(
        "status_after_reversal",
        "TransactionStatus of a payment that was reversed; what Safaricom says is not "
        "published.",
        default="Completed",
    ),
    *posting("result_", "The Result"),
    text("result_code", "The ResultCode is this one, whatever was done."),
    choice(
        "result_code_type",
        "ResultCode and ResultType; by default strings for balances only.",
        ("number", "string"),
        default=None,
    ),
    text("result_receipt", "The TransactionID is this one."),
    Switch("result_amount", None, "a number", is_number, "The Amount is this one."),
    flag("result_foreign_ids", "Both conversation ids are of somebody else."),
    text("result_doubled_key", "This key comes twice, first with a wrong value."),
    text("result_without_value", "This key comes without Value."),
    choice(
        "result_parameters",
        "ResultParameter is an array, the first one as an object, or absent.",
        ("array", "object", "absent"),
        default="array",
    ),
    choice(
        "result_reference",
        "ReferenceItem is an object or an array.",
        ("object", "array"),
        default="object",
    ),
    choice("result_body", "The body as a whole.", BODIES, default="json"),
    # Pull and QR.
    choice("pull_error", "A pull is answered with this.", ERRORS, default=None),
    number("pull_slow_s", "The answer takes so long."),
    number("pull_page_size", "So many rows in one answer.", default=100),
    choice(
        "pull_time",
        "trxDate: UTC with Z, East Africa Time with Z, or with +03:00.",
        ("utc", "eat", "offset"),
        default="utc",
    ),
    flag("pull_old_keys", "Registering answers Response Status, with a blank."),
    choice("qr_error", "A QR request is answered with this.", ERRORS, default=None),
    choice(
        "qr_response_code",
        "ResponseCode is 00, as seen, or AG_…, as documented.",
        ("00", "AG"),
        default="00",
    ),
    # The organisation's money.
    Switch(
        "charge_percent",
        0,
        "0 to 100",
        is_percent,
        "M-Pesa takes so much of each payment, in whole shillings.",
    ),
    choice(
        "statement_times",
        "2026-01-14 09:30:31 or 14-01-2026 09:30:31.",
        ("iso", "day_first"),
        default="iso",
    ),
    choice(
        "statement_amounts",
        "1250.00 or 1,250.00.",
        ("plain", "grouped"),
        default="plain",
    ),
    choice(
        "statement_phones",
        "2547 ***** 678 or 254712345678.",
        ("masked", "full"),
        default="masked",
    ),
)
