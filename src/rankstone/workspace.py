"""Finds the definitions: `--workspace`, the nearest ancestor folder, or the packaged copy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

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
        """The task `<family>/<task>`, or its last part; cuts such as `@first100` are applied."""
        whole, *cuts = name.split("@")
        task = self.tasks[resolve_name(whole, list(self.tasks), "Task", self.benchmarks)]
        for cut in cuts:
            match = re.fullmatch(r"(first|k)([1-9]\d*)", cut)
            if match is None:
                raise DefinitionError(
                    f"Task '{name}': '@{cut}' is no cut. Write for example {whole}@first100 or "
                    f"{whole}@k20."
                )
            task = task.limited(**{{"first": "queries", "k": "depth"}[match[1]]: int(match[2])})
        return task


def _is_workspace(folder: Path) -> bool:
    return any((folder / "benchmarks").glob("*.toml")) and (folder / "runners").is_dir()


def packaged_definitions() -> Path:
    """The copies inside the wheel, or the checkout's own folders for an editable install."""
    package = Path(__file__).resolve().parent
    packaged = package / "definitions"
    return packaged if packaged.is_dir() else package.parents[1]
