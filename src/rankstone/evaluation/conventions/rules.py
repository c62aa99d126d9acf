"""Conventions that affect a number besides its formula, and their declaration for a tool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from rankstone.evaluation import measure_names as names

EVERY_LABEL = -(2**31)
"""A relevance threshold that every judged document reaches."""
CAPPED: Final = "relevant documents, at most the cutoff"
ABOVE: Final = "relevant documents above the cutoff"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Conventions that affect a number besides the formula; the defaults are Rankstone's."""

    relevance: int = 1
    """The lowest label that binary measures count as relevant."""
    self_hits: Literal["keep", "drop"] = "keep"
    order: Literal[
        "score, document id descending",
        "score, document id ascending",
        "score, file order",
        "file order",
    ] = "score, document id descending"
    score_dtype: Literal["float32", "float64"] = "float32"
    depth: int | None = None
    """Results per query that are read, before any are left out; None: the whole run."""
    unjudged: Literal["not relevant", "left out"] = "not relevant"
    gain: Literal["label", "1 if relevant"] = "label"
    """Gain of a document in nDCG."""
    normaliser: Literal[
        "relevant documents",
        "relevant documents, at most the cutoff",
        "retrieved relevant documents",
        "relevant documents above the cutoff",
    ] = "relevant documents"
    """Documents that recall, AP and the ideal ranking are taken over."""
    judged: Literal["for the query", "for any query"] = "for the query"
    """Documents that Judged@k counts; "for any query" divides by k, also for shorter results."""
    missing_queries: Literal["score 0", "skip"] = "score 0"
    without_relevant: Literal["score 0", "skip"] = "score 0"
    """Queries that have no relevant document."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """Name and rules of one kind of measure in a tool."""

    name: str
    """Template with `{k}` for the cutoff."""
    rules: Rules
    uncut: str | None = None
    """The name without a cutoff; None where the tool has none: the run's depth is its cutoff."""
    uncut_rules: Rules | None = None
    """The rules without a cutoff, where these differ."""
    cutoffs: frozenset[int] | None = None
    """The only cutoffs it has; None for any."""
    rounded: bool = True
    """True if the tool's `digits` apply to this form."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """Conventions of one tool."""

    name: str
    source: str
    """Source code that they were read from."""
    forms: Mapping[str, Form]
    """Forms by kind of measure (a key of `measures.CORE`)."""
    digits: int | None = None
    """Decimals that it rounds to or prints; None for all."""
    thresholds: bool = False
    """True if its user may choose the lowest relevant label of a measure."""
    drops_self_on: frozenset[str] = frozenset()
    """Collections on which it drops self hits, where it decides that by collection."""
    keeps_self_in: frozenset[str] = frozenset()
    """Families whose collections of these names keep them."""
    always: tuple[str, ...] = ()
    """Rankstone's names of measures that it always reports."""
    note: str = ""
    """Remark for readers of its numbers."""

    def rules_on(self, form: Form, dataset: str, cutoff: int | None = 1) -> Rules:
        """Return the rules of `form` on a collection such as `beir/fiqa`."""
        rules = form.rules if cutoff is not None else form.uncut_rules or form.rules
        parts = dataset.split("/")
        if self.drops_self_on.isdisjoint(parts) or not self.keeps_self_in.isdisjoint(parts):
            return rules
        return replace(rules, self_hits="drop")


def name_in(tool: Tool, measure: names.Measure, depth: int) -> str | None:
    """Return the name of `measure` in `tool`; None if it has no equivalent."""
    form = tool.forms.get(measure.kind)
    if form is None:
        return None
    if measure.rel not in (None, form.rules.relevance) and not tool.thresholds:
        return None
    threshold = "" if measure.rel in (None, 1) else f" -l {measure.rel}"
    if measure.cutoff is None and form.uncut is not None:
        return form.uncut + threshold
    if measure.cutoff is None and measure.kind == "nDCG":
        return None  # truncated at the run's depth, the ideal ranking would differ
    cutoff = measure.cutoff or depth
    if form.cutoffs is not None and cutoff not in form.cutoffs:
        return None
    return form.name.format(k=cutoff) + threshold
