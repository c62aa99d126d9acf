"""Types of values shared by the definitions of tasks and methods."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationInfo

from rankstone.errors import DefinitionError
from rankstone.strict import absurd

REGISTERED = r"^[A-Za-z_][\w.-]*(:[A-Za-z_]\w*)?$"
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*|[a-z_]+|")
"""Name of an environment variable, or empty. Mixed-case text, or lower-case text with digits, looks
like a key instead."""
ENDING = "_env"
"""Suffix of parameters that name an environment variable."""


def variable_fault(key: str, value: object) -> str:
    """Return the error for a parameter that does not name an environment variable. The value is not
    shown: a key or address written by mistake must not appear in any record."""
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
"""Field of an adapter that contains the name of an environment variable, or nothing."""


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
