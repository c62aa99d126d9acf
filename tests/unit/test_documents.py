"""Documentation names all commands, no unknown ones, and has no broken links."""

import os
import re
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from rankstone import registry
from rankstone.cli.app import app
from rankstone.runners.construct import load_adapter
from rankstone.specs import MethodSpec
from rankstone.workspace import Workspace
from tests.documents import pages

ROOT = Path(__file__).resolve().parents[2]
PAGES = {page.path: page.text for page in pages()}
DOCUMENTS = "\n".join(PAGES.values())
COMMANDS = PAGES["docs/commands.md"]
WORKSPACE = Workspace.find(ROOT)
TOMLS = [block.text for page in pages() for block in page.blocks if block.language == "toml"]
WITHOUT_PARTS = [text for text in TOMLS if "adapter" in text and "members" not in text]
GENERATED = re.compile(r"(docs/)?(reference/\w+|notebook)\.md")


def commands() -> list[str]:
    """`run`, `data list`, ..."""
    found = []
    for name, command in get_command(app).commands.items():
        inner = getattr(command, "commands", None)
        found += [name] if inner is None else [f"{name} {one}" for one in inner]
    return found


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_the_overview(command):
    group, _, inner = command.partition(" ")
    lines = [line for line in COMMANDS.split("\n") if f"rankstone {group}" in line]
    assert any(re.search(rf"\b{inner}\b", line) for line in lines), command


def test_every_command_of_the_documents_is_there():
    known = {command.partition(" ")[0] for command in commands()}
    assert set(re.findall(r"(?:^|`)rankstone ([a-z]+)", DOCUMENTS, re.MULTILINE)) <= known


def test_every_method_that_is_named_is_defined():
    families = "|".join(sorted({name.partition("/")[0] for name in WORKSPACE.method_names()}))
    named = re.findall(rf"`((?:{families})/[a-z0-9.-]+)`", DOCUMENTS)
    assert named
    assert set(named) <= set(WORKSPACE.method_names())


@pytest.mark.parametrize("text", WITHOUT_PARTS)
def test_the_methods_of_the_pages_can_be_built(text):
    values = tomllib.loads(text)
    spec = MethodSpec.model_validate({**values, "name": "mine/method"})
    fields = load_adapter(spec, "docs").__dataclass_fields__
    assert set(spec.parameters) <= set(fields)


@pytest.mark.parametrize(("kind", "least"), [("adapter", 6), ("loader", 2)])
def test_every_short_name_in_the_documents_is_registered(kind, least):
    named = re.findall(rf'`?{kind} = "([\w.:-]+)"', DOCUMENTS)
    ours = {name for name in named if ":" not in name}
    assert len(ours) >= least
    assert ours <= set(registry.TABLES[kind].names)


def test_every_path_in_the_documents_exists():
    named = re.findall(
        r"`((?:src|tests|leaderboards|results|benchmarks|runners|docs)/[\w./-]+)`", DOCUMENTS
    )
    missing = [path for path in named if not (ROOT / path).exists()]
    examples = {
        "runners/lexical/bm25-long.toml",
        "runners/dense/mine.toml",
        "runners/api/mine.toml",
        "runners/api/e5.toml",
        "runners/ann/",
        "runners/compressed/",
        "benchmarks/mine.toml",
    }
    assert set(missing) - examples - {"results/leaderboard.md"} == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        name, _, anchor = target.partition("#")
        if name.startswith("https://"):
            continue
        linked = (ROOT / page).parent / name if name else ROOT / page
        path = os.path.relpath(linked, ROOT)
        assert linked.exists() or GENERATED.fullmatch(path), target
        assert not anchor or anchor in anchors(PAGES[path]), target


def anchors(text: str) -> set[str]:
    """Return the ids of a page: of headings, as by GitHub and mkdocs, and explicit ones."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = {re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings}
    stated = set(re.findall(r'<a id="(\w+)">', text))
    return stated | {re.sub(r"[\s-]+", "-", heading) for heading in plain}


def test_the_readme_is_short():
    assert len(PAGES["README.md"].split()) < 950


def test_the_tree_in_contributing_is_the_tree():
    tree = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```")[1]
    package = ROOT / "src" / "rankstone"
    rooms = {path.name for path in package.iterdir() if (path / "__init__.py").is_file()}
    assert rooms <= set(re.findall(r"^  (\w+)/", tree, re.MULTILINE))
    for name in re.findall(r"\b(\w+\.py)\b", tree):
        assert (package / name).is_file(), name
    assert len(tree.strip().splitlines()) <= 20
