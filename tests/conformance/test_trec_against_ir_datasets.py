"""TREC's files through our readers and through those of ir_datasets and ir_measures.

Where the two differ on purpose, the difference is asserted as such.
"""

from __future__ import annotations

import io
from pathlib import Path

import ir_measures
import pytest

from rankstone.benchmarks.dataset import Document, Query
from rankstone.benchmarks.loaders.trec import read_documents
from rankstone.benchmarks.readers.qrels import read_judgements
from rankstone.benchmarks.readers.topics import read_topics

trec = pytest.importorskip("ir_datasets.formats.trec", reason="ir_datasets is not installed")

# As on disk 4 (FT, FBIS) and on the AP and WSJ disks; tags at the beginning of lines, in capitals,
# because readers that go by lines need that.
DOCUMENTS = """\
<DOC>
<DOCNO>FT911-3</DOCNO>
<PROFILE>_AN-BEOA7AAIFT</PROFILE>
<DATE>910514
</DATE>
<HEADLINE>
FT  14 MAY 91 / International Company News: Contigas plans DM900m project
</HEADLINE>
<BYLINE>
By DAVID GOODHART
</BYLINE>
<TEXT>
CONTIGAS, the German gas group, said yesterday
that it intends to invest DM900m (Dollars 522m).
</TEXT>
<PUB>The Financial Times
</PUB>
</DOC>
<DOC>
<DOCNO> AP880212-0001 </DOCNO>
<FILEID>AP-NR-02-12-88 2344EST</FILEID>
<HEAD>Reports Former Saigon Officials Released</HEAD>
<HEAD>From Re-education Camp</HEAD>
<DATELINE>BANGKOK, Thailand (AP) </DATELINE>
<TEXT>
More than 150 former officers of the overthrown
South Vietnamese government have been released.
</TEXT>
</DOC>
<DOC>
<DOCNO>WSJ870324-0001</DOCNO>
<HL>
John Blair Is Near Accord
</HL>
<LP>
John Blair is close to an agreement.
</LP>
<TEXT>
Industry sources put the value at $100 million.
</TEXT>
</DOC>
"""


class File:
    """What ir_datasets calls a download."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def path(self, force: bool = True) -> str:
        return str(self._path)

    def stream(self) -> io.BytesIO:
        return io.BytesIO(self._path.read_bytes())


def written(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "file"
    path.write_text(content)
    return path


def words(*texts: str) -> str:
    return " ".join(" ".join(texts).split())


def ours(path: Path) -> list[Document]:
    return [document for _, document in read_documents(path, set())]


def test_documents_have_the_same_ids_and_words(tmp_path: Path) -> None:
    # Their reader leaves out what stands on the line of a tag: so give it lines of its own.
    content = DOCUMENTS.replace("<HEAD>", "<HEAD>\n").replace("</HEAD>", "\n</HEAD>")
    path = written(tmp_path, content)
    theirs = list(trec.TrecDocs(File(path), parser="text")._parser_text(File(path).stream()))
    assert [(d.id, words(d.title, d.text)) for d in ours(path)] == [
        (d.doc_id, words(d.text)) for d in theirs
    ]
    assert len(theirs) == 3


def test_titles_and_bodies_are_parted_alike(tmp_path: Path) -> None:
    path = written(tmp_path, DOCUMENTS)
    theirs = list(trec.TrecDocs(File(path), parser="sax")._parser_sax(File(path).stream()))
    disk, associated_press, journal = ours(path)
    # They index the day of publication with the body, which we leave out.
    assert theirs[0][:2] == (disk.id, disk.title)
    assert words(theirs[0].body) == words("910514", disk.text)
    # For them a HEAD is that of a web page, and not shown.
    assert theirs[1][0] == associated_press.id
    assert (theirs[1].title, words(theirs[1].body)) == ("", words(associated_press.text))
    assert associated_press.title.startswith("Reports Former")
    # HL is a title for us and body for them.
    assert words(theirs[2].title, theirs[2].body) == words(journal.title, journal.text)


CLASSIC = """\
<top>
<num> Number: 301 
<title> International Organized Crime 

<desc> Description: 
Identify organizations that participate in
international criminal activity.

<narr> Narrative: 
A relevant document must as a minimum identify
the organization.

</top>

<top>
<num> Number: 302 
<title> Poliomyelitis and Post-Polio </title>

<desc> Description: 
Is the disease of Poliomyelitis under control?

<narr> Narrative: 
Relevant documents should contain data.

</top>
"""  # noqa: W291 - as the original has it


def asked(path: Path, field: str | None = None) -> list[Query]:
    return [query for _, query in read_topics(path, set(), field)]


@pytest.mark.parametrize("field", ["title", "description", "narrative"])
def test_topics_are_the_same(tmp_path: Path, field: str) -> None:
    path = written(tmp_path, CLASSIC)
    theirs = list(trec.TrecQueries(File(path)).queries_iter())
    expected = [Query(q.query_id, words(getattr(q, field))) for q in theirs]
    assert asked(path, field) == expected
    assert [query.id for query in expected] == ["301", "302"]


COVID = """\
<?xml version="1.0" encoding="UTF-8"?>
<topics>
<topic number="1">
<query>coronavirus &amp; origin</query>
<question>what is the origin of COVID-19</question>
<narrative>seeking a range of information
about the origin</narrative>
</topic>
<topic number="2">
<query>weather</query>
<question>how does it respond to weather?</question>
<narrative>x</narrative>
</topic>
</topics>
"""


@pytest.mark.parametrize("field", [None, "question", "narrative"])
def test_xml_topics_are_the_same(tmp_path: Path, field: str | None) -> None:
    path = written(tmp_path, COVID)
    names = {"query": "title", "question": "description", "narrative": "narrative"}
    theirs = list(trec.TrecXmlQueries(File(path), qtype_map=names).queries_iter())
    own = names[field or "query"]
    assert asked(path, field) == [Query(q.query_id, words(getattr(q, own))) for q in theirs]
    assert len(asked(path, field)) == 2


def test_topics_without_fields_are_the_same(tmp_path: Path) -> None:
    content = '<topics><topic number="1">\nA 58-year-old woman.\n</topic></topics>'
    path = written(tmp_path, content)
    from ir_datasets.formats import GenericQuery

    names = {"topic": "text"}
    theirs = trec.TrecXmlQueries(File(path), GenericQuery, names).queries_iter()
    assert asked(path) == [Query(q.query_id, words(q.text)) for q in theirs]


@pytest.mark.parametrize("content", ["q1 0 d1 2\nq1 Q0 d2 0\nq2\t0\td1\t-1\n", "a 0 b 1"])
def test_judgements_are_the_same(tmp_path: Path, content: str) -> None:
    path = written(tmp_path, content)
    found = [tuple(judgement) for judgement in read_judgements(path)]
    theirs = trec.TrecQrels(File(path), {}).qrels_iter()
    assert found == [(q.query_id, q.doc_id, q.relevance) for q in theirs]
    measured = ir_measures.read_trec_qrels(str(path))
    assert found == [(q.query_id, q.doc_id, q.relevance) for q in measured]
