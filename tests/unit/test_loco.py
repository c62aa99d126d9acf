"""LoCo: both versions from local copies and from a hub, and QMSum from its meetings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.loaders import hub
from rankstone.benchmarks.store import open_dataset
from rankstone.errors import DataError, DefinitionError, MissingExtraError
from rankstone.specs import Counts, TaskSpec
from rankstone.workspace import Workspace
from tests.beir_layout import write_beir
from tests.hub_server import hub as serve_hub

ROOT = Path(__file__).parents[2]
TASKS = Workspace.find(ROOT).tasks
V1 = (
    "summ_screen_fd", "gov_report", "qmsum", "qasper_title", "qasper_abstract", "multifieldqa",
    "2wikimqa", "passage_retrieval", "legal_case_reports", "courtlistener_HTML",
    "courtlistener_Plain_Text", "stackoverflow",
)  # fmt: skip
V0 = ("summ_screen_fd", "gov_report", "qmsum", "qasper_title", "qasper_abstract")
COMMIT = "0123456789abcdef0123456789abcdef01234567"

DOCUMENTS = [
    {"dataset": "qmsum", "pid": "qmsum_Passage_0", "passage": "the first meeting"},
    {"dataset": "qmsum", "pid": "qmsum_Passage_1", "passage": "  the second meeting\n"},
    {"dataset": "qasper_title", "pid": "qasper_Passage_0", "passage": "paper"},
    {"dataset": "qasper_title", "pid": "qasper_Passage_1", "passage": None},
    {"dataset": "qasper_title", "pid": "qasper_Passage_2", "passage": "third paper"},
    {"dataset": "stackoverflow", "pid": "s_Passage_0", "passage": None},
]
QUERIES = [
    {"dataset": "qmsum", "qid": "qmsum_Query_0", "query": "a?", "answer_pids": ["qmsum_Passage_0"]},
    {
        "dataset": "qmsum",
        "qid": "qmsum_Query_1",
        "query": "b?",
        "answer_pids": ["qmsum_Passage_1", "qmsum_Passage_0"],
    },
    *(
        {
            "dataset": "qasper_title",
            "qid": f"qasper_Query_{n}",
            "query": f"Title {n}",
            "answer_pids": [f"qasper_Passage_{n}"],
        }
        for n in range(3)
    ),
    {"dataset": "stackoverflow", "qid": "s_Query_0", "query": "?", "answer_pids": ["s_Passage_0"]},
]
SCROLLS = [
    {"id": "m1", "pid": "m1_0", "input": "What?\n\nA: same", "output": "This."},
    {"id": "m2", "pid": "m2_0", "input": "What?\n\nA: same", "output": "That."},
]
QASPER = [
    {
        "title": "One",
        "abstract": "about one",
        "full_text": {"section_name": ["Intro", None], "paragraphs": [["p1", "p2"], ["p3"]]},
    },
    {"title": "Two", "abstract": "about two", "full_text": {"section_name": [], "paragraphs": []}},
    {
        "title": "Three",
        "abstract": "about three",
        "full_text": {"section_name": ["End"], "paragraphs": [[]]},
    },
]


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def unpinned(name: str, **source: Any) -> TaskSpec:
    """Return the task of benchmarks/loco.toml without pins, for a smaller collection."""
    task = TASKS[f"loco/{name}"]
    return task.model_copy(update={"counts": Counts(), "source": {**task.source, **source}})


def opened(tmp_path: Path, task: TaskSpec) -> Dataset:
    return open_dataset(task, Sources(data=tmp_path / "data", cache=tmp_path / "cache"))


def content(data: Dataset) -> dict[str, Any]:
    ids = data.corpus.ids(np.arange(len(data.corpus)))
    pairs = zip(data.judgements.query, data.judgements.document, strict=True)
    return {
        "documents": dict(zip(ids, data.corpus.texts(0, len(ids)), strict=True)),
        "queries": dict(zip(data.query_ids, data.query_texts, strict=True)),
        "judgements": sorted([data.query_ids[q], ids[d]] for q, d in pairs),
        "labels": sorted(set(data.judgements.label.tolist())),
        "warnings": list(data.warnings),
    }


def expected_v1(subset: str) -> dict[str, Any]:
    """Apply the authors' steps to the rows above, in order: dictionaries, then the filter."""
    corpus = {d["pid"]: d["passage"] for d in DOCUMENTS if d["dataset"] == subset}
    asked = [q for q in QUERIES if q["dataset"] == subset]
    if "qasper" in subset:
        asked = [q for q in asked if corpus[q["qid"].replace("Query", "Passage")] is not None]
        corpus = {pid: text for pid, text in corpus.items() if text is not None}
    return {
        "documents": {pid: text.strip() for pid, text in corpus.items()},
        "queries": {q["qid"]: q["query"] for q in asked},
        "judgements": sorted([q["qid"], pid] for q in asked for pid in q["answer_pids"]),
        "labels": [1],
    }


def write_v1(folder: Path, form: str) -> None:
    """Write copies of the two repositories: one Parquet file, or JSON Lines per task."""
    for name, rows in (("LoCoV1-Documents", DOCUMENTS), ("LoCoV1-Queries", QUERIES)):
        if form == "parquet":
            write_parquet(folder / name / "default/test/0000.parquet", rows)
            continue
        for subset in {row["dataset"] for row in rows}:
            own = [row for row in rows if row["dataset"] == subset]
            write_jsonl(folder / name / f"documents/{subset}_test.jsonl", own)


def write_v0(folder: Path) -> None:
    write_jsonl(folder / "scrolls/qmsum/validation.jsonl", SCROLLS)
    write_jsonl(folder / "scrolls/qmsum/test.jsonl", [{"input": "hidden", "output": None}])
    write_parquet(folder / "qasper/test/0000.parquet", QASPER)
    write_parquet(folder / "qasper/train/0000.parquet", QASPER[:1])


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
@pytest.mark.parametrize("subset", ["qmsum", "qasper_title"])
def test_v1_from_local_copies_is_what_the_authors_make_of_them(
    tmp_path: Path, form: str, subset: str
) -> None:
    write_v1(tmp_path / "data/loco", form)
    data = opened(tmp_path, unpinned(subset))
    tables = ("LoCoV1-Queries", "LoCoV1-Documents")
    assert data.source == ", ".join(f"$RANKSTONE_DATA/loco/{table}" for table in tables)
    found = content(data)
    warnings = found.pop("warnings")
    assert found == expected_v1(subset)
    assert len(warnings) == (subset == "qasper_title")
    assert all("1 null passages of qasper_title are left out" in text for text in warnings)


def test_v1_in_beir_layout_comes_first(tmp_path: Path) -> None:
    write_v1(tmp_path / "data/loco", "jsonl")
    folder = tmp_path / "data/loco/qmsum"
    write_beir(folder, {"d": "from BEIR layout"}, {"q": "?"}, test=[("q", "d")])
    assert opened(tmp_path, unpinned("qmsum")).corpus.texts(0, 1) == ["from BEIR layout"]


def test_v0_pairs_row_by_row_and_keeps_equal_documents(tmp_path: Path) -> None:
    write_v0(tmp_path / "data/loco")
    assert content(opened(tmp_path, unpinned("v0-qmsum"))) == {
        "documents": {"Passage_0": "What?\n\nA: same", "Passage_1": "What?\n\nA: same"},
        "queries": {"Query_0": "This.", "Query_1": "That."},
        "judgements": [["Query_0", "Passage_0"], ["Query_1", "Passage_1"]],
        "labels": [1],
        "warnings": [],
    }


@pytest.mark.parametrize(("name", "n"), [("title", ""), ("abstract", "about ")])
def test_v0_qasper_joins_sections_and_keeps_papers_without_text(
    tmp_path: Path, name: str, n: str
) -> None:
    write_v0(tmp_path / "data/loco")
    found = content(opened(tmp_path, unpinned(f"v0-qasper_{name}")))
    assert found["documents"] == {
        "Passage_0": "Intro\np1 p2\np3", "Passage_1": "", "Passage_2": "End"
    }  # fmt: skip
    queries = {"Query_0": f"{n}One", "Query_1": f"{n}Two", "Query_2": f"{n}Three"}
    assert {key: text.lower() for key, text in found["queries"].items()} == {
        key: text.lower() for key, text in queries.items()
    }
    assert found["warnings"] == [
        "1 papers of QASPER have no full text; they are empty documents",
        f"loco/v0-qasper_{name}: 1 documents are empty",
    ]


FAULTS = {
    "another task's rows": ("qmsum", {"dataset": "other"}, "no row has the dataset 'qmsum'"),
    "a null passage": ("qmsum", {"passage": None}, "'passage' must be a string, found None"),
    "another id type": ("qmsum", {"pid": 7}, "'pid' must be a string, found 7"),
    "answers as text": ("qmsum", {"answer_pids": "x"}, "'answer_pids' must be a list of ids"),
    "a null query": ("qmsum", {"query": None}, "'query' must be a string"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_content_names_file_and_line(tmp_path: Path, fault: str) -> None:
    subset, change, message = FAULTS[fault]
    folder = tmp_path / "data/loco"
    for name, rows in (("LoCoV1-Documents", DOCUMENTS), ("LoCoV1-Queries", QUERIES)):
        first = {**rows[0], **{key: change[key] for key in change if key in rows[0]}}
        rest = [] if "dataset" in change else rows[1:2]
        write_jsonl(folder / name / "test.jsonl", [first, *rest])
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path, unpinned(subset))
    assert str(folder / "LoCoV1-") in str(caught.value)
    assert "wrong content" in str(caught.value)


def test_missing_columns_and_damaged_files_are_named(tmp_path: Path) -> None:
    write_v1(tmp_path / "data/loco", "parquet")
    path = tmp_path / "data/loco/LoCoV1-Documents/default/test/0000.parquet"
    write_parquet(path, [{"dataset": "qmsum", "id": "1"}])
    with pytest.raises(DataError, match="no column 'pid', expected dataset, pid, passage"):
        opened(tmp_path, unpinned("qmsum"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"0000\.parquet: damaged"):
        opened(tmp_path, unpinned("qmsum"))
    path.unlink()
    path.with_name("test.jsonl").write_text('{"dataset": "qmsum"\n')
    with pytest.raises(DataError, match=r"test\.jsonl, line 1: malformed JSON"):
        opened(tmp_path, unpinned("qmsum"))


def test_repeated_rows_count_once_and_of_contradictions_the_last(tmp_path: Path) -> None:
    folder = tmp_path / "data/loco"
    write_jsonl(folder / "LoCoV1-Queries/test.jsonl", QUERIES)
    documents = folder / "LoCoV1-Documents/test.jsonl"
    write_jsonl(documents, [*DOCUMENTS, DOCUMENTS[0]])
    found = content(opened(tmp_path, unpinned("qmsum")))
    assert found.pop("warnings") == ["1 repeated documents count once"]
    assert found == expected_v1("qmsum")
    write_jsonl(documents, [*DOCUMENTS, {**DOCUMENTS[0], "passage": "another"}])
    found = content(opened(tmp_path, unpinned("qmsum")))
    assert found["documents"]["qmsum_Passage_0"] == "another"
    assert "1 ids of documents repeat with another text, such as 'qmsum_Pas" in found["warnings"][0]
    assert found["judgements"] == expected_v1("qmsum")["judgements"]


MEETINGS = [
    {
        "topic_list": [],
        "general_query_list": [{"query": "Sum up.", "answer": "All."}],
        "specific_query_list": [{"query": "Who?", "answer": "A.", "relevant_text_span": []}],
        "meeting_transcripts": [
            {"speaker": "A", "content": "Hello ."},
            {"speaker": "B", "content": "Bye ."},
        ],
    },
    {
        "general_query_list": [],
        "specific_query_list": [{"query": "Why?", "answer": "So."}],
        "meeting_transcripts": [{"speaker": "C", "content": "{vocalsound}"}],
    },
]


@pytest.mark.parametrize("form", ["jsonl", "folder"])
def test_qmsum_is_rebuilt_from_meetings(tmp_path: Path, form: str) -> None:
    root = tmp_path / "data/loco/QMSum/data/ALL"
    for number, meeting in enumerate(MEETINGS if form == "folder" else []):
        write_jsonl(root / f"val/m{number}.json", [meeting])
    if form == "jsonl":
        write_jsonl(root / "jsonl/val.jsonl", MEETINGS)
    found = content(opened(tmp_path, unpinned("v0-qmsum-rebuilt")))
    assert found["documents"] == {
        "Passage_0": "Sum up.\n\nA: Hello .\nB: Bye .",
        "Passage_1": "Who?\n\nA: Hello .\nB: Bye .",
        "Passage_2": "Why?\n\nC: {vocalsound}",
    }
    assert found["queries"] == {"Query_0": "All.", "Query_1": "A.", "Query_2": "So."}


def test_qmsum_without_meetings_says_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Clone github\.com/Yale-LILY/QMSum"):
        opened(tmp_path, unpinned("v0-qmsum-rebuilt"))
    write_jsonl(tmp_path / "data/loco/QMSum/val.jsonl", [{"meeting_transcripts": ["A: hi"]}])
    with pytest.raises(DataError, match=r"val\.jsonl, line 1: wrong content: no meeting"):
        opened(tmp_path, unpinned("v0-qmsum-rebuilt"))
    task = unpinned("v0-qmsum-rebuilt")
    with pytest.raises(DataError, match="no data folder is named"):
        open_dataset(task, Sources(data=None, cache=tmp_path))


def unpacked(data_folder: Path, name: str, tmp_path: Path) -> Dataset:
    return open_dataset(TASKS[name], Sources(data=data_folder, cache=tmp_path / "cache"))


def test_rebuilding_qmsum_gives_the_real_collection_back(data_folder: Path, tmp_path: Path) -> None:
    """Real inputs, split into meetings again, give the same documents, queries and judgements."""
    real = unpacked(data_folder, "loco/qmsum-scrolls", tmp_path)
    meetings: dict[str, list[dict[str, str]]] = {}
    for text, answer in zip(real.corpus.texts(0, 272), real.query_texts, strict=True):
        query, _, transcript = text.partition("\n\n")
        meetings.setdefault(transcript, []).append({"query": query, "answer": answer})
    assert len(meetings) == 35
    rows = [
        {
            "general_query_list": asked[:1],
            "specific_query_list": asked[1:],
            "meeting_transcripts": [
                dict(zip(("speaker", "content"), turn.split(": ", 1), strict=True))
                for turn in transcript.split("\n")
            ],
        }
        for transcript, asked in meetings.items()
    ]
    write_jsonl(tmp_path / "data/loco/QMSum/val.jsonl", rows)
    rebuilt = opened(tmp_path, TASKS["loco/v0-qmsum-rebuilt"])
    assert rebuilt.sha256 == real.sha256
    assert rebuilt.source == "$RANKSTONE_DATA/loco/QMSum"


def test_real_meetings_open_whole(data_folder: Path, tmp_path: Path) -> None:
    """Data of a run on complete meetings: sizes, labels, no truncation."""
    data = unpacked(data_folder, "loco/qmsum-meetings", tmp_path)
    texts = data.corpus.texts(0, len(data.corpus))
    lengths = sorted(map(len, texts))
    assert (len(texts), len(data.query_ids)) == (232, 281)
    assert (sum(lengths), lengths[-1]) == (12_479_599, 147_260)  # SOURCE.md of the collection
    assert lengths[len(lengths) // 2] == 50_084
    assert np.bincount(data.judgements.label).tolist() == [0, 281]
    assert np.bincount(data.judgements.query).tolist() == [1] * 281
    own = data.corpus.ids(data.judgements.document)
    assert {pid.partition("-")[0] for pid in own} == {"test"}
    meetings = [query.rpartition("-")[0] for query in data.query_ids]
    assert [pid.partition("-")[2] for pid in own] == meetings


def test_documents_of_a_million_characters_survive(tmp_path: Path) -> None:
    texts = [chr(ord("a") + n) * 1_000_000 + " é" for n in range(12)]
    rows = [{"input": text, "output": f"ask {n}"} for n, text in enumerate(texts)]
    write_jsonl(tmp_path / "data/loco/scrolls/qmsum/validation.jsonl", rows)
    data = opened(tmp_path, unpinned("v0-qmsum"))
    assert data.corpus.texts(0, 12) == texts
    assert data.corpus.take(np.array([11, 0])) == [texts[11], texts[0]]


def test_every_task_is_defined_with_its_rule() -> None:
    for name in V1:
        task = TASKS[f"loco/{name}"]
        assert task.source["subset"] == name
        assert all(
            hub.COMMIT.fullmatch(task.source[f"{w}_revision"]) for w in ("queries", "documents")
        )
        assert (task.split, task.headline, task.relevance) == ("test", "nDCG@10", 1)
    for name in V0:
        task = TASKS[f"loco/v0-{name}"]
        assert task.split == ("test" if "qasper" in name else "validation")
        assert hub.COMMIT.fullmatch(task.source["revision"])
        assert (task.headline, task.text) == ("nDCG@10", "{text}")


def test_a_definition_without_revision_is_refused(tmp_path: Path) -> None:
    task = TASKS["loco/v0-qmsum"].model_copy(update={"source": {"subset": "qmsum"}})
    with pytest.raises(DefinitionError, match="revision"):
        opened(tmp_path, task)


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"LoCoV1-Documents@.*'rankstone\[beir\]'"):
        opened(tmp_path, unpinned("qmsum"))


CHILD = """
import json, sys
from pathlib import Path
from rankstone.benchmarks.dataset import Sources
from rankstone.errors import RankstoneError
from tests.unit.test_loco import content, open_dataset, unpinned
for name, source in json.loads(sys.argv[1]):
    try:
        sources = Sources(data=None, cache=Path(sys.argv[2]))
        found = content(open_dataset(unpinned(name, **source), sources))
    except RankstoneError as error:
        found = str(error)
    print("found " + json.dumps(found))
"""


def open_in_child(
    cases: list[tuple[str, dict[str, str]]], cache: Path, **environment: str
) -> list[Any]:
    """Open all tasks in a new process, because the library reads the hub's URL on import."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "RANKSTONE_"))}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    child = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(cases), str(cache)],
        env={**clean, "PYTHONPATH": paths, "HF_HOME": str(cache / "hf"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    lines = [line for line in child.stdout.splitlines() if line.startswith("found ")]
    return [json.loads(line.removeprefix("found ")) for line in lines]


@pytest.mark.skipif(find_spec("datasets") is None, reason="needs the library datasets (extra beir)")
def test_the_hub_gives_what_local_copies_give(tmp_path: Path) -> None:
    copies = tmp_path / "data/loco"
    write_v1(copies, "jsonl")
    write_v0(copies)
    packed = tmp_path / "zips/qmsum.zip"
    packed.parent.mkdir()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(copies / "scrolls/qmsum/validation.jsonl", "qmsum/validation.jsonl")
    repositories = {
        "hazyresearch/LoCoV1-Documents": (COMMIT, copies / "LoCoV1-Documents"),
        "hazyresearch/LoCoV1-Queries": (COMMIT, copies / "LoCoV1-Queries"),
        "tau/scrolls": (COMMIT, packed.parent),
        "allenai/qasper": (COMMIT, copies / "qasper"),
    }
    pinned = {"queries_revision": COMMIT, "documents_revision": COMMIT}
    cases = [
        ("qmsum", pinned),
        ("qasper_title", pinned),
        ("v0-qmsum", {"revision": "main"}),
        ("v0-qasper_title", {"revision": COMMIT}),
        ("qmsum", {**pinned, "documents": "hazyresearch/gone"}),
        ("qmsum", {**pinned, "documents_revision": "f" * 40}),
        ("stackoverflow", pinned),
    ]
    with serve_hub(repositories) as address:
        found = open_in_child(cases, tmp_path / "child", HF_ENDPOINT=address)
    assert not [one for one in found[:4] if isinstance(one, str)]
    for (name, _), one in zip(cases[:4], found, strict=False):
        local = content(opened(tmp_path, unpinned(name)))
        assert {**one, "warnings": []} == {**local, "warnings": []}, name
    assert found[2]["warnings"] == [
        "hub:tau/scrolls@main/qmsum.zip/qmsum/validation.jsonl: the revision 'main' is a branch "
        "and may move"
    ]
    assert "hazyresearch/gone@" in found[4]
    assert "source gone" in found[4]
    assert "source gone" in found[5]
    assert "'passage' must be a string, found None" in found[6]
    cached = open_in_child(cases[:2], tmp_path / "child", HF_HUB_OFFLINE="1")
    assert cached == found[:2]  # converted before: no request to the hub


@pytest.mark.skipif(find_spec("datasets") is None, reason="needs the library datasets (extra beir)")
def test_a_missing_network_is_distinguished_and_selects_no_other_revision(tmp_path: Path) -> None:
    copies = tmp_path / "data/loco"
    write_v1(copies, "jsonl")
    repositories = {
        "hazyresearch/LoCoV1-Documents": (COMMIT, copies / "LoCoV1-Documents"),
        "hazyresearch/LoCoV1-Queries": (COMMIT, copies / "LoCoV1-Queries"),
    }
    one = {"queries_revision": COMMIT, "documents_revision": COMMIT}
    other = {"queries_revision": COMMIT, "documents_revision": "f" * 40}
    with serve_hub(repositories) as address:
        open_in_child([("qmsum", one)], tmp_path / "child", HF_ENDPOINT=address)
    for message in open_in_child(
        [("qmsum", other), ("v0-qmsum", {})], tmp_path / "child", HF_HUB_OFFLINE="1"
    ):
        assert "no network: the hub cannot be reached" in message
