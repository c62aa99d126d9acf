"""Modules imported by every command load nothing that only some commands need."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"numpy", "pandas", "pyarrow", "torch", "faiss", "rich"}


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("rankstone.results.record", set()),
        ("rankstone.results.store", set()),
        ("rankstone.profiling.machine", set()),
        ("rankstone.results.trec_run", {"numpy", "pyarrow"}),
        ("rankstone.leaderboards.frame", {"numpy", "pandas"}),
    ],
)
def test_modules_loaded_by_an_import(module: str, allowed: set[str]) -> None:
    code = f"import sys, {module}; print(*({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # pandas brings pyarrow where it is installed.
    optional = {"pyarrow"} if "pandas" in allowed else set()
    assert allowed <= set(done.stdout.split()) <= allowed | optional
