"""Exact search over vectors in the memory of several nodes, with the results of one machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rankstone.errors import ClusterError
from rankstone.execution.cluster.connection import connected
from rankstone.runners.search.exact import flat
from rankstone.runners.search.exact.flat import ExactIndex, Ints, Rows, Vectors, check_documents

Found = tuple[int, Vectors, Ints]
"""Start of a part, and scores and documents of its best results, as merged by `ExactIndex`."""


class Slice:
    """An actor that stores consecutive vectors: whole blocks, except in the last slice."""

    def __init__(self, rows: int, dim: int, block_bytes: int) -> None:
        flat.BLOCK_BYTES = block_bytes
        self._vectors = np.empty((rows, dim), np.float32)

    def hold(self, start: int, piece: Vectors) -> None:
        self._vectors[start : start + len(piece)] = piece

    def found(self, queries: Vectors, k: int) -> list[Found]:
        """Return the best results of every part; positions are relative to this slice."""
        index = ExactIndex(self._vectors, dim=self._vectors.shape[1])
        return list(index.found(queries, min(k, len(self._vectors))))

    def block(self, number: int) -> Vectors | None:
        """Return block `number`; None after the last."""
        blocks = list(ExactIndex(self._vectors, dim=self._vectors.shape[1]).blocks())
        return blocks[number] if number < len(blocks) else None


class SlicedIndex(ExactIndex):
    """An `ExactIndex` whose blocks are on other nodes; results are the same, including ties."""

    def __init__(self, slices: Sequence[tuple[int, Any]], *, rows: int, dim: int) -> None:
        """Create with `Builder`. `slices`: the first position and the actor of each slice."""
        super().__init__(range(rows), dim=dim)  # type: ignore[arg-type] # only its length is read
        self._slices = slices

    def found(self, queries: Vectors, k: int) -> Iterator[Found]:
        import ray

        sent = ray.put(queries)
        asked = [(start, actor.found.remote(sent, k)) for start, actor in self._slices]
        for start, answer in asked:
            for position, scores, docs in ray.get(answer):
                yield start + position, scores, docs

    def blocks(self) -> Iterator[Vectors]:
        import ray

        for _, actor in self._slices:
            number = 0
            while (block := ray.get(actor.block.remote(number))) is not None:
                yield block
                number += 1

    def notes(self) -> Sequence[str]:
        """Return a note that queries went to other nodes, which is part of their latency."""
        return (f"exact search asked {len(self._slices)} nodes, whose memory holds the vectors",)

    def nbytes(self) -> int:
        return len(self._rows) * self._dim * 4


def bounds(rows: int, dim: int, slices: int) -> list[int]:
    """Return the first positions of at most `slices` slices of whole blocks, and the end."""
    blocks = -(-rows // flat.block_rows(dim))
    counts = np.linspace(0, blocks, min(slices, blocks) + 1).astype(np.int64)
    return [*(counts[:-1] * flat.block_rows(dim)).tolist(), rows]


class Builder:
    """Builds sliced indexes on the nodes that were reserved for a cell."""

    def __init__(self, address: str, nodes: Sequence[str]) -> None:
        self._connection = connected(address)
        self._nodes = nodes

    def __call__(self, documents: Rows) -> ExactIndex:
        """Read `documents` once into the memory of the nodes, as `ExactIndex.build` does."""
        self._connection.__enter__()  # until the process ends, which ends the actors
        position, dim, starts, actors = 0, 0, [0], list[Any]()
        for piece in documents:
            check_documents(piece, position, dim)
            if not position:
                dim = piece.shape[1]
                starts = bounds(len(documents), dim, len(self._nodes))
                actors = [self._started(n, starts, dim) for n in range(len(starts) - 1)]
            _hold(starts, actors, position, piece)
            position += len(piece)
        return SlicedIndex(list(zip(starts, actors, strict=False)), rows=position, dim=dim)

    def _started(self, number: int, starts: Sequence[int], dim: int) -> Any:
        import ray

        from rankstone.execution.cluster.nodes import alive

        node = next((node for node in alive() if node.id == self._nodes[number]), None)
        if node is None:
            raise ClusterError("a node reserved for vectors was lost. Look at: ray status")
        options = node.options(num_cpus=node.resources["CPU"])
        rows = starts[number + 1] - starts[number]
        return ray.remote(Slice).options(**options).remote(rows, dim, flat.BLOCK_BYTES)


def _hold(starts: Sequence[int], actors: Sequence[Any], position: int, piece: Vectors) -> None:
    """Send each slice its part of consecutive vectors; wait until all have arrived."""
    import ray

    sent = []
    for start, stop, actor in zip(starts, starts[1:], actors, strict=False):
        first, last = max(start, position), min(stop, position + len(piece))
        if first < last:
            part = np.ascontiguousarray(piece[first - position : last - position], np.float32)
            sent.append(actor.hold.remote(first - start, part))
    ray.get(sent)
