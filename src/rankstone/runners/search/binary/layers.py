"""Small networks from vectors to vectors, for inference: numpy only, and arrays to save."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.saved import SavedIndex

Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Layers(SavedIndex):
    """Affine maps with ReLU between them.

    Attributes:
        weights: of each map, (inputs, outputs); or (inputs,), which scales every input by itself.
        biases: of each map, (outputs,).
    """

    weights: tuple[Vectors, ...]
    biases: tuple[Vectors, ...]

    @classmethod
    def affine(cls, weight: Vectors, bias: Vectors | None = None) -> Layers:
        """One map; without `bias`, a linear one."""
        zeros = np.zeros(weight.shape[-1]) if bias is None else bias
        return cls((np.asarray(weight, np.float32),), (np.asarray(zeros, np.float32),))

    def __call__(self, vectors: Any) -> Any:
        """Map (n, inputs) to (n, outputs), in their precision; tensors where both are tensors."""
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if number:
                own = isinstance(vectors, np.ndarray)
                vectors = np.maximum(vectors, 0) if own else vectors.relu()
            vectors = (vectors * weight if weight.ndim == 1 else vectors @ weight) + bias
        return vectors

    @property
    def inputs(self) -> int:
        return len(self.weights[0])

    @property
    def outputs(self) -> int:
        return len(self.biases[-1])
