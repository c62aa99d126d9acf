"""Statistics of collections, against pandas and manual counts."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankstone.benchmarks import dataset as dataset_module
from rankstone.benchmarks.dataset import Dataset, Sources, walk
from rankstone.benchmarks.stats import Distribution, distribution, statistics
from rankstone.benchmarks.store import open_dataset
from rankstone.cli.data_view import WIDTH, bar
from rankstone.cli.data_view import figures as show
from rankstone.leaderboards.formats.render import render
from rankstone.specs import TaskSpec
from rankstone.workspace import Workspace
from tests.beir_layout import write_beir

TASKS = Workspace.find(Path(__file__).parents[2]).tasks


def check(found: Distribution, values: pd.Series) -> None:
    """Check that `found` agrees with pandas on `values`."""
    expected = values.describe(percentiles=[0.5, 0.95])
    names = {"count": "count", "min": "min", "max": "max", "mean": "mean"}
    for ours, theirs in {**names, "median": "50%", "p95": "95%"}.items():
        assert getattr(found, ours) == pytest.approx(expected[theirs]), ours
    edges = [0, *(2**n for n in range(64 - 1))]
    bars = pd.cut(values, edges, right=False, labels=False).value_counts()
    assert {edges.index(b.low): b.count for b in found.histogram if b.count} == bars.to_dict()


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=60))
def test_a_distribution_is_that_of_pandas(values: list[int]) -> None:
    check(distribution(Counter(values)), pd.Series(values))


@pytest.mark.parametrize("values", [[], [-1, 3]])
def test_a_distribution_needs_values_from_zero(values: list[int]) -> None:
    with pytest.raises(ValueError, match="at least one value"):
        distribution(Counter(values))


def collection(tmp_path: Path) -> Dataset:
    texts = {"d1": "one two", "d2": "", "d3": "one two", "q2": " \t", "d5": "ünï  côde\n3"}
    queries = {"q1": "same", "q2": "same", "q3": "three word query", "q4": "unjudged"}
    judged = [("q1", "d1", 2), ("q1", "d2", 0), ("q2", "d3", 0), ("q3", "gone", 1), ("q3", "d1", 2)]
    write_beir(tmp_path / "data/own/odd", texts, queries, test=judged)
    task = TaskSpec(
        name="own/odd",
        dataset="own/odd",
        description="",
        loader="beir",
        relevance=2,
    )
    return open_dataset(task, Sources(data=tmp_path / "data", cache=tmp_path / "cache"))


def test_irregularities_are_counted(tmp_path: Path) -> None:
    found = statistics(collection(tmp_path))
    assert found.labels == ((0, 2), (1, 1), (2, 2))
    counts = {key: value for key, value in found.as_json().items() if key.startswith("n_")}
    assert counts == {
        "n_duplicate_documents": 2,  # d3 of d1, and the two empty ones
        "n_duplicate_queries": 1,
        "n_empty_documents": 2,
        "n_self_hit_candidates": 1,
        "n_queries_without_relevant": 1,
        "n_unknown_documents": 1,
        "n_unjudged_queries": 1,
    }
    check(found.documents.words, pd.Series([2, 0, 2, 0, 3]))
    check(found.documents.characters, pd.Series([7, 0, 7, 0, 11]))
    check(found.judgements_per_query, pd.Series([2, 1, 2]))


def test_statistics_are_json_and_have_only_plain_numbers(tmp_path: Path) -> None:
    found = statistics(collection(tmp_path)).as_json()
    again = json.loads(json.dumps(found))
    assert again["documents"]["words"]["max"] == 3
    assert again["labels"] == [[0, 2], [1, 1], [2, 2]]
    assert again["documents"]["characters"]["histogram"][0] == {"low": 0, "high": 0, "count": 2}


@pytest.mark.parametrize("name", ["beir/nfcorpus", "loco/qmsum-meetings", "classic/cranfield"])
def test_statistics_of_real_collections_are_those_of_pandas(
    name: str, data_folder: Path, tmp_path: Path
) -> None:
    data = open_dataset(TASKS[name], Sources(data=data_folder, cache=tmp_path))
    found = statistics(data)
    documents = pd.Series(data.corpus.texts(0, len(data.corpus)), dtype=object)
    queries = pd.Series(data.query_texts, dtype=object)
    for lengths, texts in ((found.documents, documents), (found.queries, queries)):
        check(lengths.characters, texts.str.len())
        check(lengths.words, texts.str.split().str.len())
    assert found.n_duplicate_documents == documents.duplicated().sum()
    assert found.n_duplicate_queries == queries.duplicated().sum()
    assert found.n_empty_documents == (documents == "").sum()
    judged = pd.DataFrame({"q": data.judgements.query, "label": data.judgements.label})
    assert dict(found.labels) == judged["label"].value_counts().to_dict()
    check(found.judgements_per_query, judged.groupby("q").size())
    best = judged.groupby("q")["label"].max()
    assert found.n_queries_without_relevant == (best < data.task.relevance).sum()


class Growing:
    """Corpus with increasingly long documents, which counts the text held at once."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = lengths
        self.largest = 0
        self.most = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def ids(self, positions: np.ndarray) -> list[str]:
        return [str(n) for n in positions]

    def texts(self, start: int, stop: int) -> list[str]:
        block = ["x" * n for n in self.lengths[start:stop]]
        self.largest = max(self.largest, sum(map(len, block)))
        self.most = max(self.most, len(block))
        return block

    def take(self, positions: np.ndarray) -> list[str]:
        return ["x" * self.lengths[n] for n in positions]


@given(
    st.lists(st.integers(0, 5000), max_size=200),
    st.integers(1, 8),
)
def test_a_walk_gives_every_text_once_in_order(lengths: list[int], repeat: int) -> None:
    corpus = Growing(lengths * repeat)
    texts = [text for block in walk(corpus) for text in block]
    assert [len(text) for text in texts] == lengths * repeat
    assert corpus.most <= dataset_module.BLOCK


def test_a_walk_through_long_documents_reads_few_at_once() -> None:
    short = Growing([100] * 20_000)
    for _ in walk(short):
        pass
    assert short.most == dataset_module.BLOCK
    long = Growing([1_000_000] * 200)
    tracemalloc.start()
    try:
        for _ in walk(long):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert long.largest <= 16_000_000  # the first block: nothing is known yet
    assert peak < 60_000_000


def test_the_view_shows_every_figure(tmp_path: Path) -> None:
    found = statistics(collection(tmp_path))
    out = render(show(found), width=100)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0].startswith("own/odd (")
    assert "documents, characters 5 0 7.0 5.0 10.2 11" in lines
    assert "documents with an earlier one's text 2" in lines
    assert f"4–7 2 {'█' * WIDTH}" in lines
    assert f"8–15 1 {'█' * (WIDTH // 2)}" in lines
    assert "1–1" not in out


@given(st.integers(1, 10**12), st.data())
def test_bars_grow_with_what_they_show(largest: int, data: st.DataObject) -> None:
    small, large = sorted(data.draw(st.lists(st.integers(0, largest), min_size=2, max_size=2)))
    assert len(bar(small, largest)) <= len(bar(large, largest)) <= WIDTH
    assert bool(bar(small, largest)) == bool(small)
    assert bar(largest, largest) == "█" * WIDTH
