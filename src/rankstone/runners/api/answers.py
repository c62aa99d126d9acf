"""Answers of embedding and reranking servers, read so that nothing doubtful becomes a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import ApiError

Array = NDArray[np.float32]


class Answer(NamedTuple):
    """Numbers of a request's texts, in their order."""

    values: Array
    tokens: int | None
    """Input tokens, as the server counts them; None where it does not say."""
    model: str | None
    """Name of the model, as the server gives it."""
    text: str = ""
    """Text that a language model wrote ..."""
    written: int = 0
    """... and the tokens of it, as the server counts them."""


def read_embeddings(body: Any, n: int, where: str) -> Answer:
    """Read ``{"data": [{"index", "embedding"}], "usage", "model"}`` for `n` texts.

    Raises:
        ApiError: the count, the order, the dimension or a value is not what it must be.
    """
    rows = _items(body, "data", n, where)
    found = [_index(row, where) for row in rows]
    if found != list(range(n)):
        raise ApiError(
            f"{where}: the embeddings are not in the order of the texts: 'index' is"
            f" {_some(found)}. The server is at fault."
        )
    return Answer(_matrix([_field(row, "embedding", where) for row in rows], where), *_about(body))


def read_scores(body: Any, n: int, where: str) -> Answer:
    """Read the scores of `n` documents, best first as servers sort them, into the documents' order.

    ``{"results": [{"index", "relevance_score"}]}`` of Cohere, Jina and vLLM; ``data`` in place of
    ``results`` of Voyage; and ``[{"index", "score"}]`` of Text Embeddings Inference.

    Raises:
        ApiError: a document has no score or two, or a score is not a finite number.
    """
    key = "results" if isinstance(body, dict) and "results" in body else "data"
    rows = _items(body if isinstance(body, dict) else {key: body}, key, n, where)
    found = [_index(row, where) for row in rows]
    if sorted(found) != list(range(n)):
        raise ApiError(
            f"{where}: expected one score for each of {n} documents, found those of 'index'"
            f" {_some(found)}. The server is at fault."
        )
    name = "score" if isinstance(body, list) else "relevance_score"
    scores = np.empty(n, dtype=np.float32)
    scores[found] = _matrix([[_field(row, name, where)] for row in rows], where)[:, 0]
    return Answer(scores, *_about(body if isinstance(body, dict) else {}))


def read_chat(body: Any, n: int, where: str) -> Answer:
    """Read ``{"choices": [{"message": {"content"}}], "usage", "model"}``; a refusal has no text.

    Raises:
        ApiError: there is no message, or its content is no text.
    """
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices:
        raise ApiError(f"{where}: the answer has no 'choices'. Correct parameters.base_url.")
    content = _field(_field(choices[0], "message", where), "content", where)
    if not isinstance(content, str | None):
        raise ApiError(f"{where}: expected a text, found {content!r:.60}.")
    usage = body.get("usage")
    written = usage.get("completion_tokens", 0) if isinstance(usage, dict) else 0
    tokens = int(written) if _count(written) else 0
    return Answer(np.empty(0, np.float32), *_about(body), content or "", tokens)


def _items(body: Any, key: str, n: int, where: str) -> list[Any]:
    rows = body.get(key) if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise ApiError(f"{where}: the answer has no list '{key}'. Correct parameters.base_url.")
    if len(rows) != n:
        raise ApiError(f"{where}: {n} texts were sent and {len(rows)} answered.")
    return rows


def _field(row: Any, name: str, where: str) -> Any:
    if not isinstance(row, dict) or name not in row:
        raise ApiError(f"{where}: an item of the answer has no '{name}'. The server is at fault.")
    return row[name]


def _index(row: Any, where: str) -> int:
    index = _field(row, "index", where)
    if type(index) is not int:
        raise ApiError(f"{where}: 'index' is {index!r:.40}, not a whole number.")
    return index


def _matrix(rows: Sequence[Any], where: str) -> Array:
    """(n, dim) finite values of equally long lists of numbers."""
    for row in rows:
        if not isinstance(row, list) or not row or not {type(v) for v in row} <= {int, float}:
            raise ApiError(f"{where}: expected numbers, found {row!r:.60}.")
    sizes = {len(row) for row in rows}
    if len(sizes) > 1:
        raise ApiError(f"{where}: one answer has vectors of several dimensions: {sorted(sizes)}.")
    with np.errstate(over="ignore"):
        values = np.array(rows, dtype=np.float64).astype(np.float32)
    if not np.isfinite(values).all():
        raise ApiError(f"{where}: the answer holds NaN, infinity, or values beyond float32.")
    return values


def _some(found: Sequence[int]) -> str:
    return ", ".join(map(str, found[:8])) + (" ..." if len(found) > 8 else "")


def _about(body: dict[str, Any]) -> tuple[int | None, str | None]:
    """Return the input tokens, of whichever key the server uses, and the model's name."""
    meta = body.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    counts = (
        (body.get("usage"), "prompt_tokens"), (body.get("usage"), "total_tokens"),
        (meta.get("tokens"), "input_tokens"), (meta.get("billed_units"), "input_tokens"),
    )  # fmt: skip
    known = [c[key] for c, key in counts if isinstance(c, dict) and _count(c.get(key))]
    model = body.get("model")
    return (int(known[0]) if known else None), model if isinstance(model, str) else None


def _count(value: Any) -> bool:
    """True for a count above 0: servers that do not count state 0."""
    return isinstance(value, int | float) and value > 0
