"""Validation of a checkpoint's files, configuration and weights, before a library reads them.

Libraries report damaged files by internal errors that do not name the file, or ignore them.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from rankstone.errors import ModelError
from rankstone.runners.models import LocatedModel

LFS_POINTER = b"version https://git-lfs"
INDEX = ".safetensors.index.json"
POINTER = "is a pointer of git-lfs, not the file. Fetch it: git lfs pull"
AGAIN = "Fetch the model again"
Length = Annotated[int, Field(ge=1)] | Annotated[float, Field(ge=1e9)] | None
"""Number of tokens, or a huge number that means "no limit"."""


class UnusableError(ValueError):
    """A reason why a checkpoint cannot be used, with the fix."""


class Settings(TypedDict, total=False):
    """Validated keys of a configuration; other keys are allowed."""

    __pydantic_config__ = ConfigDict(strict=True)  # type: ignore[misc]

    prompts: dict[str, str | None]
    default_prompt_name: str | None
    similarity_fn_name: str | None
    max_seq_length: Length
    model_max_length: Length
    truncation_side: Literal["left", "right"]


class ShardIndex(TypedDict):
    """Index of sharded weights: tensor name -> file."""

    weight_map: dict[str, str]


class ModuleEntry(TypedDict):
    """An entry of `modules.json`."""

    type: str
    path: str


FORMS: Mapping[str, TypeAdapter[Any]] = {
    "modules.json": TypeAdapter(Annotated[list[ModuleEntry], Field(min_length=1)]),
    "tokenizer.json": TypeAdapter(dict[str, Any]),
    "config.json": TypeAdapter(Settings),
    "tokenizer_config.json": TypeAdapter(Settings),
    "sentence_*_config.json": TypeAdapter(Settings),
    "config_sentence_transformers.json": TypeAdapter(Settings),
    f"*{INDEX}": TypeAdapter(ShardIndex),
}
"""Pattern of a file name -> type of the file's content."""
LIBRARY = ("sentence_transformers.", "pylate.")
"""Prefixes of module types that the library can load, including PyLate's."""
CONFIGURED = re.compile(r"sentence_transformers\..*(Pooling|Dense)")
"""Module types that the library cannot load without their `config.json`."""


def check_files(model: LocatedModel) -> None:
    """Raise ModelError, with path and fix, for the first file that is damaged or missing."""
    reason = next(_faults(model), None)
    if reason is not None:
        raise ModelError(f"Model '{model.id}' cannot be loaded: {reason}.")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if the file does not exist."""
    try:
        content = _content(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise ModelError(f"{path} {error}.") from None
    return content if isinstance(content, dict) else {}


def foreign_modules(folder: Path) -> list[str]:
    """Return the types in `modules.json` unknown to the library; none for a damaged file."""
    return [kind for kind in module_types(folder) if not kind.startswith(LIBRARY)]


def module_types(folder: Path) -> list[str]:
    """Return the types in `modules.json`, in order; none for a damaged file."""
    return [m["type"] for m in _modules(folder)]


def module_paths(folder: Path) -> list[str]:
    """Return the folders of the modules in `modules.json`, in the order of `module_types`."""
    return [m["path"] for m in _modules(folder)]


def _modules(folder: Path) -> list[ModuleEntry]:
    try:
        entries: list[ModuleEntry] = FORMS["modules.json"].validate_python(
            _content(folder / "modules.json")
        )
    except (ValueError, OSError):
        return []
    return entries


def _faults(model: LocatedModel) -> Iterator[str]:
    for name in model.files:
        path = model.folder / name
        try:
            _check(path)
        except (ValueError, OSError) as error:
            yield f"{path} {error}"
    for name, wanted in _wanted(model):
        if not (model.folder / wanted).is_file():
            yield f"{model.folder / wanted}, which {name} names, is missing. {AGAIN}"


def _check(path: Path) -> None:
    """Raise ValueError with the fault of a damaged file."""
    from safetensors import SafetensorError, safe_open

    form = next((form for pattern, form in FORMS.items() if fnmatch(path.name, pattern)), None)
    if form is not None:
        try:
            form.validate_python(_content(path))
        except ValidationError as error:
            raise ValueError(_in_words(error)) from None
    elif _is_pointer(path):
        raise ValueError(POINTER)
    elif path.suffix == ".safetensors":
        try:
            with safe_open(path, "numpy"):
                pass
        except SafetensorError as error:
            raise ValueError(f"is damaged: {error}. {AGAIN}") from None


def _content(path: Path) -> Any:
    """Return the content of a JSON file; ValueError with the fault of a damaged one."""
    if _is_pointer(path):
        raise ValueError(POINTER)
    data = path.read_bytes()
    if data.startswith(codecs.BOM_UTF8):
        raise ValueError(
            "begins with a byte-order mark, which the model's library refuses. Save it without"
        )
    try:
        return json.loads(data)
    except ValueError as error:
        raise ValueError(f"is damaged: not valid JSON: {error}. {AGAIN}") from None


def _is_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER


def _in_words(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"] if not str(part).startswith("constrained"))
    key = f"the key '{where}' holds {first['input']!r:.60}" if where else "its content"
    return f"is not valid: {key}: {first['msg']}. Correct it, or fetch the model again"


def _wanted(model: LocatedModel) -> Iterator[tuple[str, str]]:
    """Yield (file, file that it refers to) for weight shards and module configurations."""
    for name in model.files:
        inside = PurePosixPath(name).parent
        if name.endswith(INDEX) and name.removesuffix(".index.json") not in model.files:
            shards = _content(model.folder / name)["weight_map"].values()
            yield from ((name, str(inside / shard)) for shard in sorted(set(shards)))
        elif name == "modules.json":
            for module in _content(model.folder / name):
                if CONFIGURED.fullmatch(module["type"]):
                    yield name, str(inside / module["path"] / "config.json")
