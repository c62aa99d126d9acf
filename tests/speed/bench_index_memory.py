"""What an index takes in memory against its bytes on paper: codes, tables and ids.

Each index is built and saved by one process and loaded by another, in which a small one of the
same kind was loaded and searched before, so that only what the large one adds is counted.
"""

from __future__ import annotations

import gc
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from rankstone.runners.search.binary.bebr import ResidualSigns
from rankstone.runners.search.binary.binary_hash import BinaryHash
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.search.faiss.hnsw import HNSW
from rankstone.runners.search.faiss.ivf import InvertedFile
from rankstone.runners.search.quantisation.pq import ProductQuantisation
from rankstone.runners.testing import PlainContext
from tests.speed.vectors import DIM, Vectors, queries

SCALE = float(os.environ.get("RANKSTONE_SCALE", "1"))
SMALL = 5_000


class Kind(NamedTuple):
    build: Callable[[Vectors, Any], Any]
    n: int
    paper: Callable[[int], float]
    """Bytes of an index of n documents."""


def over(method: Any, /, **parameters: Any) -> Callable[[Vectors, Any], Any]:
    return lambda rows, context: method(members=(None,), **parameters).build(rows, context)


def lists(n: int) -> int:
    """Of an inverted file of n documents: 4 sqrt(n)."""
    return round(4 * math.sqrt(n))


M = 48
KINDS = {
    "flat": Kind(lambda rows, _: ExactIndex.build(rows), 50_000, lambda n: 4 * DIM * n),
    # A vector, 2 m links of its lowest level, their offset, and its level; 1 / m above.
    "hnsw": Kind(
        over(HNSW, m=16), 10_000, lambda n: n * (4 * DIM + 4 * 32 + 8 + 4 + 4 * 16 / 15)
    ),
    "ivf": Kind(
        over(InvertedFile, n_lists="auto"), 50_000,
        lambda n: n * (4 * DIM + 8) + 4 * DIM * lists(n),
    ),
    "pq": Kind(
        over(ProductQuantisation, subvectors=M), 500_000, lambda n: M * n + 4 * DIM * 256
    ),
    "ivfpq": Kind(
        over(ProductQuantisation, subvectors=M, n_lists=2048), 400_000,
        lambda n: n * (M + 8) + 4 * DIM * (256 + 2048),
    ),
    "sign": Kind(over(BinaryHash, method="sign"), 500_000, lambda n: n * DIM / 8),
    "residual_signs": Kind(over(ResidualSigns, loops=1), 250_000, lambda n: n * 2 * DIM / 8),
}  # fmt: skip


def lines() -> Iterator[str]:
    for name, kind in KINDS.items():
        n = int(kind.n * SCALE)
        with tempfile.TemporaryDirectory() as place:
            for size, folder in ((SMALL, "small"), (n, "large")):
                told("build", name, str(size), f"{place}/{folder}")
            ratio = told("load", name, place) / kind.paper(n)
        yield f"speed memory_{name} ratio={ratio:.3f} goal=<=1.1 peer=bytes_on_paper"


def told(*arguments: str) -> float:
    """What a process of its own prints."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, __file__, *arguments], check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root), *sys.path))},
    )  # fmt: skip
    return float(json.loads(done.stdout))


def build(name: str, n: str, folder: str) -> float:
    Path(folder, "work").mkdir(parents=True)
    context = PlainContext(texts=(), work=Path(folder, "work"))
    index = KINDS[name].build(Vectors(int(n)), context)
    index.save(Path(folder))
    Path(folder, "kind").write_text(f"{type(index).__module__}:{type(index).__qualname__}")
    return 0.0


def load(name: str, place: str) -> float:
    """Bytes that loading and searching the large index adds to this process."""
    from rankstone.runners.adapter_json import class_of

    asked = queries(1)
    class_ = class_of(Path(place, "small", "kind").read_text())
    kept, sizes = [], []
    for folder in ("small", "large"):
        kept.append(class_.load(Path(place, folder)))
        kept[-1].search(asked, 10)
        gc.collect()
        sizes.append(psutil.Process().memory_info().rss)
    return sizes[1] - sizes[0]


if __name__ == "__main__":
    done = {"build": build, "load": load}[sys.argv[1]](*sys.argv[2:])
    sys.stdout.write(json.dumps(done))
