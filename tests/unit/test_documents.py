"""README and CONTRIBUTING name every command, and nothing that there is not."""

import re
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from rankstone.cli.app import app
from rankstone.runners.construct import load_adapter
from rankstone.specs import MethodSpec
from rankstone.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
WORKSPACE = Workspace.find(ROOT)
TOMLS = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    """`run`, `data list`, ..."""
    found = []
    for name, command in get_command(app).commands.items():
        inner = getattr(command, "commands", None)
        found += [name] if inner is None else [f"{name} {one}" for one in inner]
    return found


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_the_readme(command):
    group, _, inner = command.partition(" ")
    lines = [line for line in README.split("\n") if f"rankstone {group}" in line]
    assert any(re.search(rf"\b{inner}\b", line) for line in lines), command


def test_every_command_of_the_documents_is_there():
    known = {command.partition(" ")[0] for command in commands()}
    assert set(re.findall(r"(?:^|`)rankstone ([a-z]+)", DOCUMENTS, re.MULTILINE)) <= known


def test_every_method_that_is_named_is_defined():
    families = "|".join(sorted({name.partition("/")[0] for name in WORKSPACE.method_names()}))
    named = re.findall(rf"`((?:{families})/[a-z0-9.-]+)`", DOCUMENTS)
    assert named
    assert set(named) <= set(WORKSPACE.method_names())


@pytest.mark.parametrize("text", [text for text in TOMLS if "adapter" in text])
def test_the_methods_of_the_readme_can_be_built(text):
    values = tomllib.loads(text)
    spec = MethodSpec.model_validate({**values, "name": "mine/method"})
    fields = load_adapter(spec, "README.md").__dataclass_fields__
    assert set(spec.parameters) <= set(fields)


def test_every_adapter_that_is_named_is_there():
    for module, kind in re.findall(r"`(rankstone\.runners\.\w+):(\w+)`", DOCUMENTS):
        load_adapter(
            MethodSpec(name="a/b", description="", adapter=f"{module}:{kind}"), "README.md"
        )
