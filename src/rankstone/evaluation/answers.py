"""DPR's rule for passages that hold an answer, the basis of top-k accuracy on open questions.

Text and answers are put into NFD, split into tokens (runs of letters, numbers and marks, and every
other visible character by itself), and lower-cased token by token; an answer is in a passage where
its tokens stand in a row among the passage's (Karpukhin et al. 2020; `has_answer` and
`SimpleTokenizer` of facebookresearch/DPR, from DrQA). An accent is thus a mark of its token:
"Beyonce" is not in "Beyoncé". An answer without any token is in every passage.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from rankstone.arrays import Flags, Ints

MATCHER = "DPR 1"
"""Version of the matcher, changed whenever a pair could be matched differently."""

BLOCK = 8192
"""Passages read at once: about 5 MB of text."""

ASCII_TOKEN = re.compile(r"[0-9A-Za-z]+|[!-/:-@\[-`{-~]")
"""Pattern of a token in ASCII, which matches twice as fast."""

Passages = Callable[[Ints], list[str]]
"""Passage texts at corpus positions, without titles: `Corpus.passages`."""


@cache
def _token() -> Any:
    import regex

    # Whatever ignores case here matches the same characters: both classes are closed under it.
    return regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")


def tokens(text: str) -> list[str]:
    """Return the tokens of a passage or an answer."""
    found = _token().findall(unicodedata.normalize("NFD", text))
    return [token.lower() for token in found]


class _Answer(NamedTuple):
    """An answer prepared for the search."""

    needle: str
    """Its longest token in the form of `_letters`, which every passage with the answer has."""
    line: str


def match(
    answers: Sequence[Sequence[str]],
    query: Ints,
    document: Ints,
    passages: Passages,
) -> Flags:
    """Return (n_pairs,) flags: the passage at `document[i]` holds an answer of question `query[i]`.

    Passages are read in the order of their positions, each once (twice where a block ends in its
    pairs), and split into tokens only where a part of an answer is in them.
    """
    ready = {row: [_prepared(answer) for answer in answers[row]] for row in set(query.tolist())}
    order = np.argsort(document, kind="stable")
    found = np.zeros(len(query), dtype=np.bool_)
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        distinct, which = np.unique(document[block], return_inverse=True)
        texts, asked = passages(distinct), [ready[row] for row in query[block].tolist()]
        found[block] = list(_held(texts, which.tolist(), asked))
    return found


def _held(texts: list[str], which: Iterable[int], asked: Iterable[list[_Answer]]) -> Iterator[bool]:
    """Flag the pairs whose text holds one of the answers; pairs of a text are adjacent."""
    current, letters, line = -1, "", ""
    for number, answers in zip(which, asked, strict=True):
        if number != current:
            current, letters, line = number, _letters(texts[number]), ""
        for needle, sought in answers:
            if needle in letters:
                line = line or _line(texts[number])
                if sought in line:
                    yield True
                    break
        else:
            yield False


def _prepared(answer: str) -> _Answer:
    longest = max(tokens(answer), key=len, default="")
    return _Answer(_one_sigma(longest), _line(answer))


def _line(text: str) -> str:
    """Return the tokens with a line feed before, between and behind them.

    No token can hold a line feed, so one line is part of another exactly where the tokens stand in
    a row there. Lower-casing the whole is lower-casing each token: the one letter whose small form
    depends on its neighbours, the sigma, does not look past a line feed.
    """
    if text.isascii():
        found = ASCII_TOKEN.findall(text)
    else:
        found = _token().findall(unicodedata.normalize("NFD", text))
    return "\n".join(["", *found, ""]).lower()


def _letters(text: str) -> str:
    """`text` in NFD and lower case: every token stands in it as it is, but for its sigmas."""
    return _one_sigma(unicodedata.normalize("NFD", text).lower())


def _one_sigma(text: str) -> str:
    """Unify small sigmas: the form depends on the next letter, which a token may not include."""
    return text.replace("ς", "σ")
