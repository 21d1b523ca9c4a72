import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartduka.lib import phone


@pytest.mark.parametrize(
    "text",
    [
        "0712345678",
        "712345678",
        "254712345678",
        "+254712345678",
        "0712 345 678",
        "0712-345-678",
        "(0712) 345.678",
        " 0712345678 ",
        "+254 712 345 678",
        "\t0712345678\n",
    ],
)
def test_parse_reads_every_way_of_writing(text):
    assert phone.parse(text) == "254712345678"


@pytest.mark.parametrize(
    ("text", "stored"), [("0110345678", "254110345678"), ("110345678", "254110345678")]
)
def test_parse_takes_the_newer_numbers(text, stored):
    assert phone.parse(text) == stored


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "07123",
        "07123456789",
        "0812345678",
        "0202345678",
        "255712345678",
        "+255712345678",
        "00254712345678",
        "2540712345678",
        "+0712345678",
        "0712345678;",
        "0712x345678",
        "phone",
        "٠٧١٢٣٤٥٦٧٨",
        "0712345678" + " " * 40,
        "0712\x00345678",
        None,
        712345678,
        712345678.0,
        True,
        ["0712345678"],
        {"phone": "0712345678"},
    ],
    ids=repr,
)
def test_parse_refuses_what_is_no_kenyan_mobile(text):
    with pytest.raises(phone.InvalidPhone) as refusal:
        phone.parse(text)

    assert (refusal.value.code, refusal.value.http_status) == ("MPESA_001", 400)


@given(st.text())
def test_parse_never_breaks(text):
    try:
        parsed = phone.parse(text)
    except phone.InvalidPhone:
        return

    assert parsed.isascii()
    assert (len(parsed), parsed[:3]) == (12, "254")
    assert phone.parse(parsed) == parsed


def test_grouped_is_how_people_write_it():
    assert phone.grouped("254712345678") == "0712 345 678"


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("254712345678", "0712 ••• 678"),
        ("", ""),
        ("2547 ***** 126", "•••"),
        ("0712345678", "•••"),
        ("254712345678 ", "•••"),
    ],
)
def test_masked_hides_the_middle_and_whatever_is_no_number(stored, shown):
    assert phone.masked(stored) == shown
