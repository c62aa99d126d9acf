"""Forecast of `run` for a method on this machine, found by constructing its runner."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal, NamedTuple

from rankstone.errors import MissingExtraError, ModelError, RankstoneError
from rankstone.hub import is_offline
from rankstone.runners.construct import Find, build_runner, load_adapter, parts, untrained
from rankstone.runners.models import LocatedModel, locate, locate_here
from rankstone.specs import MethodSpec, ModelSpec

Kind = Literal["runs", "fetches", "needs weights", "needs an extra", "needs a server", "fails"]


class Outlook(NamedTuple):
    """Forecast of `run`, and the reason."""

    kind: Kind
    detail: str


class AbsentModelError(ModelError):
    """A model is not on this machine; `run` would download it."""

    def __init__(self, model: ModelSpec) -> None:
        super().__init__(model.id)
        self.model = model


def finder() -> Find:
    """Return an offline `locate` that reads the files of each model once."""
    known: dict[str, LocatedModel] = {}

    def find(model: ModelSpec) -> LocatedModel:
        key = model.model_dump_json()
        if key not in known:
            found = locate(model) if model.path is not None else locate_here(model)
            if found is None:
                raise AbsentModelError(model)
            known[key] = found
        return known[key]

    return find


def outlook(method: MethodSpec, find: Find) -> Outlook:
    """Construct the runner of `method` as `run` does, without downloading models."""
    origins: dict[str, str] = {}

    def noted(model: ModelSpec) -> LocatedModel:
        found = find(model)
        origins[model.id] = found.origin
        return found

    try:
        build_runner(untrained(method), find=noted)
    except AbsentModelError as error:
        return _absent(error.model)
    except MissingExtraError as error:
        return Outlook("needs an extra", f"needs the extra '{error.extra}'")
    except ModelError as error:
        if method.weights == "unavailable":
            return Outlook("needs weights", "never released; run your own: --model-path DIR")
        return Outlook("fails", str(error))
    except RankstoneError as error:
        return Outlook("fails", str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # includes SystemExit, and panics of Rust libraries
        return Outlook("fails", f"{type(error).__name__}: {error}")
    for variable in _addresses(untrained(method)):
        if not os.environ.get(variable):
            return Outlook("needs a server", f"set {variable} to the address of its server")
    models = ", ".join(f"{name} ({origin})" for name, origin in origins.items())
    return Outlook("runs", models or method.description)


def _addresses(method: MethodSpec) -> Iterator[str]:
    """Yield the environment variables that hold addresses of servers."""
    for _, part in parts(method):
        default = getattr(load_adapter(part, method.file), "url_env", "")
        if variable := part.parameters.get("url_env", default):
            yield variable


def _absent(model: ModelSpec) -> Outlook:
    if model.obtain:
        return Outlook("needs weights", f"{model.id}: {model.obtain}")
    if is_offline():
        wanted = f"hf download {model.id}"
        return Outlook("fails", f"{model.id} is not here, and HF_HUB_OFFLINE is set: {wanted}")
    return Outlook("fetches", f"{model.id} is not here; the first run downloads it")
