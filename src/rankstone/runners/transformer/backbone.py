"""Learnt positions by a model's settings, for encoders that check lengths before they load it."""

from __future__ import annotations

from rankstone.errors import DefinitionError
from rankstone.runners.models import LocatedModel
from rankstone.runners.transformer.network import read_json

POSITIONS_AFTER_PADDING = {"camembert", "mpnet", "roberta", "xlm-roberta"}
"""Types of models whose first position has the number behind that of the padding token."""
LEARNT_POSITIONS = {"bert", "distilbert", "dpr", "electra", *POSITIONS_AFTER_PADDING}
"""Types of models that have a vector for each position, and none for those beyond."""


def check_length(model: LocatedModel, stated: int, key: str) -> None:
    """Raise a DefinitionError where `key` states more tokens than there are positions."""
    settings = read_json(model.folder / "config.json")
    kind, positions = settings.get("model_type"), settings.get("max_position_embeddings")
    if positions is None or kind not in LEARNT_POSITIONS:
        return
    padding = settings.get("pad_token_id")
    spare = 1 + (1 if padding is None else int(padding))
    most = int(positions) - (spare if kind in POSITIONS_AFTER_PADDING else 0)
    if stated > most:
        raise DefinitionError(
            f"key 'parameters.{key}': {stated}, but '{model.id}' has"
            f" positions for {most} tokens. Lower it."
        )
