"""How often intervals of means cover: over distributions of measures, at 10 to 300 queries."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from rankstone.evaluation.intervals import of_means


def ndcg(zeros, ones):
    """Values of which so many are 0 and 1, and the others beta(2, 2)."""

    def draw(rng, n):
        u = rng.random(n)
        return np.where(u < zeros, 0.0, np.where(u < zeros + ones, 1.0, rng.beta(2, 2, n)))

    return draw, ones + (1 - zeros - ones) / 2


def reciprocal_rank(*shares):
    values = np.append(1 / np.arange(1, len(shares) + 1), 0.0)
    chances = np.append(shares, 1 - sum(shares))
    return (lambda rng, n: rng.choice(values, p=chances, size=n)), float(chances @ values)


def success(rate):
    return (lambda rng, n: (rng.random(n) < rate).astype(float)), rate


KINDS = {
    "nDCG .45": ndcg(0.25, 0.2),
    "nDCG .14": ndcg(0.75, 0.03),
    "nDCG .86": ndcg(0.03, 0.75),
    "RR .52": reciprocal_rank(0.4, 0.15, 0.1, 0.05),
    "RR .1": reciprocal_rank(0.05, 0.05, 0.04, 0.03, 0.02),
    "success .95": success(0.95),
    "success .5": success(0.5),
}


def coverage(kind, n, trials):
    draw, mean = KINDS[kind]
    rng = np.random.default_rng(n)
    low, high = of_means(np.stack([draw(rng, n) for _ in range(trials)], axis=1))
    return float(np.mean((low <= mean + 1e-12) & (mean - 1e-12 <= high)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [10, 50, 300])
@pytest.mark.parametrize("trials", [2000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_intervals_of_means_cover_as_often_as_they_say(kind, n, trials, capsys):
    found = coverage(kind, n, trials)
    if trials == 20_000:
        with capsys.disabled():
            sys.stdout.write(f"{kind}: {n} queries: mean covered {found:.3f}" + "\n")
    error = 3 * np.sqrt(0.95 * 0.05 / trials)
    # Of ten 0/1 values the coverage of any interval oscillates (Brown, Cai, DasGupta 2001).
    least, most = (0.90, 0.98) if n == 10 and kind.startswith("success") else (0.93, 0.98)
    assert least - error <= found <= most + error
