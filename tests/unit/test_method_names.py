"""Names by content: exactly the differences from a definition are in the name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankstone.errors import DefinitionError, ModelError
from rankstone.files import sha256_of
from rankstone.runners.models import locate
from rankstone.specs import MethodSpec, ModelSpec
from rankstone.workspace import Workspace

REVISION = "0123456789abcdef0123456789abcdef01234567"
METHOD = f"""
description = "d"
adapter = "dense"

[model]
id = "org/name"
revision = "{REVISION}"

[parameters]
max_length = 32

[on.some]
max_length = 64

[on."tasks/*"]
engine = "torch"

[on."tasks/b"]
max_length = 128
prompts = {{ query = "ask: " }}
"""
TASKS = """
[defaults]
loader = "beir"
[tasks.a]
description = "d"
[tasks.b]
description = "d"
[tasks.c]
description = "d"
"""
SUITES = '[suites.some]\ndescription = "d"\nmembers = ["tasks/a", "tasks/b"]\n'
RERANK = """
description = "d"
adapter = "two_stage"
members = ["dense/x"]

[scorer]
adapter = "bi_encoder"
members = ["dense/x"]
"""


def checkpoint(folder: Path, weights: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder / "model.safetensors").write_text(weights)
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace of one method, whose weights are in the hub's cache."""
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(
        "huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", tmp_path / "hub"
    )
    checkpoint(tmp_path / "hub/models--org--name/snapshots" / REVISION, "official")
    for name, text in (
        ("runners/dense/x.toml", METHOD),
        ("runners/rerank/y.toml", RERANK),
        ("benchmarks/tasks.toml", TASKS),
        ("benchmarks/suites.toml", SUITES),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Workspace.find(tmp_path)


def at(place: Workspace, folder: Path) -> MethodSpec:
    [method] = place.methods("dense/x", weights=folder)
    return method


def model_of(method: MethodSpec) -> ModelSpec:
    assert method.model is not None
    return method.model


def test_other_weights_are_another_name_wherever_they_lie(place: Workspace, tmp_path: Path) -> None:
    one, two, same = (
        at(place, checkpoint(tmp_path / name, weights))
        for name, weights in (("one", "first"), ("two", "second"), ("copy", "first"))
    )
    assert one.name.startswith("dense/x+weights-")
    assert len({"dense/x", one.name, two.name}) == 3
    assert same.name == one.name
    assert same.digest() == one.digest() != two.digest()
    assert locate(model_of(one)).revision is None


def test_files_equal_to_the_definitions_are_the_definitions_method(
    place: Workspace, tmp_path: Path
) -> None:
    same = at(place, checkpoint(tmp_path / "copy", "official"))
    assert same.name == "dense/x"
    assert same.digest() == place.method("x").digest()
    found = locate(model_of(same))
    assert (found.origin, found.revision) == ("path", REVISION)


def test_a_revision_beside_a_path_is_stated_only_if_the_files_are_its(
    place: Workspace, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path / "mine", "mine")
    stated = ModelSpec(id="org/name", revision=REVISION, path=str(folder))
    assert locate(stated).revision is None
    (folder / "model.safetensors").write_text("official")
    assert locate(stated).revision == REVISION
    (folder / "tokenizer.json").write_text("{}")
    assert locate(stated).revision is None, "one file more is another model"


def test_a_pin_still_refuses_other_files(place: Workspace, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine", "mine")
    pins = {"model.safetensors": sha256_of(folder / "config.json")}
    with pytest.raises(ModelError, match="expected sha256"):
        locate(ModelSpec(id="org/name", path=str(folder), sha256=pins))
    with pytest.raises(ModelError, match="is not a folder"):
        place.methods("x", weights=tmp_path / "nowhere")


def test_parameters_and_templates_set_by_hand_are_in_the_name(place: Workspace) -> None:
    plain = place.method("x")
    names = {}
    for key, changes in {
        "plain": {},
        "length": {"parameters": {"max_length": 16}},
        "other length": {"parameters": {"max_length": 8}},
        "text": {"text": "{title} [SEP] {text}"},
        "both": {"text": "{title}", "parameters": {"max_length": 16}},
        "revision": {"model": ModelSpec(id="org/name", revision="f" * 40)},
        "licence": {"licence": "MIT"},
    }.items():
        [method] = place.methods([plain.model_copy(update=changes)])
        names[key] = method.name
    assert names["plain"] == names["licence"] == "dense/x"
    assert names["length"].startswith("dense/x+parameters-")
    assert names["text"].startswith("dense/x+text-")
    assert names["both"].startswith("dense/x+text-")
    assert names["both"].endswith(names["length"].removeprefix("dense/x"))
    assert names["revision"].startswith("dense/x+weights-")
    assert len(set(names.values())) == 6


def test_members_are_named_so_too(place: Workspace, tmp_path: Path) -> None:
    composite = place.method("rerank/y")
    member = composite.members[0].at(checkpoint(tmp_path / "one", "first"))
    [method] = place.methods([composite.model_copy(update={"members": (member,)})])
    assert method.members[0].name.startswith("dense/x+weights-")
    assert method.name.startswith("rerank/y+parameters-")


def test_a_user_defined_method_keeps_its_name_unless_the_path_is_uninformative(
    place: Workspace, tmp_path: Path
) -> None:
    own = MethodSpec(name="own/z", description="", adapter="dense", model=ModelSpec(id="org/name"))
    assert place.methods([own])[0].name == "own/z"
    [method] = place.methods([own.at(checkpoint(tmp_path / "one", "first"))])
    assert method.name.startswith("own/z+weights-")


def test_a_task_may_have_parameters_of_its_own(place: Workspace) -> None:
    method = place.method("x")
    lengths = {task: method.on_task(f"tasks/{task}").parameters["max_length"] for task in "abc"}
    assert lengths == {"a": 64, "b": 128, "c": 32}
    assert method.on_task("tasks/b@first10@k5").parameters["prompts"] == {"query": "ask: "}
    assert {method.on_task(f"tasks/{t}").parameters.get("engine") for t in "abc"} == {"torch"}
    plain = method.model_copy(update={"on": {}})
    assert method.on_task("other/c").digest() == plain.digest(), "as before there was such a key"
    assert method.on_task("tasks/a").digest() != plain.digest()
    composite = place.method("rerank/y").on_task("tasks/a")
    assert composite.members[0].parameters["max_length"] == 64
    assert composite.scorer is not None
    assert composite.scorer.members[0].parameters["max_length"] == 64


def test_a_benchmark_that_is_none_is_named(place: Workspace) -> None:
    path = place.runners / "dense/x.toml"
    path.write_text(METHOD.replace("on.some", "on.same"))
    with pytest.raises(
        DefinitionError, match=r"x\.toml: key 'on\.same': no task.*Did you mean: some"
    ):
        place.method("x")
