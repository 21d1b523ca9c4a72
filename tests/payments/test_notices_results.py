"""Results that M-Pesa posts about our own requests."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given

from payments.notices_results import (
    AccountBalance,
    Parameter,
    RequestResult,
    ReversalResult,
    Reversed,
    TransactionState,
    TransactionStatus,
    parse_result,
    read_balances,
    read_reversal,
    read_status,
)
from payments.readings import Malformed, Party
from tests.support import outside


# Shapes: portal pages TransactionStatus, Reversal, AccountBalance; values are ours.
STATUS = [
    {"Key": "DebitPartyName", "Value": "254708374149 - JANE DOE"},
    {"Key": "DebitPartyName", "Value": "600984 - DUKA"},
    {"Key": "TransactionStatus", "Value": "Completed"},
    {"Key": "Amount", "Value": "250"},
    {"Key": "ReceiptNo", "Value": "UAE5B2K9QT"},
    {"Key": "InitiatedTime", "Value": "20260114093028"},
    {"Key": "FinalisedTime", "Value": 20260114093031},
    {"Key": "TransactionReason"},
]
REVERSAL = [
    {"Key": "DebitAccountBalance", "Value": "Utility Account|KES|1.00|1.00|0.00|0.00"},
    {"Key": "Amount", "Value": 250},
    {"Key": "TransCompletedTime", "Value": 20260114101500},
    {"Key": "OriginalTransactionID", "Value": "UAE5B2K9QT"},
    {"Key": "Charge", "Value": 0},
    {"Key": "CreditPartyPublicName", "Value": "254708374149 - JANE DOE"},
]


def document(parameters=..., **changes):
    result = {
        "ResultType": 0,
        "ResultCode": 0,
        "ResultDesc": "The service request is processed successfully.",
        "OriginatorConversationID": "f1e2-4b95-a71d",
        "ConversationID": "AG_20260114_2010a1b2c3",
        "TransactionID": "UAE7C3M1RV",
        "ReferenceData": {"ReferenceItem": {"Key": "QueueTimeoutURL", "Value": "x"}},
    }
    if parameters is not ...:
        result["ResultParameters"] = {"ResultParameter": parameters}
    result = {k: v for k, v in (result | changes).items() if v is not ...}
    return {"Result": result}


def parsed(parameters=..., **changes):
    return parse_result(json.dumps(document(parameters, **changes)).encode())


def test_the_envelope_is_read():
    assert parsed([{"Key": "Amount", "Value": 250}, {"Key": "Reason"}]) == (
        RequestResult(
            type="0",
            code="0",
            description="The service request is processed successfully.",
            conversation_id="AG_20260114_2010a1b2c3",
            originator_conversation_id="f1e2-4b95-a71d",
            transaction_id="UAE7C3M1RV",
            parameters=(Parameter("Amount", Decimal(250)), Parameter("Reason", None)),
        )
    )


@pytest.mark.parametrize(
    ("sent", "code"), [(0, "0"), ("0", "0"), ("R000002", "R000002"), (2001, "2001")]
)
def test_a_code_is_a_number_or_text(sent, code):
    result = parsed(ResultCode=sent, ResultType="0")

    assert result.code == code
    assert result.is_success is (code == "0")


@pytest.mark.parametrize(
    ("sent", "is_final"),
    [(0, True), ("0", True), (..., True), (1, False), ("1", False)],
)
def test_a_result_of_type_one_is_not_the_last(sent, is_final):
    result = parsed(ResultType=sent)

    assert result.is_final is is_final
    assert result.is_success is is_final


@pytest.mark.parametrize(
    "holder",
    [..., None, "", {}, {"ResultParameter": None}, {"ResultParameter": []}],
    ids=repr,
)
def test_a_failure_has_no_parameters(holder):
    assert parsed(ResultCode=1, ResultParameters=holder).parameters == ()


def test_a_single_parameter_may_come_without_its_list():
    found = parsed({"Key": "Amount", "Value": "250"})

    assert found.parameters == (Parameter("Amount", "250"),)


def test_a_repeated_key_keeps_its_values_in_order():
    found = parsed([{"Key": "A", "Value": 1}, {"Key": "B"}, {"Key": "A", "Value": 2}])

    assert found.values("A") == (Decimal(1), Decimal(2))
    assert found.value("A") is None
    assert found.values("C") == ()
    assert found.value("C") is None


def test_a_repeated_key_with_one_value_has_that():
    found = parsed([{"Key": "A", "Value": 1}, {"Key": "A", "Value": 1.00}])

    assert found.value("A") == Decimal(1)


@pytest.mark.parametrize("value", [True, [], {}, None, {"a": 1}], ids=repr)
def test_a_value_that_is_no_scalar_is_none(value):
    assert parsed({"Key": "A", "Value": value}).parameters == (Parameter("A", None),)


def test_a_time_out_has_the_same_shape():
    found = parsed(ResultCode="500.001", ResultDesc="timed out", TransactionID=...)

    assert not found.is_success
    assert found.transaction_id == ""


@pytest.mark.parametrize(
    ("conversation", "originator", "answers"),
    [
        ("AG_20260114_2010a1b2c3", "f1e2-4b95-a71d", True),
        ("AG_20260114_2010a1b2c3", "another", False),
        ("another", "f1e2-4b95-a71d", False),
        ("", "f1e2-4b95-a71d", False),
        ("AG_20260114_2010a1b2c3", "", False),
        ("", "", False),
    ],
)
def test_it_answers_only_the_request_with_both_ids(conversation, originator, answers):
    found = parsed().answers(
        conversation_id=conversation, originator_conversation_id=originator
    )

    assert found is answers


def test_ids_that_are_missing_answer_nothing():
    found = parsed(ConversationID=..., OriginatorConversationID=None)

    assert not found.answers(conversation_id="", originator_conversation_id="")


@pytest.mark.parametrize(
    "changes",
    [
        {"ResultCode": ...},
        {"ResultCode": True},
        {"ResultCode": 1.5},
        {"ResultCode": "x" * 21},
        {"ResultType": []},
        {"ResultParameters": "x"},
        {"ResultParameters": []},
        {"ResultParameters": {"ResultParameter": "x"}},
        {"ResultParameters": {"ResultParameter": [7]}},
        {"ResultParameters": {"ResultParameter": [{"Value": 1}]}},
        {"ResultParameters": {"ResultParameter": [{"Key": 1}]}},
        {"ResultParameters": {"ResultParameter": [{"Key": "A"}] * 201}},
    ],
    ids=repr,
)
def test_an_odd_envelope_is_malformed(changes):
    with pytest.raises(Malformed):
        parsed(**changes)


@pytest.mark.parametrize(
    "raw",
    [b"", b"null", b"[]", b"{}", b'{"Result": 7}', b'{"Result": {}}', b"[" * 65_000,
     b'{"Result": {"ResultCode": 0, "ResultCode": 1}}'],
    ids=lambda raw: repr(raw[:20]),
)  # fmt: skip
def test_anything_else_is_malformed(raw):
    with pytest.raises(Malformed):
        parse_result(raw)


# The state of a transaction.


PAID = TransactionStatus(
    state=TransactionState.COMPLETED,
    word="Completed",
    receipt="UAE5B2K9QT",
    amount=Decimal(250),
    debit_party=Party("254708374149", "JANE DOE"),
    credit_party=Party("600984", "DUKA"),
    initiated_at=datetime(2026, 1, 14, 6, 30, 28, tzinfo=UTC),
    finalised_at=datetime(2026, 1, 14, 6, 30, 31, tzinfo=UTC),
)


def status(*changes, code=0):
    """Read the sample with these parameters in place of its own."""
    keys = {change["Key"] for change in changes}
    kept = [p for p in STATUS if p["Key"] not in keys]
    return read_status(parsed([*kept, *changes], ResultCode=code))


def as_status(**facts):
    values = {name: getattr(PAID, name) for name in TransactionStatus.__slots__}
    return TransactionStatus(**values | facts)


def test_payer_and_payee_are_told_by_position():
    assert read_status(parsed(STATUS)) == PAID


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("Completed", TransactionState.COMPLETED),
        ("COMPLETED", TransactionState.COMPLETED),
        ("Cancelled", TransactionState.CANCELLED),
        ("Declined", TransactionState.DECLINED),
        ("Expired", TransactionState.EXPIRED),
        ("Initiated", TransactionState.UNDER_WAY),
        ("Authorized", TransactionState.UNDER_WAY),
        ("Pending  Authorized", TransactionState.UNDER_WAY),
        ("Reversed", TransactionState.UNKNOWN),
        ("", TransactionState.UNKNOWN),
    ],
)
def test_every_word_for_a_state_is_known(word, state):
    found = status({"Key": "TransactionStatus", "Value": word})

    assert found == as_status(state=state, word=word)


def test_two_words_for_one_state_are_none():
    found = status(
        {"Key": "TransactionStatus", "Value": "Completed"},
        {"Key": "TransactionStatus", "Value": "Declined"},
    )

    assert found == as_status(state=TransactionState.UNKNOWN, word="")


@pytest.mark.parametrize("code", [1, 2001, "R000002", 25])
def test_a_failed_question_says_nothing_of_the_state(code):
    assert status(code=code).state is TransactionState.UNKNOWN


def test_two_amounts_prove_nothing():
    found = status({"Key": "Amount", "Value": 250}, {"Key": "Amount", "Value": 1})

    assert found == as_status(amount=None)


@pytest.mark.parametrize(
    ("parties", "debit", "credit"),
    [
        ([("Debit", "254708374149 - JANE")], Party("254708374149", "JANE"), None),
        (
            [("Debit", "254708374149 - JANE"), ("Credit", "600984 - DUKA")],
            Party("254708374149", "JANE"),
            Party("600984", "DUKA"),
        ),
        (
            [("Debit", "1 - A"), ("Debit", "600984 - X"), ("Credit", "600984 - DUKA")],
            Party("1", "A"),
            Party("600984", "DUKA"),
        ),
        (
            [("Debit", "1 - A"), ("Debit", "2 - B"), ("Credit", "600984 - DUKA")],
            Party("1", "A"),
            None,
        ),
        ([("Debit", "1"), ("Credit", "600984"), ("Credit", "2")], Party("1", ""), None),
        ([("Debit", "1"), ("Debit", "2"), ("Debit", "600984")], None, None),
        ([("Credit", "600984")], None, Party("600984", "")),
        ([("Debit", "2547 ***** 149 - J")], Party("2547 ***** 149", "J"), None),
        ([("Debit", "JANE DOE")], None, None),
        ([], None, None),
    ],
    ids=repr,
)
def test_a_payee_in_doubt_is_none(parties, debit, credit):
    kept = [p for p in STATUS if p["Key"] != "DebitPartyName"]
    named = [{"Key": f"{side}PartyName", "Value": value} for side, value in parties]

    found = read_status(parsed([*kept, *named]))

    assert (found.debit_party, found.credit_party) == (debit, credit)


# A reversal.


def test_a_reversal_that_was_made_names_both_receipts():
    assert read_reversal(parsed(REVERSAL)) == ReversalResult(
        Reversed.DONE,
        "0",
        receipt="UAE7C3M1RV",
        original_receipt="UAE5B2K9QT",
        amount=Decimal(250),
        completed_at=datetime(2026, 1, 14, 7, 15, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("R000001", Reversed.ALREADY),
        *(
            (c, Reversed.REFUSED)
            for c in ("R000002", 1, 11, 21, 2001, 2006, 2028, 8006)
        ),
        *((code, Reversed.UNKNOWN) for code in (17, 26, 9999, "R000003", "500.001")),
    ],
)
def test_only_listed_codes_refuse_a_reversal_for_certain(code, outcome):
    result = parsed(ResultCode=code, TransactionID="UAE0000000")

    assert read_reversal(result) == ReversalResult(outcome, str(code))


@pytest.mark.parametrize("code", [0, 1, "R000001"])
def test_a_reversal_with_more_to_come_is_unknown(code):
    result = parsed(REVERSAL, ResultCode=code, ResultType=1)

    assert read_reversal(result) == ReversalResult(Reversed.UNKNOWN, str(code))


def test_a_reversal_without_its_facts_proves_nothing():
    assert read_reversal(parsed()) == ReversalResult(
        Reversed.DONE, "0", receipt="UAE7C3M1RV"
    )


# The balances.


def test_balances_are_read_purse_by_purse():
    value = (
        "Working Account|KES|46713.00|46713.00|0.00|0.00"
        "&Utility Account|KES|49217.50|49200.50|17.00|0.00"
        "&Charges Paid Account|KES|-220.00|-220.00|0.00|0.00"
    )

    assert read_balances(parsed({"Key": "AccountBalance", "Value": value})) == (
        AccountBalance("Working Account", Decimal(46713), Decimal(46713)),
        AccountBalance("Utility Account", Decimal("49217.50"), Decimal("49200.50")),
        AccountBalance("Charges Paid Account", Decimal(-220), Decimal(-220)),
    )


@pytest.mark.parametrize(
    "value",
    ["", "x", "A|USD|1|1|0|0", "A|KES|1", "A|KES|NaN|1|0|0", "|KES|1|1|0|0", 7, None],
    ids=repr,
)
def test_a_purse_that_cannot_be_read_is_left_out(value):
    assert read_balances(parsed({"Key": "AccountBalance", "Value": value})) == ()


@given(outside.anything(document(STATUS)) | outside.anything(document(REVERSAL)))
def test_no_body_breaks_the_parser(raw):
    try:
        result = parse_result(raw)
    except Malformed:
        return
    read_status(result)
    read_reversal(result)
    read_balances(result)
    assert outside.storable(result.description + result.code)
    for parameter in result.parameters:
        assert outside.storable(parameter.key)
        assert not isinstance(parameter.value, str) or outside.storable(parameter.value)
