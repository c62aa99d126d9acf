"""Export of records to formats of other tools: TREC, ir_metadata, MTEB, a Parquet table."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from rankstone.errors import ResultsError
from rankstone.files import GIB, appearing
from rankstone.results.mteb_results import mteb_files
from rankstone.results.per_query import read_per_query
from rankstone.results.record import RunRecord
from rankstone.results.side_files import needed_file
from rankstone.results.store import Stored
from rankstone.strict import canonical_digest


def export(stored: Sequence[Stored], to: str, folder: Path) -> list[Path]:
    """Write `stored` into `folder`, which is created, in the format `to`, a key of `FORMS`.

    Returns: the files written.

    Raises:
        ResultsError: a record failed, or lacks data that the format needs; then nothing is written.
    """
    for record, _ in stored:
        if record.status != "ok":
            raise ResultsError(
                f"{_cell(record)} ended as {record.status} and has nothing to export."
            )
    texts = list(FORMS[to](stored))
    written = []
    for name, content in texts:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with appearing(path) as out:
            out.write(content)
        written.append(path)
    return written


def _cell(record: RunRecord) -> str:
    return f"{record.method.name} on {record.task.name}"


def _file_names(stored: Sequence[Stored]) -> list[str]:
    """Return a file name for each record, with the machine if several measured the cell.

    A digest is added to names that differ only in characters that files do not have.
    """
    cells = [f"{record.method.name}@{record.task.name}" for record, _ in stored]
    safe = [re.sub(r"[^\w.@-]+", "_", cell) for cell in cells]
    owners: dict[str, set[str]] = {}
    for name, cell in zip(safe, cells, strict=True):
        owners.setdefault(name, set()).add(cell)
    measured, names = Counter(cells), list[str]()
    for name, cell, (record, _) in zip(safe, cells, stored, strict=True):
        mark = f"-{canonical_digest(cell)[:8]}" if len(owners[name]) > 1 else ""
        machine = f"@{record.environment.machine}" if measured[cell] > 1 else ""
        names.append(f"{name}{mark}{machine}")
    return names


def _run_text(record: RunRecord, path: Path) -> bytes:
    run = needed_file(record, path, "run")
    with run.open("rb") as file, zstandard.open(file, "rb") as plain:
        text: bytes = plain.read()
    return text


def _trec(stored: Sequence[Stored]) -> Iterator[tuple[str, bytes]]:
    for name, (record, path) in zip(_file_names(stored), stored, strict=True):
        yield f"{name}.trec", _run_text(record, path)


def _ir_metadata(stored: Sequence[Stored]) -> Iterator[tuple[str, bytes]]:
    """Yield each run with its metadata as YAML in leading comments.

    Breuer, Keller, Schaer: ir_metadata, An Extensible Metadata Schema for IR Experiments, SIGIR
    2022; schema 0.1.
    """
    for name, (record, path) in zip(_file_names(stored), stored, strict=True):
        lines = ["ir_metadata.start", *_yaml(_metadata(record)), "ir_metadata.end"]
        head = "".join(f"# {line}\n" for line in lines)
        yield f"{name}.trec", head.encode() + _run_text(record, path)


def _metadata(record: RunRecord) -> dict[str, Any]:
    """Return the PRIMAD components of a record: platform, implementation, method, data."""
    here, phases = record.environment, record.phases
    return {
        "schema_version": "0.1",
        "tag": record.method.name,
        "platform": {
            "hardware": {
                "cpu": {"model": here.cpu, "cores": here.cores},
                "ram": None if here.ram_bytes is None else f"{here.ram_bytes / GIB:.1f} GiB",
                "gpu": here.gpu,
            },
            "operating system": {"distribution": here.os},
            "software": {"libraries": {"python": [f"{k}=={v}" for k, v in here.packages.items()]}},
        },
        "implementation": {
            "executable": {"cmd": " ".join(here.command)},
            "source": {"lang": f"python {here.python}", "commit": here.git_commit},
        },
        "research goal": {
            "evaluation": {
                "reported measures": {name: m.mean for name, m in record.measures.items()},
                "significance test": None,
            }
        },
        "data": {
            "test collection": {
                "name": record.task.name,
                "source": record.task.source,
                "qrels": record.task.sha256.get("judgements"),
            }
        },
        "method": {
            "automatic": True,
            "name": record.method.name,
            "parameters": record.method.parameters,
            "description": record.method.description,
            "runtime": {n: phase.wall_s for n, phase in phases.items() if not phase.from_cache},
        },
    }


def _yaml(value: Mapping[str, Any], indent: int = 0) -> Iterator[str]:
    """Yield mappings as YAML blocks, all else as JSON, of which YAML is a superset."""
    for key, inner in value.items():
        space = " " * indent
        name = key if re.fullmatch(r"[A-Za-z_][\w ]*", key) else json.dumps(key)
        if isinstance(inner, Mapping) and inner:
            yield f"{space}{name}:"
            yield from _yaml(inner, indent + 2)
        else:
            yield f"{space}{name}: {json.dumps(inner, ensure_ascii=False)}"


def _parquet(stored: Sequence[Stored]) -> Iterator[tuple[str, bytes]]:
    """Yield a table of all values per query: method, task, machine, query, measure, value."""
    parts = []
    for record, path in stored:
        read = read_per_query(needed_file(record, path, "per_query"))
        n = len(read.query_ids)
        cell = {
            "method": [record.method.name] * n,
            "task": [record.task.name] * n,
            "machine": [record.environment.machine] * n,
            "query": read.query_ids,
        }
        for measure, values in read.measures.items():
            parts.append(pa.table({**cell, "measure": [measure] * n, "value": values}))
    out = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables(parts), out, compression="zstd")
    yield "per-query.parquet", out.getvalue().to_pybytes()


FORMS: dict[str, Callable[[Sequence[Stored]], Iterator[tuple[str, bytes]]]] = {
    "trec": _trec,
    "ir_metadata": _ir_metadata,
    "mteb": mteb_files,
    "parquet": _parquet,
}
