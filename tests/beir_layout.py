"""Collections in BEIR layout."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Rows = Mapping[str, str | Mapping[str, Any]]
"""Id -> text, or the fields of its line."""


def write_beir(
    folder: Path, documents: Rows, queries: Rows, **judged: Iterable[tuple[object, ...]]
) -> Path:
    """Write a collection.

    Args:
        judged: split -> (query, document) or (query, document, label); the label is 1 by default.
    """
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for name, rows in (("corpus", documents), ("queries", queries)):
        lines = (
            json.dumps({"_id": id, **({"text": row} if isinstance(row, str) else row)})
            for id, row in rows.items()
        )
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    for split, pairs in judged.items():
        lines = ("\t".join(map(str, (*pair, 1)[:3])) for pair in pairs)
        text = "".join(f"{line}\n" for line in ("query-id\tcorpus-id\tscore", *lines))
        (folder / "qrels" / f"{split}.tsv").write_text(text)
    return folder
