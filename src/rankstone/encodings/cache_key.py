"""What of a runner's description can change its encodings of documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rankstone.runners.protocols import Json


def of_documents(described: Json) -> Json:
    """`described` without what concerns queries alone, or where a model's files were found.

    Left out are the queries' side of whatever is told by role, ``{"query": ..., "document": ...}``
    and no more keys; ``query_model``, the encoder of queries; and the ``origin`` that a
    `LocatedModel` tells beside the digests of its files. All else stays.
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
