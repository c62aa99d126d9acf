"""The page on quick suites: current, and of the systems that the tables have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from docs.quick_suite import TARGET, text
from rankstone.leaderboards.papers.quick_suites import Systems, of_choices, quick, systems
from rankstone.leaderboards.papers.tables import PaperSpec
from rankstone.workspace import Workspace

PLACE = Workspace.find(Path(__file__).parents[2])
PAPERS = PLACE.load(PaperSpec, "leaderboards/papers")


def test_the_page_is_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == text(), "make reference writes it"


def test_systems_are_complete_and_count_once() -> None:
    tasks = PLACE.suites["beir-13"].tasks
    found = systems(PAPERS, tasks)
    assert found.values.shape == (len(found.names), 13)
    assert len({tuple(row) for row in found.values.tolist()}) == len(found.names) > 50
    bge = [n for n, name in enumerate(found.names) if "bge-base" in name]
    assert (
        len(bge) == 1
    )  # MTEB's own and external values are one system, pyserini's the same method
    row = dict(zip(tasks, found.values[bge[0]].tolist(), strict=True))
    assert (row["beir/arguana"], row["beir/fever"]) == (0.63752, 0.86289)
    assert not any(name.startswith("retromae-beir: BM25") for name in found.names)  # quoted


def test_a_quick_suite_is_held_against_the_sets_that_it_lacks() -> None:
    rng = np.random.default_rng(1)
    values = rng.random((12, 1)) / 20 + rng.random((12, 4)) / 20
    found = Systems(tuple("abcdefghijkl"), ("w", "x", "y", "z"), values)
    one = quick(found, ("x", "z"), of_choices(found, 2))
    fast, rest, full = values[:, [1, 3]].mean(1), values[:, [0, 2]].mean(1), values.mean(1)
    assert one.rest.tau.value == pytest.approx(stats.kendalltau(fast, rest).statistic)
    assert one.full.rho.value == pytest.approx(stats.spearmanr(fast, full).statistic)
    pairs = [(i, j) for i in range(12) for j in range(i)]
    alike = [(fast[i] - fast[j]) * (full[i] - full[j]) > 0 for i, j in pairs]
    close = [a for a, (i, j) in zip(alike, pairs, strict=True) if abs(full[i] - full[j]) < 0.02]
    assert one.in_order == pytest.approx(sum(alike) / len(pairs))
    assert 0 < len(close) < len(pairs)
    assert one.close_in_order == pytest.approx(sum(close) / len(close))
    splits = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    means = [[values[:, half].mean(1) for half in split] for split in splits]
    taus = [stats.kendalltau(a, b).statistic for a, b in means] * 2  # either half is the quick one
    assert sorted(of_choices(found, 2)) == pytest.approx(sorted(taus))
    assert one.better == pytest.approx(sum(tau > one.rest.tau.value + 1e-12 for tau in taus) / 6)
