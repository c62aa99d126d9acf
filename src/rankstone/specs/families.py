"""Files of tasks and of suites: `benchmarks/<family>.toml`, `benchmarks/suites.toml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from rankstone.errors import DefinitionError, did_you_mean
from rankstone.specs.tasks import TaskSpec
from rankstone.strict import Spec, build_spec, read_toml


class SuiteSpec(Spec):
    """Tasks reported together: a table `[suites.<name>]` of `benchmarks/suites.toml`."""

    name: str
    description: str
    """One sentence for lists of suites."""
    members: tuple[str | SuiteSpec, ...] = Field(min_length=1)
    """Tasks by full name, and suites; a member suite is averaged first and counts as one task.
    Named in the TOML, resolved on reading."""
    measures: tuple[str, ...] = ()
    """Measures averaged over the members; empty if the benchmark has no average."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Full names of all tasks, those of member suites in the order of members."""
        nested = [(m,) if isinstance(m, str) else m.tasks for m in self.members]
        return tuple(dict.fromkeys(name for names in nested for name in names))


class Family(NamedTuple):
    """The content of one `benchmarks/<family>.toml`."""

    tasks: dict[str, TaskSpec]
    """Tasks by full name."""
    aliases: dict[str, str]
    """Alias -> full name of a task."""
    yields: bool = False
    """True if an ambiguous short name refers to a task of another family: `scifact` is
    `beir/scifact`, not `nano-beir/scifact`."""


def load_family(path: Path) -> Family:
    """Return the tasks of one family.

    `[defaults]` contains keys that all tasks of the family share; a task's own keys take
    precedence.
    """
    values = _tables(path, "description", "yields", "aliases", "defaults", "tasks")
    tasks: dict[str, TaskSpec] = {}
    for stem, own in _named_tables(values, "tasks", path):
        name = f"{path.stem}/{stem}"
        if "" in stem.split("/"):
            raise DefinitionError(f"{path}: key 'tasks.\"{stem}\"': a part of the name is empty.")
        merged = {"dataset": name, **values.get("defaults", {}), **own, "name": name}
        if "stated_in" in merged:
            raise DefinitionError(f"{path}: unknown key 'tasks.{stem}.stated_in'. Remove it.")
        spec = build_spec(TaskSpec, merged, path, f"tasks.{stem}")
        tasks[name] = spec.model_copy(update={"stated_in": str(path)})
    return Family(tasks, _aliases(values.get("aliases", {}), path), bool(values.get("yields")))


def _aliases(aliases: Mapping[str, Any], path: Path) -> dict[str, str]:
    for alias, name in aliases.items():
        if not isinstance(name, str):
            raise DefinitionError(
                f"{path}: key 'aliases.{alias}': expected the full name of a task, found {name!r}."
            )
    return {f"{path.stem}/{alias}": name for alias, name in aliases.items()}


def load_suites(*paths: Path) -> dict[str, SuiteSpec]:
    """Return all suites of `benchmarks/suites.toml`, by name, with member suites resolved.

    If several files define a suite, the first file wins.

    A member with a slash is a task, one without is a suite. The workspace checks that the tasks
    are defined.
    """
    found = {
        name: build_spec(SuiteSpec, {**own, "name": name}, path, f"suites.{name}")
        for path in reversed(paths)
        if path.is_file()
        for name, own in _named_tables(_tables(path, "description", "suites"), "suites", path)
    }
    return {name: _with_members(suite, found, paths[0]) for name, suite in found.items()}


def _with_members(
    suite: SuiteSpec, known: Mapping[str, SuiteSpec], path: Path, _seen: tuple[str, ...] = ()
) -> SuiteSpec:
    where = f"{path}: key 'suites.{suite.name}.members'"
    if suite.name in _seen:
        raise DefinitionError(f"{where}: the suite contains itself. Remove it.")
    members: list[str | SuiteSpec] = []
    for member in suite.members:
        if not isinstance(member, str) or "/" in member:
            members.append(member)
        elif member in known:
            members.append(_with_members(known[member], known, path, (*_seen, suite.name)))
        else:
            raise DefinitionError(
                f"{where}: '{member}' is not a suite.{did_you_mean(member, known)} A task is named "
                "with its family: <family>/<task>."
            )
    return suite.model_copy(update={"members": tuple(members)})


def _tables(path: Path, *known: str) -> dict[str, Any]:
    """Return the parsed file; DefinitionError if it has other top-level keys."""
    values = read_toml(path)
    unknown = sorted(set(values) - set(known))
    if unknown:
        hint = did_you_mean(unknown[0], known)
        raise DefinitionError(f"{path}: unknown key '{unknown[0]}'.{hint} Remove or rename it.")
    return values


def _named_tables(
    values: Mapping[str, Any], key: str, path: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and content of each table `[<key>.<name>]`."""
    for name, own in values.get(key, {}).items():
        if not isinstance(own, dict):
            raise DefinitionError(f"{path}: key '{key}.{name}': expected a table, found {own!r}.")
        yield name, own
