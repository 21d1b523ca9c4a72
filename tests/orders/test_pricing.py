from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders import pricing


PRICES = st.decimals(min_value="0.01", max_value=100_000, places=2)


@pytest.mark.parametrize(
    ("price", "quantity", "total"),
    [("80.50", 1, "80.50"), ("80.50", 3, "241.50"), ("0.01", 100, "1.00")],
)
def test_a_line_is_price_times_pieces_exactly(price, quantity, total):
    assert pricing.line_total(Decimal(price), quantity) == Decimal(total)


@pytest.mark.parametrize(
    ("lines", "payable", "rounding"),
    [
        ([], "0.00", "0.00"),
        (["250.00"], "250.00", "0.00"),
        (["80.50"], "81.00", "0.50"),
        (["80.49"], "80.00", "-0.49"),
        (["80.50", "80.50"], "161.00", "0.00"),
        (["0.25", "0.25"], "1.00", "0.50"),
        (["10.10", "20.20", "30.30"], "61.00", "0.40"),
    ],
)
def test_the_sum_is_rounded_once(lines, payable, rounding):
    total = pricing.total(Decimal(line) for line in lines)

    assert total == pricing.Total(Decimal(payable), Decimal(rounding))


@given(st.lists(st.tuples(PRICES, st.integers(1, 1000)), max_size=20))
def test_payable_less_rounding_is_the_exact_sum(lines):
    totals = [pricing.line_total(price, count) for price, count in lines]

    total = pricing.total(totals)

    assert total.payable - total.rounding == sum(totals, Decimal(0))
    assert total.payable == total.payable.to_integral_value()
    assert abs(total.rounding) <= Decimal("0.50")
