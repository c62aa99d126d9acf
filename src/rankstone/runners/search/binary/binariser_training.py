"""Training a binariser on vectors. Uses torch, which is imported when training starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT
from rankstone.runners.search.binary.binariser import Binariser, scaled
from rankstone.runners.search.binary.bit_planes import Vectors
from rankstone.runners.search.binary.layers import Layers
from rankstone.runners.search.binary.learners import Begin, layered

if TYPE_CHECKING:
    import torch

    Tensor = torch.Tensor

Positive = Annotated[int, Field(ge=1)]
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-3
DECAY_AT, DECAY = 0.6, 0.1
"""Share of the steps after which the learning rate is multiplied by `DECAY`."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Recipe:
    """Parameters of training a binariser on the corpus's own vectors (see `trained`)."""

    sample: Positive = 20_000
    """Most documents to train on."""
    epochs: Annotated[int, Field(ge=0)] = 3
    """Passes over the sample."""
    batch: Annotated[int, Field(ge=2)] = 256
    """Vectors per step."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.005
    """Learning rate of SGD with momentum; it drops to a tenth after 60% of the steps."""
    noise: Annotated[float, Field(ge=0)] = 1.0
    """Length of the noise added to a vector to obtain its positive, relative to the vector: at 1,
    their cosine is about .71, as for a query and its document or for near neighbours."""
    temperature: Annotated[float, Field(gt=0)] = 0.05
    """Divisor of cosines in the loss."""
    hardest: Positive = 5
    """Negatives per vector and direction: those with the highest cosine."""
    queue: Annotated[int, Field(ge=0)] = 0
    """Vectors of past batches that can also be negatives."""


def trained(
    start: Binariser,
    vectors: Vectors,
    recipe: Recipe,
    seed: int,
    begin: Begin = layered,
    targets: Vectors | None = None,
) -> Binariser:
    """Return `start` trained with the contrastive loss of BEBR (arXiv:2302.08714).

    A positive pair is one of `vectors` (n, d) and a noisy copy of it. With unit-length codes a of
    copies and b of vectors, the loss is the cross entropy of the matching code against the
    `hardest` others of highest cosine in the batch and in a queue of earlier batches, with cosines
    divided by `temperature` as logits, from a to b and from b to a. The sign has a straight-through
    gradient for arguments within [-1, 1]. With fewer than two vectors, `start` is returned
    unchanged.

    Args:
        begin: converts each network of `start` to a trainable one.
        targets: (n, m) codes of the same texts by another binariser: the loss of a against them is
        added (backward-compatible training, section 3.3 of the paper).
    """
    if not recipe.epochs or len(vectors) < 2:
        return start
    import torch

    learners = [begin(own, seed + number) for number, own in enumerate(start.networks())]
    parameters = [tensor for learner in learners for tensor in learner.parameters]
    networks = [learner.call for learner in learners]
    optimiser = torch.optim.SGD(
        parameters, recipe.learning_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    batches = list(_batches(len(vectors), recipe, seed))
    milestones = [max(int(DECAY_AT * len(batches)), 1)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, DECAY)
    everything = torch.from_numpy(np.ascontiguousarray(scaled(vectors)))
    random = torch.Generator().manual_seed(seed)
    past, old_past = _Queue(recipe.queue), _Queue(recipe.queue)
    old = None if targets is None else torch.nn.functional.normalize(torch.from_numpy(targets))
    for chosen in batches:
        rows = torch.from_numpy(chosen)
        x = everything[rows]
        noise = torch.randn(x.shape, generator=random)
        a, b = _codes(networks, _scaled(x + recipe.noise * noise)), _codes(networks, x)
        loss = _loss(a, b, rows, past, recipe)
        past.add(a.detach(), b.detach(), rows)
        if old is not None:
            loss = loss + _loss(a, old[rows], rows, old_past, recipe)
            old_past.add(a.detach(), old[rows], rows)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    layers = [learner.finished() for learner in learners]
    return Binariser(layers[0], tuple(zip(layers[1::2], layers[2::2], strict=True)))


def widened(binariser: Binariser, hidden: int, seed: int) -> Binariser:
    """Return networks with one hidden layer of `hidden` units that give the same codes.

    v = relu(v) - relu(-v): two units represent each output of an affine map; the remaining units
    have random input weights and zero output weights.
    """
    rng = np.random.default_rng(seed)
    first, *others = (_widened(layers, hidden, rng) for layers in binariser.networks())
    return Binariser(first, tuple(zip(others[0::2], others[1::2], strict=True)))


def _widened(layers: Layers, hidden: int, rng: np.random.Generator) -> Layers:
    (weight,), (bias,) = layers.weights, layers.biases
    weight = np.diag(weight) if weight.ndim == 1 else weight
    inputs, outputs = weight.shape
    spare = max(hidden - 2 * outputs, 0)
    extra = rng.standard_normal((inputs, spare)) / np.sqrt(inputs)
    back = np.concatenate([np.eye(outputs), -np.eye(outputs), np.zeros((spare, outputs))])
    weights = [np.concatenate([weight, -weight, extra], axis=1), back]
    biases = [np.concatenate([bias, -bias, np.zeros(spare)]), np.zeros(outputs)]
    return Layers(
        tuple(array.astype(np.float32) for array in weights),
        tuple(array.astype(np.float32) for array in biases),
    )


def _batches(n: int, recipe: Recipe, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each step: every epoch is shuffled, in batches of about equal size."""
    rng = np.random.default_rng(seed)
    for _ in range(recipe.epochs):
        yield from np.array_split(rng.permutation(n), -(-n // recipe.batch))


class _Queue:
    """Codes of the latest batches, newest first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.entries: tuple[Tensor, ...] | None = None

    def add(self, *new: Tensor) -> None:
        import torch

        if not self._size:
            return
        old = self.entries or tuple(tensor[:0] for tensor in new)
        self.entries = tuple(torch.cat(both)[: self._size] for both in zip(new, old, strict=True))


def _codes(networks: Sequence[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    """Return codes of length 1, as by `Binariser`, with gradients."""
    import torch

    first, *others = networks
    code = _sign(first(x))
    for i, (back, residual) in enumerate(zip(others[0::2], others[1::2], strict=True), start=1):
        code = code + 0.5**i * _sign(residual(x - _scaled(back(code))))
    return torch.nn.functional.normalize(code, dim=1)


def _scaled(vectors: Tensor) -> Tensor:
    """Return vectors of mean square 1."""
    import torch

    units = torch.nn.functional.normalize(vectors, dim=1)
    scaled_up: Tensor = units * vectors.shape[1] ** 0.5
    return scaled_up


def _sign(values: Tensor) -> Tensor:
    """Return ±1, with a straight-through gradient within [-1, 1]."""
    import torch

    limited = values.clamp(-1, 1)
    return limited + (torch.where(values > 0, 1.0, -1.0) - limited).detach()


def _loss(a: Tensor, b: Tensor, owners: Tensor, past: _Queue, recipe: Recipe) -> Tensor:
    import torch

    old_a, old_b, old_owners = past.entries or (a[:0], b[:0], owners[:0])
    same = owners[:, None] == torch.cat([owners, old_owners])
    total = torch.zeros(())
    for ours, theirs, older in ((a, b, old_b), (b, a, old_a)):
        cosines = ours @ torch.cat([theirs, older]).T
        right = cosines.diagonal()[:, None]
        others = cosines.masked_fill(same, -torch.inf)
        hardest = others.topk(min(recipe.hardest, others.shape[1]), dim=1).values
        logits = torch.cat([right, hardest], dim=1) / recipe.temperature
        total = total + (logits.logsumexp(dim=1) - logits[:, 0]).mean()
    return total
