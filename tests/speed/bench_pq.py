"""Product quantisation against faiss.IndexPQ over the same codes: what our index adds to a search.

150,000 vectors of 384 dimensions in 48 bytes, k = 100; one query at a time, and 100 at once.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rankstone.runners.search.quantisation.pq import ProductQuantisation
from rankstone.runners.testing import PlainContext
from tests.speed.vectors import Vectors, queries, ratio_of

N = int(150_000 * float(os.environ.get("RANKSTONE_SCALE", "1")))
K, SINGLE, BATCH = 100, 20, 100


def lines() -> Iterator[str]:
    rows = Vectors(N)
    with tempfile.TemporaryDirectory() as work:
        context = PlainContext(texts=(), work=Path(work))
        index = ProductQuantisation(members=(None,), subvectors=48).build(rows, context)
    asked = queries(BATCH)
    for name, size, total in (("single", 1, SINGLE), ("batch", BATCH, BATCH)):
        parts = [asked[at : at + size] for at in range(0, total, size)]
        ratio = ratio_of(lambda q: index.search(q, K), lambda q: index.faiss.search(q, K), parts)
        yield f"speed pq_search_{name} ratio={ratio:.3f} goal=<=1.2 peer=faiss.IndexPQ"
