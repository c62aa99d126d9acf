"""Labels of methods on leaderboards, and notes that give the methods' names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from rankstone.leaderboards.numbers import is_known
from rankstone.results.record import RunRecord
from rankstone.specs import MethodSpec

LONGEST = 40
"""Maximum length of `parameter=value` in a label."""
NO_METHODS: Mapping[str, MethodSpec] = MappingProxyType({})


def one_label(method: str, records: Iterable[RunRecord]) -> str | None:
    """Return the label of a method's records; None if they have none, or several."""
    found = {record.label for record in records if record.method.name == method} - {None}
    return found.pop() if len(found) == 1 else None


def plot_names(records: Sequence[RunRecord], *, whole: bool = False) -> list[str]:
    """Return the label of each record, or the last part of its method's name.

    Where several methods would have the same name, each has its full one.

    Args:
        whole: full names of all methods without a label.
    """
    methods = [record.method.name for record in records]
    labels = row_names(methods, [record.label for record in records])
    last = [method if whole else method.rpartition("/")[2] for method in methods]
    names = [label or name for label, name in zip(labels, last, strict=True)]
    of = Counter(name for name, _ in {*zip(names, methods, strict=True)})
    return [m if of[name] > 1 else name for name, m in zip(names, methods, strict=True)]


def row_names(methods: Sequence[str], labels: Sequence[str | None]) -> list[str]:
    """Return the name of each row from its label; empty for rows without one.

    Labels that are shared by several methods, or equal to a method's name, are followed by the
    method in parentheses.
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
    """Yield `name: method` for each label that does not include the method."""
    for method, name in zip(methods, names, strict=True):
        if name and not name.endswith(f"({method})"):
            yield f"{name}: {method}"


def with_grids(
    records: Iterable[RunRecord], methods: Mapping[str, MethodSpec] = NO_METHODS
) -> list[RunRecord]:
    """Return the records, with labels for those of a grid, such as `hnswlib ef_search=32`.

    A grid consists of a definition and its variants with parameters set by the user (`--set`). Its
    labels list the parameters that vary, after the definition's name: the last part, or the full
    name if that is ambiguous. Existing labels are kept.

    Args:
        methods: Definitions, with which a single variant is compared.
    """
    found = list(records)
    grids: dict[str, dict[str, Mapping[str, object]]] = {}
    for record in found:
        name = record.method.name
        grids.setdefault(base_name(name), {})[name] = record.method.parameters
    for base, grid in grids.items():
        if len(grid) == 1 and base in methods:
            grid.setdefault(base, methods[base].parameters)
    names = grid_names(grids)
    labels = dict(pair for base, grid in grids.items() for pair in _grid_labels(names[base], grid))
    return [
        record.model_copy(update={"label": labels[record.method.name]})
        if record.label is None and record.method.name in labels
        else record
        for record in found
    ]


def grid_names(methods: Iterable[str]) -> dict[str, str]:
    """Return the last part of each definition's name, or all of it where another has the same."""
    bases = list(dict.fromkeys(map(base_name, methods)))
    stems = Counter(map(stem, bases))
    return {base: base if stems[stem(base)] > 1 else stem(base) for base in bases}


def base_name(method: str) -> str:
    """Return the name without the digest of user-set parameters."""
    return re.sub(r"\+parameters-\w+", "", method)


def stem(method: str) -> str:
    """Return the last part of the definition's name."""
    return base_name(method).partition("+")[0].rpartition("/")[2]


def _grid_labels(name: str, grid: Mapping[str, Mapping[str, object]]) -> Iterator[tuple[str, str]]:
    """Yield the methods of a grid and their labels; none if a value is too long."""
    keys = dict.fromkeys(key for parameters in grid.values() for key in parameters)
    varying = [key for key in keys if len({_text(p.get(key)) for p in grid.values()}) > 1]
    for method, parameters in grid.items():
        shown = [f"{key}={_text(parameters[key])}" for key in varying if key in parameters]
        if shown and all(len(text) <= LONGEST for text in shown):
            yield method, f"{name} {' '.join(shown)}"


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return "×".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
