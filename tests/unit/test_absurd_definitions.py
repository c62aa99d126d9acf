"""Definitions with absurd values are refused by file and key, before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankstone.errors import DefinitionError
from rankstone.runners.construct import build_runner
from rankstone.runners.method_files import load_method
from rankstone.specs import MethodSpec, load_family

HEAD = 'description = "d"\nadapter = "bm25"\n'
TASK = '[tasks.a]\ndescription = "d"\nloader = "beir"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[parameters]\nk1 = inf", "key 'parameters.k1': inf is not a finite number"),
        ("[parameters]\nk1 = nan", "key 'parameters.k1': nan is not a finite number"),
        ("[parameters]\nb = [{c = -inf}]", r"key 'parameters.b.0.c': -inf is not a finite"),
        (f"[parameters]\nk1 = {10**400}", "key 'parameters.k1': an integer of more than 64 bits"),
        (f"[parameters]\nk1 = {'1' * 5000}", "not valid TOML: .*digits"),
        (f'text = "{"x" * 2_000_000}"', "key 'text': a text of 2,000,000 characters"),
        (f"a = {'[' * 50}{']' * 50}", "key 'a.0.*': tables or lists nest too deeply"),
        (f"a = {'[' * 100_000}", "(nest too deeply|not valid TOML)"),
        (f"a = {'{a = ' * 50_000}", "(nest too deeply|not valid TOML)"),
        ("a" + ".a" * 5_000 + " = 1", "nest too deeply"),
        ("[a" + ".a" * 5_000 + "]", "nest too deeply"),
    ],
    ids=range(11),
)
def test_a_method_with_an_absurd_value_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "lexical").mkdir()
    (tmp_path / "lexical" / "a.toml").write_text(HEAD + text)
    with pytest.raises(DefinitionError, match=message) as caught:
        load_method("lexical/a", tmp_path)
    assert "a.toml" in str(caught.value)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth = -5", "tasks.a.depth"),
        ("limit_queries = 0", "tasks.a.limit_queries"),
        ("counts = {documents = -1}", "tasks.a.counts.documents"),
        ("source = {splits = inf}", "tasks.a.source.splits"),
    ],
)
def test_a_task_with_an_absurd_value_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(TASK + text)
    with pytest.raises(DefinitionError, match=message) as caught:
        load_family(path)
    assert "tiny.toml" in str(caught.value)


def test_values_given_in_python_are_refused_too() -> None:
    for value in (float("inf"), float("nan"), 10**400):
        with pytest.raises(ValueError, match="key 'k1': "):
            MethodSpec(name="a/b", description="", adapter="bm25", parameters={"k1": value})
    method = MethodSpec(name="a/b", description="", adapter="bm25", parameters={"k1": -1})
    with pytest.raises(DefinitionError, match=r"parameters\.k1"):
        build_runner(method)
