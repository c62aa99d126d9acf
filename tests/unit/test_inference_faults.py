"""Regression tests for statistical inference: each fails on the code that had the fault.

Related tests: the smallest p, the allowance and missing records in `test_gate`, coverage in
`properties/test_coverage`, percentiles in `test_latency`, ratios in `test_claims`.
"""

from __future__ import annotations

import numpy as np
import pytest

from rankstone.evaluation.significance import ratio
from rankstone.execution.ab_comparison import looks
from rankstone.leaderboards.boards import board
from rankstone.leaderboards.gate import judge, judge_ratio
from rankstone.leaderboards.gates.rules import AB_LEVEL, CostRule, GateRules, QualityRule
from rankstone.results.store import ResultStore
from tests.records import make_record
from tests.stored_values import store_mean
from tests.unit.test_boards import spec
from tests.unit.test_gate import slower

BM25, RULE = "lexical/bm25", CostRule(figure="median latency", allowance=1.1)


def put(folder, values, method=BM25, task="toy/one"):
    return store_mean(folder / "results", make_record(method, task), values)


def letters_of(made):
    """Return method -> letters in its row."""
    return {m: "".join(cell.letters for cell in cells) for m, cells in made.rows}


def test_letters_are_earned_in_a_family_of_264_comparisons(tmp_path):
    """The smallest p of ten thousand random flips, times 264, was above .05: no letters."""
    rng, tasks = np.random.default_rng(0), [f"toy/{n}" for n in range(4)]
    base = rng.uniform(0.3, 0.5, 200)
    stored = [
        put(tmp_path, base + 0.02 * m + rng.normal(0, 0.02, 200), f"toy/method{m:02d}", task)
        for task in tasks
        for m in range(12)
    ]
    made = board(spec(tasks=tasks, significance=True), stored, tasks=tasks)
    assert letters_of(made)["toy/method11"], "the best is better than the worst"


def test_last_bits_earn_no_letter(tmp_path):
    base = np.random.default_rng(0).uniform(0.3, 0.5, 200)
    bits = np.nextafter(base, 1)
    assert (bits > base).all()
    stored = [put(tmp_path, base, "toy/a"), put(tmp_path, bits, "toy/b")]
    stored.append(put(tmp_path, base - 0.1, "toy/c"))
    made = letters_of(board(spec(tasks=["toy/one"], significance=True), stored, tasks=["toy/one"]))
    assert made["toy/a"] == made["toy/b"] != ""


def test_no_cell_fails_for_noise(tmp_path):
    """Noise above the hard limit failed: with 20 cells of 300 queries, .65 of the gates did."""
    rng, sides = np.random.default_rng(1), []
    for name in ("old", "new"):
        for n in range(8):
            put(tmp_path / name, rng.beta(0.4, 0.8, 300), task=f"toy/{n:02d}")
        sides.append(ResultStore(tmp_path / name / "results").cells())
    found = judge(*sides, GateRules())
    assert max(one.baseline - one.candidate for one in found) > 0.02
    assert {one.outcome for one in found} == {"undecided"}


@pytest.mark.parametrize("allowed", [0.005, 0.02, 0.1])
def test_a_drop_of_the_allowance_itself_is_permitted(tmp_path, allowed):
    base = np.random.default_rng(0).uniform(0.3, 0.9, 300)
    cells = []
    for name, values in (("old", base), ("new", base - allowed)):
        put(tmp_path / name, values)
        cells.append(ResultStore(tmp_path / name / "results").cells())
    rules = GateRules(quality=(QualityRule(allowance=allowed, hard_limit=allowed),))
    (one,) = judge(*cells, rules)
    assert (one.verdict, one.outcome) == ("equivalent", "pass"), one.detail


def rounds_of(rng, n, spread, times=1.0):
    """Return the records of `n` rounds whose latencies vary by the factor `spread`."""
    return [make_record(profile=slower(times * np.exp(rng.normal(0, spread)))) for _ in range(n)]


def test_what_is_not_proved_slower_does_not_pass():
    """Two rounds with a ratio between .011 and 78 passed."""
    rng = np.random.default_rng(2)
    one = judge_ratio(RULE, rounds_of(rng, 2, 0.5), rounds_of(rng, 2, 0.5), level=AB_LEVEL)
    assert one.low < 0.1 < 10 < one.high
    assert (one.verdict, one.outcome) == ("not shown", "undecided")


def test_identical_code_is_rarely_slower_however_often_it_is_looked_at():
    """The rate of false alarms over all looks at the rounds is at most `AB_LEVEL`."""
    rng, trials, alarms = np.random.default_rng(3), 600, 0
    level = AB_LEVEL / len(looks(24))
    for _ in range(trials):
        old, new = np.exp(rng.normal(0, 0.2, (2, 24))).tolist()
        alarms += any(ratio(old[:n], new[:n], level).low > 1 for n in looks(24))
    # One side of the two-sided level counts.
    assert alarms / trials <= AB_LEVEL / 2 + 2 * np.sqrt(AB_LEVEL / 2 / trials)


@pytest.mark.parametrize("rounds", [2, 3, 5, 7, 13, 25, 96, 101])
def test_rounds_are_even_in_number(rounds):
    """With an odd number, one side came first more often."""
    assert all(n % 2 == 0 for n in looks(rounds))
    assert looks(rounds)[-1] in (rounds, rounds - 1)
