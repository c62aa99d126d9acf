"""Digest of an adapter's code: included and excluded files."""

import importlib
import subprocess
import sys

import pytest

from rankstone.runners.code_digest import adapter_digest, adapter_files
from rankstone.runners.encoders.dense import DenseEncoder
from rankstone.runners.encoders.late_interaction import LateInteraction

PACKAGE = {
    "__init__": "",
    "adapter": "import json\nfrom . import shared\n\nclass Mine:\n    pass\n",
    "shared": "def late():\n    from theirs.inner.deep import value\n    return value\n",
    "unused": "",
    "inner/__init__": "",
    "inner/deep": "from ..adapter import Mine\nfrom rankstone.runners import document_length\n",
}


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    for name, code in PACKAGE.items():
        path = tmp_path / "theirs" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("theirs.adapter").Mine, tmp_path / "theirs"
    for name in [name for name in sys.modules if name.partition(".")[0] == "theirs"]:
        del sys.modules[name]


def test_imports_are_followed_inside_functions_and_round_in_circles(theirs):
    expected = {
        "theirs",
        "theirs.adapter",
        "theirs.shared",
        "theirs.inner.deep",
        "rankstone.runners.document_length",
    }
    assert set(adapter_files(theirs[0])) == expected


@pytest.mark.parametrize(
    ("name", "changed"), [("shared", True), ("inner/deep", True), ("unused", False)]
)
def test_an_edit_changes_the_digest_where_the_adapter_imports_it(theirs, name, changed):
    adapter, folder = theirs
    before = adapter_digest(adapter)
    (folder / f"{name}.py").write_text(PACKAGE[name] + "# edited\n")
    assert (adapter_digest(adapter) != before) == changed


def test_what_makes_vectors_is_covered():
    home = "rankstone.runners"
    made = {"encoder", "tokens", "normalisation", "vectors", "network", "loading", "tower"}
    files = set(adapter_files(DenseEncoder))
    assert {f"{home}.transformer.{name}" for name in made} | {
        f"{home}.transformer.engines.choice"
    } <= files
    assert f"{home}.encoders.late_interaction" not in files
    kept = {"representations.ragged", "representations.two_bits", "transformer.batching"}
    assert {f"{home}.{name}" for name in kept} <= set(adapter_files(LateInteraction))


def test_reading_imports_runs_none_of_them():
    code = (
        "import sys\n"
        "from rankstone.runners.code_digest import adapter_digest\n"
        "from rankstone.runners.encoders.dense import DenseEncoder\n"
        "adapter_digest(DenseEncoder)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
