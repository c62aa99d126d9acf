"""Composites of methods without definitions: models, folders, files, objects; paths of files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import rankstone
from rankstone.benchmarks.dataset import Sources
from rankstone.errors import DefinitionError
from rankstone.runners.construct import build_runner, code_digest
from rankstone.runners.models import LocatedModel
from rankstone.runners.objects.method import ObjectMethod, pack, unpack
from rankstone.runners.unwritten import forms
from rankstone.specs import MethodSpec
from rankstone.workspace import Workspace
from tests.conftest import ROOT
from tests.letters_collection import write_collection

PLACE = Workspace.find(ROOT)
COMMIT = "c" * 40
CODE = """
import rankstone
class Mine(rankstone.Runner):
    def __init__(self, factor): self.factor = factor
    def encode(self, texts, role): return [self.factor * len(text) for text in texts]
    def index(self, documents, context): ...
ONE, TWO = Mine(1), Mine(2)
def found(queries, k): return [{} for query in queries]
"""
FUSED = """
description = "d"
adapter = "reciprocal_rank_fusion"
members = ["hf:org/name", "./model", "of_members:ONE", "of_members:found", "inner.toml", "bm25"]
"""
DENSE = 'description = "d"\nadapter = "dense"\n[model]\nid = "x"\npath = "model"\n'
RERANK = """
description = "d"
adapter = "two_stage"
members = ["of_members:TWO"]
[scorer]
adapter = "bi_encoder"
members = ["./inner.toml"]
"""


def write_dense(folder: Path, weights: str) -> None:
    """Write a model folder that states its type, without loadable weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "modules.json").write_text(json.dumps([{"type": "x.Pooling", "path": ""}]))
    (folder / "model.safetensors").write_text(weights)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder other than the current one, with files that refer to each other."""
    here = tmp_path / "mine"
    write_dense(here / "model", "first")
    (here / "of_members.py").write_text(CODE)
    for name, text in (("fused", FUSED), ("inner", DENSE), ("rerank", RERANK)):
        (here / f"{name}.toml").write_text(text)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "of_members", raising=False)

    def locate_here(model: object) -> LocatedModel:
        files = {"model.safetensors": "0" * 64}
        return LocatedModel(id="org/name", folder=here / "model", origin="hub cache",
                            revision=COMMIT, files=files)  # fmt: skip

    monkeypatch.setattr(forms, "locate_here", locate_here)
    return here


def labels(method: MethodSpec) -> list[str]:
    return [member.name.partition("+")[0] for member in method.members]


def test_members_are_named_in_every_form(folder: Path) -> None:
    [fused] = PLACE.methods(str(folder / "fused.toml"))
    assert labels(fused) == [
        "hf/org/name", "folder/model", "python/Mine", "python/found", "file/inner", "lexical/bm25"
    ]  # fmt: skip
    inner = fused.members[4]
    assert inner.model is not None
    assert inner.model.path == str(folder / "model"), "from the file's folder"
    assert isinstance(fused.members[2], ObjectMethod)
    assert (
        build_runner(fused.model_copy(update={"members": fused.members[2:4]})).members[0].factor
        == 1
    )
    assert {part.partition("+")[0] for part in code_digest(fused)} >= {"file/fused", "lexical/bm25"}


def test_a_composite_is_named_by_the_content_of_its_members(folder: Path) -> None:
    def name(file: str = "fused.toml") -> str:
        sys.modules.pop("of_members", None)
        return PLACE.methods(str(folder / file))[0].name

    first = name()
    assert first.startswith("file/fused+definition-")
    write_dense(folder / "model", "second")
    other = name()
    (folder / "of_members.py").write_text(CODE.replace("Mine(1)", "Mine(3)"))
    assert len({first, other, name()}) == 3
    (folder / "of_members.py").write_text(CODE)
    write_dense(folder / "model", "first")
    assert name() == first


def test_objects_among_members_reach_the_process(folder: Path, tmp_path: Path) -> None:
    [rerank] = PLACE.methods(str(folder / "rerank.toml"))
    assert rerank.scorer is not None
    assert rerank.scorer.members[0].model is not None
    assert rerank.scorer.members[0].model.path == str(folder / "model")
    pack(rerank, tmp_path)
    plain = MethodSpec.model_validate_json(rerank.model_dump_json())
    again = unpack(plain, tmp_path)
    assert isinstance(again.members[0], ObjectMethod)
    assert again.members[0].runner.factor == 2
    assert again.scorer == rerank.scorer
    assert again.digest() == rerank.digest()


def test_a_composite_made_in_python_is_named_by_its_definition(folder: Path) -> None:
    sys.path.append(str(folder))
    session = rankstone.Session(workspace=ROOT)
    fused = session.composite("reciprocal_rank_fusion", ["of_members:ONE", "bm25"], k=10)
    assert labels(fused) == ["python/Mine", "lexical/bm25"]
    assert fused.name.startswith("python/reciprocal_rank_fusion+definition-")
    assert build_runner(fused).k == 10
    others = [
        session.composite("reciprocal_rank_fusion", ["of_members:ONE", "bm25"], k=9),
        session.composite("reciprocal_rank_fusion", ["of_members:TWO", "bm25"], k=10),
    ]
    assert len({fused.name, *(other.name for other in others)}) == 3
    assert session.definitions.methods(fused) == [fused]


def test_two_modules_of_one_name_are_not_mixed_up(folder: Path, tmp_path: Path) -> None:
    PLACE.methods(str(folder / "rerank.toml"))
    other = tmp_path / "other"
    other.mkdir()
    (other / "of_members.py").write_text(CODE.replace("Mine(2)", "Mine(5)"))
    (other / "rerank.toml").write_text(RERANK.replace("./inner", "../mine/inner"))
    with pytest.raises(
        DefinitionError, match=r"other/of_members.py is hidden by .*mine/of_members"
    ):
        PLACE.methods(str(other / "rerank.toml"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('members = ["./fused.toml"]', "key 'members': the method contains itself"),
        ('members = ["./none"]', "key 'members': '.*mine/none': .* no such folder"),
        ('members = ["of_members:NONE"]', "key 'members': 'of_members:NONE': .* has no 'NONE'"),
        ('members = ["bm52"]', "key 'members': Method 'bm52' is not defined .* lexical/bm25"),
    ],
)
def test_members_that_are_none_are_named(folder: Path, text: str, fault: str) -> None:
    (folder / "fused.toml").write_text(
        f'description = "d"\nadapter = "reciprocal_rank_fusion"\n{text}\n'
    )
    with pytest.raises(DefinitionError, match=rf"fused\.toml: {fault}"):
        PLACE.methods(str(folder / "fused.toml"))


def test_paths_of_definitions_begin_at_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runners/fam").mkdir(parents=True)
    monkeypatch.setenv("MODELS", "/models")
    head, model = 'adapter = "m:C"\n', '[{}]\nid = "x"\npath = "{}"\n'
    parts = ('description = "d"', head, model.format("model", "../weights"),
             model.format("query_model", "$MODELS/x"), f"[scorer]\n{head}",
             model.format("scorer.model", "s"))  # fmt: skip
    text = "\n".join(parts)
    (tmp_path / "runners/fam/m.toml").write_text(text)
    method = Workspace.find(tmp_path).method("fam/m")
    there = tmp_path / "runners/fam"
    assert {key: model.path for key, model in method.models.items()} == {
        "model": f"{there}/../weights", "query_model": "/models/x"
    }  # fmt: skip
    assert method.scorer is not None
    assert method.scorer.model is not None
    assert method.scorer.model.path == f"{there}/s"


@pytest.mark.parametrize("kind", ["plain", "qrels"])
def test_paths_of_tasks_begin_at_their_files(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rankstone import registry

    write_collection(tmp_path / "mine")
    (tmp_path / "benchmarks").mkdir()
    source = {"plain": 'path = "../mine"', "qrels": 'file = "../mine/qrels/test.tsv"'}[kind]
    (tmp_path / "benchmarks" / "b.toml").write_text(
        f'[tasks.t]\ndescription = "d"\nloader = "{kind}"\nsource = {{ {source} }}\n'
    )
    monkeypatch.chdir(tmp_path.parent)
    task = Workspace.find(tmp_path).task("b/t")
    load = registry.load("loader", kind, "")
    raw = load(task, Sources.find(None, tmp_path), **task.source)
    assert Path(raw.source).resolve().is_relative_to(tmp_path / "mine")
    assert task.digest() == task.model_copy(update={"stated_in": "/elsewhere/b.toml"}).digest()
