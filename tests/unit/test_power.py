"""Power against the noncentral t distribution and simulation, and its page."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

import rankstone
from rankstone.cli.app import app
from rankstone.errors import ResultsError
from rankstone.evaluation.power import detectable, queries_needed
from rankstone.evaluation.sign_flips import least_moved, p_above, p_two_sided
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.pages.power import page
from rankstone.leaderboards.power import Setting
from tests.records import make_record
from tests.stored_values import store_values

ONE, OTHER, TASK = "lexical/bm25", "dense/wordllama-256", "stdlib/functions"


@pytest.mark.parametrize("n", [20, 50, 300, 5000])
@pytest.mark.parametrize("level", [0.025, 0.01, 0.0005])
def test_the_power_of_a_t_test_at_the_detectable_difference(n: int, level: float) -> None:
    """Compare with the noncentral t distribution, which the closed form approximates."""
    noncentrality = detectable(0.3, n, level) / 0.3 * math.sqrt(n)
    exact = stats.nct.sf(stats.t.isf(level, n - 1), n - 1, noncentrality)
    assert exact == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("n", [60, 300])
def test_the_sign_flip_test_has_that_power(n: int) -> None:
    rng, trials = np.random.default_rng(n), 200
    drop, both = detectable(0.3, n, 0.01), detectable(0.3, n, 0.005)
    one = [p_above(rng.normal(drop, 0.3, n)) <= 0.01 for _ in range(trials)]
    two = [p_two_sided(rng.normal(both, 0.3, n)) <= 0.01 for _ in range(trials)]
    assert np.mean(one) == pytest.approx(0.8, abs=3 * 0.4 / math.sqrt(trials))
    assert np.mean(two) == pytest.approx(0.8, abs=3 * 0.4 / math.sqrt(trials))


@pytest.mark.parametrize(("difference", "deviation"), [(0.01, 0.3), (0.2, 0.3), (0.005, 0.001)])
def test_the_queries_needed_are_the_fewest_of_which_it_is_detectable(difference, deviation) -> None:
    n = queries_needed(difference, deviation, 0.025)
    assert detectable(deviation, n, 0.025) <= difference < detectable(deviation, n - 1, 0.025)
    normal = ((1.95996 + 0.84162) * deviation / difference) ** 2  # Cohen 1988, of large samples
    assert n == pytest.approx(max(normal, 6), rel=0.01, abs=3)


def test_no_test_shows_anything_by_fewer_queries_than_its_level_permits() -> None:
    for level in (0.025, 0.01, 1e-4):
        k = least_moved(level)
        assert p_above(np.full(k, 0.5)) <= level < p_above(np.full(k - 1, 0.5))
    assert (least_moved(0.025), least_moved(0.5)) == (6, 1)
    assert math.isinf(detectable(0.1, 5, 0.025))
    assert math.isinf(queries_needed(1e-9, 0.3, 0.025))


@pytest.fixture
def results(tmp_path):
    """Two methods that differ on every tenth of 400 queries."""
    rng = np.random.default_rng(0)
    values = rng.beta(0.4, 0.8, 400)
    moved = np.where(np.arange(400) % 10 == 0, rng.permutation(values), values)
    for method, own in ((ONE, values), (OTHER, moved)):
        store_values(tmp_path / "results", make_record(method, TASK), own)
    return tmp_path / "results", moved - values


def test_it_is_a_function_of_stored_records(results) -> None:
    folder, differences = results
    session = rankstone.Session(results=folder)
    (one,) = session.power("bm25", "wordllama-256", on=TASK, differences=(0.01, 0.05))
    assert (one.n, one.moved) == (400, np.count_nonzero(differences))
    assert one.difference == pytest.approx(-differences.mean())
    assert one.deviation == pytest.approx(differences.std(ddof=1))
    assert one.detectable_drop == detectable(one.deviation, 400, 0.05)
    assert one.detectable_difference == detectable(one.deviation, 400, 0.025)
    assert one.needed[0] == queries_needed(0.01, one.deviation, 0.025)
    assert session.power(OTHER, ONE)[0].detectable_drop == one.detectable_drop
    (family,) = session.power(ONE, OTHER, differences=(0.01, 0.05), comparisons=20)
    assert family.detectable_drop == detectable(one.deviation, 400, 0.05 / 20)
    assert family.needed > one.needed
    (many,) = session.power(ONE, OTHER, differences=(0.9,), comparisons=10**12)
    assert math.isinf(many.detectable_drop), "40 queries that differ are too few"
    assert many.needed[0] * one.moved / 400 >= least_moved(0.05 / 10**12 / 2)


def test_methods_that_never_differ_say_nothing(results) -> None:
    folder, _ = results
    (one,) = rankstone.Session(results=folder).power(ONE, ONE)
    assert (one.moved, one.deviation, one.needed) == (0, 0.0, (math.inf,))
    text = render(page([one], Setting((0.01,), 1, 0.05)), "terminal", width=120)
    assert "no query differs, so the variance is unknown" in text


def test_records_of_other_data_say_nothing(results) -> None:
    record = make_record(OTHER, TASK, corpus="another")
    store_values(results[0], record, np.full(40, 0.5))
    with pytest.raises(ResultsError, match=r"of different data \(corpus, queries\)"):
        rankstone.Session(results=results[0]).power(ONE, OTHER)


@pytest.mark.parametrize("faults", [{"level": 0.0}, {"comparisons": 0}, {"differences": (0.0,)}])
def test_settings_of_nothing_are_refused(results, faults) -> None:
    with pytest.raises(ResultsError):
        rankstone.Session(results=results[0]).power(ONE, OTHER, **faults)


def test_the_queries_needed_are_given_by_command(results) -> None:
    def call(*options: str) -> str:
        given = ["power", "bm25", "wordllama-256", "--on", TASK, "--results", str(results[0])]
        found = CliRunner().invoke(app, [*given, "--difference", ".01", *options])
        assert found.exit_code == 0, found.output
        return found.stdout

    (row,) = json.loads(call("--format", "json", "--comparisons", "101", "--difference", ".05"))
    assert (row["comparisons"], row["level"]) == (101, 0.05)
    assert row["queries_for_0.01"] > row["queries_for_0.05"]
    text = call("--format", "markdown", "--comparisons", "101")
    assert "each of 101 comparisons, at family-wise level 0.05" in text
    assert f"{int(row['queries_for_0.01']):,}" in text
