"""Pages generated from the code, and the site of all pages."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

import rankstone
from rankstone import registry
from rankstone.cli.app import app
from tests.conftest import ROOT

FETCHED = r'<(?:link|script|img)[^>]*(?:href|src)="?(https?:[^" >]+)'


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_option_of_every_command_is_explained(hooks: ModuleType) -> None:
    page = "\n".join(hooks.commands())
    for name in get_command(app).commands:  # type: ignore[attr-defined]
        assert f"\n## rankstone {name}\n" in page
    rows = re.findall(r"^\| `(.*?)` \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) > 100
    assert [name for name, meaning in rows if not meaning] == []
    assert "`--on TASK`" in page
    assert "`--format terminal|markdown" in page


def test_every_public_name_is_explained(hooks: ModuleType) -> None:
    page = "\n".join(hooks.python_api())
    for name in rankstone.__all__:
        heading = f"## rankstone.{name}\n\n" if name[0].isupper() else f"### `{name}`\n\n"
        assert heading in page or name == "__version__", name
    assert "run(\n    methods: Methods,\n    tasks: Tasks,\n    *," in page


@pytest.mark.slow
def test_keys_have_type_default_and_meaning(hooks: ModuleType) -> None:
    page = "\n".join(hooks.toml_files())
    assert "| `depth` | `int` | `1000` |" in page
    assert "| `k1` | `float` |" in page
    for name in (*registry.ADAPTERS, *registry.LOADERS):
        assert f"### `{name}`\n" in page


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="pip install 'rankstone[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        fetched = re.findall(FETCHED, page.read_text())
        assert [address for address in fetched if "canonical" not in address] == []
