"""Balanced clustering by Sinkhorn iterations: every centroid gets the same share."""

from __future__ import annotations

from typing import Any

ROUND = 50
"""Iterations between two conversions to logarithms."""
SAFE = 690.0
"""Largest absolute argument of exp without overflow or underflow in float64."""


def balanced_plan(distances: Any, *, epsilon: float, iterations: int) -> Any:
    """Return the share of each point assigned to each centroid, with equal totals per centroid.

    Minimises <P, D> - epsilon H(P) over P >= 0 whose rows sum to 1 and whose columns sum to
    B / K, where D is `distances` shifted and scaled to [-1, 1] (Cuturi, NIPS 2013; as a constraint
    of clustering in Zhan et al., WSDM 2022, arXiv:2110.05789). O(B K) per iteration.

    Potentials are kept as logarithms, updated every `ROUND` iterations: in between, factors are at
    most of the order of exp(2 / epsilon), which fits float64. If epsilon is too small for that, or
    on overflow, every iteration is computed in logarithms.

    Args:
        distances: (..., B, K) tensor; each (B, K) is a separate problem.
        epsilon: weight of the entropy; the smaller, the harder the assignment.
        iterations: normalisations of all columns and then of all rows.

    Returns:
        (..., B, K) float64; rows sum to 1, columns to B / K up to convergence.
    """
    import torch

    kernel = -centred(distances.double()) / epsilon
    share = float(torch.tensor(kernel.shape[-2] / kernel.shape[-1], dtype=torch.float64).log())
    rows = torch.zeros_like(kernel[..., :1])
    columns = torch.zeros_like(kernel[..., :1, :])
    plan, done = kernel, 0
    while done < iterations:
        columns = share - torch.logsumexp(kernel + rows, dim=-2, keepdim=True)
        rows = -torch.logsumexp(kernel + columns, dim=-1, keepdim=True)
        plan = (kernel + rows + columns).exp()
        done += 1
        if 2 / epsilon < SAFE and done < iterations:
            extra = min(ROUND - 1, iterations - done)
            left, right = _scaled(plan, extra)
            if left.isfinite().all() and right.isfinite().all():
                plan = plan * left * right
                rows, done = rows + left.log(), done + extra
    return plan


def _scaled(plan: Any, iterations: int) -> tuple[Any, Any]:
    """Return the factors of rows and columns after `iterations`, by matrix products."""
    left, right = plan.new_ones(plan[..., :1].shape), plan.new_ones(plan[..., :1, :].shape)
    ratio = plan.shape[-2] / plan.shape[-1]
    for _ in range(iterations):
        right = ratio / (left.transpose(-1, -2) @ plan)
        left = 1 / (plan @ right.transpose(-1, -2))
    return left, right


def centred(distances: Any) -> Any:
    """Return each problem shifted and scaled to [-1, 1]."""
    most = distances.amax(dim=(-1, -2), keepdim=True)
    least = distances.amin(dim=(-1, -2), keepdim=True)
    half = ((most - least) / 2).clamp_min(1e-12)
    return (distances - (most + least) / 2) / half


def balanced_codes(parts: Any, centroids: Any, *, epsilon: float, iterations: int) -> Any:
    """Return (B, M) codes of the (B, M, width) parts of B vectors, for (M, K, width) centroids.

    Each is the centroid with the largest share of the part in `balanced_plan`.
    """
    import torch

    codes = torch.empty(parts.shape[:2], dtype=torch.int64)
    for part in range(parts.shape[1]):  # one at a time, so that its matrix stays in the cache
        distances = torch.cdist(parts[:, part], centroids[part]) ** 2
        plan = balanced_plan(distances, epsilon=epsilon, iterations=iterations)
        codes[:, part] = plan.argmax(dim=-1)
    return codes
