"""Conventions other than the formula that affect a number, and their declaration for a tool."""

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
    """Conventions other than the formula that affect a number; the defaults are Rankstone's."""

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
    """Results per query that are read, before any are left out; None for the whole run."""
    unjudged: Literal["not relevant", "left out"] = "not relevant"
    gain: Literal["label", "1 if relevant"] = "label"
    """Gain of a document in nDCG."""
    normaliser: Literal[
        "relevant documents",
        "relevant documents, at most the cutoff",
        "retrieved relevant documents",
        "relevant documents above the cutoff",
    ] = "relevant documents"
    """Documents over which recall, AP and the ideal ranking are computed."""
    judged: Literal["for the query", "for any query"] = "for the query"
    """Documents that Judged@k counts; "for any query" divides by k even for fewer results."""
    missing_queries: Literal["score 0", "skip"] = "score 0"
    without_relevant: Literal["score 0", "skip"] = "score 0"
    """Queries without relevant documents."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """Name and rules of one kind of measure in a tool."""

    name: str
    """Template with `{k}` for the cutoff."""
    rules: Rules
    uncut: str | None = None
    """Name without a cutoff; None if there is none and the run's depth is the cutoff."""
    uncut_rules: Rules | None = None
    """Rules without a cutoff, if they differ."""
    cutoffs: frozenset[int] | None = None
    """The only supported cutoffs; None for any."""
    rounded: bool = True
    """True if the tool's `digits` apply to this form."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """Conventions of one tool."""

    name: str
    source: str
    """Source code from which the conventions were read."""
    forms: Mapping[str, Form]
    """Forms by kind of measure (a key of `measures.CORE`)."""
    digits: int | None = None
    """Number of decimals that it rounds to or prints; None for no rounding."""
    thresholds: bool = False
    """True if its user can choose a measure's lowest relevant label."""
    drops_self_on: frozenset[str] = frozenset()
    """Collections on which it drops self hits, if that depends on the collection."""
    keeps_self_in: frozenset[str] = frozenset()
    """Families in which collections with these names keep self hits."""
    always: tuple[str, ...] = ()
    """Rankstone's names of the measures that it always reports."""
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
        return None  # the ideal ranking, truncated at the run's depth, would differ
    cutoff = measure.cutoff or depth
    if form.cutoffs is not None and cutoff not in form.cutoffs:
        return None
    return form.name.format(k=cutoff) + threshold
