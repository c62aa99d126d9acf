"""Measure names as values: ``parse("RR(rel=2)@10")`` and back through `str`.

The grammar is ir_measures': ``Kind(parameter=value, ...)@cutoff``. Kinds outside the core go to
`longtail`.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any, NamedTuple

from rankstone.errors import MeasureError
from rankstone.evaluation import via_ir_measures as longtail
from rankstone.evaluation.judged_ranks import Placement
from rankstone.evaluation.measures import CORE, WHOLE, Values

ALIASES = {"NDCG": "nDCG", "MRR": "RR", "MAP": "AP", "Precision": "P", "Recall": "R"}
"""ir_measures' second names of core kinds."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A core measure with its parameters."""

    kind: str
    """A key of `CORE`."""
    cutoff: int | None = None
    rel: int | None = None
    """The lowest label that counts as relevant; None leaves it to the task."""

    def __str__(self) -> str:
        rel = "" if self.rel is None else f"(rel={self.rel})"
        cutoff = "" if self.cutoff is None else f"@{self.cutoff}"
        return f"{self.kind}{rel}{cutoff}"

    def values(self, placement: Placement, relevance: int) -> Values:
        """(n_queries,) values; `relevance` is the task's threshold, for a measure without `rel`."""
        threshold = relevance if self.rel is None else self.rel
        cutoff = WHOLE if self.cutoff is None else self.cutoff
        return CORE[self.kind].formula(placement, cutoff, threshold)


class Call(NamedTuple):
    """A measure name taken apart."""

    kind: str
    parameters: dict[str, Any]
    at: Any
    """What follows the @; None where nothing does."""


def parse(name: str) -> Measure | longtail.LongTail:
    """The measure of that name, or a MeasureError that says which names are near."""
    call = take_apart(name)
    kind = ALIASES.get(call.kind, call.kind)
    if kind == "nDCG" and call.parameters.get("dcg") in ("log2", "exp-log2"):
        kind = "nDCG" if call.parameters.pop("dcg") == "log2" else "nDCG_exp"
    if kind in CORE and set(call.parameters) <= {"rel", "cutoff"}:
        return _core(name, call._replace(kind=kind))
    return longtail.build(name, call.kind, call.parameters, call.at, [*ALIASES, *CORE])


def _core(name: str, call: Call) -> Measure:
    cutoff, rel = call.at, call.parameters.get("rel")
    if cutoff is None:
        cutoff = call.parameters.get("cutoff")
    if cutoff is None and CORE[call.kind].needs_cutoff:
        raise MeasureError(f"Measure '{name}' needs a cutoff, e.g. {call.kind}@10.")
    if cutoff is not None and (type(cutoff) is not int or cutoff < 1):
        raise MeasureError(f"Measure '{name}': the cutoff must be a whole number from 1.")
    if rel is not None and CORE[call.kind].graded:
        raise MeasureError(f"Measure '{name}': {call.kind} has no parameter 'rel'. Leave it out.")
    if rel is not None and type(rel) is not int:
        raise MeasureError(f"Measure '{name}': rel must be a whole number.")
    return Measure(kind=call.kind, cutoff=cutoff, rel=rel)


def take_apart(name: str) -> Call:
    """``"RR(rel=2)@10"`` as kind, parameters and cutoff; a MeasureError if it is not a name."""
    try:
        node = ast.parse(name.strip(), mode="eval").body
        at = None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            at, node = ast.literal_eval(node.right), node.left
        parameters = {}
        if isinstance(node, ast.Call) and not node.args:
            parameters = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
            node = node.func
    except (SyntaxError, ValueError):
        node = None
    if not isinstance(node, ast.Name):
        raise MeasureError(
            f"'{name}' is not the name of a measure. Expected e.g. nDCG@10 or AP(rel=2)@100."
        ) from None
    return Call(node.id, parameters, at)
