"""Progress of long tasks: one protocol for reporting and displaying it.

A call ``progress(work, done, total)`` reports that `done` units of `work` are finished, out of
`total` (None if unknown). ``progress(work, 0, None)`` reports that `work` starts or continues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

Progress = Callable[[str, int, int | None], None]


def silent(work: str, done: int, total: int | None) -> None:
    """Report nothing."""


def duration(seconds: float) -> str:
    """Return ``4 s``, ``3:07 min`` or ``2:05 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"


def unprinted(warnings: Iterable[str], printed: set[str]) -> list[str]:
    """Return the warnings that are not in `printed`, and add them to it: the records of a task
    share the warnings about its data."""
    new = [one for one in dict.fromkeys(warnings) if one not in printed]
    printed.update(new)
    return new
