"""The store: conversion, opening, damage, and reported irregularities of data."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from rankstone.benchmarks import pins as checks
from rankstone.benchmarks import store
from rankstone.benchmarks.dataset import (
    CorpusTexts,
    Document,
    Judgement,
    Query,
    RawDataset,
    Sources,
)
from rankstone.benchmarks.prepared import find_copy, verify_copy
from rankstone.benchmarks.storage import arrow_tables as tables
from rankstone.benchmarks.storage import atomic_folders
from rankstone.benchmarks.store import open_dataset, verify_dataset
from rankstone.errors import DataError, DefinitionError, RankstoneWarning
from rankstone.specs import Counts, TaskSpec
from tests.beir_layout import write_beir

DOCUMENTS = [
    Document("d1", "One", "first text"),
    Document("d2", "", "second text"),
    Document("d 3", "Three", ""),
]
QUERIES = [Query("q2", "two?"), Query("q0", "nobody judged"), Query("q1", "one?")]
JUDGEMENTS = {
    "test": [Judgement("q1", "d2", 2), Judgement("q1", "d1", 0), Judgement("q2", "d 3", 1)],
    "train": [Judgement("q0", "d1", 1)],
}
CONTENT: dict[str, object] = {}


def load(task: TaskSpec, sources: Sources, *, flavour: str = "plain") -> RawDataset:
    documents = CONTENT.get("documents", DOCUMENTS)
    queries = CONTENT.get("queries", QUERIES)
    judgements = CONTENT.get("judgements", JUDGEMENTS)
    return RawDataset(
        documents=lambda: iter(documents() if callable(documents) else documents),
        queries=lambda: iter(queries),
        judgements=lambda split: iter(judgements[split]),
        splits=lambda: list(judgements),
        fingerprint=str(CONTENT.get("fingerprint", "")),
        source="somewhere",
    )


@pytest.fixture(autouse=True)
def _fresh_content():
    CONTENT.clear()
    yield
    CONTENT.clear()


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(data=None, cache=tmp_path / "cache")


def task(**changes: object) -> TaskSpec:
    values = {
        "name": "toy/one",
        "description": "",
        "loader": f"{__name__}:load",
        "dataset": "toy/one",
        "train_split": "train",
        **changes,
    }
    return TaskSpec(**values)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[load.__module__])


def folders(sources: Sources) -> list[str]:
    """Return everything below the cache except locks."""
    found = (p.relative_to(sources.cache).as_posix() for p in sources.cache.rglob("*"))
    return sorted(name for name in found if not name.endswith(".lock"))


def test_opens_what_the_loader_streamed(sources: Sources) -> None:
    data = open_dataset(task(), sources)
    assert len(data.corpus) == 3
    assert data.corpus.texts(0, 3) == ["One first text", "second text", "Three"]
    assert data.corpus.take(np.array([2, 0, 0])) == ["Three", "One first text", "One first text"]
    assert data.corpus.ids(np.array([2, 1])) == ["d 3", "d2"]
    assert list(data.query_ids) == ["q2", "q1"]
    assert list(data.query_texts) == ["two?", "one?"]
    assert list(data.train_queries) == ["nobody judged"]
    assert data.judgements.query.tolist() == [0, 1, 1]
    assert data.judgements.document.tolist() == [2, 0, 1]
    assert data.judgements.label.tolist() == [1, 0, 2]
    assert [a.dtype.name for a in vars(data.judgements).values()] == ["int64", "int64", "int32"]
    assert data.self_positions.tolist() == [-1, -1]
    assert (data.n_unknown_documents, data.n_unjudged_queries) == (0, 1)
    assert data.warnings == ()
    assert data.source == "somewhere"


def test_a_collection_is_converted_once(sources: Sources) -> None:
    first = open_dataset(task(), sources)
    CONTENT["documents"] = lambda: pytest.fail("read again")
    assert open_dataset(task(), sources).sha256 == first.sha256


def test_a_changed_source_is_converted_again(sources: Sources) -> None:
    first = open_dataset(task(), sources)
    CONTENT.update(fingerprint="new", documents=[*DOCUMENTS[:2], Document("d 3", "Three", "!")])
    second = open_dataset(task(), sources)
    assert second.corpus.texts(2, 3) == ["Three !"]
    assert {k for k in first.sha256 if first.sha256[k] != second.sha256[k]} == {"corpus"}


def test_the_digest_knows_content_and_not_batches_or_order_of_judgements(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_dataset(task(), sources)
    monkeypatch.setattr(tables, "BATCH_ROWS", 1)
    CONTENT.update(
        fingerprint="new",
        judgements={s: rows[::-1] for s, rows in JUDGEMENTS.items()},
        queries=QUERIES[::-1],
    )
    second = open_dataset(task(), sources)
    assert second.sha256 == first.sha256
    assert second.corpus.take(np.array([2, 0, 1])) == first.corpus.take(np.array([2, 0, 1]))
    assert second.corpus.texts(1, 3) == first.corpus.texts(1, 3)


def test_the_digest_tells_fields_apart(sources: Sources) -> None:
    CONTENT["documents"] = [Document("d1", "ab", "c")]
    first = open_dataset(task(), sources).sha256["corpus"]
    CONTENT.update(documents=[Document("d1", "a", "bc")], fingerprint="new")
    assert open_dataset(task(), sources).sha256["corpus"] != first


def test_limit_queries_takes_the_first_and_their_judgements(sources: Sources) -> None:
    whole = open_dataset(task(), sources)
    data = open_dataset(task().limited(queries=1), sources)
    assert data.query_ids == ("q2",)
    assert data.judgements.document.tolist() == [2]
    assert len(data.self_positions) == 1
    assert data.sha256["corpus"] == whole.sha256["corpus"]
    assert data.sha256["judgements"] != whole.sha256["judgements"]
    assert list(data.train_queries) == ["nobody judged"]


def test_corpus_texts_are_a_sequence(sources: Sources) -> None:
    texts = CorpusTexts(open_dataset(task(), sources).corpus)
    assert list(texts) == ["One first text", "second text", "Three"]
    assert (len(texts), texts[-1], texts[1:], texts[::2]) == (
        3,
        "Three",
        ["second text", "Three"],
        ["One first text", "Three"],
    )
    assert (texts[2:1], "second text" in texts) == ([], True)
    with pytest.raises(IndexError):
        texts[3]


@pytest.mark.parametrize("positions", [[-1], [3]])
def test_positions_out_of_range_are_refused(sources: Sources, positions: list[int]) -> None:
    corpus = open_dataset(task(), sources).corpus
    with pytest.raises(IndexError):
        corpus.take(np.array(positions))
    assert corpus.take(np.array([], dtype=np.int64)) == []


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{text}", "{title} {0}"),
        ("{title}: {text}", "{x}: {title} {0}"),
        ("{text} ({title})", "{title} {0} ({x})"),
        ("{title: [SEP] }{text}", "{x} [SEP] {title} {0}"),
    ],
)
def test_the_template_leaves_braces_in_documents_alone(
    sources: Sources, template: str, expected: str
) -> None:
    CONTENT["documents"] = [Document("d1", "{x}", "{title} {0}")]
    assert open_dataset(task(text=template), sources).corpus.texts(0, 1) == [expected]


def test_a_title_that_is_not_there_leaves_nothing_behind(sources: Sources) -> None:
    CONTENT["documents"] = [
        Document("d1", "a", "b"),
        Document("d2", "", "b"),
        Document("d3", "a", ""),
    ]
    for template, expected in {
        "{title: [SEP] }{text}": ["a [SEP] b", "b", "a [SEP]"],
        "{title} [SEP] {text}": ["a [SEP] b", "[SEP] b", "a [SEP]"],
    }.items():
        assert open_dataset(task(text=template), sources).corpus.texts(0, 3) == expected


@pytest.mark.parametrize(
    "template",
    ["{body}", "{", "{title.__class__}", "{text:>9}", "{title!r}", "{title:{text}}", "plain", ""],
)
def test_a_template_that_is_none_is_refused(sources: Sources, template: str) -> None:
    with pytest.raises(DefinitionError, match="task 'toy/one': key 'text'"):
        open_dataset(task(text=template), sources)


def test_self_positions_find_the_document_of_the_same_id(sources: Sources) -> None:
    CONTENT["queries"] = [Query("d2", "x"), Query("q1", "y")]
    CONTENT["judgements"] = {"test": [Judgement("d2", "d1", 1), Judgement("q1", "d1", 1)]}
    assert open_dataset(task(), sources).self_positions.tolist() == [1, -1]


@pytest.mark.parametrize(
    ("relevance", "label", "warned"), [(1, 0, True), (2, 1, True), (1, 1, False)]
)
def test_judgements_without_a_relevant_document_are_warned_about(
    sources: Sources, relevance: int, label: int, warned: bool
) -> None:
    CONTENT["judgements"] = {"test": [Judgement("q1", "d1", label), Judgement("q1", "d2", 0)]}
    warnings = open_dataset(task(relevance=relevance), sources).warnings
    expected = f"toy/one: no judged document has a label of {relevance} or more"
    assert any(one.startswith(expected) for one in warnings) == warned


def test_counts_that_differ_from_the_pinned_ones(sources: Sources) -> None:
    counts = Counts(documents=4)
    expected = r"^toy/one: expected 4 documents, found 3\. Fetch somewhere again; or, if it"
    with pytest.raises(DataError, match=expected):
        open_dataset(task(counts=counts), sources)
    with pytest.raises(DataError, match="expected 9 judgements, found 3"):
        open_dataset(task(counts=Counts(judgements=9)), sources)


def test_digests_that_differ_from_the_pinned_ones(sources: Sources) -> None:
    digests = open_dataset(task(), sources).sha256
    assert open_dataset(task(sha256=digests), sources).sha256 == digests
    with pytest.raises(DataError, match="expected the queries with sha256 0000"):
        open_dataset(task(sha256={"queries": "0" * 64}), sources)


@pytest.mark.parametrize(
    ("what", "values", "message"),
    [
        ("documents", [], "no documents in somewhere"),
        ("queries", [], "no queries in somewhere"),
        (
            "documents",
            [*DOCUMENTS, Document("d2", "", "again")],
            "'d2' occurs twice among the documents: documents, record 1 and documents, record 3",
        ),
        ("queries", [*QUERIES, Query("q1", "again")], "'q1' occurs twice among the queries"),
        ("judgements", {"test": []}, "holds no judgements"),
        (
            "judgements",
            {"test": [Judgement("x", "d1", 1)]},
            "none of its queries is in the queries file",
        ),
        (
            "judgements",
            {
                "test": [
                    Judgement("q1", "d1", 1),
                    Judgement("q1", "d2", 0),
                    Judgement("q1", "d1", 2),
                ]
            },
            "query 'q1' and document 'd1' are judged 1 and 2",
        ),
        (
            "judgements",
            {"test": [Judgement("d1", "q1", 1), Judgement("d2", "q2", 1)]},
            "columns in the wrong order",
        ),
        ("judgements", {"test": [Judgement("q1", "d1", 2**40)]}, "does not fit in 32 bits"),
        ("judgements", {"tset": []}, "Did you mean: tset"),
    ],
)
def test_bad_data_is_an_error_and_leaves_nothing(
    sources: Sources, what: str, values: object, message: str
) -> None:
    CONTENT[what] = values
    with pytest.raises(DataError, match=message):
        open_dataset(task(), sources)
    assert not [name for name in folders(sources) if name.endswith(".tmp")]


def test_hashes_that_collide_are_no_duplicates(sources: Sources) -> None:
    open_dataset(task(), sources)
    table = tables.MappedTable(next(sources.cache.rglob("corpus.arrow")))
    assert checks.first_repeat(np.zeros(3, dtype=np.int64), table) is None


def test_irregularities_are_counted_and_warned_about(sources: Sources) -> None:
    CONTENT["documents"] = [*DOCUMENTS, Document("e", " ", "\n")]
    CONTENT["judgements"] = {
        "test": [
            *JUDGEMENTS["test"],
            Judgement("q1", "nowhere", 1),
            Judgement("q1", "nowhere else", 1),
            Judgement("lost", "d1", 1),
            Judgement("q1", "d2", 2),
        ]
    }
    data = open_dataset(task(), sources)
    where = "toy/one: judgements of the split 'test' (somewhere)"
    assert data.warnings == (
        "toy/one: 1 documents are empty",
        f"{where}: 1 judged queries are not in the queries file; their 1 judgements are left out",
        f"{where}: 2 judgements of documents the corpus does not hold",
        f"{where}: 1 judgements are repeated and count once",
        "toy/one: 2 relevant documents are not in the corpus, such as 'nowhere'",
        "toy/one: no training split 'train' in somewhere",
    )
    assert data.judgements.document.tolist() == [2, -1, -1, 0, 1]
    assert data.n_unknown_documents == 2
    assert open_dataset(task(), sources).warnings == data.warnings


def test_training_queries_never_hold_a_query_of_the_task(sources: Sources) -> None:
    CONTENT["judgements"] = {**JUDGEMENTS, "train": JUDGEMENTS["train"] + JUDGEMENTS["test"]}
    data = open_dataset(task(), sources)
    assert list(data.train_queries) == ["nobody judged"]
    assert "2 queries of 'train' are also in 'test'" in data.warnings[-1]


def test_training_judgements_count_the_rows_of_training_queries(sources: Sources) -> None:
    CONTENT["queries"] = [*QUERIES, Query("q3", "three?")]
    CONTENT["judgements"] = {
        **JUDGEMENTS,
        "train": [
            Judgement("q3", "d 3", 2), Judgement("q3", "d1", 0), Judgement("q0", "d1", 1),
            Judgement("q3", "nowhere", 1), Judgement("q1", "d2", 1),
        ],
    }  # fmt: skip
    data = open_dataset(task(), sources)
    assert list(data.train_queries) == ["nobody judged", "three?"]
    trained = data.train_judgements
    assert sorted(zip(trained.query, trained.document, trained.label, strict=True)) == [
        (0, 0, 1), (1, 0, 0), (1, 2, 2),
    ]  # fmt: skip
    assert [a.dtype.name for a in vars(trained).values()] == ["int64", "int64", "int32"]
    without = open_dataset(task(train_split=None), sources)
    assert len(without.train_judgements.query) == 0


def test_lone_surrogates_are_replaced_and_pairs_joined(sources: Sources) -> None:
    texts = ["a\ud800b", "\udc00", "end\ud83d", "\ud83d\ude00 \ud800", "\ufeffnul\0é"]
    CONTENT["documents"] = [Document(f"d{i}", "", text) for i, text in enumerate(texts)]
    data = open_dataset(task(), sources)
    assert data.corpus.texts(0, 5) == ["a�b", "�", "end�", "😀 �", "\ufeffnul\0é"]
    assert "toy/one: 4 values of the documents held lone surrogates" in data.warnings[0]


def test_an_id_of_surrogates_still_counts_as_a_duplicate(sources: Sources) -> None:
    CONTENT["documents"] = [Document("\ud800", "", "a"), Document("\ud801", "", "b")]
    with pytest.raises(DataError, match="occurs twice"):
        open_dataset(task(), sources)


@pytest.mark.parametrize("damage", ["truncate", "delete", "footer", "meta"])
@pytest.mark.parametrize("name", ["corpus.arrow", "splits/test/judgements.arrow"])
def test_a_damaged_copy_is_created_again(sources: Sources, damage: str, name: str) -> None:
    good = open_dataset(task(), sources)
    path = next((sources.cache / "datasets/toy/one").glob(f"*/{name}"))
    content = path.read_bytes()
    if damage == "delete":
        path.unlink()
    elif damage == "meta":
        (path.parent / "meta.json").write_text("{")
    else:
        path.write_bytes(content[:-9] if damage == "truncate" else content[:-40] + b"\0" * 40)
    told = pytest.warns(RankstoneWarning, match="created") if damage == "footer" else nullcontext()
    with told:
        again = open_dataset(task(), sources)
    assert again.sha256 == good.sha256
    assert path.read_bytes() == content


def test_a_changed_text_is_detected_and_converted_again(sources: Sources) -> None:
    data = open_dataset(task(), sources)
    assert verify_dataset(task(), sources) == data.sha256
    path = next(sources.cache.rglob("corpus.arrow"))
    good = path.read_bytes()
    path.write_bytes(good.replace(b"first text", b"first texT"))
    with pytest.raises(DataError, match=r"corpus.arrow: damaged: its content is not as it was"):
        verify_copy(find_copy(task(), sources), task(), sources)
    with pytest.warns(RankstoneWarning, match=r"corpus.arrow: changed since it was written"):
        assert open_dataset(task(), sources).corpus.texts(0, 1) == ["One first text"]
    assert path.read_bytes() == good


def test_training_queries_are_verified_too(sources: Sources) -> None:
    open_dataset(task(), sources)
    path = next(sources.cache.rglob("queries.arrow"))
    path.write_bytes(path.read_bytes().replace(b"nobody judged", b"somebody said"))
    with pytest.warns(RankstoneWarning, match=r"queries.arrow: changed"):
        assert list(open_dataset(task(), sources).train_queries) == ["nobody judged"]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Treat files as settled at once; return the list of hashed files."""
    hashed: list[Path] = []

    def sha256_of(path: Path) -> str:
        hashed.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(atomic_folders, "SETTLED_S", -1.0)
    monkeypatch.setattr(atomic_folders.files, "sha256_of", sha256_of)
    return hashed


def test_a_file_is_hashed_once_per_stamp(sources: Sources, settled: list[Path]) -> None:
    open_dataset(task(), sources)
    settled.clear()
    open_dataset(task(), sources)
    assert {path.name for path in settled} == {
        "corpus.arrow", "queries.arrow", "judgements.arrow",
    }  # fmt: skip
    settled.clear()
    open_dataset(task(), sources)
    assert settled == []
    path = next(sources.cache.rglob("corpus.arrow"))
    for touched in ("time", "inode"):
        if touched == "inode":
            shutil.copy2(path, path.with_name("copy"))
            path.with_name("copy").replace(path)
        else:
            os.utime(path, (1, 1))
        open_dataset(task(), sources)
        assert settled == [path]
        settled.clear()


def test_a_file_that_just_changed_is_hashed_again(sources: Sources) -> None:
    """It may change again within the resolution of its timestamp."""
    open_dataset(task(), sources)
    open_dataset(task(), sources)
    assert not list(sources.cache.rglob("verified.json"))
    for path in sources.cache.rglob("*.arrow"):
        os.utime(path, (1, 1))
    open_dataset(task(), sources)
    assert list(sources.cache.rglob("verified.json"))


def test_damage_of_data_in_use_is_noticed_before_anything_is_kept(sources: Sources) -> None:
    data = open_dataset(task(), sources)
    data.unchanged()
    path = next(sources.cache.rglob("corpus.arrow"))
    good = path.read_bytes()
    path.write_bytes(good.replace(b"first text", b"first texT"))
    with pytest.raises(DataError, match=r"corpus.arrow: changed while it was in use"):
        data.unchanged()
    path.write_bytes(good)
    data.unchanged()
    shutil.rmtree(path.parent)  # the opened files stay
    data.unchanged()


@pytest.mark.parametrize("nth", [0, 1, 2, 3])
def test_a_full_disk_leaves_nothing(
    sources: Sources, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    calls = iter(range(9))
    write = tables.write_batch

    def full(writer: object, batch: object) -> None:
        if next(calls) == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(writer, batch)

    monkeypatch.setattr(tables, "write_batch", full)
    with pytest.raises(DataError, match=r"No space left.*incomplete.*--cache"):
        open_dataset(task(), sources)
    assert not [name for name in folders(sources) if name.endswith(".tmp")]
    assert len(open_dataset(task(), sources).corpus) == 3


def test_an_interrupt_leaves_nothing(sources: Sources) -> None:
    def documents():
        yield DOCUMENTS[0]
        raise KeyboardInterrupt

    CONTENT["documents"] = documents
    with pytest.raises(KeyboardInterrupt):
        open_dataset(task(), sources)
    assert [name for name in folders(sources) if "one/" in name] == []


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    with pytest.raises(DataError, match=r"cannot be prepared.*--cache"):
        open_dataset(task(), Sources(data=None, cache=tmp_path / "cache"))


@pytest.mark.parametrize("name", ["../out", "/etc", "a/../../b", ""])
def test_a_data_set_cannot_leave_the_cache(sources: Sources, name: str) -> None:
    with pytest.raises(DataError, match="cannot name a data set"):
        open_dataset(task(dataset=name), sources)


def test_progress_reports_completed_work(sources: Sources) -> None:
    seen: list[tuple[str, int, int | None]] = []
    pinned = task(counts=Counts(documents=3))
    open_dataset(pinned, sources, lambda *call: seen.append(call))
    assert seen == [("toy/one: documents", 3, 3), ("toy/one: queries", 3, None)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loader": "nowhere.at_all:load"}, "no module .nowhere.at_all."),
        ({"loader": "bier"}, "Did you mean: beir"),
        ({"loader": "rankstone.benchmarks.beir:load"}, "Write its short name: .beir."),
        ({"source": {"flavor": 1}}, "key 'source': .*flavor"),
    ],
)
def test_a_loader_that_cannot_be_called(
    sources: Sources, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DefinitionError, match=message):
        open_dataset(task(**changes), sources)


SLOW = """
import sys, time
sys.path.insert(0, sys.argv[2])
from rankstone.benchmarks import store
from rankstone.benchmarks.prepared import find_copy, verify_copy
from rankstone.benchmarks.storage import arrow_tables as tables
from rankstone.benchmarks.storage import atomic_folders
from rankstone.benchmarks.dataset import Sources
from rankstone.specs import TaskSpec
from pathlib import Path
tables.BATCH_ROWS = 1
write = tables.write_batch
def slow(writer, batch):
    write(writer, batch)
    print("written", flush=True)
    time.sleep(float(sys.argv[3]))
tables.write_batch = slow
root = Path(sys.argv[1])
task = TaskSpec(name="b/c", description="", dataset="b/c", loader="beir")
data = store.open_dataset(task, Sources(data=root / "data", cache=root / "cache"))
print("opened", len(data.corpus), flush=True)
"""


@pytest.fixture
def beir_folder(tmp_path: Path) -> Path:
    documents = {f"d{i}": f"text {i}" for i in range(5)}
    write_beir(tmp_path / "data" / "b" / "c", documents, {"q": "?"}, test=[("q", "d1")])
    return tmp_path


def run_slow(root: Path, delay: float) -> subprocess.Popen[str]:
    package = str(Path(store.__file__).parents[2])
    command = [sys.executable, "-c", SLOW, str(root), package, str(delay)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_kill_leaves_nothing_that_counts(beir_folder: Path) -> None:
    with run_slow(beir_folder, 60) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    cache = beir_folder / "cache"
    assert list(cache.rglob(".*.tmp"))
    with run_slow(beir_folder, 0) as process:
        assert process.stdout is not None
        assert process.stdout.read().splitlines()[-1] == "opened 5"
    assert not list(cache.rglob(".*.tmp"))


@pytest.mark.skipif(os.name != "posix", reason="needs file locks")
def test_concurrent_preparers_share_one_conversion(beir_folder: Path) -> None:
    with run_slow(beir_folder, 0.1) as first, run_slow(beir_folder, 0.1) as second:
        outputs = [first.communicate()[0], second.communicate()[0]]
    assert all(output.splitlines()[-1] == "opened 5" for output in outputs)
    # 5 documents, 1 query, judgements, judged queries: written by one of the two.
    assert sum(output.count("written") for output in outputs) == 8
    assert len(list((beir_folder / "cache").rglob("corpus.arrow"))) == 1


@pytest.mark.parametrize("loader", ["subprocess:run", "subprocess:Popen", "os:system", "os:sep"])
def test_a_function_that_is_no_loader_is_never_called(tmp_path: Path, loader: str) -> None:
    source = {"executable": "/bin/touch", "cwd": str(tmp_path)} if "subprocess" in loader else {}
    task = TaskSpec(name="a/b", description="", dataset="a/b", loader=loader, source=source)
    with pytest.raises(DefinitionError, match=f"key 'source': {loader} does not take it"):
        open_dataset(task, Sources(data=None, cache=tmp_path))
