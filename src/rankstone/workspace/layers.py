"""Folders of definitions: those of the workspace precede the packaged ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from rankstone.errors import DefinitionError
from rankstone.files import copy
from rankstone.strict import Spec, SpecT, build_spec, load_folder, read_toml

SETTINGS = "rankstone.toml"
HOME = Path(__file__).resolve().parents[1]


class Settings(Spec):
    """Folders set in a workspace's `rankstone.toml`; relative paths start at the workspace."""

    results: str | None = None
    """Folder of records, instead of `results`."""
    data: str | None = None
    """Local mirror of collections in BEIR layout; `--data` and `RANKSTONE_DATA` take precedence."""
    cache: str | None = None
    """Prepared corpora and encodings; `--cache` and `RANKSTONE_CACHE` take precedence."""


@dataclass(frozen=True, kw_only=True)
class Layers:
    """A folder of definitions, in `benchmarks/`, `runners/` and `leaderboards/`, and the layer
    beneath."""

    root: Path
    base: Path | None = None
    """The layer beneath, whose definitions are used if `root` has none of the same name."""

    @classmethod
    def find(cls, explicit: Path | None = None, start: Path | None = None) -> Self:
        """Return the workspace at `explicit` or nearest above `start`, over the packaged one."""
        packaged = packaged_definitions()
        if explicit is not None and not explicit.is_dir():
            raise DefinitionError(
                f"{explicit}: no such folder. Make a workspace: rankstone init {explicit}"
            )
        here = (start or Path.cwd()).resolve()
        above = (folder for folder in (here, *here.parents) if _is_workspace(folder))
        root = next(above, packaged) if explicit is None else explicit.resolve()
        return cls(root=root, base=None if root == packaged else packaged)

    @property
    def layers(self) -> tuple[Path, ...]:
        """The folders of definitions, in order of precedence."""
        return (self.root,) if self.base is None else (self.root, self.base)

    @cached_property
    def settings(self) -> Settings:
        path = self.root / SETTINGS
        return build_spec(Settings, read_toml(path), path) if path.is_file() else Settings()

    def folder(self, name: Literal["results", "data", "cache"]) -> Path | None:
        """Return the folder stated in the settings."""
        stated = getattr(self.settings, name)
        return None if stated is None else self.root / Path(os.path.expandvars(stated)).expanduser()

    def holder(self, file: str) -> Path:
        """Return the first layer that contains `file`."""
        return next((layer for layer in self.layers if (layer / file).is_file()), self.root)

    def load(self, kind: type[SpecT], folder: str) -> dict[str, SpecT]:
        """Return the definitions in a folder of all layers, by name."""
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
        """The file of published values."""
        return self.root / "leaderboards" / "published.csv"

    @property
    def results(self) -> Path:
        """Default folder of records: beside the definitions, unless those are packaged."""
        base = Path.cwd() if self.root == packaged_definitions() else self.root
        return self.folder("results") or base / "results"


def write_workspace(folder: Path) -> list[Path]:
    """Write a commented workspace into `folder`, and return its files.

    Raises: DefinitionError, before anything is written, if one of the files exists.
    """
    template = HOME / "workspace_template"
    names = sorted(p.relative_to(template) for p in template.rglob("*") if p.is_file())
    for name in names:
        if (folder / name).exists():
            raise DefinitionError(
                f"{folder / name} exists and is not replaced. Name another folder:"
                " rankstone init DIR"
            )
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(template / name, folder / name)
    return [folder / name for name in names]


def _is_workspace(folder: Path) -> bool:
    folders = (folder / "runners", folder / "benchmarks")
    return (folder / SETTINGS).is_file() or any(one.is_dir() for one in folders)


def packaged_definitions() -> Path:
    """Return the copies inside the wheel, or the checkout's folders for an editable install."""
    packaged = HOME / "definitions"
    return packaged if packaged.is_dir() else HOME.parents[1]
