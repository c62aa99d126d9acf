"""The house rules that can be read off the imports."""

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rankstone

SOURCE = Path(rankstone.__file__).parent
# What each room may import of the others; specs, errors and atomic are open to all.
ALLOWED = {
    "cli": {
        "api", "execution", "leaderboards", "results", "workspace", "doctor", "benchmarks",
        "cli_boards", "cli_cache", "cli_claims", "cli_compare",
        "cli_exchange", "cli_gate", "cli_report", "cli_reproduce", "cli_site",
        "cli_data", "cli_definitions", "cli_options",
    },
    "cli_boards": {"leaderboards", "reports", "results", "workspace"},
    "cli_cache": {"api", "execution", "cli_boards", "cli_options"},
    "cli_claims": {"reports", "execution", "leaderboards", "cli_boards", "cli_options"},
    "cli_compare": {"reports", "leaderboards", "cli_boards", "cli_options"},
    "cli_exchange": {"reports", "cli_boards", "cli_options"},
    "cli_report": {"reports", "leaderboards", "cli_boards", "cli_options"},
    "cli_gate": {"reports", "leaderboards", "cli_boards", "cli_options"},
    "cli_data": {"api", "execution", "workspace", "benchmarks", "cli_boards", "cli_options"},
    "cli_definitions": {"workspace", "leaderboards", "runners", "cli_boards", "cli_options"},
    "cli_options": set(),
    "cli_reproduce": {
        "reports", "execution", "leaderboards", "cli_boards", "cli_claims", "cli_options",
    },
    "cli_site": {"api", "cli_boards", "cli_options"},
    "api": {"execution", "leaderboards", "results", "workspace", "benchmarks", "evaluation"},
    "reports": {"api", "benchmarks", "execution", "leaderboards", "results"},
    "doctor": {"workspace", "benchmarks", "runners", "profiling", "results"},
    # Tasks that are named by their place, and defined nowhere.
    "workspace": {"benchmarks"},
    "execution": {"runners", "benchmarks", "evaluation", "profiling", "results"},
    "leaderboards": {"results", "evaluation"},
    # The record is the type they hand over; Dataset and Hits the ones they are given.
    "evaluation": {"results", "benchmarks", "runners"},
    "profiling": {"results"},
    "results": set(),
    "runners": set(),
    "benchmarks": set(),
}  # fmt: skip
OPEN = {"specs", "strict", "errors", "atomic", "__version__"}
DEFINITIONS = [
    tomllib.loads(path.read_text()) for path in SOURCE.parents[1].glob("runners/**/*.toml")
]
ADAPTERS = {
    part["adapter"].partition(":")[0]
    for method in DEFINITIONS
    for part in (method, method.get("scorer", {"adapter": method["adapter"]}))
}
"""Modules that the definitions name."""


def imports(path: Path) -> set[str]:
    """Full names of the `rankstone` modules and names that `path` imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("rankstone.")}


def rooms() -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in SOURCE.rglob("*.py"):
        files.setdefault(path.relative_to(SOURCE).parts[0].removesuffix(".py"), []).append(path)
    return files


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    for path in rooms()[room]:
        used = {name.split(".")[1] for name in imports(path)} - OPEN - {room}
        assert used <= ALLOWED[room], path


def test_every_room_has_a_rule() -> None:
    assert set(rooms()) - {"__init__", "__main__"} - OPEN == set(ALLOWED)


def test_nothing_imports_an_adapter() -> None:
    for path in SOURCE.rglob("*.py"):
        used = {name.rpartition(".")[0] for name in imports(path)} | imports(path)
        assert not used & ADAPTERS, path


def loaded_by(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(out.stdout.splitlines()[-1])}


HEAVY = {"torch", "sentence_transformers", "transformers", "faiss", "bm25s", "pyarrow", "pandas"}


@pytest.mark.parametrize(
    "statement",
    [
        "import rankstone",
        "import rankstone.cli",
        "import rankstone.runners.protocols",
        *(f"import {name}" for name in sorted(ADAPTERS)),
    ],
)
def test_importing_loads_nothing_heavy(statement: str) -> None:
    assert not loaded_by(statement) & HEAVY


def test_public_names_are_sorted_and_exist() -> None:
    assert rankstone.__all__ == sorted(rankstone.__all__)
    assert all(hasattr(rankstone, name) for name in rankstone.__all__)
