from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rankstone.errors import ResultsError
from rankstone.results.per_query import (
    read_latency,
    read_per_query,
    write_latency,
    write_per_query,
)


def test_values_per_query_read_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    values = {"nDCG@10": np.array([0.5, 1 / 3]), "AP": np.array([0.0, 1.0])}
    write_per_query(path, ["q 1", "ü"], values)
    found = read_per_query(path)
    assert found.query_ids == ["q 1", "ü"]
    assert list(found.measures) == ["nDCG@10", "AP"]
    np.testing.assert_array_equal(found.measures["nDCG@10"], values["nDCG@10"])


def test_a_table_without_queries_reads_back(tmp_path: Path) -> None:
    write_per_query(tmp_path / "x.parquet", [], {"AP": np.array([])})
    assert read_per_query(tmp_path / "x.parquet").query_ids == []


@pytest.mark.parametrize("name", ["AP", "query"])
def test_values_must_fit_the_queries(tmp_path: Path, name: str) -> None:
    with pytest.raises(ResultsError, match=f"measure '{name}' has shape"):
        write_per_query(tmp_path / "x.parquet", ["q"], {name: np.array([1.0, 2.0])})


def test_latencies_read_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_latency(path, np.array([1.5, 2.5]), np.array([0.1, 0.2]))
    found = read_latency(path)
    np.testing.assert_array_equal(found.encode_ms, [1.5, 2.5])
    np.testing.assert_array_equal(found.search_ms, [0.1, 0.2])
    with pytest.raises(ResultsError, match="Time both"):
        write_latency(path, np.array([1.0]), np.array([]))


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with pytest.raises(ResultsError, match=r"x\.parquet: cannot be read"):
        read_latency(path)
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(ResultsError, match=r"x\.parquet: cannot be read"):
        read_latency(path)
    write_latency(path, np.array([1.0]), np.array([1.0]))
    with pytest.raises(ResultsError, match="column 'query' is missing"):
        read_per_query(path)
