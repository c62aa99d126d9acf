"""Balanced assignment against linear programming and against a plain computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from rankstone.runners.search.quantisation.sinkhorn import balanced_codes, balanced_plan, centred


def distances(n=96, k=12, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random((n, k)) ** 2)


def plain(costs, epsilon, iterations):
    """Compute the textbook iteration; costs are in [-1, 1]."""
    kernel = np.exp(-costs / epsilon)
    left = np.ones(len(kernel))
    for _ in range(iterations):
        right = kernel.shape[0] / kernel.shape[1] / (left @ kernel)
        left = 1 / (kernel @ right)
    return left[:, None] * kernel * right


def least_cost(costs):
    """Return the minimum cost of all plans with the same margins, by linear programming."""
    n, k = costs.shape
    rows = np.kron(np.eye(n), np.ones(k))
    columns = np.kron(np.ones(n), np.eye(k))
    margins = np.concatenate([np.ones(n), np.full(k, n / k)])
    return linprog(costs.ravel(), A_eq=np.concatenate([rows, columns]), b_eq=margins).fun


@pytest.mark.parametrize("epsilon", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("iterations", [1, 7, 50, 51, 160])
def test_it_is_the_textbook_iteration(epsilon, iterations):
    given = distances()
    expected = plain(centred(given).numpy(), epsilon, iterations)
    found = balanced_plan(given, epsilon=epsilon, iterations=iterations)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("epsilon", [0.05, 0.003, 0.0005])
def test_margins_are_uniform(epsilon):
    plan = balanced_plan(distances(), epsilon=epsilon, iterations=4000).numpy()
    np.testing.assert_allclose(plan.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(plan.sum(axis=0) / 8, 1, atol=1e-3)


def test_a_smaller_epsilon_comes_nearer_to_the_optimum():
    given = distances(n=24, k=4)
    costs = centred(given).numpy()
    reached = [
        float((balanced_plan(given, epsilon=epsilon, iterations=2000).numpy() * costs).sum())
        for epsilon in (1.0, 0.1, 0.01, 0.003)
    ]
    assert reached == sorted(reached, reverse=True)
    assert reached[-1] == pytest.approx(least_cost(costs), abs=1e-3)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_nothing_overflows(scale):
    # The setting of the paper, with points that are far from all centroids.
    given = distances(n=256, k=64) * scale
    given[0] = given.max()
    plan = balanced_plan(given, epsilon=0.003, iterations=100)
    assert torch.isfinite(plan).all()
    np.testing.assert_allclose(plan.sum(dim=1), 1, atol=1e-9)
    flat = balanced_plan(torch.ones(5, 4), epsilon=0.003, iterations=100)
    np.testing.assert_allclose(flat, 0.25)


def test_balanced_codes_use_centroids_equally_unlike_the_nearest():
    rng = np.random.default_rng(0)
    parts = torch.from_numpy(rng.standard_normal((512, 2, 4)).astype(np.float32))
    centroids = torch.from_numpy(2 * rng.standard_normal((2, 16, 4)).astype(np.float32))
    codes = balanced_codes(parts, centroids, epsilon=0.003, iterations=100)
    for part in range(2):
        nearest = torch.cdist(parts[:, part], centroids[part]).argmin(dim=1)
        used = np.bincount(codes[:, part], minlength=16)
        assert np.abs(used - 32).max() <= 4
        assert np.abs(np.bincount(nearest, minlength=16) - 32).max() > 16
