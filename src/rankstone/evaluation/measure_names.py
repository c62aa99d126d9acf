"""Measure names as values: ``parse("RR(rel=2)@10")``, and back through `str`.

The grammar (`rankstone.specs.MeasureName`) is that of ir_measures; kinds outside the core are
handled by `via_ir_measures`.
"""

from __future__ import annotations

from dataclasses import dataclass

from rankstone.errors import MeasureError
from rankstone.evaluation import via_ir_measures
from rankstone.evaluation.judged_ranks import Placement
from rankstone.evaluation.measures import CORE, WHOLE, Values
from rankstone.specs import MeasureName

ALIASES = {"NDCG": "nDCG", "MRR": "RR", "MAP": "AP", "Precision": "P", "Recall": "R"}
"""ir_measures' aliases of core kinds."""

_ANY_CASE = {name.lower(): kind for name, kind in [*ALIASES.items(), *zip(CORE, CORE, strict=True)]}
"""Lower-case names of core kinds, as printed by other tools."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A core measure with its parameters."""

    kind: str
    """A key of `CORE`."""
    cutoff: int | None = None
    rel: int | None = None
    """Lowest label that counts as relevant; None for the task's threshold."""

    def __str__(self) -> str:
        rel = "" if self.rel is None else f"(rel={self.rel})"
        cutoff = "" if self.cutoff is None else f"@{self.cutoff}"
        return f"{self.kind}{rel}{cutoff}"

    def values(self, placement: Placement, relevance: int) -> Values:
        """Return (n_queries,) values; `relevance` is the threshold of a measure without `rel`."""
        threshold = relevance if self.rel is None else self.rel
        cutoff = WHOLE if self.cutoff is None else self.cutoff
        return CORE[self.kind].formula(placement, cutoff, threshold)


def parse(name: str) -> Measure | via_ir_measures.LongTail:
    """Return the measure with that name; a MeasureError suggests similar names."""
    call = MeasureName.parse(name)
    kind = ALIASES.get(call.kind) or _ANY_CASE.get(call.kind, call.kind)
    if kind == "nDCG" and call.parameters.get("dcg") in ("log2", "exp-log2"):
        kind = "nDCG" if call.parameters.pop("dcg") == "log2" else "nDCG_exp"
    if kind in CORE and set(call.parameters) <= {"rel", "cutoff"}:
        return _core(name, call._replace(kind=kind))
    return via_ir_measures.build(name, call.kind, call.parameters, call.at, [*ALIASES, *CORE])


def canonical(name: str) -> str:
    """Return the name of the measure in records: `recall@100` is `R@100`."""
    parsed = parse(name)
    return str(parsed) if isinstance(parsed, Measure) else name


def _core(name: str, call: MeasureName) -> Measure:
    cutoff, rel = call.cutoff, call.parameters.get("rel")
    if cutoff is None and CORE[call.kind].needs_cutoff:
        raise MeasureError(f"Measure '{name}' needs a cutoff, e.g. {call.kind}@10.")
    if cutoff is not None and (type(cutoff) is not int or cutoff < 1):
        raise MeasureError(f"Measure '{name}': the cutoff must be a whole number from 1.")
    if rel is not None and CORE[call.kind].graded:
        raise MeasureError(f"Measure '{name}': {call.kind} has no parameter 'rel'. Leave it out.")
    if rel is not None and type(rel) is not int:
        raise MeasureError(f"Measure '{name}': rel must be a whole number.")
    return Measure(kind=call.kind, cutoff=cutoff, rel=rel)
