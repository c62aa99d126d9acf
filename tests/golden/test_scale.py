"""The page on scale: current, its laws checked by measurements, its simulation by closed forms."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.scale_model import (
    LAWS,
    TARGET,
    Assumed,
    Model,
    first_to_break,
    measurements,
    needs_of_one_driver,
    needs_of_the_design,
)
from docs.scale_page import page
from docs.scale_simulation import Cluster, efficiency, makespan

MEASURED = measurements()
MODEL = Model.of(MEASURED)


def test_the_page_is_current() -> None:
    text = page(Assumed(), MEASURED)
    assert TARGET.read_text(encoding="utf-8") == text, "python docs/scale_model.py writes it"


def test_other_assumptions_are_options_and_are_printed() -> None:
    command = [sys.executable, "docs/scale_model.py", "--gpu-usd-hour", "1.25"]
    done = subprocess.run(
        command, cwd=TARGET.parents[1], check=True, capture_output=True, text=True
    )
    assert done.stdout == page(Assumed(gpu_usd_hour=1.25), MEASURED)


@pytest.mark.parametrize("one", MEASURED, ids=lambda one: f"{one.name} {one.at}")
def test_laws_and_simulation_reproduce_what_was_measured(one) -> None:
    if one.name in LAWS:
        near = 1e-9 if one.calibrates else 0.5
        assert MODEL.value(one.name, **one.at) == pytest.approx(one.value, rel=near)
    elif one.name == "ray_efficiency":
        assert MODEL.value(one.name, **one.at) == pytest.approx(one.value, abs=0.05)


@given(st.integers(1, 20), st.floats(0.1, 10), st.floats(0, 1), st.floats(0, 1), st.integers(1, 3))
def test_rounds_of_equal_shards_take_what_the_slowest_part_takes(
    actors: int, actor_s: float, down: float, up: float, ahead: int
) -> None:
    """A closed network of constant times: n / cycle, but no more than the slowest station."""
    cluster = Cluster(
        actors=actors, actor_s=actor_s, down_bytes=down, up_bytes=up, bytes_per_s=1, ahead=ahead
    )
    shards = 25 * actors
    cycle, slowest = down + actor_s + up, max(down, up, actor_s / actors)
    expected = shards * max(cycle / (actors * ahead), slowest)
    assert makespan(cluster, shards) == pytest.approx(expected, rel=0.1)
    assert efficiency(cluster, shards) <= min(1.0, cluster.most_actors / actors) + 1e-9


def test_one_shard_at_a_time_takes_the_sum_of_all_parts() -> None:
    one = Cluster(
        actors=1, actor_s=3, driver_s=2, down_bytes=10, up_bytes=20, bytes_per_s=10, ahead=1
    )
    assert makespan(one, 7) == pytest.approx(7 * (1 + 1 + 3 + 2 + 1))
    assert one.most_actors == 1.5
    assert makespan(replace(one, ahead=2), 700) == pytest.approx(700 * 8 / 2, rel=0.01)


def test_a_billion_vectors_by_hand() -> None:
    """10^9 x 768 float32: 3.072 TB, 35.6 MB/s for a day, 96 nodes of 32 GB for an index."""
    found = {need.name: need for need in needs_of_one_driver(10**9, MODEL, Assumed())}
    assert found["driver: disk"].amount == pytest.approx(3.072)
    assert found["driver: network"].amount == pytest.approx(35.56, abs=0.01)
    assert found["memory for search"].amount == 96
    assert found["memory for search"].share == 1.5
    small = needs_of_one_driver(8_841_823, MODEL, Assumed())
    assert first_to_break(small) == "none"


def test_the_design_holds_to_a_billion_and_with_codes_of_two_bits_to_ten() -> None:
    assert first_to_break(needs_of_one_driver(10**10, MODEL, Assumed())) != "none"
    for n in (8_841_823, 138_364_198, 10**9):
        assert first_to_break(needs_of_the_design(n, MODEL, Assumed())) == "none"
    two_bits = replace(Assumed(), stored_value_bytes=0.25)
    assert first_to_break(needs_of_the_design(10**10, MODEL, two_bits)) == "none"
