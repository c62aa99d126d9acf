"""Files decorated as people's are decorated read as the plain ones, by every reader."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.loaders.dpr import read_passages, read_questions
from rankstone.benchmarks.loaders.hub import file_rows
from rankstone.benchmarks.loaders.trec import read_documents
from rankstone.benchmarks.readers.qrels import read_judgements
from rankstone.benchmarks.readers.topics import read_topics
from rankstone.benchmarks.store import open_dataset
from rankstone.benchmarks.task_names import task_of
from rankstone.results.trec_run import read_run
from rankstone.session import Session
from tests.conftest import ROOT

PACKERS: list[Callable[[bytes], bytes]] = [
    bytes, gzip.compress, zstandard.compress, bz2.compress, lzma.compress,
]  # fmt: skip
COMMENTS = ["#", "# depth 100", "#run: mine", "# q1 d1 1", "# ir_metadata.start", "#a b c d e f"]
# A query may begin with `#`, and any id with what looks like a number or an escape.
IDS = st.text(st.sampled_from('aZ0#%.é漢"\\\u200b'), min_size=1, max_size=4).filter("#".__ne__)
SPACES = st.sampled_from([" ", "\t", "  ", " \t", "\u00a0 ", "\t\u2003"])
SMALL = settings(
    deadline=None, max_examples=20, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)


@dataclass(frozen=True)
class Collection:
    """Judgements and scores over a few documents."""

    documents: list[str]
    queries: list[str]
    labels: dict[tuple[str, str], int]
    scores: dict[tuple[str, str], float]

    def rows(self) -> list[tuple[str, ...]]:
        """Columns of the run file, best first."""
        found = []
        for query in self.queries:
            pairs = [(d, s) for (q, d), s in self.scores.items() if q == query]
            ordered = enumerate(sorted(pairs, key=lambda pair: -pair[1]), 1)
            found += [(query, "Q0", d, str(rank), f"{s:.3f}", "tag") for rank, (d, s) in ordered]
        return found


@st.composite
def collections(draw: st.DrawFn) -> Collection:
    documents = draw(st.lists(IDS, min_size=2, max_size=5, unique=True))
    queries = draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
    pairs = [(q, d) for q in queries for d in documents]
    some = st.lists(st.sampled_from(pairs), unique=True)
    judged = {**{(q, documents[0]): 1 for q in queries}, **dict.fromkeys(draw(some), 0)}
    labels = {pair: draw(st.integers(-1, 3)) for pair in judged}
    kept = [pairs[0], *draw(some)]
    return Collection(
        documents, queries, labels, {pair: draw(st.integers(0, 9)) / 4 for pair in kept}
    )


@st.composite
def decorated(draw: st.DrawFn, lines: Sequence[str], mixed: bool = False) -> bytes:
    """The lines with a BOM, comments, blank lines, padding, line ends and a compression.

    Args:
        mixed: Spaces part columns, and stand for any white space.
    """
    end = draw(st.sampled_from(["\n", "\r\n", " \n", "\t\r\n"]))
    blank = st.lists(st.sampled_from(["", "  ", "\t"]), max_size=1)
    text = [*draw(st.lists(st.sampled_from([*COMMENTS, ""]), max_size=3))]
    for line in lines:
        if mixed:
            words = line.split(" ")
            line = "".join(w + draw(SPACES) for w in words[:-1]) + words[-1]
        text += [line, *draw(blank)]
    whole = draw(st.sampled_from(["", "\ufeff"])) + end.join(text) + end * draw(st.integers(0, 1))
    return draw(st.sampled_from(PACKERS))(whole.encode())


def trec(c: Collection) -> list[str]:
    return [f"{q} 0 {d} {label}" for (q, d), label in c.labels.items()]


def beir(c: Collection) -> list[str]:
    rows = [f"{q}\t{d}\t{label}" for (q, d), label in c.labels.items()]
    return ["query-id\tcorpus-id\tscore", *rows]


def padded(draw: st.DrawFn, id: str) -> str:
    return draw(st.sampled_from(["", " ", "\n"])) + id + draw(st.sampled_from(["", " ", "\u2003"]))


def write(folder: Path, name: str, content: bytes | Sequence[str]) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else "\n".join(content).encode())
    return path


@SMALL
@given(collections(), st.data())
def test_decorated_run_files_and_judgements_are_read_as_plain_ones(
    c: Collection, data: st.DataObject
) -> None:
    run = [" ".join(row) for row in c.rows()]
    given = data.draw(decorated(run, mixed=True)), data.draw(decorated(trec(c), mixed=True))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        read = read_run(write(folder, "given.trec", given[0]))
        columns = zip(read.query, read.document, read.score, strict=True)
        found = [(read.query_ids[q], "Q0", read.document_ids[d], s) for q, d, s in columns]
        assert found == [(*row[:3], float(row[4])) for row in c.rows()]
        assert read.contradicted == ()
        judged = [(*pair, label) for pair, label in c.labels.items()]
        assert list(read_judgements(write(folder, "given.qrels", given[1]))) == judged
        other = data.draw(decorated(beir(c)))
        assert list(read_judgements(write(folder, "beir.tsv", other))) == judged
        here = Session(results=folder / "results", cache=folder / "cache", workspace=ROOT)
        write(folder, "plain.trec", run)
        write(folder, "plain.qrels", trec(c))
        records = [
            here.score(folder / f"{name}.trec", qrels=folder / f"{name}.qrels")
            for name in ("given", "plain")
        ]
    assert records[0].measures == records[1].measures
    assert records[0].queries == records[1].queries
    assert len(records[0].warnings) == len(records[1].warnings)


def as_json(records: Sequence[dict[str, str]]) -> list[str]:
    return [json.dumps(record, ensure_ascii=False) for record in records]


@SMALL
@given(collections(), st.data())
def test_decorated_collections_are_read_as_plain_ones(c: Collection, data: st.DataObject) -> None:
    documents = [{"_id": d, "text": f"text of {d}"} for d in c.documents]
    queries = [{"_id": q, "text": f"query {q}"} for q in c.queries]
    parts = {"corpus": documents, "queries": queries}
    with tempfile.TemporaryDirectory() as name:
        plain, other = Path(name) / "plain", Path(name) / "other"
        for stem, records in parts.items():
            write(plain, f"{stem}.jsonl", as_json(records))
            spaced = [{**r, "_id": padded(data.draw, r["_id"])} for r in records]
            cut = data.draw(st.integers(1, len(records)))
            ending = data.draw(st.sampled_from(["", ".gz", ".zst", ".bz2", ".XZ"]))
            write(other, f"{stem}.jsonl{ending}", data.draw(decorated(as_json(spaced[:cut]))))
            if cut < len(records):
                write(other, f"{stem}_1.jsonl", data.draw(decorated(as_json(spaced[cut:]))))
        write(plain, "qrels/test.tsv", beir(c))
        write(other, "qrels/test.tsv", data.draw(decorated(trec(c), mixed=True)))
        sources = Sources(data=None, cache=Path(name) / "cache")
        sets = [open_dataset(task_of(str(folder)), sources) for folder in (plain, other)]  # type: ignore[arg-type]
        assert sets[0].sha256 == sets[1].sha256
        assert sets[0].query_texts == sets[1].query_texts


@SMALL
@given(collections(), st.data())
def test_decorated_files_of_other_forms_are_read_as_plain_ones(
    c: Collection, data: st.DataObject
) -> None:
    texts = [(id, f"text {n}") for n, id in enumerate(c.documents)]
    tabbed = [f"{id}\t{text}" for id, text in texts]
    marked = [f"<DOC><DOCNO> {n} </DOCNO>\n<TEXT>{text}</TEXT></DOC>" for n, text in texts_of(c)]
    topics = [f"<top><num> Number: {n}\n<title> {text}\n</top>" for n, text in texts_of(c)]
    lines = as_json([{"_id": id, "text": text} for id, text in texts])
    passages = ["id\ttext\ttitle", *(f"{n}\t{text}\tT" for n, text in texts_of(c))]
    asked = [f"{text}\t['a', \"b\"]" for _, text in texts]
    readers: list[tuple[Sequence[str], Callable[[Path], list[object]]]] = [
        (tabbed, lambda path: [d for _, d in read_documents(path, set())]),
        (marked, lambda path: [(d.id, d.text) for _, d in read_documents(path, set())]),
        (lines, lambda path: [d for _, d in read_documents(path, set())]),
        (tabbed, lambda path: [q for _, q in read_topics(path, set(), None)]),
        (topics, lambda path: [q for _, q in read_topics(path, set(), None)]),
        (lines, lambda path: [row for _, row in file_rows([path], ("_id", "text"))]),
        (passages, lambda path: list(read_passages(path))),
        (asked, lambda path: list(read_questions(path))),
    ]
    with tempfile.TemporaryDirectory() as name:
        for content, read in readers:
            expected = read(write(Path(name), "plain", content))
            assert len(expected) == len(c.documents)
            assert read(write(Path(name), "given", data.draw(decorated(content)))) == expected


def texts_of(c: Collection) -> list[tuple[int, str]]:
    return [(n, f"text {n}") for n, _ in enumerate(c.documents)]


@pytest.mark.slow
def test_a_run_on_a_decorated_collection(tmp_path: Path) -> None:
    """BM25 in its own process gives the same measures and the same run."""
    documents = [{"_id": f"d{n}", "text": text} for n, text in enumerate(["cat", "cat dog", "x"])]
    files = {"corpus.jsonl": as_json(documents), "queries.jsonl": as_json([documents[1]])}
    files["qrels/test.tsv"] = ["d1 0 d1 2", "d1 0 d0 1"]
    for name, lines in files.items():
        write(tmp_path / "plain", name, lines)
        text = "\ufeff# comment\r\n" + "\r\n \r\n".join(lines).replace('"d', '" d')
        write(tmp_path / "other", name, lzma.compress(text.replace(" 0 ", "\t0  ").encode()))
    here = Session(results=tmp_path / "results", cache=tmp_path / "cache", workspace=ROOT)
    paths = [str(tmp_path / name) for name in ("plain", "other")]
    first, second = here.run(["lexical/bm25"], paths)
    assert first.status == "ok"
    assert first.measures == second.measures
    assert first.measures["nDCG@10"].mean > 0
