"""A small collection with a training split, and tiny methods that recipes train on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.profiling.clock import Clock
from rankstone.progress import Progress, silent
from rankstone.specs import MethodSpec
from rankstone.training.parts import RecipeRun
from rankstone.workspace import Workspace
from tests.beir_layout import write_beir
from tests.tiny_models import write_encoder, write_masked

DENSE = {"pooling": "mean", "similarity": "cosine", "engine": "torch"}
"""Parameters of a dense method."""
ANIMALS = ("fox", "bear", "otter", "heron", "lynx", "mole", "newt", "owl", "pike", "quail",
           "raven", "seal", "toad", "viper", "wolf", "yak")  # fmt: skip
PLACES = ("river", "glacier", "harbour", "meadow")
TEST = 8
"""The first so many animals are asked for in the test, each with two relevant documents."""


class Texts(list[str]):
    """The texts of documents, in memory."""

    def take(self, positions: Any) -> list[str]:
        return [self[position] for position in positions]


def write_collection(root: Path) -> Path:
    """Write `tiny/animals`: 64 documents, a test split, and a train split that shares documents of
    one animal and one query with it; and a workspace with the task."""
    documents = {
        f"{animal}-{place}": {"title": place, "text": f"the {animal} crosses the {place}"}
        for animal in ANIMALS
        for place in PLACES
    }
    queries = {animal: f"where is the {animal}" for animal in ANIMALS}
    queries |= {"again": "Where is  the fox", "same": "bear news"}
    pairs = [(animal, f"{animal}-{place}", 1) for animal in ANIMALS for place in PLACES[:2]]
    more = [("again", "seal-meadow", 1), ("same", "bear-river", 1), ("same", "mole-meadow", 0)]
    judged = {"test": pairs[: 2 * TEST], "train": [*pairs[2 * TEST :], *more]}
    write_beir(root / "data" / "tiny" / "animals", documents, queries, **judged)
    (root / "benchmarks").mkdir()
    (root / "benchmarks" / "tiny.toml").write_text(
        '[tasks.animals]\ndescription = "d"\nloader = "beir"\ntrain_split = "train"\n'
        'text = "{text}"\ndepth = 5\nmeasures = ["nDCG@5"]\nheadline = "nDCG@5"\n'
    )
    (root / "runners" / "toy").mkdir(parents=True)
    return root


def write_with_models(root: Path) -> Path:
    """Write the collection, and beside it the models `dense` and `sparse` to be trained."""
    write_collection(root)
    write_encoder(root / "dense")
    write_masked(root / "sparse")
    return root


def method(root: Path, name: str, body: dict[str, Any]) -> MethodSpec:
    """Return a method of the workspace at `root`, from the body of its definition."""
    path = root / "runners" / "toy" / f"{name}.toml"
    path.write_text("\n".join(_toml({"description": "d", **body})))
    return Workspace.find(root).method(f"toy/{name}")


def _toml(body: dict[str, Any], above: str = "") -> list[str]:
    plain = [f"{k} = {json.dumps(v)}" for k, v in body.items() if not isinstance(v, dict)]
    tables = [
        line
        for key, table in body.items()
        if isinstance(table, dict)
        for line in (f"[{above}{key}]", *_toml(table, f"{above}{key}."))
    ]
    return [*plain, *tables]


def opened(root: Path, task: str = "tiny/animals") -> Dataset:
    return open_dataset(Workspace.find(root).task(task), sources(root))


def sources(root: Path) -> Sources:
    return Sources(data=root / "data", cache=root / "cache")


def recipe_run(
    root: Path, spec: MethodSpec, *, to: str = "checkpoints", progress: Progress = silent,
    task: str = "tiny/animals",
) -> RecipeRun:  # fmt: skip
    return RecipeRun(
        method=spec, test=opened(root, task), sources=sources(root), folder=root / to,
        threads=1, clock=Clock(), progress=progress,
    )  # fmt: skip
