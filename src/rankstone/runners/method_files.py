"""Methods in TOML files: reading with members, and paths relative to the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rankstone.errors import DefinitionError
from rankstone.specs import AdapterSpec, MethodSpec, ModelSpec
from rankstone.strict import build_spec, read_toml, resolve_name

Part = TypeVar("Part", bound=AdapterSpec)
Unwritten = Callable[[str, Path], MethodSpec | None]
"""Function from a name (such as `hf:ORG/NAME`) and the folder of relative paths to the method that
it stands for without a definition; None for other names."""


def none_unwritten(name: str, folder: Path) -> MethodSpec | None:
    """Return None: every member has a definition."""
    return None


def load_method(
    name: str,
    *folders: Path,
    unwritten: Unwritten = none_unwritten,
    seen: tuple[str, ...] = (),
) -> MethodSpec:
    """Return the method `<family>/<stem>` from the first of the runners `folders` that has it."""
    files = [folder / f"{name}.toml" for folder in folders]
    path = next((file for file in files if file.is_file()), files[0])
    if name in seen:
        raise DefinitionError(f"{path}: key 'members': the method contains itself. Remove it.")
    return read_method(path, name, *folders, unwritten=unwritten, seen=(*seen, name))


def read_method(
    path: Path,
    name: str,
    *folders: Path,
    unwritten: Unwritten = none_unwritten,
    seen: tuple[str, ...] = (),
) -> MethodSpec:
    """Return the method defined in a file, under the given name, with its members resolved.

    Args:
        folders: runners' folders, in which members are looked up by name.
        unwritten: finds members without a definition.
    """
    values = read_toml(path)
    for key in ("name", "stated_in"):
        if key in values:
            raise DefinitionError(
                f"{path}: unknown key '{key}': the path of the file names the method. Remove it."
            )

    def found(table: Any, key: str) -> tuple[MethodSpec, ...]:
        return _members(table, f"{path}: key '{key}'", path.parent, folders, unwritten, seen)

    members, inner = found(values, "members"), found(values.get("scorer"), "scorer.members")
    spec = _anchored(build_spec(MethodSpec, {**values, "name": name}, path), path.parent)
    scorer = spec.scorer and _anchored(spec.scorer, path.parent)
    scorer = scorer and scorer.model_copy(update={"members": inner})
    changed = {"members": members, "scorer": scorer, "stated_in": str(path)}
    return spec.model_copy(update=changed)


def _members(
    table: Any,
    key: str,
    folder: Path,
    folders: Sequence[Path],
    unwritten: Unwritten,
    seen: tuple[str, ...],
) -> tuple[MethodSpec, ...]:
    """Remove the key `members` from `table` and return the methods that it names."""
    members = table.pop("members", []) if isinstance(table, dict) else []
    if not isinstance(members, list) or not all(isinstance(m, str) for m in members):
        raise DefinitionError(f"{key}: expected a list of method names, found {members!r}.")
    known = method_names(*folders) if members else []
    resolved = []
    for member in members:
        try:
            other = unwritten(member, folder)
            full = other or resolve_name(member, known, "Method", folders[0])
        except RecursionError:
            raise DefinitionError(f"{key}: the method contains itself. Remove it.") from None
        except DefinitionError as error:
            raise DefinitionError(f"{key}: {error}") from None
        resolved.append(
            load_method(full, *folders, unwritten=unwritten, seen=seen)
            if isinstance(full, str)
            else full
        )
    return tuple(resolved)


def _anchored(part: Part, folder: Path) -> Part:
    """Return `part` with its models' relative paths resolved against the definition's folder."""

    def moved(model: ModelSpec) -> ModelSpec:
        path = Path(os.path.expandvars(model.path or "")).expanduser()
        return model.model_copy(update={"path": str(folder / path)}) if model.path else model

    return part.model_copy(update={key: moved(model) for key, model in part.models.items()})


def method_names(*folders: Path) -> list[str]:
    """Return the `<family>/<stem>` of every definition in the runners `folders`."""
    return sorted({name for folder in folders for name in _names_below(str(folder))})


def _names_below(folder: str) -> Iterator[str]:
    """Yield names by string operations: a session calls this thousands of times."""
    for parent, _, files in os.walk(folder):
        family = parent[len(folder) + 1 :].replace(os.sep, "/")
        for file in files:
            if file.endswith(".toml"):
                yield f"{family}/{file[:-5]}" if family else file[:-5]
