"""Key of an encoded corpus: the digest of everything that can change its representations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rankstone.runners.adapter_json import name_of
from rankstone.runners.code_digest import adapter_digest
from rankstone.runners.protocols import AnyRunner, Json
from rankstone.specs import canonical_digest


def encoding_key(runner: AnyRunner, corpus: Mapping[str, Any], shard_size: int) -> str:
    """Return the sha256 of everything that can change the encoding of documents, not of queries.

    Args:
        corpus: digest of the documents, and the template of their texts.
    """
    adapter = {name_of(type(one)): adapter_digest(type(one)) for one in _with_members(runner)}
    layout = {"shard_size": shard_size, "encoded": "distinct texts of all", "version": 2}
    material = {"corpus": dict(corpus), "adapter": adapter, "layout": layout}
    return canonical_digest({**material, "runner": of_documents(runner.describe())})


def corpus_material(sha256: str, text: str) -> dict[str, str]:
    """Return a corpus as input of `encoding_key`: its digest, and the template of its texts."""
    return {"corpus": sha256, "text": text}


def _with_members(runner: AnyRunner) -> Iterator[AnyRunner]:
    """Yield a runner and its members, whose code can also change its encodings."""
    yield runner
    for member in getattr(runner, "members", ()):
        yield from _with_members(member)


def of_documents(described: Json) -> Json:
    """Return `described` without everything that concerns only queries, and without file origins.

    Removed are the query part of values given by role (mappings with exactly the keys ``query`` and
    ``document``); ``query_model``, the encoder of queries; and the ``origin`` that a `LocatedModel`
    states beside the digests of its files.
    """
    if isinstance(described, Mapping):
        left_out = {"query_model"}
        if described.keys() == {"query", "document"}:
            left_out = {"query"}
        elif {"origin", "files"} <= described.keys():
            left_out.add("origin")
        return {k: of_documents(v) for k, v in described.items() if k not in left_out}
    if isinstance(described, Sequence) and not isinstance(described, str):
        return [of_documents(value) for value in described]
    return described
