"""One run under Rankstone's and under a tool's rules, with the effect of each rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rankstone.evaluation import measure_names as names
from rankstone.evaluation.conventions.rules import Rules, Tool, name_in
from rankstone.evaluation.conventions.scores import Scores
from rankstone.evaluation.evaluate import Qrels

if TYPE_CHECKING:
    from rankstone.results.trec_run import Run as Lines


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One measure under Rankstone's rules and under a tool's."""

    measure: str
    ours: float
    name: str
    """Name of the measure in the tool."""
    theirs: float
    """Value under the tool's rules, not rounded."""
    shown: float
    """`theirs` as the tool rounds it."""
    moved: tuple[tuple[str, float], ...] = field(default=())
    """Differing rules and their effects, whose sum is theirs - ours."""


def compare(
    lines: Lines,
    qrels: Qrels,
    *,
    measures: Sequence[str],
    depth: int,
    ours: Rules,
    tool: Tool,
    dataset: str = "",
) -> list[Comparison]:
    """Compare the `measures` that `tool` supports, under `ours` and under its own rules.

    Rules are exchanged one at a time, in the order of `Rules`; the effect of a rule is the change
    of the number at its turn. `lines.score` may be float32 or float64.
    """
    scores = Scores(lines, qrels, depth)
    found = []
    for name in dict.fromkeys((*measures, *tool.always)):
        measure = names.parse(name)
        if not isinstance(measure, names.Measure) or (measure.cutoff or 0) > depth:
            continue
        form = tool.forms.get(measure.kind)
        label = name_in(tool, measure, depth)
        if form is None or label is None:
            continue
        rules = tool.rules_on(form, dataset, measure.cutoff)
        theirs = scores.mean(measure, rules)
        found.append(
            Comparison(
                measure=name,
                ours=scores.mean(measure, ours),
                name=label,
                theirs=theirs,
                shown=round(theirs, tool.digits) if tool.digits and form.rounded else theirs,
                moved=tuple(scores.moves(measure, ours, rules)),
            )
        )
    return found
