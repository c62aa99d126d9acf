"""Construction of runners from definitions, and invalid definitions."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from rankstone import registry
from rankstone.errors import DefinitionError, MissingExtraError
from rankstone.runners import construct
from rankstone.runners.construct import build_runner
from rankstone.runners.encoders.bm25 import BM25
from rankstone.specs import MethodSpec, ScorerSpec

ADAPTER = "bm25"


def method(adapter=ADAPTER, name="lexical/test", **changes):
    return MethodSpec(name=name, description="", adapter=adapter, **changes)


def test_parameters_reach_the_adapter():
    runner = build_runner(method(parameters={"k1": 1, "stopwords": ["a"]}))
    assert (runner.k1, runner.stopwords) == (1.0, ["a"])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"k_1": 1.2}, r"unknown key 'parameters.k_1'. Did you mean: k1\? .*or the command"),
        ({"k1": "high"}, r"key 'parameters.k1': .*number, found 'high'"),
        ({"b": 2.0}, r"key 'parameters.b': .*less than or equal to 1"),
        ({"method": "bm26"}, r"key 'parameters.method': .*'lucene'"),
        ({"model": "x"}, r"'parameters.model': not a parameter"),
        ({"stemmer": "klingon"}, "stemmer 'klingon' is not one of Snowball's"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_remedy(parameters, message):
    with pytest.raises(DefinitionError, match=message) as caught:
        build_runner(method(parameters=parameters), "runners/lexical/test.toml")
    assert "runners/lexical/test.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("bm52", "neither 'module:NAME' nor a registered adapter. Did you mean: bm25"),
        ("no_such_module:BM25", "no module 'no_such_module'"),
        ("json:JSONEncodr", r"has no 'JSONEncodr'. Did you mean: JSONEncoder"),
        ("json:dumps", "is not a class"),
        ("json:JSONDecoder", "has no method 'encode'. Name a class with encode and index"),
        ("json:JSONEncoder", "has no method 'index'"),
        ("rankstone.runners.dense:DenseEncoder", 'Write its short name: "dense"'),
        ("rankstone.runners.gone:Gone", "Write its short name: .*bm25"),
    ],
)
def test_an_unknown_adapter_is_named_with_near_ones(adapter, message):
    with pytest.raises(DefinitionError, match=message):
        build_runner(method(adapter))


def test_a_class_that_is_no_runner_is_never_constructed(tmp_path):
    """`subprocess:Popen` would run the parameter `args` as a command."""
    command = {"args": ["touch", str(tmp_path / "ran")]}
    with pytest.raises(DefinitionError, match="'subprocess:Popen' has no method 'encode'"):
        build_runner(method("subprocess:Popen", parameters=command), "runners/a.toml")
    scorer = ScorerSpec(adapter="subprocess:Popen", parameters=command)
    with pytest.raises(DefinitionError, match="has no method 'score'"):
        build_runner(method("two_stage", members=(method(),), scorer=scorer))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_model_or_member_is_named():
    with pytest.raises(DefinitionError, match=r"key 'members': .*Add it"):
        build_runner(method("reciprocal_rank_fusion"))
    with pytest.raises(DefinitionError, match="key 'members': this adapter has no such key"):
        build_runner(method(members=(method(),)))


def test_members_are_built():
    spec = method("reciprocal_rank_fusion", members=(method(), method()))
    assert build_runner(spec).members == (BM25(), BM25())


def test_a_missing_extra_is_found_in_members_too(monkeypatch):
    monkeypatch.setattr(BM25, "requires", {"no_such_library": "lucene"})
    spec = method("reciprocal_rank_fusion", members=(method(),))
    with pytest.raises(MissingExtraError, match=r"'lexical/test'.*rankstone\[lucene\]"):
        build_runner(spec)


def test_a_package_can_register_an_adapter(monkeypatch):
    point = EntryPoint("okapi", "rankstone.runners.encoders.bm25:BM25", "rankstone.runners")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    assert build_runner(method("okapi")) == BM25()
    with pytest.raises(DefinitionError, match="Did you mean: okapi"):
        build_runner(method("okapy"))


def test_importing_adapters_loads_no_heavy_library():
    code = (
        "import sys\n"
        "from rankstone import registry\n"
        "for name in registry.ADAPTERS: registry.load('adapter', name, '')\n"
        "heavy = {'torch', 'faiss', 'bm25s', 'tokenizers', 'transformers', 'wordllama'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_edited_adapter_has_another_digest(tmp_path, monkeypatch):
    path = tmp_path / "edited_adapter.py"
    path.write_text("class Mine:\n    encode = index = print\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = method("edited_adapter:Mine", members=(method(name="lexical/other"),))
    before = construct.code_digest(spec)
    assert set(before) == {"lexical/test", "lexical/other"}
    path.write_text("class Mine:\n    index = encode = print\n")
    after = construct.code_digest(spec)
    assert after["lexical/test"] != before["lexical/test"]
    assert after["lexical/other"] == before["lexical/other"]


def test_members_that_read_documents_otherwise_are_refused():
    members = (method(), method(name="lexical/other", text="{title} [SEP] {text}"))
    fusion = method("reciprocal_rank_fusion", members=members)
    with pytest.raises(DefinitionError, match=r"'lexical/other' reads documents as"):
        build_runner(fusion)
    build_runner(method(text="{text}"))
