"""The value of an account, in decimal: what was bought, and the tier that it earns."""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

CENT = Decimal("0.01")
TIERS = ((Decimal(50_000), "gold"), (Decimal(10_000), "silver"))
LOWEST_TIER = "bronze"


def tier(amounts: Sequence[Decimal]) -> str:
    """Gold from 50,000 on, silver from 10,000 on, else bronze."""
    return next((name for least, name in TIERS if sum(amounts) >= least), LOWEST_TIER)


def calculation(amounts: Sequence[Decimal]) -> dict[str, str | int]:
    """Total, average, largest and smallest as decimal strings with two places, and how many there were."""
    total = sum(amounts, Decimal(0))
    return {
        "total": _cents(total),
        "average": _cents(total / len(amounts)),
        "count": len(amounts),
        "max_purchase": _cents(max(amounts)),
        "min_purchase": _cents(min(amounts)),
    }


def _cents(amount: Decimal) -> str:
    return str(amount.quantize(CENT, ROUND_HALF_EVEN))
