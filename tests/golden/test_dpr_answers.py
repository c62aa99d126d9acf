"""The answer matcher against Pyserini's copy of DPR's: recorded facts, and live where it is."""

from __future__ import annotations

import json
import sys
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rankstone.benchmarks.answers import match, tokens
from tests.dpr_rule import has_answer

GOLDEN = json.loads(Path(__file__).with_name("dpr_answers.json").read_text(encoding="ascii"))
CASES = [(passage, answers, expected) for passage, answers, expected in GOLDEN["cases"]]


def test_the_recorded_cases_are_of_both_kinds() -> None:
    found = sum(expected for _, _, expected in CASES)
    assert (len(CASES), found) == (600, 246)


def test_the_rule_gives_what_pyserini_gave() -> None:
    wrong = [case for case in CASES if has_answer(case[0], case[1]) != case[2]]
    assert wrong == []


def test_the_fast_matcher_gives_what_pyserini_gave() -> None:
    passages, answers, expected = zip(*CASES, strict=True)
    rows = np.arange(len(CASES))
    found = match(answers, rows, rows, lambda positions: [passages[p] for p in positions])
    assert found.tolist() == list(expected)


@pytest.fixture
def pyserini(monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[..., bool], Callable[..., object]]:
    """`has_answers` and a tokeniser; the test is skipped where pyserini is not installed."""
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pyserini.eval.evaluate_dpr_retrieval import SimpleTokenizer, has_answers
    except ImportError as error:
        pytest.skip(f"needs the extra 'lucene': {error}")
    return has_answers, SimpleTokenizer()


def test_pyserini_still_gives_what_was_recorded(pyserini) -> None:
    has_answers, tokenizer = pyserini
    wrong = [case for case in CASES if has_answers(case[0], case[1], tokenizer) != case[2]]
    assert wrong == []


@pytest.mark.parametrize(
    ("first", "stop"),
    [(0, 0x40000), (0xE0000, 0xF0000),
     pytest.param(0, sys.maxunicode + 1, marks=pytest.mark.slow)],
    ids=["planes 0 to 3", "plane 14", "all, most of them unassigned"],
)  # fmt: skip
def test_every_character_is_the_same_token_in_pyserini(pyserini, first: int, stop: int) -> None:
    _, tokenizer = pyserini
    for start in range(first, stop, 256):
        text = " ".join(f"a{chr(code)}a" for code in range(start, start + 256))
        theirs = tokenizer.tokenize(unicodedata.normalize("NFD", text))
        assert tokens(text) == theirs.words(uncased=True), f"from {start:#x} on"
