"""The account value is decimal, and its tiers begin where they are said to."""

from decimal import Decimal

import pytest

from garrison.demo.account_value import calculation, tier


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        ("50000", "gold"),
        ("49999.99", "silver"),
        ("10000", "silver"),
        ("9999.99", "bronze"),
        ("0", "bronze"),
        ("100000000", "gold"),
    ],
)
def test_the_tier_begins_exactly_at_its_amount(total: str, expected: str) -> None:
    assert tier([Decimal(total)]) == expected


def test_cents_add_up_exactly() -> None:
    found = calculation([Decimal("0.10"), Decimal("0.20")])
    assert found["total"] == "0.30"
    assert found["average"] == "0.15"


def test_the_calculation_names_count_largest_and_smallest() -> None:
    found = calculation([Decimal(1000), Decimal("2500.00"), Decimal(500)])
    assert found == {
        "total": "4000.00",
        "average": "1333.33",
        "count": 3,
        "max_purchase": "2500.00",
        "min_purchase": "500.00",
    }


def test_a_hundred_times_a_million_keeps_its_cents() -> None:
    assert calculation([Decimal("999999.99")] * 100)["total"] == "99999999.00"
