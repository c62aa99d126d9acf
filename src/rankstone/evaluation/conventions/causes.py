"""Known causes of differing numbers, each as a set of changes to a setting."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args, get_type_hints

from rankstone.evaluation import measure_names as names
from rankstone.evaluation.conventions.rules import Rules, Tool, name_in
from rankstone.evaluation.conventions.tools import TOOLS
from rankstone.evaluation.measures import CORE

STORED = ""
"""Name of the record's own run, or judgements."""
CUTOFFS = (1, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
DEPTHS = (10, 100, 1000)
OTHER_KINDS = {
    "nDCG": ("nDCG_exp",), "nDCG_exp": ("nDCG",), "R": ("Success",), "Success": ("R",),
    "RR": ("AP",), "AP": ("RR",), "R_cap": ("R", "Success"),
}  # fmt: skip
"""Formulas that are published under the same name, or are often confused."""
NORMALISED = {"nDCG", "nDCG_exp", "R", "AP"}
UNCOUNTED = {"Judged", "Accuracy"}
"""Kinds that do not count relevant documents."""
RULES = {rule.name for rule in fields(Rules)}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Everything that determines a value, given runs and judgements by name."""

    measure: names.Measure
    rules: Rules
    run: str = STORED
    judgements: str = STORED

    def changed(self, changes: Mapping[str, Any]) -> Setting:
        """Return the setting with changes to the measure's kind or cutoff, rules, or data."""
        rules = {key: value for key, value in changes.items() if key in RULES}
        measure = {key: changes[key] for key in ("kind", "cutoff") if key in changes}
        data = {key: changes[key] for key in ("run", "judgements") if key in changes}
        return replace(
            self,
            rules=replace(self.rules, **rules),
            measure=replace(self.measure, **measure),
            **data,
        )


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One difference between two ways of computing a number."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `Setting.changed`."""

    def goes_with(self, other: Cause) -> bool:
        """Return True if the two causes change different things."""
        return self.changes.keys().isdisjoint(other.changes)


def causes_of_rules(
    setting: Setting, *, labels: Collection[int], depth: int, dataset: str
) -> list[Cause]:
    """Return the causes that can be computed from a run and its judgements alone.

    Args:
        labels: labels of the judgements, which are possible relevance thresholds.
        depth: number of results per query of the run.
        dataset: name of the collection; some tools have rules for particular collections.
    """
    return [
        *_of_tools(setting, depth, dataset),
        *_of_order(setting.rules),
        *_of_relevance(setting, labels),
        *_of_normalisers(setting),
        *_of_cutoffs(setting.measure, depth),
        *_of_kinds(setting.measure),
        *_of_means(setting.rules),
    ]


def _of_tools(setting: Setting, depth: int, dataset: str) -> Iterator[Cause]:
    """Yield all rules of each tool at once; also with the task's threshold if supported."""
    for tool in TOOLS.values():
        name = name_in(tool, setting.measure, depth)
        if name is None:
            continue
        form = tool.forms[setting.measure.kind]
        rules = tool.rules_on(form, dataset, setting.measure.cutoff)
        changes = _differences(setting.rules, rules)
        yield Cause(name=f"{tool.name}'s rules, {name}", changes=changes)
        yield from _with_threshold(tool, name, changes)


def _with_threshold(tool: Tool, name: str, changes: Mapping[str, Any]) -> Iterator[Cause]:
    if tool.thresholds and "relevance" in changes:
        kept = {key: value for key, value in changes.items() if key != "relevance"}
        yield Cause(name=f"{tool.name}'s rules with the task's threshold, {name}", changes=kept)


def _differences(ours: Rules, theirs: Rules) -> dict[str, Any]:
    every = {rule: (getattr(ours, rule), getattr(theirs, rule)) for rule in RULES}
    return {rule: other for rule, (own, other) in every.items() if own != other}


def _of_order(rules: Rules) -> Iterator[Cause]:
    for order in _others("order", rules):
        yield Cause(name=f"ties and order: {order}", changes={"order": order})
    for hits in _others("self_hits", rules):
        if hits == "drop":
            yield Cause(name="documents of the query's own id dropped", changes={"self_hits": hits})
    for unjudged in _others("unjudged", rules):
        yield Cause(name=f"unjudged documents {unjudged}", changes={"unjudged": unjudged})


def _of_relevance(setting: Setting, labels: Collection[int]) -> Iterator[Cause]:
    """Yield relevance thresholds; with the lowest, every judged document is relevant."""
    if setting.measure.kind in UNCOUNTED:
        return
    graded = CORE[setting.measure.kind].graded
    for label in sorted({*labels}):
        if graded:
            changes = {"gain": "1 if relevant", "relevance": label}
            yield Cause(name=f"gain 1 for labels from {label} on, instead of the label",
                        changes=changes)  # fmt: skip
        elif label != setting.rules.relevance:
            yield Cause(name=f"relevant from label {label} on", changes={"relevance": label})


def _of_normalisers(setting: Setting) -> Iterator[Cause]:
    if setting.measure.kind in NORMALISED:
        for normaliser in _others("normaliser", setting.rules):
            yield Cause(name=f"divided by the {normaliser}", changes={"normaliser": normaliser})


def _of_cutoffs(measure: names.Measure, depth: int) -> Iterator[Cause]:
    if measure.cutoff is not None and not CORE[measure.kind].needs_cutoff:
        yield Cause(name="no cutoff", changes={"cutoff": None})
    for cutoff in CUTOFFS:
        if cutoff != measure.cutoff and cutoff <= depth:
            yield Cause(name=f"cutoff {cutoff}", changes={"cutoff": cutoff})
    for read in DEPTHS:
        if read < min(depth, measure.cutoff or depth):
            yield Cause(name=f"a run of {read} results per query", changes={"depth": read})


def _of_kinds(measure: names.Measure) -> Iterator[Cause]:
    for kind in OTHER_KINDS.get(measure.kind, ()):
        if measure.cutoff is not None or not CORE[kind].needs_cutoff:
            yield Cause(name=f"{replace(measure, kind=kind)} under its name",
                        changes={"kind": kind})  # fmt: skip


def _of_means(rules: Rules) -> Iterator[Cause]:
    which = {"missing_queries": "results", "without_relevant": "a relevant document"}
    for rule, words in which.items():
        for value in _others(rule, rules):
            yield Cause(name=f"queries without {words}: {value}", changes={rule: value})


def _others(rule: str, rules: Rules) -> list[Any]:
    """Return the values of a rule other than the one in `rules`."""
    return [v for v in get_args(get_type_hints(Rules)[rule]) if v != getattr(rules, rule)]
