"""The page "Does the quick suite predict the full one?", from published values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rankstone.arrays import Floats
from rankstone.evaluation.intervals import RESAMPLES
from rankstone.leaderboards.document import Heading, Items, Page, Paragraph, Table, table
from rankstone.leaderboards.numbers import fixed
from rankstone.leaderboards.papers.quick_suites import (
    CLOSE,
    Quick,
    Systems,
    of_choices,
    quick,
    sampled,
    systems,
)
from rankstone.leaderboards.papers.rank_agreement import Estimate
from rankstone.leaderboards.papers.tables import PaperSpec
from rankstone.specs import SuiteSpec

QUICK = (
    ("nfcorpus", ("beir/nfcorpus",)),
    ("scifact", ("beir/scifact",)),
    ("nfcorpus, scifact", ("beir/nfcorpus", "beir/scifact")),
    ("arguana, nfcorpus, scifact", ("beir/arguana", "beir/nfcorpus", "beir/scifact")),
)
"""Choices of the smallest collections."""
SUITES = ("beir-small",)
FULL = "beir-13"
SIZES = (1, 2, 3, 5, 7)
HEADS = (
    "quick suite", "sets", "tau-b with\nthe full mean", "rho with\nthe full mean",
    "tau-b with\nthe other sets", "choices\nthat do better", "pairs\nin order",
    "close pairs\nin order",
)  # fmt: skip
SIZE_HEADS = ("sets", "choices", "lowest\ntau-b", "median\ntau-b", "highest\ntau-b")


def page(papers: Mapping[str, PaperSpec], suites: Mapping[str, SuiteSpec]) -> Page:
    """Compare quick suites with the public sets of BEIR over all published methods."""
    found = systems(papers, suites[FULL].tasks)
    asked = [*QUICK, *((name, suites[name].tasks) for name in SUITES)]
    choices = {n: of_choices(found, n) for n in {*SIZES, *(len(tasks) for _, tasks in asked)}}
    rows = [(name, quick(found, tasks, choices[len(tasks)])) for name, tasks in asked]
    return Page(
        title="Does the quick suite predict the full one?",
        blocks=(
            Paragraph(_lead(found)),
            Paragraph(_answer(*rows[-1])),
            _suites(rows),
            Items(tuple(_notes())),
            Heading("Any choice of so many sets"),
            Paragraph(
                "Of all choices of so many of the sets, tau-b of their mean with the mean of the"
                " others. A choice that was selected for its tau-b would look better than it is."
            ),
            _sizes({size: choices[size] for size in SIZES}),
            Heading("What this cannot tell"),
            Items(tuple(_limits(papers))),
            Heading("The methods"),
            Paragraph("; ".join(found.names) + "."),
        ),
    )


def _lead(found: Systems) -> str:
    return (
        f"Rank correlation of the mean nDCG@10 of a quick suite with that of the"
        f" {len(found.tasks)} sets of {FULL}, over {len(found.names)} published methods: the rows"
        " of leaderboards/papers/*.toml that have a value on every set, each method once."
        " make reference writes this page."
    )


def _answer(name: str, one: Quick) -> str:
    return (
        f"It tells strong methods from weak ones, and hardly one close method from another. {name}"
        f" puts {one.in_order:.0%} of all pairs in the order of the full mean, and"
        f" {one.close_in_order:.0%} of those whose full means differ by less than"
        f" {fixed(CLOSE, 2)}; chance would be 50%. {one.better:.0%} of all choices of"
        f" {len(one.tasks)} sets agree better with the sets that they leave out."
    )


def _suites(rows: Sequence[tuple[str, Quick]]) -> Table:
    cells = (
        (
            name,
            str(len(one.tasks)),
            _shown(one.full.tau),
            _shown(one.full.rho),
            _shown(one.rest.tau),
            f"{one.better:.0%}",
            f"{one.in_order:.0%}",
            f"{one.close_in_order:.0%}",
        )
        for name, one in rows
    )
    return table(HEADS, cells, figures=[head for head in HEADS if head != "quick suite"])


def _shown(one: Estimate) -> str:
    return f"{fixed(one.value, 2)} ({fixed(one.low, 2)}–{fixed(one.high, 2)})"


def _sizes(choices: Mapping[int, Floats]) -> Table:
    cells = (
        (str(size), f"{len(taus):,}", *(fixed(float(np.quantile(taus, q)), 2) for q in (0, 0.5, 1)))
        for size, taus in choices.items()
    )
    return table(SIZE_HEADS, cells, figures=SIZE_HEADS)


def _notes() -> Iterator[str]:
    yield (
        "tau-b is Kendall's and rho Spearman's rank correlation, in brackets their 95% interval:"
        f" percentiles of {RESAMPLES:,} resamples of the methods."
    )
    yield (
        "The full mean holds the quick sets: part of that agreement is of a figure with itself."
        " The column of the other sets is without it."
    )
    yield (
        "Choices that do better: the share of all choices of as many sets whose tau-b with the"
        " sets that they leave out is higher."
    )
    yield (
        "Pairs in order: the share of all pairs of methods that both means put in the same order;"
        f" close pairs are those whose full means differ by less than {fixed(CLOSE, 2)}."
    )


def _limits(papers: Mapping[str, PaperSpec]) -> Iterator[str]:
    n = sampled(papers)
    yield (
        f"NanoBEIR: {n or 'none'} of the published values are on its samples, so that this page"
        " does not cover it. The subsets above are whole sets with all their queries; samples of"
        " fifty queries add the noise of queries."
    )
    yield (
        "The methods are not a random sample: sizes and versions of one model are counted apart,"
        " strong and weak ones were published together, and rankings of so wide a range agree"
        " easily. The close pairs are nearer to the question of whether a change is an improvement."
    )
    yield (
        "Several methods were trained on training queries of some sets (FEVER, HotpotQA, NQ,"
        " Quora, FiQA, SciFact, NFCorpus). A method trained on the quick sets would lead there"
        " without leading elsewhere."
    )
    yield (
        "Values were measured by different tools, precisions and prompts; a method has those of one"
        " table, but two methods may not."
    )
    yield (
        "Only quality is compared. Costs and latency of large collections follow from no small one."
    )
