"""BEIR layout: accepted files, and faults named by file and line."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import zstandard

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.errors import DataError
from rankstone.specs import TaskSpec

CORPUS = (
    '{"_id": "d1", "title": "One", "text": "first"}\n{"_id": "d2", "title": "", "text": "second"}\n'
)
QUERIES = '{"_id": "q1", "text": "one?"}\n{"_id": "q2", "text": "two?"}\n'
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td2\t1\n"
FILES = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels/test.tsv": QRELS}


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def opened(tmp_path: Path, name: str = "b/c", **changes: object) -> Dataset:
    values = {
        "name": "b/c",
        "description": "",
        "dataset": name,
        "loader": "beir",
    }
    task = TaskSpec(**{**values, **changes})
    return open_dataset(task, Sources(data=tmp_path / "data", cache=tmp_path / "cache"))


def open_files(tmp_path: Path, **changes: str | bytes) -> Dataset:
    """Open the good files with some changed; `corpus`, `queries`, `qrels` are short for them."""
    short = {"corpus": "corpus.jsonl", "queries": "queries.jsonl", "qrels": "qrels/test.tsv"}
    named = {short[key]: value for key, value in changes.items()}
    write(tmp_path / "data/b/c", {**FILES, **named})
    return opened(tmp_path)


def pack(path: Path, files: dict[str, str], top: str = "c") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            add_member(tar, f"{top}/{name}" if top else name, content.encode())
    path.write_bytes(zstandard.compress(buffer.getvalue()))
    return path


def add_member(tar: tarfile.TarFile, name: str, content: bytes, kind: bytes = tarfile.REGTYPE):
    member = tarfile.TarInfo(name)
    member.size, member.type = len(content), kind
    member.linkname = "/etc/passwd" if kind != tarfile.REGTYPE else ""
    tar.addfile(member, io.BytesIO(content))


def summary(data: Dataset) -> list[object]:
    return [
        data.corpus.ids(np.arange(len(data.corpus))),
        data.corpus.texts(0, len(data.corpus)),
        list(zip(data.query_ids, data.query_texts, strict=True)),
        data.judgements.query.tolist(),
        data.judgements.document.tolist(),
        data.judgements.label.tolist(),
    ]


EXPECTED = [
    ["d1", "d2"],
    ["One first", "second"],
    [("q1", "one?"), ("q2", "two?")],
    [0, 1],
    [0, 1],
    [2, 1],
]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"corpus": CORPUS.replace("\n", "\r\n"), "qrels": QRELS.replace("\n", "\r\n")},
        {"corpus": "\ufeff" + CORPUS, "queries": "\ufeff" + QUERIES, "qrels": "\ufeff" + QRELS},
        {"corpus": CORPUS.rstrip("\n"), "queries": "\n\n" + QUERIES, "qrels": QRELS + "\n  \n"},
        {"corpus": CORPUS.replace('"title": "", ', "")},
        {"corpus": CORPUS.replace('"title": ""', '"title": null, "metadata": {"a": 1}')},
        {"qrels": "q1 0 d1 2\nq2 Q0 d2 1\n"},
        {"qrels": "q1\t0\td1\t2\nq2\t0\td2\t1\n"},
        {"qrels": "q1\td1\t2\nq2\td2\t1.0\n"},
        {"qrels": QRELS.replace("query-id\tcorpus-id", "query_id\tdoc_id")},
    ],
)
def test_forms_of_one_collection_are_read_alike(tmp_path: Path, changes: dict[str, str]) -> None:
    data = open_files(tmp_path, **changes)
    assert summary(data) == EXPECTED
    assert data.warnings == ()


def test_gzipped_files_are_read_as_plain_ones(tmp_path: Path) -> None:
    files = {f"{name}.gz": gzip.compress(text.encode()) for name, text in FILES.items()}
    write(tmp_path / "data/b/c", dict(files))
    assert summary(opened(tmp_path)) == EXPECTED


def test_queries_of_one_split_in_a_file_of_their_own(tmp_path: Path) -> None:
    more = {"queries_dev.jsonl": '{"_id": "x", "text": "dev"}', "qrels/dev.txt": "x 0 d1 1"}
    write(tmp_path / "data/b/c", {**FILES, **more, "queries_old.jsonl": QUERIES})
    data = opened(tmp_path, train_split="dev")
    assert list(data.train_queries) == ["dev"]
    assert summary(data) == EXPECTED


def test_integers_as_ids_meet_strings(tmp_path: Path) -> None:
    corpus = CORPUS.replace('"d1"', "7")
    data = open_files(tmp_path, corpus=corpus, qrels=QRELS.replace("d1", "7"))
    assert data.corpus.ids(np.array([0])) == ["7"]
    assert data.judgements.document.tolist() == [0, 1]
    assert data.warnings == ("corpus.jsonl: ids are integers in JSON; they are read as strings",)


def test_ids_with_spaces_and_texts_with_anything(tmp_path: Path) -> None:
    text = "nul \0 line\u2028separator\x85 \U0001f600"
    corpus = json.dumps({"_id": "a b", "title": "", "text": text})
    lone = '{"_id": "c", "text": "\\ud800 x"}'
    data = open_files(tmp_path, corpus=f"{corpus}\n{lone}", qrels="q1\ta b\t1\nq2\tc\t1")
    assert data.corpus.texts(0, 2) == [text, "� x"]
    assert data.judgements.document.tolist() == [0, 1]
    assert len(data.warnings) == 1


@pytest.mark.parametrize(
    ("part", "line", "message"),
    [
        ("corpus", '{"_id": "d3", "text": "x"', "malformed JSON: Expecting ',' delimiter"),
        ("corpus", '["d3"]', "expected a JSON object"),
        ("corpus", '{"text": "x"}', "the key '_id' is missing"),
        ("corpus", '{"_id": "", "text": "x"}', "'_id' must be a string that is not empty"),
        ("corpus", '{"_id": 1.5, "text": "x"}', "'_id' must be a string .* found 1.5"),
        ("corpus", '{"_id": true, "text": "x"}', "'_id' must be a string .* found True"),
        ("corpus", '{"_id": "d3"}', "the key 'text' is missing"),
        ("corpus", '{"_id": "d3", "text": null}', "'text' must be a string, found None"),
        ("corpus", '{"_id": "d3", "title": 1, "text": ""}', "'title' must be a string, found 1"),
        ("corpus", b'{"_id": "d3", "text": "\xff"}', "not UTF-8"),
        ("corpus", "[" * 100_000, "malformed JSON"),
        ("queries", "nonsense", "malformed JSON: Expecting value"),
        ("qrels", "q1\td1", r"expected 3 columns \(4 in TREC form\), found 2"),
        ("qrels", "q1\td1\tyes", "the score must be an integer, found 'yes'"),
        ("qrels", "q1\td1\t1.5", "the score must be an integer, found '1.5'"),
        ("qrels", "q1\td1\tnan", "the score must be an integer, found 'nan'"),
        ("qrels", "q1\td1\t1e99", "the score must be an integer"),
        ("qrels", "q1\t\t1", "an id is empty"),
    ],
)
def test_a_malformed_line_is_named(
    tmp_path: Path, part: str, line: str | bytes, message: str
) -> None:
    good = {"corpus": CORPUS, "queries": QUERIES, "qrels": QRELS}[part]
    number = good.count("\n") + 2  # a blank line lies between
    bad = line if isinstance(line, bytes) else line.encode()
    file = {"corpus": "corpus.jsonl", "queries": "queries.jsonl", "qrels": "test.tsv"}[part]
    with pytest.raises(DataError, match=rf"{file}, line {number}: {message}"):
        open_files(tmp_path, **{part: good.encode() + b"\n" + bad})


def test_a_duplicate_id_is_named_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"id 'd1' occurs twice .*: corpus.jsonl, line 1 and corpus.jsonl, line 5"
    ):
        open_files(tmp_path, corpus=CORPUS + '\n\n{"_id": "d1", "text": "again"}')


def test_an_integer_and_a_string_of_the_same_id_are_duplicates(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="id '7' occurs twice"):
        open_files(tmp_path, corpus='{"_id": "7", "text": ""}\n{"_id": 7, "text": ""}')


@pytest.mark.parametrize(
    ("qrels", "where"),
    [
        ("corpus-id\tquery-id\tscore\nd1\tq1\t1", r"test.tsv, line 1"),
        ("query-id\tcorpus-id\tscore\nd1\tq1\t1", r"judgements of the split 'test'"),
    ],
)
def test_columns_in_the_wrong_order(tmp_path: Path, qrels: str, where: str) -> None:
    with pytest.raises(DataError, match=f"{where}.*columns in the wrong order"):
        open_files(tmp_path, qrels=qrels)


def test_a_truncated_gzip_is_refused(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {**FILES}
    del files["corpus.jsonl"]
    files["corpus.jsonl.gz"] = gzip.compress(CORPUS.encode() * 99)[:-20]
    write(tmp_path / "data/b/c", files)
    with pytest.raises(DataError, match=r"corpus.jsonl.gz: truncated or damaged"):
        opened(tmp_path)


def test_missing_data_names_the_paths_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        opened(tmp_path)
    for part in (str(tmp_path / "data/b/c"), "c.tar.zst", "--data DIR", "RANKSTONE_DATA"):
        assert part in str(caught.value)


def test_no_data_folder_at_all(tmp_path: Path) -> None:
    task = TaskSpec(name="b/c", description="", dataset="b/c", loader="beir")
    with pytest.raises(DataError, match=r"no data folder is named.*RANKSTONE_DATA"):
        open_dataset(task, Sources(data=None, cache=tmp_path))


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path / "data/b/c", {k: v for k, v in FILES.items() if k != name})
    with pytest.raises(DataError, match=f"holds no {name}"):
        opened(tmp_path)


def test_a_missing_split_lists_those_there_are(tmp_path: Path) -> None:
    write(tmp_path / "data/b/c", dict(FILES))
    with pytest.raises(DataError, match=r"no judgements for the split 'dev'\. It has: test\."):
        opened(tmp_path, split="dev")


@pytest.mark.parametrize("top", ["c", "another-name", ""])
def test_a_packed_collection_is_the_same(tmp_path: Path, top: str) -> None:
    plain = open_files(tmp_path)
    pack(tmp_path / "data/p.tar.zst", FILES, top)
    packed = opened(tmp_path, "p")
    assert (summary(packed), packed.sha256) == (EXPECTED, plain.sha256)
    assert packed.source == "$RANKSTONE_DATA/p.tar.zst"


def test_an_archive_is_extracted_once_and_again_when_damaged(tmp_path: Path) -> None:
    pack(tmp_path / "data/p.tar.zst", FILES)
    opened(tmp_path, "p")
    (corpus,) = (tmp_path / "cache/extracted").rglob("corpus.jsonl")
    corpus.write_text(CORPUS[:20])
    (copy,) = (tmp_path / "cache/datasets").rglob("corpus.arrow")
    copy.unlink()
    assert summary(opened(tmp_path, "p")) == EXPECTED
    assert corpus.read_text() == CORPUS


def test_a_converted_archive_is_not_extracted_again(tmp_path: Path) -> None:
    pack(tmp_path / "data/p.tar.zst", FILES)
    opened(tmp_path, "p", train_split="train")
    shutil.rmtree(tmp_path / "cache/extracted")
    assert summary(opened(tmp_path, "p", train_split="train")) == EXPECTED
    assert not (tmp_path / "cache/extracted").exists()


@pytest.mark.parametrize("cut", [1, 5, 40, 0.5, 0.98])
def test_a_truncated_archive_is_refused_and_leaves_nothing(tmp_path: Path, cut: float) -> None:
    noise = "".join(chr(33 + i * i * 7 % 91) for i in range(5000))
    archive = pack(tmp_path / "data/p.tar.zst", {**FILES, "qrels/zzz.md": noise})
    content = archive.read_bytes()
    archive.write_bytes(content[: int(cut * len(content)) if cut < 1 else -int(cut)])
    with pytest.raises(DataError, match=r"p\.tar\.zst: truncated or damaged"):
        opened(tmp_path, "p")
    assert not list((tmp_path / "cache/extracted").glob("p/[0-9a-f]*"))


def test_an_archive_truncated_between_frames_or_members(tmp_path: Path) -> None:
    archive = pack(tmp_path / "data/p.tar.zst", FILES)
    tar = zstandard.decompress(archive.read_bytes())
    compressor = zstandard.ZstdCompressor()
    halves = [compressor.compress(tar[:1024]), compressor.compress(tar[1024:])]
    archive.write_bytes(b"".join(halves))
    assert summary(opened(tmp_path, "p")) == EXPECTED
    archive.write_bytes(halves[0][:-3])
    with pytest.raises(DataError, match="truncated or damaged"):
        opened(tmp_path, "p")


def test_files_that_are_not_archives(tmp_path: Path) -> None:
    write(tmp_path / "data", {"p.tar.zst": "not one"})
    with pytest.raises(DataError, match=r"p\.tar\.zst: truncated or damaged"):
        opened(tmp_path, "p")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("../../evil", tarfile.REGTYPE, "would be written outside"),
        ("/tmp/evil", tarfile.REGTYPE, "would be written outside"),
        ("c:evil", tarfile.REGTYPE, "would be written outside"),
        ("c\\..\\evil", tarfile.REGTYPE, "would be written outside"),
        ("c/link", tarfile.SYMTYPE, "is neither a file nor a folder"),
        ("c/link", tarfile.LNKTYPE, "is neither a file nor a folder"),
        ("c/pipe", tarfile.FIFOTYPE, "is neither a file nor a folder"),
    ],
)
def test_a_member_that_would_escape(tmp_path: Path, name: str, kind: bytes, message: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        add_member(tar, name, b"" if kind != tarfile.REGTYPE else b"evil", kind)
    write(tmp_path / "data", {"p.tar.zst": zstandard.compress(buffer.getvalue())})
    with pytest.raises(DataError, match=f"{re.escape(name)}' {message}"):
        opened(tmp_path, "p")
    assert not list(tmp_path.rglob("evil"))


def test_an_archive_without_a_corpus(tmp_path: Path) -> None:
    pack(tmp_path / "data/p.tar.zst", {"queries.jsonl": QUERIES})
    with pytest.raises(DataError, match=r"expected one folder with a corpus.jsonl, found 0"):
        opened(tmp_path, "p")


def test_two_files_of_one_name_are_named(tmp_path: Path) -> None:
    others = {"corpus.jsonl.gz": gzip.compress(b"{}"), "qrels/test.txt": "q1 0 d2 1\n"}
    write(tmp_path / "data/b/c", others)
    found = open_files(tmp_path)
    assert found.judgements.label.tolist() == [2, 1]
    assert {w.partition(" is not")[0] for w in found.warnings} == {"corpus.jsonl.gz", "test.txt"}
