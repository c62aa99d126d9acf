"""Digest of an adapter's code: its own file, and what it imports from the same package."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.util import resolve_name
from pathlib import Path
from types import FunctionType, ModuleType

from rankstone.specs import canonical_digest

HOME = __package__
RUNNERS = {HOME: Path(__file__).parent}


def adapter_digest(adapter: type | FunctionType) -> str:
    """Return the sha256 over `adapter_files`: an edited adapter is a different adapter."""
    return _digest(adapter_files(adapter))


def module_digest(module: ModuleType) -> str:
    """Return the sha256 over a module's file and those that it imports, as for an adapter."""
    return _digest(_files_from(module.__name__, Path(str(module.__file__))))


def folder_digest(folder: Path) -> str:
    """Return the sha256 over a folder's files and what they import from `rankstone.runners`."""
    files = dict[str, bytes]()
    for path in sorted(folder.rglob("*.py")):
        files |= _files_from(path.relative_to(folder).as_posix(), path, RUNNERS)
    return _digest(files)


def _digest(files: Mapping[str, bytes]) -> str:
    return canonical_digest({n: hashlib.sha256(code).hexdigest() for n, code in files.items()})


def adapter_files(adapter: type | FunctionType) -> dict[str, bytes]:
    """Return module -> file content, for the module that defines `adapter` and those it imports.

    Imports are followed, inside functions too, into the adapter's own package, its own folder
    unless it holds installed packages, and `rankstone.runners`: other libraries are identified by
    version. Files are parsed, not imported, because some import torch.
    """
    return _files_from(adapter.__module__, Path(inspect.getfile(adapter)))


def _files_from(name: str, file: Path, homes: Mapping[str, Path] | None = None) -> dict[str, bytes]:
    homes = _homes(name) if homes is None else homes
    found = {name: file.read_bytes()}
    waiting = list(found)
    while waiting:
        for name in _imports(found[module := waiting.pop()], module):
            path = None if name in found else _file(name, homes)
            if path is not None:
                found[name] = path.read_bytes()
                waiting.append(name)
    return found


def from_library(name: str) -> bool:
    """Return True for a module of Python, of an installed package, or of Rankstone."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        return name != "__main__"
    return is_installed(file) or name.partition(".")[0] == "rankstone"


def is_installed(file: str | None) -> bool:
    """Return True for a file of Python or of an installed package, and for a missing file."""
    if file is None or not Path(file).is_file():
        return True
    packaged = {"site-packages", "dist-packages"} & {*Path(file).parts}
    homes = (Path(sysconfig.get_path("stdlib")), Path(__file__).parents[1])
    return bool(packaged) or any(Path(file).is_relative_to(home) for home in homes)


def _homes(module: str) -> dict[str, Path]:
    """Return packages whose imports are followed -> folders; "" stands for top-level modules."""
    homes = dict(RUNNERS)
    top, _, inside = module.partition(".")
    if inside and not module.startswith(f"{HOME}."):
        homes[top] = Path(next(iter(importlib.import_module(top).__path__)))
    if not from_library(module):
        file = Path(str(sys.modules[module].__file__))
        homes[""] = homes[top].parent if inside else file.parent
    return homes


def _file(name: str, homes: Mapping[str, Path]) -> Path | None:
    """Return the file of the module `name`; None if it is not a module in `homes`."""
    for home, folder in homes.items():
        if not home or name.startswith(f"{home}."):
            path = folder.joinpath(*name.removeprefix(f"{home}.").split("."))
            files = (path.with_suffix(".py"), path / "__init__.py")
            return next((file for file in files if file.is_file()), None)
    return None


@lru_cache(maxsize=256)
def _imports(code: bytes, module: str) -> frozenset[str]:
    """Return the full names of all imports in `code`, the content of `module`."""
    return frozenset(_imported(ast.parse(code), module.rpartition(".")[0]))


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            source = resolve_name(name, package) if node.level else name
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)
