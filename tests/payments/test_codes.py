"""The code box: what people paste and type."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.codes import ReadCode, UnreadableCode, read, suggestions


def refused(text):
    with pytest.raises(UnreadableCode) as caught:
        read(text)
    assert caught.value.http_status == 400
    return caught.value


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


PAID_TO_TILL = (
    "UAE5B2K9QT Confirmed. Ksh250.00 paid to DUKA LA JANE. on 14/1/26 at 9:30 AM.New "
    "M-PESA balance is Ksh1,200.00. Transaction cost, Ksh0.00. Amount you can transact "
    "within the day is 499,750.00."
)
AT_TILL = ReadCode(
    "UAE5B2K9QT",
    is_message=True,
    amount=Decimal("250.00"),
    paid_at=utc(2026, 1, 14, 6, 30),
    payee="DUKA LA JANE",
)

# Wordings as they are in use, with our own names and codes.
PAYMENTS = {
    "till": (PAID_TO_TILL, AT_TILL),
    "paybill": (
        "UAE92Q3N5H Confirmed. Ksh1,200.00 sent to DUKA LIMITED for account K7Q2M9 on "
        "9/5/26 at 11:23 PM New M-PESA balance is Ksh3,331.90. Transaction cost, "
        "Ksh5.00.Amount you can transact within the day is 499,800.00.",
        ReadCode(
            "UAE92Q3N5H",
            is_message=True,
            amount=Decimal("1200.00"),
            paid_at=utc(2026, 5, 9, 20, 23),
            payee="DUKA LIMITED",
            account="K7Q2M9",
        ),
    ),
    "paybill, words in the account": (
        "UAF32Q6I8Z Confirmed. Ksh20.00 sent to DUKA for account MAMA NJERI on 3/6/26 "
        "at 12:08 AM. New M-PESA balance is Ksh8,737.01.",
        ReadCode(
            "UAF32Q6I8Z",
            is_message=True,
            amount=Decimal("20.00"),
            paid_at=utc(2026, 6, 2, 21, 8),
            payee="DUKA",
            account="MAMA NJERI",
        ),
    ),
    "paid to, with account": (
        "SB27LJ9O3R Confirmed. Ksh2,000.00 paid to DUKA Account Number 12345678 on "
        "28/3/25 at 12:00 PM. New M-PESA balance is Ksh800.00.",
        ReadCode(
            "SB27LJ9O3R",
            is_message=True,
            amount=Decimal("2000.00"),
            paid_at=utc(2025, 3, 28, 9, 0),
            payee="DUKA",
            account="12345678",
        ),
    ),
    "you have paid": (
        "TG56DEF8K2 Confirmed. You have paid KES 800 to DUKA for account 9 on "
        "18/11/2025 at 16:30. New balance is Ksh11,300.00.",
        ReadCode(
            "TG56DEF8K2",
            is_message=True,
            amount=Decimal(800),
            paid_at=utc(2025, 11, 18, 13, 30),
            payee="DUKA",
            account="9",
        ),
    ),
    "time first": (
        "QG44234212 Confirmed. on 12/1/25 at 1:30 PM Ksh1,500.00 paid to DUKA. New "
        "M-PESA balance is Ksh2.00",
        ReadCode(
            "QG44234212",
            is_message=True,
            amount=Decimal("1500.00"),
            paid_at=utc(2025, 1, 12, 10, 30),
            payee="DUKA",
        ),
    ),
    "Swahili till": (
        "TAE46D879G Imethibitishwa. Umelipa Ksh20.00 kwa DUKA LA JANE 14/1/25 4:53 PM."
        "Baki yako mpya katika M-PESA ni Ksh173.47. Gharama ya kununua ni Ksh0.00.",
        ReadCode(
            "TAE46D879G",
            is_message=True,
            amount=Decimal("20.00"),
            paid_at=utc(2025, 1, 14, 13, 53),
            payee="DUKA LA JANE",
        ),
    ),
    "Swahili paybill": (
        "TAE16URS8R Imethibitishwa Ksh1,310.00 imetumwa kwa DUKA kwa akaunti nambari "
        "K7Q2M9 mnamo 14/1/25 saa 6:34 PM. Baki yako ya M-PESA ni Ksh113.47.",
        ReadCode(
            "TAE16URS8R",
            is_message=True,
            amount=Decimal("1310.00"),
            paid_at=utc(2025, 1, 14, 15, 34),
            payee="DUKA",
            account="K7Q2M9",
        ),
    ),
    "Swahili, paid": (
        "TAE16URS8R imethibitishwa. Ksh250.00 imelipwa kwa DUKA tarehe 14/1/26 saa "
        "9:30 AM. Salio lako la M-PESA ni Ksh113.47.",
        ReadCode(
            "TAE16URS8R",
            is_message=True,
            amount=Decimal("250.00"),
            paid_at=utc(2026, 1, 14, 6, 30),
            payee="DUKA",
        ),
    ),
    "told to the shop": (
        "TJ5TB3Q8XW Confirmed. Ksh2,500.00 received from MARY ATIENO 254722000111 "
        "Account Number HSE12 New Utility balance is Ksh 50,000.00",
        ReadCode("TJ5TB3Q8XW", is_message=True, amount=Decimal("2500.00")),
    ),
    "a wording of tomorrow": (
        "UJK4AB12UX Confirmed. Ksh250.00 handed over at DUKA on 5/10/26 at 2:15 PM.",
        ReadCode(
            "UJK4AB12UX",
            is_message=True,
            amount=Decimal("250.00"),
            paid_at=utc(2026, 10, 5, 11, 15),
        ),
    ),
}


@pytest.mark.parametrize(("text", "found"), PAYMENTS.values(), ids=PAYMENTS)
def test_a_message_is_read(text, found):
    assert read(text) == found


@pytest.mark.parametrize(
    "text",
    [
        f"M-PESA\n{PAID_TO_TILL}\n\n",
        f"Fwd: {PAID_TO_TILL}",
        PAID_TO_TILL.lower().replace("duka la jane", "DUKA LA JANE"),
        PAID_TO_TILL.replace(" ", "\N{NO-BREAK SPACE}"),
        PAID_TO_TILL.replace(" ", "\r\n"),
        PAID_TO_TILL.replace("Ksh", "Ksh\N{ZERO WIDTH SPACE}"),
        PAID_TO_TILL.replace("250", "２５０"),  # noqa: RUF001 -- full-width on purpose
        PAID_TO_TILL.replace("Ksh250", "Ksh Ksh 250"),
        PAID_TO_TILL.replace("T Confirmed. K", "T Confirmed.K"),
        PAID_TO_TILL + " " + PAID_TO_TILL,
    ],
)
def test_a_message_survives_what_phones_do_to_it(text):
    assert read(text) == AT_TILL


def test_a_shop_called_like_a_word_of_the_message_keeps_its_name():
    found = read(PAID_TO_TILL.replace("DUKA LA JANE", "ST. ANN ON MOI REVERSED"))

    assert found.payee == "ST. ANN ON MOI REVERSED"
    assert found.amount == Decimal(250)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("Ksh1,450,000.50", Decimal("1450000.50")),
        ("Ksh. 7", Decimal(7)),
        ("Ksh1,45", None),
        ("Ksh250.005", None),
        ("Ksh0.00", None),
        ("Tsh250.00", None),
        ("nothing", None),
    ],
)
def test_an_amount_that_is_not_clear_is_none(written, amount):
    assert read(PAID_TO_TILL.replace("Ksh250.00", written)).amount == amount


@pytest.mark.parametrize(
    "written",
    ["31/2/26 at 9:30 AM", "14/1/26 at 13:30 PM", "14/1/26 at 9:75 AM", "14/1/26",
     "14/1/260 at 9:30", "yesterday", "0/1/26 at 9:30 AM", "14/1/26 at 24:00"],
)  # fmt: skip
def test_a_time_that_is_none_is_none(written):
    found = read(PAID_TO_TILL.replace("14/1/26 at 9:30 AM", written))

    assert found.receipt == "UAE5B2K9QT"
    assert found.paid_at is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "MN89MNO4X1 Confirmed. Your transaction of Ksh500.00 to DUKA has been "
            "reversed. New M-PESA balance is Ksh5,500.00.",
            "reversed",
        ),
        (
            "MN89MNO4X1 Confirmed. Reversal of transaction UAE5B2K9QT has been "
            "successfully reversed on 5/6/26 at 10:00 AM and Ksh250.00 is credited.",
            "reversed",
        ),
        ("MN89MNO4X1 Imethibitishwa. Ksh250.00 zimerudishwa kwako.", "reversed"),
        (
            "DT85TH896H Confirmed.You have received Ksh3,500.00 from JOHN DOE "
            "0701234567 on 31/7/13 at 6:43 PM New M-PESA balance is Ksh11,312.00.",
            "received",
        ),
        (
            "TAD72DJ3YB Imethibitishwa. Umepokea Ksh1.00 kutoka John Doe 0729641937",
            "received",
        ),
        (
            "UG9QXAXODW Confirmed. Ksh50.00 sent to TORY RUKWARO 0758625343 on 9/7/26 "
            "at 2:33 PM. New M-PESA balance is Ksh0.00.",
            "person",
        ),
        (
            "UG9QXAXODW Confirmed. Ksh50.00 sent to TORY RUKWARO 0720***167 on 9/7/26 "
            "at 2:33 PM.",
            "person",
        ),
        (
            "TAD43EZZ3O Imethibitishwa Ksh20.00 imetumwa kwa Eliud  Otieno 0792469173 "
            "tarehe 13/1/25 saa 8:37 PM.",
            "person",
        ),
        ("TA22OPE6TO confirmed.You bought Ksh10.00 of airtime on 2/1/25", "other"),
        ("PXX6MNO345 Confirmed. on 24/10/21 at 4:45 PM Withdraw Ksh400.00", "other"),
        ("TAD72CZ6J3 Imethibitishwa. Baki yako ni: Akaunti ya M-PESA", "other"),
        ("Failed. You do not have enough money in your M-PESA account.", "no_code"),
        ("Confirmed. Ksh250.00 paid to DUKA on 14/1/26 at 9:30 AM.", "no_code"),
        ("Ksh250000", "no_code"),
        (f"{PAID_TO_TILL} {PAYMENTS['paybill'][0]}", "several"),
        ("", "empty"),
        (" \n\N{ZERO WIDTH SPACE} ", "empty"),
        ("x" * 2001, "too_long"),
        ("0712345678", "digits"),
        ("+254 712 345 678", "digits"),
        ("KARIBU", "shape"),
        ("hello world", "shape"),
        ("UAE5B2K9QTUAE5B2K9QT", "shape"),
        ("UAE5B2K9Q!", "shape"),
        ("УАЕ5В2К9QT", "shape"),  # noqa: RUF001 -- Cyrillic on purpose
    ],
)
def test_what_is_no_payment_is_refused_with_its_reason(text, reason):
    refusal = refused(text)

    assert refusal.details == {"reason": reason}
    assert refusal.message.endswith((".", "!"))


@pytest.mark.parametrize(
    "typed",
    ["UAE5B2K9QT", "uae5b2k9qt", " UAE5 B2K9 QT ", "UAE5-B2K9-QT", "UAE5B2K9QT."],
)
def test_a_typed_code_is_taken_loosely(typed):
    assert read(typed) == ReadCode("UAE5B2K9QT", is_message=False)


@pytest.mark.parametrize("typed", ["UKSH1B2C3D", "UAMPESA1X2", "uksh1b2c3d"])
def test_a_typed_code_may_hold_a_word_of_the_message(typed):
    assert read(typed).receipt == typed.upper()
    assert not read(typed).is_message


@pytest.mark.parametrize("typed", ["UAE5B2K9", "LHG31AA5TX4", "UAE5B2K9QTAB"])
def test_a_typed_code_has_eight_to_twelve_signs(typed):
    assert read(typed).receipt == typed


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("UAE5B2K9QT", ()),
        ("UAE5B2K9Q0", ("UAE5B2K9QO",)),
        ("0AE5B2K9QT", ("OAE5B2K9QT",)),
        ("UA05B2K9Q1", ("UAO5B2K9Q1", "UAO5B2K9QI", "UA05B2K9QI")),
        ("IAE5B2K9QT", ("1AE5B2K9QT",)),
    ],
)
def test_other_spellings_are_offered_likely_ones_first(typed, offered):
    found = read(typed)

    assert found.receipt == typed
    assert found.suggestions == offered


def test_many_doubtful_signs_are_turned_one_at_a_time():
    assert suggestions("OOOOOIIIII")[:2] == ("0OOOOIIIII", "O0OOOIIIII")
    assert len(suggestions("OOOOOIIIII")) == 8


def test_a_message_offers_no_other_spelling():
    assert read(PAID_TO_TILL.replace("UAE5B2K9QT", "UAE0B1K9QO")).suggestions == ()


ODD = st.text(st.characters(codec=None), max_size=300)
PIECES = st.sampled_from(re.split(r"( )", PAID_TO_TILL)) | ODD


@given(ODD | st.lists(PIECES, max_size=40).map("".join))
def test_no_text_breaks_it(text):
    try:
        found = read(text)
    except UnreadableCode:
        return
    assert re.fullmatch(r"[A-Z0-9]{8,12}", found.receipt)
    assert found.amount is None or found.amount > 0
