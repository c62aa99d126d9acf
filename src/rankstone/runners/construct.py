"""Construction of a runner from its definition: import, check, build.

An adapter is imported on first use. Its module must not import heavy libraries at the top level, so
that a missing extra can be reported before anything is loaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pydantic

from rankstone import registry
from rankstone.errors import DefinitionError, ModelError, did_you_mean, require
from rankstone.runners.code_digest import adapter_digest
from rankstone.runners.models import LocatedModel, locate
from rankstone.runners.objects.method import ObjectMethod
from rankstone.runners.protocols import AnyRunner, lacking
from rankstone.specs import MODELS, AdapterSpec, MethodSpec, ModelSpec, ScorerSpec
from rankstone.specs.values import refuse_secrets

Part = TypeVar("Part", bound=AdapterSpec)
Find = Callable[[ModelSpec], LocatedModel]
NOT_PARAMETERS = {*MODELS, "members", "scorer"}


def build_runner(spec: MethodSpec, where: str = "", *, find: Find = locate) -> AnyRunner:
    """Return the runner that `spec` defines, with its members constructed and its model located.

    Args:
        spec: The method.
        where: Source named in errors; by default the definition's file.
        find: Finds a model's files.

    Raises:
        DefinitionError: The adapter does not exist, or a parameter is unknown or has a wrong type.
        MissingExtraError: A library that the adapter needs is not installed.
        ModelError: The model's files are missing, or differ from the pinned ones.
    """
    if isinstance(spec, ObjectMethod):
        spec.refuse_settings()
        _refuse_missing_extras(spec.runner, spec.name)
        return spec.runner
    where = where or spec.file
    for _, part in parts(spec):  # before any failure that would be recorded
        refuse_secrets(part.parameters, where)
    load_adapter(spec, where)
    refuse_unavailable(spec)
    _refuse_other_texts(spec, where)
    name, more = f"Method '{spec.name}'", {}
    if spec.scorer is not None:
        more["scorer"] = _build(spec.scorer, name, f"{where}: table 'scorer'", find)
    runner: AnyRunner = _build(spec, name, where, find, **more)
    if missing := lacking(runner):
        raise DefinitionError(
            f"{where}: key 'adapter': '{spec.adapter}' has no '{missing[0]}'. Inherit from"
            " rankstone.Runner, which defines all but encode and index."
        )
    return runner


def build_part(spec: AdapterSpec, name: str, where: str) -> Any:
    """Construct the adapter of one part of a method: an encoder or a scorer."""
    return _build(spec, name, where, locate)


def _build(spec: AdapterSpec, name: str, where: str, find: Find, **more: Any) -> Any:
    """Construct the adapter with the parameters of `spec` and the arguments `more`."""
    if spec.training is not None:
        raise DefinitionError(
            f"{where}: {name} is trained when it is run (rankstone run), and has no weights before."
            " Name its start, or the folder of its checkpoint, instead."
        )
    adapter = load_adapter(spec, where)
    _refuse_missing_extras(adapter, name)
    for key in sorted(NOT_PARAMETERS & set(spec.parameters)):
        raise DefinitionError(
            f"{where}: key 'parameters.{key}': not a parameter. Move it to the top of the file."
        )
    arguments = {**spec.parameters, **more}
    if spec.members:
        arguments["members"] = tuple(
            build_runner(member, f"{where}: member '{member.name}'", find=find)
            for member in spec.members
        )
    return _construct(adapter, {**arguments, **located_models(spec, find)}, where)


def _refuse_missing_extras(adapter: Any, name: str) -> None:
    for library, extra in getattr(adapter, "requires", {}).items():
        require(name, extra, library)


def located_models(spec: AdapterSpec, find: Find = locate) -> dict[str, LocatedModel]:
    """Return the models of `spec` by key (`model`, `query_model`); ModelError if one is missing."""
    return {key: find(model) for key, model in spec.models.items()}


def refuse_unavailable(spec: MethodSpec) -> None:
    """Raise ModelError if the weights of `spec` were never released and no path is given."""
    models = [*spec.models.values(), *(spec.scorer.models.values() if spec.scorer else ())]
    if spec.weights == "unavailable" and any(model.path is None for model in models):
        raise ModelError(
            f"Method '{spec.name}': its weights were never released, so it is listed but not run"
            f" (published results: rankstone list published {spec.name})."
            " If you have weights, name their folder: --model-path DIR, or the key"
            f" 'path' of [model] in a copy of {spec.file}."
        )


def _refuse_other_texts(spec: MethodSpec, where: str) -> None:
    """Raise DefinitionError if a member has a different text template: they share the corpus."""
    for member in spec.members:
        if member.text != spec.text:
            raise DefinitionError(
                f"{where}: key 'members': '{member.name}' reads documents as {member.text!r},"
                f" and its composite as {spec.text!r} (null: the task's)."
                " State the same key 'text' for both, or remove the member."
            )


def each_recipe(spec: Part, change: Callable[[AdapterSpec], AdapterSpec]) -> Part:
    """Return `spec` with `change` applied to every part that has a recipe, members first."""
    changed: dict[str, Any] = {}
    if spec.members:
        changed["members"] = tuple(each_recipe(member, change) for member in spec.members)
    if isinstance(spec, MethodSpec) and spec.scorer is not None:
        changed["scorer"] = each_recipe(spec.scorer, change)
    spec = spec.model_copy(update=changed) if changed else spec
    return change(spec) if spec.training is not None else spec  # type: ignore[return-value]


def untrained(spec: Part) -> Part:
    """Return `spec` without training recipes, that is, with the initial checkpoints."""
    return each_recipe(spec, lambda part: part.model_copy(update={"training": None}))


def code_digest(spec: MethodSpec) -> dict[str, str]:
    """Return the digest of the adapter's code for each of the method's `parts`."""
    return {
        name: adapter_digest(load_adapter(part, spec.file))
        for name, part in parts(spec)
        if not isinstance(part, ObjectMethod)  # an object's parameters include a digest of its code
    }


def parts(spec: MethodSpec) -> Iterator[tuple[str, AdapterSpec]]:
    """Yield the method itself, its scorer, all members of both, and teachers, by name."""
    yield spec.name, spec
    yield from _teachers(spec)
    if spec.scorer is not None:
        yield f"{spec.name}: scorer", spec.scorer
        yield from _teachers(spec.scorer)
    for member in (*spec.members, *(spec.scorer.members if spec.scorer else ())):
        yield from parts(member)


def _teachers(spec: AdapterSpec) -> Iterator[tuple[str, AdapterSpec]]:
    for teacher in spec.training.teachers.values() if spec.training else ():
        yield from parts(teacher)


def load_adapter(spec: AdapterSpec, where: str) -> Any:
    """Return the class that `spec.adapter` names; DefinitionError if not a runner or scorer.

    Without the check, a definition could construct any class, such as `subprocess:Popen` with a
    command.
    """
    adapter = registry.load("adapter", spec.adapter, where)
    methods = ("score",) if isinstance(spec, ScorerSpec) else ("encode", "index")
    missing = [name for name in methods if not callable(getattr(adapter, name, None))]
    if not isinstance(adapter, type) or missing:
        fault = f"has no method '{missing[0]}'" if isinstance(adapter, type) else "is not a class"
        raise DefinitionError(
            f"{where}: key 'adapter': '{spec.adapter}' {fault}. Name a class with"
            f" {' and '.join(methods)} (rankstone.runners.protocols)."
        )
    return adapter


def _construct(adapter: Any, arguments: dict[str, Any], where: str) -> Any:
    try:
        return adapter(**arguments)
    except pydantic.ValidationError as error:
        fields = dataclasses.fields(adapter) if dataclasses.is_dataclass(adapter) else ()
        known = sorted({field.name for field in fields} - NOT_PARAMETERS)
        faults = [_explain(fault, known) for fault in error.errors()]
        raise DefinitionError(f"{where}:\n  " + "\n  ".join(faults)) from None
    except DefinitionError as error:
        raise DefinitionError(f"{where}: {error}") from error
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"{where}: [parameters]: {error}. Correct it.") from error


def _explain(fault: Any, known: list[str]) -> str:
    top = str(fault["loc"][0]) if fault["loc"] else ""
    if top in NOT_PARAMETERS:
        return _explain_part(fault["type"], top)
    key = ".".join(["parameters", *(str(part) for part in fault["loc"])])
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        hint = did_you_mean(top, known) or f" Known: {', '.join(known) or 'none'}."
        return f"unknown key '{key}'.{hint} Remove or rename it, in the file or the command."
    if fault["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"missing key '{key}'. Add it."
    found = f"{fault['msg']}, found {fault['input']!r}"
    return f"key '{key}': {found}. Correct it, in the file or the command."


def _explain_part(kind: str, part: str) -> str:
    if "unexpected" in kind:
        return f"unknown key '{part}': this adapter has no such key. Remove it."
    table = "list 'members'" if part == "members" else f"[{part}] table"
    return f"key '{part}': this adapter needs a valid {table}. Add it."
