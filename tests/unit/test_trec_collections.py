"""TREC formats: documents, topics, judgements, and faults named by file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import zstandard

from rankstone.benchmarks.dataset import Dataset, Document, Query, Sources
from rankstone.benchmarks.loaders.trec import document_files, read_documents
from rankstone.benchmarks.readers import sgml
from rankstone.benchmarks.readers.sgml import plain
from rankstone.benchmarks.readers.topics import read_topics
from rankstone.benchmarks.store import open_dataset
from rankstone.errors import DataError
from rankstone.specs import TaskSpec

SGML = """\
<DOC>
<DOCNO> FT911-1 </DOCNO>
<DATE>910514
</DATE>
<HEADLINE>
FT  14 MAY 91 / Rents &amp; yields
</HEADLINE>
<TEXT>
Bare AT&T ampersands, a &lt;b&gt; tag, 3 < 4 and 5 > 4.
<P>A paragraph.</P>
</TEXT>
<!-- PJG a comment -->
<TEXT>
A second block &hyph; it counts.
</TEXT>
</DOC>
<DOC>
<DOCNO>AP-2</DOCNO>
<HEAD>One</HEAD>
<HEAD>Two</HEAD>
<TEXT>Body.</TEXT>
</DOC>
<DOC>
<DOCNO>bare</DOCNO>
<TITLE>Named</TITLE>
No text element at all.
</DOC>
"""
EXPECTED = [
    Document(
        "FT911-1",
        "FT 14 MAY 91 / Rents & yields",
        "Bare AT&T ampersands, a <b> tag, 3 < 4 and 5 > 4.\n A paragraph. \n"
        "A second block - it counts.",
    ),
    Document("AP-2", "One Two", "Body."),
    Document("bare", "Named", "No text element at all."),
]


def read(path: Path, content: str | bytes) -> list[Document]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [document for _, document in read_documents(path, set())]


def squeezed(documents: list[Document]) -> list[Document]:
    """Collapse white space inside texts, which is kept but irrelevant here."""
    return [Document(d.id, d.title, " ".join(d.text.split())) for d in documents]


def test_documents_of_the_disks_are_read(tmp_path: Path) -> None:
    assert squeezed(read(tmp_path / "ft", SGML)) == squeezed(EXPECTED)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("</DOC>\n", "</DOC>\n\ufeff"),
        lambda text: '<?xml version="1.0"?>\n<!DOCTYPE x>\n<docs>\n' + text + "</docs>\n",
        lambda text: text.replace("<DOC>", "<doc>").replace("</DOC>", "</doc >"),
        lambda text: text.replace("<DOC>\n<DOCNO>AP-2</DOCNO>", "<DOC id='AP-2' n=2>"),
        lambda text: text.replace("</DOC>\n<DOC>", "</DOC><DOC>"),
        lambda text: "\n\n" + text.rstrip("\n"),
    ],
)
def test_forms_of_the_same_documents(tmp_path: Path, change) -> None:
    assert squeezed(read(tmp_path / "ft", change(SGML))) == squeezed(EXPECTED)


@pytest.mark.parametrize("block", [1, 2, 7, 64])
def test_blocks_may_be_split_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(sgml, "BLOCK_BYTES", block)
    assert squeezed(read(tmp_path / "ft", SGML)) == squeezed(EXPECTED)
    assert [line for line, _ in read_documents(tmp_path / "ft", set())] == [1, 17, 23]


def test_an_older_disk_is_latin_1_document_by_document(tmp_path: Path) -> None:
    files = [b"<DOC><DOCNO>%d</DOCNO><TEXT>%s</TEXT></DOC>\n" % (n, "é€Ü"[:2].encode(code))
             for n, code in enumerate(["utf-8", "cp1252", "utf-8"])]  # fmt: skip
    path, warnings = tmp_path / "old", set[str]()
    path.write_bytes(b"".join(files))
    texts = [document.text for _, document in read_documents(path, warnings)]
    assert texts == ["é€", "é\x80", "é€"]
    (warning,) = warnings
    assert warning.startswith("old, line 2: not UTF-8: read as Latin-1")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<TEXT>a</TEXT><LP>b</LP><TEXT></TEXT>", ("", "a\nb")),
        ("<TEXT>a <TITLE>inside</TITLE></TEXT><TITLE>T</TITLE>", ("T", "a  inside")),
        ("<TEXT>a<TEXT>b</TEXT>c", ("", "a b")),
        ("<HL>T</HL><TEXT>not closed", ("T", "not closed")),
        ("<TTL>not closed <TEXT>a</TEXT>", ("not closed", "a")),
        ("<DATE>1999</DATE><DD>x</DD><URL>u</URL>bare <TITLE>T</TITLE> text", ("T", "bare   text")),
        ("<TEXTS>a</TEXTS>", ("", "a")),
        ("", ("", "")),
    ],
)
def test_what_is_title_and_what_text(
    tmp_path: Path, content: str, expected: tuple[str, str]
) -> None:
    (found,) = read(tmp_path / "docs", f"<DOC><DOCNO>1</DOCNO>{content}</DOC>")
    assert (found.title, found.text) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a<br>b", "a b"),
        ("&#233;&eacute;&#xe9;", "ééé"),
        ("&unknown; &lt;&ltd; &copy 1&2;", "&unknown; <&ltd; &copy 1&2;"),
        ("&blank;x&hyph;y&sect;", "x-y§"),
        ("&#0;&#xD800;&#99999999;", "��&#99999999;"),
        ("<![CDATA[a <b> & c]]> <i>d</i>", "a <b> & c  d"),
        ("if x<y and y>z", "if x z"),
        ("nul \0 stays", "nul \0 stays"),
    ],
)
def test_markup_becomes_text(content: str, expected: str) -> None:
    assert plain(content) == expected


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("<DOC>\n<DOCNO>1</DOCNO>\n", 1, "<DOC> is not closed before the file ends"),
        ("\n<DOC>\n<DOCNO>1</DOCNO>\n<DOC>\n</DOC>", 2, "another begins in line 4"),
        ("<DOC>\n<DOCNO>1</DOCNO></DOC>\n</DOC>", 3, "a closing tag without its opening tag"),
        ("<DOC>\n<DOCNO>1</DOCNO></DOC>\n\nstray\n<DOC></DOC>", 4, "text outside .* 'stray'"),
        ("<DOC>\n<DOCNO>1</DOCNO></DOC>\n\nstray\n", 4, "text outside of all elements: 'stray'"),
        ("<x>\n<DOC>\n<TEXT>t</TEXT></DOC>", 2, "a document without a <DOCNO>"),
        ("<DOC>\n<DOCNO> </DOCNO></DOC>", 1, "a document without a <DOCNO>"),
        ("<DOC><DOCNO>1</DOCNO>\n<DOCNO>2</DOCNO></DOC>", 1, "a document with 2 <DOCNO>"),
        ('{"id": "1", "text": "a"}\n{"id": "2"}', 2, "no key 'text' or 'contents' .*; it has id"),
        ('{"id": "1", "text": "a"}\n{"text": "2"}', 2, "no key '_id' or 'id' .*; it has text"),
        ('{"id": "1", "text": 3}', 1, "'text' must be a string, found 3"),
        ('[{"id": "1", "text": 3}]', 1, "one JSON array, expected one JSON object per line"),
        ("1\tone\n2 two\n", 2, "neither JSON nor markup, and 1 of 2 columns"),
        ("1\tone\tmore\n", 1, "expected 2 columns .* found 3 .*'id<TAB>title<TAB>text'"),
        ("1\tone\n\ttwo\n", 2, "an id is empty"),
    ],
)
def test_a_malformed_document_is_named(
    tmp_path: Path, content: str, line: int, message: str
) -> None:
    with pytest.raises(DataError, match=rf"docs, line {line}: .*{message}"):
        read(tmp_path / "docs", content)


def test_files_of_compress_are_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"fr94\.0z: packed with Unix compress.*gzip -dc"):
        read(tmp_path / "fr94.0z", b"\x1f\x9d\x90whatever")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"_id": 1, "title": "A", "text": "b"}', Document("1", "A", "b")),
        ('{"id": "x y", "contents": "b"}', Document("x y", "", "b")),
        ('{"docid": "d", "title": null, "body": "b"}', Document("d", "", "b")),
        ("d1\tone two", Document("d1", "", "one two")),
        ("id\ttext\ttitle\nd1\tb\tA", Document("d1", "A", "b")),
        ("docid\turl\ttitle\tbody\r\nd1\thttp\tA\tb\r\n", Document("d1", "A", "b")),
        ("\ufeffd1\tone", Document("d1", "", "one")),
        ("\n\ufeffd1\tone", Document("d1", "", "one")),
    ],
)
def test_documents_in_lines_are_read(tmp_path: Path, content: str, expected: Document) -> None:
    assert read(tmp_path / "docs", content) == [expected]


@pytest.mark.parametrize("cut", [0, 12])
@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
@pytest.mark.parametrize("content", [SGML, "d1\tone\n" * 2000])
def test_packed_files_are_read_and_truncated_ones_refused(
    tmp_path: Path, ending: str, pack, content: str, cut
) -> None:
    packed = pack(content.encode())
    path = tmp_path / f"docs{ending}"
    if cut:
        with pytest.raises(DataError, match=rf"docs\{ending}: truncated or damaged"):
            read(path, packed[:-cut])
    else:
        assert read(path, packed) == read(tmp_path / "plain", content)


def test_a_folder_of_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b/2.tsv", "a/1.txt", "c.jsonl", ".hidden"):
        read(tmp_path / name, f"{name}\tx" if name != "c.jsonl" else '{"id": "c", "text": ""}')
    names = [str(path.relative_to(tmp_path)) for path in document_files(tmp_path)]
    assert names == ["a/1.txt", "b/2.tsv", "c.jsonl"]
    assert document_files(tmp_path / "*" / "*.tsv") == [tmp_path / "b/2.tsv"]
    assert document_files(tmp_path / "c.jsonl") == [tmp_path / "c.jsonl"]
    for missing in ("nowhere", "*.nothing"):
        with pytest.raises(DataError, match="no such file or folder"):
            document_files(tmp_path / missing)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="a folder without files"):
        document_files(tmp_path / "empty")


CLASSIC = """\
<top>

<num> Number: 301
<title> International Organized
Crime

<desc> Description:
Identify organizations.

<narr> Narrative:
A relevant document must.

</top>

<top>
<head> Tipster Topic
<num> Number: 051
<title> Topic: Airbus &amp; Subsidies
<desc> Description: Mentions a description.
<narr> Narrative: x
</top>
"""
COVID = """\
<?xml version="1.0"?>
<topics task="COVIDSearch">
  <topic number="1">
    <query>coronavirus origin</query>
    <question>what is the origin?</question>
    <narrative>seeking &lt;em&gt; range</narrative>
  </topic>
  <topic number='2 b' type="faceted"><query>second <i>one</i></query><question>?</question></topic>
</topics>
"""


def topics(path: Path, content: str, field: str | None = None) -> list[Query]:
    path.write_bytes(content.encode())
    return [query for _, query in read_topics(path, set(), field)]


@pytest.mark.parametrize(
    ("content", "field", "expected"),
    [
        (CLASSIC, None, [("301", "International Organized Crime"), ("051", "Airbus & Subsidies")]),
        (CLASSIC, "desc", [("301", "Identify organizations."), ("051", "Mentions a description.")]),
        (CLASSIC, "narrative", [("301", "A relevant document must."), ("051", "x")]),
        (CLASSIC.replace("\n", "\r\n"), "title",
         [("301", "International Organized Crime"), ("051", "Airbus & Subsidies")]),
        (COVID, None, [("1", "coronavirus origin"), ("2 b", "second one")]),
        (COVID, "question", [("1", "what is the origin?"), ("2 b", "?")]),
        ("<topics><topic number=7>\n A 58-year-old woman.\n</topic></topics>", None,
         [("7", "A 58-year-old woman.")]),
        ("<top><num>C041</num><title>Closed</title></top>", None, [("C041", "Closed")]),
        ("<topic><id>5</id><title>T</title></topic>", None, [("5", "T")]),
        ("1\tone\n2\ttwo words", None, [("1", "one"), ("2", "two words")]),
        ("qid\tquery\n1\tone", None, [("1", "one")]),
        ('{"id": 3, "title": "T"}', None, [("3", "T")]),
        ('{"qid": "3", "text": "T", "question": "Q"}', "question", [("3", "Q")]),
    ],
)  # fmt: skip
def test_topics_are_read_in_all_their_forms(
    tmp_path: Path, content: str, field: str | None, expected: list[tuple[str, str]]
) -> None:
    assert topics(tmp_path / "topics", content, field) == [Query(*pair) for pair in expected]


@pytest.mark.parametrize(
    ("content", "field", "message"),
    [
        (CLASSIC, "question", r"line 1: a topic without text in <question>; it has num, title"),
        (COVID, "narrative", r"line 8: .*<narrative>; it has query, question"),
        ("\n<top><title>T</top>", None, r"line 2: a topic without an id \(num, number"),
        ("<top><num>1<title> </top>", None, r"line 1: a topic without text in <title> or <query>"),
        ("<topic number=1></topic>", None, r"line 1: a topic without text"),
        (CLASSIC.rpartition("</top>")[0], None, r"line 15: <top> is not closed"),
        ('{"id": 1, "text": "a"}', "title", r"line 1: no key 'title'; it has id, text"),
        ("1 one", None, r"line 1: neither JSON nor markup"),
    ],
)
def test_a_malformed_topic_is_named(
    tmp_path: Path, content: str, field: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=rf"topics, {message}"):
        topics(tmp_path / "topics", content, field)


QRELS = "301 0 FT911-1 1\n301 0 AP-2 0\n051 Q0 bare 2\n"


def trio(tmp_path: Path, *, cache: str = "cache", **changes: str) -> Dataset:
    """Open the data set of the files above, with some replaced."""
    contents = {"docs": SGML, "topics": CLASSIC, "qrels": QRELS, **changes}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content.encode("utf-8"))
    return opened(tmp_path, cache, **{name: str(tmp_path / name) for name in contents})


def opened(tmp_path: Path, cache: str = "cache", data: Path | None = None, **source: str):
    task = TaskSpec(
        name="files/x",
        description="",
        loader="trec",
        source=source,
        dataset="files/x",
    )
    return open_dataset(task, Sources(data=data, cache=tmp_path / cache))


def test_a_trio_opens(tmp_path: Path) -> None:
    data = trio(tmp_path)
    assert data.query_ids == ("301", "051")
    assert data.judgements.query.tolist() == [0, 0, 1]
    assert data.judgements.document.tolist() == [0, 1, 2]
    assert data.judgements.label.tolist() == [1, 0, 2]
    assert data.corpus.texts(1, 3) == ["One Two Body.", "Named No text element at all."]
    assert data.source.startswith("files:docs=")
    assert data.warnings == ()


def test_the_form_does_not_change_the_digest(tmp_path: Path) -> None:
    first = trio(tmp_path)
    lines = "".join(
        json.dumps({"id": d.id, "title": d.title, "contents": d.text}) + "\n"
        for _, d in read_documents(tmp_path / "docs", set())
    )
    tsv = "".join(f"{q.id}\t{q.text}\n" for _, q in read_topics(tmp_path / "topics", set(), None))
    beir = "query-id\tcorpus-id\tscore\n" + "".join(
        f"{q}\t{d}\t{label}\n" for q, _, d, label in map(str.split, QRELS.splitlines())
    )
    (tmp_path / "second").mkdir()
    assert trio(tmp_path / "second", docs=lines, topics=tsv, qrels=beir).sha256 == first.sha256


def test_paths_may_begin_at_the_data_folder(tmp_path: Path) -> None:
    expected = trio(tmp_path).sha256
    names = {"docs": "docs", "topics": "topics", "qrels": "qrels"}
    assert opened(tmp_path, data=tmp_path, **names).sha256 == expected
    with pytest.raises(DataError, match=r"no data folder is named.*RANKSTONE_DATA"):
        opened(tmp_path, **names)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    trio(tmp_path)
    paths = {name: str(tmp_path / name) for name in ("docs", "topics", "qrels")}
    with pytest.raises(DataError, match=r"/gone: no such file"):
        opened(tmp_path, **{**paths, "topics": str(tmp_path / "gone")})
    with pytest.raises(DataError, match=r": a folder, expected a file"):
        opened(tmp_path, **{**paths, "qrels": str(tmp_path)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"docs": SGML + SGML}, r"'FT911-1' occurs twice .*docs, line 1 and docs, line 28"),
        ({"topics": CLASSIC + CLASSIC}, r"'301' occurs twice .*topics, line 1 and topics, line 22"),
        ({"qrels": "301 FT911-1 0 1\n"}, "none of its documents .*'0'.*order of the columns"),
        ({"qrels": "FT911-1 0 301 1\n"}, "columns in the wrong order"),
        ({"qrels": "51 0 bare 2\n"}, r"none of its queries .*names '51'.* begins with '301'"),
        ({"qrels": "301 0 AP-2 1 0.5 t\n"}, r"qrels, line 1: expected 3 columns .*found 6"),
    ],
)
def test_faults_of_a_trio_are_named(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        trio(tmp_path, **changes)


def test_a_changed_file_is_converted_again(tmp_path: Path) -> None:
    assert trio(tmp_path).judgements.label.tolist() == [1, 0, 2]
    assert trio(tmp_path, qrels=QRELS.replace(" 2\n", " 13\n")).judgements.label.tolist()[-1] == 13
