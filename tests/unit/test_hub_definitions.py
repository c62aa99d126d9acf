"""Definitions of hub data sets, on small data sets with the same names and layouts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.errors import DataError
from rankstone.specs import Counts
from rankstone.workspace import Workspace
from tests.hub_server import hub
from tests.unit.test_hub_data import write

constants = pytest.importorskip("huggingface_hub.constants")
TASKS = Workspace.find(Path(__file__).parents[2]).tasks
Tables = Mapping[str, Mapping[str, list[dict[str, Any]]]]
"""Configuration -> split -> rows."""
CORPUS = [{"_id": "d1", "title": "Fox", "text": "the quick fox"},
          {"_id": "d2", "title": "", "text": "a lazy dog"}]  # fmt: skip
QUERIES = [{"_id": "q1", "text": "dog?", "partition": "test"},
           {"_id": "q2", "text": "cat?", "partition": "train"}]  # fmt: skip
QRELS = [{"query-id": "q1", "corpus-id": "d2", "score": 1}]


def plain(prefix: str, corpus: str, queries: str) -> Tables:
    """Return tables as read by MTEB's loader, of a data set or of one language."""
    return {
        f"{prefix}corpus": {corpus: CORPUS},
        f"{prefix}queries": {queries: QUERIES},
        f"{prefix}qrels" if prefix else "default": {
            "test": QRELS,
            "train": [{**QRELS[0], "query-id": "q2"}],
        },
    }


def by_length() -> Tables:
    """Return tables like `mteb/LEMBPasskeyRetrieval`: a split for each length in every table."""
    other = [{"_id": "d3", "title": "", "text": "shorter"}]
    return {
        "corpus": {"test_256": other, "test_512": CORPUS},
        "queries": {"test_256": QUERIES, "test_512": QUERIES},
        "default": {"test_256": [{**QRELS[0], "corpus-id": "d3"}], "test_512": QRELS},
    }


def one_table(name: str) -> Tables:
    """Return tables like `dwzhu/LongEmbed`: three splits of one table; the length is a column."""
    lengths = {"context_length": 512}, {"context_length": 256}
    rows: dict[str, list[dict[str, Any]]] = {"corpus": [], "queries": [], "qrels": []}
    for number, own in enumerate(lengths if name == "needle" else lengths[:1]):
        rows["corpus"] += [
            {
                "doc_id": f"{one['_id']}{'-' * number}",
                "text": f"{one['title']} {one['text']}",
                **own,
            }
            for one in CORPUS
        ]
        rows["queries"] += [{"qid": f"q1{'-' * number}", "text": "dog?", **own}]
        rows["qrels"] += [{"qid": f"q1{'-' * number}", "doc_id": f"d2{'-' * number}", **own}]
    return {name: rows}


LAYOUTS = {
    "code/coir-apps": plain("", "corpus", "queries"),
    "code/coir-codesearchnet/go": plain("go-", "corpus", "queries"),
    "mteb/touche2020-v3": plain("", "test", "test"),
    "longembed/qmsum": one_table("qmsum"),
    "longembed/needle/512": one_table("needle"),
    "longembed/passkey/512": by_length(),
}


def card(tables: Tables) -> str:
    configurations = [
        f"- config_name: {name}\n  data_files:\n"
        + "".join(f"  - split: {split}\n    path: {name}/{split}.parquet\n" for split in splits)
        for name, splits in tables.items()
    ]
    return f"---\nconfigs:\n{''.join(configurations)}---\n"


@pytest.mark.parametrize("name", LAYOUTS)
def test_definitions_of_the_hub_read_their_layout(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, folder = TASKS[name].model_copy(update={"counts": Counts()}), tmp_path / "made"
    for table, splits in LAYOUTS[name].items():
        for split, rows in splits.items():
            write(folder / table / f"{split}.parquet", rows)
    (folder / "README.md").write_text(card(LAYOUTS[name]))
    sources = Sources(data=None, cache=tmp_path / "cache")
    with hub({task.source["repository"]: (task.source["revision"], folder)}) as address:
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        found = open_dataset(task, sources)
        with pytest.raises(DataError, match=f"{name}: expected .* documents, found 2"):
            open_dataset(TASKS[name], sources)
    assert found.corpus.texts(0, 2) == ["Fox the quick fox", "a lazy dog"]
    assert len(found.corpus) == 2
    assert (found.query_ids, found.query_texts) == (("q1",), ("dog?",))
    assert found.judgements.document.tolist() == [1]


def test_a_column_that_chooses_rows_must_be_there(tmp_path: Path) -> None:
    from rankstone.benchmarks.loaders.mteb_layout import _rows_of

    write(tmp_path / "rows.jsonl", [{"_id": "d1", "text": "x"}])
    with pytest.raises(DataError, match="no column 'context_length'"):
        list(_rows_of(tmp_path / "rows.jsonl", ("context_length",)))
