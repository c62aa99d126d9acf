"""Centroids trained by a recipe, in the query encoder's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rankstone.errors import ModelError
from rankstone.runners.models import LocatedModel
from rankstone.runners.search.quantisation.quantiser import Quantiser

FILE = "quantiser.npz"


class Learnt(NamedTuple):
    """A quantiser that encodes documents, and the centroids used to score their codes."""

    coding: Quantiser
    scoring: Quantiser

    def save(self, folder: Path) -> None:
        body: dict[str, Any] = {"coding": self.coding.centroids, "scoring": self.scoring.centroids}
        if self.coding.rotation is not None:
            body["rotation"] = self.coding.rotation
        np.savez(folder / FILE, **body)

    @classmethod
    def load(cls, model: LocatedModel) -> Learnt:
        """Return the quantisers of a trained model; ModelError if there are none."""
        path = model.folder / FILE
        if not path.is_file():
            raise ModelError(
                f"Model '{model.id}': no {FILE} in {model.folder}. Name a folder that a recipe of"
                " the adapter 'jpq' or 'repconc' has made, or remove [model]."
            )
        with np.load(path) as arrays:
            rotation = arrays.get("rotation")
            parts = (Quantiser(rotation, arrays[name]) for name in ("coding", "scoring"))
            return cls(*parts)
