"""Functions of installed packages as training data, built without a download like `stdlib`.

Documents, queries and ids are made as by `stdlib.load` with `part = "functions"`. Functions of the
standard library, and docstrings that are queries there, are left out, because `stdlib/functions` is
a test set.
"""

from __future__ import annotations

import platform
import sysconfig
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rankstone.benchmarks.dataset import RawDataset, Sources
from rankstone.benchmarks.loaders.stdlib import (
    Entry,
    build,
    hashed,
    raw_dataset,
    source_files,
)
from rankstone.errors import DataError
from rankstone.files import package_folder
from rankstone.specs import TaskSpec, canonical_digest

TEST_SHARE = 20
"""One in this many queries belongs to the test split."""


def load(
    task: TaskSpec, sources: Sources, *, packages: Mapping[str, str], apart: str | None = None
) -> RawDataset:
    """Return the functions of installed packages that have a docstring.

    Args:
        packages: name of a distribution -> name of its package.
        apart: folder of the sources whose functions and docstrings are left out; by default the
            standard library.

    Raises:
        DataError: a package is not installed.
    """
    folders = {name: _folder(task, name, package) for name, package in packages.items()}
    versions = {name: version(name) for name in packages}
    files = {
        f"{root.name}/{name}": root for root in folders.values() for name in source_files(root)
    }
    listing = [[name, (root.parent / name).stat().st_size] for name, root in files.items()]
    others = Path(apart or sysconfig.get_paths()["stdlib"])
    shown = ", ".join(f"{name} {number}" for name, number in versions.items())
    return raw_dataset(
        lambda: _without(_entries(folders), others),
        split_of=split_of,
        fingerprint=canonical_digest([versions, platform.python_version(), listing]),
        source=f"installed packages: {shown}",
    )


def _folder(task: TaskSpec, name: str, package: str) -> Path:
    """Return the folder of an installed package without importing it."""
    folder = package_folder(package)
    try:
        version(name)
    except PackageNotFoundError:
        folder = None
    if folder is None:
        raise DataError(
            f"{task.name}: the package '{name}' is not installed, and its functions are part of the"
            f" collection. Install: pip install -c constraints.txt {name}"
        )
    return folder


def _entries(folders: Mapping[str, Path]) -> list[Entry]:
    """Return the documented functions; identical texts occur once."""
    found = [
        entry
        for root in folders.values()
        for entry in build(
            root.parent, [f"{root.name}/{n}" for n in source_files(root)], "functions"
        )
    ]
    return list({_same(entry.text): entry for entry in reversed(found)}.values())[::-1]


def _without(entries: list[Entry], others: Path) -> list[Entry]:
    """Return the entries whose text and docstring occur in none of the sources in `others`."""
    apart = build(others, source_files(others), "functions")
    texts = {_same(entry.text) for entry in apart}
    queries = {_same(entry.query) for entry in apart}
    return [e for e in entries if _same(e.text) not in texts and _same(e.query) not in queries]


def _same(text: str) -> str:
    return " ".join(text.lower().split())


def split_of(identifier: str) -> str:
    """Return `test` for one id in twenty, by its sha256; `train` for the others."""
    return "test" if hashed(identifier) % TEST_SHARE == 0 else "train"
