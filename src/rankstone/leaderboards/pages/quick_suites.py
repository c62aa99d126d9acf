"""Page "Does the quick suite predict the full one?", from published values."""

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
            Paragraph(_answer(*rows[-1])),
            Paragraph(_subject(found)),
            _suites(rows),
            Items(tuple(_notes())),
            Heading("All choices of a number of sets"),
            Paragraph(
                "The table has tau-b between the mean of the chosen sets and that of the others,"
                " over all choices of this number of sets. A choice selected for its tau-b would"
                " look better than it is."
            ),
            _sizes({size: choices[size] for size in SIZES}),
            Heading("What this cannot tell"),
            Items(tuple(_limits(papers))),
            Heading("The methods"),
            Items(tuple(found.names)),
        ),
    )


def _subject(found: Systems) -> str:
    return (
        "The table has the rank correlation between the mean nDCG@10 of a quick suite and the mean"
        f" over the {len(found.tasks)} sets of {FULL}, for {len(found.names)} published methods."
        " The methods are the rows of leaderboards/papers/*.toml with a value on every set, each"
        " method once. make reference writes this page."
    )


def _answer(name: str, one: Quick) -> str:
    return (
        "A quick suite separates strong methods from weak ones, but not methods with close means."
        f" {name} orders {one.in_order:.0%} of all pairs of methods as the full mean does,"
        f" and {one.close_in_order:.0%} of the pairs whose full means differ by less than"
        f" {fixed(CLOSE, 2)}; a random order would agree on 50%. {one.better:.0%} of all choices of"
        f" {len(one.tasks)} sets agree better with the remaining sets."
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
        "The full mean contains the quick sets, which raises the agreement. The column of the other"
        " sets excludes them."
    )
    yield (
        "Choices that do better: of all choices of the same number of sets, the share whose tau-b"
        " with the remaining sets is higher."
    )
    yield (
        "Pairs in order: the share of all pairs of methods that both means order in the same way;"
        f" close pairs are those whose full means differ by less than {fixed(CLOSE, 2)}."
    )


def _limits(papers: Mapping[str, PaperSpec]) -> Iterator[str]:
    n = sampled(papers)
    yield (
        f"This page does not cover NanoBEIR: {n or 'none'} of the published values are on its"
        " samples. The subsets above are whole sets with all their queries; samples of fifty"
        " queries add sampling noise."
    )
    yield (
        "The methods are not a random sample: sizes and versions of one model count separately,"
        " strong and weak methods were published together, and rankings over such a wide range"
        " agree easily. The close pairs are a better sign of how well a small improvement is"
        " detected."
    )
    yield (
        "Several methods were trained on training queries of some sets (FEVER, HotpotQA, NQ,"
        " Quora, FiQA, SciFact, NFCorpus). A method trained on the quick sets would lead there"
        " without leading elsewhere."
    )
    yield (
        "Values were measured with different tools, precisions and prompts: the values of one"
        " method are from one table, but those of two methods may be from different tables."
    )
    yield (
        "Only quality is compared. Costs and latency of large collections cannot be derived from"
        " small ones."
    )
