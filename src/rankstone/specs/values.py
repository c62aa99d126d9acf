"""Values that definitions of tasks and of methods share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator

from rankstone.strict import absurd

REGISTERED = r"^[A-Za-z_][\w.-]*(:[A-Za-z_]\w*)?$"


def _sensible(values: dict[str, Any]) -> dict[str, Any]:
    fault = next(absurd(values), None)
    if fault:
        raise ValueError(fault)
    return values


Values = Annotated[dict[str, Any], AfterValidator(_sensible)]
"""Arguments of an adapter or a loader."""
