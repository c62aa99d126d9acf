"""Content-based names: a method that differs from its definition gets another name.

`dense/bge-base-en-v1.5+weights-1a2b3c4d` has different weights, `...+text-5e6f7a8b` a different
document template, `...+parameters-9c0d1e2f` a different parameter, adapter, scorer or member; the
digits are those of a digest of the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from rankstone.runners.models import locate, locate_here
from rankstone.specs import MODELS, AdapterSpec, MethodSpec, ModelSpec, canonical_digest

DIGITS = 8
Defined = Callable[[str], MethodSpec | None]
"""Function from a name to its definition; None if there is none."""
Part = TypeVar("Part", MethodSpec, AdapterSpec)
Files = dict[str, dict[str, str]]
"""Key of a model -> file name -> sha256."""


def named_by_content(method: MethodSpec, defined: Defined) -> MethodSpec:
    """Return `method`, and its members, under names that identify their content.

    Raises ModelError if a path of `method` is not a folder, or a pinned file differs.
    """
    known = defined(method.name)
    if known == method:
        return method
    method, files = _with_models(_with_named_members(method, defined), known)
    if method.scorer is not None:
        scorer, more = _with_models(method.scorer, known and known.scorer)
        method = method.model_copy(update={"scorer": scorer})
        files |= {f"scorer.{key}": found for key, found in more.items()}
    marks = [("weights", canonical_digest(files))] if files else []
    marks += _differences(method, known) if known is not None else []
    suffix = "".join(f"+{what}-{digest[:DIGITS]}" for what, digest in marks)
    return method.model_copy(update={"name": method.name + suffix})


def labelled(method: MethodSpec, label: str) -> MethodSpec:
    """Return `method` under another label; the suffixes that identify its content are kept."""
    _, plus, marks = method.name.partition("+")
    digest = method.model_copy(update={"name": ""}).digest()[:DIGITS]
    name = f"{label}+{marks}" if plus else f"{label}+definition-{digest}"
    return method.model_copy(update={"name": name})


def _with_named_members(method: MethodSpec, defined: Defined) -> MethodSpec:
    def named(part: Part) -> Part:
        members = tuple(named_by_content(member, defined) for member in part.members)
        return part.model_copy(update={"members": members})

    scorer = method.scorer and named(method.scorer)
    return named(method).model_copy(update={"scorer": scorer})


def _with_models(part: Part, known: AdapterSpec | None) -> tuple[Part, Files]:
    """Return `part` with the pins of `known` for equal files, and its files that differ."""
    files, same = Files(), {}
    for key, model in part.models.items():
        usual = known.models.get(key) if known is not None else None
        if model == usual or (usual is None and model.path is None):
            continue
        found = {"": model.digest()} if model.path is None else locate(model).files
        here = usual and locate_here(usual)
        if usual and here and here.files == found:
            same[key] = usual.model_copy(update={"path": model.path})
        else:
            files[key] = found
    return part.model_copy(update=same), files


def _differences(method: MethodSpec, known: MethodSpec) -> Iterator[tuple[str, str]]:
    """Yield the kinds of differences other than weights, each with its digest."""
    if method.text != known.text:
        yield "text", canonical_digest(method.text)
    if (rest := _rest(method)) != _rest(known):
        yield "parameters", rest


def _rest(method: MethodSpec) -> str:
    """Return the digest of everything except name, text and weights."""
    none = dict[str, ModelSpec | None].fromkeys(MODELS)
    scorer = method.scorer and method.scorer.model_copy(update=none)
    return method.model_copy(update={**none, "scorer": scorer, "name": "", "text": None}).digest()
