"""Commands of README and docs, run page by page in an empty folder, in the order of the page.

The suite runs README and the notebook, and parses the commands of all pages; `make slow` runs all.

A block with a title is the content of that file. A block that cannot be run has a reason in an HTML
comment above it, `<!-- not run: REASON -->`; its commands are parsed anyway.
"""

from __future__ import annotations

import ast
import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from rankstone.cli import app as command_line
from tests.conftest import ROOT
from tests.documents import Block, Page, pages, parse
from tests.shared_cache import sharing

pytestmark = pytest.mark.usefixtures("forked_cells")

PAGES = [page for page in pages() if any(block.commands for block in page.blocks)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_every_command_can_be_parsed(page: Page) -> None:
    for command in (c for block in page.blocks for c in block.commands if c[:9] == "rankstone"):
        parse(command)


def test_few_blocks_are_not_run() -> None:
    marked = [(page.path, block) for page in PAGES for block in page.blocks if block.mark]
    assert all(block.reason and block.commands for _, block in marked)
    assert Counter(block.mark for _, block in marked) == {"not run": 11, "slow": 3}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the cache, and for the records of README, which the notebook reuses."""
    folder = tmp_path_factory.mktemp("readme")
    sharing(folder / "cache")
    return folder


@pytest.fixture
def environment(shared: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which only Rankstone is installed."""
    monkeypatch.delenv("RANKSTONE_DATA", raising=False)
    monkeypatch.setenv("RANKSTONE_CACHE", str(shared / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    monkeypatch.setenv("PATH", path)
    return monkeypatch


@pytest.mark.filterwarnings("default")
def test_the_readme_and_the_notebook_run(shared: Path, environment: pytest.MonkeyPatch) -> None:
    environment.chdir(shared)
    [readme] = (page for page in PAGES if page.path == "README.md")
    for block in readme.blocks:
        if not block.mark:
            run(block, shared)
    run_cells(ROOT / "docs" / "notebook.ipynb")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_the_page_runs_as_printed(
    page: Page, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.chdir(tmp_path)
    for block in page.blocks:
        if block.mark != "not run":
            run(block, tmp_path)


def run_cells(path: Path) -> None:
    """Run the cells of a notebook like a kernel, and display their last expressions."""
    names: dict[str, object] = {"__name__": "__main__"}
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
        *lines, last = ast.parse(source).body
        assert isinstance(last, ast.Expr)
        exec(compile(ast.Module(lines, []), "cell", "exec"), names)
        shown = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        assert getattr(shown, "_repr_html_", shown.__repr__)()


def run(block: Block, folder: Path) -> None:
    """Write the file of a block with a title, or run its commands or its Python."""
    if block.title:
        (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
        (folder / block.title).write_text(block.text)
    elif block.language == "python":
        exec(compile(block.text, "page", "exec"), {"__name__": "__main__"})
    for command in block.commands:
        if command.startswith("rankstone"):
            code = command_line._run(shlex.split(command)[1:])
        else:
            code = subprocess.run(["bash", "-c", command], cwd=folder, check=False).returncode
        assert not code, f"{command}: exit code {code}"
