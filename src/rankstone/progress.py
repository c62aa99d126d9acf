"""Progress of long work, reported by whoever does it to whoever draws it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with the name of the work, the units done, and the total (None: unknown)."""


def silent(what: str, done: int, total: int | None) -> None:
    """Report nothing."""
