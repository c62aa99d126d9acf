"""Small feed-forward networks for inference, in NumPy."""

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
        weights: (inputs, outputs) of each map; or (inputs,), a diagonal matrix.
        biases: (outputs,) of each map.
    """

    weights: tuple[Vectors, ...]
    biases: tuple[Vectors, ...]

    @classmethod
    def affine(cls, weight: Vectors, bias: Vectors | None = None) -> Layers:
        """Return a single affine map; without `bias`, a linear one."""
        zeros = np.zeros(weight.shape[-1]) if bias is None else bias
        return cls((np.asarray(weight, np.float32),), (np.asarray(zeros, np.float32),))

    def __call__(self, vectors: Any) -> Any:
        """Map (n, inputs) to (n, outputs) in their precision; torch tensors if both are tensors."""
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
