"""Passages generated from a seed: short English sentences with complete judgements.

A sentence states who did what to whom, and where; a query asks for it without the adjectives. A
passage is one sentence or more, and relevant to every query whose words a sentence of it contains
in the same roles. Nothing is downloaded, and equal arguments give equal data.
"""

from __future__ import annotations

import functools
import random
from collections import defaultdict
from typing import NamedTuple

from rankstone.benchmarks.dataset import Document, Judgement, Query, RawDataset, Sources
from rankstone.errors import DefinitionError
from rankstone.specs import TaskSpec, canonical_digest

SPLIT = "test"


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


QUALITIES = _words(
    "young old quiet famous tired clever nervous wealthy honest careless patient stubborn "
    "friendly lonely brave famished elderly cautious cheerful talented grateful curious anxious "
    "modest proud clumsy foreign retired gifted jealous"
)
PEOPLE = _words(
    "farmer surgeon pianist sailor teacher lawyer baker engineer painter soldier chemist gardener "
    "pilot librarian carpenter detective nurse journalist tailor geologist miner barber priest "
    "plumber astronomer banker dancer fisherman historian judge locksmith mechanic novelist "
    "potter referee sculptor shepherd translator violinist waiter butcher firefighter architect "
    "biologist clown diplomat electrician florist hunter interpreter"
)
DEEDS = _words(
    "thanked visited warned paid helped questioned followed trained photographed married rescued "
    "defeated hired taught congratulated interviewed sued forgave accompanied robbed recognised "
    "invited persuaded cured insulted replaced ignored employed entertained accused"
)
PLACES = _words(
    "harbour market cathedral museum station forest hospital library castle vineyard desert "
    "island theatre airport lighthouse monastery stadium valley bakery laboratory courthouse "
    "village tunnel bridge glacier bazaar orchard factory observatory quarry canyon embassy swamp "
    "aquarium cinema dockyard farm garage hotel jungle"
)


class Story(NamedTuple):
    """The words of a passage."""

    quality: str
    who: str
    deed: str
    other: str
    whom: str
    place: str

    @property
    def text(self) -> str:
        return (
            f"The {self.quality} {self.who} {self.deed} the {self.other} {self.whom} at the"
            f" {self.place}."
        )

    @property
    def asked(self) -> str:
        return f"{self.who} who {self.deed} a {self.whom} at the {self.place}"


def load(
    task: TaskSpec,
    sources: Sources,
    *,
    passages: int,
    queries: int,
    seed: int = 0,
    sentences: int = 1,
) -> RawDataset:
    """Return `passages` different passages of `sentences` each, and queries for some of them.

    Raises:
        DefinitionError: there are fewer passages than queries, or none, or they are empty.
    """
    if not 0 < queries <= passages:
        raise DefinitionError(
            f"task '{task.name}': key 'source.queries': {queries} queries for {passages} passages."
        )
    if sentences < 1:
        raise DefinitionError(f"task '{task.name}': key 'source.sentences': {sentences} sentences.")
    stories = functools.cache(lambda: stories_of(passages * sentences, seed))
    asked = functools.cache(lambda: asked_of(stories(), queries))

    def text(n: int) -> str:
        return " ".join(one.text for one in stories()[n * sentences : (n + 1) * sentences])

    longer = [sentences] if sentences > 1 else []
    return RawDataset(
        documents=lambda: (Document(str(n), "", text(n)) for n in range(passages)),
        queries=lambda: (Query(f"q{n}", text) for n, text in enumerate(asked())),
        judgements=lambda split: [
            Judgement(f"q{number}", str(n), 1)
            for number, rows in enumerate(asked().values())
            for n in dict.fromkeys(row // sentences for row in rows)
        ],
        splits=lambda: [SPLIT],
        fingerprint=canonical_digest(["generated", passages, queries, seed, *longer]),
        source=f"generated from seed {seed}",
    )


def stories_of(n: int, seed: int) -> list[Story]:
    rng, found = random.Random(seed), dict[Story, None]()
    parts = (QUALITIES, PEOPLE, DEEDS, QUALITIES, PEOPLE, PLACES)
    while len(found) < n:
        # random() gives the same numbers in every version of Python.
        found[Story(*(words[int(rng.random() * len(words))] for words in parts))] = None
    return list(found)


def asked_of(stories: list[Story], n: int) -> dict[str, list[int]]:
    """Return the query of each of the first stories that differ in it, and all that answer it."""
    answers = defaultdict[str, list[int]](list)
    for number, story in enumerate(stories):
        answers[story.asked].append(number)
    return dict(list(answers.items())[:n])
