"""Locate a model's files, and report their source.

Sources, in this order: an explicit path, an installed package that contains the files, a
configuration of random weights, the hub's cache on this machine, the hub. Pinned digests are
verified for every source.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from rankstone.errors import ModelError, installed
from rankstone.files import build_once, cache_root, package_folder, sha256_of, sync
from rankstone.specs import Archive, ModelSpec, canonical_digest

Origin = Literal["path", "package", "random", "hub cache", "hub"]

WEIGHTS = (".safetensors", ".bin", ".pt", ".npz", ".onnx")
SETTINGS = (".json", ".txt", ".model", ".toml", ".yaml", ".yml", ".metadata")
CODE = ".py"
OTHER_ENGINES = {"onnx", "openvino", "coreml", "tf", "flax"}
"""Folders of hub repositories with conversions for engines that are not used here."""


@dataclass(frozen=True, kw_only=True)
class LocatedModel:
    """A model's folder on this machine."""

    id: str
    folder: Path
    origin: Origin
    revision: str | None
    """Commit on the hub; None for files that have not been compared with one."""
    files: dict[str, str]
    """Name in the folder -> sha256, for each of the model's files."""

    def describe(self) -> dict[str, str | dict[str, str] | None]:
        """Describe the model for the record and, without `origin`, for the cache key; the path on
        disk is left out."""
        return {
            "model": self.id,
            "origin": self.origin,
            "revision": self.revision,
            "files": dict(sorted(self.files.items())),
        }

    def only(self, *names: str) -> LocatedModel:
        """Return the model reduced to the files `names`; ModelError if one is missing."""
        for name in names:
            if name not in self.files:
                raise ModelError(
                    f"Model '{self.id}': no file '{name}' in {self.folder} ({self.origin})."
                    f" Found: {', '.join(self.files) or 'nothing'}. Correct [parameters]."
                )
        return replace(self, files={name: self.files[name] for name in names})


class _NotThereError(Exception):
    """The reason why a source does not have the model."""


def locate(model: ModelSpec) -> LocatedModel:
    """Return `model` from the first source that has it, with its pinned files verified.

    Raises ModelError if no source has it (stating the reasons and the fix) or a digest differs.
    """
    if model.path is not None:
        folder = _explicit(model.path, model.id)
        own = _verified(model, _inside(model, folder), "path", None)
        return replace(own, revision=_compared_revision(model, own.files))
    found, reasons = _looked_up(model, (*HERE, ("hub", partial(_snapshot, local_files_only=False))))
    if found is not None:
        return found
    raise ModelError(
        f"Model '{model.id}' was not found:\n" + "\n".join(reasons) + "\n" + _mend(model)
    )


def locate_here(model: ModelSpec) -> LocatedModel | None:
    """Return `model` from this machine's packages or cache, ignoring its path; None if absent."""
    return _looked_up(model.model_copy(update={"path": None}), HERE)[0]


def _looked_up(
    model: ModelSpec, sources: Sequence[Source]
) -> tuple[LocatedModel | None, list[str]]:
    """Return the model from the first source that has it, or the reasons why none does."""
    reasons = []
    for origin, look in sources:
        try:
            folder = look(model)
        except _NotThereError as reason:
            reasons.append(f"  {origin}: {reason}")
            continue
        revision = _revision(model, folder, origin)
        return _verified(model, _inside(model, folder), origin, revision), []
    return None, reasons


def _compared_revision(model: ModelSpec, files: Mapping[str, str]) -> str | None:
    """Return the stated revision if the files at a path are those of that commit."""
    if model.revision is None:
        return None
    found = locate_here(model.model_copy(update={"package": None, "archive": None}))
    return model.revision if found is not None and found.files == files else None


def _explicit(path: str, name: str) -> Path:
    folder = Path(os.path.expandvars(path)).expanduser()
    if not folder.is_dir():
        raise ModelError(
            f"Model '{name}': the path {folder} is not a folder."
            " Correct the key 'path' of [model], or remove it to look elsewhere."
        )
    return folder.resolve()


def _inside(model: ModelSpec, folder: Path) -> Path:
    inside = folder / model.folder
    if not inside.is_dir():
        raise ModelError(
            f"Model '{model.id}': no folder '{model.folder}' in {folder}."
            " Correct the key 'folder' or 'path' of the model."
        )
    return inside


def _in_package(model: ModelSpec) -> Path:
    """Return the folder in an installed package, or the unpacked archive from packages."""
    if model.archive is not None:
        return _unpacked(model, model.archive)
    if model.package is None:
        raise _NotThereError("the definition names none")
    return _packaged(model.package)


def _packaged(name: str) -> Path:
    """Return the path of `package/inside` without importing the package."""
    package, _, inside = name.partition("/")
    folder = package_folder(package)
    if folder is None:
        raise _NotThereError(f"'{package}' is not installed")
    path = folder / inside
    if not path.exists():
        raise _NotThereError(f"'{package}' has no '{inside}'")
    return path


def _unpacked(model: ModelSpec, archive: Archive) -> Path:
    """Return the unpacked folder in the cache; the packages are needed only to unpack it."""
    target = cache_root() / "models" / archive.sha256[:32]

    def whole(folder: Path) -> bool:
        return (folder / archive.folder).is_dir()

    if not whole(target):
        pieces = [_packaged(piece) for piece in archive.pieces]
        try:
            build_once(target, whole, lambda fresh: _unpack(model, archive, pieces, fresh))
        except OSError as error:
            raise ModelError(
                f"Model '{model.id}' cannot be unpacked to {target}: {error.strerror or error}."
                " Free space there, or name another folder: --cache, RANKSTONE_CACHE"
            ) from error
    return target / archive.folder


def _unpack(model: ModelSpec, archive: Archive, pieces: Sequence[Path], folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder.parent) as joined:
        for piece in pieces:
            with piece.open("rb") as file:
                shutil.copyfileobj(file, joined)
        joined.seek(0)
        found = hashlib.file_digest(joined, "sha256").hexdigest()
        if found != archive.sha256:
            raise ModelError(
                f"Model '{model.id}': {pieces[0]} and what follows it, joined: expected sha256"
                f" {archive.sha256}, found {found}. Install them again:"
                f" {_install(model, '--force-reinstall')}"
            )
        with zipfile.ZipFile(joined) as packed:
            packed.extractall(folder)
    for path in folder.rglob("*"):
        if path.is_file():
            sync(path)


def _random(model: ModelSpec) -> Path:
    """Return the folder of random weights in the cache, written once."""
    if not model.random:
        raise _NotThereError("the definition states no configuration")
    if not installed("transformers"):
        raise _NotThereError("transformers is not installed (pip install 'rankstone[dense]')")
    from rankstone.runners.encoders.random_weights import CONFIG, write_random

    target = cache_root() / "models" / f"random-{canonical_digest(model.random)}"
    whole = lambda folder: (folder / CONFIG).is_file()  # noqa: E731
    return build_once(target, whole, lambda fresh: write_random(fresh, model.random))


def _snapshot(model: ModelSpec, *, local_files_only: bool) -> Path:
    """Return the snapshot's folder: configuration and safetensors, or older weight formats."""
    if not installed("huggingface_hub"):
        raise _NotThereError("huggingface_hub is not installed (pip install 'rankstone[dense]')")
    from huggingface_hub import snapshot_download

    settings = [f"*{suffix}" for suffix in (*SETTINGS, CODE)]
    for weights in ("*.safetensors", "*.bin"):
        try:
            folder = snapshot_download(
                model.id,
                revision=model.revision,
                allow_patterns=[*settings, weights, *model.files],
                ignore_patterns=[f"{name}/*" for name in sorted(OTHER_ENGINES)],
                local_files_only=local_files_only,
            )
        except (OSError, ValueError) as error:
            # All errors of the hub's client are of these two types; the first line suffices.
            raise _NotThereError(str(error).strip().split("\n")[0]) from error
        if any(Path(folder).rglob(weights)):
            return Path(folder)
    raise _NotThereError(f"{folder} holds no weights")


def _revision(model: ModelSpec, folder: Path, origin: Origin) -> str | None:
    """Return the commit, which is the snapshot folder's name, for hub files; else None."""
    if origin in ("hub cache", "hub") and folder.parent.name == "snapshots":
        return folder.name
    return model.revision if origin in ("hub cache", "hub") else None


Source = tuple[Origin, Callable[[ModelSpec], Path]]
HERE: tuple[Source, ...] = (
    ("package", _in_package),
    ("random", _random),
    ("hub cache", partial(_snapshot, local_files_only=True)),
)
"""Sources that need no network."""


def _mend(model: ModelSpec) -> str:
    if model.obtain:
        return model.obtain
    command = _install(model)
    install = f"Install it: {command}. Or fetch" if command else "Fetch"
    pin = f" --revision {model.revision}" if model.revision else ""
    return (
        f"{install} it once where there is a network: hf download {model.id}{pin}."
        " Or set the key 'path' of [model] to a folder that holds it."
    )


def _install(model: ModelSpec, option: str = "") -> str:
    """Return the command that installs the model's packages; for an archive, without
    dependencies."""
    carriers = model.archive.pieces if model.archive else [model.package or ""]
    options = [option, "--no-deps" if model.archive else ""]
    names = [name.partition("/")[0].replace("_", "-") for name in carriers]
    return " ".join(["pip install", *filter(None, options), *names]) if any(names) else ""


def _verified(model: ModelSpec, folder: Path, origin: Origin, revision: str | None) -> LocatedModel:
    names = [*model_files(folder), *model.files, *model.sha256]
    files = {}
    for name in dict.fromkeys(names):
        if name in model.files and not (folder / name).is_file():
            raise ModelError(f"Model '{model.id}': no file '{name}' in {folder}. {_mend(model)}")
        found = sha256_of(folder / name) if (folder / name).is_file() else "no such file"
        expected = model.sha256.get(name, found)
        if found != expected:
            again = model.archive and origin == "package"
            mend = f"delete {folder}, which is unpacked again" if again else "replace them"
            raise ModelError(
                f"Model '{model.id}': {folder / name}: expected sha256 {expected}, found {found}."
                f" The files from the {origin} are not the ones the definition pins:"
                f" {mend}, or correct [model] sha256."
            )
        files[name] = found
    return LocatedModel(id=model.id, folder=folder, origin=origin, revision=revision, files=files)


def model_files(folder: Path) -> list[str]:
    """Return the sorted names of the model's files in `folder`.

    Included are weights and configuration, and all code if the configuration refers to any. Left
    out are documentation, hidden files, conversions for other engines, and older weight formats in
    a folder with safetensors.
    """
    names = []
    kinds = (*WEIGHTS, *SETTINGS, *((CODE,) if _names_code(folder) else ()))
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        hidden = any(part.startswith((".", "__")) for part in inside.parts)
        if hidden or OTHER_ENGINES & set(inside.parts[:-1]) or not path.is_file():
            continue
        superseded = path.suffix in WEIGHTS[1:] and any(path.parent.glob("*.safetensors"))
        if path.suffix in kinds and not superseded:
            names.append(inside.as_posix())
    return sorted(names)


def _names_code(folder: Path) -> bool:
    """Return True if a configuration file refers to code in the folder (`modeling_x.Model`), as
    `auto_map`, the types in `modules.json` and activation functions may do."""
    stems = "|".join(sorted({re.escape(path.stem) for path in folder.rglob(f"*{CODE}")}))
    if not stems:
        return False
    named = re.compile(rf"(?<!\w)({stems})\.[A-Za-z_]".encode())
    return any(named.search(path.read_bytes()) for path in sorted(folder.rglob("*.json")))
