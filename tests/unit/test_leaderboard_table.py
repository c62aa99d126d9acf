from __future__ import annotations

import json

import pandas as pd
import pytest

from rankstone.leaderboards.frame import leaderboard, measure_order
from rankstone.results.record import Profile
from tests.records import METHODS, demo_records, make_record


def test_one_row_per_cell_best_first_within_a_task() -> None:
    frame = leaderboard(reversed(demo_records()))
    assert list(zip(frame["task"], frame["method"], frame["status"], strict=True)) == [
        ("stdlib/functions", "dense/all-minilm-l6-v2", "ok"),
        ("stdlib/functions", "hybrid/rrf-bm25-wordllama-minilm", "ok"),
        ("stdlib/functions", "dense/wordllama-256", "ok"),
        ("stdlib/functions", "lexical/bm25", "ok"),
        ("stdlib/modules", "lexical/bm25", "ok"),
        ("stdlib/modules", "dense/all-minilm-l6-v2", "oom"),
    ]


def test_a_row_has_the_figures_of_its_record() -> None:
    row = leaderboard([make_record()]).iloc[0]
    assert (row["nDCG@10"], row["nDCG@10 low"]) == (0.3043, 0.3043 - 0.0131)
    assert row["documents_per_s"] == pytest.approx(5606 / 1.5)
    assert row["queries_per_s"] == pytest.approx(4007 / (0.041 + 0.62 * 1.7))
    assert row["index_memory_bytes"] == 6_812_004
    assert row["total_p99_ms"] == pytest.approx(0.661 * 1.83)
    assert (row["threads"], row["timed_queries"], row["cached"]) == (2, 400, None)


def test_a_cached_phase_is_named() -> None:
    row = leaderboard([make_record("hybrid/rrf-bm25-wordllama-minilm")]).iloc[0]
    assert row["cached"] == "encode_documents"


def test_unknown_is_missing_and_never_zero() -> None:
    frame = leaderboard([make_record(profile=None), make_record(profile=Profile())])
    for name in ("documents_per_s", "queries_per_s", "index_memory_bytes", "total_p50_ms"):
        assert frame[name].isna().all()
    failed = leaderboard([make_record(status="failed")]).iloc[0]
    assert pd.isna(failed["queries_missing"])
    assert failed["error"].startswith("stopped at 4.0 GiB")


def test_kinds_of_columns_do_not_depend_on_the_rows() -> None:
    empty = leaderboard([])
    assert len(empty) == 0
    whole = leaderboard(demo_records())
    assert empty.dtypes.to_dict() == whole[list(empty.columns)].dtypes.to_dict()


def test_the_headline_is_the_first_measure() -> None:
    assert measure_order([make_record()]) == [
        "nDCG@10", "R@10", "R@100", "RR@10", "AP", "Success@5", "Judged@10",
    ]  # fmt: skip


def test_records_of_different_data_are_separated() -> None:
    frame = leaderboard([make_record(), make_record(corpus="corpus of 3.12")])
    assert frame["data"].nunique() == 2


def test_every_figure_survives_json() -> None:
    record = make_record()
    again = type(record).model_validate(json.loads(record.model_dump_json()))
    pd.testing.assert_frame_equal(leaderboard([record]), leaderboard([again]))
    assert len(METHODS) == 4
