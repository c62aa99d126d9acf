"""Lookup of definitions: those of the workspace precede the packaged ones."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rankstone.errors import DefinitionError, did_you_mean
from rankstone.files import PathLike
from rankstone.runners.method_files import load_method, method_names
from rankstone.runners.names import labelled, named_by_content
from rankstone.runners.objects.method import import_method, is_object_name, object_method
from rankstone.runners.unwritten.changes import NONE, Changes
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
    MethodSpec,
    Recipe,
)
from rankstone.strict import resolve_name
from rankstone.workspace.given import Methods, several
from rankstone.workspace.tasks import DefinedTasks, preferred

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Workspace(DefinedTasks):
    """A folder of definitions, in `benchmarks/`, `runners/` and `leaderboards/`, and the layer
    beneath; methods by name."""

    @property
    def _runners(self) -> tuple[Path, ...]:
        return tuple(layer / "runners" for layer in self.layers)

    def method_names(self) -> list[str]:
        return method_names(*self._runners)

    def method(self, name: str) -> MethodSpec:
        """Return the method `<family>/<stem>`, or `<stem>` if that is unambiguous; or a form of
        `runners.unwritten.forms`, or the Python object `package.module:NAME`."""
        if is_object_name(name):
            return import_method(name)
        if self._is_form(name):
            return self.methods(name)[0]
        known = [name]
        if not self._has_file(name):
            known = self.method_names()
            known = preferred(name, known, method_names(self.runners))
        full = resolve_name(name, known, "Method", self.root)
        return self._by_task(load_method(full, *self._runners, unwritten=self._unwritten))

    def _has_file(self, name: str) -> bool:
        """Return True for the full name of a definition, without listing all definitions."""
        family, _, stem = name.partition("/")
        if family in ("", ".", "..") or not stem or "/" in stem or len(name.encode()) > 200:
            return False
        return any((folder / f"{name}.toml").is_file() for folder in self._runners)

    def _unwritten(self, name: str, folder: Path) -> MethodSpec | None:
        """Return the member `name` of a file in `folder`, if it is not the name of a definition."""
        if is_object_name(name):
            return import_method(name, folder)
        formed = self._is_form(name, folder)
        return self.methods([from_folder(name, folder)])[0] if formed else None

    def _by_task(self, method: MethodSpec) -> MethodSpec:
        """Return `method` and its members with `on` and `instructions` by single task."""
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
        """Return a recipe of `method` with its tasks and teachers resolved."""
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
        """Yield the values of a table by single task: those stated for suites and families first,
        then those for tasks, which take precedence."""
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
        """Return the methods `given`, each once, with names resolved and the `changes` of a command
        applied, or each of their combinations (`Changes.grid`).

        A method that differs from its definition gets another name (`runners.names`).

        Args:
            given: names of definitions, forms of `runners.unwritten.forms`, specs, or objects.
            weights: folder with the weights of the only method.
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
        """Return one method by its name, with the `changes`, under a name of its own."""
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
        """Return a method of the kind `adapter` with `members`, named by its content."""
        method = MethodSpec(
            name=f"python/{adapter}",
            description=f"A {adapter} of methods named in Python.",
            adapter=adapter,
            parameters=parameters,
            members=tuple(self.methods(members)),
        )
        return labelled(method, method.name)

    def _is_form(self, name: str, folder: Path = Path()) -> bool:
        """Return True if `name` is a form; a definition precedes a folder of the same name."""
        if not is_form(name, folder):
            return False
        return not any(f"/{full}".endswith(f"/{name}") for full in self.method_names())

    def recorded(self, name: str) -> str:
        """Return the name of a method in records; for a hub model, the beginning of that name.

        Other names, and paths that are not models, are returned unchanged; `@TASK` may follow.
        """
        if Path(name).is_file() and Path(name).suffix != ".toml":
            return name
        whole, *rest = name.split("@")
        hub = name.startswith(HUB)  # whose revision precedes the task
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

    def _definition(self, name: str) -> MethodSpec | None:
        known = self._has_file(name) or name in self.method_names()
        return self.method(name) if known else None

    def defined(self, names: Iterable[str]) -> dict[str, MethodSpec]:
        """Return those of the methods `names` that are defined, by full name."""
        return {name: self.method(name) for name in sorted({*names} & {*self.method_names()})}


def _each_once(methods: Sequence[MethodSpec]) -> list[MethodSpec]:
    """Return the methods, each once; DefinitionError if two different ones have the same name."""
    found = dict[str, MethodSpec]()
    for method in methods:
        other = found.setdefault(method.name, method)
        if other.digest() != method.digest():
            raise DefinitionError(
                f"two methods are named '{method.name}': {other.file} and {method.file}."
                " Rename one, or run them apart with --name."
            )
    return list(found.values())
