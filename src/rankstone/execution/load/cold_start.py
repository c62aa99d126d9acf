"""Cold start: a new process that reads a saved index and answers, timed from its start.

``python -m rankstone.execution.load.cold_start FOLDER BEGAN`` is that process. It runs some queries
once and then again; the second pass is its steady state. Before, the index is dropped from the
system's page cache, if that is allowed; models and libraries are not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rankstone.arrays import Floats
from rankstone.execution.job import Job
from rankstone.runners.adapter_json import class_of, name_of
from rankstone.runners.api.budget import SPENT, Purse, paying
from rankstone.runners.construct import build_runner
from rankstone.runners.objects.method import unpack
from rankstone.runners.protocols import AnyIndex, Hits

QUERIES = 100
"""Maximum number of queries."""
TURNS = 2
ASKED, ANSWERS, ERRORS = "asked.json", "answers.npz", "errors.txt"


class Asked(NamedTuple):
    """Answers of a new process to n queries, each run twice, in order."""

    begun_s: Floats
    """(2n,) seconds from the start of the process."""
    ended_s: Floats
    hits: list[Hits]
    """Hits of one query each."""


def ask_new_process(
    job: Job, index: AnyIndex, saved: Path, folder: Path, texts: Sequence[str], k: int
) -> Asked | None:
    """Return the answers of a new process that reads the index; None, with a warning, if it fails.

    Args:
        job: job of the cell, whose method has trained weights.
        index: the index that is saved in `saved`.
        folder: new folder for the files that the processes exchange, including the budget's ledger.
    """
    folder.mkdir()
    asked = {"index": name_of(type(index)), "saved": str(saved), "texts": list(texts), "k": k}
    (folder / ASKED).write_text(json.dumps({**asked, "job": job.model_dump_json()}))
    _drop_from_page_cache(saved)
    command = [sys.executable, "-P", "-m", __name__, str(folder)]
    with (folder / ERRORS).open("wb") as errors:
        began = time.perf_counter()
        code = subprocess.call([*command, repr(began)], stdin=subprocess.DEVNULL, stderr=errors)
    if code:
        lines = (folder / ERRORS).read_text(errors="replace").splitlines()
        fault = ([f"exit status {code}"] + [s for s in lines if s and not s[0].isspace()])[-1]
        warnings.warn(f"the cold start was not measured: {fault}", stacklevel=1)
        return None
    with np.load(folder / ANSWERS) as found:
        begun, ended = found["times"].T
        pairs = zip(found["docs"], found["scores"], strict=True)
        return Asked(begun, ended, [Hits(docs, scores) for docs, scores in pairs])


def _drop_from_page_cache(saved: Path) -> None:
    """Ask the system to drop the files from memory."""
    for path in saved.rglob("*"):
        if path.is_file() and hasattr(os, "posix_fadvise"):
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main(folder: Path, began: float) -> None:
    """Answer the queries in `folder`; `began` is the start of this process by the shared clock."""
    asked = json.loads((folder / ASKED).read_text())
    job = Job.model_validate_json(asked["job"])
    with paying(Purse(job.budget, ledger=folder / SPENT)):
        runner = build_runner(unpack(job.method, job.staging))
        index = class_of(asked["index"]).load(Path(asked["saved"]))
        times, hits = list[tuple[float, float]](), list[Hits]()
        for text in asked["texts"] * TURNS:
            begun = time.perf_counter() - began
            hits.append(index.search(runner.encode([text], "query"), asked["k"]))
            times.append((begun, time.perf_counter() - began))
    docs, scores = zip(*hits, strict=True)
    answers: dict[str, Any] = {"docs": np.stack(docs), "scores": np.stack(scores)}
    np.savez(folder / ANSWERS, times=np.array(times), **answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
