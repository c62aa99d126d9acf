"""Training by a recipe: data, reproducibility, and resuming."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("accelerate", reason="needs the extra 'train'")

import torch

from rankstone.errors import DataError, DefinitionError
from rankstone.execution.cell import CellRun
from rankstone.execution.events import EventStream
from rankstone.execution.job import Job
from rankstone.results.record import TRAINING
from rankstone.runners.construct import build_runner, untrained
from rankstone.specs import MethodSpec
from rankstone.training import checkpoints
from rankstone.training.data import normalised, training_data
from rankstone.training.fit import _own_state
from rankstone.training.parts import RecipeRun, data_digests
from tests.tiny_models import write_encoder
from tests.training_collection import (
    ANIMALS,
    DENSE,
    method,
    opened,
    recipe_run,
    sources,
    write_collection,
)

pytestmark = pytest.mark.usefixtures("forked_cells")

BASE = {"data": ["own"], "loss": "multiple_negatives_ranking", "repeated_queries": "drop",
        "steps": 8, "batch": 4, "learning_rate": 1e-3, "save_every": 3}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, module_cache: None) -> Path:
    folder = write_collection(tmp_path_factory.mktemp("training"))
    write_encoder(folder / "start")
    return folder


def dense(root: Path, name: str = "trained", **recipe: Any) -> MethodSpec:
    model = {"id": "start", "path": str(root / "start")}
    body = {"adapter": "dense", "model": model, "parameters": DENSE}
    return method(root, name, {**body, "training": {**BASE, **recipe}})


def weights(run: RecipeRun) -> bytes:
    model = run.trained().model
    assert model is not None
    assert model.path is not None
    return (Path(model.path) / "model.safetensors").read_bytes()


class Killed(BaseException):
    pass


def killed_at(step: int) -> Any:
    def progress(work: str, done: int, total: int | None) -> None:
        if done == step:
            raise Killed

    return progress


CHECKED = {"held_out": 0.4, "check_every": 2, "patience": 9}


@pytest.mark.parametrize("more", [pytest.param({}, marks=pytest.mark.slow), CHECKED])
def test_a_killed_training_ends_in_the_same_weights(root: Path, more: Any, tmp_path: Path) -> None:
    spec = dense(root, **more)
    whole = recipe_run(root, spec, to=str(tmp_path / "whole"))
    first = weights(whole)
    assert first != (root / "start" / "model.safetensors").read_bytes()
    halves = recipe_run(root, spec, to=str(tmp_path / "halves"), progress=killed_at(7))
    with pytest.raises(Killed):
        halves.trained()
    again = recipe_run(root, spec, to=str(tmp_path / "halves"))
    assert weights(again) == first
    (begun,), (ended,) = whole.sections.values(), again.sections.values()
    assert (begun.resumed, ended.resumed, ended.steps) == (False, True, 8)
    assert (ended.loss, ended.held_out, ended.best_step) == (
        begun.loss, begun.held_out, begun.best_step
    )  # fmt: skip
    assert [path.name for path in (tmp_path / "halves").iterdir() if path.is_dir()] == [
        ended.checkpoint
    ]


def test_weights_are_trained_once_and_charged_as_from_a_cache(root: Path) -> None:
    one, two = recipe_run(root, dense(root)), recipe_run(root, dense(root))
    assert weights(one) == weights(two)
    (made,), (found,) = one.sections.values(), two.sections.values()
    assert (made.reused, found.reused) == (False, True)
    assert found == made.model_copy(update={"reused": True})
    assert [step for step, _ in made.loss] == list(range(1, 9))
    assert (one.clock.phases()["train"].from_cache, two.clock.phases()["train"].from_cache) == (
        0,
        1,
    )
    assert two.clock.phases()["train"].wall_s == made.wall_s


def test_methods_that_use_parts_of_a_network_share_its_training(root: Path) -> None:
    whole = dense(root, steps=2)
    parts = {"dimensions": 4, "exit_layer": 1, "feed_forward": 0.5}
    partial = whole.model_copy(update={"parameters": {**whole.parameters, **parts}})
    longer = whole.model_copy(update={"parameters": {**whole.parameters, "max_length": 9}})
    digests = []
    for spec in (whole, partial, longer):
        run = recipe_run(root, spec, to="shared")
        used = run.trained()
        assert used.parameters == spec.parameters
        digests += list(run.sections)
        if spec is partial:
            assert build_runner(used).encode(["the owl"], "query").shape == (1, 4)  # type: ignore[attr-defined]
    assert digests[0] == digests[1] != digests[2]


def checkpoint(root: Path, spec: MethodSpec) -> str:
    from rankstone.training.parts import _Job

    assert spec.training is not None
    plain = spec.model_copy(update={"training": None})
    return _Job(plain, spec.training, spec.name, recipe_run(root, spec)).digest


def test_the_digest_covers_all_that_goes_in(root: Path) -> None:
    start = write_encoder(root / "other", seed=1)
    specs = [dense(root), dense(root, seed=1), dense(root, steps=9), dense(root, negatives="bm25"),
             dense(root, documents="disjoint")]  # fmt: skip
    assert specs[0].model is not None
    other = specs[0].model.model_copy(update={"path": str(start)})
    specs.append(specs[0].model_copy(update={"model": other}))
    digests = [checkpoint(root, spec) for spec in specs]
    assert len(set(digests)) == len(specs)
    assert checkpoint(root, dense(root, save_every=5)) == digests[0]
    assert dense(root, save_every=5).digest() == specs[0].digest()


def test_the_digest_covers_code_outside_that_training_imports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, before = Path.read_bytes, checkpoints._code()

    def edited(path: Path) -> bytes:
        return read(path) + (b"# edited" if path.name == "rescoring.py" else b"")

    monkeypatch.setattr(Path, "read_bytes", edited)
    assert checkpoints._code.__wrapped__() != before, "scores of teachers"


def test_a_checkpoint_holds_the_model_once() -> None:
    outer, inner = torch.nn.Module(), torch.nn.Module()
    outer.model = inner.model = torch.nn.Linear(2, 3)
    outer.loss, outer.own = inner, torch.nn.Linear(1, 1)
    assert set(_own_state(outer)) == {"own.weight", "own.bias"}


def test_a_training_shorter_than_between_checks_is_checked_at_its_end(root: Path) -> None:
    run = recipe_run(root, dense(root, "short", held_out=0.4, steps=2))
    run.trained()
    (training,) = run.sections.values()
    assert [step for step, _ in training.held_out] == [2]


def test_queries_of_the_test_are_refused_or_left_out(root: Path) -> None:
    test = opened(root)
    recipe = dense(root, repeated_queries="refuse").training
    assert recipe is not None
    with pytest.raises(DataError, match=r"1 training queries of tiny/animals are queries of the"):
        training_data(recipe, test, sources(root))
    kept = training_data(
        recipe.model_copy(update={"repeated_queries": "drop"}), test, sources(root)
    )
    asked = {normalised(text) for text in test.query_texts}
    assert len(kept.examples.queries) == 9
    assert not asked & set(map(normalised, kept.examples.queries))
    shared = [test.corpus.ids(np.array([p]))[0] for p in kept.taught.tolist()]
    assert (shared, kept.dropped) == (["bear-river"], 1)
    more = {"repeated_queries": "drop", "documents": "disjoint"}
    apart = training_data(recipe.model_copy(update=more), test, sources(root))
    assert (len(apart.examples.queries), apart.dropped, len(apart.taught)) == (8, 2, 0)
    assert apart.digest != kept.digest


def test_a_fold_trains_on_the_others(root: Path) -> None:
    whole = dense(root)
    digests = set()
    for number in (1, 2):
        test = opened(root, f"tiny/animals@fold{number}of2")
        assert whole.training is not None
        learnt = training_data(whole.training, test, sources(root)).examples.queries
        asked = {f"where is the {animal}" for animal in ANIMALS[:8]}
        assert len(learnt) == len(test.query_texts) == 4
        assert {*learnt, *test.query_texts} == asked
        digests.update(data_digests(whole, test, sources(root)))
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"loss": "multiple_negative_ranking"}, "Did you mean: multiple_negatives_ranking"),
        ({"patience": 2}, "'patience' needs held-out queries"),
        ({"data": ["tiny/plants"]}, "Task 'tiny/plants' is not defined"),
        ({"loss": "matryoshka"}, "modifies another loss"),
        ({"step": 3}, "unknown key 'training.step'"),
        ({"options": {"scales": 3}}, "options of 'multiple_negatives_ranking'"),
        ({"loss": "margin_mse", "negatives": "random"}, "learns from a teacher"),
        ({"precision": "bf16"}, "is for a GPU"),
        ({"sampler": "topic"}, "no sampler 'topic'. Did you mean: topics"),
        ({"schedule": "linaer"}, "no schedule 'linaer'. Did you mean: linear"),
        ({"sampler": "topics_balanced"}, "needs the margins of a teacher"),
    ],
)
def test_a_wrong_recipe_is_refused(root: Path, recipe: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        recipe_run(root, dense(root, "wrong", **recipe), to="wrong").trained()


def test_a_method_with_a_recipe_is_not_used_without_its_training(root: Path) -> None:
    with pytest.raises(DefinitionError, match="is trained when it is run"):
        build_runner(dense(root))
    assert build_runner(untrained(dense(root)))


def test_the_record_of_a_cell_tells_the_training(root: Path, tmp_path: Path) -> None:
    spec = dense(root, "cell", steps=4)
    test = opened(root)
    job = Job(method=spec, task=test.task, data=root / "data", cache=root / "cache",
              staging=tmp_path, threads=1, workspace=root)  # fmt: skip
    with Path(os.devnull).open("wb") as out:
        measured = CellRun(job, EventStream(os.dup(out.fileno()))).run()
    (training,) = measured.training
    assert (training.part, training.data, training.steps) == ("toy/cell", ["tiny/animals"], 4)
    assert (training.queries, training.dropped_queries, training.seen_documents) == (9, 1, 1)
    assert measured.method.trained_on == [TRAINING]
    assert measured.method.digest == spec.digest()
    assert measured.method.description["model"] == f"start, trained {training.checkpoint[:12]}"
    assert measured.profile.phases["train"].items == 4
    assert measured.unseen is not None
    assert (measured.unseen.queries, measured.unseen.seen_judgements) == (7, 1)
