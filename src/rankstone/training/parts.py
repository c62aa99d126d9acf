"""Training of the parts of a method that name a recipe, before the method is built."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from rankstone.arrays import Ints
from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.errors import DefinitionError, MissingExtraError
from rankstone.files import appearing
from rankstone.profiling.clock import Clock
from rankstone.profiling.memory import peak_gpu, peak_rss
from rankstone.progress import Progress
from rankstone.results.record import Training
from rankstone.runners.code_digest import adapter_digest
from rankstone.runners.construct import (
    build_part,
    each_recipe,
    load_adapter,
    located_models,
    parts,
)
from rankstone.runners.objects.method import ObjectMethod
from rankstone.specs import AdapterSpec, MethodSpec, ModelSpec, Recipe
from rankstone.training.checkpoints import checkpoint_digest, trained_once
from rankstone.training.columns import Form, Table, columns
from rankstone.training.data import Examples, TrainingData, training_data
from rankstone.training.fit import Reports, device_of, fit
from rankstone.training.losses.by_name import Known, build_loss, form_of
from rankstone.training.negatives import BM25, as_pooled
from rankstone.training.samplers import topics_of
from rankstone.training.starts import opened, whole_network

SHOWN = 12
"""Digits of a checkpoint's digest in the name of its model."""
PHASE = "train"


def recipes(method: MethodSpec) -> Iterator[Recipe]:
    """Yield the recipes of all parts of `method`."""
    found = list[Recipe]()

    def note(part: AdapterSpec) -> AdapterSpec:
        recipe = part.training
        while recipe is not None:
            found.append(recipe)
            recipe = recipe.first
        return part

    each_recipe(method, note)
    yield from found


def data_digests(method: MethodSpec, test: Dataset, sources: Sources) -> list[str]:
    """Return the digests of what the recipes of `method` learn from."""
    return [training_data(recipe, test, sources).digest for recipe in recipes(method)]


def refuse_missing(method: MethodSpec) -> None:
    """Raise MissingExtraError where `method` has a recipe and a library of trainers is missing."""
    for library in ("accelerate", "datasets", "sentence_transformers"):
        if any(True for _ in recipes(method)) and find_spec(library) is None:
            raise MissingExtraError(f"Runner '{method.name}', which has a recipe,", "train")


@dataclass(kw_only=True)
class RecipeRun:
    """The training of one method for one task."""

    method: MethodSpec
    test: Dataset
    sources: Sources
    folder: Path
    """Holds the checkpoints."""
    threads: int
    clock: Clock
    progress: Progress
    taught: set[int] = field(default_factory=set)
    """Positions of documents that are relevant in training and in the test."""
    sections: dict[str, Training] = field(default_factory=dict)
    """By the digest of the checkpoint, for the record."""

    def trained(self) -> MethodSpec:
        """Return the method with trained weights in place of its recipes."""
        return each_recipe(self.method, self._part)

    def _part(self, part: AdapterSpec) -> AdapterSpec:
        recipe, model = part.training, part.model
        assert recipe is not None
        name = part.name if isinstance(part, MethodSpec) else f"{self.method.name}: scorer"
        if model is None:
            raise DefinitionError(f"{name}: [training] begins with a model. Add the table [model].")
        if recipe.first is not None:
            start = self._part(part.model_copy(update={"training": recipe.first}))
            recipe = recipe.model_copy(update={"first": None})
            part = start.model_copy(update={"training": recipe})
        plain = part.model_copy(update={"training": None})
        job = _Job(whole_network(plain), recipe, name, self)
        digest = job.digest
        path, facts, fresh = trained_once(self.folder, digest, job.train)
        if digest not in self.sections:
            facts = {**facts, "checkpoint": digest, "reused": not fresh}
            facts |= {"part": name, "seen_documents": len(job.data.taught)}
            self.sections[digest] = Training.model_validate(facts)
            self.taught |= set(job.data.taught.tolist())
            if not fresh:
                self._charge(self.sections[digest])
        weights = ModelSpec(
            id=f"{model.id.partition(', ')[0]}, trained {digest[:SHOWN]}", path=str(path)
        )
        return part.model_copy(update={"training": None, "model": weights})

    def _charge(self, known: Training) -> None:
        self.clock.add_cached(
            PHASE, known.steps, wall_s=known.wall_s, cpu_s=known.cpu_s,
            peak_rss_bytes=known.peak_rss_bytes, peak_gpu_bytes=known.peak_gpu_bytes,
        )  # fmt: skip


@dataclass
class _Job:
    """The training of one part."""

    part: AdapterSpec
    recipe: Recipe
    name: str
    run: RecipeRun

    @cached_property
    def data(self) -> TrainingData:
        return training_data(self.recipe, self.run.test, self.run.sources)

    @property
    def form(self) -> Form:
        return form_of(self.part.adapter, self.recipe.loss, self.recipe.options)

    @property
    def digest(self) -> str:
        teacher = self.recipe.teacher
        others = parts(teacher) if isinstance(teacher, MethodSpec) else ()
        return checkpoint_digest(
            self.part,
            self.recipe,
            files={key: dict(found.files) for key, found in located_models(self.part).items()},
            teacher={f"{name}: {key}": dict(found.files) for name, one in others
                     for key, found in located_models(one).items()},
            code={one.adapter: adapter_digest(load_adapter(one, self.name))
                  for one in (self.part, BM25, *(part for _, part in others))
                  if not isinstance(one, ObjectMethod)},
            data=self.data.digest,
            device=device_of(self.recipe),
            threads=self.run.threads,
        )  # fmt: skip

    def train(self, out: Path, state: Path) -> dict[str, Any]:
        """Write the trained model to `out`; return the facts of the record."""
        with self.run.clock.phase(PHASE, self.recipe.steps):
            return self._train(out, Spent(state / "spent.json"), state)

    def _train(self, out: Path, spent: Spent, state: Path) -> dict[str, Any]:
        recipe, adapter = self.recipe, self.part.adapter
        runner = build_part(self.part, self.name, self.name)
        examples = as_pooled(recipe, self.data.examples)
        learn, checked = examples.split(recipe.held_out, recipe.seed)
        table = columns(recipe, learn, self.form, runner)
        held_out = columns(recipe, checked, self.form, runner) if checked.queries else None
        start = opened(adapter, runner, recipe)
        known = Known(start.model, start.similarity, self._judged(examples), learn.documents)
        loss = build_loss(adapter, recipe.loss, recipe.options, known)
        topics = self._topics(runner, table, learn)
        fitted = fit(adapter, recipe, start, loss, table, held_out, topics, state,
                     Reports(self.run.progress, spent.note))  # fmt: skip
        start.model.save_pretrained(str(out), create_model_card=False)
        wall_s, cpu_s = spent.total()
        return {
            **fitted._asdict(),
            "loss_name": recipe.loss,
            "negatives": recipe.negatives,
            "data": list(self.data.tasks),
            "queries": len(learn.queries),
            "pairs": len(table),
            "held_out_queries": len(checked.queries),
            "dropped_queries": self.data.dropped,
            "seed": recipe.seed,
            "device": device_of(recipe),
            "precision": recipe.precision,
            "wall_s": wall_s,
            "cpu_s": cpu_s,
            "peak_rss_bytes": peak_rss(),
            "peak_gpu_bytes": peak_gpu(),
        }

    def _judged(self, examples: Examples) -> list[Ints]:
        """Return the relevant documents of all queries by number, those of `examples` as there."""
        found = list(self.data.relevant)
        for number, relevant in zip(examples.numbers.tolist(), examples.relevant, strict=True):
            found[number] = relevant
        return found

    def _topics(self, runner: Any, table: Table, learn: Examples) -> Ints | None:
        """Return the topic of each row's query, where the sampler asks for it."""
        if not self.recipe.sampler.startswith("topics"):
            return None
        numbers, rows = np.unique(table.queries, return_inverse=True)
        places = np.searchsorted(learn.numbers, numbers).tolist()
        vectors = runner.encode([learn.queries[place] for place in places], "query")
        return topics_of(vectors, self.recipe.topics, self.recipe.seed)[rows]


class Spent:
    """Seconds of a training, those of killed runs up to their last checkpoint included."""

    def __init__(self, path: Path) -> None:
        self._path = path
        known = json.loads(path.read_bytes()) if path.is_file() else (0.0, 0.0)
        self._before: tuple[float, float] = known[0], known[1]
        self._since = time.perf_counter(), time.process_time()

    def total(self) -> tuple[float, float]:
        """Return wall and CPU seconds."""
        wall, cpu = time.perf_counter() - self._since[0], time.process_time() - self._since[1]
        return self._before[0] + wall, self._before[1] + cpu

    def note(self) -> None:
        with appearing(self._path) as out:
            out.write(json.dumps(self.total()).encode())
