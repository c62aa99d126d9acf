"""Finds the definitions: those of the workspace, laid over the packaged ones."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from rankstone.benchmarks.recorded_tasks import recorded_task
from rankstone.benchmarks.task_names import FORMS, hub_label, task_of
from rankstone.errors import DataError, DefinitionError, did_you_mean
from rankstone.files import PathLike, copy
from rankstone.runners.method_files import load_method, method_names
from rankstone.runners.names import labelled, named_by_content
from rankstone.runners.objects.method import import_method, is_object_name, object_method
from rankstone.runners.unwritten.changes import NONE as NONE
from rankstone.runners.unwritten.changes import Changes as Changes
from rankstone.runners.unwritten.forms import (
    HUB,
    LUCENE,
    SOURCES,
    from_folder,
    is_form,
    method_of,
    recorded_label,
)
from rankstone.specs import (
    DEFAULT,
    EVERY,
    OWN,
    Family,
    MethodSpec,
    Recipe,
    SuiteSpec,
    TaskSpec,
    load_family,
    load_suites,
)
from rankstone.strict import Spec, SpecT, build_spec, load_folder, read_toml, resolve_name

SUITES = "suites.toml"
SETTINGS = "rankstone.toml"
Methods = Sequence[str | MethodSpec | Any] | str | MethodSpec | Any
"""Names, specs, runners and functions that search, or one of them."""
Tasks = Sequence[str | TaskSpec] | str | TaskSpec
Value = TypeVar("Value")


class Settings(Spec):
    """Folders that a workspace states in its `rankstone.toml`; relative ones start there."""

    results: str | None = None
    """Records, instead of `results`."""
    data: str | None = None
    """Local mirror of collections in BEIR layout; `--data` and `RANKSTONE_DATA` precede."""
    cache: str | None = None
    """Prepared corpora and encodings; `--cache` and `RANKSTONE_CACHE` precede."""


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A folder of definitions, in `benchmarks/`, `runners/` and `leaderboards/`, and those
    beneath."""

    root: Path
    base: Path | None = None
    """The definitions beneath, which stay where `root` has none of the name."""

    @classmethod
    def find(cls, explicit: Path | None = None, start: Path | None = None) -> Workspace:
        """The workspace at `explicit`, else the nearest ancestor of `start`, over the packaged."""
        packaged = packaged_definitions()
        if explicit is not None and not explicit.is_dir():
            raise DefinitionError(
                f"{explicit}: no folder is there. Make a workspace: rankstone init {explicit}"
            )
        here = (start or Path.cwd()).resolve()
        above = (folder for folder in (here, *here.parents) if _is_workspace(folder))
        root = next(above, packaged) if explicit is None else explicit.resolve()
        return cls(root=root, base=None if root == packaged else packaged)

    @property
    def layers(self) -> tuple[Path, ...]:
        """The folders of definitions; an earlier one precedes."""
        return (self.root,) if self.base is None else (self.root, self.base)

    @cached_property
    def settings(self) -> Settings:
        path = self.root / SETTINGS
        return build_spec(Settings, read_toml(path), path) if path.is_file() else Settings()

    def folder(self, name: Literal["results", "data", "cache"]) -> Path | None:
        """The folder that the settings state."""
        stated = getattr(self.settings, name)
        return None if stated is None else self.root / Path(os.path.expandvars(stated)).expanduser()

    def holder(self, file: str) -> Path:
        """The first of the layers that holds `file`."""
        return next((layer for layer in self.layers if (layer / file).is_file()), self.root)

    def load(self, kind: type[SpecT], folder: str) -> dict[str, SpecT]:
        """The definitions in a folder of each layer, by name."""
        layers = reversed(self.layers)
        return {n: one for layer in layers for n, one in load_folder(kind, layer / folder).items()}

    @property
    def runners(self) -> Path:
        return self.root / "runners"

    @property
    def benchmarks(self) -> Path:
        return self.root / "benchmarks"

    @property
    def published(self) -> Path:
        """The values that others published."""
        return self.leaderboards / "published.csv"

    @property
    def leaderboards(self) -> Path:
        """Defined leaderboards, one file each."""
        return self.root / "leaderboards"

    @property
    def claims(self) -> Path:
        """The claims of papers, one file each."""
        return self.leaderboards / "claims"

    @property
    def papers(self) -> Path:
        """Published tables, one file each."""
        return self.leaderboards / "papers"

    @property
    def results(self) -> Path:
        """Default folder of records: beside the definitions, unless those are packaged."""
        base = Path.cwd() if self.root == packaged_definitions() else self.root
        return self.folder("results") or base / "results"

    @property
    def _runners(self) -> tuple[Path, ...]:
        return tuple(layer / "runners" for layer in self.layers)

    def method_names(self) -> list[str]:
        return method_names(*self._runners)

    def method(self, name: str) -> MethodSpec:
        """The method `<family>/<stem>`, or just `<stem>` where that is unambiguous; or a form of
        `runners.unwritten.forms`, or the Python object `package.module:NAME`."""
        if is_object_name(name):
            return import_method(name)
        if self._is_form(name):
            return self.methods(name)[0]
        known = [name]
        if not self._has_file(name):
            known = self.method_names()
            known = _preferred(name, known, method_names(self.runners))
        full = resolve_name(name, known, "Runner", self.root)
        return self._by_task(load_method(full, *self._runners, unwritten=self._unwritten))

    def _has_file(self, name: str) -> bool:
        """True of the full name of a definition, without a list of all of them."""
        family, _, stem = name.partition("/")
        if family in ("", ".", "..") or not stem or "/" in stem or len(name.encode()) > 200:
            return False
        return any((folder / f"{name}.toml").is_file() for folder in self._runners)

    def _unwritten(self, name: str, folder: Path) -> MethodSpec | None:
        """The member `name` of a file in `folder`, in another form than a definition's name."""
        if is_object_name(name):
            return import_method(name, folder)
        formed = self._is_form(name, folder)
        return self.methods([from_folder(name, folder)])[0] if formed else None

    def _by_task(self, method: MethodSpec) -> MethodSpec:
        """Return `method`, and its members, with `on` and `instructions` by single tasks."""
        scorer = method.scorer
        if scorer is not None:
            inner = tuple(map(self._by_task, scorer.members))
            recipe = self._recipe(scorer.training, method)
            scorer = scorer.model_copy(update={"members": inner, "training": recipe})
        members = tuple(map(self._by_task, method.members))
        on = dict[str, dict[str, Any]]()
        for task, values in self._each_task(method, "on", method.on):
            on[task] = {**on.get(task, {}), **values}
        instructions = dict(self._each_task(method, "instructions", method.instructions))
        changed = {"members": members, "scorer": scorer, "on": on, "instructions": instructions}
        return method.model_copy(
            update={**changed, "training": self._recipe(method.training, method)}
        )

    def _recipe(self, recipe: Recipe | None, method: MethodSpec) -> Recipe | None:
        """A recipe of `method` with its tasks and its teachers looked up."""
        if recipe is None:
            return None
        data = tuple(self.task(t) if isinstance(t, str) and t != OWN else t for t in recipe.data)
        teachers = {
            key: self._teacher(key, getattr(recipe, key), method) for key in Recipe.TEACHERS
        }
        first = self._recipe(recipe.first, method)
        return recipe.model_copy(update={"data": data, "first": first, **teachers})

    def _teacher(self, key: str, stated: Any, method: MethodSpec) -> Any:
        if not isinstance(stated, str):
            return stated
        if method.name == stated or method.name.endswith(f"/{stated}"):
            raise DefinitionError(f"{method.file}: key 'training.{key}': the method itself.")
        return self.method(stated)

    def _each_task(
        self, method: MethodSpec, table: str, values: Mapping[str, Value]
    ) -> Iterator[tuple[str, Value]]:
        """Yield the values of a table by single tasks: those stated of suites and families, then
        those of tasks, which precede them."""
        for key in sorted(values, key=lambda key: key in self.tasks):
            found = self.suite(key).tasks if key in self.suites else fnmatch.filter(self.tasks, key)
            tasks = (key,) if key in (DEFAULT, EVERY) else found
            if not tasks:
                raise DefinitionError(
                    f"{self.root / method.file}: key '{table}.{key}': no task, suite or FAMILY/*."
                    f"{did_you_mean(key, [*self.suites, *self.tasks])} Correct or remove it."
                )
            yield from ((task, values[key]) for task in tasks)

    def methods(
        self, given: Methods, *, weights: PathLike | None = None, changes: Changes = NONE
    ) -> list[MethodSpec]:
        """The methods `given`, each once, names by specs, with the `changes` of a command, or with
        each of their combinations (`Changes.grid`).

        One that is not as its name is defined has another name (`runners.names`).

        Args:
            given: names of definitions, forms of `runners.unwritten.forms`, specs, or objects.
            weights: folder with the weights of the one method.
        """
        for option, stated in (("--model-path", weights), ("--name", changes.name)):
            if stated is not None and len(several(given)) != 1:
                raise DefinitionError(f"{option} is for one method at a time. Name one.")
        first = self.methods([changes.candidates])[0] if changes.candidates else None
        grid = list(changes.grid())
        chosen = [self._changed(m, weights, one, first) for m in several(given) for one in grid]
        rescored = any(first in method.members for method in chosen)
        if (first or changes.depth) and not rescored:
            raise DefinitionError(
                "--candidates and --depth are for a cross-encoder or another model that re-scores,"
                " without a definition, and none is named. Name one (hf:ORG/NAME or its folder), or"
                " leave them out."
            )
        return _each_once(chosen)

    def _changed(
        self,
        given: Any,
        weights: PathLike | None,
        changes: Changes,
        first: MethodSpec | None,
    ) -> MethodSpec:
        """One method as its name states it, then with the `changes`, under its own name."""
        if not isinstance(given, str):
            method = object_method(given)
        elif self._is_form(given):
            method = method_of(given, changes, first, self._runners, self._unwritten)
        else:
            method = self.method(given)
        method = method if weights is None else method.at(Path(weights).resolve())
        plain = named_by_content(self._by_task(method), self._definition)
        changed = changes.applied(plain)
        if changed != plain:
            changed = named_by_content(
                changed, lambda name: plain if name == plain.name else self._definition(name)
            )
        return changed if changes.name is None else labelled(changed, changes.name)

    def composite(self, adapter: str, members: Methods, parameters: dict[str, Any]) -> MethodSpec:
        """A method of the kind `adapter` made of `members`, named by its content."""
        method = MethodSpec(
            name=f"python/{adapter}",
            description=f"A {adapter} of methods named in Python.",
            adapter=adapter,
            parameters=parameters,
            members=tuple(self.methods(members)),
        )
        return labelled(method, method.name)

    def _is_form(self, name: str, folder: Path = Path()) -> bool:
        """True if `name` is a form; a definition precedes a folder of the same name."""
        if not is_form(name, folder):
            return False
        return not any(f"/{full}".endswith(f"/{name}") for full in self.method_names())

    def recorded(self, name: str) -> str:
        """The name under which records of a method are, of a hub model its beginning.

        A name of no such form, and a path that is no model's, stays; `@TASK` may follow.
        """
        if Path(name).is_file() and Path(name).suffix != ".toml":
            return name
        whole, *rest = name.split("@")
        hub = name.startswith(HUB)  # whose revision stands before the task
        cut = next((n for n, part in enumerate(rest) if "/" in part or not hub), None)
        if cut is not None and not Path(name).exists():
            method, task = "@".join([whole, *rest[:cut]]), "@".join(rest[cut:])
            return f"{self.recorded(method)}@{self.recorded_task_name(task)}"
        if name.startswith((HUB, LUCENE)) and (label := recorded_label(name)):
            return label
        if is_object_name(name):
            return import_method(name).name
        path = Path(name).expanduser()
        model = (path / "config.json").is_file() or (path.suffix == ".toml" and path.is_file())
        formed = name.startswith(SOURCES) or (model and self._is_form(name))
        return self.methods(name)[0].name if formed else name

    def recorded_task_name(self, name: str) -> str:
        """The name under which records of a task are; one that is no path or source stays."""
        defined = any(f"/{full}".endswith(f"/{name}") for full in (*self.tasks, *self.aliases))
        try:
            unwritten = None if defined else task_of(name)
        except DataError:
            if not name.startswith(HUB):
                raise
            return hub_label(name)
        return name if unwritten is None else unwritten.name

    def _definition(self, name: str) -> MethodSpec | None:
        known = self._has_file(name) or name in self.method_names()
        return self.method(name) if known else None

    def defined(self, names: Iterable[str]) -> dict[str, MethodSpec]:
        """Those of the methods `names` that are defined, by full name."""
        return {name: self.method(name) for name in sorted({*names} & {*self.method_names()})}

    @cached_property
    def tasks(self) -> dict[str, TaskSpec]:
        """Every task of every family, by full name."""
        return {n: spec for family in self._families for n, spec in family.tasks.items()}

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Second names of tasks: full second name -> full name of a task."""
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
        """Every suite, by name."""
        return load_suites(*(layer / "benchmarks" / SUITES for layer in self.layers))

    def task(self, name: str) -> TaskSpec:
        """The task of that full name or alias, or just of its last parts if that is unambiguous.

        Limits such as `@first100` and `@k20` are applied. A name that is not defined may be a
        path (see `benchmarks.task_names`). A defined task precedes a folder of the same name:
        write `./name` for the folder.
        """
        names = [*self.tasks, *self.aliases]
        if not any(full == name or full.endswith(f"/{name}") for full in names):
            unwritten = task_of(name)
            if unwritten is not None:
                return unwritten
        whole, *cuts = name.split("@")
        try:
            known = _preferred(whole, names, *self._groups())
            full = resolve_name(whole, known, "Task", self.root)
        except DefinitionError as error:
            message = str(error).rstrip(".")
            raise DefinitionError(f"{message}. A task may also be {FORMS}.") from None
        return self.tasks[self.aliases.get(full, full)].cut(cuts)

    def suite(self, name: str) -> SuiteSpec:
        """The suite of that name, all of whose tasks are defined."""
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
        """The tasks that `name` stands for: those of a suite, or the one task.

        A suite's name comes before a task's last part: `msmarco` is the suite, `beir/msmarco` the
        task.
        """
        if name in self.suites:
            return [self.tasks[task] for task in self.suite(name).tasks]
        return [self.task(name)]

    def named(self, given: Tasks) -> list[TaskSpec]:
        """The tasks `given`, suites replaced by their tasks and names by specs, each once."""
        specs = [s for t in several(given) for s in (self.expand(t) if isinstance(t, str) else [t])]
        return list({spec.name: spec for spec in specs}.values())

    def one_task(self, given: str | TaskSpec) -> TaskSpec:
        """The task `given`; DefinitionError for a suite of several."""
        found = self.named(given)
        if len(found) != 1:
            names = ", ".join(task.name for task in found)
            raise DefinitionError(
                f"'{given}' is a suite; one task is needed here. Name one: {names}"
            )
        return found[0]

    def single_names(self, given: Tasks) -> list[str]:
        """The names `given`, suites replaced by the names of their tasks."""
        return [
            name
            for one in names_of(given)
            for name in (self.suite(one).tasks if one in self.suites else [one])
        ]

    def recorded_task(
        self, name: str, source: str, split: str, *, relevance: int, digest: str
    ) -> TaskSpec:
        """The task of a record; one that no file defines is made again from the record."""
        if name.partition("@")[0] in self.tasks:
            return self.task(name)
        found = recorded_task(name, source, split, relevance=relevance, digest=digest)
        return found or self.task(name)

    @cached_property
    def _loaded(self) -> dict[Path, Family]:
        """Files of tasks, and what they define; a later one precedes."""
        found = (sorted((layer / "benchmarks").glob("*.toml")) for layer in reversed(self.layers))
        paths = (path for family in found for path in family if path.name != SUITES)
        return {path: load_family(path) for path in paths}

    @property
    def _families(self) -> Iterable[Family]:
        return self._loaded.values()

    def _groups(self) -> Iterator[list[str]]:
        """Names of tasks whose last parts precede those of later groups."""
        own = [family for path, family in self._loaded.items() if self.root in path.parents]
        for families in (own, self._families):
            yield _names(family for family in families if not family.yields)
            yield _names(families)


def _each_once(methods: Sequence[MethodSpec]) -> list[MethodSpec]:
    """The methods, each once; DefinitionError where two of one name are not the same."""
    found = dict[str, MethodSpec]()
    for method in methods:
        other = found.setdefault(method.name, method)
        if other.digest() != method.digest():
            raise DefinitionError(
                f"two methods are named '{method.name}': {other.file} and {method.file}."
                " Rename one, or run them apart with --name."
            )
    return list(found.values())


def write_workspace(folder: Path) -> list[Path]:
    """Write a commented workspace into `folder`, and return its files.

    Raises: DefinitionError, before anything is written, where one of them is there.
    """
    template = Path(__file__).with_name("workspace_template")
    names = sorted(p.relative_to(template) for p in template.rglob("*") if p.is_file())
    for name in names:
        if (folder / name).exists():
            raise DefinitionError(
                f"{folder / name} exists, and is not replaced. Name another folder:"
                " rankstone init DIR"
            )
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(template / name, folder / name)
    return [folder / name for name in names]


def several(given: Any) -> list[Any]:
    """One name, spec or object, or several, as a list."""
    alone = isinstance(given, str | Spec) or callable(given) or hasattr(given, "encode")
    return [given] if alone or not isinstance(given, Iterable) else list(given)


def names_of(given: Any) -> list[str]:
    """Return the names of one name, spec or object, or of several."""
    return [one if isinstance(one, str) else _named(one).name for one in several(given)]


def _named(given: Any) -> MethodSpec | TaskSpec:
    return given if isinstance(given, TaskSpec) else object_method(given)


def _preferred(name: str, known: list[str], *groups: Sequence[str]) -> list[str]:
    """Return the names among which `name` is sought: those of the first group that end on it."""
    if name in known:
        return known
    ending = ([full for full in group if full.endswith(f"/{name}")] for group in groups)
    return next(filter(None, ending), known)


def _names(families: Iterable[Family]) -> list[str]:
    """Return the names and second names of the tasks of `families`."""
    return [name for family in families for name in (*family.tasks, *family.aliases)]


def _is_workspace(folder: Path) -> bool:
    folders = (folder / "runners", folder / "benchmarks")
    return (folder / SETTINGS).is_file() or any(one.is_dir() for one in folders)


def packaged_definitions() -> Path:
    """The copies inside the wheel, or the checkout's own folders for an editable install."""
    package = Path(__file__).resolve().parent
    packaged = package / "definitions"
    return packaged if packaged.is_dir() else package.parents[1]
