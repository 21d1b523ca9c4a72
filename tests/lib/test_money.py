from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartduka.lib import money


AMOUNTS = st.decimals(min_value=0, max_value=10**8, places=2)


@pytest.mark.parametrize(
    ("exact", "payable"),
    [
        ("0.00", "0.00"),
        ("0.49", "0.00"),
        ("0.50", "1.00"),
        ("1.50", "2.00"),
        ("2.50", "3.00"),
        ("99.49", "99.00"),
        ("99.995", "100.00"),
        ("250", "250.00"),
    ],
)
def test_payable_is_whole_shillings_halves_up(exact, payable):
    result = money.payable(Decimal(exact))

    assert str(result) == payable


@given(AMOUNTS)
def test_payable_is_whole_and_less_than_a_shilling_away(amount):
    payable = money.payable(amount)

    assert payable == payable.to_integral_value()
    assert abs(payable - amount) <= Decimal("0.5")


@pytest.mark.parametrize(
    ("amount", "cents"),
    [("1.005", "1.01"), ("1.004", "1.00"), ("2", "2.00"), ("-1.005", "-1.01")],
)
def test_to_cents_rounds_halves_up(amount, cents):
    assert str(money.to_cents(Decimal(amount))) == cents


@pytest.mark.parametrize(
    ("amount", "inside", "paying"),
    [
        ("0.00", "0.00", "0.00"),
        ("0.01", "0.00", "1.00"),
        ("99.99", "99.00", "100.00"),
        ("250", "250.00", "250.00"),
    ],
)
def test_cents_are_left_out_or_need_one_more_shilling(amount, inside, paying):
    exact = Decimal(amount)

    assert str(money.shillings_in(exact)) == inside
    assert str(money.shillings_for(exact)) == paying


@pytest.mark.parametrize("amount", ["250", "250.00", "0.0", "2.5E+2"])
def test_whole_returns_an_int(amount):
    result = money.whole(Decimal(amount))

    assert (type(result), result) == (int, int(float(amount)))


@pytest.mark.parametrize("amount", ["250.01", "0.5", "-0.99"])
def test_whole_refuses_cents(amount):
    with pytest.raises(ValueError, match="not a whole number"):
        money.whole(Decimal(amount))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Decimal(1500), "KES 1,500"),
        (Decimal("1500.00"), "KES 1,500"),
        (Decimal("1500.5"), "KES 1,500.50"),
        (Decimal("0.05"), "KES 0.05"),
        (1_000_000, "KES 1,000,000"),
        (0, "KES 0"),
        (Decimal(-20), "KES -20"),
    ],
)
def test_format_kes(amount, text):
    assert money.format_kes(amount) == text
