"""Whatever documents are written in TREC's markup come back, wherever the blocks are cut."""

from __future__ import annotations

import html
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.benchmarks.dataset import Document, Query
from rankstone.benchmarks.loaders.trec import read_documents
from rankstone.benchmarks.readers import sgml
from rankstone.benchmarks.readers.topics import read_topics

# NUL has no entity in HTML and lone surrogates no bytes; both are tested apart.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")
TEXTS = st.text(CHARACTERS, max_size=40).map(str.strip)
IDS = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=8)
DOCUMENTS = st.lists(
    st.builds(Document, IDS, TEXTS.map(lambda text: " ".join(text.split())), TEXTS), max_size=5
)
QUERIES = st.lists(
    st.builds(Query, IDS, TEXTS.map(lambda text: " ".join(text.split())).filter(bool), st.just(())),
    max_size=5,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trec") / "file"


@settings(deadline=None, max_examples=60)
@given(documents=DOCUMENTS, block=st.integers(1, 80), gap=st.sampled_from(["", "\n", " \n\n "]))
def test_documents_come_back(path: Path, documents: list[Document], block: int, gap: str) -> None:
    pieces = [
        f"<DOC>{gap}<DOCNO> {html.escape(d.id)} </DOCNO>{gap}<TITLE>{html.escape(d.title)}</TITLE>"
        f"{gap}<TEXT>\n{html.escape(d.text)}\n</TEXT>{gap}</DOC>"
        for d in documents
    ]
    path.write_bytes(gap.join(pieces).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sgml, "BLOCK_BYTES", block)
        found = list(read_documents(path, set())) if documents else []
    assert [document for _, document in found] == documents
    starts = [gap.join(pieces[:n]).count("\n") + (gap.count("\n") if n else 0) for n in range(5)]
    assert [line - 1 for line, _ in found] == starts[: len(found)]


@settings(deadline=None, max_examples=60)
@given(queries=QUERIES, closed=st.booleans(), labelled=st.booleans())
def test_topics_come_back(path: Path, queries: list[Query], closed: bool, labelled: bool) -> None:
    number, end = ("Number:" if labelled else ""), ("</title>" if closed else "")
    pieces = [
        f"<top>\n<num> {number} {html.escape(q.id)}\n<title> {html.escape(q.text)} {end}\n"
        "<desc> Description:\nx\n</top>\n"
        for q in queries
    ]
    path.write_bytes("".join(pieces).encode())
    found = list(read_topics(path, set(), None)) if queries else []
    assert [query for _, query in found] == queries
    assert [line for line, _ in found] == [
        "".join(pieces[:n]).count("\n") + 1 for n in range(len(queries))
    ]
