"""Files as users write them, through the commands: the right number, or an error.

.7398 is nDCG@10 by hand: query 1 has its one relevant document first; query 2 has its documents of
labels 2 and 1 at rank 2 and nowhere, (2 / log2 3) / (2 + 1 / log2 3) = .4796; the mean of both.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.readers.topics import read_topics
from rankstone.benchmarks.store import open_dataset
from rankstone.benchmarks.task_names import task_of
from rankstone.errors import DataError, ResultsError
from rankstone.results.imports import read_mteb
from rankstone.results.record import RunRecord
from rankstone.session import Session
from rankstone.workspace import Workspace
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("forked_cells")

packed = partial(gzip.compress, mtime=0)  # equal bytes, and so test names, in every process


QRELS = "q1 0 d1 1\nq1 0 d2 0\nq2 0 d3 2\nq2 0 d4 1\n"
RUN = "q1 Q0 d1 1 3.5 t\nq1 Q0 d2 2 2.5 t\nq2 Q0 d9 1 9 t\nq2 Q0 d3 2 8 t\n" + "".join(
    f"q{q} Q0 x{n} {n} -{n} t\n" for n in range(3, 11) for q in (1, 2)
)
RIGHT = (1 + (2 / math.log2(3)) / (2 + 1 / math.log2(3))) / 2
BOM = "\ufeff"
Packer = Callable[[bytes], bytes]
PACK: dict[str, Packer] = {
    "gzip": packed,
    "zstandard": zstandard.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def score(folder: Path, run: str | bytes = RUN, qrels: str | bytes = QRELS) -> RunRecord:
    for name, content in (("x.trec", run), ("x.qrels", qrels)):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    here = Session(results=folder / "results", cache=folder / "cache", workspace=ROOT)
    return here.score(folder / "x.trec", qrels=folder / "x.qrels")


def mean(record: RunRecord) -> float:
    return record.measures["nDCG@10"].mean


@pytest.mark.parametrize(
    ("run", "qrels"),
    [
        (RUN, QRELS),
        (RUN, QRELS.replace(" ", "\t").replace("\t1\n", " \t1\n")),
        (RUN, "q1\t0\td1 \t1\nq1\t0\td2\t0\nq2\t0\td3\t2\nq2\t0\td4\t1\n"),
        (RUN, "q1\t0\t d1\u00a0\t1 \nq1 \t0\td2\t0\t\n q2\t0\td3\t2\nq2\t\t0\td4\t1\n"),
        (RUN, QRELS.replace("q1 0 d1 1", "q1 0\td1\t1").replace("q2 0 d3 2", "q2\t0 d3 2")),
        (RUN, "# depth 100\n" + QRELS),
        (RUN, "\n#\n# q0 0 d0 one\n#q9 d 1\n  \n" + QRELS),
        (RUN, "query-id\tcorpus-id\tscore\n# note\nq1\td1\t1\nq1\td2\t0\nq2\td3\t2\nq2\td4\t1\n"),
        (RUN, BOM + "#\n" + QRELS),
        (RUN, QRELS.replace(" 2\n", " 2.0\n").replace(" 1\n", " +1.\n")),
        (RUN, QRELS.replace("\n", " \r\n")),
        (BOM + RUN.replace(" Q0", "  Q0"), QRELS),
        (BOM + RUN, QRELS),
        (RUN.replace("q2 Q0 d9", BOM + "q2 Q0 d9"), QRELS.replace("q2 0 d3", BOM + "q2 0 d3")),
        (RUN.replace(" ", "\t").replace("q2\tQ0\td3", BOM + "q2\tQ0\td3"), QRELS + BOM),
        (BOM + "# ir_metadata.start\n# tag: x\n# ir_metadata.end\n" + RUN, QRELS),
        (BOM + "# ir_metadata.start\n\n" + RUN.replace(" ", "\t"), QRELS),
        (RUN + "\n", QRELS),
        ("\n" + RUN.replace("q2 Q0 d9", "\n  \nq2 Q0 d9"), QRELS),
        (RUN.replace(" ", "\t").replace("\td1\t", "\td1 \t"), QRELS),
        (RUN.replace(" d1 ", " d1\u00a0 ").replace("q2 Q0 d3", "q2\u3000 Q0 \u2003d3"), QRELS),
        *((pack(RUN.encode()), pack(QRELS.encode())) for pack in PACK.values()),
        (packed(RUN[:40].encode()) + packed(RUN[40:].encode()), QRELS),
        (bz2.compress(RUN[:40].encode()) + bz2.compress(RUN[40:].encode()), QRELS),
        (lzma.compress((BOM + RUN).encode()), bz2.compress(("#\n" + QRELS).encode())),
    ],
)  # fmt: skip
def test_forms_of_one_run_and_its_judgements_give_the_same_number(
    tmp_path: Path, run: str | bytes, qrels: str | bytes
) -> None:
    record = score(tmp_path, run, qrels)
    assert mean(record) == pytest.approx(RIGHT, abs=1e-12)
    assert record.queries is not None
    assert record.queries.n == 2
    assert "1 of 3 relevant documents are in no list, such as 'd4'" in "".join(record.warnings)


@pytest.mark.parametrize(
    ("run", "qrels", "message"),
    [
        (RUN, QRELS.replace("d4 1", "d4 1_0"), r"line 4: the score must be an integer, .*'1_0'"),
        (RUN, QRELS.replace("d4 1", "d4 1.5"), "line 4: the score must be an integer"),
        (RUN, QRELS.replace("d4 1", "d4 ١"), "line 4: the score must be an integer"),
        (RUN, QRELS.replace("d4 1", "d4 1e0"), "line 4: the score must be an integer"),
        (RUN, QRELS.replace("d4 1", "d4 4294967296"), "line 4: the score must be an integer"),
        (RUN, QRELS.replace("d4 ", "\u00a0 "), "line 4: an id is empty"),
        (RUN, QRELS + "# late 1\n# late\n", r"line 6: expected 3 columns .* found 2"),
        (RUN, "", "holds no judgements"),
        ("", QRELS, "x.trec: is empty"),
        ("# comment\n\n", QRELS, "x.trec: is empty"),
        (packed(b""), QRELS, "x.trec: is empty"),
        (RUN.replace(" 9 t", " 9_0 t"), QRELS, "x.trec:3: the score '9_0' is not a number"),
        (RUN.replace(" d9 ", " \u2003 "), QRELS, "x.trec:3: an id is empty"),
        (RUN.encode("utf-16"), QRELS, "UTF-16. Convert it: iconv"),
        (b"PK\x03\x04" + RUN.encode(), QRELS, "zip archive. Unpack it: unzip -p x.trec > FILE"),
        (RUN, b"\x1f\x9d" + QRELS.encode(), "Unix compress. Unpack it: gzip -dc x.qrels > FILE"),
        (packed(bz2.compress(RUN.encode())), QRELS, "compressed twice. Unpack it once"),
        *((pack(RUN.encode())[:-9], QRELS, r"x\.trec: ") for pack in PACK.values()),
        *((RUN, pack(QRELS.encode())[:-9], "x.qrels: truncated") for pack in PACK.values()),
    ],
)
def test_a_refused_file_stores_no_record(
    tmp_path: Path, run: str | bytes, qrels: str | bytes, message: str
) -> None:
    with pytest.raises((DataError, ResultsError), match=message):
        score(tmp_path, run, qrels)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("run", "qrels", "message"),
    [
        (RUN, QRELS.replace("d1", "d1\u200b"), r"2 of 3 relevant .* such as 'd1\\u200b'"),
        (RUN, QRELS.replace("d1", "\u2060d1"), r"2 of 3 relevant .* such as '\\u2060d1'"),
        (RUN, QRELS.replace("d1", "D1"), r"2 of 3 relevant documents are in no list, such as 'D1'"),
        (
            RUN + "\u200bq3 Q0 d1 1 1 t",
            QRELS,
            r"1 of its queries are not judged .* such as '\\u200bq3'",
        ),
        (RUN, re.sub(r"\d\n", "0\n", QRELS), "no judged document has a label of 1 or more"),
        (RUN.replace("d2 2", "d2 0"), QRELS, r"ranks of 1 queries, such as 'q1', contradict"),
        (RUN.replace("d3 2 8", "d3 2 9.5"), QRELS, r"ranks of 1 queries, such as 'q2', contradict"),
    ],
)
def test_what_may_make_a_number_misleading_is_warned_about(
    tmp_path: Path, run: str, qrels: str, message: str
) -> None:
    assert not warned(score(tmp_path).warnings, message)
    assert warned(score(tmp_path, run, qrels).warnings, message)


def warned(warnings: Iterable[str], message: str) -> list[str]:
    return [warning for warning in warnings if re.search(message, warning)]


CORPUS = "".join(
    json.dumps({"_id": f"d{n}", "title": "", "text": f"text {n}"}) + "\n" for n in range(4)
)
HALVES = ["".join(part) for part in (CORPUS.splitlines(True)[:2], CORPUS.splitlines(True)[2:])]
QUERIES = '{"_id": "q1", "text": "one"}\n{"_id": "q2", "text": "two"}\n'
JUDGED = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td3\t2\n"
FILES = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels/test.tsv": JUDGED}


def opened(folder: Path, files: Mapping[str, str | bytes] = FILES, form: str = "{}") -> Dataset:
    for name, content in files.items():
        path = folder / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    task = task_of(form.format(folder / "set"))
    assert task is not None
    return open_dataset(task, Sources(data=None, cache=folder / "cache"))


def padded(text: str, *ids: str) -> str:
    """`text` with white space around some of its ids, in quotes or between tabs."""
    for id in ids:
        text = text.replace(f'"{id}"', f'" {id}\\u2003\\n"').replace(f"{id}\t", f" {id}\u00a0\t")
    return text


@pytest.mark.parametrize(
    "changes",
    [
        {name: BOM + "# a comment\n\n" + text.replace("\n", " \r\n  \n")
         for name, text in FILES.items()},
        {name: padded(text, "d1", "d2", "q1", "q2") for name, text in FILES.items()},
        {"corpus.jsonl": HALVES[0], "corpus_1.jsonl": BOM + HALVES[1]},
        {"corpus.jsonl": None, "corpus-00001-of-00002.jsonl": HALVES[1],
         "corpus-00000-of-00002.jsonl.xz": lzma.compress(HALVES[0].encode())},
        *(
            {change: content for name, text in FILES.items()
             for change, content in ((name, None), (name + ending, pack(text.encode())))}
            for ending, pack in zip((".gz", ".zst", ".BZ2", ".xz"), PACK.values(), strict=True)
        ),
        # Compressed under a name without a suffix, or with that of another compression.
        *({name: pack(text.encode()) for name, text in FILES.items()} for pack in PACK.values()),
        {"corpus.jsonl": None, "corpus.jsonl.gz": CORPUS},
        {"corpus_old.jsonl": CORPUS, "corpus2.txt": "x"},
    ],
)  # fmt: skip
def test_forms_of_one_collection_have_the_same_digests(
    tmp_path: Path, changes: dict[str, str | bytes | None]
) -> None:
    files = {name: text for name, text in {**FILES, **changes}.items() if text is not None}
    assert opened(tmp_path / "other", files).sha256 == opened(tmp_path).sha256


def test_parts_and_omissions_are_named(tmp_path: Path) -> None:
    more = '{"_id": "more", "text": "x"}'
    files = {**FILES, "corpus_2.jsonl": more, "corpus_10.jsonl.gz": more.replace("more", "moro")}
    data = opened(tmp_path, {**files, "corpus_old.jsonl": more})
    assert data.corpus.ids(np.arange(len(data.corpus)))[-2:] == ["more", "moro"]
    assert warned(data.warnings, "from 3 files: corpus.jsonl, corpus_2.jsonl, corpus_10.jsonl.gz")
    assert warned(data.warnings, "corpus_old.jsonl is not read")
    with pytest.raises(DataError, match=r"'d1' occurs twice .*: corpus.jsonl, line 2 and corpus_7"):
        opened(tmp_path / "again", {**FILES, "corpus_7.jsonl": CORPUS.splitlines()[1]})


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_ids_that_are_the_same_in_a_run_file(tmp_path: Path, name: str) -> None:
    files = {
        **FILES,
        name: FILES[name] + '{"_id": "a b", "text": ""}\n{"_id": "a%20b", "text": ""}',
    }
    n = len(FILES[name].splitlines())
    message = rf"'a b' and 'a%20b' are the same in a run file among .* {name}, line {n + 1} and"
    with pytest.raises(DataError, match=message):
        opened(tmp_path, files)


def test_relevant_documents_that_the_corpus_does_not_hold(tmp_path: Path) -> None:
    wrong = JUDGED.replace("d1", "d1\u200b") + "q2\tgone\t0\n"
    data = opened(tmp_path, {**FILES, "qrels/test.tsv": wrong})
    assert warned(data.warnings, r"1 relevant documents are not in the corpus, such as 'd1\\u200b'")
    assert not warned(opened(tmp_path / "plain").warnings, "relevant documents")


@pytest.mark.parametrize("pack", [bytes, *PACK.values()])
@pytest.mark.parametrize(
    ("docs", "topics"),
    [
        ("<DOC><DOCNO> d1 </DOCNO><TEXT>a</TEXT></DOC>\n<DOC><DOCNO>d3</DOCNO>b</DOC>\n",
         "<top>\n<num> Number: q1\n<title> a\n</top>\n<top><num>q2</num><title>b</title></top>\n"),
        ("d1\ta\nd3 \tb\t\n", "q1\ta\nq2\tb \t \n"),
        ("#id\ttext\nd1\ta\nd3\tb\n", "qid\tquery\nq1\ta\n q2\tb\n"),
        ('{"id": " d1", "text": "a"}\n{"id": "d3", "text": "b"}', '{"id": "q1\\t", "title": "a"}\n'
         '{"id": "q2", "title": "b"}'),
    ],
)  # fmt: skip
def test_trec_files_may_have_marks_comments_and_compression(
    tmp_path: Path, docs: str, topics: str, pack: Packer
) -> None:
    files = {"docs": docs, "topics": topics, "qrels": JUDGED}
    files = {name: BOM + "# a comment\n\n" + text for name, text in files.items()}
    packed = {name: pack(text.encode()) for name, text in files.items()}
    names = ",".join(f"{name}={{0}}/{name}" for name in files)
    data = opened(tmp_path, packed, f"files:{names}")
    assert data.corpus.ids(np.arange(2)) == ["d1", "d3"]
    assert list(zip(data.query_ids, data.query_texts, strict=True)) == [("q1", "a"), ("q2", "b")]
    assert data.judgements.document.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("use of <iostream> in cats", "use of <iostream> in cats"),
        ("moon <i>earth</i> orbit", "moon earth orbit"),
        ("a vector<int> & a < b > c", "a vector<int> & a < b > c"),
        ("one<br>two <EM class='x'>three</EM>\n<b>four</b>", "one two three four"),
        ("<iostream> first", "<iostream> first"),
        ("mail <jo@example.org> or map<K,V>", "mail <jo@example.org> or map<K,V>"),
        ("one<br/>two <i >three</i>", "one two three"),
    ],
)
@pytest.mark.parametrize("closing", ["", "</title>"])
@pytest.mark.parametrize("follows", ["<desc> Description:\nx\n", "<EN-narr> y\n", ""])
def test_titles_are_read_in_full(
    tmp_path: Path, title: str, text: str, closing: str, follows: str
) -> None:
    path = tmp_path / "topics"
    path.write_text(f"<top>\n<num> Number: 1\n<title> {title}{closing}\n{follows}</top>\n")
    assert [query.text for _, query in read_topics(path, set(), None)] == [text]


MTEB = {"ndcg_at_10": 0.6, "map_at_10": 0.5, "hf_subset": "default"}


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([{**MTEB, "ndcg_at_10": 1.7}], "nDCG@10 is 1.7, expected 0 to 1"),
        ([{**MTEB, "ndcg_at_10": -0.1}], "nDCG@10 is -0.1, expected 0 to 1"),
        ([{**MTEB, "map_at_10": math.nan}], "AP@10 is nan, expected 0 to 1"),
        ([{**MTEB, "map_at_10": math.inf}], "AP@10 is inf, expected 0 to 1"),
        ([{**MTEB, "ndcg_at_10": None}], "it has no nDCG@10"),
        ([MTEB, {**MTEB, "hf_subset": "fr"}], r"has 2 subsets \(default, fr\)"),
        ([], "no scores of the split 'test'"),
    ],
)
def test_results_of_mteb_that_are_refused(
    tmp_path: Path, scores: list[dict[str, Any]], message: str
) -> None:
    path = mteb(tmp_path, scores)
    with pytest.raises(ResultsError, match=message):
        read_mteb(path, Workspace.find(ROOT).tasks, when="")


@pytest.mark.parametrize("value", [None, "n/a", "0.5", True, [0.5], {"mean": 0.5}])
def test_a_score_of_mteb_that_is_no_number_is_left_out(tmp_path: Path, value: object) -> None:
    path = mteb(tmp_path, [{**MTEB, "map_at_10": value}])
    record = read_mteb(path, Workspace.find(ROOT).tasks, when="")
    assert set(record.measures) == {"nDCG@10"}
    assert warned(record.warnings, r"AP@10 is .* left out")


def mteb(folder: Path, scores: list[dict[str, Any]]) -> Path:
    path = folder / "SciFact.json"
    path.write_text(BOM + json.dumps({"task_name": "SciFact", "scores": {"test": scores}}))
    return path
