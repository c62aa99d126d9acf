from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.leaderboards import numbers as figures


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.50114, ".501"), (1.0, "1.000"), (0.9996, "1.000"), (0.0, ".000"), (-0.02, "−.020"),
        (None, "–"), (float("nan"), "–"), (pd.NA, "–"),
    ],
)  # fmt: skip
def test_quality_has_three_decimals_and_no_leading_zero(value: float, text: str) -> None:
    assert figures.quality(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.041, "0.041"), (0.0004567, "0.000457"), (0.62, "0.620"), (6.914, "6.91"),
        (9.999, "10.0"), (99.96, "100"), (13.76, "13.8"), (171.2, "171"), (4246.9, "4,250"),
        (999.9, "1,000"), (1234567, "1,230,000"), (0, "0"), (None, "–"), (pd.NA, "–"),
    ],
)  # fmt: skip
def test_figures_have_three_significant_digits(value: float, text: str) -> None:
    assert figures.significant(value) == text


@settings(deadline=None)
@given(st.floats(1e-9, 1e12))
def test_significant_keeps_three_digits(value: float) -> None:
    read = float(figures.significant(value).replace(",", ""))
    assert read == pytest.approx(value, rel=5.1e-3, abs=5.1e-4 if value >= 0.01 else 0)


def test_unknown_ends_and_counts_are_not_drawn_as_zero() -> None:
    assert figures.interval(0.488, 0.5139) == ".488–.514"
    assert figures.interval(None, 0.5) == "–"
    assert figures.count(4007, "query", "queries") == "4,007 queries"
    assert [figures.count(n, "thread") for n in (0, 1, 2)] == ["0 threads", "1 thread", "2 threads"]
    assert figures.count(None, "thread") == ""


def test_the_unit_follows_the_largest() -> None:
    assert figures.memory_unit([None, 2**30]) == ("MiB", 2**20)
    assert figures.memory_unit([1.0, 11 * 2**30]) == ("GiB", 2**30)
    assert figures.memory_unit([]) == ("MiB", 2**20)
