"""Changes to a method on the command line: `--set`, `--precision`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from rankstone.errors import DefinitionError
from rankstone.specs import EVERY, MethodSpec

SCORER = "scorer."
_NUMBER = r"\s*[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?\s*"
NUMBERS = re.compile(rf"{_NUMBER}(?:,{_NUMBER})*")


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Options of a command that change methods."""

    settings: tuple[str, ...] = ()
    """Each is `key=value` for a parameter, `scorer.key=value` for one of the scorer,
    `text=TEMPLATE`, or `instruction=WORDS` for every task. Numbers separated by commas are
    alternatives (see
    `grid`)."""
    precision: str | None = None
    name: str | None = None
    """Label of the single method, to which suffixes that identify its content are appended."""
    candidates: str | None = None
    """The method whose results a cross-encoder re-scores."""
    depth: int | None = None
    """Number of results that are re-scored."""

    def grid(self) -> Iterator[Changes]:
        """Yield these changes for every combination of values: `m=16,32` states two."""
        for settings in product(*map(_alternatives, self.settings)):
            yield replace(self, settings=settings)

    @property
    def values(self) -> dict[str, Any]:
        """Return the keys that are set, with their values; DefinitionError for a key that is set
        twice."""
        pairs = list(map(_parsed, self.settings))
        keys = [key for key, _ in pairs]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise DefinitionError(
                f"--set {twice}: it is set twice, and only one value would be used. Numbers"
                f" separated by commas are alternatives: --set {twice}=1,2."
            )
        return dict(pairs)

    def applied(self, method: MethodSpec) -> MethodSpec:
        """Return `method` with the values; `adapter` is left out, as it selects how a model is
        used."""
        values, scorer = self.values, method.scorer
        values.pop("adapter", None)
        at_model = "" if method.models or scorer is None else SCORER
        if self.precision is not None:
            if at_model + "precision" in values:
                raise DefinitionError("--precision and --set precision exclude each other.")
            values[at_model + "precision"] = self.precision
        changed: dict[str, Any] = {"text": values.pop("text")} if "text" in values else {}
        if "instruction" in values:
            changed["instructions"] = {EVERY: values.pop("instruction")}
        inner = {k.removeprefix(SCORER): v for k, v in values.items() if k.startswith(SCORER)}
        if inner and scorer is None:
            raise DefinitionError(
                f"--set {SCORER}{next(iter(inner))}: '{method.name}' has no scorer."
            )
        own = {key: value for key, value in values.items() if not key.startswith(SCORER)}
        if scorer is not None and inner:
            parameters = _merged(scorer.parameters, inner)
            changed["scorer"] = scorer.model_copy(update={"parameters": parameters})
        changed["parameters"] = _merged(method.parameters, own)
        # Explicitly set values apply to every task.
        on = {task: {k: v for k, v in keys.items() if k not in own} for task, keys in
              method.on.items()}  # fmt: skip
        return method.model_copy(
            update={**changed, "on": {t: keys for t, keys in on.items() if keys}}
        )


def _alternatives(setting: str) -> list[str]:
    """Return `m=16` and `m=32` for `m=16,32`; other than numbers unchanged."""
    key, _, text = setting.partition("=")
    values = text.split(",") if NUMBERS.fullmatch(text) else [text]
    return [setting] if len(values) == 1 else [f"{key}={value.strip()}" for value in values]


def _parsed(setting: str) -> tuple[str, Any]:
    key, sign, text = setting.partition("=")
    if not sign or not key.strip():
        raise DefinitionError(f"--set {setting}: write KEY=VALUE, as in --set max_length=256.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a string without quotes
    return key.strip(), value


def _merged(parameters: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return `parameters` with `values`, whose dotted keys refer to nested tables."""
    merged = dict(parameters)
    for key, value in values.items():
        first, dot, rest = key.partition(".")
        table = merged.get(first)
        inner = table if isinstance(table, dict) else {}
        merged[first] = _merged(inner, {rest: value}) if dot else value
    return merged


NONE = Changes()
