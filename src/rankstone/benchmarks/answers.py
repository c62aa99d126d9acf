"""DPR's rule for passages that contain an answer, used for top-k accuracy on open questions.

Text and answers are normalised to NFD, split into tokens (runs of letters, numbers and marks, and
every other visible character by itself), and lower-cased token by token. A passage contains an
answer if the answer's tokens occur consecutively among its tokens (Karpukhin et al. 2020;
`has_answer` and `SimpleTokenizer` of facebookresearch/DPR, from DrQA). Accents are thus part of
their tokens: "Beyonce" is not in "Beyoncé". An answer without tokens is in every passage.
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
"""Version of the matcher; increased when the result for any pair may change."""

BLOCK = 8192
"""Number of passages read at once: about 5 MB of text."""

ASCII_TOKEN = re.compile(r"[0-9A-Za-z]+|[!-/:-@\[-`{-~]")
"""Pattern of a token in ASCII text, which matches twice as fast."""

Passages = Callable[[Ints], list[str]]
"""Returns the texts at corpus positions, without titles: `Corpus.passages`."""


@cache
def _token() -> Any:
    import regex

    # Ignoring case changes no match: both classes are closed under case folding.
    return regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")


def tokens(text: str) -> list[str]:
    """Return the tokens of a passage or an answer."""
    found = _token().findall(unicodedata.normalize("NFD", text))
    return [token.lower() for token in found]


class _Answer(NamedTuple):
    """An answer prepared for matching."""

    needle: str
    """Its longest token in the form of `_letters`; every passage with the answer contains it."""
    line: str


def match(
    answers: Sequence[Sequence[str]],
    query: Ints,
    document: Ints,
    passages: Passages,
) -> Flags:
    """Return (n_pairs,) flags: True if passage `document[i]` contains an answer to `query[i]`.

    Passages are read in the order of their positions, each once (or twice if a block boundary
    separates its pairs), and are split into tokens only if they contain a part of an answer.
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
    """Yield a flag per pair: its text contains an answer. Pairs are grouped by text."""
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
    """Return the tokens with a line feed before, between and after them.

    Tokens contain no line feeds, so one line is a substring of another exactly if its tokens occur
    there consecutively. Lower-casing the line lower-cases each token separately: sigma, the only
    letter whose lower case depends on its neighbours, is not affected by characters beyond a line
    feed.
    """
    if text.isascii():
        found = ASCII_TOKEN.findall(text)
    else:
        found = _token().findall(unicodedata.normalize("NFD", text))
    return "\n".join(["", *found, ""]).lower()


def _letters(text: str) -> str:
    """Return `text` in NFD and lower case; it contains every token unchanged, except for sigmas."""
    return _one_sigma(unicodedata.normalize("NFD", text).lower())


def _one_sigma(text: str) -> str:
    """Unify small sigmas: their form depends on the next letter, which may be outside the token."""
    return text.replace("ς", "σ")
