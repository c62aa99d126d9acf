"""Exact search in GPU memory: matrix products and top-k selection by torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.profiling.device import (
    for_search,
    free_bytes,
    in_steps,
    memory_errors,
    opened,
    resolve,
)
from rankstone.runners.protocols import Hits
from rankstone.runners.search.exact.flat import (
    ExactIndex,
    Mapped,
    Rows,
    Vectors,
    check_documents,
    check_queries,
)

WORK_BYTES = 2**32
"""Memory for scores and their selection; at most a quarter of the free memory is used."""
SCORE_BYTES = 40
"""Bytes per score: the score, its sort key, and torch's temporary memory."""
LOWER = 2**31 - 1
LARGEST = 2**32 - 1
NOTHING = -(2**63)
TOO_LARGE = "Use the CPU: --device cpu."


class GpuIndex:
    """Brute-force search by inner product, with the vectors in GPU memory.

    Products are computed in float32, not TF32. Ties at rank k go to the lower position.
    """

    def __init__(self, rows: Any, device: str) -> None:
        """Use `exact`. `rows`: torch.Tensor (n, dim) float32 on `device`."""
        self._rows, self._device = rows, device

    @classmethod
    def build(cls, documents: Rows, device: str) -> GpuIndex | None:
        """Read `documents` once; None if `device` should not hold them.

        Raises AdapterError for NaN or infinite values, or vectors of different lengths.
        """
        import torch

        position, rows = 0, torch.empty(0, 0)
        for piece in documents:
            check_documents(piece, position, rows.shape[1])
            if not position:
                shape = (len(documents), piece.shape[1])
                if for_search(device, 4 * shape[0] * shape[1]) == "cpu":
                    return None
                rows = torch.empty(shape, device=opened(device))
            rows[position : position + len(piece)] = tensor(piece)
            position += len(piece)
        return cls(rows, device) if position else None

    def search(self, queries: Vectors, k: int) -> Hits:
        import torch

        queries = np.asarray(queries, dtype=np.float32)
        check_queries(queries, self._rows.shape[1])
        rows, best = self._rows, Best(len(queries), k, self._rows.device)
        room = min(free_bytes(self._device) // 4, WORK_BYTES) // SCORE_BYTES
        asked = tensor(queries).to(rows.device)

        def search(start: int, stop: int) -> None:
            positions = torch.arange(start, stop, device=rows.device)
            best.merge(slice(None), asked @ rows[start:stop].T, positions)

        with torch.inference_mode(), memory_errors(TOO_LARGE):
            in_steps(len(rows), max(room // max(len(queries), 1), 1), search)
            return best.hits()

    def save(self, folder: Path) -> None:
        """Save in the format of `ExactIndex`."""
        with (folder / "vectors.f32").open("wb") as file:
            for part in self._rows.split(2**20):
                file.write(part.cpu().numpy().data)
        about = {"rows": len(self._rows), "dim": self._rows.shape[1]}
        (folder / "vectors.json").write_text(json.dumps(about))

    @classmethod
    def load(cls, folder: Path) -> GpuIndex | ExactIndex:
        about = json.loads((folder / "vectors.json").read_text())
        mapped = Mapped(folder / "vectors.f32", about["rows"], about["dim"])
        return cls.build(mapped, resolve()) or ExactIndex.load(folder)

    def notes(self) -> Sequence[str]:
        """Return a note that search runs on a GPU."""
        return (note(self._device),)

    def nbytes(self) -> int:
        """Return the bytes of the vectors in GPU memory."""
        return int(self._rows.nbytes)


def exact(documents: Rows, device: str) -> GpuIndex | ExactIndex:
    """Return exact search on `device` if it is a GPU suitable for the vectors, else on the CPU.

    A GPU is suitable if the vectors take at most half of its free memory, and there are enough of
    them to benefit.
    """
    found = GpuIndex.build(documents, device) if device.startswith("cuda") else None
    return found or ExactIndex.build(documents)


class Best:
    """Running top k of each query, on a device; ties go to the lower position.

    Score and position are packed into one 64-bit integer, so that selection breaks ties: the upper
    half is the score, as an integer of the same order, the lower half decreases with the position.
    """

    def __init__(self, n_queries: int, k: int, device: Any) -> None:
        import torch

        self._keys = torch.full((n_queries, k), NOTHING, dtype=torch.int64, device=device)

    def merge(self, rows: Any, scores: Any, positions: Any) -> None:
        """Merge (n, m) float32 `scores` of the queries `rows` for documents `positions`."""
        import torch

        before = self._keys[rows]
        bits = (scores + 0.0).view(torch.int32)  # turns -0 into 0, which would lose a tie
        ordered = torch.where(bits < 0, bits ^ LOWER, bits).long()
        keys = ordered * 2**32 + (LARGEST - positions)
        found = torch.topk(keys, min(before.shape[1], keys.shape[1])).values
        self._keys[rows] = torch.topk(torch.cat([before, found], 1), before.shape[1]).values

    def hits(self) -> Hits:
        keys: NDArray[np.int64] = self._keys.cpu().numpy()
        ordered = (keys >> 32).astype(np.int32)
        scores = np.where(ordered < 0, ordered ^ LOWER, ordered).astype(np.int32).view(np.float32)
        absent = keys == NOTHING
        docs = np.where(absent, -1, LARGEST - (keys & LARGEST))
        return Hits(docs, np.where(absent, np.float32(-np.inf), scores))


def tensor(values: NDArray[Any]) -> Any:
    """Return a float32 tensor of a copy: the array may be memory-mapped and read-only."""
    import torch

    return torch.from_numpy(np.array(values, dtype=np.float32))


def note(device: str) -> str:
    """Return the record's note about search on a GPU."""
    return f"exact search ran on {device}, whose memory holds the vectors"
