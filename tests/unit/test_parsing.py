"""Parsing of documents by Arrow: blocks it reads correctly, and blocks it would misread."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard

from rankstone.benchmarks import store
from rankstone.benchmarks.dataset import Document
from rankstone.benchmarks.readers import arrow_jsonl as parsing
from rankstone.benchmarks.readers.arrow_jsonl import document_blocks
from rankstone.benchmarks.readers.jsonl import read_documents
from rankstone.errors import DataError

GOOD = b'{"_id": "%d", "title": "", "text": "some \\u00e9 text", "metadata": {}}\n'


def corpus(folder: Path, *lines: bytes, name: str = "corpus.jsonl") -> Path:
    path = folder / name
    content = b"".join(lines)
    if name.endswith(".gz"):
        content = gzip.compress(content)
    elif name.endswith(".zst"):
        content = zstandard.compress(content)
    path.write_bytes(content)
    return path


def rows(block: Any) -> list[tuple[str, ...]]:
    if isinstance(block, pa.RecordBatch):
        return list(zip(*(column.to_pylist() for column in block.columns), strict=True))
    return [tuple(document) for document in block]


def outcome(read: Any, path: Path) -> tuple[list[tuple[str, ...]], set[str], str]:
    """Return documents, warnings and the error; documents before an error are dropped."""
    warnings: set[str] = set()
    try:
        return [row for block in read(path, warnings) for row in rows(block)], warnings, ""
    except DataError as error:
        return [], set(), str(error)


def one_by_one(path: Path, warnings: set[str]) -> list[list[Document]]:
    return [list(read_documents(path, warnings))]


def kinds(path: Path) -> set[str]:
    return {type(block).__name__ for block in document_blocks(path, set())}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "BLOCK_BYTES", 300)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst"])
@pytest.mark.parametrize("end", [b"", b'{"text": "no end of line", "_id": "x"}'])
def test_plain_files_are_parsed_by_arrow(tmp_path: Path, name: str, end: bytes) -> None:
    lines = [GOOD % n for n in range(50)]
    long = b'{"_id": "long", "text": "%s"}\n' % (b"word " * 500)
    path = corpus(tmp_path, *lines, long, *[b'{"_id": "t", "title": null, "text": " "}\n'], end,
                  name=name)  # fmt: skip
    assert kinds(path) == {"RecordBatch"}
    assert outcome(document_blocks, path) == outcome(one_by_one, path)
    assert len(outcome(document_blocks, path)[0]) == 52 + bool(end)


ACCEPTED = {
    "escaped key": b'{"_id": "a", "t\\u0065xt": "x"}\n',
    "NUL": b'{"_id": "a", "text": "\\u0000"}\n',
    "pair": b'{"_id": "a", "text": "\\ud83d\\ude00"}\n',
    "numbers": b'{"_id": "a", "text": "", "m": [NaN, Infinity, -Infinity, 1e5, -0, true, null]}\n',
    "inner": b'{"_id": "a", "text": "", "m": {"_id": 7, "text": ["x"], "a": 1, "a": 2}}\n',
    "many brackets": b'{"_id": "a", "text": "%s"}\n' % (b"[1] " * 1000),
    "transcript": b'{"_id": "a", "text": "%s"}\n' % (b"[laughter]\\n" * 500),
    "escapes": b'{"_id": "a", "text": "%s"}\n' % (b"\\u00e9" * 1000),
}
ODD = {
    "CRLF": b'{"_id": "a", "text": "x"}\r\n',
    "blank": b"\n",
    "white space": b"  \t\n",
    "spaces before": b'  {"_id": "a", "text": "x"}\n',
    "spaces behind": b'{"_id": "a", "text": "x"} \n',
    "no-break space": b'\xc2\xa0{"_id": "a", "text": "x"}\n',
    "integer": b'{"_id": 12, "text": "x"}\n',
    "long integer": b'{"_id": 1%s, "text": "x"}\n' % (b"0" * 5000),
    "true": b'{"_id": true, "text": "x"}\n',
    "no id": b'{"text": "x"}\n',
    "empty id": b'{"_id": "", "text": "x"}\n',
    "null id": b'{"_id": null, "text": "x"}\n',
    "no text": b'{"_id": "a"}\n',
    "null text": b'{"_id": "a", "text": null}\n',
    "list": b'{"_id": "a", "text": ["x"]}\n',
    "title": b'{"_id": "a", "text": "x", "title": 3}\n',
    "text twice": b'{"_id": "a", "text": "x", "text": "y"}\n',
    "two objects": b'{"_id": "a", "text": "x"}{"_id": "b", "text": "y"}\n',
    "two objects, NUL": b'{"_id": "a", "text": "x"}\0{"_id": "b", "text": "y"}\n',
    "two lines": b'{"_id": "a",\n"text": "x"}\n',
    "two lines with brackets": b'{"_id": "a", "m": {}\n{}, "text": "x"}\n',
    "bare line end": b'{"_id": "a", "text": "}\n{"}\n',
    "lone surrogate": b'{"_id": "a", "text": "\\ud800 x"}\n',
    "low surrogate": b'{"_id": "a", "text": "\\udc00 x"}\n',
    "lone surrogate skipped": b'{"_id": "a", "text": "x", "m": "\\ud800"}\n',
    "not UTF-8": b'{"_id": "a", "text": "\xff"}\n',
    "surrogate in UTF-8": b'{"_id": "a", "text": "\xed\xa0\x80"}\n',
    "not UTF-8 skipped": b'{"_id": "a", "text": "x", "m": "\xc3"}\n',
    "control": b'{"_id": "a", "text": "a\tb"}\n',
    "bare NUL": b'{"_id": "a", "text": "a\0b"}\n',
    "Inf": b'{"_id": "a", "text": "x", "m": Inf}\n',
    "-Inf": b'{"_id": "a", "text": "x", "m": [-Inf ]}\n',
    "-NaN": b'{"_id": "a", "text": "x", "m": -NaN}\n',
    "deep": b'{"_id": "a", "text": "x", "m": %s}\n' % (b"[" * 99_999 + b"]" * 99_999),
    "deep objects": b'{"_id": "a", "text": "x", "m": %s0%s}\n' % (b'{"":' * 9999, b"}" * 9999),
    "long integer skipped": b'{"_id": "a", "text": "x", "m": %s}\n' % (b"1" * 4301),
    "too large": b'{"_id": "a", "text": "x", "m": 1E400}\n',
    "no object": b'["_id"]\n',
    "half": b'{"_id": "a", "te\n',
    "padded id": b'{"_id": " a", "text": "x"}\n',
    "id with a line end": b'{"_id": "a\\n", "text": "x"}\n',
    "id with a no-break space": b'{"_id": "a\xc2\xa0", "text": "x"}\n',
    "id of spaces": b'{"_id": "  ", "text": "x"}\n',
    "comment": b"# comment\n",
}
BOM = b'\xef\xbb\xbf{"_id": "a", "text": "x"}\n'


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("place", ["first", "middle", "last", "last without its end", "alone"])
@pytest.mark.parametrize("line", ACCEPTED.values(), ids=ACCEPTED)
def test_blocks_that_arrow_reads_equally(tmp_path: Path, line: bytes, place: str) -> None:
    path = placed(tmp_path, line, place)
    assert kinds(path) == {"RecordBatch"}
    assert outcome(document_blocks, path) == outcome(one_by_one, path)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("place", ["first", "middle", "last", "last without its end", "alone"])
@pytest.mark.parametrize("line", ODD.values(), ids=ODD)
def test_odd_lines_are_read_one_by_one(tmp_path: Path, line: bytes, place: str) -> None:
    path = placed(tmp_path, line, place)
    expected = outcome(one_by_one, path)
    assert outcome(document_blocks, path) == expected
    if not expected[2] and line.strip() and not line.startswith(b"#"):
        assert "list" in kinds(path) or place == "last without its end"


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("place", ["first", "middle", "alone"])
def test_a_byte_order_mark_at_the_start_of_a_line_is_ignored(tmp_path: Path, place: str) -> None:
    path = placed(tmp_path, BOM, place)
    documents, _, error = outcome(document_blocks, path)
    assert (documents, _, error) == outcome(one_by_one, path)
    assert not error
    assert "a" in [row[0] for row in documents]


def placed(folder: Path, line: bytes, place: str) -> Path:
    before = [GOOD % n for n in range(0 if place in ("first", "alone") else 20)]
    after = [GOOD % n for n in range(50, 70 if place in ("first", "middle") else 50)]
    return corpus(folder, *before, line.rstrip(b"\r\n") if "end" in place else line, *after)


@pytest.mark.usefixtures("small_blocks")
def test_the_first_of_several_faults_is_reported(tmp_path: Path) -> None:
    lines = [GOOD % n for n in range(100)]
    lines[40], lines[60] = ODD["no text"], ODD["no id"]
    with pytest.raises(DataError, match=r"line 41: the key 'text' is missing"):
        list(document_blocks(corpus(tmp_path, *lines), set()))


@pytest.mark.parametrize("bad", [None, 10])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", ["corpus.jsonl.gz", "corpus.jsonl.zst"])
def test_a_truncated_file_has_the_same_outcome_in_blocks_and_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, share: float, bad: int | None
) -> None:
    monkeypatch.setattr(parsing, "BLOCK_BYTES", 20_000)
    lines = [GOOD % (n * n * 7919) for n in range(20_000)]
    if bad is not None:
        lines[bad] = ODD["no text"]
    path = corpus(tmp_path, *lines, name=name)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    expected = outcome(one_by_one, path)
    assert outcome(document_blocks, path) == expected
    assert expected[2] or not share


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(document_blocks(tmp_path / "corpus.jsonl", set()))


@pytest.mark.usefixtures("small_blocks")
def test_no_thread_outlives_a_reader_that_is_closed(tmp_path: Path) -> None:
    blocks = document_blocks(corpus(tmp_path, *(GOOD % n for n in range(500))), set())
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("rankstone-parse")]


INTERRUPTED = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from rankstone.benchmarks import store
from rankstone.benchmarks.readers import arrow_jsonl as parsing
from rankstone.benchmarks.storage import arrow_tables as tables
from rankstone.benchmarks.dataset import Sources
from rankstone.specs import TaskSpec
parsing.BLOCK_BYTES, tables.BATCH_ROWS = 1000, 10
def progress(what, done, total):
    print("going", flush=True)
root = Path(sys.argv[1])
task = TaskSpec(name="c", description="", dataset="c", loader="beir")
store.open_dataset(task, Sources(data=root / "data", cache=root / "cache"), progress)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_ctrl_c_ends_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "c"
    (folder / "qrels").mkdir(parents=True)
    corpus(folder, *(GOOD % n for n in range(300_000)))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "?"}))
    (folder / "qrels/test.tsv").write_text("q\t1\t1\n")
    package = str(Path(store.__file__).parents[2])
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path), package]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "going\n"
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=60)[1]
    assert process.returncode == -signal.SIGINT
    assert error.rstrip().endswith("KeyboardInterrupt")
    left = [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert left == []
