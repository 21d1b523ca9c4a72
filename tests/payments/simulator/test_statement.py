from __future__ import annotations

import csv
import io
import re
from datetime import datetime, timedelta

import openpyxl
import pytest
import requests

from payments import statements
from tests.payments.simulator.conftest import (
    PHONE,
    RESULT,
    VALIDATE,
    posted_to,
)


HEADER = [
    "Receipt No.",
    "Completion Time",
    "Initiation Time",
    "Details",
    "Transaction Status",
    "Paid In",
    "Withdrawn",
    "Balance",
    "Balance Confirmed",
    "Reason Type",
    "Other Party Info",
    "Linked Transaction ID",
    "A/C No.",
]


def export(simulator, **query):
    url = f"{simulator.url}/__sim__/statement"
    return requests.get(url, params={"shortcode": "600100"} | query, timeout=10)


def split(lines):
    """Return what stands above the header, and the rows below it by column."""
    at = lines.index(HEADER)
    rows = [dict(zip(HEADER, line, strict=True)) for line in lines[at + 1 :]]
    return lines[:at], rows


def read_csv(response):
    assert response.status_code == 200, response.text
    return split(list(csv.reader(io.StringIO(response.text))))


@pytest.fixture
def busy_day(simulator, merchant, receiver, hand):
    """One of each: by hand, by prompt, declined, reversed, swept; with charges."""
    simulator.faults(charge_percent=1, c2b_validation=True)
    merchant.registered()
    hand(amount=1000)
    simulator.answer(merchant.pushed(), "pay")
    receiver.answers[VALIDATE] = ['{"ResultCode": "C2B00012"}']
    with pytest.raises(AssertionError, match="409"):
        hand(amount=7)
    merchant.reverse(simulator.ledger()[1]["receipt"])
    posted_to(receiver, RESULT)
    simulator.control("sweep", {"shortcode": "600100", "amount": 900})
    return simulator.ledger()


def test_each_row_tells_what_moved(simulator, busy_day):
    sweep, reversal, stk_charge, stk, c2b_charge, c2b = busy_day

    _, rows = read_csv(export(simulator))

    def told(*columns):
        return [tuple(row[column] for column in columns) for row in rows]

    assert told("Receipt No.", "Transaction Status", "Reason Type") == [
        (sweep["receipt"], "Completed", "Funds Withdrawal to Bank"),
        (reversal["receipt"], "Completed", "Organization Reversal"),
        (rows[2]["Receipt No."], "Declined", "Pay Bill"),
        (stk["receipt"], "Completed", "Pay Bill Charge"),
        (stk["receipt"], "Completed", "Pay Bill Online"),
        (c2b["receipt"], "Completed", "Pay Bill Charge"),
        (c2b["receipt"], "Completed", "Pay Bill"),
    ]
    assert told("Paid In", "Withdrawn", "Balance") == [
        ("", "-900.00", "87.00"),
        ("", "-250.00", "987.00"),
        ("7.00", "", "1237.00"),
        ("", "-3.00", "1237.00"),
        ("250.00", "", "1240.00"),
        ("", "-10.00", "990.00"),
        ("1000.00", "", "1000.00"),
    ]
    assert told("Linked Transaction ID", "A/C No.") == [
        ("", ""),
        (stk["receipt"], ""),
        ("", "K7Q2M9"),
        (stk["receipt"], ""),
        ("", "K7Q2M9"),
        (c2b["receipt"], ""),
        ("", "K7Q2M9"),
    ]
    masked = r"2547 \*{5} 678 - [A-Z]+"
    assert re.fullmatch(masked, rows[6]["Other Party Info"])
    assert re.fullmatch(rf"Pay Bill from {masked} Acc\. K7Q2M9", rows[6]["Details"])
    assert rows[0]["Other Party Info"] == "Bank"
    assert rows[0]["Completion Time"] == sweep["time"][:19].replace("T", " ")
    assert {row["Balance Confirmed"] for row in rows} == {"true", "false"}
    assert stk_charge["receipt"] == stk["receipt"]
    assert c2b_charge["receipt"] == c2b["receipt"]


def test_statement_and_ledger_tell_the_same_money(simulator, busy_day):
    _, rows = read_csv(export(simulator))

    moved = [row for row in rows if row["Transaction Status"] == "Completed"]
    assert [
        (row["Receipt No."], abs(float(row["Paid In"] or row["Withdrawn"])))
        for row in moved
    ] == [(entry["receipt"], entry["amount"]) for entry in busy_day]


def test_preamble_says_whose_and_when(simulator, busy_day):
    day = datetime.fromisoformat(simulator.get("clock")["eat"]).date()

    above, _ = read_csv(export(simulator, **{"from": f"{day}", "to": f"{day}"}))

    assert above == [
        ["Organization Statement"],
        ["Account Holder:", "SMARTDUKA"],
        ["Short Code:", "600100"],
        ["Account:", "Utility Account"],
        ["Time Period:", f"{day} 00:00:00 - {day} 23:59:59"],
        ["Opening Balance:", "0.00"],
        ["Closing Balance:", "87.00"],
        [],
    ]


def test_only_the_wanted_time_is_exported(simulator, hand):
    first = hand(amount=100)
    simulator.advance(3600)
    second = hand(amount=30)
    simulator.advance(3600)
    hand(amount=5)
    at = datetime.fromisoformat(second["time"])
    around = timedelta(minutes=10)

    above, rows = read_csv(
        export(
            simulator,
            **{"from": (at - around).isoformat(), "to": (at + around).isoformat()},
        )
    )
    bare = f"{at - around:%Y-%m-%dT%H:%M:%S}"
    _, later = read_csv(export(simulator, **{"from": bare}))

    assert [row["Receipt No."] for row in rows] == [second["receipt"]]
    assert above[5:7] == [
        ["Opening Balance:", "100.00"],
        ["Closing Balance:", "130.00"],
    ]
    assert len(later) == 2
    assert first["receipt"] not in [row["Receipt No."] for row in later]


def test_each_organisation_has_its_own(simulator, hand):
    hand()
    till = simulator.pay("5600301", 80, phone=PHONE)

    above, (row,) = read_csv(export(simulator, shortcode="5600301"))

    assert (row["Receipt No."], row["A/C No."]) == (till["receipt"], "")
    assert row["Reason Type"] == "Customer Merchant Payment"
    assert above[2:4] == [["Short Code:", "5600301"], ["Account:", "Merchant Account"]]


def test_other_styles_by_switch(simulator, hand):
    simulator.faults(
        statement_times="day_first",
        statement_amounts="grouped",
        statement_phones="full",
    )
    paid = hand(amount=1250)
    at = datetime.fromisoformat(paid["time"])

    _, (row,) = read_csv(export(simulator))

    assert row["Completion Time"] == f"{at:%d-%m-%Y %H:%M:%S}"
    assert (row["Paid In"], row["Balance"]) == ("1,250.00", "1,250.00")
    assert row["Other Party Info"].startswith(f"{PHONE} - ")


def test_empty_statement_has_its_header(simulator):
    above, rows = read_csv(export(simulator))

    assert rows == []
    assert ["Closing Balance:", "0.00"] in above


def test_workbook_says_the_same(simulator, busy_day):
    response = export(simulator, format="xlsx")

    assert response.headers["Content-Type"].endswith("spreadsheetml.sheet")
    assert "statement-600100.xlsx" in response.headers["Content-Disposition"]
    sheet = openpyxl.load_workbook(io.BytesIO(response.content)).active
    lines = [list(line) for line in sheet.iter_rows(values_only=True)]
    above, rows = split(lines)
    _, expected = read_csv(export(simulator))
    assert [row["Receipt No."] for row in rows] == [
        row["Receipt No."] for row in expected
    ]
    assert [row["Paid In"] or row["Withdrawn"] for row in rows] == [
        float(row["Paid In"] or row["Withdrawn"]) for row in expected
    ]
    assert above[2][:2] == ["Short Code:", "600100"]


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
@pytest.mark.parametrize(
    "style",
    [
        {},
        {
            "statement_times": "day_first",
            "statement_amounts": "grouped",
            "statement_phones": "full",
        },
    ],
    ids=["plain", "other style"],
)
def test_shop_reads_every_movement(simulator, busy_day, kind, style):
    simulator.faults(**style)

    read = statements.parse(export(simulator, format=kind).content)

    assert (read.bad, read.skipped, read.repeated) == ((), 1, 0)
    assert read.shortcode == "600100"
    kinds = {"c2b": "payment", "stk": "payment"}
    assert [(row.receipt, row.kind, row.amount, row.linked) for row in read.rows] == [
        (
            entry["receipt"],
            kinds.get(entry["kind"], entry["kind"]),
            entry["amount"],
            entry["linkedReceipt"],
        )
        for entry in busy_day
    ]
    assert [row.reference for row in read.payments] == ["K7Q2M9", "K7Q2M9"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"shortcode": "1"}, 404),
        ({"shortcode": ""}, 404),
        ({"format": "pdf"}, 400),
        ({"from": "yesterday"}, 400),
        ({"to": "2026-13-01"}, 400),
    ],
    ids=str,
)
def test_nonsense_is_told(simulator, query, status):
    response = export(simulator, **query)

    assert response.status_code == status
    assert response.json()["error"]
