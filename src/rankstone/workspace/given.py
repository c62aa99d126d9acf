"""Methods and tasks given by callers: names, specs or objects, one or several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rankstone.runners.objects.method import object_method
from rankstone.specs import (
    MethodSpec,
    TaskSpec,
)
from rankstone.strict import Spec

Methods = Sequence[str | MethodSpec | Any] | str | MethodSpec | Any
"""Names, specs, runners and search functions, or one of them."""
Tasks = Sequence[str | TaskSpec] | str | TaskSpec


def several(given: Any) -> list[Any]:
    """Return one name, spec or object, or several, as a list."""
    alone = isinstance(given, str | Spec) or callable(given) or hasattr(given, "encode")
    return [given] if alone or not isinstance(given, Iterable) else list(given)


def names_of(given: Any) -> list[str]:
    """Return the names of one name, spec or object, or of several."""
    return [one if isinstance(one, str) else _named(one).name for one in several(given)]


def _named(given: Any) -> MethodSpec | TaskSpec:
    return given if isinstance(given, TaskSpec) else object_method(given)
