"""Tasks and suites by their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rankstone.benchmarks.recorded_tasks import recorded_task
from rankstone.benchmarks.task_names import FORMS, hub_label, task_of
from rankstone.errors import DataError, DefinitionError, did_you_mean
from rankstone.runners.unwritten.forms import (
    HUB,
)
from rankstone.specs import (
    Family,
    SuiteSpec,
    TaskSpec,
    load_family,
    load_suites,
)
from rankstone.strict import resolve_name
from rankstone.workspace.given import Tasks, names_of, several
from rankstone.workspace.layers import Layers

SUITES = "suites.toml"


@dataclass(frozen=True, kw_only=True)
class DefinedTasks(Layers):
    """The tasks and suites of all layers."""

    @cached_property
    def tasks(self) -> dict[str, TaskSpec]:
        """All tasks of all families, by full name."""
        return {n: spec for family in self._families for n, spec in family.tasks.items()}

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Aliases of tasks: full alias -> full name of a task."""
        found = {a: name for family in self._families for a, name in family.aliases.items()}
        for alias, name in found.items():
            if name not in self.tasks or alias in self.tasks:
                fault = f"'{name}' is not defined" if name not in self.tasks else "names a task"
                raise DefinitionError(
                    f"{self.benchmarks}: the alias '{alias}': {fault}."
                    f"{did_you_mean(name, self.tasks)} (rankstone list benchmarks)"
                )
        return found

    @cached_property
    def suites(self) -> dict[str, SuiteSpec]:
        """All suites, by name."""
        return load_suites(*(layer / "benchmarks" / SUITES for layer in self.layers))

    def task(self, name: str) -> TaskSpec:
        """Return the task with that full name or alias, or with its last parts if unambiguous.

        Limits such as `@first100` and `@k20` are applied. A name that is not defined may be a path
        (see `benchmarks.task_names`). A defined task takes precedence over a folder of the same
        name: write `./name` for the folder.
        """
        names = [*self.tasks, *self.aliases]
        if not any(full == name or full.endswith(f"/{name}") for full in names):
            unwritten = task_of(name)
            if unwritten is not None:
                return unwritten
        whole, *cuts = name.split("@")
        try:
            known = preferred(whole, names, *self._groups())
            full = resolve_name(whole, known, "Task", self.root)
        except DefinitionError as error:
            message = str(error).rstrip(".")
            raise DefinitionError(f"{message}. A task may also be {FORMS}.") from None
        return self.tasks[self.aliases.get(full, full)].cut(cuts)

    def suite(self, name: str) -> SuiteSpec:
        """Return the suite of that name; all its tasks are defined."""
        if name not in self.suites:
            raise DefinitionError(
                f"Suite '{name}' is not defined in {self.benchmarks / SUITES}."
                f"{did_you_mean(name, self.suites)} (rankstone list benchmarks)"
            )
        suite = self.suites[name]
        unknown = [task for task in suite.tasks if task not in self.tasks]
        if unknown:
            raise DefinitionError(
                f"{self.benchmarks / SUITES}: key 'suites.{name}.members': the task "
                f"'{unknown[0]}' is not defined.{did_you_mean(unknown[0], self.tasks)} "
                "(rankstone list benchmarks)"
            )
        return suite

    def expand(self, name: str) -> list[TaskSpec]:
        """Return the tasks that `name` refers to: those of a suite, or one task.

        A suite's name takes precedence over the last part of a task's name: `msmarco` is the suite,
        `beir/msmarco` the task.
        """
        if name in self.suites:
            return [self.tasks[task] for task in self.suite(name).tasks]
        return [self.task(name)]

    def named(self, given: Tasks) -> list[TaskSpec]:
        """Return the tasks `given`, with suites expanded and names resolved, each once."""
        specs = [s for t in several(given) for s in (self.expand(t) if isinstance(t, str) else [t])]
        return list({spec.name: spec for spec in specs}.values())

    def one_task(self, given: str | TaskSpec) -> TaskSpec:
        """Return the task `given`; DefinitionError for a suite of several tasks."""
        found = self.named(given)
        if len(found) != 1:
            names = ", ".join(task.name for task in found)
            raise DefinitionError(
                f"'{given}' is a suite; one task is needed here. Name one: {names}"
            )
        return found[0]

    def single_names(self, given: Tasks) -> list[str]:
        """Return the names `given`, with suites replaced by the names of their tasks."""
        return [
            name
            for one in names_of(given)
            for name in (self.suite(one).tasks if one in self.suites else [one])
        ]

    def recorded_task(
        self, name: str, source: str, split: str, *, relevance: int, digest: str
    ) -> TaskSpec:
        """Return the task of a record, reconstructed from the record if it is not defined."""
        if name.partition("@")[0] in self.tasks:
            return self.task(name)
        found = recorded_task(name, source, split, relevance=relevance, digest=digest)
        return found or self.task(name)

    def recorded_task_name(self, name: str) -> str:
        """Return the task's name in records; names other than paths and sources are unchanged."""
        defined = any(f"/{full}".endswith(f"/{name}") for full in (*self.tasks, *self.aliases))
        try:
            unwritten = None if defined else task_of(name)
        except DataError:
            if not name.startswith(HUB):
                raise
            return hub_label(name)
        return name if unwritten is None else unwritten.name

    @cached_property
    def _loaded(self) -> dict[Path, Family]:
        """Files of tasks with their content; later files take precedence."""
        found = (sorted((layer / "benchmarks").glob("*.toml")) for layer in reversed(self.layers))
        paths = (path for family in found for path in family if path.name != SUITES)
        return {path: load_family(path) for path in paths}

    @property
    def _families(self) -> Iterable[Family]:
        return self._loaded.values()

    def _groups(self) -> Iterator[list[str]]:
        """Yield names of tasks; last parts in an earlier group precede those in later groups."""
        own = [family for path, family in self._loaded.items() if self.root in path.parents]
        for families in (own, self._families):
            yield _names(family for family in families if not family.yields)
            yield _names(families)


def preferred(name: str, known: list[str], *groups: Sequence[str]) -> list[str]:
    """Return the names among which to look up `name`: those of the first group that end in it."""
    if name in known:
        return known
    ending = ([full for full in group if full.endswith(f"/{name}")] for group in groups)
    return next(filter(None, ending), known)


def _names(families: Iterable[Family]) -> list[str]:
    """Return the names and aliases of the tasks of `families`."""
    return [name for family in families for name in (*family.tasks, *family.aliases)]
