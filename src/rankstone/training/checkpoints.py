"""Cache of trained weights, keyed by a digest of everything that training depends on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from rankstone.benchmarks.storage.atomic_folders import build_once, read_meta, whole, write_meta
from rankstone.files import sync
from rankstone.profiling.machine import package_versions
from rankstone.runners.code_digest import folder_digest
from rankstone.specs import AdapterSpec, Recipe, canonical_digest

LIBRARIES = (
    "PyStemmer", "accelerate", "bm25s", "faiss-cpu", "numpy", "openvino", "scipy",
    "sentence-transformers", "tokenizers", "torch", "transformers",
)  # fmt: skip
MODEL, META_KEY = "model", "training"
Train = Callable[[Path, Path], dict[str, Any]]
"""Function that writes the weights to the first folder and the trainer's state to the second, and
returns the facts for the record."""


@cache
def _code() -> str:
    return folder_digest(Path(__file__).parent)


def checkpoint_digest(
    part: AdapterSpec,
    recipe: Recipe,
    *,
    files: dict[str, dict[str, str]],
    members: list[str],
    teacher: dict[str, dict[str, str]],
    code: dict[str, str],
    data: str,
    device: str,
    threads: int,
) -> str:
    """Return the digest of the recipe, the initial weights, the data, the code and the libraries.

    Args:
        files: Model key -> sha256 of each file, for the initial model and for the models that mine
            its negatives.
        members: Digests of the methods that the part consists of.
        teacher: Name -> the same as `files`, for the teachers' models.
        code: Digests of the adapters of the initial model, the teachers and the negative miners.
        threads: Number of threads, which changes the last bits of the weights on a CPU.
    """
    body = {
        "recipe": {**recipe.model_copy(update={"data": ()})._digested(), "device": device},
        "adapter": part.adapter,
        "parameters": part.parameters,
        "files": files,
        "members": members,
        "teacher": teacher,
        "data": data,
        "threads": threads if device == "cpu" else None,
        "code": {"training": _code(), **code},
        "libraries": package_versions(LIBRARIES),
    }
    return canonical_digest(body)


def trained_once(folder: Path, digest: str, train: Train) -> tuple[Path, dict[str, Any], bool]:
    """Return the folder of the weights, the facts of their training, and True if they are new.

    Processes that need the same weights wait for the first one. The state of a killed training is
    kept beside the folder, and the next call resumes from it.
    """
    target, state = folder / digest, folder / f"{digest}.unfinished"
    done = list[bool]()

    def fill(fresh: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        facts = train(fresh / MODEL, state)
        for path in fresh.rglob("*"):
            if path.is_file():
                sync(path)
        write_meta(fresh, {META_KEY: facts})
        done.append(True)

    build_once(target, whole, fill)
    shutil.rmtree(state, ignore_errors=True)
    meta = read_meta(target) or {}
    return target / MODEL, meta[META_KEY], bool(done)
