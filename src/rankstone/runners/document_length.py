"""Units in which a method measures the length of a document, for splitting long documents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import singledispatch
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

WORD = re.compile(r"\S+")


class Ruler(Protocol):
    """The units of one method, tokens or words."""

    @property
    def unit(self) -> str: ...

    @property
    def limit(self) -> int | None:
        """Most units of a document that the method reads; None if it has no limit."""
        ...

    def ends(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the end offset, in characters, of each unit of each text, where it may be
        split."""
        ...

    def counts(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the (n,) units of each text, with all that the method adds, as in `limit`."""
        ...


class Words:
    """Words separated by white space, without a limit."""

    unit = "words"
    limit: int | None = None

    def ends(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return [
            np.array([word.end() for word in WORD.finditer(text)], dtype=np.int64) for text in texts
        ]

    def counts(self, texts: Sequence[str]) -> NDArray[np.int64]:
        return np.array([len(text.split()) for text in texts], dtype=np.int64)


@singledispatch
def ruler(runner: Any) -> Ruler:
    """Return the units of `runner`: words, unless its class has registered a `Ruler`."""
    return Words()
