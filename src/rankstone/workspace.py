"""Finds the definitions: `--workspace`, the nearest ancestor folder, or the packaged copy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rankstone.benchmarks.naming import FORMS, task_of
from rankstone.errors import DefinitionError
from rankstone.specs import (
    MethodSpec,
    TaskSpec,
    load_family,
    load_method,
    method_names,
    resolve_name,
)


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A folder that holds `benchmarks/` and `runners/`."""

    root: Path

    @classmethod
    def find(cls, explicit: Path | None = None, start: Path | None = None) -> Workspace:
        """The workspace at `explicit`, else the nearest ancestor of `start`, else the packaged."""
        if explicit is not None:
            if not _is_workspace(explicit):
                raise DefinitionError(
                    f"{explicit} is no workspace: it needs the folders benchmarks/ and runners/."
                )
            return cls(root=explicit.resolve())
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if _is_workspace(folder):
                return cls(root=folder)
        return cls(root=packaged_definitions())

    @property
    def runners(self) -> Path:
        return self.root / "runners"

    @property
    def benchmarks(self) -> Path:
        return self.root / "benchmarks"

    @property
    def results(self) -> Path:
        """Where records go by default: beside the definitions, or here if those are packaged."""
        base = Path.cwd() if self.root == packaged_definitions() else self.root
        return base / "results"

    def method_names(self) -> list[str]:
        return method_names(self.runners)

    def method(self, name: str) -> MethodSpec:
        """The method `<family>/<stem>`, or just `<stem>` where that is unambiguous."""
        return load_method(
            resolve_name(name, self.method_names(), "Runner", self.runners), self.runners
        )

    @cached_property
    def tasks(self) -> dict[str, TaskSpec]:
        """Every task of every family, by full name."""
        families = sorted(self.benchmarks.glob("*.toml"))
        return {name: spec for path in families for name, spec in load_family(path).items()}

    def task(self, name: str) -> TaskSpec:
        """The task `<family>/<task>`, or one that is named by its place (see `naming`).

        A defined task wins over a folder of the same name: write `./name` for the folder.
        """
        names = list(self.tasks)
        if all(name not in (full, full.rpartition("/")[2]) for full in names):
            unwritten = task_of(name)
            if unwritten is not None:
                return unwritten
        try:
            return self.tasks[resolve_name(name, names, "Task", self.benchmarks)]
        except DefinitionError as error:
            raise DefinitionError(f"{error}. A task may also be {FORMS}.") from None


def _is_workspace(folder: Path) -> bool:
    return any((folder / "benchmarks").glob("*.toml")) and (folder / "runners").is_dir()


def packaged_definitions() -> Path:
    """The copies inside the wheel, or the checkout's own folders for an editable install."""
    package = Path(__file__).resolve().parent
    packaged = package / "definitions"
    return packaged if packaged.is_dir() else package.parents[1]
