"""Versions of servers by address, which their owners may replace between two runs of a cell."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from rankstone.errors import EngineError, RankstoneWarning
from rankstone.runners.construct import build_part, load_adapter, parts, untrained
from rankstone.runners.objects.method import ObjectMethod
from rankstone.specs import MethodSpec

ASKS = "server_version"
"""Method of adapters of servers that returns the version of one by address, or nothing."""


def has_same_servers(method: MethodSpec, description: Mapping[str, Any]) -> bool:
    """Return True if the servers of a method have the versions that a description holds.

    A server that cannot be asked counts as the same, with a warning.
    """
    known = set(_texts(description))
    return all(version in known for version in _stated(method))


def _stated(method: MethodSpec) -> Iterator[str]:
    for name, part in parts(untrained(method)):
        own = part.runner if isinstance(part, ObjectMethod) else None
        if not hasattr(own or load_adapter(part, method.file), ASKS):
            continue
        try:
            version = getattr(own or build_part(part, name, method.file), ASKS)()
        except EngineError as error:
            message = f"{name}: the version of its server is not known; a record is reused. {error}"
            warnings.warn(message, RankstoneWarning, stacklevel=2)
        else:
            yield from filter(None, [version])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)
