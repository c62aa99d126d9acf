"""Judging a run of NQ-DPR's size by answers: 3,610 questions, 100 passages of 100 words each.

Ours is the whole judging: passages are matched, or known from an earlier run. The peer matches the
passages of every tenth question, for its cost is the same for each pair, and its time counts ten
times. It is Pyserini's copy of DPR's matcher, or, where that is not installed, the plain form of
the rule that the tests compare the fast one with. Three passages of four are plain ASCII, as they
are among the gold passages of Natural Questions.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from rankstone.benchmarks.dataset import Dataset, Judgements
from rankstone.evaluation.answer_judgements import judge
from rankstone.specs import TaskSpec
from tests.dpr_rule import has_answer

N_QUESTIONS, DEPTH, N_WORDS, N_PASSAGES, N_VOCABULARY = 3610, 100, 100, 200_000, 60_000
PEER_SHARE = 10
REPEATS = 3
Peer = Callable[[str, Sequence[str]], bool]


class Passages:
    """Made-up passages, in memory."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    def passages(self, positions: np.ndarray) -> list[str]:
        return [self.texts[p] for p in positions.tolist()]


def make_vocabulary(rng: np.random.Generator) -> list[str]:
    """Words by falling frequency: a few with an accent, some with a mark behind them."""
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    lengths = rng.integers(2, 11, N_VOCABULARY)
    words = ["".join(rng.choice(letters[:20], n)) for n in lengths]
    for row in range(200, N_VOCABULARY, 300):
        words[row] += "é"
    for row in range(3, N_VOCABULARY, 9):
        words[row] = f"{words[row].title()}{rng.choice(list(',.;)'))}"
    return words


def make_texts(rng: np.random.Generator) -> list[str]:
    """`N_PASSAGES` passages whose words follow Zipf's law."""
    words = np.array(make_vocabulary(rng), dtype=object)
    weight = np.cumsum(1 / np.arange(10, N_VOCABULARY + 10))
    texts = []
    for _ in range(N_PASSAGES // 1000):
        drawn = np.searchsorted(weight, rng.random((1000, N_WORDS)) * weight[-1])
        texts += [" ".join(row) for row in words[drawn]]
    return texts


def make_dataset(rng: np.random.Generator, texts: list[str], docs: np.ndarray) -> Dataset:
    """Answers are one to three words of a retrieved passage, one or two to a question."""
    answers = []
    for row in docs:
        own = []
        for _ in range(rng.integers(1, 3)):
            words = texts[rng.choice(row)].split()
            start = rng.integers(N_WORDS - 3)
            own.append(" ".join(words[start : start + rng.integers(1, 4)]))
        answers.append(tuple(own))
    empty = np.zeros(0, dtype=np.int64)
    return Dataset(
        task=TaskSpec(name="t/t", description="", loader="m:f", dataset="t/t", judge="answers"),
        corpus=Passages(texts),
        query_ids=[str(row) for row in range(N_QUESTIONS)],
        query_texts=[""] * N_QUESTIONS,
        judgements=Judgements(query=empty, document=empty, label=empty.astype(np.int32)),
        train_queries=[],
        sha256={"corpus": "generated"},
        source="generated",
        self_positions=np.full(N_QUESTIONS, -1),
        n_unknown_documents=0,
        n_unjudged_queries=0,
        answers=answers,
    )


def find_peer() -> tuple[Peer, str]:
    os.environ.setdefault("OPENAI_API_KEY", "any")  # the import wants one, and asks nobody
    try:
        from pyserini.eval.evaluate_dpr_retrieval import SimpleTokenizer, has_answers
    except ImportError:
        return has_answer, "the plain rule of rankstone itself (pyserini is not installed)"
    tokenizer = SimpleTokenizer()
    return lambda text, answers: has_answers(text, answers, tokenizer), "pyserini"


def seconds(action: Callable[[], object]) -> float:
    start = perf_counter()
    action()
    return perf_counter() - start


def peer_hits(peer: Peer, dataset: Dataset, docs: np.ndarray) -> int:
    texts = dataset.corpus.texts
    return sum(
        peer(texts[p], dataset.answers[row])
        for row in range(0, N_QUESTIONS, PEER_SHARE)
        for p in docs[row].tolist()
    )


def lines() -> Iterator[str]:
    rng = np.random.default_rng(0)
    texts = make_texts(rng)
    docs = np.stack([rng.choice(N_PASSAGES, DEPTH, replace=False) for _ in range(N_QUESTIONS)])
    dataset = make_dataset(rng, texts, docs)
    peer, name = find_peer()
    held = judge(docs, dataset)
    if np.count_nonzero(held.query % PEER_SHARE == 0) != peer_hits(peer, dataset, docs):
        raise ValueError("the two sides do not find the same passages")
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        judge(docs, dataset, Path(folder))
        for _ in range(REPEATS):
            first = seconds(lambda: judge(docs, dataset))
            again = seconds(lambda: judge(docs, dataset, Path(folder)))
            other = PEER_SHARE * seconds(lambda: peer_hits(peer, dataset, docs))
            rounds.append((other / first, first / again))
    fresh, known = (statistics.median(ratios) for ratios in zip(*rounds, strict=True))
    goal = 10 if name == "pyserini" else 5
    yield f"speed answers ratio={fresh:.1f} goal=>={goal} peer={name}"
    yield f"speed answers_again ratio={known:.1f} goal=>=10 peer=matching them anew"
