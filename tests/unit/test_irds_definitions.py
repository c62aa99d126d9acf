"""Definitions read through ir_datasets, from small files in the original formats.

The files are in the download cache of ir_datasets, so that its own readers read them.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.errors import DataError
from rankstone.specs import Counts
from rankstone.workspace import Workspace
from tests.unit.test_hub_data import write

TASKS = Workspace.find(Path(__file__).parents[2]).tasks
YEARS = (2021, 2022, 2023)
REASONS = ("Gemini-1.0", "claude-3-opus", "gpt4", "grit", "llama3-70b")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of ir_datasets, whose families are registered again to use it."""
    module = pytest.importorskip("ir_datasets")
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IR_DATASETS_SMALL_FILE_SIZE", "0")
    monkeypatch.delattr("requests.Session.request")
    monkeypatch.setattr(module, "registry", module.util.Registry())
    for family in ("nano_beir", "bright", "lotte", "miracl", "mr_tydi", "msmarco_passage_v2"):
        getattr(module.datasets, family)._init()
    return tmp_path / "home"


def opened(name: str, home: Path) -> Dataset:
    """Open a task without its pins, which would refuse the small data."""
    sources = Sources(data=None, cache=home / "cache")
    found = open_dataset(TASKS[name].model_copy(update={"counts": Counts()}), sources)
    with pytest.raises(DataError, match=f"{name}: expected .* documents, found"):
        open_dataset(TASKS[name], sources)
    assert found.query_texts == ("asked?",)
    return found


def judged(found: Dataset) -> dict[str, int]:
    ids = found.corpus.ids(found.judgements.document)
    return dict(zip(ids, found.judgements.label.tolist(), strict=True))


def lines(path: Path, *rows: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows))


def packed(path: Path, mode: Any, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_nano_beir_is_read_from_its_parquet_files(home: Path) -> None:
    for number, file in enumerate(("corpus", "queries", "qrels")):
        rows: list[list[dict[str, Any]]] = [
            [{"_id": "1", "text": "the query's own id"}, {"_id": "2", "text": "two"}],
            [{"_id": "1", "text": "asked?"}],
            [{"query-id": "1", "corpus-id": "2"}],
        ]
        write(home / f"nano-beir/scifact/{file}.parquet", rows[number])
    found = opened("nano-beir/scifact", home)
    assert found.corpus.texts(0, 2) == ["the query's own id", "two"]
    assert judged(found) == {"2": 1}
    assert found.task.self_hits == "keep"


@pytest.mark.parametrize("length", ["", "long"])
def test_bright_leaves_excluded_documents_out_of_short_and_long_tasks(
    home: Path, length: str
) -> None:
    stem = "pony" if length else "aops"
    pages = [{"id": f"d{n}", "content": f"page {n}"} for n in range(4)]
    write(home / f"bright/{stem}.{'long-' if length else ''}docs.parquet", pages)
    query = {"id": "0", "query": "asked?", "reasoning": "r", "gold_answer": "g",
             "gold_ids": ["d1"], "gold_ids_long": ["d3"]}  # fmt: skip
    excluded = ["N/A"] if length else ["d0", "d2"]
    write(home / f"bright/{stem}.queries.parquet", [{**query, "excluded_ids": excluded}])
    for model in REASONS:
        file = home / f"bright/{stem}.{model}_reason.queries.parquet"
        write(file, [{"id": "0", "reasoning": "thought"}])
    found = opened(f"bright/{length}/{stem}" if length else f"bright/{stem}", home)
    assert judged(found) == ({"d3": 1} if length else {"d0": -100, "d1": 1, "d2": -100})
    assert found.spare == (0 if length else 2)


def test_miracl_is_read_with_its_training_split(home: Path) -> None:
    place = home / "miracl/v1.0/sw"
    documents = [{"docid": f"1#{n}", "title": "Title", "text": f"text {n}"} for n in range(2)]
    (place / "docs").mkdir(parents=True)
    content = "\n".join(map(json.dumps, documents)).encode()
    (place / "docs/docs-0.jsonl.gz").write_bytes(gzip.compress(content))
    lines(place / "dev/topics.tsv", "1#0\tasked?")
    lines(place / "dev/qrels.tsv", "1#0\tQ0\t1#1\t1", "1#0\tQ0\t1#0\t0")
    lines(place / "train/topics.tsv", "2#0\tlearnt?")
    lines(place / "train/qrels.tsv", "2#0\tQ0\t1#1\t1")
    found = opened("miracl/sw", home)
    assert found.corpus.texts(1, 2) == ["Title text 1"]
    assert judged(found) == {"1#0": 0, "1#1": 1}
    assert list(found.train_queries) == ["learnt?"]


def test_mr_tydi_is_read_with_its_training_split(home: Path) -> None:
    listed = pytest.importorskip("ir_datasets").util.DownloadConfig.contents()["mr-tydi"]["sw"]
    lines(home / "downloads" / listed["expected_md5"])
    place = home / "mr-tydi/sw.data/mrtydi-v1.0-swahili"
    (place / "collection").mkdir(parents=True)
    rows = (json.dumps({"id": f"1#{n}", "contents": f"Title text {n}"}) for n in range(2))
    content = "\n".join(rows).encode()
    (place / "collection/docs.jsonl.gz").write_bytes(gzip.compress(content))
    lines(place / "topic.tsv", "1\tasked?", "2\tlearnt?")
    lines(place / "topic.test.tsv", "1\tasked?")
    lines(place / "topic.train.tsv", "2\tlearnt?")
    lines(place / "qrels.test.txt", "1 Q0 1#1 1")
    lines(place / "qrels.train.txt", "2 Q0 1#0 1")
    found = opened("mr-tydi/sw", home)
    assert judged(found) == {"1#1": 1}
    assert list(found.train_queries) == ["learnt?"]


@pytest.mark.parametrize("kind", ["search", "forum"])
def test_lotte_does_not_mix_search_and_forum_queries(home: Path, kind: str) -> None:
    """Search and forum queries have the same ids."""
    other, folder = "forum" if kind == "search" else "search", "lotte/science/test"
    files = {
        "collection.tsv": "0\tan answer\n1\tanother\n",
        f"questions.{kind}.tsv": "0\tasked?\n", f"questions.{other}.tsv": "0\tsomething else?\n",
        f"qas.{kind}.jsonl": '{"qid": 0, "answer_pids": [1]}\n',
        f"qas.{other}.jsonl": '{"qid": 0, "answer_pids": [0]}\n',
    }  # fmt: skip
    content = {f"{folder}/{name}": text.encode() for name, text in files.items()}
    packed(home / "lotte/lotte.tar.gz", "w:gz", content)
    found = opened(f"lotte/{kind}/science", home)
    assert judged(found) == {"1": 1}
    assert not found.warnings


def test_ms_marco_v2(home: Path) -> None:
    place = home / "msmarco-passage-v2"
    rows = [
        {
            "pid": f"msmarco_passage_00_{n}",
            "passage": f"passage {n}",
            "spans": "(0,9)",
            "docid": "d",
        }
        for n in range(2)
    ]
    content = gzip.compress("\n".join(map(json.dumps, rows)).encode())
    packed(place / "msmarco_v2_passage.tar", "w", {"passages/msmarco_passage_00.gz": content})
    for kept in ("irds", "qrels"):
        (place / f"{kept}_version.txt").write_text("v2")
    for number, split in enumerate(("dev1", "dev2", "train", *(f"trec-dl-{y}" for y in YEARS))):
        text = "asked?" if split == "trec-dl-2022" else f"query of {split}"
        lines(place / split / "queries.tsv", f"{number}\t{text}")
    lines(place / "train/qrels.tsv", "2 0 msmarco_passage_00_0 1")
    lines(
        place / "trec-dl-2022/qrels.withDupes.txt",
        *(f"4 0 msmarco_passage_00_{n} {n}" for n in (0, 1)),
    )
    found = opened("msmarco-v2/trec-dl-2022", home)
    assert judged(found) == {"msmarco_passage_00_0": 0, "msmarco_passage_00_1": 1}
    assert list(found.train_queries) == ["query of train"]
