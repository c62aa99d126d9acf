"""Files, code and objects of a method, and the prepared collection, as sent to nodes.

Nodes share no file system with this machine. Files are stored in the node's own cache, under their
paths in the cache here, and stay there for later runs; existing files are not sent again.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rankstone.benchmarks.conversion import split_folder
from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.filters import FOLDER as COLUMNS
from rankstone.benchmarks.prepared import Copy, find_copy
from rankstone.benchmarks.storage.atomic_folders import META, read_meta
from rankstone.errors import AdapterError, ClusterError
from rankstone.execution.cluster.failures import Failed, attempted, checked
from rankstone.files import cache_root, existing, gib, sha256_of
from rankstone.runners.code_digest import adapter_files, is_installed
from rankstone.runners.construct import load_adapter, parts
from rankstone.runners.models import LocatedModel, locate
from rankstone.runners.objects.function import SearchFunction
from rankstone.runners.objects.method import ObjectMethod, pickled, with_objects
from rankstone.specs import AdapterSpec, MethodSpec, TaskSpec, canonical_digest

PIECE = 16 * 2**20
"""Number of bytes of a file sent in one piece."""
WINDOW = 4
"""Number of pieces in transit to a node."""
MARK = secrets.token_hex(4)
HOME = "${RANKSTONE_CACHE}"
"""Placeholder of the node's cache in paths of models."""


class File(NamedTuple):
    """A file of the cache."""

    name: str
    """Path relative to the root of the cache."""
    size: int
    sha256: str | None
    """None if the reader verifies the content."""

    @classmethod
    def of(cls, name: str, path: Path, sha256: str | None = None) -> File:
        return cls(name, path.stat().st_size, sha256)


Files = dict[File, Path]
"""Files for a node, with their paths here."""


class Parcel(NamedTuple):
    """A method as sent to a node."""

    spec: str
    """Its definition as JSON, with local model folders replaced by the node's cache."""
    objects: bytes
    modules: Mapping[str, bytes]
    """The user's own code of its adapters: module -> content of its file."""

    @classmethod
    def of(cls, method: MethodSpec) -> tuple[Parcel, Files]:
        """Return the parcel, and the files that it refers to."""
        files: Files = {}
        spec = _moved(method, files)
        modules = dict(item for _, part in parts(method) for item in _own_code(part, method))
        return cls(spec.model_dump_json(), pickled(method), modules), files

    def opened(self) -> MethodSpec:
        """Return the method on the node, and make its code importable."""
        if self.modules:
            digests = {n: hashlib.sha256(code).hexdigest() for n, code in self.modules.items()}
            folder = cache_root() / "modules" / canonical_digest(digests)[:16]
            _write_modules(folder, self.modules)
            sys.path.insert(0, str(folder))
        return with_objects(MethodSpec.model_validate_json(self.spec), self.objects)


def _moved(spec: Any, files: Files) -> Any:
    """Return `spec` with the local folders of its models in the cache; add them to `files`."""
    changed: dict[str, Any] = {
        key: model.model_copy(update={"path": _sent(locate(model), model.folder, files)})
        for key, model in spec.models.items()
        if model.path is not None
    }
    changed["members"] = tuple(_moved(member, files) for member in spec.members)
    if isinstance(spec, MethodSpec) and spec.scorer is not None:
        changed["scorer"] = _moved(spec.scorer, files)
    return spec if isinstance(spec, ObjectMethod) else spec.model_copy(update=changed)


def _sent(model: LocatedModel, inside: str, files: Files) -> str:
    """Add the files of a model; return the path of its folder on the node."""
    home = f"models/{canonical_digest(model.files)[:16]}"
    for name, digest in model.files.items():
        path = model.folder / name
        files[File.of("/".join(filter(None, (home, inside, name))), path, digest)] = path
    return f"{HOME}/{home}"


def _own_code(part: AdapterSpec, method: MethodSpec) -> Iterator[tuple[str, bytes]]:
    """Yield the code files of the part that do not belong to an installed package."""
    if isinstance(part, ObjectMethod):
        inner: Any = part.runner
        adapter: Any = inner.function if isinstance(inner, SearchFunction) else type(inner)
    else:
        adapter = load_adapter(part, method.file)
    module = sys.modules.get(getattr(adapter, "__module__", ""))
    file = getattr(module, "__file__", None)
    if module is not None and module.__name__ != "__main__" and not is_installed(file):
        found = adapter_files(adapter).items()
        yield from ((n, code) for n, code in found if not n.startswith("rankstone."))


def _write_modules(folder: Path, modules: Mapping[str, bytes]) -> None:
    for name, code in modules.items():
        path = folder.joinpath(*name.split("."))
        package = any(other.startswith(f"{name}.") for other in modules)
        path = path / "__init__.py" if package else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(code)


class Prepared(NamedTuple):
    """The prepared copy of a collection."""

    facts: dict[str, str]
    """Value of `Sources.prepared`."""
    files: Files

    @classmethod
    def of(cls, task: TaskSpec, sources: Sources) -> Prepared:
        """Return the copy from which a task was opened."""
        copy = find_copy(task, sources)
        folders = {copy.folder, copy.split}
        if task.train_split:
            folders.add(split_folder(copy.folder, task.train_split))
        if task.filter:
            folders.add(copy.folder / COLUMNS)
        files = dict(item for folder in sorted(folders) for item in _of_copy(folder, sources.cache))
        return cls({"fingerprint": _fingerprint(copy), "source": copy.source}, files)


def _fingerprint(copy: Copy) -> str:
    return str((copy.meta or {}).get("fingerprint", ""))


def _of_copy(folder: Path, root: Path) -> Iterator[tuple[File, Path]]:
    meta = read_meta(folder)
    if meta is None:
        return
    for name, digest in meta["file_sha256"].items():
        yield File.of(_below(folder / name, root), folder / name, digest), folder / name
    about = folder / META
    yield File.of(_below(about, root), about, sha256_of(about)), about


def encodings(root: Path, key: str) -> Files:
    """Return the shards of an encoded corpus, which contain their own digests."""
    paths = sorted((root / "encodings" / key).glob("*.shard"))
    return {File.of(_below(path, root), path): path for path in paths}


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


class Receiver:
    """Base class of actors that receive files."""

    def lacking(self, files: list[File]) -> list[File] | Failed:
        """Return those `files` that are missing in this node's cache; check the free disk space."""
        return attempted(lambda: _lacking(files))

    def write(self, file: File, offset: int, data: bytes) -> Failed | None:
        """Write a piece of an incomplete file."""
        return attempted(lambda: self._write(file, offset, data))

    def finish(self, file: File) -> Failed | None:
        """Rename a complete file into place; AdapterError if it is not the file that was sent."""
        return attempted(lambda: self._finish(file))

    def _write(self, file: File, offset: int, data: bytes) -> None:
        path = _partial(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, data, offset)
        finally:
            os.close(descriptor)

    def _finish(self, file: File) -> None:
        path = _partial(file)
        if not file.size:
            self._write(file, 0, b"")
        if path.stat().st_size != file.size or file.sha256 not in (None, sha256_of(path)):
            path.unlink()
            raise AdapterError(f"{file.name}: arrived damaged. Run again.")
        path.replace(cache_root() / file.name)


def _lacking(files: list[File]) -> list[File]:
    found, root = [file for file in files if not _is_there(file)], cache_root()
    size, free = sum(file.size for file in found), shutil.disk_usage(existing(root)).free
    if size > free:
        raise ClusterError(
            f"node {platform.node()}: {gib(size)} are to be sent to its cache {root}, and"
            f" {gib(free)} are free. Free space there, or start the node with another"
            " folder: RANKSTONE_CACHE=DIR ray start --address HEAD:6379"
        )
    return found


def _partial(file: File) -> Path:
    """Return the path of an incomplete file, which no other process uses."""
    path = cache_root() / file.name
    return path.with_name(f".{path.name}.{MARK}.tmp")


def _is_there(file: File) -> bool:
    path = cache_root() / file.name
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    return file.sha256 in (None, sha256_of(path))


def send(actor: Any, files: Files, get: Callable[[Any], Any]) -> None:
    """Send an actor's node the missing files, in pieces.

    Args:
        get: `ray.get`, or another function that waits for a result.
    """
    lacking: list[File] = checked(get(actor.lacking.remote(list(files))))
    for file in lacking:
        under_way: list[Any] = []
        with files[file].open("rb") as content:
            for offset in range(0, file.size, PIECE):
                if len(under_way) >= WINDOW:
                    checked(get(under_way.pop(0)))
                under_way.append(actor.write.remote(file, offset, content.read(PIECE)))
        for written in under_way:
            checked(get(written))
        checked(get(actor.finish.remote(file)))
