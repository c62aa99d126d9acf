"""A folder in BEIR layout with three documents, each relevant to the query of its letter."""

from __future__ import annotations

import json
from pathlib import Path


def write_collection(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    for kind, name in (("corpus", "d"), ("queries", "q")):
        rows = [json.dumps({"_id": f"{name}{c}", "text": f"letter {c}"}) for c in "xyz"]
        (folder / f"{kind}.jsonl").write_text("\n".join(rows))
    judged = "".join(f"q{c}\td{c}\t1\n" for c in "xyz")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return folder
