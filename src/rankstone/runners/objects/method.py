"""Python objects as methods: named by content, and sent to the measuring process."""

from __future__ import annotations

import importlib
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic

from rankstone.errors import DefinitionError, did_you_mean
from rankstone.runners.objects.content import by_value, content_digest
from rankstone.runners.objects.function import SearchFunction
from rankstone.runners.protocols import AnyRunner, lacking
from rankstone.specs import AdapterSpec, MethodSpec

ADAPTER = "object"
"""Adapter name in the records of objects."""
DIGITS = 8
FILE = "method.pickle"
NAME = re.compile(r"(?!(?:hf|mteb|lucene|irds|files):)[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""`package.module:NAME`; the excluded prefixes are those of other sources."""
DEEPEST = 12


class ObjectMethod(MethodSpec):
    """The definition of a method that is a Python object."""

    _runner: Any = pydantic.PrivateAttr(default=None)

    @property
    def runner(self) -> AnyRunner:
        runner: AnyRunner = self._runner
        return runner

    @property
    def file(self) -> str:
        return self.name

    def refuse_settings(self) -> None:
        """Raise DefinitionError if parameters are set: an object has its own state."""
        for key in self.parameters.keys() - {"object", "sha256"}:
            raise DefinitionError(
                f"--set {key}: '{self.name}' is a Python object. Set it where the object is made."
            )


def object_method(value: Any) -> MethodSpec:
    """Return `value`, a runner, a runner class or a search function, as a method.

    Raises:
        DefinitionError: it is none of these, or cannot be sent to another process.
    """
    if isinstance(value, MethodSpec):
        return value
    name = _name(value)
    runner = _runner(value, name)
    _refuse_unpicklable(runner, name)
    digest = content_digest(runner)
    method = ObjectMethod(
        name=f"python/{name}+{digest[:DIGITS]}",
        description=f"The Python object {name}.",
        adapter=ADAPTER,
        parameters={"object": name, "sha256": digest},
    )
    method._runner = runner
    return method


def is_object_name(name: str) -> bool:
    """Return True for `package.module:NAME`."""
    return NAME.fullmatch(name) is not None


def import_method(name: str, folder: Path | None = None) -> MethodSpec:
    """Return the method `package.module:NAME`; the module may be in the current directory.

    Args:
        folder: directory of modules, instead of the current one.

    Raises:
        DefinitionError: the module or name does not exist, or is not a method.
    """
    module, _, attribute = name.partition(":")
    here = str((folder or Path.cwd()).resolve())
    if here not in sys.path:
        sys.path.append(here)  # last, so that it shadows no library
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise DefinitionError(f"'{name}': {error}. Install what it imports.") from error
        raise DefinitionError(
            f"'{name}': there is no module '{module}', installed or in {here}. Correct it, or"
            " change to its directory."
        ) from None
    _refuse_hidden(name, found, Path(here, *module.split(".")))
    if not hasattr(found, attribute):
        public = [one for one in vars(found) if not one.startswith("_")]
        hint = did_you_mean(attribute, public)
        raise DefinitionError(
            f"'{name}': the module '{module}' has no '{attribute}'.{hint} Correct it."
        )
    return object_method(getattr(found, attribute))


def _refuse_hidden(name: str, found: types.ModuleType, path: Path) -> None:
    """Raise DefinitionError if another module of the same name shadows the one at `path`."""
    files = (path.with_suffix(".py"), path / "__init__.py")
    own = next((file for file in files if file.is_file()), None)
    other = getattr(found, "__file__", None)
    if own and not (other and own.samefile(other)):
        raise DefinitionError(
            f"'{name}': {own} is hidden by another module of its name, {other or 'of Python'}."
            " Rename one, or run them apart."
        )


def pack(method: MethodSpec, folder: Path) -> None:
    """Write the objects of `method` and its members, if any, into `folder`."""
    if objects := pickled(method):
        (folder / FILE).write_bytes(objects)


def unpack(method: MethodSpec, folder: Path) -> MethodSpec:
    """Return `method` with the objects that `pack` wrote."""
    path = folder / FILE
    return with_objects(method, path.read_bytes()) if path.is_file() else method


def pickled(method: MethodSpec) -> bytes:
    """Return the pickled objects of `method` and its members; empty if there are none."""
    found = {part.name: part.runner for part in _objects(method)}
    if not found:
        return b""
    import cloudpickle

    objects: bytes = cloudpickle.dumps(found)
    return objects


def with_objects(method: MethodSpec, objects: bytes) -> MethodSpec:
    """Return `method` with its objects restored from the bytes of `pickled`."""
    if not objects:
        return method
    import cloudpickle

    return _with_runners(method, cloudpickle.loads(objects))


def _objects(method: MethodSpec) -> Iterator[ObjectMethod]:
    """Yield the objects among a method and its members."""
    if isinstance(method, ObjectMethod):
        yield method
    for member in (*method.members, *(method.scorer.members if method.scorer else ())):
        yield from _objects(member)


def _with_runners(method: MethodSpec, runners: Mapping[str, Any]) -> MethodSpec:
    """Return `method` with `runners` (name -> object) in the parts of these names."""

    def found(part: AdapterSpec) -> dict[str, Any]:
        return {"members": tuple(_with_runners(member, runners) for member in part.members)}

    if method.adapter == ADAPTER and method.name in runners:
        made = ObjectMethod(**method.model_dump(exclude={"members", "scorer"}))
        made._runner = runners[method.name]
        return made
    scorer = method.scorer and method.scorer.model_copy(update=found(method.scorer))
    return method.model_copy(update={**found(method), "scorer": scorer})


def _name(value: Any) -> str:
    inner = getattr(value, "func", value)  # of functools.partial
    named = inner if hasattr(inner, "__name__") else type(value)
    return re.sub(r"\W", "", named.__name__) or "object"


def _runner(value: Any, name: str) -> Any:
    if isinstance(value, type):
        try:
            value = value()
        except TypeError as error:
            raise DefinitionError(f"{name}: {error}. Pass an object, not its class.") from error
    missing = lacking(value)
    if not missing:
        return value
    if callable(value):
        return SearchFunction(value, name)
    raise DefinitionError(
        f"{name}: a {type(value).__name__} without '{missing[0]}' is no method. Expected a runner"
        " (inherit from rankstone.Runner, and define encode and index), or a function"
        " search(queries, k) -> list of dicts of document id -> score."
    )


def _refuse_unpicklable(value: Any, name: str) -> None:
    import cloudpickle

    try:
        cloudpickle.dumps(value)
    except Exception as error:
        where, part = _culprit(value, name)
        raise DefinitionError(
            f"{name}: '{where}', a {type(part).__name__}, cannot be sent to the process that"
            f" measures it ({error}). Make it in encode or index, or leave it out in __getstate__."
        ) from error


def _culprit(value: Any, path: str, depth: int = 0) -> tuple[str, Any]:
    """Return the innermost part of `value` that cannot be pickled, and its path."""
    import cloudpickle

    for name, part in _parts(value, path) if depth < DEEPEST else ():
        try:
            cloudpickle.dumps(part)
        except Exception:
            return _culprit(part, name, depth + 1)
    return path, value


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the parts that a pickle of `value` contains, with paths such as `Mine.client.lock`."""
    if isinstance(value, SearchFunction):
        yield path, value.function
    elif isinstance(value, dict):
        yield from ((f"{path}[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, list | tuple | set):
        yield from ((f"{path}[{number}]", part) for number, part in enumerate(value))
    elif isinstance(value, types.MethodType):
        yield f"{path}.__self__", value.__self__
    elif isinstance(value, types.FunctionType):
        code = value.__code__
        cells = zip(code.co_freevars, value.__closure__ or (), strict=True)
        yield from ((f"{path}: {name}", cell.cell_contents) for name, cell in cells)
        here = value.__globals__
        yield from ((f"{path}: {name}", here[name]) for name in code.co_names if name in here)
    else:
        yield from ((f"{path}.{name}", part) for name, part in _attributes(value))


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    yield from getattr(value, "__dict__", {}).items()
    if not isinstance(value, type) and by_value(type(value)):
        yield from vars(type(value)).items()
