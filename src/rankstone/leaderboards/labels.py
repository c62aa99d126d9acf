"""Labels that stand for methods on boards; notes beside them name the methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rankstone.leaderboards.numbers import is_known
from rankstone.results.record import RunRecord


def one_label(method: str, records: Iterable[RunRecord]) -> str | None:
    """Return the label of a method's records; None where they have none, or several."""
    found = {record.label for record in records if record.method.name == method} - {None}
    return found.pop() if len(found) == 1 else None


def row_names(methods: Sequence[str], labels: Sequence[str | None]) -> list[str]:
    """Return the name of each row that has a label, and an empty one for the others.

    A label of several methods, or one that reads like a method's name, has the method behind it.
    """
    given = [label if is_known(label) and label else "" for label in labels]
    of = dict[str, set[str]]()
    for method, label in zip(methods, given, strict=True):
        of.setdefault(label, set()).add(method)
    taken = {name for method in methods for name in (method, method.rpartition("/")[2])}
    return [
        (label if len(of[label]) == 1 and label not in taken else f"{label} ({method})")
        if label
        else ""
        for method, label in zip(methods, given, strict=True)
    ]


def label_notes(methods: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    """Yield the method of each name that does not state it; an empty name is no label."""
    for method, name in zip(methods, names, strict=True):
        if name and not name.endswith(f"({method})"):
            yield f"{name}: {method}"
