"""Early exit: the first layers of a network."""

from __future__ import annotations

from typing import Any

from rankstone.errors import DefinitionError
from rankstone.runners.transformer.flops import layers


def leave(model: Any, exit_layer: int, name: str) -> None:
    """Remove the layers after `exit_layer`."""
    stack = layers(model, model.config)
    if stack is None or not 1 <= exit_layer <= len(stack):
        depth = "no layers to leave after" if stack is None else f"{len(stack)} layers"
        raise DefinitionError(
            f"key 'parameters.exit_layer': {exit_layer}, but '{name}' has {depth}. Correct it."
        )
    del stack[exit_layer:]
    model.config.num_hidden_layers = exit_layer
