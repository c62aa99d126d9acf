"""Training of a product quantiser's centroids with a ranking loss, as in JPQ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rankstone.runners.search.exact.flat import Vectors
from rankstone.runners.search.quantisation.quantiser import Codes, Quantiser, bare_index
from rankstone.runners.search.quantisation.training_queries import (
    DEPTH,
    Positions,
    TrainingQueries,
    mean_ndcg,
)

BATCH = 64
"""Queries per step."""
N_NEGATIVES = 200
"""Hard negatives per query: the documents ranked best by the current index, at every step."""
TEMPERATURE = 0.05
"""Temperature of the softmax over scores of unit vectors, whose differences are small."""
PATIENCE = 3
"""Epochs without improvement of held-out nDCG@10 before early stopping."""


class Options(NamedTuple):
    """Options of training."""

    epochs: int
    centroid_rate: float
    query_rate: float = 0.0
    """Learning rate of the query transform; 0: queries are not transformed."""
    seed: int = 0


class Learnt(NamedTuple):
    """The state of the best epoch.

    Attributes:
        quantiser: the given rotation, and the trained centroids.
        query_transform: (dim, dim) for queries instead of the rotation; None: the rotation.
        held_out: nDCG@10 of the held-out queries before training and after each epoch.
        losses: mean loss of each epoch.
    """

    quantiser: Quantiser
    query_transform: Vectors | None
    held_out: list[float]
    losses: list[float]


class Model:
    """Trainable centroids and transform of rotated queries."""

    def __init__(self, start: Quantiser, options: Options) -> None:
        import torch

        self._start, self._learns_query = start, options.query_rate > 0
        dim = start.centroids.shape[0] * start.centroids.shape[2]
        self.centroids = torch.from_numpy(start.centroids.copy()).requires_grad_()
        self.transform = torch.eye(dim).requires_grad_(self._learns_query)
        groups = [{"params": [self.centroids], "lr": options.centroid_rate}]
        if self._learns_query:
            groups.append({"params": [self.transform], "lr": options.query_rate})
        self.optimiser = torch.optim.Adam(groups)

    def queries(self, vectors: Vectors) -> Any:
        """Return (n, dim) rotated and transformed queries."""
        import torch

        rotated = torch.from_numpy(self._start.rotated(vectors))
        return rotated @ self.transform.T if self._learns_query else rotated

    def step(self, loss: Any) -> float:
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())

    def state(self) -> tuple[Quantiser, Vectors | None]:
        """Return the current quantiser, and the current transform of unrotated queries."""
        centroids = self.centroids.detach().numpy().copy()
        quantiser = self._start._replace(centroids=centroids)
        if not self._learns_query:
            return quantiser, None
        transform: Vectors = self.transform.detach().numpy()
        rotation = self._start.rotation
        return quantiser, transform.copy() if rotation is None else transform @ rotation


def best_epoch(
    model: Model,
    epoch: Callable[[int], float],
    codes_of: Callable[[Quantiser], Codes],
    held_out: TrainingQueries,
    epochs: int,
) -> Learnt:
    """Run `epoch` with early stopping on `held_out`; return the best state, including the start."""
    quantiser, transform = model.state()
    index = bare_index(quantiser, codes_of(quantiser))
    history, losses = [_quality(model, index, held_out)], []
    best, best_number = (quantiser, transform), 0
    for number in range(1, epochs + 1):
        losses.append(epoch(number))
        state = model.state()
        index = bare_index(state[0], codes_of(state[0]))
        history.append(_quality(model, index, held_out))
        if history[-1] > history[best_number]:
            best, best_number = state, number
        elif number - best_number >= PATIENCE:
            break
    return Learnt(*best, history, losses)


def _quality(model: Model, index: Any, queries: TrainingQueries) -> float:
    vectors = model.queries(queries.vectors).detach().numpy()
    _, docs = index.search(np.ascontiguousarray(vectors), min(DEPTH, index.ntotal))
    return mean_ndcg(docs, queries.relevant)


def batches(queries: TrainingQueries, rng: np.random.Generator) -> Iterator[TrainingQueries]:
    order = rng.permutation(len(queries))
    for start in range(0, len(order), BATCH):
        yield queries.at(order[start : start + BATCH])


def train_jpq(
    start: Quantiser,
    codes: Codes,
    learn: TrainingQueries,
    held_out: TrainingQueries,
    options: Options,
) -> Learnt:
    """Train centroids end to end with negatives from the index itself; codes are fixed.

    Zhan et al.: Jointly Optimizing Query Encoder and Product Quantization, CIKM 2021
    (arXiv:2108.00644). The loss of a query is the listwise softmax cross-entropy (`ranking_loss`)
    of a random relevant document against the `N_NEGATIVES` ranked best by the index with the
    current centroids. Scores are computed from look-up tables, as by the index.
    """
    model, rng = Model(start, options), np.random.default_rng(options.seed)

    def epoch(number: int) -> float:
        total = 0.0
        for batch in batches(learn, rng):
            loss = jpq_loss(model, codes, batch, rng)
            total += model.step(loss) * len(batch)
        return total / len(learn)

    return best_epoch(model, epoch, lambda quantiser: codes, held_out, options.epochs)


def jpq_loss(model: Model, codes: Codes, batch: TrainingQueries, rng: np.random.Generator) -> Any:
    """Return the mean loss of a batch: a relevant document against the index's current best."""
    import torch

    queries = model.queries(batch.vectors)
    index = bare_index(model.state()[0], codes)
    asked = np.ascontiguousarray(queries.detach().numpy())
    _, found = index.search(asked, min(N_NEGATIVES, index.ntotal))
    chosen = np.array([rng.choice(relevant) for relevant in batch.relevant])
    candidates = np.concatenate([chosen[:, None], found], axis=1)
    scores = table_scores(queries, model.centroids, torch.from_numpy(codes[candidates]).long())
    return ranking_loss(scores, others(candidates, batch.relevant))


def table_scores(queries: Any, centroids: Any, codes: Any) -> Any:
    """Return the (n, k) asymmetric inner products of (n, dim) queries with their (n, k, M)
    codes."""
    import torch

    n_parts, _, width = centroids.shape
    parts = queries.reshape(len(queries), n_parts, width)
    tables = torch.einsum("nmw,mcw->nmc", parts, centroids)
    return tables.gather(2, codes.transpose(1, 2)).sum(dim=1)


def ranking_loss(scores: Any, left_out: Any) -> Any:
    """Return the mean -log softmax of the first column of (n, k) scores, ignoring `left_out`."""
    import torch

    kept = (scores / TEMPERATURE).masked_fill(left_out, -torch.inf)
    return (kept.logsumexp(dim=1) - kept[:, 0]).mean()


def others(candidates: Positions, relevant: Sequence[Positions]) -> Any:
    """Return an (n, k) mask of candidates after the first that are relevant, so not negatives."""
    import torch

    found = np.stack([np.isin(row, right) for row, right in zip(candidates, relevant, strict=True)])
    found[:, 0] = False
    return torch.from_numpy(found)
