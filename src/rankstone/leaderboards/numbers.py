"""Formatting of figures; unknown ones are shown as `–`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from rankstone.files import GIB, MIB

UNKNOWN = "–"
REUSED = "†"
"""Mark of a figure from an earlier run, in every format."""
UNSTEADY = "‡"
"""Mark of a latency that varied more than on an idle machine, in every format."""


def is_known(value: object) -> bool:
    return value is not None and not pd.isna(value)  # type: ignore[call-overload]


def finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with NaN and infinity replaced by None, because JSON lacks them."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def quality(value: float | None) -> str:
    """Return three decimals as papers print them: `.501`, `1.000`, `−.020`."""
    return fixed(float(value), 3) if is_known(value) and value is not None else UNKNOWN


def fixed(value: float, decimals: int = 4) -> str:
    """Return fixed decimals below 10, without a leading zero as in papers; counts in full."""
    if value == int(value) and abs(value) >= 10:
        return f"{int(value):,}"
    if abs(value) >= 10:
        return f"{value:,.2f}"
    text = f"{value:.{decimals}f}"
    bare = text.lstrip("-")
    return ("−" if value < 0 and float(text) else "") + (bare[1:] if bare[0] == "0" else bare)


def signed(value: float, decimals: int = 3) -> str:
    """Return the same with its sign: `+.031`, `−.004`, `.000`."""
    text = fixed(value, decimals)
    return f"+{text}" if value > 0 and text.strip(".0") else text


def interval(low: float | None, high: float | None) -> str:
    """Return an interval such as `.488–.514`."""
    if not (is_known(low) and is_known(high)):
        return UNKNOWN
    return f"{quality(low)}–{quality(high)}"


def significant(value: float | None) -> str:
    """Return three significant digits, at most three decimals: `0.041`, `6.91`, `171`, `4,250`.

    Values below 0.01 have more decimals, so that no measured value is shown as zero.
    """
    if not is_known(value):
        return UNKNOWN
    number = float(value)  # type: ignore[arg-type]
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    digits = 2 - math.floor(math.log10(abs(number)))
    # Rounding may carry into the next power of ten (9.999 -> 10.0), which needs one digit less.
    rounded = round(number, digits)
    digits = 2 - math.floor(math.log10(abs(rounded)))
    if abs(rounded) >= 0.01:
        digits = min(digits, 3)
    return f"{number if digits >= 0 else rounded:,.{max(0, digits)}f}"  # rounded once


def flagged(value: float | None, mark: str) -> str:
    """Return the significant digits, with the mark if the figure is known."""
    return significant(value) + (mark if is_known(value) else "")


def memory_unit(values: Iterable[float | None]) -> tuple[str, int]:
    """Return the unit of a column of bytes: GiB if the largest is at least 10 GiB, else MiB."""
    largest = max((float(v) for v in values if is_known(v) and v is not None), default=0.0)
    return ("GiB", GIB) if largest >= 10 * GIB else ("MiB", MIB)


def bytes_text(value: float | None, mark: str = "") -> str:
    """Return a size such as `1.25 MiB`, with the mark if the figure is known."""
    if value is None:
        return UNKNOWN
    unit, size = memory_unit([value])
    return f"{significant(value / size)} {unit}{mark}"


def count(value: int | None, noun: str, plural: str = "") -> str:
    """Return `4,007 queries`, `1 query`, or an empty string if the number is unknown."""
    if not is_known(value) or value is None:
        return ""
    return f"{int(value):,} {noun if value == 1 else plural or f'{noun}s'}"
