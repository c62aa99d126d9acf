"""Building blocks of a record's sections: names, bounded figures, and their base class."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories not allowed in names: they move a terminal's cursor or break a page."""


def printable(name: str) -> bool:
    """Return True if `name` contains no control characters, line ends or lone surrogates."""
    return not {unicodedata.category(character) for character in name} & UNPRINTABLE


def _printable(name: str) -> str:
    if not printable(name):
        raise ValueError("a name holds control characters or ends of lines")
    return name


def _beside(name: str) -> str:
    if name in (".", "..") or set("/\\") & set(_printable(name)):
        raise ValueError("not the name of a file beside the record")
    return name


Name = Annotated[str, AfterValidator(_printable)]
FileName = Annotated[str, AfterValidator(_beside)]
LARGEST = 1e30
"""Bound of figures, so that their sums and ratios are finite."""
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0, le=LARGEST)]
Value = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Positive = Annotated[int, Field(gt=0, le=1_000_000)]
Rate = Annotated[float, Field(gt=0, le=1e9)]


class Section(BaseModel):
    """A frozen part of a record; its fields can also be read by key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __getitem__(self, key: str) -> Any:
        if key not in type(self).model_fields:
            raise KeyError(key)
        return getattr(self, key)
