"""Digest of Python objects, of their code and state, which is the same on every machine.

Library code is identified by name and version, user code in files by these files and their imports,
and code without an importable file (a notebook, `__main__`) by its source and the globals it uses.
"""

from __future__ import annotations

import contextlib
import copyreg
import dis
import functools
import hashlib
import importlib.util
import inspect
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rankstone.runners.code_digest import adapter_digest, from_library, is_installed, module_digest
from rankstone.specs import canonical_digest

SCALARS = (type(None), bool, int, float, complex, str)
WRAPPED: dict[type, Callable[[Any], Any]] = {
    staticmethod: lambda value: value.__func__,
    classmethod: lambda value: value.__func__,
    property: lambda value: (value.fget, value.fset, value.fdel),
    functools.cached_property: lambda value: value.func,
    types.MethodType: lambda value: (value.__func__, value.__self__),
}
"""Types whose content is that of their parts."""


def content_digest(value: Any) -> str:
    """Return the sha256 of the code and state of `value`, without cached properties."""
    return _Reader().digest(value)


def by_value(value: Any) -> bool:
    """Return True for a function or class that another process cannot import."""
    module = sys.modules.get(value.__module__ or "")
    if module is None or module.__name__ == "__main__" or not getattr(module, "__file__", None):
        return getattr(module, "__name__", "") not in sys.builtin_module_names
    found: Any = module
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is not value


class _Reader:
    """One traversal; an object that occurs repeatedly is read once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, Any]] = {}

    def digest(self, value: Any) -> str:
        if type(value) in SCALARS:
            return canonical_digest([type(value).__name__, repr(value)])
        if id(value) not in self._known:
            self._known[id(value)] = (
                "inside itself",
                value,
            )  # keeps `value`, so the id stays unique
            self._known[id(value)] = (canonical_digest(self._facts(value)), value)
        return self._known[id(value)][0]

    def _facts(self, value: Any) -> Any:
        kind = type(value)
        if kind in WRAPPED:
            return [kind.__name__, self.digest(WRAPPED[kind](value))]
        if kind is bytes:
            return ["bytes", hashlib.sha256(value).hexdigest()]
        if kind in (list, tuple):
            return [kind.__name__, *map(self.digest, value)]
        if kind in (set, frozenset):
            return [kind.__name__, *sorted(map(self.digest, value))]
        if kind is dict:
            return self._pairs(value)
        if kind is np.ndarray and not value.dtype.hasobject:
            held = hashlib.sha256(np.ascontiguousarray(value).data).hexdigest()
            return ["array", value.dtype.str, value.shape, held]
        if kind is types.ModuleType:
            return self._module(value)
        if isinstance(value, types.FunctionType | types.BuiltinFunctionType | type):
            return self._code(value)
        return self._state(value)

    def _module(self, module: types.ModuleType) -> list[Any]:
        name = module.__name__
        if from_library(name) or not getattr(module, "__file__", None):
            return ["module", name, _version(name)]
        return ["module", name, module_digest(module)]

    def _pairs(self, values: dict[Any, Any]) -> list[Any]:
        return ["dict", *sorted([self.digest(k), self.digest(v)] for k, v in values.items())]

    def _code(self, value: Any) -> list[Any]:
        name = [value.__module__ or "", value.__qualname__]
        if isinstance(value, types.BuiltinFunctionType) or not by_value(value):
            if from_library(name[0]):
                return ["library", *name, _version(name[0])]
            return ["code", *name, adapter_digest(value)]
        return self._class(value) if isinstance(value, type) else self._function(value)

    def _class(self, kind: type) -> list[Any]:
        own = {
            name: part
            for name, part in vars(kind).items()
            if callable(part) or type(part) in WRAPPED or not name.startswith(("__", "_abc_"))
            if not isinstance(part, types.MemberDescriptorType | types.GetSetDescriptorType)
            if not name.startswith("__pydantic_")
        }
        return ["class", kind.__qualname__, *map(self.digest, kind.__bases__), self._pairs(own)]

    def _function(self, function: types.FunctionType) -> list[Any]:
        used = {
            name: function.__globals__[name]
            for code in _codes(function.__code__)
            for name in code.co_names
            if name in function.__globals__
        }
        used |= {f"import {name}": importlib.import_module(name) for name in _own_imports(function)}
        cells = []
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # an empty cell
                cells.append(self.digest(cell.cell_contents))
        state = (function.__defaults__, function.__kwdefaults__)
        return ["function", _source(function), self.digest(state), cells, self._pairs(used)]

    def _state(self, value: Any) -> list[Any]:
        """Return the state that would be pickled for `value`, without cached properties."""
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            reduced = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception:  # a type that only cloudpickle handles, with bytes that can vary
            import cloudpickle

            return ["pickle", hashlib.sha256(cloudpickle.dumps(value)).hexdigest()]
        if isinstance(reduced, str):
            return ["name", self.digest(type(value)), reduced]
        function, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        if isinstance(state, dict):
            state = {k: v for k, v in state.items() if not _is_cached(type(value), k)}
        parts = (function, arguments, state, list(items or ()), dict(pairs or ()))
        return ["object", *map(self.digest, parts)]


def _is_cached(kind: type, name: object) -> bool:
    return isinstance(getattr(kind, str(name), None), functools.cached_property)


def _version(module: str) -> str:
    return str(getattr(sys.modules.get(module.partition(".")[0]), "__version__", ""))


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield `code` and the code of functions nested in it."""
    yield code
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _codes(part)


def _own_imports(function: types.FunctionType) -> set[str]:
    """Return the user's modules that a function imports when it is called."""
    names = {
        step.argval
        for code in _codes(function.__code__)
        for step in dis.get_instructions(code)
        if step.opname == "IMPORT_NAME" and step.argval not in ("", "__main__")
    }
    tops = {name: importlib.util.find_spec(name.partition(".")[0]) for name in names}
    return {name for name, spec in tops.items() if spec and not is_installed(spec.origin)}


def _source(function: types.FunctionType) -> str:
    """Return the source of a function, or its compiled code if there is no source."""
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        plain = [
            [code.co_code.hex(), code.co_names, [repr(c) for c in code.co_consts if not _inner(c)]]
            for code in _codes(function.__code__)
        ]
        return canonical_digest(plain)


def _inner(constant: object) -> bool:
    return isinstance(constant, types.CodeType)
