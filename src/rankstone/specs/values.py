"""Values that definitions of tasks and of methods share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationInfo

from rankstone.errors import DefinitionError
from rankstone.strict import absurd

REGISTERED = r"^[A-Za-z_][\w.-]*(:[A-Za-z_]\w*)?$"
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*|[a-z_]+|")
"""Name of an environment variable, or none. Letters of both cases, or small ones with digits, are
those of a key."""
ENDING = "_env"
"""End of the keys of parameters that name an environment variable."""


def variable_fault(key: str, value: object) -> str:
    """Return why a parameter that names an environment variable does not, without showing its
    value: a key or an address that was written in its place must be in no record."""
    if not key.endswith(ENDING) or not isinstance(value, str) or VARIABLE.fullmatch(value):
        return ""
    return (
        f"key 'parameters.{key}': not the name of an environment variable (capitals, digits, _)."
        " Put the value into a variable, and state its name:"
        f' {key} = "MY_{key.removesuffix(ENDING).upper()}"'
    )


def _named(value: str, info: ValidationInfo) -> str:
    if fault := variable_fault(str(info.field_name), value):
        raise DefinitionError(fault)
    return value


Variable = Annotated[str, AfterValidator(_named)]
"""Field of an adapter that holds the name of an environment variable, or nothing."""


def _sensible(values: dict[str, Any]) -> dict[str, Any]:
    fault = next(absurd(values), None)
    if fault:
        raise ValueError(fault)
    return values


Values = Annotated[dict[str, Any], AfterValidator(_sensible)]
"""Arguments of an adapter or a loader."""


def refuse_secrets(values: Mapping[str, Any], where: str) -> None:
    """Raise DefinitionError for an argument that should name an environment variable."""
    for fault in filter(None, (variable_fault(*item) for item in values.items())):
        raise DefinitionError(f"{where}: {fault}")
