"""External servers, which may be upgraded between two runs of a cell: engines and APIs."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from rankstone.errors import EngineError, RankstoneWarning, UnreachableError
from rankstone.runners.api.settings import ApiSettings
from rankstone.runners.construct import build_part, load_adapter, parts, untrained
from rankstone.runners.objects.method import ObjectMethod
from rankstone.specs import MethodSpec

ASKS = "server_version"
"""Method of server adapters that returns an external server's version, or an empty string."""
APIS = (
    "Cells of APIs are reused as of the date in their records, and the models may have changed"
    " since. --force measures them again; their requests are then paid again."
)


class Servers:
    """The external servers that a command uses; an unreachable address is tried once."""

    def __init__(self) -> None:
        self._unreachable: dict[str, str] = {}
        self._asking = threading.Lock()
        self._warned = False

    def same(self, method: MethodSpec, description: Mapping[str, Any]) -> bool:
        """Return True if a method's servers have the versions stated in a description.

        An unreachable server counts as unchanged, with a warning. So does an API, which states no
        version, with one warning per command.
        """
        known = set(_texts(description))
        if any(version not in known for version in self._versions(method)):
            return False
        if not self._warned and any(issubclass(one, ApiSettings) for _, one, _ in _parts(method)):
            self._warned = True
            warnings.warn(APIS, RankstoneWarning, stacklevel=2)
        return True

    def _versions(self, method: MethodSpec) -> Iterator[str]:
        for name, adapter, build in _parts(method):
            if not hasattr(adapter, ASKS):
                continue
            try:
                version = self._version(build())
            except EngineError as error:
                message = f"{name}: the version of its server is not known; a record is reused."
                warnings.warn(f"{message} {error}", RankstoneWarning, stacklevel=2)
            else:
                yield from filter(None, [version])

    def _version(self, runner: Any) -> str:
        """Return a server's version; UnreachableError at once if its address failed before."""
        address = os.environ.get(getattr(runner, "url_env", None) or "", "")
        with self._asking:
            if address in self._unreachable:
                raise UnreachableError(self._unreachable[address])
            try:
                version: str = getattr(runner, ASKS)()
            except UnreachableError as error:
                if address:
                    self._unreachable[address] = str(error)
                raise
        return version


def _parts(method: MethodSpec) -> Iterator[tuple[str, type, Callable[[], Any]]]:
    """Yield name and adapter of each part, and a function that builds it."""
    for name, part in parts(untrained(method)):
        if isinstance(part, ObjectMethod):
            yield name, type(part.runner), partial(getattr, part, "runner")
        else:
            file = method.file
            yield name, load_adapter(part, file), partial(build_part, part, name, file)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)
