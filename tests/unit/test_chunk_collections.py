"""Collections in chunks of tokens, with and without continuation."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rankstone
from rankstone.benchmarks.dataset import Document, Sources
from rankstone.benchmarks.loaders.chunk_collections import chunks, cut, load
from rankstone.errors import DataError, DefinitionError
from rankstone.specs import TaskSpec
from rankstone.workspace import Workspace
from tests.beir_layout import write_beir
from tests.dpr_rule import has_answer

pytestmark = pytest.mark.usefixtures("forked_cells")

TASKS = Workspace.find(Path(__file__).parents[2]).tasks


def tokens_of(text):
    from rankstone.benchmarks.loaders.chunk_collections import _tokenizer

    return _tokenizer().encode(text, add_special_tokens=False).tokens


@settings(deadline=None)  # the first call loads the tokeniser
@given(st.lists(st.text(max_size=120), max_size=4), st.integers(1, 9))
def test_pieces_put_together_are_the_text(texts, tokens):
    assert ["".join(pieces) for pieces in cut(texts, tokens)] == texts
    assert all(all(pieces) for text, pieces in zip(texts, cut(texts, tokens), strict=True) if text)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["trade", "route", "1901", "physics,", "Nobel"]), max_size=60))
def test_pieces_hold_the_tokens_of_their_text_in_order(words):
    text = " ".join(words)
    whole = tokens_of(text)
    (pieces,) = cut([text], 7)
    assert len(pieces) == max(1, -(-len(whole) // 7))
    start = 0
    for number, piece in enumerate(pieces):
        own = "".join(whole[7 * number : 7 * number + 7]).replace("▁", " ")
        assert own.strip() == piece.strip()
        start += len(piece)
    assert start == len(text)


def test_a_continuation_is_the_next_chunk_of_the_same_document():
    texts = ["one two three four five", "six", ""]
    documents = [Document(f"d{n}", "its title", text) for n, text in enumerate(texts)]
    alone = list(chunks(documents, tokens=2, continuation=False))
    both = list(chunks(documents, tokens=2, continuation=True))
    assert [d.id for d in alone] == [d.id for d in both] == ["d0#0", "d0#1", "d0#2", "d1#0", "d2#0"]
    assert [d.title for d in alone] == [d.text for d in alone] == [d.title for d in both]
    assert [d.text for d in alone[:3]] == ["one two", " three four", " five"]
    assert [d.text for d in both] == ["one two three four", " three four five", " five", "six", ""]


def task(**changes):
    return TASKS["nq/gold-chunks"].model_copy(update=changes)


def test_contradictory_settings_are_refused(tmp_path):
    sources = Sources(data=tmp_path, cache=tmp_path / "cache")
    with pytest.raises(DefinitionError, match=r"key 'text'.*Write '\{title\}'"):
        load(task(text="{title} {text}"), sources, of="nq/gold")
    with pytest.raises(DefinitionError, match=r"source\.tokens"):
        load(task(), sources, of="nq/gold", tokens=0)
    with pytest.raises(DataError, match="no collection 'nq/gold'"):
        load(task(), sources, of="nq/gold")


def write(folder: Path) -> dict[str, list[str]]:
    """Write a collection with answers in different chunks; return query -> answers."""
    filler = " ".join(["the market by the harbour"] * 12)
    texts = {
        "near": f"the glacier was named Kebnekaise {filler}",
        "next": f"the violin {filler} was built by Guarneri",
        "far": f"the engine {filler} {filler} {filler} {filler} was made by Diesel",
    }
    asked = {"glacier": ["Kebnekaise"], "violin": ["Guarneri"], "engine": ["Diesel", "Otto"]}
    queries = {name: {"text": name, "metadata": {"answers": own}} for name, own in asked.items()}
    write_beir(folder, texts, queries, test=[("glacier", "near")])
    return asked


@pytest.mark.parametrize(("continuation", "hits"), [(False, 1), (True, 2)])
def test_answers_are_looked_for_in_what_is_returned(tmp_path, continuation, hits):
    """The best chunk contains the query's word, the next one the violin's answer."""
    asked = write(tmp_path / "data" / "own" / "gold")
    spec: TaskSpec = task(
        name="own/chunks",
        dataset="own/chunks",
        source={"of": "own/gold", "continuation": continuation, "tokens": 64},
        counts=type(task().counts)(),
        measures=("Accuracy@1",),
        headline="Accuracy@1",
    )
    (record,) = rankstone.run(
        "lexical/bm25", [spec], data=tmp_path / "data", cache=tmp_path / "cache",
        results=tmp_path / "results",
    )  # fmt: skip
    assert record.error is None
    assert record["measures"]["Accuracy@1"]["mean"] == pytest.approx(hits / 3)
    sources = Sources(data=tmp_path / "data", cache=tmp_path / "cache")
    documents = list(load(spec, sources, **spec.source).documents())
    first = {name: next(d.text for d in documents if name in d.title) for name in asked}
    assert sum(has_answer(first[name], asked[name]) for name in asked) == hits


def test_both_tasks_of_the_real_collection_have_the_same_chunks(data_folder, tmp_path):
    sources = Sources(data=data_folder, cache=tmp_path)
    alone, both = (
        list(load(TASKS[name], sources, **TASKS[name].source).documents())
        for name in ("nq/gold-chunks", "nq/gold-chunks-continued")
    )
    assert [d[:2] for d in alone] == [d[:2] for d in both]
    assert len(alone) == 6303
    assert max(len(tokens_of(d.title)) for d in alone) <= 70  # a cut word is other tokens
