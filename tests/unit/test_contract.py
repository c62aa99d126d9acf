"""Sizes that indexes state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankstone.errors import AdapterError
from rankstone.execution.contract import index_size


class Index:
    def __init__(self, memory: Any, disk: Any = None) -> None:
        self._memory, self._disk = memory, disk

    def nbytes(self) -> Any:
        return self._memory

    def disk_bytes(self) -> Any:
        return self._disk


@pytest.mark.parametrize("size", [0, 12, np.int64(12), 12.0, None])
def test_a_size_is_a_number_of_bytes_or_unknown(size: Any, tmp_path: Path) -> None:
    found = index_size(Index(size, size), 3, tmp_path)
    assert (found.memory_bytes, found.disk_bytes) == (size, size)
    assert found.bytes_per_document == (None if size is None else size / 3)


@pytest.mark.parametrize("size", [-5, float("nan"), float("inf"), 10**400, "12", 1j])
def test_anything_else_is_refused_by_name(size: Any, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"^nbytes\(\) of the index returned"):
        index_size(Index(size), 3, tmp_path)
    with pytest.raises(AdapterError, match=r"^disk_bytes\(\) of the index returned"):
        index_size(Index(1, size), 3, tmp_path)
