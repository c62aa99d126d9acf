"""Shards: files with the representations of consecutive documents, and the encoding cost.

`about.json` in the same folder names the runner, the corpus and the uses.

File layout: the arrays, each padded to 64 bytes; a JSON footer that describes them; the length of
the footer as 8 bytes, little-endian; the sha256 of everything before it. The file is renamed into
place when it is complete, so that readers never see a partial file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from rankstone.errors import DataError
from rankstone.files import appearing, lock, lock_file
from rankstone.runners.protocols import Truncation
from rankstone.runners.representations.base import UNPACK, pack

ABOUT = "about.json"
ALIGNMENT = 64
BLOCK = 2**20
DIGEST_BYTES = 32
STALE_S = 24 * 3600
"""Age from which an unfinished file is known to belong to a killed process."""
UNCHARGED = ("peak_flops_per_s", "hardware")


class Cost(NamedTuple):
    """Cost of encoding a shard."""

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int | None
    peak_gpu_bytes: int | None = None
    tokens: int | None = None
    flops: float | None = None
    peak_flops_per_s: float | None = None
    """Peak rate of `hardware` at the encoder's precision; null if no flops are known."""
    hardware: str | None = None
    """Machine and threads: speeds are compared only if these are equal."""
    billed_tokens: int | None = None
    usd: float | None = None

    def charged(self) -> dict[str, Any]:
        """Return the part that a clock charges to a phase."""
        return {k: v for k, v in self._asdict().items() if k not in UNCHARGED}


class ShardInfo(NamedTuple):
    """The footer of a shard."""

    documents: int
    cost: Cost
    truncation: Truncation | None
    kind: str
    arrays: dict[str, dict[str, Any]]


class DamagedShardError(Exception):
    """A shard file differs from what was written."""


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Convert an OSError while writing `path` into a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path}: encodings cannot be written: {error.strerror or error}."
            " No partial file was left. Free space or correct the permissions, or choose another"
            " folder with --cache; finished shards are kept."
        ) from error


def make_folder(folder: Path) -> None:
    """Create the folder of shards; DataError if it cannot be created."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_shard(
    path: Path, rep: Any, *, documents: int, cost: Cost, truncation: Truncation | None
) -> ShardInfo:
    """Write `rep` to `path` atomically and return the footer; if that fails, raise a DataError and
    leave no file."""
    make_folder(path.parent)
    with _writing(path), appearing(path) as file:
        return _write(file, rep, documents, cost, truncation)


def _write(
    file: IO[bytes], rep: Any, documents: int, cost: Cost, truncation: Truncation | None
) -> ShardInfo:
    packed = pack(rep)
    digest = hashlib.sha256()
    position = 0

    def put(data: Any) -> None:
        nonlocal position
        file.write(data)
        digest.update(data)
        position += memoryview(data).nbytes

    arrays = {}
    for name, array in packed.arrays.items():
        array = np.ascontiguousarray(array)
        arrays[name] = {"dtype": array.dtype.str, "shape": array.shape, "offset": position}
        put(array.reshape(-1).view(np.uint8).data)
        put(bytes(-position % ALIGNMENT))
    info = ShardInfo(documents, cost, truncation, packed.kind, arrays)
    footer = json.dumps(info._asdict(), sort_keys=True).encode()
    put(footer)
    put(len(footer).to_bytes(8, "little"))
    file.write(digest.digest())
    return info


def read_info(path: Path, documents: int | None = None) -> ShardInfo:
    """Return the footer after verifying the digest of the whole file.

    Raises DamagedShardError if the file is incomplete or does not have `documents` documents, and
    FileNotFoundError if it does not exist.
    """
    size = path.stat().st_size - DIGEST_BYTES
    if size < 8:
        raise DamagedShardError(f"{path}: too short")
    with path.open("rb", buffering=0) as file:
        if _digest(file, size) != file.read(DIGEST_BYTES):
            raise DamagedShardError(f"{path}: its content does not match its digest")
        file.seek(size - 8)
        length = int.from_bytes(file.read(8), "little")
        file.seek(size - 8 - length)
        body = json.loads(file.read(length))
    truncation = body["truncation"]
    info = ShardInfo(
        documents=body["documents"],
        cost=Cost(*body["cost"]),
        truncation=truncation and Truncation(*truncation),
        kind=body["kind"],
        arrays=body["arrays"],
    )
    if documents is not None and (info.documents != documents or info.kind not in UNPACK):
        raise DamagedShardError(f"{path}: holds {info.documents} documents, expected {documents}")
    return info


def _digest(file: Any, size: int) -> bytes:
    """Return the sha256 of the first `size` bytes, read in blocks: mapped pages stay resident."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(min(BLOCK, size)))
    while size:
        count = file.readinto(buffer[: min(len(buffer), size)])
        if not count:
            break
        digest.update(buffer[:count])
        size -= count
    return digest.digest()


def open_shard(path: Path, info: ShardInfo) -> Any:
    """Return the representations, memory-mapped; pages are released together with the arrays."""
    arrays = {}
    for name, array in info.arrays.items():
        shape = tuple(array["shape"])
        if 0 in shape:
            arrays[name] = np.empty(shape, dtype=array["dtype"])
        else:
            mapped = np.memmap(path, array["dtype"], "r", offset=array["offset"], shape=shape)
            arrays[name] = mapped.view(np.ndarray)
    return UNPACK[info.kind](arrays)


def sweep(folder: Path) -> None:
    """Delete unfinished files that killed processes left at least a day ago."""
    for leftover in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > STALE_S:
                leftover.unlink()


@contextlib.contextmanager
def claimed(shard: Path, *, wait: bool = False) -> Iterator[bool]:
    """Claim the encoding of the file `shard` until the block ends; yield False if another process
    has.

    Without lock support every claim is granted: a shard that is encoded twice is replaced by an
    equal one.

    Args:
        wait: wait for the process that holds the claim; otherwise yield False at once.
    """
    with lock(shard, wait=wait) as mine:
        yield mine
        if mine and shard.exists():  # the lock is no longer needed
            lock_file(shard).unlink(missing_ok=True)


def note_use(folder: Path, facts: Mapping[str, Any], use: Mapping[str, str]) -> None:
    """Record that `use` (method, task) reads or fills the folder, and the `facts` about it.

    The modification time of the file is the time of the last use. The file is only informative and
    never part of a key, so an error in writing it is ignored.
    """
    path = folder / ABOUT
    known = read_about(folder)
    uses = known.get("uses", [])
    with contextlib.suppress(OSError):
        if known and (not use or dict(use) in uses):
            os.utime(path)
            return
        body = {**facts, "uses": [*uses, *([dict(use)] if use else [])]}
        with appearing(path) as out:
            out.write(json.dumps(body, indent=2, ensure_ascii=False).encode() + b"\n")


def read_about(folder: Path) -> dict[str, Any]:
    """Return the facts and uses; empty if there are none, or they cannot be read."""
    try:
        body = json.loads((folder / ABOUT).read_bytes())
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}
