"""Accuracy@k on real questions and answers: an easy collection, so the figures are no result."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.evaluation.evaluate import Evaluation, evaluate
from rankstone.runners.protocols import Hits
from rankstone.workspace import Workspace
from tests.dpr_rule import has_answer

TASKS = Workspace.find(Path(__file__).parents[2]).tasks
N_CHECKED = 250


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def gold(data_folder: Path, cache: Path) -> Dataset:
    return open_dataset(TASKS["nq/gold-answers"], Sources(data=data_folder, cache=cache))


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", unicodedata.normalize("NFC", text).lower()))


def ranked(data: Dataset, k: int) -> Hits:
    """Passages by the share of the question's words they hold: crude, and no model needed."""
    passages = [words(text) for text in data.corpus.texts(0, len(data.corpus))]
    vocabulary = {word: n for n, word in enumerate(sorted(set().union(*passages)))}
    holds = np.zeros((len(passages), len(vocabulary)), dtype=np.float32)
    for row, found in enumerate(passages):
        holds[row, [vocabulary[word] for word in found]] = 1
    holds *= np.log(len(passages) / holds.sum(axis=0))
    holds /= np.linalg.norm(holds, axis=1, keepdims=True)
    docs = np.empty((len(data.query_ids), k), dtype=np.int64)
    scores = np.empty(docs.shape, dtype=np.float32)
    for row, text in enumerate(data.query_texts):
        known = [vocabulary[word] for word in words(text) if word in vocabulary]
        score = holds[:, known].sum(axis=1)
        docs[row] = np.argsort(-score, kind="stable")[:k]
        scores[row] = score[docs[row]]
    return Hits(docs, scores)


@pytest.fixture(scope="module")
def evaluation(gold: Dataset, cache: Path) -> Evaluation:
    return evaluate(ranked(gold, 100), gold, measures=gold.task.measures, cache=cache)


def test_the_measures_of_the_task(gold: Dataset, evaluation: Evaluation) -> None:
    means = [evaluation.measures[name].mean for name in gold.task.measures]
    assert means == sorted(means)
    assert 0.6 < means[0] < means[-1] < 1


def test_the_measures_are_the_rule_applied_by_hand(gold: Dataset, evaluation: Evaluation) -> None:
    """Every passage of some questions, one by one, by the rule as DPR writes it."""
    assert gold.answers is not None
    rng = np.random.default_rng(0)
    for row in rng.choice(len(gold.query_ids), N_CHECKED, replace=False).tolist():
        passages = gold.corpus.passages(evaluation.ranking.docs[row])
        found = [has_answer(passage, gold.answers[row]) for passage in passages]
        for cutoff in (5, 20, 100):
            assert evaluation.per_query[f"Accuracy@{cutoff}"][row] == any(found[:cutoff])


def test_gold_passages_hold_their_answer(gold: Dataset, data_folder: Path, cache) -> None:
    """The collection's own judgements: a gold passage was chosen because it answers."""
    judged = open_dataset(TASKS["nq/gold"], Sources(data=data_folder, cache=cache))
    assert judged.query_ids == gold.query_ids
    own = Hits(judged.judgements.document[:, None], np.ones((len(gold.query_ids), 1), np.float32))
    first = replace(gold, task=gold.task.model_copy(update={"depth": 1}))
    top = evaluate(own, first, measures=["Accuracy@1"], cache=cache)
    assert top.measures["Accuracy@1"].mean == 1
