"""ir_datasets by id: a small data set, registered in the same way as those of ir_datasets."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from rankstone.benchmarks.availability import entry
from rankstone.benchmarks.dataset import Dataset, Document, Query, Sources
from rankstone.benchmarks.loaders import irds
from rankstone.benchmarks.storage import download
from rankstone.benchmarks.store import find_raw, open_dataset
from rankstone.errors import (
    ChecksumError,
    DataError,
    DefinitionError,
    MissingExtraError,
    NetworkError,
    SourceGoneError,
)
from rankstone.evaluation.evaluate import evaluate
from rankstone.results.store import ResultStore
from rankstone.runners.protocols import Hits
from rankstone.scoring.score_file import score_file
from rankstone.scoring.task_qrels import open_judged
from rankstone.scoring.verification import differences
from rankstone.specs import TaskSpec
from tests.servers import Served, serving
from tests.unit.test_beir import FILES, write

DOCUMENTS = "d1\tfirst text\nd2\tsecond text\nd3\tthird text\n"
SMALL = {
    "docs.tsv": DOCUMENTS,
    "train/queries.tsv": "q1\tone?\nq2\ttwo?\n",
    "dev/queries.tsv": "q3\tthree?\nq1\tone?\n",
    "dl/queries.tsv": "q4\tfour?\nq5\tnot judged?\n",
    "train/qrels": "q1 0 d1 1\nq2 0 d2 1\n",
    "dev/qrels": "q3 0 d3 1\nq1 0 d1 1\n",
    "dl/qrels": "q4 0 d1 2\nq4 0 d2 0\n",
}


class TitledDoc(NamedTuple):
    doc_id: str
    text: str
    title: str
    url: str


class BodyDoc(NamedTuple):
    doc_id: str
    url: str
    title: str
    body: str


class OddDoc(NamedTuple):
    doc_id: str
    abstract: str

    def default_text(self) -> str:
        return f"about: {self.abstract}"


class RichDoc(NamedTuple):
    doc_id: str
    title: str
    headings: str
    text: str

    def default_text(self) -> str:
        return f"{self.title} {self.headings} {self.text}"


class PlainDoc(NamedTuple):
    doc_id: str
    title: str
    text: str

    def default_text(self) -> str:
        return f"{self.title}\n{self.text}"


class MuteDoc(NamedTuple):
    doc_id: str
    words: list[str]


class Topic(NamedTuple):
    query_id: str
    title: str
    description: str


class Sought(NamedTuple):
    query_id: str
    title: str
    text: str

    def default_text(self) -> str:
        return f"{self.title} {self.text}"


class Asked(NamedTuple):
    query_id: str
    query: str


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (TitledDoc("1", "a text", "a title", "u"), Document("1", "a title", "a text")),
        (TitledDoc("1", "a text", None, "u"), Document("1", "", "a text")),
        (BodyDoc("1", "u", "a title", "a body"), Document("1", "a title", "a body")),
        (OddDoc("1", "fish"), Document("1", "", "about: fish")),
        (RichDoc("1", "a title", "a part", "a text"), Document("1", "", "a title a part a text")),
        (PlainDoc("1", "a title", "a text"), Document("1", "a title", "a text")),
    ],
)
def test_every_type_of_document_gives_title_and_text(document: Any, expected: Document) -> None:
    assert irds.document_converter(type(document))(document) == expected


def test_a_type_without_text_is_named() -> None:
    with pytest.raises(DataError, match="MuteDoc do not state their text"):
        irds.document_converter(MuteDoc)(MuteDoc("1", ["a"]))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Topic("1", "a title", "a description"), Query("1", "a title")),
        (Asked("1", "a question"), Query("1", "a question")),
        (Sought("1", "a title", "a text"), Query("1", "a title a text")),
    ],
)
def test_every_type_of_query_gives_its_text(query: Any, expected: Query) -> None:
    assert irds.query_converter(type(query))(query) == expected


MUTE = {"ArgsMeProcessedDoc", "ClinicalTrialsDoc", "CodeSearchNetDoc", "ToucheImageDoc"}
MUTE_QUERIES = {"TrecBackgroundLinkingQuery"}
"""Types without a default text, which are refused."""


def probe(hint: Any, name: str) -> Any:
    """Return a value of the type `hint` with unique words as strings."""
    if isinstance(hint, type) and hasattr(hint, "_fields"):
        inner = get_type_hints(hint)
        return hint(*(probe(inner[field], f"{name}.{field}") for field in hint._fields))
    parts = [part for part in get_args(hint) if part not in (type(None), ...)]
    if get_origin(hint) in (list, tuple):
        return get_origin(hint)([probe(parts[0], f"{name}.0"), probe(parts[0], f"{name}.1")])
    if parts and get_origin(hint) is not dict:
        return probe(parts[0], name)
    html = f"<html><title>{name}</title><body>{name}</body></html>"
    return {str: f"word-{name}", bytes: html.encode(), int: 1}.get(hint)


def kinds(what: str) -> dict[str, type[Any]]:
    """Return the types of documents or queries of every id in the registry of ir_datasets."""
    registry = pytest.importorskip("ir_datasets").registry
    every = [registry[id] for id in list(registry)]
    assert len(every) >= 790
    having = (one for one in every if getattr(one, f"has_{what}")())
    types = {getattr(one, f"{what}_cls")() for one in having}
    return {f"{kind.__module__}.{kind.__name__}": kind for kind in types}


def test_no_text_of_any_registered_data_set_is_lost() -> None:
    for what, convert, mute in (
        ("docs", irds.document_converter, MUTE),
        ("queries", irds.query_converter, MUTE_QUERIES),
    ):
        found = kinds(what)
        assert len(found) > 40
        for name, kind in found.items():
            record = probe(kind, "x")
            if kind.__name__ in mute:
                with pytest.raises(DataError, match="do not state their text"):
                    convert(kind)(record)
                continue
            words = " ".join(convert(kind)(record)[1 : 3 if what == "docs" else 2])
            stated = record.default_text() if hasattr(kind, "default_text") else record.text
            assert words.split() == stated.split(), name


def test_without_the_library_the_install_command_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    raw = irds.load(task("x"), Sources(data=None, cache=tmp_path), id="x")
    with pytest.raises(MissingExtraError, match=r"pip install 'rankstone\[beir\]'"):
        list(raw.documents())


def test_the_home_of_the_library_is_below_the_cache(tmp_path: Path) -> None:
    pytest.importorskip("ir_datasets")
    code = (
        "import sys; from pathlib import Path; from rankstone.benchmarks.loaders import irds; "
        "from rankstone.benchmarks.dataset import Sources; "
        "print(irds.library(Sources(data=None, cache=Path(sys.argv[1]))).util.home_path())"
    )
    run = [sys.executable, "-c", code, str(tmp_path)]
    bare = {key: value for key, value in os.environ.items() if key != "IR_DATASETS_HOME"}
    out = subprocess.run(run, capture_output=True, text=True, check=True, env=bare)
    assert Path(out.stdout.strip()) == tmp_path / "ir_datasets"


def task(id: str, **changes: Any) -> TaskSpec:
    values: dict[str, Any] = {
        "name": "t/t",
        "description": "",
        "dataset": "t/t",
        "loader": "irds",
        "source": {"id": id},
        "text": "{text}",
    }
    return TaskSpec(**{**values, **changes})


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "WAIT_S", 0.0)
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IR_DATASETS_SMALL_FILE_SIZE", "0")
    monkeypatch.setenv("IR_DATASETS_DL_TRIES", "1")
    monkeypatch.setenv("IR_DATASETS_DL_403_TRIES", "1")
    monkeypatch.setenv("IR_DATASETS_DL_DISABLE_PBAR", "true")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def served() -> Iterator[Served]:
    files = {name: text.encode() for name, text in SMALL.items()}
    with serving(Served(files=files)) as running:
        yield running


@pytest.fixture
def library(home: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> Any:
    """ir_datasets with the data set `tiny`, served by the local server."""
    module = pytest.importorskip("ir_datasets")
    util, formats = module.util, module.formats
    listed = {
        name: {
            "url": served.url(name),
            "expected_md5": hashlib.md5(text.encode()).hexdigest(),
            "cache_path": name,
        }
        for name, text in SMALL.items()
    }
    del listed["dl/queries.tsv"]["cache_path"]
    monkeypatch.setattr(util.DownloadConfig, "contents", lambda: {"tiny": listed})
    config = util.DownloadConfig.context("tiny", home / "tiny")
    documents = formats.TsvDocs(config["docs.tsv"])
    subsets = {"tiny": module.Dataset(documents)}
    for name in ("train", "dev", "dl"):
        subsets[f"tiny/{name}"] = module.Dataset(
            documents,
            formats.TsvQueries(config[f"{name}/queries.tsv"]),
            formats.TrecQrels(config[f"{name}/qrels"], {}),
        )
    subsets["tiny/other"] = module.Dataset(
        formats.TsvDocs(config["docs.tsv"]), formats.TrecQrels(config["dl/qrels"], {})
    )
    registry = util.Registry()
    for name, dataset in subsets.items():
        registry.register(name, dataset)
    monkeypatch.setattr(module, "registry", registry)
    return module


def opened(tmp_path: Path, id: str, **changes: Any) -> Dataset:
    sources = Sources(data=tmp_path / "mirror", cache=tmp_path / "cache")
    return open_dataset(task(id, **changes), sources)


@pytest.mark.usefixtures("library")
def test_the_splits_below_an_id_share_its_documents(tmp_path: Path) -> None:
    data = opened(tmp_path, "tiny", split="dl", train_split="train")
    assert data.corpus.texts(0, 3) == ["first text", "second text", "third text"]
    assert list(zip(data.query_ids, data.query_texts, strict=True)) == [("q4", "four?")]
    assert data.judgements.label.tolist() == [2, 0]
    assert list(data.train_queries) == ["one?", "two?"]
    assert data.n_unjudged_queries == 4
    assert data.source == "ir_datasets:tiny"
    assert data.warnings == ()
    dev = opened(tmp_path, "tiny", split="dev")
    assert dev.sha256["corpus"] == data.sha256["corpus"]
    assert sorted(dev.query_ids) == ["q1", "q3"]
    raw = find_raw(task("tiny"), Sources(data=None, cache=tmp_path))
    assert list(raw.splits()) == ["dev", "dl", "train"]


@pytest.mark.usefixtures("library")
def test_the_judgements_of_an_id_itself_are_the_test_split(tmp_path: Path) -> None:
    data = opened(tmp_path, "tiny/dev")
    assert sorted(data.query_ids) == ["q1", "q3"]


@pytest.mark.usefixtures("library")
def test_a_split_may_be_another_data_set(tmp_path: Path) -> None:
    source = {"id": "tiny", "splits": {"trec": "tiny/dl"}}
    data = opened(tmp_path, "", source=source, split="trec")
    assert data.query_ids == ("q4",)
    with pytest.raises(DataError, match="no judgements for the split 'dev'"):
        opened(tmp_path, "", source=source, split="dev")


def test_different_texts_of_one_query_are_reported(
    library: Any, served: Served, tmp_path: Path, home: Path
) -> None:
    write(home / "tiny", {"dev/queries.tsv": "q3\tthree?\nq1\tanother one?\n"})
    data = opened(tmp_path, "tiny", split="train")
    assert data.query_texts == ("another one?", "two?")
    assert "query 'q1' has another text than in earlier splits" in data.warnings[0]


@pytest.mark.usefixtures("library")
def test_an_unknown_id_is_named_with_its_neighbour(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"no data set 'tiny/trian'. Did you mean: tiny/tra"):
        opened(tmp_path, "tiny/trian")


NEEDS = {"documents": ["docs.tsv"], "queries": ["dl/queries.tsv"], "dl": ["dl/qrels"]}


@pytest.mark.usefixtures("library")
def test_named_files_are_fetched_by_us_and_found_by_the_library(
    served: Served, tmp_path: Path, home: Path
) -> None:
    source = {"id": "tiny", "splits": {"dl": "tiny/dl"}, "files": NEEDS}
    served.cut_after = 20
    data = opened(tmp_path, "", source=source, split="dl")
    assert data.query_ids == ("q4",)
    asked = [("/docs.tsv", None), ("/docs.tsv", "bytes=20-"), ("/dl/queries.tsv", None)]
    assert served.asked == [*asked, ("/dl/qrels", None)]
    assert {header["User-Agent"] for header in served.headers} == {"rankstone"}


@pytest.mark.usefixtures("library")
def test_files_are_named_by_patterns_too(served: Served, tmp_path: Path) -> None:
    source = {"id": "tiny", "splits": {"dl": "tiny/dl"}, "files": {"queries": ["*/queries.tsv"]}}
    assert opened(tmp_path, "", source=source, split="dl").query_ids == ("q4",)
    ours = [path for path, _ in served.asked if path.endswith("queries.tsv")]
    assert sorted(ours) == ["/dev/queries.tsv", "/dl/queries.tsv", "/train/queries.tsv"]


@pytest.mark.usefixtures("library")
def test_judgements_of_an_id_score_run_files_without_its_documents(
    served: Served, tmp_path: Path
) -> None:
    source = {"irds_id": "tiny/dl", "listed": "dl/qrels"}
    alone = task("", loader="qrels", source=source, counts={"queries": 1, "judgements": 2})
    sources = Sources(data=None, cache=tmp_path / "cache")
    assert entry(alone, sources).state == "to fetch"
    assert served.asked == []
    assert open_judged(alone, sources).qrels == {"q4": {"d1": 2, "d2": 0}}
    assert [path for path, _ in served.asked] == ["/dl/qrels"]
    assert entry(alone, sources).state == "judgements"


@pytest.mark.usefixtures("library")
def test_pins_may_count_repeated_judgements(home: Path, tmp_path: Path) -> None:
    write(home / "tiny", {"dl/qrels": "q4 0 d1 2\nq4 0 d1 2\nq4 0 d2 0\n"})
    alone = {"loader": "qrels", "source": {"irds_id": "tiny/dl"}}
    for n in (2, 3):
        pinned = {"counts": {"judgements": n}}
        assert opened(tmp_path, "tiny", split="dl", **pinned).judgements.label.tolist() == [2, 0]
        sources = Sources(data=None, cache=tmp_path / "cache")
        assert open_judged(task("", **alone, **pinned), sources).qrels == {"q4": {"d1": 2, "d2": 0}}
    for other in ({}, alone):
        wrong = task("tiny", split="dl", counts={"judgements": 4}, **other)
        with pytest.raises(DataError, match="expected 4 judgements, found 2"):
            open_judged(wrong, Sources(data=None, cache=tmp_path / "cache"))


@pytest.mark.usefixtures("library")
def test_a_file_that_the_library_does_not_list(tmp_path: Path) -> None:
    source = {"id": "tiny", "files": {"documents": ["dosc.tsv"]}}
    with pytest.raises(
        DefinitionError, match=r"no download 'dosc.tsv' for 'tiny'. Did you mean: d"
    ):
        opened(tmp_path, "", source=source, split="dl")


@pytest.mark.parametrize("mirrored", [True, False])
def test_the_mirror_of_the_library_is_tried_second(
    library: Any, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirrored: bool
) -> None:
    entry = library.util.DownloadConfig.contents()["tiny"]["docs.tsv"]
    entry["irds_mirror"] = True
    documents = served.files.pop("docs.tsv")
    monkeypatch.setattr(irds, "MIRROR", served.url("mirror/{}"))
    source = {"id": "tiny", "splits": {"dl": "tiny/dl"}, "files": NEEDS}
    if mirrored:
        served.files[f"mirror/{entry['expected_md5']}"] = documents
        assert len(opened(tmp_path, "", source=source, split="dl").corpus) == 3
        return
    with pytest.raises(SourceGoneError, match=r"/docs\.tsv: the source is gone"):
        opened(tmp_path, "", source=source, split="dl")


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize(
    ("fault", "kind"), [("gone", SourceGoneError), ("bytes", ChecksumError), ("net", NetworkError)]
)
def test_the_three_faults_of_a_download(
    served: Served, tmp_path: Path, ours: bool, fault: str, kind: type[DataError]
) -> None:
    if fault == "gone":
        served.status = 403
    elif fault == "bytes":
        served.files["docs.tsv"] = b"d1\tanother text\n"
    else:
        served.cut_after = 20
        served.ranges = False
    source = {"id": "tiny", "splits": {"dl": "tiny/dl"}, "files": NEEDS if ours else {}}
    if ours and fault == "net":
        served.status = 503
    with pytest.raises(kind) as caught:
        opened(tmp_path, "", source=source, split="dl")
    words = {"gone": "the source is gone", "bytes": "wrong checksum", "net": "no network"}[fault]
    assert words in str(caught.value)
    served.status, served.files["docs.tsv"] = None, DOCUMENTS.encode()
    assert len(opened(tmp_path, "", source=source, split="dl").corpus) == 3


def test_the_local_mirror_comes_first(tmp_path: Path) -> None:
    write(tmp_path / "mirror/t/t", dict(FILES))
    data = opened(tmp_path, "no such id")
    assert data.source == "$RANKSTONE_DATA/t/t"
    assert len(data.corpus) == 2


EXCLUDING = "q4 0 d1 1\nq4 0 d2 -100\nq5 0 d3 1\n"


@pytest.fixture
def excluding(library: Any, home: Path) -> None:
    """Make `tiny/dl` define -100 as BRIGHT does, for one document of q4."""
    write(home / "tiny", {"dl/qrels": EXCLUDING})
    meanings = {1: "Relevant", -100: "Excluded from evaluation", 2: "Excluded"}
    qrels = library.registry["tiny/dl"].qrels_handler()
    qrels._qrels_defs = meanings


@pytest.mark.usefixtures("excluding")
def test_documents_excluded_for_a_query_are_dropped_before_truncation(tmp_path: Path) -> None:
    """BRIGHT's own evaluation removes them from the scores: nDCG@10 of self, good is 1.0."""
    data = opened(tmp_path, "tiny", split="dl", depth=1, measures=("nDCG@1",), headline="nDCG@1")
    assert list(data.excluded_labels) == [-100]
    assert data.spare == 1
    hits = Hits(np.array([[1, 0], [1, 2]]), np.array([[2, 1], [1, 2]], dtype=np.float32))
    scored = evaluate(hits, data, measures=["nDCG@1", "R@1", "AP"])
    assert scored.per_query["nDCG@1"].tolist() == [1.0, 1.0]
    assert scored.per_query["AP"].tolist() == [1.0, 1.0]
    assert scored.ranking.docs.tolist() == [[0], [2]]


@pytest.mark.usefixtures("excluding")
def test_run_files_lose_excluded_documents_too(tmp_path: Path) -> None:
    run = tmp_path / "run.trec"
    run.write_text("q4 Q0 d2 1 2 t\nq4 Q0 d1 2 1 t\nq4 Q0 d3 3 0 t\nq5 Q0 d3 1 2 t\n")
    sources = Sources(data=tmp_path / "mirror", cache=tmp_path / "cache")
    judged = open_judged(task("tiny", split="dl"), sources)
    record = score_file(run, judged, ResultStore(tmp_path / "results"))
    assert record.policy.depth == 1000  # the list of q4 holds all that counts
    assert record.measures["nDCG@10"].mean == 1.0
    path = ResultStore(tmp_path / "results").path(record)
    assert list(differences(record, path, lambda _: judged)) == []
