"""Training the centroids of a product quantiser to rank: JPQ, and the first stage of RepCONC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from rankstone.runners.search.exact.flat import Vectors
from rankstone.runners.search.quantisation.quantiser import Codes, Quantiser, bare_index
from rankstone.runners.search.quantisation.sinkhorn import balanced_codes
from rankstone.runners.search.quantisation.training_queries import (
    DEPTH,
    Positions,
    TrainingQueries,
    mean_ndcg,
)  # fmt: skip

BATCH = 64
"""Queries of one step."""
N_NEGATIVES = 200
"""Documents that the index ranks best, learnt from anew in every step."""
TEMPERATURE = 0.05
"""Scores of unit vectors differ by tenths; the softmax needs them to differ by several."""
PATIENCE = 3
"""Epochs without a better held-out nDCG@10 after which training ends."""


class Options(NamedTuple):
    """Of training."""

    epochs: int
    centroid_rate: float
    query_rate: float = 0.0
    """0: queries stay as they are."""
    seed: int = 0


class Learnt(NamedTuple):
    """The state of the best epoch.

    Attributes:
        quantiser: the rotation that was given, and the centroids.
        query_transform: (dim, dim) for queries in place of the rotation; None: the rotation.
        held_out: nDCG@10 of the held-out queries before training and after each epoch.
        losses: mean loss over the steps of each epoch.
    """

    quantiser: Quantiser
    query_transform: Vectors | None
    held_out: list[float]
    losses: list[float]


class _Model:
    """Centroids, and a transform of rotated queries, that are being learnt."""

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
        """(n, dim) rotated and transformed."""
        import torch

        rotated = torch.from_numpy(self._start.rotated(vectors))
        return rotated @ self.transform.T if self._learns_query else rotated

    def step(self, loss: Any) -> float:
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())

    def state(self) -> tuple[Quantiser, Vectors | None]:
        """The quantiser and the transform of unrotated queries as they are now."""
        centroids = self.centroids.detach().numpy().copy()
        quantiser = self._start._replace(centroids=centroids)
        if not self._learns_query:
            return quantiser, None
        transform: Vectors = self.transform.detach().numpy()
        rotation = self._start.rotation
        return quantiser, transform.copy() if rotation is None else transform @ rotation


def best_epoch(
    model: _Model,
    epoch: Callable[[int], float],
    codes_of: Callable[[Quantiser], Codes],
    held_out: TrainingQueries,
    epochs: int,
) -> Learnt:
    """Run `epoch` until `held_out` is ranked no better; of all states, the start too, the best."""
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


def _quality(model: _Model, index: Any, queries: TrainingQueries) -> float:
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
    """Centroids trained end to end on what the index itself ranks best; codes stay as they are.

    Zhan et al.: Jointly Optimizing Query Encoder and Product Quantization, CIKM 2021
    (arXiv:2108.00644). Loss of a query: listwise softmax cross-entropy (`ranking_loss`) of one of
    its relevant documents, drawn anew, against the `N_NEGATIVES` that the index of the current
    centroids ranks best. Scores are read from tables as the index reads them.
    """
    model, rng = _Model(start, options), np.random.default_rng(options.seed)

    def epoch(number: int) -> float:
        total = 0.0
        for batch in batches(learn, rng):
            loss = jpq_loss(model, codes, batch, rng)
            total += model.step(loss) * len(batch)
        return total / len(learn)

    return best_epoch(model, epoch, lambda quantiser: codes, held_out, options.epochs)


def jpq_loss(model: _Model, codes: Codes, batch: TrainingQueries, rng: np.random.Generator) -> Any:
    """Mean loss of a batch: of a relevant document each, against what the index ranks best now."""
    import torch

    queries = model.queries(batch.vectors)
    index = bare_index(model.state()[0], codes)
    asked = np.ascontiguousarray(queries.detach().numpy())
    _, found = index.search(asked, min(N_NEGATIVES, index.ntotal))
    chosen = np.array([rng.choice(relevant) for relevant in batch.relevant])
    candidates = np.concatenate([chosen[:, None], found], axis=1)
    scores = table_scores(queries, model.centroids, torch.from_numpy(codes[candidates]).long())
    return ranking_loss(scores, _others(candidates, batch))


def table_scores(queries: Any, centroids: Any, codes: Any) -> Any:
    """(n, k) asymmetric inner products of (n, dim) queries with their own (n, k, M) codes."""
    import torch

    n_parts, _, width = centroids.shape
    parts = queries.reshape(len(queries), n_parts, width)
    tables = torch.einsum("nmw,mcw->nmc", parts, centroids)
    return tables.gather(2, codes.transpose(1, 2)).sum(dim=1)


def ranking_loss(scores: Any, left_out: Any) -> Any:
    """Mean of -log softmax of the first of each row of (n, k) scores, without those left out."""
    import torch

    kept = (scores / TEMPERATURE).masked_fill(left_out, -torch.inf)
    return (kept.logsumexp(dim=1) - kept[:, 0]).mean()


def _others(candidates: Positions, batch: TrainingQueries) -> Any:
    """(n, k) whether a candidate beyond the first is relevant too, and so no negative."""
    import torch

    rows = [np.isin(row, right) for row, right in zip(candidates, batch.relevant, strict=True)]
    others = np.stack(rows)
    others[:, 0] = False
    return torch.from_numpy(others)


class Constraint(NamedTuple):
    """Of the first stage of RepCONC."""

    epsilon: float
    iterations: int
    mse_weight: float
    batch_documents: int


def train_repconc(
    start: Quantiser,
    take: Callable[[Positions], Vectors],
    codes_of: Callable[[Quantiser], Codes],
    learn: TrainingQueries,
    held_out: TrainingQueries,
    options: Options,
    constraint: Constraint,
) -> Learnt:
    """Centroids trained to rank while every centroid must code as many documents as any other.

    Zhan et al.: Learning Discrete Representations via Constrained Clustering for Effective and
    Efficient Dense Retrieval, WSDM 2022 (arXiv:2110.05789). A step takes the relevant documents of
    its queries, some that the current index ranks best, and others by chance; codes them by
    `balanced_codes`; and ranks all of them for every query. The loss is that of `ranking_loss` plus
    mse_weight |R x - c|^2. Its gradient moves the centroids; document vectors and rotation stay.

    Args:
        start: the warm start, of OPQ.
        take: vectors of documents by position.
        codes_of: nearest codes of all documents, for held-out queries and hard negatives.
        learn, held_out: training queries.
        options: of training.
        constraint: of the clustering.
    """
    model, rng = _Model(start, options), np.random.default_rng(options.seed)

    def epoch(number: int) -> float:
        codes, total = codes_of(model.state()[0]), 0.0
        index = bare_index(model.state()[0], codes)
        for batch in batches(learn, rng):
            positions = _documents_of(batch, index, model, constraint.batch_documents, rng)
            vectors = start.rotated(np.ascontiguousarray(take(positions), dtype=np.float32))
            loss = _repconc_loss(model, batch, positions, vectors, constraint)
            total += model.step(loss) * len(batch)
        return total / len(learn)

    return best_epoch(model, epoch, codes_of, held_out, options.epochs)


def _documents_of(
    batch: TrainingQueries, index: Any, model: _Model, n: int, rng: np.random.Generator
) -> Positions:
    """Sorted positions: all relevant ones, as many hard ones, and chance for the rest of `n`."""
    asked = np.ascontiguousarray(model.queries(batch.vectors).detach().numpy())
    depth = min(max(1, n // 2 // len(batch)), index.ntotal)
    _, hard = index.search(asked, depth)
    named = np.unique(np.concatenate([*batch.relevant, hard.ravel()]))
    chance = rng.permutation(index.ntotal)[: n + len(named)]
    others = chance[~np.isin(chance, named)][: max(0, n - len(named))]
    positions: Positions = np.sort(np.concatenate([named, others]))
    return positions


def _repconc_loss(
    model: _Model,
    batch: TrainingQueries,
    positions: Positions,
    vectors: Vectors,
    constraint: Constraint,
) -> Any:
    import torch

    centroids, documents = model.centroids, torch.from_numpy(vectors)
    n_parts, _, width = centroids.shape
    parts = documents.reshape(len(documents), n_parts, width)
    epsilon, iterations = constraint.epsilon, constraint.iterations
    codes = balanced_codes(parts, centroids.detach(), epsilon=epsilon, iterations=iterations)
    quantised = centroids[torch.arange(n_parts), codes].reshape(len(documents), -1)
    scores = model.queries(batch.vectors) @ quantised.T
    relevant = np.stack([np.isin(positions, right) for right in batch.relevant])
    # The best-ranked relevant document leads each row; its other relevant ones are left out.
    mask = torch.from_numpy(relevant)
    leader = scores.detach().masked_fill(~mask, -torch.inf).argmax(dim=1, keepdim=True)
    ordered = torch.cat([scores.gather(1, leader), scores], dim=1)
    left_out = torch.cat([torch.zeros_like(mask[:, :1]), mask], dim=1)
    error = ((documents - quantised) ** 2).sum(dim=1).mean()
    return ranking_loss(ordered, left_out) + constraint.mse_weight * error
