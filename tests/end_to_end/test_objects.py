"""User code as methods: objects of a script, functions, `module:NAME`, entry points."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.letters_collection import write_collection

PACKAGE = ROOT / "tests" / "packages" / "letters"
GUIDE = (ROOT / "docs/guides/my-code.md").read_text().partition('title="mine.py"\n')[2]
DEFINITIONS = GUIDE.partition("\nif __name__")[0]
SCRIPT = """
import json

SCALE = 2.0

class Ours(Mine):
    def encode(self, texts, role):
        return SCALE * super().encode(texts, role)
    def index(self, documents, context):
        assert list(context.ids) == ["dx", "dy", "dz"] and context.ids[1] == "dy"
        return super().index(documents, context)

class Talks(Mine):
    def index(self, documents, context):
        print("printed by the adapter")
        return [1]

def found(queries, k):
    return [{"d" + query[-1]: 1.0, "nowhere": 2.0} for query in queries]

def tuples(queries, k):
    return [[("dx", 1.0)] for query in queries]

if __name__ == "__main__":
    records = rankstone.run([Ours(), Talks, found, tuples], "./collection", results="results")
    records += rankstone.run(found, "./collection", results="results")
    fused = rankstone.composite("reciprocal_rank_fusion", [Ours(), found, "bm25"], k=10)
    records += rankstone.run(fused, "./collection", results="results")
    print(json.dumps([record.model_dump(mode="json") for record in records]))
"""
Records = Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    write_collection(folder / "collection")
    (folder / "mine.py").write_text(DEFINITIONS + SCRIPT)
    return folder


def execute(folder: Path, *arguments: str, path: Path | None = None, code: int = 0) -> str:
    """Run Python in `folder` and return what it printed."""
    source = [str(ROOT / "src"), *([str(path)] if path else [])]
    there = {"PYTHONPATH": os.pathsep.join(source), "RANKSTONE_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **there},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def records(folder: Path) -> Records:
    found = json.loads(execute(folder, "mine.py"))
    assert found[2] == found[4]  # of a lone function: reused
    return {one["method"]["parameters"].get("object", "fused"): one for one in found}


def test_a_class_of_a_script_runs(records: Records) -> None:
    record = records["Ours"]
    assert record["status"] == "ok"
    assert record["measures"]["nDCG@10"]["mean"] == 1
    assert record["method"]["name"].startswith("python/Ours+")
    assert record["profile"]["index"]["memory_bytes"] is None


def test_objects_are_members_of_a_fusion(records: Records) -> None:
    record = records["fused"]
    assert record["error"] is None
    assert record["measures"]["nDCG@10"]["mean"] == 1
    assert record["method"]["name"].startswith("python/reciprocal_rank_fusion+definition-")
    assert record["method"]["parameters"] == {"k": 10}
    assert set(record["profile"]["index"].values()) == {None}, "a member does not state its size"
    [note] = record["warnings"]
    assert "such as 'nowhere'" in note


def test_a_function_is_timed_scored_and_recorded(records: Records) -> None:
    record = records["found"]
    assert record["measures"]["nDCG@10"]["mean"] == 1
    assert record["profile"]["latency"]["n"] >= 3
    assert set(record["profile"]["index"].values()) == {None}
    assert record["warnings"] == [
        "found: 1 ids that it returned are not in the corpus and are left out, such as 'nowhere'"
    ]


def test_a_wrong_type_is_named_with_what_was_expected(records: Records) -> None:
    error = records["tuples"]["error"]
    assert error["message"].startswith("tuples: search(queries, k) returned list for query 0")
    assert "expected a list with one dict of document id -> score per query" in error["message"]
    error = records["Talks"]["error"]
    assert "index returned list; expected an object with a method search" in error["message"]


def test_output_of_an_adapter_is_kept_with_its_failure(records: Records) -> None:
    assert "printed by the adapter" in records["Talks"]["error"]["traceback"]


def test_an_object_is_named_on_the_command_line(folder: Path) -> None:
    command = ("-P", "-m", "rankstone", "run", "mine:tuples", "--on", "./collection")
    execute(folder, *command, "--results", "again", code=1)
    [file] = (folder / "again").rglob("*.json")
    assert "returned list for query 0" in json.loads(file.read_text())["error"]["message"]


def test_a_package_registers_its_adapter(folder: Path, tmp_path: Path) -> None:
    install(tmp_path / "site")
    (tmp_path / "runners").mkdir()
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "none.toml").write_text("")
    (tmp_path / "runners" / "mine.toml").write_text('description = "d"\nadapter = "letters"\n')
    write_collection(tmp_path / "collection")
    code = (
        "import json, rankstone\n"
        "[record] = rankstone.run('mine', './collection')\n"
        "print(json.dumps([record.status, record.headline.mean, record.method.name]))"
    )
    status, mean, name = json.loads(execute(tmp_path, "-c", code, path=tmp_path / "site"))
    assert (status, mean, name) == ("ok", 1, "mine")


def test_the_package_is_short() -> None:
    lines = [line for path in PACKAGE.iterdir() for line in path.read_text().splitlines()]
    assert len(lines) < 40


def install(site: Path) -> None:
    """Install the package and its entry points into `site`."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    about = site / f"{project['name']}-{project['version']}.dist-info"
    about.mkdir(parents=True)
    (site / "letters.py").write_bytes((PACKAGE / "letters.py").read_bytes())
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: letters\nVersion: 1.0\n")
    [(group, points)] = project["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (about / "entry_points.txt").write_text("\n".join(lines))
