"""Invalid input common to several readers: archives, encodings, ids, columns."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import zstandard

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.benchmarks.task_names import task_of
from rankstone.errors import DataError
from rankstone.evaluation.evaluate import evaluate
from rankstone.results.trec_run import read_run, write_run
from rankstone.runners.protocols import Hits

FILES = {
    "corpus.jsonl": '{"_id": "1", "text": "one"}\n{"_id": "2", "text": "two"}\n',
    "queries.jsonl": '{"_id": "q", "text": "one?"}\n',
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq\t1\t1\n",
}


def opened(folder: Path, **changes: str | bytes) -> Dataset:
    """Write the collection above to `folder` with some files replaced, and open it by path."""
    short = {"corpus": "corpus.jsonl", "queries": "queries.jsonl", "qrels": "qrels/test.tsv"}
    for name, content in {**FILES, **{short[k]: v for k, v in changes.items()}}.items():
        path = folder / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_path(folder / "set", folder)


def open_path(path: Path, folder: Path) -> Dataset:
    task = task_of(str(path))
    assert task is not None
    return open_dataset(task, Sources(data=None, cache=folder / "cache"))


def pack(path: Path, *members: tuple[str, bytes, bytes]) -> Path:
    """Write a `.tar.zst` of members: name, type, and content or (for a link) target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(content)
            else:
                member.linkname = content.decode()
            tar.addfile(member, io.BytesIO(content))
    path.write_bytes(zstandard.compress(buffer.getvalue()))
    return path


GOOD = [(f"set/{name}", tarfile.REGTYPE, text.encode()) for name, text in FILES.items()]


def test_an_archive_is_named_by_its_path(tmp_path: Path) -> None:
    archive = pack(tmp_path / "set.tar.zst", *GOOD)
    assert open_path(archive, tmp_path).sha256 == opened(tmp_path / "plain").sha256


@pytest.mark.parametrize(
    "hostile",
    [
        [("set/out", tarfile.SYMTYPE, b"../../.."), ("set/out/evil", tarfile.REGTYPE, b"x")],
        [("set/out", tarfile.SYMTYPE, b"/"), ("set/out/evil", tarfile.REGTYPE, b"x")],
        [("set/evil", tarfile.LNKTYPE, b"/etc/passwd")],
        [("set/evil", tarfile.LNKTYPE, b"set/corpus.jsonl")],
        [("set/evil", tarfile.CHRTYPE, b"")],
        [("set/evil", tarfile.BLKTYPE, b"")],
        [("set/evil", tarfile.FIFOTYPE, b"")],
        [("/evil", tarfile.REGTYPE, b"x")],
        [("set/../../evil", tarfile.REGTYPE, b"x")],
        [("C:\\evil", tarfile.REGTYPE, b"x")],
    ],
    ids=lambda members: f"{members[0][0]}-{members[0][1].decode()}",
)
def test_nothing_hostile_leaves_an_archive(
    tmp_path: Path, hostile: list[tuple[str, bytes, bytes]]
) -> None:
    archive = pack(tmp_path / "set.tar.zst", *GOOD, *hostile)
    with pytest.raises(DataError, match=r"set\.tar\.zst: member '.*' (would be|is neither)"):
        open_path(archive, tmp_path)
    # Nothing of it is kept, so that a second attempt is refused as well.
    left = [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert left == []
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99])
def test_a_truncated_archive_at_a_path(tmp_path: Path, share: float) -> None:
    archive = pack(tmp_path / "set.tar.zst", *GOOD)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"set\.tar\.zst: truncated or damaged"):
        open_path(archive, tmp_path)


def corpus(n: int) -> str:
    return "".join(json.dumps({"_id": str(i), "text": f"t{i}"}) + "\n" for i in range(n))


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        # query and document exchanged
        ("1\tq\t1\n2\tq\t1\n", "the first holds document ids and the second query ids"),
        # label and document exchanged: the labels are documents
        ("".join(f"q\t{i % 2}\t{i}\n" for i in range(40, 90)), "holds 50 different numbers"),
        ("q\t1000\t1\n", "none of its documents is in the corpus: it names '1000'"),
        # TREC's constant column in the column of documents
        ("q 17 Q0 1\nq 18 Q0 0\n", "it names 'Q0', .* in TREC form query, 0, document, label"),
    ],
)
def test_judgements_in_the_wrong_order(tmp_path: Path, qrels: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"judgements of the split 'test' \(.*\): .*{message}"):
        opened(tmp_path, corpus=corpus(100), qrels=qrels)


def test_labels_that_look_like_ids_are_labels(tmp_path: Path) -> None:
    """Labels have few values, or are not documents: columns are not considered swapped."""
    few = "".join(f"q\t{i}\t{i % 5}\n" for i in range(90))
    assert opened(tmp_path / "few", corpus=corpus(100), qrels=few).judgements.label.max() == 4
    many = "".join(f"q\t{i}\t{1000 + i}\n" for i in range(90))
    assert opened(tmp_path / "many", corpus=corpus(100), qrels=many).judgements.label.max() == 1089


def test_an_integer_in_one_file_and_a_string_in_another(tmp_path: Path) -> None:
    data = opened(
        tmp_path,
        corpus='{"_id": 1, "text": "one"}\n{"_id": "2", "text": "two"}\n',
        queries='{"_id": 7, "text": "one?"}\n',
        qrels="query-id\tcorpus-id\tscore\n7\t1\t1\n7\t2\t0\n",
    )
    assert data.query_ids == ("7",)
    assert data.judgements.document.tolist() == [0, 1]
    assert data.warnings == (
        "corpus.jsonl: ids are integers in JSON; they are read as strings",
        "queries.jsonl: ids are integers in JSON; they are read as strings",
    )


def test_a_judged_query_that_the_query_file_lacks(tmp_path: Path) -> None:
    data = opened(tmp_path, qrels=FILES["qrels/test.tsv"] + "lost\t2\t1\n")
    assert data.query_ids == ("q",)
    assert "1 judged queries are not in the queries file; their 1 judgements" in data.warnings[0]
    with pytest.raises(DataError, match=r"none of its queries is in .*: it names 'x'"):
        opened(tmp_path / "all", qrels="x\t1\t1\n")


def test_surrogates_and_nuls_in_queries(tmp_path: Path) -> None:
    data = opened(tmp_path, queries='{"_id": "q", "text": "a\\ud800b \\u0000 \\ud83d\\ude00"}')
    assert data.query_texts == ("a� b".replace(" ", "") + " \0 😀",)
    assert "1 values of the queries held lone surrogates" in data.warnings[0]


@pytest.mark.parametrize("name", FILES)
def test_crlf_and_bom_change_nothing(tmp_path: Path, name: str) -> None:
    short = {"corpus.jsonl": "corpus", "queries.jsonl": "queries", "qrels/test.tsv": "qrels"}
    changed = "\ufeff" + FILES[name].replace("\n", "\r\n")
    data = opened(tmp_path, **{short[name]: changed})
    assert data.sha256 == opened(tmp_path / "plain").sha256


def test_ids_with_white_space_survive_a_run(tmp_path: Path) -> None:
    documents, queries = ["a b", "a\u00a0b", "tab\tid", " lead"], ["q 1", "q\u20282"]
    data = opened(
        tmp_path,
        corpus="".join(json.dumps({"_id": d, "text": "x"}) + "\n" for d in documents),
        queries="".join(json.dumps({"_id": q, "text": "x"}) + "\n" for q in queries),
        qrels="query-id\tcorpus-id\tscore\nq 1\ta b\t1\nq\u20282\ta\u00a0b\t1\nq 1\t lead\t1\n",
    )
    assert data.judgements.document.tolist() == [0, 3, 1]
    docs = np.array([[0, 1, 2, 3], [1, 0, 3, 2]])
    scores = np.array([[4, 3, 2, 1]] * 2, dtype=np.float32)
    result = evaluate(Hits(docs, scores), data, measures=("RR@10", "R@10"), method="m")
    assert result.measures["RR@10"].mean == 1.0
    path = tmp_path / "run.zst"
    write_run(path, data.query_ids, docs, scores, data.corpus.ids, tag="m")
    text = zstandard.decompress(path.read_bytes(), 1 << 20).decode()
    assert [len(line.split()) for line in text.splitlines()] == [6] * 8
    run = read_run(path, known=[*documents, *queries])
    assert run.query_ids == queries
    found = [run.document_ids[i] for i in run.document]
    assert found == data.corpus.ids(docs.ravel())
