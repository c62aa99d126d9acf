"""Generated passages: reproducible by seed, and completely judged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rankstone.benchmarks.dataset import RawDataset, Sources
from rankstone.benchmarks.loaders.generated import load
from rankstone.errors import DefinitionError
from rankstone.specs import TaskSpec

TASK = TaskSpec(name="g/p", description="", loader="generated", dataset="p")


def made(passages: int = 4000, queries: int = 50, seed: int = 0) -> RawDataset:
    sources = Sources(data=None, cache=Path("/nowhere"))
    return load(TASK, sources, passages=passages, queries=queries, seed=seed)


def test_equal_seeds_give_equal_data() -> None:
    texts = [document.text for document in made().documents()]
    assert len(set(texts)) == 4000
    assert texts == [document.text for document in made().documents()]
    assert texts != [document.text for document in made(seed=1).documents()]
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    assert digest.startswith("4b6ad2a82360fec5")


def test_every_passage_that_answers_a_query_is_judged() -> None:
    raw = made()
    texts = {document.id: document.text.split() for document in raw.documents()}
    judged = {(one.query, one.document) for one in raw.judgements("test")}
    for query in raw.queries():
        who, _, deed, _, whom, _, _, place = query.text.split()
        answers = {
            (query.id, number)
            for number, words in texts.items()
            if (words[2], words[3], words[6], words[9]) == (who, deed, whom, f"{place}.")
        }
        assert answers
        assert answers == {pair for pair in judged if pair[0] == query.id}


def test_longer_passages_hold_the_sentences_in_order() -> None:
    sources = Sources(data=None, cache=Path("/nowhere"))
    short = [document.text for document in made(passages=200).documents()]
    raw = load(TASK, sources, passages=40, queries=20, sentences=5)
    texts = [document.text for document in raw.documents()]
    assert texts == [" ".join(short[n : n + 5]) for n in range(0, 200, 5)]
    asked = {query.id: query.text.split() for query in raw.queries()}
    pairs = [(one.query, one.document) for one in raw.judgements("test")]
    assert len(pairs) == len(set(pairs)) >= 20
    for query, document in pairs:
        who, _, deed, _, whom, _, _, place = asked[query]
        own = (one.split() for one in texts[int(document)].split(". "))
        facts = [(words[2], words[3], words[6], words[9].rstrip(".")) for words in own]
        assert (who, deed, whom, place) in facts
    assert raw.fingerprint != made(passages=40, queries=20).fingerprint
    with pytest.raises(DefinitionError, match="0 sentences"):
        load(TASK, sources, passages=40, queries=20, sentences=0)


def test_more_queries_than_passages_are_refused() -> None:
    with pytest.raises(DefinitionError, match="50 queries for 9 passages"):
        made(passages=9)
