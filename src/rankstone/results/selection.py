"""Selection of stored records by method, task, family and machine: the filter of every command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypedDict

from rankstone.results.record import RunRecord
from rankstone.results.store import Stored, recorded_name


class Origin(TypedDict, total=False):
    """Filters of records by method families and by machines, one or several of each."""

    family: Sequence[str] | str | None
    machine: Sequence[str] | str | None


class Filters(Origin, total=False):
    """Filters of records."""

    methods: Any
    """Names, patterns such as `dense/*`, specs, or objects that were run."""
    on: Any
    """Tasks in any form, suites, or patterns such as `beir/*`."""


def family_of(method: str) -> str:
    """Return the family of a method, the folder in its name; empty if it has none."""
    return method.rpartition("/")[0]


PROPERTIES: dict[str, Callable[[RunRecord], str]] = {
    "method": lambda record: record.method.name,
    "task": lambda record: record.task.name,
    "family": lambda record: family_of(record.method.name),
    "machine": lambda record: record.environment.machine,
}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Names in full, names by their last parts, or patterns such as `dense/*`; an empty field
    selects all."""

    methods: Sequence[str] = ()
    tasks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Tasks that each given name refers to; at least one of them has a record."""
    families: Sequence[str] = ()
    """A family includes the families within it."""
    machines: Sequence[str] = ()

    def of(self, stored: Iterable[Stored], folder: Path) -> list[Stored]:
        """Return those of `stored`, the records of `folder`, that every field selects.

        Raises: ResultsError, if a name has no record.
        """
        kept = every = list(stored)
        given = (self.methods, self.tasks, self.families, self.machines)
        for (kind, value), names in zip(PROPERTIES.items(), given, strict=True):
            known = list(dict.fromkeys(value(record) for record, _ in every))
            wanted = {n for name in names for n in self._among(name, known, kind, folder)}
            kept = [one for one in kept if not names or value(one[0]) in wanted]
        return kept

    def _among(self, name: str, known: Sequence[str], kind: str, folder: Path) -> Sequence[str]:
        """Return those of `known` that `name` refers to."""
        full = self.tasks.get(name, ()) if kind == "task" else ()
        within = f"{name}/" if kind == "family" else "\0"
        found = [n for n in known if n in full or f"{n}/".startswith(within)]
        found = found or [n for n in known if n.partition("+")[0] in full]
        for pattern in (name, f"*/{name}") if set(name) & set("*?[") else ():
            found = found or [n for n in known if fnmatchcase(n, pattern)]
        return found or [recorded_name(name, known, kind, folder)]
