"""Listwise re-ranking by a language model: windows, prompts, and repair of answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from dataclasses import field as plain_field
from functools import cached_property
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.protocols import STRICT, Json, Truncation

IDENTIFIER = re.compile(r"\[\s*(\d{1,9})\s*\]", re.ASCII)
NUMBERS_ALONE = re.compile(r"[\d\s>,;]+", re.ASCII)
THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
NOTHING, INCOMPLETE = "without a ranking (order kept)", "incomplete (the rest keeps its order)"
REPEATED, UNKNOWN = "with repeats (dropped)", "with unknown identifiers (dropped)"


class Ranked(NamedTuple):
    """Order of n passages in an answer."""

    order: list[int]
    """All positions from 0 to n - 1, best first."""
    faults: tuple[str, ...]


def ranked(answer: str, n: int) -> Ranked:
    """Parse `[2] > [1] > ...` and repair it: repeats and unknown identifiers are dropped, and
    missing passages follow in their former order."""
    text = THOUGHT.sub("", answer)
    found = IDENTIFIER.findall(text)
    if not found and NUMBERS_ALONE.fullmatch(text):
        found = re.findall(r"\d{1,9}", text, re.ASCII)
    named = [int(one) - 1 for one in found]
    known = [position for position in named if 0 <= position < n]
    order = list(dict.fromkeys(known))
    if not order:
        return Ranked(list(range(n)), (NOTHING,))
    missing = sorted({*range(n)} - {*order})
    true = {
        INCOMPLETE: bool(missing),
        REPEATED: len(order) < len(known),
        UNKNOWN: len(known) < len(named),
    }
    return Ranked(order + missing, tuple(fault for fault, is_so in true.items() if is_so))


def slid(n: int, window: int, step: int, ask: Callable[[list[int]], list[int]]) -> list[int]:
    """Return positions 0 to n - 1, re-ordered in windows that slide from the end to the start.

    Args:
        ask: returns the positions of one window in their new order.
    """
    order = list(range(n))
    start, end = max(n - window, 0), n
    while True:
        order[start:end] = ask(order[start:end])
        if start == 0:
            return order
        start, end = max(start - step, 0), end - step


@plain_dataclass
class Tally:
    """Counts of a language model's answers, for the record."""

    answers: int = 0
    malformed: int = 0
    shortened: int = 0
    """Number of prompts whose passages were shortened below their limit of words."""
    faults: Counter[str] = plain_field(default_factory=Counter)

    def count(self, faults: Sequence[str]) -> None:
        self.answers += 1
        self.malformed += bool(faults)
        self.faults.update(faults)

    def notes(self) -> list[str]:
        found = []
        if self.malformed:
            kinds = ", ".join(f"{n:,} {fault}" for fault, n in sorted(self.faults.items()))
            found.append(
                f"{self.malformed:,} of {self.answers:,} answers of the language model, those to"
                f" timed queries included, were malformed and repaired: {kinds}."
            )
        if self.shortened:
            found.append(
                f"The passages of {self.shortened:,} of {self.answers:,} prompts were shortened"
                " further, to fit into the context (scorer.parameters.context)."
            )
        return found


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Prompt:
    """Texts of a prompt around the passages; `{num}` is the number of passages."""

    system: str
    prefix: str
    passage: str
    suffix: str

    def user(self, query: str, passages: Sequence[str]) -> str:
        names = {"query": query, "num": len(passages)}
        listed = (
            self.passage.format(rank=rank, passage=text) for rank, text in enumerate(passages, 1)
        )
        return self.prefix.format(**names) + "".join(listed) + self.suffix.format(**names)


PREFIX = (
    "I will provide you with {num} passages, each indicated by a numerical identifier []. Rank the"
    " passages based on their relevance to the search query: {query}.\n\n"
)
SUFFIX = (
    "Search Query: {query}.\nRank the {num} passages above based on their relevance to the search"
    " query. All the passages should be included and listed using identifiers, in descending order"
    " of relevance. The output format should be [] > [], e.g., "
)
ONLY = "nly respond with the ranking results, do not say any word or explain."
PROMPTS = {
    "rankzephyr": Prompt(
        system="You are RankLLM, an intelligent assistant that can rank passages based on their"
        " relevancy to the query",
        prefix=PREFIX,
        passage="[{rank}] {passage}\n",
        suffix=f"{SUFFIX}[2] > [1], Answer concisely and directly and o{ONLY}",
    ),
    "rankvicuna": Prompt(
        system="A chat between a curious user and an artificial intelligence assistant. The"
        " assistant gives helpful, detailed, and polite answers to the user's questions.",
        prefix=PREFIX,
        passage="[{rank}] {passage}\n",
        suffix=f"{SUFFIX}[4] > [2], O{ONLY}",
    ),
}
"""Prompts of the package rank-llm, by the model that was trained on them."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Listwise:
    """Base of listwise re-rankers: a language model orders a window of candidates.

    Windows slide from the last candidates to the first, so that the best `window` - `step` of all
    reach the top if every answer is right. A candidate's score is the number of candidates at its
    rank and below: only the order is meaningful, and only among candidates scored together.

    An answer with repeated, unknown or missing passages is repaired and counted (`ranked`).
    Sun et al.: Is ChatGPT Good at Search?, EMNLP 2023, arXiv:2304.09542.
    """

    listwise: ClassVar[bool] = True

    window: Annotated[int, Field(ge=2)] = 20
    """Candidates in one prompt."""
    step: Annotated[int, Field(ge=1)] = 10
    """Candidates by which the window moves."""
    passage_words: Annotated[int, Field(ge=1)] = 300
    """Words of a passage in a full window; with fewer passages, each may have proportionally
    more."""
    prompt: str = "rankzephyr"
    """Name of the prompt: rankzephyr, rankvicuna."""

    def listed(self) -> dict[str, Json]:
        """Return the entries shared by the descriptions of all listwise re-rankers."""
        return {
            "scorer": "listwise language model",
            "window": self.window,
            "step": self.step,
            "passage_words": self.passage_words,
            "prompt": asdict(self.texts),
        }

    @property
    def texts(self) -> Prompt:
        return PROMPTS[self.prompt]

    def check(self) -> None:
        """Raise DefinitionError for inconsistent parameters."""
        if self.step > self.window:
            raise DefinitionError(
                f"key 'scorer.parameters.step': {self.step}, but a window has {self.window}"
                " candidates, and some would be in none. Lower it."
            )
        if self.prompt not in PROMPTS:
            raise DefinitionError(
                f"key 'scorer.parameters.prompt': no prompt '{self.prompt}'. Name one of"
                f" {', '.join(PROMPTS)}."
            )

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        n = len(documents)
        if n < 2:
            self.prepare()
            return np.ones(n, dtype=np.float32)

        def asked(rows: list[int]) -> list[int]:
            order = self._ranked(query, [documents[row] for row in rows])
            return [rows[position] for position in order]

        scores = np.empty(n, dtype=np.float32)
        scores[slid(n, self.window, self.step, asked)] = np.arange(n, 0, -1)
        return scores

    def truncation(self, query: str, documents: Sequence[str]) -> Truncation | None:
        """Count words of passages, to which the limit applies; queries are not truncated."""
        counts = np.array([len(text.split()) for text in documents], dtype=np.int64)
        return Truncation.of(counts, self.words(min(len(documents), self.window)))

    def words(self, n: int) -> int:
        """Return the limit of words per passage in a window of `n` passages."""
        return self.passage_words * self.window // max(n, 1)

    def notes(self) -> list[str]:
        """Return notes about malformed answers, for the record."""
        return self.tally.notes()

    def prepare(self) -> None:
        """Load whatever `answer` needs."""
        raise NotImplementedError

    def answer(self, query: str, passages: Sequence[str]) -> str:
        """Return the language model's answer."""
        raise NotImplementedError

    @cached_property
    def tally(self) -> Tally:
        return Tally()

    def _ranked(self, query: str, passages: Sequence[str]) -> list[int]:
        order, faults = ranked(self.answer(query, passages), len(passages))
        self.tally.count(faults)
        return order


def shortened(passages: Sequence[str], words: int) -> list[str]:
    """Return passages of at most so many words, with text that looks like an identifier
    replaced."""
    return [IDENTIFIER.sub(r"(\1)", " ".join(text.split()[:words])) for text in passages]


def messages(prompt: Prompt, query: str, passages: Sequence[str]) -> list[Mapping[str, str]]:
    """Return the chat messages of a prompt."""
    user = {"role": "user", "content": prompt.user(query, passages)}
    return [{"role": "system", "content": prompt.system}, user]
