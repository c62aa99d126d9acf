"""Trainable networks, which become `Layers` for inference. Uses torch, imported when needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rankstone.runners.search.binary.layers import Layers, Vectors

if TYPE_CHECKING:
    import torch

    Tensor = torch.Tensor


class Learner(NamedTuple):
    """A network from (n, inputs) to (n, outputs) tensors."""

    call: Callable[[Tensor], Tensor]
    parameters: list[Any]
    """Trainable tensors."""
    finished: Callable[[], Layers]
    """Returns the trained layers, for inference."""


Begin = Callable[[Layers, int], Learner]
"""(start, seed) -> a trainable network."""


def layered(start: Layers, seed: int) -> Learner:
    """Train all weights and biases of the layers."""
    own = Layers(_tensors(start.weights), _tensors(start.biases))
    return _learner(own, [*own.biases, *own.weights])


def thresholds(start: Layers, seed: int) -> Learner:
    """Train only the biases of the layers."""
    own = Layers(_tensors(start.weights), _tensors(start.biases))
    return _learner(own, list(own.biases))


def _learner(own: Layers, parameters: list[Any]) -> Learner:
    for tensor in parameters:
        tensor.requires_grad_()
    return Learner(own, parameters, lambda: Layers(_arrays(own.weights), _arrays(own.biases)))


def batch_normalised(start: Layers, seed: int) -> Learner:
    """Train linear, batch normalisation, ReLU, linear, sized as `start`, from random weights.

    Weights have torch's default initialisation; the normalisation is merged into the first map.
    """
    import torch
    from torch import nn

    hidden = len(start.biases[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, last = nn.Linear(start.inputs, hidden), nn.Linear(hidden, start.outputs)
    norm = nn.BatchNorm1d(hidden)
    net = nn.Sequential(first, norm, nn.ReLU(), last)

    def call(x: Tensor) -> Tensor:
        net.train(len(x) > 1)  # a single vector has no variance
        values: Tensor = net(x)
        return values

    def finished() -> Layers:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        weights = [(first.weight * scale[:, None]).T.contiguous(), last.weight.T.contiguous()]
        biases = [(first.bias - norm.running_mean) * scale + norm.bias, last.bias]
        return Layers(_arrays(weights), _arrays(biases))

    return Learner(call, list(net.parameters()), finished)


def content_thresholds(hidden: int) -> Begin:
    """Subtract a threshold t(x) = V relu(U x + c) + d from each output; only t is trained.

    Initially t is zero: V and d are zero, U is random.
    """

    def begin(start: Layers, seed: int) -> Learner:
        rng = np.random.default_rng(seed)
        inward = rng.standard_normal((start.inputs, hidden)) / np.sqrt(start.inputs)
        sizes = [(hidden,), (hidden, start.outputs), (start.outputs,)]
        c, outward, d = (np.zeros(size, np.float32) for size in sizes)
        fixed = Layers(_tensors(start.weights), _tensors(start.biases))
        threshold = Layers(_tensors([inward.astype(np.float32), outward]), _tensors([c, d]))
        learnt: list[Any] = [*threshold.biases, *threshold.weights]
        for tensor in learnt:
            tensor.requires_grad_()
        return Learner(lambda x: fixed(x) - threshold(x), learnt, lambda: _less(start, threshold))

    return begin


def _less(start: Layers, threshold: Layers) -> Layers:
    """Return one hidden layer for an affine map minus a threshold, by v = relu(v) - relu(-v)."""
    (weight,), (bias,) = start.weights, start.biases
    weight = np.diag(weight) if weight.ndim == 1 else weight
    (inward, outward), (c, d) = _arrays(threshold.weights), _arrays(threshold.biases)
    one = np.eye(start.outputs, dtype=np.float32)
    return Layers(
        (np.concatenate([weight, -weight, inward], axis=1), np.concatenate([one, -one, -outward])),
        (np.concatenate([bias, -bias, c]), -d),
    )


def _tensors(arrays: Iterable[Vectors]) -> tuple[Any, ...]:
    import torch

    return tuple(torch.from_numpy(array.copy()) for array in arrays)


def _arrays(tensors: Iterable[Any]) -> tuple[Vectors, ...]:
    return tuple(tensor.detach().numpy() for tensor in tensors)
