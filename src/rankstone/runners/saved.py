"""Adapters as JSON: for an index that cannot search without a scorer.

What is kept is what the adapter was constructed with: its class, its parameters, where its model
lies and which files the model is made of, and the same of its members. Building it anew verifies
that these files are still the same, so that a loaded index gives the results of the saved one or an
error.
"""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

from rankstone.errors import AdapterError
from rankstone.runners.models import LocatedModel, locate
from rankstone.specs import ModelSpec

MODEL, MEMBERS = "model", "members"


def name_of(kind: type) -> str:
    """`module:Class` of a class that `class_of` finds again."""
    return f"{kind.__module__}:{kind.__qualname__}"


def class_of(name: str) -> Any:
    """The class of that `module:Class`."""
    module, _, kind = name.partition(":")
    return getattr(importlib.import_module(module), kind)


def to_json(adapter: Any) -> dict[str, Any]:
    """What `adapter` was constructed with; an AdapterError if it is no dataclass."""
    if not dataclasses.is_dataclass(adapter) or isinstance(adapter, type):
        raise AdapterError(
            f"{type(adapter).__name__} cannot be saved with an index: it is no dataclass."
            " Make it a frozen dataclass of its parameters."
        )
    values = {field.name: getattr(adapter, field.name) for field in dataclasses.fields(adapter)}
    model, members = values.pop(MODEL, None), values.pop(MEMBERS, None)
    return {
        "adapter": name_of(type(adapter)),
        "parameters": values,
        MODEL: None
        if model is None
        else {**dataclasses.asdict(model), "folder": str(model.folder)},
        MEMBERS: None if members is None else [to_json(member) for member in members],
    }


def from_json(saved: dict[str, Any]) -> Any:
    """The adapter anew; a ModelError if its model's files are gone or are others now."""
    arguments = dict(saved["parameters"])
    if saved[MODEL] is not None:
        arguments[MODEL] = _model(saved[MODEL])
    if saved[MEMBERS] is not None:
        arguments[MEMBERS] = tuple(from_json(member) for member in saved[MEMBERS])
    return class_of(saved["adapter"])(**arguments)


def _model(saved: dict[str, Any]) -> LocatedModel:
    model = LocatedModel(**{**saved, "folder": Path(saved["folder"])})
    locate(ModelSpec(id=model.id, path=str(model.folder), sha256=model.files))
    return model
