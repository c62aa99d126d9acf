"""Frozen values that reject unknown keys, their digests, and their construction from TOML."""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict

from rankstone.errors import DefinitionError, did_you_mean

LARGEST = 2**63
LONGEST = 1 << 20
DEEPEST = 32
"""Limits of integers, of text lengths and of nesting in definitions."""


class Spec(BaseModel):
    """A frozen value that rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    DOCUMENTATION: ClassVar[frozenset[str]] = frozenset({"description", "title"})
    """Fields that cannot change a number, and are not part of the digest."""
    LATER: ClassVar[frozenset[str]] = frozenset()
    """Fields that are part of the digest only if they are set, so that adding a field does not
    change the digests of existing definitions."""

    def digest(self) -> str:
        """Return the sha256 of the canonical JSON of everything that can change a number."""
        return canonical_digest(self._digested())

    def _digested(self) -> dict[str, Any]:
        body = self.model_dump(mode="json", exclude=set(self.DOCUMENTATION))
        for name in self.LATER & set(body):
            if getattr(self, name) == type(self).model_fields[name].default:
                del body[name]
        for name in body:
            body[name] = _digested(getattr(self, name), body[name])
        return body


def _digested(value: Any, dumped: Any) -> Any:
    """Return the part of a field that is digested; nested specs decide for themselves."""
    if isinstance(value, Spec):
        return value._digested()
    if isinstance(value, tuple) and any(isinstance(one, Spec) for one in value):
        return [_digested(*pair) for pair in zip(value, dumped, strict=True)]
    return dumped


def canonical_digest(body: Any) -> str:
    """Return the sha256 of `body` as JSON with sorted keys."""
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_toml(path: Path) -> dict[str, Any]:
    """Return the parsed file; a DefinitionError names the file, and the key of an invalid value."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        fault = next(absurd(values), None)
    except FileNotFoundError:
        raise DefinitionError(
            f"{path}: no such file. (rankstone list runners|benchmarks)"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{path}: cannot be read: {error}") from error
    except RecursionError:
        raise DefinitionError(f"{path}: tables or lists nest too deeply. Correct it.") from None
    except ValueError as error:  # TOMLDecodeError, or an integer of too many digits
        raise DefinitionError(f"{path}: not valid TOML: {error}") from error
    if fault:
        raise DefinitionError(f"{path}: {fault}. Correct it.")
    return values


def absurd(value: Any, key: str = "") -> Iterator[str]:
    """Yield a message, with its key, for each value that no definition or record may contain."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"key '{key}': {value} is not a finite number"
    elif isinstance(value, int) and abs(value) >= LARGEST:
        yield f"key '{key}': an integer of more than 64 bits"
    elif isinstance(value, str) and len(value) > LONGEST:
        yield f"key '{key}': a text of {len(value):,} characters; at most {LONGEST:,} are read"
    elif isinstance(value, dict | list | tuple):
        if key.count(".") >= DEEPEST:
            yield f"key '{key}': tables or lists nest too deeply"
            return
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for name, part in parts:
            yield from absurd(part, f"{key}.{name}" if key else str(name))


SpecT = TypeVar("SpecT", bound=Spec)
Named = TypeVar("Named")


def load_folder(kind: type[SpecT], folder: Path) -> dict[str, SpecT]:
    """Return all definitions `<name>.toml` of `folder`, by name."""
    return {
        path.stem: build_spec(kind, {**read_toml(path), "name": path.stem}, path)
        for path in sorted(folder.glob("*.toml"))
    }


def chosen(known: Mapping[str, Named], names: Iterable[str], what: str) -> list[Named]:
    """Return the definitions of `names`, each once, or all; DefinitionError for an unknown name."""
    wanted = list(dict.fromkeys(names)) or list(known)
    for name in wanted:
        if name not in known:
            raise DefinitionError(
                f"{what} '{name}' is not defined.{did_you_mean(name, known)}"
                f" Defined: {', '.join(known) or 'none'}."
            )
    return [known[name] for name in wanted]


def resolve_name(name: str, known: Collection[str], what: str, folder: Path) -> str:
    """Return the full name that `name` (full, or its last parts) refers to."""
    if name in known:
        return name
    matches = [full for full in known if full.endswith(f"/{name}")]
    if len(matches) == 1:
        return matches[0]
    noun = "benchmarks" if what == "Task" else "runners"
    if matches:
        raise DefinitionError(
            f"{what} '{name}' is ambiguous: {', '.join(matches)}. Name one in full."
        )
    raise DefinitionError(
        f"{what} '{name}' is not defined in {folder}.{did_you_mean(name, known)}"
        f" (rankstone list {noun})"
    )


def named_among(name: str, recorded: Iterable[str]) -> list[str]:
    """Return those of the `recorded` names (methods, tasks or METHOD@TASK) that `name` refers to.

    Names are given in full or by their last parts. If none matches, all or the last digests at the
    end of a method name (`+weights-1a2b3c4d`) may be omitted.
    """
    known = list(recorded)
    whole = [full for full in known if f"/{full}".endswith(f"/{name}")]
    return whole or [full for full in known if _without_digests(name, full)]


def _without_digests(name: str, full: str) -> bool:
    (method, at, task), (own, _, tested) = name.partition("@"), full.partition("@")
    marked = re.fullmatch(rf"(.*/)?{re.escape(method)}(\+.*)?", own) is not None
    return marked and (not at or f"/{tested}".endswith(f"/{task}"))


def build_spec(kind: type[SpecT], values: Mapping[str, Any], path: Path, where: str = "") -> SpecT:
    """Validate `values`; a single error reports all faults with file, key and correction."""
    try:
        # Through JSON, so that TOML arrays become tuples although validation is strict.
        return kind.model_validate_json(json.dumps(values, default=str))
    except pydantic.ValidationError as error:
        faults = "\n".join(f"  {_explain(kind, fault, where)}" for fault in error.errors())
        raise DefinitionError(f"{path}:\n{faults}") from None


def _explain(kind: type[Spec], fault: Any, where: str) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    full = f"{where}.{key}" if where else key
    if fault["type"] == "extra_forbidden":
        known = _fields_at(kind, fault["loc"][:-1])
        hint = did_you_mean(str(fault["loc"][-1]), known) or f" Known keys: {', '.join(known)}."
        return f"unknown key '{full}'.{hint} Remove or rename it."
    if fault["type"] == "missing":
        return f"missing key '{full}'. Add it."
    if fault["type"] == "value_error":
        table = f"table '{full.rstrip('.')}': " if full.rstrip(".") else ""
        text = str(fault["ctx"]["error"])
        end = "" if text.endswith((".", "?")) else "."
        return f"{table}{text}{end} Correct it."
    return f"key '{full}': {fault['msg'].lower()}, found {fault['input']!r}. Correct it."


def _fields_at(kind: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    for part in location:
        annotation = kind.model_fields[part].annotation if part in kind.model_fields else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        nested = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
        if nested:
            kind = nested[0]
    return [name for name in kind.model_fields if name != "name"]
