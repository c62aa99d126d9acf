"""Methods named without a definition.

    hf:ORG/NAME, hf:ORG/NAME@REVISION     a model of the hub
    mteb:NAME                             a model in MTEB's registry, with its prompts and revision
    lucene:NAME                           a prebuilt index in pyserini's registry
    ./folder                              a folder with a model's weights
    ./mine.toml                           a definition outside a workspace

A recorded name identifies the content: by the hub's commit (`hf/org/name+revision-1a2b3c4d`), or by
the digest of the index (`lucene/name+index-9c0d1e2f`), of the folder's files
(`folder/mine+weights-5e6f7a8b`) or of the definition.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from rankstone.errors import DefinitionError, ModelError, installed
from rankstone.hub import Repository
from rankstone.runners.lucene.prebuilt_indexes import folder_of, look_up
from rankstone.runners.method_files import Unwritten, load_method, none_unwritten, read_method
from rankstone.runners.models import LocatedModel, locate, locate_here
from rankstone.runners.names import DIGITS
from rankstone.runners.scorers.prompted_pairs import WEB_SEARCH
from rankstone.runners.unwritten.changes import Changes
from rankstone.runners.unwritten.layouts import SCORERS, layout
from rankstone.runners.unwritten.registry import Registered, registered
from rankstone.specs import DEFAULT, MethodSpec, ModelSpec, ScorerSpec

HUB, MTEB, LUCENE = "hf:", "mteb:", "lucene:"
SOURCES = (HUB, MTEB, LUCENE)
FORMS = (
    "hf:ORG/NAME[@REVISION], mteb:NAME, lucene:NAME, a folder with weights (./DIR) or a file"
    " (./FILE.toml)"
)
LOADERS = {"Qwen3RerankerWrapper": "causal_reranker", "MonoT5Reranker": "seq2seq_reranker"}
"""MTEB's loader class -> adapter, for models whose files do not determine it."""
CANDIDATES = 100
_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?", re.ASCII)


class Found(NamedTuple):
    """A model, and the label of its method."""

    model: ModelSpec
    files: LocatedModel
    label: str
    registered: Registered | None = None
    adapter: str | None = None
    """The adapter, if a registry states it."""


def is_form(name: str, folder: Path = Path()) -> bool:
    """Return True if `name` has one of the forms above; paths are relative to `folder`."""
    if name.startswith((*SOURCES, "./", "../", "/", "~")):
        return True
    path = folder / name
    return path.is_file() if path.suffix == ".toml" else bool(name) and path.is_dir()


def from_folder(name: str, folder: Path) -> str:
    """Return a form with its path, if it is one, resolved against `folder`."""
    return name if name.startswith(SOURCES) else str(folder / Path(name).expanduser())


def recorded_label(name: str) -> str | None:
    """Return the prefix of the recorded names of a hub model or prebuilt index; None for a tag or
    branch, whose commit must be looked up."""
    if name.startswith(LUCENE):
        return f"lucene/{name.removeprefix(LUCENE)}"
    identifier, at, revision = name.removeprefix(HUB).partition("@")
    if at and not re.fullmatch(rf"[0-9a-f]{{{DIGITS},40}}", revision):
        return None
    return f"hf/{identifier}" + (f"+revision-{revision[:DIGITS]}" if at else "")


def method_of(
    name: str,
    changes: Changes,
    first: MethodSpec | None,
    runners: tuple[Path, ...],
    unwritten: Unwritten = none_unwritten,
) -> MethodSpec:
    """Return the method for a `name` in a form above, before `changes` are applied.

    Args:
        first: the method whose candidates a model re-scores.
        runners: folders of the definitions that a file may name as members.
        unwritten: finds members of a file that have no definition.

    Raises: DefinitionError or ModelError, if the model is missing or its files are insufficient.
    """
    if name.startswith(LUCENE):
        return _prebuilt(name, runners)
    if not name.startswith((HUB, MTEB)):
        path = Path(name).expanduser().resolve()
        if path.suffix == ".toml" and not path.is_dir():
            label = f"file/{_safe(path.stem)}"
            method = read_method(path, label, *runners, unwritten=unwritten)
            mark = method.model_copy(update={"name": ""}).digest()[:DIGITS]
            return method.model_copy(update={"name": f"{method.name}+definition-{mark}"})
    return _of_model(name, _found(name), changes, first)


def _prebuilt(name: str, runners: tuple[Path, ...]) -> MethodSpec:
    """Return the method of a prebuilt index, which is downloaded to pyserini's cache."""
    entry = look_up(name.removeprefix(LUCENE))
    if entry.kind == "impacts" and entry.encoder is None:
        raise DefinitionError(
            f"'{name}' holds impacts of an encoder without a definition here. Write a FILE.toml"
            ' with adapter = "lucene_prebuilt_impact", its encoder as members = ["hf:ORG/NAME"],'
            f' and parameters = {{prebuilt = "{entry.name}", md5 = "{entry.md5}"}}.'
        )
    folder_of(entry.name, entry.md5)
    words = {"fields": entry.fields, "language": entry.language} if entry.encoder is None else {}
    return MethodSpec(
        name=f"lucene/{entry.name}+index-{entry.md5[:DIGITS]}",
        description=f"Pyserini's prebuilt index {entry.name}.",
        adapter="lucene_prebuilt" if entry.encoder is None else "lucene_prebuilt_impact",
        parameters={"prebuilt": entry.name, "md5": entry.md5, **words},
        members=() if entry.encoder is None else (load_method(entry.encoder, *runners),),
        trained_on=entry.trained_on,
        stated_in=name,
    )


def _found(name: str) -> Found:
    if name.startswith(HUB):
        return _on_hub(name, *_parts(name.removeprefix(HUB), name))
    if name.startswith(MTEB):
        return _in_registry(name)
    path = Path(name).expanduser().resolve()
    if not path.is_dir():
        raise DefinitionError(f"'{name}': {path}: no such folder. A method may be {FORMS}.")
    model = ModelSpec(id=path.name, path=str(path))
    return Found(model, locate(model), f"folder/{_safe(path.name)}")


def _of_model(name: str, found: Found, changes: Changes, first: MethodSpec | None) -> MethodSpec:
    values = changes.values
    adapter, parameters = layout(found.files, {"adapter": found.adapter, **values})
    more = found.registered if adapter in ("dense", "sparse") else None
    parameters = {**parameters, **(more.parameters if more else {})}
    label = found.label + (f"+{adapter}" if "adapter" in values else "")
    described: dict[str, Any] = {"description": f"{name}, as its files say.", "stated_in": name}
    described["instructions"] = more.instructions if more else {}
    if "instruction" in parameters:
        described["instructions"] = {DEFAULT: WEB_SEARCH}
    if adapter not in SCORERS:
        return MethodSpec(
            name=label, adapter=adapter, parameters=parameters, model=found.model, **described
        )
    if first is None:
        raise DefinitionError(
            f"'{name}' re-scores candidates of another method ({adapter})."
            " Name it: --candidates bm25 --depth 100"
        )
    depth = changes.depth or CANDIDATES
    return MethodSpec(
        name=f"{label}+candidates-{_safe(first.name)}-{depth}",
        adapter="two_stage",
        parameters={"depth": depth},
        members=(first,),
        scorer=ScorerSpec(adapter=adapter, parameters=parameters, model=found.model),
        **described,
    )


def _parts(text: str, name: str) -> tuple[str, str | None]:
    identifier, _, revision = text.partition("@")
    if not _ID.fullmatch(identifier):
        raise DefinitionError(f"'{name}': '{identifier}' is not ORG/NAME. Write hf:ORG/NAME.")
    return identifier, revision or None


def _on_hub(name: str, identifier: str, revision: str | None) -> Found:
    """Return a model on the hub at its commit, from the cache or downloaded."""
    asked = ModelSpec(id=identifier, revision=revision)
    found = locate_here(asked) or _fetched(name, asked)
    mark = f"+revision-{str(found.revision)[:DIGITS]}"
    model = ModelSpec(id=identifier, revision=found.revision)
    return Found(model, found, f"hf/{identifier}{mark}")


def _fetched(name: str, asked: ModelSpec) -> LocatedModel:
    repository = Repository(
        name=name, id=asked.id, revision=asked.revision, kind="model", error=ModelError
    )
    repository.require_client()
    info = repository.info()
    try:
        return locate(asked)
    except ModelError as error:
        if getattr(info, "gated", False):
            raise repository.gated() from error
        raise


def _in_registry(name: str) -> Found:
    """Return a model in MTEB's registry, with its revision, prompts and instructions."""
    if not installed("mteb"):
        raise DefinitionError(f"'{name}' needs MTEB's registry. Install: pip install mteb")
    import mteb  # type: ignore[import-not-found,unused-ignore]

    wanted = name.removeprefix(MTEB)
    try:
        meta = mteb.get_model_meta(wanted)
    except Exception as error:  # KeyError or ValueError, depending on the version
        raise DefinitionError(
            f"'{name}': MTEB's registry has no such model ({str(error).splitlines()[0]:.200})."
            f" Name one of mteb.get_model_metas(), or the hub's: hf:{wanted}"
        ) from error
    stated = registered(name, meta)
    found = _on_hub(name, str(meta.name), meta.revision)
    label = f"mteb{found.label.removeprefix('hf')}"
    adapter = LOADERS.get(getattr(getattr(meta, "loader", None), "__name__", ""))
    return found._replace(label=label, registered=stated, adapter=adapter)


def _safe(label: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", label, flags=re.ASCII).strip("-._") or "method"
