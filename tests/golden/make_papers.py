"""Makes `leaderboards/papers/*.toml` of a table of published values.

    python tests/golden/make_papers.py FACTS.csv

FACTS.csv is that of `make_published.py`, which adds `more_facts.csv`. `papers.toml` says which rows
are which table, how far from each value is still the same result, and what is to be known about it:
that is where a table is curated, and the definitions are not edited. Every effectiveness value on
MS MARCO, BEIR, NQ, LoCo and CodeSearchNet has to be in a table; the script stops at one that is in
none or in two.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from make_published import dataset_of, facts_of, measure_of, methods_of, owners, task_of

from rankstone.workspace import Workspace

CURATED = Path(__file__).with_name("papers.toml")
OURS = re.compile(
    r"MS MARCO|TREC DL|BEIR|NQ|LoCo|CodeSearchNet|CosQA|CodeNet|AdvTest|POJ-104|BigCloneBench"
)
"""Data sets whose values are to be in a table."""
COSTS = re.compile(
    r"latency|seconds|docs/sec|FLOPS|compression|QPS|embeddings after|ratio|speed-up|std of|"
    r"speedup|gain|reduction|saving"
)
"""Not effectiveness, or no value of its own."""
SUITES = {
    "BEIR cqadupstack (mean of 12)": "cqadupstack",
    "BEIR AVERAGE (18)": "beir",
    "BEIR average (14, without MS MARCO)": "beir-14",
    "BEIR average (13)": "beir-13",
    "LoCoV1 AVERAGE (12)": "loco-v1",
    "LoCoV0 average": "loco-v0",
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Which facts are one published table: `[tables.<name>]` of `papers.toml`."""

    name: str
    title: str
    source: str
    match: str
    kind: str
    note: str = ""
    methods: Sequence[Sequence[str]] = ()
    datasets: str = ""
    measures: str = ""
    tasks: Mapping[str, str] = field(default_factory=dict)
    quoted: str = "$^"
    again: bool = False

    def takes(self, fact: dict[str, str]) -> bool:
        return (
            re.search(self.match, f"{fact['source']} | {system_of(fact)}") is not None
            and re.match(self.datasets, fact["dataset"]) is not None
            and re.match(self.measures, fact["metric"]) is not None
        )


def curated() -> tuple[dict[str, dict[str, Any]], list[Table]]:
    """The kinds of tolerance, and the tables, of `papers.toml`."""
    body = tomllib.loads(CURATED.read_text(encoding="utf-8"))
    tables = [Table(name=name, **values) for name, values in body["tables"].items()]
    return body["tolerances"], tables


def main(facts: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    place = Workspace.find(root)
    known = owners([place.method(name) for name in place.method_names()])
    wanted = [fact for fact in facts_of(facts) if concerns(fact)]
    tolerances, tables = curated()
    for fact in wanted:
        takers = [table.name for table in tables if table.takes(fact) and not table.again]
        if len(takers) != 1:
            sys.exit(f"{takers or 'no table'}: {fact}")
    papers = place.root / "leaderboards" / "papers"
    for old in papers.glob("*.toml"):
        old.unlink()
    for table in tables:
        text = toml(
            table,
            tolerances[table.kind],
            [fact for fact in wanted if table.takes(fact)],
            known,
            place,
        )
        (papers / f"{table.name}.toml").write_text(text, encoding="utf-8", newline="\n")


def concerns(fact: dict[str, str]) -> bool:
    """Whether the fact is an effectiveness value that belongs into a table."""
    companion = re.search("AR2|contriever|ANCE README|arXiv:2501.02772", fact["source"])
    about = OURS.search(fact["dataset"]) or companion
    abstract = re.search(r"paper abstract|^abstract", fact["source"])
    bound = fact["value"].startswith(">")
    return bool(about) and not COSTS.search(fact["metric"]) and not abstract and not bound


def system_of(fact: dict[str, str]) -> str:
    return f"{fact['system']}: {fact['variant']}"


def toml(
    table: Table,
    kind: dict[str, Any],
    facts: list[dict[str, str]],
    known: dict[str, str],
    place: Workspace,
) -> str:
    """The definition of `table`."""
    lines = [
        f"title = {quoted(table.title)}",
        f"source = {quoted(table.source)}",
        f"tolerance = {number(kind['tolerance'])}",
        f"because = {quoted(kind['because'])}",
        f"digits = {kind['digits']}",
        *([f"note = {quoted(table.note)}"] if table.note else []),
    ]
    rows: dict[tuple[str, str | None, str, str], list[dict[str, str]]] = {}
    for fact in facts:
        key = (label(fact), method(table, fact, known), measure_of(fact), fact["confidence"])
        rows.setdefault(key, []).append(fact)
    for (row, owner, measure, confidence), found in rows.items():
        lines += ["", "[[rows]]", f"row = {quoted(row)}"]
        lines += [f"method = {quoted(owner)}"] if owner else []
        lines += [f"measure = {quoted(measure)}"]
        lines += [f"confidence = {quoted(confidence)}"] if confidence != "high" else []
        smallest = min(float(fact["value"]) for fact in found)
        if smallest > 1:
            lines += [f"tolerance = {number(smallest / 10)}"]
        lines += values(table, found, place)
    return "\n".join(lines) + "\n"


def label(fact: dict[str, str]) -> str:
    """The row as its source calls it, with what tells it from others of that name."""
    parts = [fact["system"]]
    if fact["variant"] not in ("", "MTEB run", fact["system"]):
        parts.append(fact["variant"])
    if "embeddings-benchmark" in fact["source"] or "HF model card" in fact["source"]:
        parts[0] = fact["checkpoint"].rpartition("/")[2] or parts[0]
    if "/external/" in fact["source"]:
        parts.append("external")
    if re.search("SPLADE family|MiniLM cross-encoder", fact["system"]):
        parts[0] = fact["checkpoint"].rpartition("/")[2]
    if "castorini/anserini" in fact["source"] and "msmarco" in fact["source"]:
        parts.append("Anserini")
    return ", ".join(parts)


def method(table: Table, fact: dict[str, str], known: dict[str, str]) -> str | None:
    for pattern, name in table.methods:
        if re.match(pattern, system_of(fact)):
            return name or None
    return next(iter(methods_of(fact, known)), None)


def values(table: Table, facts: list[dict[str, str]], place: Workspace) -> list[str]:
    """`expected` and `elsewhere` of one row."""
    expected: dict[str, str] = {}
    elsewhere: dict[str, str] = {}
    for fact in facts:
        task = task_in(table, fact, set(place.tasks))
        into = expected if task in place.tasks or task in place.suites else elsewhere
        name = task or dataset_of(fact)
        if into.get(name, fact["value"]) != fact["value"]:
            sys.exit(f"{table.name}: {name} has two values: {fact}")
        into[name] = fact["value"]
    return [
        f"{key} = {{ " + ", ".join(f"{quoted(k)} = {v}" for k, v in found.items()) + " }"
        for key, found in (("expected", expected), ("elsewhere", elsewhere))
        if found
    ]


def task_in(table: Table, fact: dict[str, str], tasks: set[str]) -> str:
    if not re.match(table.quoted, system_of(fact)):
        named = table.tasks.get(fact["dataset"])
        if named is not None:
            return named
    if table.name == "pyserini-nq" and fact["system"] == "BM25":
        return "nq/dpr" if fact["variant"].endswith("dpr-topics") else "nq/dpr-open"
    if fact["metric"].startswith("candidates"):
        return ""
    return SUITES.get(fact["dataset"]) or task_of(fact, tasks)


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def number(value: float) -> str:
    return f"{value:.7f}".rstrip("0") if value < 1 else f"{value:g}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
