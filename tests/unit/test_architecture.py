"""Architecture rules that can be checked from imports."""

import ast
import json
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import rankstone
from rankstone import registry
from rankstone.registry import target

SOURCE = Path(rankstone.__file__).parent
GROUND = {"specs", "strict", "errors", "files", "text_files", "progress", "registry", "arrays",
          "hub", "predicates", "__version__"}  # fmt: skip
"""Modules that all packages may import."""
ALLOWED = {
    "cli": {"session", "leaderboards"},
    "session": {
        "views", "records", "catalogue", "workspace", "execution", "scoring", "leaderboards",
        "benchmarks", "evaluation", "results",
    },
    "views": {"records", "catalogue", "workspace", "leaderboards", "results"},
    "records": {"catalogue", "workspace", "results"},
    "catalogue": {
        "workspace", "doctor", "encodings", "leaderboards", "benchmarks", "runners", "results",
    },
    "doctor": {"workspace", "benchmarks", "runners", "profiling"},
    "workspace": {"benchmarks", "runners"},
    "execution": {
        "encodings", "runners", "benchmarks", "evaluation", "profiling", "results", "training",
    },
    "training": {"runners", "benchmarks", "profiling", "results"},
    "scoring": {"benchmarks", "evaluation", "profiling", "results"},
    "leaderboards": {"evaluation", "results"},
    "encodings": {"runners", "benchmarks", "profiling"},
    "evaluation": {"runners", "benchmarks", "results"},  # the types they are given: Hits, Dataset
    "runners": {"profiling", "results"},  # of results the names of tasks in MTEB
    "benchmarks": {"profiling"},
    "profiling": {"results"},
    "results": set(),
}  # fmt: skip
"""Package -> other packages that it may import."""
MOST_FILES = 15
ADAPTERS = {target("adapter", name, "").partition(":")[0] for name in registry.ADAPTERS}


@cache
def imports(path: Path) -> set[str]:
    """Return the full names of the `rankstone` modules and names that `path` imports anywhere."""
    return imports_in(ast.parse(path.read_text()))


def imports_in(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("rankstone.")}


def imports_at_run_time(path: Path) -> set[str]:
    """Return `imports` without those needed only for annotations."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return imports_in(tree)


def rooms() -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in SOURCE.rglob("*.py"):
        files.setdefault(path.relative_to(SOURCE).parts[0].removesuffix(".py"), []).append(path)
    return files


def forbidden(room: str) -> set[tuple[str, str]]:
    """Return (file, package) of every import that the rules forbid.

    Commands may import the types that `Session` returns.
    """
    found = set()
    read = imports_at_run_time if room == "cli" else imports
    for path in rooms().get(room, ()):
        for used in {name.split(".")[1] for name in read(path)} - GROUND - {room}:
            if used not in ALLOWED[room]:
                found.add((path.relative_to(SOURCE).as_posix(), used))
    return found


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_package_imports_only_lower_layers(room: str) -> None:
    assert forbidden(room) == set()


def test_every_room_has_a_rule() -> None:
    assert set(rooms()) - {"__init__", "__main__"} - GROUND == set(ALLOWED)


def test_no_room_is_crowded() -> None:
    rooms = {path.parent for path in SOURCE.rglob("*.py")}
    assert {
        str(room.relative_to(SOURCE)): n
        for room in rooms
        if (n := len([p for p in room.glob("*.py") if p.name != "__init__.py"])) > MOST_FILES
    } == {}


def test_no_module_hides_behind_a_folder_of_its_name() -> None:
    assert [path for path in SOURCE.rglob("*.py") if path.with_suffix("").is_dir()] == []


def modules() -> dict[str, set[str]]:
    """Return module -> modules of the package that it imports, inside functions too."""
    names = {
        ".".join(["rankstone", *path.relative_to(SOURCE).with_suffix("").parts]): path
        for path in SOURCE.rglob("*.py")
    }
    return {
        module: {
            known
            for name in imports(path)
            if (known := name if name in names else name.rpartition(".")[0]) in names
        }
        for module, path in names.items()
    }


def test_there_are_no_import_cycles() -> None:
    circle: list[str] = []
    try:
        TopologicalSorter(modules()).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert circle == []


def test_nothing_imports_an_adapter() -> None:
    for path in SOURCE.rglob("*.py"):
        used = {name.rpartition(".")[0] for name in imports(path)} | imports(path)
        assert not used & ADAPTERS, path


FIRST_LOADED = """
import importlib, json, sys
names, heavy = json.loads(sys.argv[1])
first = {}
for name in names:
    importlib.import_module(name)
    for one in heavy:
        if one in sys.modules:
            first.setdefault(one, name)
print(json.dumps(first))
"""


HEAVY = {
    "torch", "sentence_transformers", "transformers", "faiss", "bm25s", "pyarrow", "pandas",
    "scipy",
}  # fmt: skip


def test_importing_loads_nothing_heavy() -> None:
    """One process imports all modules: as none may load a heavy one, none can hide another's."""
    names = ["rankstone", "rankstone.cli.app", "rankstone.runners.protocols", *sorted(ADAPTERS)]
    command = [sys.executable, "-c", FIRST_LOADED, json.dumps([names, sorted(HEAVY)])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {}, "library -> the first that loads it"


def test_reading_records_loads_no_statistics() -> None:
    """Tests of significance load scipy when one is computed: it takes longer than all else."""
    command = [sys.executable, "-c", FIRST_LOADED, json.dumps([["rankstone.records"], ["scipy"]])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {}


def test_public_names_are_sorted_and_exist() -> None:
    assert rankstone.__all__ == sorted(rankstone.__all__)
    assert all(hasattr(rankstone, name) for name in rankstone.__all__)
