"""Writes mteb_tasks.json: what MTEB's registry and statistics say of data sets that are tasks here.

    python tests/golden/make_mteb_tasks.py

Needs mteb.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("mteb_tasks.json")
BENCHMARKS = ("NanoBEIR", "CoIR", "LongEmbed", "BRIGHT(v1.1)")
RETRIEVAL = "MTEB(eng, v2)"
"""Of which the retrieval tasks alone."""
MORE = ("MIRACLRetrieval", "MrTidyRetrieval", "LoTTE")


def main() -> None:
    import mteb

    suites = {
        name: [task.metadata.name for task in mteb.get_benchmark(name)] for name in BENCHMARKS
    }
    english = [task.metadata for task in mteb.get_benchmark(RETRIEVAL)]
    suites[RETRIEVAL] = [one.name for one in english if one.type == "Retrieval"]
    names = sorted({*MORE, *(name for tasks in suites.values() for name in tasks)})
    head = {"mteb": version("mteb"), "suites": suites}
    lines = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(facts(mteb.get_task(name)))}" for name in names
    )
    TARGET.write_text(f'{json.dumps(head)[:-1]}, "tasks": {{\n{lines}\n}}}}\n', encoding="ascii")


def facts(task: Any) -> dict[str, Any]:
    meta = task.metadata
    return {
        "dataset": dict(meta.dataset),
        "splits": list(meta.eval_splits),
        "main_score": meta.main_score,
        "licence": meta.license,
        "drops_self_hits": task.ignore_identical_ids,
        "statistics": {
            f"{split}/{subset}".strip("/"): counts(found)
            for split, of_split in meta.descriptive_stats.items()
            for subset, found in (
                of_split.get("hf_subset_descriptive_stats") or {"": of_split}
            ).items()
        },
    }


def counts(found: dict[str, Any]) -> dict[str, int]:
    """Documents and queries, from the lengths of their texts: not all files state the numbers."""
    judged = found["relevant_docs_statistics"]
    return {
        "documents": _number(found["documents_text_statistics"]),
        "queries": _number(found["queries_text_statistics"]),
        "relevant": judged["num_relevant_docs"],
        "fewest": judged["min_relevant_docs_per_query"],
        "most": judged["max_relevant_docs_per_query"],
    }


def _number(texts: dict[str, Any]) -> int:
    return round(texts["total_text_length"] / texts["average_text_length"])


if __name__ == "__main__":
    main()
