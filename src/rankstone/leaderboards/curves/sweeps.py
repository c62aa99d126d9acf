"""Sweeps: methods that differ in one numeric parameter and are drawn as one curve."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rankstone.results.record import RunRecord
from rankstone.specs import MethodSpec, canonical_digest


class Step(NamedTuple):
    """A method of a sweep."""

    curve: str
    """Equal for the methods of one sweep."""
    parameter: str
    value: float


def sweeps(records: Iterable[RunRecord], methods: Mapping[str, MethodSpec]) -> dict[str, Step]:
    """Return method -> its step, for methods in a sweep of at least two values.

    Methods belong to one sweep if they have the same adapter, members and models, and parameters
    that are equal except for one number. A method in several sweeps is assigned to the largest.
    """
    found: dict[tuple[str, str], dict[str, float]] = {}
    for record in {record.method.name: record for record in records}.values():
        for name, value, curve in _steps(record, methods.get(_base(record.method.name))):
            found.setdefault((curve, name), {})[record.method.name] = value
    steps = dict[str, Step]()
    for (curve, name), values in sorted(found.items(), key=lambda item: (-_size(item[1]), item[0])):
        free = {method: value for method, value in values.items() if method not in steps}
        if _size(free) > 1:
            steps |= {method: Step(curve, name, value) for method, value in free.items()}
    return steps


def _size(values: Mapping[str, float]) -> int:
    return len({*values.values()})


def _base(method: str) -> str:
    """Return the definition's name of a method with user-set parameters."""
    return method.partition("+")[0]


def _steps(record: RunRecord, spec: MethodSpec | None) -> Iterator[tuple[str, float, str]]:
    """Yield each numeric parameter, its value, and a digest of everything else."""
    given = record.method.parameters
    for name, value in given.items():
        number = _number(value)
        if number is not None:
            rest = {key: other for key, other in given.items() if key != name}
            same = [record.method.adapter, _parts(record, spec), rest, _shape(value)]
            yield name, number, canonical_digest(same)[:12]


def _parts(record: RunRecord, spec: MethodSpec | None) -> Any:
    """Return the models and members of a method; without a definition, its name."""
    if spec is None:
        return _base(record.method.name)
    models = {key: model.model_dump(mode="json") for key, model in spec.models.items()}
    scorer = spec.scorer.model_dump(mode="json") if spec.scorer else None
    return [models, [member.name for member in spec.members], scorer, spec.text]


def _number(value: object) -> float | None:
    """Return the value of a numeric parameter, or of a list of one number."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 1:
        value = value[0]
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _shape(value: object) -> bool:
    return isinstance(value, Sequence)
