"""The fast matcher is the rule, and the rule is what Unicode's categories say it is."""

from __future__ import annotations

import unicodedata

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.benchmarks.answers import match
from tests.dpr_rule import has_answer

ODD = "aAbßẞİıΣσςSſÅé\u0301\u0308ﬁ0٣½²$'-–.,_ \u00a0\n\0\u00ad\u200d東京한हि्😀ⓐⒶⅣ"
# What Python's tables do not know, regex's newer ones may: the oracle could not judge it.
CHARS = st.sampled_from(ODD) | st.characters(exclude_categories=("Cn", "Cs"))
TEXT = st.text(CHARS, max_size=24)


def oracle_tokens(text: str) -> list[str]:
    """Character by character, with no regular expression."""
    found: list[str] = []
    in_run = False
    for char in unicodedata.normalize("NFD", text):
        kind = unicodedata.category(char)[0]
        if kind in "LNM":
            found[-1:] = [found[-1] + char] if in_run else [*found[-1:], char]
        elif kind not in "ZC":
            found.append(char)
        in_run = kind in "LNM"
    return [token.lower() for token in found]


def oracle(passage: str, answers: list[str]) -> bool:
    """Whether an answer's tokens are among the passage's n-grams."""
    words = oracle_tokens(passage)
    spans = {tuple(words[i:j]) for i in range(len(words) + 1) for j in range(i, len(words) + 1)}
    return any(tuple(oracle_tokens(answer)) in spans for answer in answers)


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """Passages, and answers of which many are cut out of one, in another case or form."""
    passages = draw(st.lists(TEXT, min_size=1, max_size=4))
    forms = st.sampled_from([str, str.upper, str.lower, str.title, str.strip])
    normal = st.sampled_from(["NFC", "NFD"])

    def cut() -> str:
        text = draw(st.sampled_from(passages))
        start, stop = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        return unicodedata.normalize(draw(normal), draw(forms)(text[start:stop]))

    answers = [
        [cut() if draw(st.booleans()) else draw(TEXT) for _ in range(draw(st.integers(0, 3)))]
        for _ in range(draw(st.integers(1, 3)))
    ]
    return passages, answers


@settings(deadline=None, max_examples=300)
@given(questions())
def test_fast_rule_and_oracle_agree(made: tuple[list[str], list[list[str]]]) -> None:
    passages, answers = made
    query, document = (
        grid.ravel() for grid in np.meshgrid(np.arange(len(answers)), np.arange(len(passages)))
    )
    found = match(answers, query, document, lambda p: [passages[n] for n in p])
    pairs = list(zip(query.tolist(), document.tolist(), strict=True))
    assert found.tolist() == [has_answer(passages[d], answers[q]) for q, d in pairs]
    assert found.tolist() == [oracle(passages[d], answers[q]) for q, d in pairs]


@settings(deadline=None)
@given(TEXT, TEXT, TEXT)
def test_a_passage_holds_its_parts(before: str, answer: str, after: str) -> None:
    assert has_answer(f"{before} {answer} {after}", [answer])
    assert has_answer(f"{before}\n{unicodedata.normalize('NFC', answer)}\0{after}", [answer])
