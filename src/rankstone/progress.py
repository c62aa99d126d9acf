"""Progress of long work: one protocol between those who do it and those who show it.

A call ``progress(work, done, total)`` reports that `done` units of `work` are finished, of `total`
(None: unknown). ``progress(work, 0, None)`` reports that `work` begins, or goes on.
"""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]


def silent(work: str, done: int, total: int | None) -> None:
    """Report nothing."""
