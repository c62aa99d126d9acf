"""Versions of external servers, which may be upgraded between two runs of a cell."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from rankstone.errors import EngineError, RankstoneWarning
from rankstone.runners.construct import build_part, load_adapter, parts, untrained
from rankstone.runners.objects.method import ObjectMethod
from rankstone.specs import MethodSpec

ASKS = "server_version"
"""Method of server adapters that returns an external server's version, or an empty string."""


def has_same_servers(method: MethodSpec, description: Mapping[str, Any]) -> bool:
    """Return True if a method's servers have the versions stated in a description.

    An unreachable server counts as unchanged, with a warning.
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
