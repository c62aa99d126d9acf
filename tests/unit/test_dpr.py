"""DPR's files: content, quoting, and faults named by file and line."""

from __future__ import annotations

import gzip
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankstone.benchmarks.dataset import Dataset, Document, Query, Sources
from rankstone.benchmarks.loaders.dpr import (
    PASSAGES,
    QUESTIONS,
    load,
    read_passages,
    read_questions,
)
from rankstone.benchmarks.storage.download import Remote
from rankstone.benchmarks.store import open_dataset, verify_dataset
from rankstone.errors import DataError, DefinitionError
from rankstone.progress import Progress
from rankstone.specs import TaskSpec

# As csv.writer, and so DPR, quotes them.
TSV = (
    "id\ttext\ttitle\n"
    '1\t"Aaron (""Ahärôn"") is a prophet"\tAaron\n'
    '2\t"""quoted"" at the start"\t"The ""A"" Team"\n'
    "3\tplain, and 5' 3\" tall\tPlain\n"
)
DOCUMENTS = [
    Document("1", "Aaron", 'Aaron ("Ahärôn") is a prophet'),
    Document("2", 'The "A" Team', 'quoted" at the start'),
    Document("3", "Plain", "plain, and 5' 3\" tall"),
]
CSV = (
    "who is aaron\t['a prophet', \"Moses' brother\"]\n"
    'who sings it\t"[\'Solange\', ""Destiny \'s Child""]"\n'
)
ASKED = [
    Query("0", "who is aaron", ("a prophet", "Moses' brother")),
    Query("1", "who sings it", ("Solange", "Destiny 's Child")),
]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def task(**changes: Any) -> TaskSpec:
    values = {
        "name": "nq/dpr",
        "description": "",
        "dataset": "nq/dpr",
        "loader": "dpr",
        "judge": "answers",
        **changes,
        "source": {"folder": "nq/dpr", **changes.get("source", {})},
    }
    return TaskSpec(**values)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(data=tmp_path / "data", cache=tmp_path / "cache")


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """The folder nq/dpr of the data folder, with both files."""
    folder = tmp_path / "data" / "nq" / "dpr"
    write(folder / "psgs_w100.tsv.gz", gzip.compress(TSV.encode()))
    write(folder / "nq-test.qa.csv", CSV)
    return folder


@pytest.mark.parametrize(
    "content",
    [TSV, TSV.replace("\n", "\r\n"), "\ufeff" + TSV, TSV.rstrip("\n"), TSV.partition("\n")[2]],
)
def test_forms_of_a_passage_file_are_read_alike(tmp_path: Path, content: str) -> None:
    assert list(read_passages(write(tmp_path / "p.tsv", content))) == DOCUMENTS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("nq-test.qa.csv", CSV),
        ("q.csv", CSV.replace("\n", "\r\n")),
        ("q.txt", "\ufeff" + CSV + "\n \n"),
        ("q.txt", 'who is aaron\t["a prophet", "Moses\' brother"]\n' + CSV.split("\n")[1]),
        (
            "q.jsonl",
            "\n".join(json.dumps({"question": q.text, "answers": q.answers}) for q in ASKED),
        ),
        (
            "NQ-open.dev.jsonl",
            "\n".join(json.dumps({"question": q.text, "answer": q.answers}) for q in ASKED),
        ),
    ],
)
def test_forms_of_a_question_file_are_read_alike(tmp_path: Path, name: str, content: str) -> None:
    assert list(read_questions(write(tmp_path / name, content))) == ASKED


def test_questions_may_bring_ids(tmp_path: Path) -> None:
    lines = [{"id": "x7", "question": "a", "answers": ["b"]}, {"question": "c", "answers": []}]
    path = write(tmp_path / "q.jsonl.gz", gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    assert list(read_questions(path)) == [Query("x7", "a", ("b",)), Query("1", "c")]


def test_odd_backslashes_in_answers_are_kept_in_silence(tmp_path: Path) -> None:
    path = write(tmp_path / "q.csv", "what\t['A\\d', 'it\\'s']\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(read_questions(path)) == [Query("0", "what", ("A\\d", "it's"))]


HUGE = '"' + "x" * 140_000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("4\tno title", r"p\.tsv, line 5: expected 3 columns \(id, text, title\), found 2"),
        ("4\ta\tb\tc", r"line 5: expected 3 columns.*found 4"),
        ("\ttext\ttitle", "line 5: the id is empty"),
        ('4\t"open\ttitle\n5\tt\tt\n6\t"t"\tt', "line 5: a quote is not closed"),
        (f"4\t{HUGE}\ttitle", r"line 5: malformed \(field larger"),
    ],
)
def test_a_malformed_passage_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "p.tsv", f"{TSV}{line}\n")
    with pytest.raises(DataError, match=message):
        list(read_passages(path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("who", r"q\.csv, line 4: expected 2 columns \(question, answers\), found 1"),
        ("who\t['a']\tb", r"line 4: expected 2 columns.*found 3"),
        ("\t['a']", "line 4: expected a question, found ''"),
        ("who\ta", "line 4: the answers must be a list of strings, found 'a'"),
        ("who\t['a', 1]", "line 4: the answers must be a list of strings"),
        ("who\t'a'", "line 4: the answers must be a list of strings"),
        ("who\t['a'", "line 4: the answers must be a list of strings"),
        ("who\t" + "[" * 5000, "line 4: the answers must be a list of strings"),
        ("who\t__import__('os').getcwd()", "line 4: the answers must be a list of strings"),
        ("who\t[str(1)]", "line 4: the answers must be a list of strings"),
    ],
)
def test_a_malformed_question_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "q.csv", f"{CSV}\n{line}\n")
    with pytest.raises(DataError, match=message):
        list(read_questions(path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: malformed JSON"),
        ("[1]", "line 1: expected a JSON object"),
        ('{"answers": ["a"]}', "line 1: expected a question, found 'None'"),
        ('{"question": "q"}', "line 1: the answers must be a list of strings, found 'None'"),
        ('{"question": "q", "answers": "a"}', "line 1: the answers must be a list"),
    ],
)
def test_a_malformed_question_in_json(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_questions(write(tmp_path / "q.jsonl", line)))


def test_a_truncated_download_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "p.tsv.gz", gzip.compress(TSV.encode() * 50)[:-20])
    with pytest.raises(DataError, match=r"p\.tsv\.gz: truncated or damaged"):
        list(read_passages(path))


def summary(data: Dataset) -> list[object]:
    return [
        data.corpus.ids(np.arange(3)),
        data.corpus.texts(0, 3),
        data.corpus.passages(np.arange(3)),
        list(data.query_ids),
        list(data.query_texts),
        data.answers,
    ]


EXPECTED = [
    ["1", "2", "3"],
    [f"{d.title} {d.text}" for d in DOCUMENTS],
    [d.text for d in DOCUMENTS],
    ["0", "1"],
    [q.text for q in ASKED],
    tuple(q.answers for q in ASKED),
]


def test_the_files_of_a_mirror(mirror: Path, sources: Sources) -> None:
    data = open_dataset(task(counts={"documents": 3, "queries": 2}), sources)
    assert summary(data) == EXPECTED
    assert (
        data.source
        == "$RANKSTONE_DATA/nq/dpr/psgs_w100.tsv.gz, $RANKSTONE_DATA/nq/dpr/nq-test.qa.csv"
    )
    assert verify_dataset(task(), sources) == data.sha256
    assert data.judgements.query.tolist() == []
    assert data.n_unjudged_queries == 0


def test_another_question_file_of_a_mirror(mirror: Path, sources: Sources) -> None:
    write(mirror / "mine.jsonl", '{"question": "who", "answers": ["x"]}')
    data = open_dataset(task(source={"questions": "mine.jsonl"}), sources)
    assert data.answers == (("x",),)


def test_a_changed_file_is_read_again(mirror: Path, sources: Sources) -> None:
    first = open_dataset(task(), sources).sha256
    write(mirror / "nq-test.qa.csv", CSV.replace("Solange", "Beyoncé"))
    second = open_dataset(task(), sources).sha256
    assert {part for part in first if first[part] != second[part]} == {"judgements"}


def test_a_repeated_passage_is_named_by_its_lines(mirror: Path, sources: Sources) -> None:
    write(mirror / "psgs_w100.tsv.gz", gzip.compress((TSV + "1\tagain\tAaron\n").encode()))
    with pytest.raises(DataError, match=r"'1' occurs twice.*w100\.tsv\.gz, line 2 and .*line 5"):
        open_dataset(task(), sources)


def test_a_question_without_answers_is_named(mirror: Path, sources: Sources) -> None:
    write(mirror / "nq-test.qa.csv", CSV + "who\t[]\n")
    with pytest.raises(DataError, match=r"1 queries have no answers.*nq-test\.qa\.csv, line 3"):
        open_dataset(task(), sources)


def test_a_mirror_in_beir_layout(tmp_path: Path, sources: Sources) -> None:
    folder = tmp_path / "data/nq/dpr"
    corpus = [{"_id": d.id, "title": d.title, "text": d.text} for d in DOCUMENTS]
    asked = [{"_id": q.id, "text": q.text, "metadata": {"answers": q.answers}} for q in ASKED]
    write(folder / "corpus.jsonl", "\n".join(map(json.dumps, corpus)))
    write(folder / "queries.jsonl", "\n".join(map(json.dumps, asked)))
    assert summary(open_dataset(task(), sources)) == EXPECTED


def test_judgements_are_not_to_be_had(mirror: Path, sources: Sources) -> None:
    with pytest.raises(DataError, match=r"no judgements for the split 'test'\. It has: none"):
        open_dataset(task(judge="judgements"), sources)


def test_an_unknown_question_file_is_refused_with_its_neighbour(sources: Sources) -> None:
    with pytest.raises(DefinitionError, match=r"'nq-tset.qa.csv' cannot be downloaded.*nq-test"):
        load(task(), sources, questions="nq-tset.qa.csv")


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Remote]:
    """Files requested from the downloader, which serves small ones."""
    asked: list[Remote] = []

    def fetch(remote: Remote, path: Path, progress: Progress) -> Path:
        progress("a download", 1, 2)
        asked.append(remote)
        small = gzip.compress(TSV.encode()) if path.suffix == ".gz" else CSV.encode()
        return write(path, small)

    monkeypatch.setattr("rankstone.benchmarks.loaders.dpr.fetch", fetch)
    return asked


def test_files_missing_from_the_mirror_are_downloaded(fetched, tmp_path: Path, sources) -> None:
    raw = load(task(), Sources(data=None, cache=tmp_path / "cache"))
    assert fetched == [], "nothing is read before it is asked for"
    assert raw.source == f"{PASSAGES.url}, {QUESTIONS['nq-test.qa.csv'].url}"
    data = open_dataset(task(), sources)
    assert summary(data) == EXPECTED
    assert fetched == [PASSAGES, QUESTIONS["nq-test.qa.csv"]]


def test_a_mirror_may_hold_one_of_the_files(fetched, mirror: Path, sources: Sources) -> None:
    seen: list[object] = []
    raw = load(
        task(),
        replace(sources, progress=lambda *call: seen.append(call)),
        questions="topics.nq.test.txt",
    )
    assert list(raw.queries()) == ASKED
    assert list(raw.documents()) == DOCUMENTS
    assert fetched == [QUESTIONS["topics.nq.test.txt"]]
    assert seen == [("a download", 1, 2)]


def test_every_file_is_pinned_and_every_address_a_revision_or_dprs_own() -> None:
    for remote in (PASSAGES, *QUESTIONS.values()):
        assert remote.sha256 or remote.md5
        assert remote.size
        if not remote.url.startswith("https://dl.fbaipublicfiles.com/dpr/"):
            assert len(remote.url.split("/")[5]) == 40, "a commit, not a branch"
