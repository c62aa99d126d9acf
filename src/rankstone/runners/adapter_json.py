"""Adapters as JSON, for indexes that need a scorer to search.

The JSON holds the adapter's class, its parameters, the folder and files of its model, and the same
for its members. Constructing the adapter from it verifies these files, so that a loaded index gives
the results of the saved one, or an error.
"""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

from rankstone.errors import AdapterError
from rankstone.runners.models import LocatedModel, locate
from rankstone.specs import ModelSpec

ADAPTER, MODEL, TUPLE = "adapter", "model", "tuple"
"""Keys of JSON objects that represent types without a JSON form."""


def name_of(kind: type) -> str:
    """Return `module:Class` of a class, for `class_of`."""
    return f"{kind.__module__}:{kind.__qualname__}"


def class_of(name: str) -> Any:
    """Return the class of a `module:Class`."""
    module, _, kind = name.partition(":")
    return getattr(importlib.import_module(module), kind)


def to_json(adapter: Any) -> dict[str, Any]:
    """Return the arguments of `adapter`; AdapterError if it is not a dataclass."""
    if not dataclasses.is_dataclass(adapter) or isinstance(adapter, type):
        raise AdapterError(
            f"{type(adapter).__name__} cannot be saved with an index: it is not a dataclass."
            " Make it a frozen dataclass of its parameters."
        )
    names = [field.name for field in dataclasses.fields(adapter) if field.init]
    fields = {name: _plain(getattr(adapter, name)) for name in names}
    return {ADAPTER: name_of(type(adapter)), "fields": fields}


def from_json(saved: dict[str, Any]) -> Any:
    """Construct the adapter; ModelError if its model's files are missing or have changed."""
    fields = {name: _value(plain) for name, plain in saved["fields"].items()}
    return class_of(saved[ADAPTER])(**fields)


def _plain(value: Any) -> Any:
    if isinstance(value, LocatedModel):
        return {MODEL: {**dataclasses.asdict(value), "folder": str(value.folder)}}
    if isinstance(value, tuple):
        return {TUPLE: [_plain(item) for item in value]}
    return to_json(value) if dataclasses.is_dataclass(value) else value


def _value(plain: Any) -> Any:
    keys = set(plain) if isinstance(plain, dict) else set()
    if keys == {MODEL}:
        return _model(plain[MODEL])
    if keys == {TUPLE}:
        return tuple(_value(item) for item in plain[TUPLE])
    return from_json(plain) if keys == {ADAPTER, "fields"} else plain


def _model(saved: dict[str, Any]) -> LocatedModel:
    model = LocatedModel(**{**saved, "folder": Path(saved["folder"])})
    locate(ModelSpec(id=model.id, path=str(model.folder), sha256=model.files))
    return model
