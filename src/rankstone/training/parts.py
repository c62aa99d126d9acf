"""Training of a method's parts that have a recipe, before the method is constructed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rankstone.arrays import Ints
from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.errors import DefinitionError, require
from rankstone.files import appearing
from rankstone.profiling.clock import Clock
from rankstone.profiling.memory import peak_gpu, peak_rss
from rankstone.progress import Progress
from rankstone.results.record import Training
from rankstone.runners.code_digest import adapter_digest
from rankstone.runners.construct import (
    build_part,
    build_runner,
    each_recipe,
    load_adapter,
    located_models,
    parts,
    untrained,
)
from rankstone.runners.meter import Work, listening
from rankstone.runners.objects.method import ObjectMethod
from rankstone.specs import AdapterSpec, MethodSpec, ModelSpec, Recipe
from rankstone.training.checkpoints import checkpoint_digest, trained_once
from rankstone.training.columns import Form, Table, columns
from rankstone.training.data import Examples, TrainingData, training_data
from rankstone.training.fit import Reports, device_of, fit
from rankstone.training.losses.by_name import Known, build_loss, form_of
from rankstone.training.negatives import BM25, as_pooled
from rankstone.training.samplers import topics_of
from rankstone.training.starts import Start, opened, whole_network, write

SHOWN = 12
"""Number of digits of a checkpoint's digest in the name of its model."""
PHASE = "train"
PREPARATION = "encode for training"
"""Encoding by teachers and miners of negatives, as progress shows it."""
OF_DOCUMENTS = ("repconc",)
"""Quantiser losses that also train the document encoder."""


def recipes(method: MethodSpec) -> Iterator[Recipe]:
    """Yield the recipes of all parts of `method`, with those of their teachers and first stages."""
    found = list[Recipe]()

    def note(part: AdapterSpec) -> AdapterSpec:
        found.extend(_chain(part.training))
        return part

    each_recipe(method, note)
    yield from found


def _chain(recipe: Recipe | None) -> Iterator[Recipe]:
    """Yield a recipe and those of its teachers, then the same for the recipes that precede it."""
    while recipe is not None:
        yield recipe
        for teacher in recipe.teachers.values():
            yield from recipes(teacher)
        recipe = recipe.first


def data_digests(method: MethodSpec, test: Dataset, sources: Sources) -> list[str]:
    """Return the digests of the training data of each recipe of `method`."""
    return [training_data(recipe, test, sources).digest for recipe in recipes(method)]


def refuse_missing(method: MethodSpec) -> None:
    """Raise MissingExtraError if `method` has a recipe and a training library is missing."""
    if any(True for _ in recipes(method)):
        needed = ("accelerate", "datasets", "sentence_transformers")
        require(f"Method '{method.name}', which has a recipe,", "train", *needed)


@dataclass(kw_only=True)
class RecipeRun:
    """Training of one method for one task."""

    method: MethodSpec
    test: Dataset
    sources: Sources
    folder: Path
    """Folder of the checkpoints."""
    threads: int
    clock: Clock
    progress: Progress
    taught: set[int] = field(default_factory=set)
    """Positions of documents that are relevant in training and in the test."""
    sections: dict[str, Training] = field(default_factory=dict)
    """Checkpoint digest -> section of the record."""

    def trained(self) -> MethodSpec:
        """Return the method with its recipes replaced by trained weights."""
        return each_recipe(self.method, self._part)

    def _part(self, part: AdapterSpec, student: AdapterSpec | None = None) -> AdapterSpec:
        """Return the part with trained weights.

        Args:
            student: The part that learns from this one, if this one is a teacher.
        """
        recipe = part.training
        assert recipe is not None
        if recipe.first is not None:
            part = self._part(part.model_copy(update={"training": recipe.first}), student)
        part = part.model_copy(update={"training": None})
        recipe = recipe.model_copy(update={"first": None})
        for _ in range(recipe.rounds):
            recipe = recipe.model_copy(update=self._taught(recipe, part))
            alone = {key: untrained(teacher) for key, teacher in recipe.teachers.items()}
            part = self._once(part, recipe.model_copy(update={**alone, "rounds": 1}), student)
        return part

    def _taught(self, recipe: Recipe, student: AdapterSpec) -> dict[str, MethodSpec]:
        """Return the teachers with trained weights; their recipes continue from these."""

        def carried_on(part: AdapterSpec) -> AdapterSpec:
            assert part.training is not None
            again = part.training.model_copy(update={"first": None})
            return self._part(part, student).model_copy(update={"training": again})

        return {key: each_recipe(one, carried_on) for key, one in recipe.teachers.items()}

    def _once(self, part: AdapterSpec, recipe: Recipe, student: AdapterSpec | None) -> AdapterSpec:
        name = part.name if isinstance(part, MethodSpec) else f"{self.method.name}: scorer"
        job = _Job(whole_network(part), recipe, name, self, student)
        start = job.model
        digest = job.digest
        path, facts, fresh = trained_once(self.folder, digest, job.train)
        if digest not in self.sections:
            facts = {**facts, "checkpoint": digest, "reused": not fresh}
            facts |= {"part": name, "seen_documents": len(job.data.taught)}
            self.sections[digest] = Training.model_validate(facts)
            self.taught |= set(job.data.taught.tolist())
            if not fresh:
                self._charge(self.sections[digest])
        return with_weights(part, recipe, start.id, digest, path)

    def _charge(self, known: Training) -> None:
        self.clock.add_cached(
            PHASE, known.steps, wall_s=known.wall_s, cpu_s=known.cpu_s,
            peak_rss_bytes=known.peak_rss_bytes, peak_gpu_bytes=known.peak_gpu_bytes,
        )  # fmt: skip


def with_weights(
    part: AdapterSpec, recipe: Recipe, name: str, digest: str, path: Path
) -> AdapterSpec:
    """Return the part with the trained weights as its model.

    A quantiser's member gets them too if the loss trained the document encoder.
    """
    name = f"{name.partition(', ')[0]}, trained {digest[:SHOWN]}"
    changed: dict[str, Any] = {"model": ModelSpec(id=name, path=str(path))}
    if part.members and recipe.loss in OF_DOCUMENTS:
        changed["members"] = tuple(one.model_copy(update=changed) for one in part.members)
    return part.model_copy(update=changed)


@dataclass
class _Job:
    """Training of one part."""

    part: AdapterSpec
    recipe: Recipe
    name: str
    run: RecipeRun
    student: AdapterSpec | None = None

    @property
    def model(self) -> ModelSpec:
        """The model that training starts from: the part's own, or that of its member."""
        found = self.part.model or next((one.model for one in self.part.members), None)
        if found is None:
            raise DefinitionError(
                f"{self.name}: [training] needs a model to start from. Add the table [model]."
            )
        return found

    @cached_property
    def _sources(self) -> list[AdapterSpec]:
        """The part, its members, and the student if it mines the negatives."""
        found = [self.part, *self.part.members]
        if self.recipe.negatives != "student":
            return found
        if self.student is None:
            raise DefinitionError(
                f'{self.name}: [training]: negatives = "student" needs a method that names this one'
                " as its teacher. Choose other negatives."
            )
        return [*found, self.student]

    @cached_property
    def data(self) -> TrainingData:
        return training_data(self.recipe, self.run.test, self.run.sources)

    @property
    def form(self) -> Form:
        return form_of(self.part.adapter, self.recipe.loss, self.recipe.options)

    @property
    def digest(self) -> str:
        others = [one for teacher in self.recipe.teachers.values() for one in parts(teacher)]
        return checkpoint_digest(
            self.part,
            self.recipe,
            files={f"{number}: {key}": dict(found.files)
                   for number, part in enumerate(self._sources)
                   for key, found in located_models(part).items()},
            members=[one.digest() for one in self._sources[1:]],
            teacher={f"{name}: {key}": dict(found.files) for name, one in others
                     for key, found in located_models(one).items()},
            code={one.adapter: adapter_digest(load_adapter(one, self.name))
                  for one in (*self._sources, BM25, *(part for _, part in others))
                  if not isinstance(one, ObjectMethod)},
            data=self.data.digest,
            device=device_of(self.recipe),
            threads=self.run.threads,
        )  # fmt: skip

    def train(self, out: Path, state: Path) -> dict[str, Any]:
        """Write the trained model to `out`; return the facts for the record."""
        with self.run.clock.phase(PHASE, self.recipe.steps):
            return self._train(out, Spent(state / "spent.json"), state)

    def _train(self, out: Path, spent: Spent, state: Path) -> dict[str, Any]:
        recipe, adapter, progress = self.recipe, self.part.adapter, self.run.progress
        with listening(_counting(progress)):
            runner = build_part(self.part, self.name, self.name)
            examples = as_pooled(recipe, self.data.examples)
            learn, checked = examples.split(recipe.held_out, recipe.seed)
            miner = self._miner(runner)
            table = columns(recipe, learn, self.form, miner)
            held_out = columns(recipe, checked, self.form, miner) if checked.queries else None
            start = opened(adapter, runner, recipe, learn.documents)
            known = self._known(runner, start, examples)
            loss = build_loss(adapter, recipe.loss, recipe.options, known)
            topics = self._topics(miner, table, learn)
        fitted = fit(adapter, recipe, start, loss, table, held_out, topics, state,
                     Reports(progress, spent.note))  # fmt: skip
        write(start, out)
        if hasattr(loss, "save"):
            loss.save(out)
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
        """Return the relevant documents by query number, with those in `examples` overriding."""
        found = list(self.data.relevant)
        for number, relevant in zip(examples.numbers.tolist(), examples.relevant, strict=True):
            found[number] = relevant
        return found

    def _miner(self, runner: Any) -> Any:
        """Return the method that mines the negatives, unless BM25 does."""
        if self.recipe.negatives == "student":
            return build_part(self._sources[-1], self.name, self.name)
        return getattr(runner, "encoder", runner)

    def _known(self, runner: Any, start: Start, examples: Examples) -> Known:
        second = self.recipe.teachers.get("in_batch_teacher")
        texts = zip(examples.numbers.tolist(), examples.queries, strict=True)
        return Known(
            model=start.model,
            similarity=start.similarity,
            relevant=self._judged(examples),
            documents=examples.documents,
            queries=dict(texts),
            runner=runner,
            in_batch_teacher=build_runner(second) if second else None,
            seed=self.recipe.seed,
        )

    def _topics(self, runner: Any, table: Table, learn: Examples) -> Ints | None:
        """Return the topic of each row's query; None unless the sampler uses topics."""
        if not self.recipe.sampler.startswith("topics"):
            return None
        numbers, rows = np.unique(table.queries, return_inverse=True)
        places = np.searchsorted(learn.numbers, numbers).tolist()
        vectors = runner.encode([learn.queries[place] for place in places], "query")
        return topics_of(vectors, self.recipe.topics, self.recipe.seed)[rows]


def _counting(progress: Progress) -> Callable[[Work], None]:
    """Return a listener that reports how many texts were encoded."""
    total = Work()

    def encoded(work: Work) -> None:
        nonlocal total
        total = total.plus(work)
        progress(PREPARATION, total.texts, None)

    return encoded


class Spent:
    """Training time, including interrupted runs up to their last checkpoint."""

    def __init__(self, path: Path) -> None:
        self._path = path
        known = json.loads(path.read_bytes()) if path.is_file() else (0.0, 0.0)
        self._before: tuple[float, float] = known[0], known[1]
        self._since = time.perf_counter(), time.process_time()

    def total(self) -> tuple[float, float]:
        """Return wall and CPU time in seconds."""
        wall, cpu = time.perf_counter() - self._since[0], time.process_time() - self._since[1]
        return self._before[0] + wall, self._before[1] + cpu

    def note(self) -> None:
        with appearing(self._path) as out:
            out.write(json.dumps(self.total()).encode())
