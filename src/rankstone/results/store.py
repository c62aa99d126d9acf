"""A folder of records: one JSON per (method, task, machine), with its side files.

``<folder>/<task>/<method>@<machine>.json``, where task and method keep their slashes as folders:
``results/beir/scifact/lexical/bm25@1f0c9a3e.json``. The TREC run, the values per query and the raw
latencies are stored beside it, each with the start of its sha256 in its name. Therefore a new run
never overwrites a file to which an older record refers, and the JSON on disk is always complete and
consistent with its files. The last failure of a cell has a separate file,
``...@<machine>.failed.json``; it never replaces results, and is deleted by the next success.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from rankstone.errors import RankstoneWarning, ResultsError, did_you_mean
from rankstone.files import TEMPORARY, appearing, copy, sha256_of
from rankstone.results.record import LONGEST_LABEL, Files, RunRecord
from rankstone.results.serialise import from_json, to_json, with_label
from rankstone.results.side_files import SUFFIXES, files_intact
from rankstone.strict import named_among

LISTED = 5
"""Maximum number of names in an error."""
REFERENCE = "reference"
"""The committed sub-folder of `results/`, a separate store."""
ABANDONED_S = 3600.0
"""Age at which leftovers are removed; younger ones may belong to a running process."""
LARGEST_BYTES = 1 << 26
"""Maximum size of a record; a larger file is not read."""
SLOTS = (".json", ".failed.json")
NONE: Mapping[str, Path] = MappingProxyType({})
_SWEPT = (*SUFFIXES.values(), TEMPORARY)
_PREFIX = 12
"""Number of digits of the sha256 in the name of a side file."""


Stored = tuple[RunRecord, Path]
"""A record, and the file in which it is stored."""
Cell = tuple[str, str]
"""Names of a method and a task."""
Found = Mapping[Cell, Stored]
"""The record of each cell, by method and task."""
Staged = dict[str, Path]
"""Files of a run, by `rankstone.results.side_files.Kind`, to be copied beside its record."""


def standing(record: RunRecord) -> tuple[bool, str, str]:
    """Return the sort key of a record within its cell: successful before failed, then the newest.

    The machine breaks ties, so that the order of reading does not matter.
    """
    return record.status == "ok", record.provenance.finished, record.environment.machine


def cells(stored: Iterable[Stored], *, machine: str | None = None) -> dict[Cell, Stored]:
    """Return the record that represents each cell, the highest by `standing`, in order of `stored`.

    Args:
        machine: only records of this fingerprint; None accepts any.
    """
    chosen = dict[Cell, Stored]()
    for record, path in stored:
        if machine in (None, record.environment.machine):
            cell = record.method.name, record.task.name
            held = chosen.setdefault(cell, (record, path))
            if standing(record) > standing(held[0]):
                chosen[cell] = record, path
    return chosen


class ResultStore:
    """The records below `folder`. The folder is created with the first record.

    Records that differ from their digest are rejected, unless `changed` accepts them.
    """

    def __init__(self, folder: Path, *, changed: bool = False) -> None:
        self.folder = folder
        self._changed = changed

    def path(self, record: RunRecord) -> Path:
        """Return the file for `record`: that of the cell's results, or of its failure."""
        cell = self._cell(record)
        return cell.with_name(cell.name + SLOTS[record.status != "ok"])

    def check_writable(self) -> None:
        """Write and delete a small file, so that a long run does not fail at its end.

        Raises:
            ResultsError: the folder cannot be created or written.
        """
        with self._explained():
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as probe:
                probe.write(b"rankstone")

    def write(self, record: RunRecord, staged: Mapping[str, Path] = NONE) -> RunRecord:
        """Store `record` with copies of its files, atomically.

        Returns:
            The record as stored, with the names and digests of its files.

        Raises:
            ResultsError: the disk is full, the folder is read-only, or the record contains NaN. The
                previous record is unchanged.
        """
        path, cell = self.path(record), self._cell(record)
        superseded = self._files_of(cell)
        with self._explained(), contextlib.ExitStack() as undo:
            path.parent.mkdir(parents=True, exist_ok=True)
            stored = record.model_copy(update={"files": _place_all(staged, cell, undo)})
            text = to_json(stored).encode("utf-8")
            with appearing(path) as out:
                out.write(text)
            undo.pop_all()
        if stored.status == "ok":
            self.forget_failure(stored)
        self._sweep(cell, superseded)
        return stored

    def forget_failure(self, record: RunRecord) -> None:
        """Delete the last failure of the cell of `record`, which has succeeded since."""
        cell = self._cell(record)
        with self._explained():
            cell.with_name(cell.name + SLOTS[1]).unlink(missing_ok=True)

    def label(self, path: Path, label: str | None) -> RunRecord:
        """Set or remove the label of the record in the file `path`, and return the record.

        Raises:
            ResultsError: the label is not one line of text, or the record cannot be read or
                written.
        """
        self.load(path)
        text = with_label(content_of(path), (label or "").strip())
        try:
            labelled = from_json(text, path)
        except ResultsError:
            raise ResultsError(
                f"{label!r} is not a label: write one line of {LONGEST_LABEL} characters at most."
            ) from None
        with self._explained(), appearing(path) as out:
            out.write(text.encode())
        return labelled

    def remove(self, path: Path) -> None:
        """Delete the file of a record, valid or damaged, and its side files.

        Raises:
            ResultsError: there is no such file, or it cannot be deleted.
        """
        suffix = next((slot for slot in reversed(SLOTS) if path.name.endswith(slot)), "")
        if not suffix or "@" not in path.name:
            raise ResultsError(f"{path}: not the file of a record. (rankstone records ls)")
        cell = path.with_name(path.name.removesuffix(suffix))
        superseded = self._files_of(cell)
        with self._explained():
            path.unlink()
        self._sweep(cell, superseded)

    def find(self, key: str, *, machine: str | None = None) -> RunRecord | None:
        """Return a successful record of `key` whose files are present and unchanged, or None.

        Args:
            key: `RunRecord.key`.
            machine: only records of this fingerprint; None accepts any.
        """
        for path in self._paths():
            if path.name.endswith(SLOTS[1]) or (machine and f"@{machine}." not in path.name):
                continue
            with contextlib.suppress(ResultsError):
                # Searching the bytes avoids parsing records that cannot match.
                if key.encode() not in (text := content_of(path)):
                    continue
                record = from_json(text, path)
                if record.key == key and record.status == "ok" and files_intact(record, path):
                    return record
        return None

    def records(self) -> list[RunRecord]:
        """Return every record, by task, method and machine; results before the last failure.

        A file that is not a valid record is skipped with a RankstoneWarning that names it. A folder
        of records inside this one is a separate store.
        """
        found = []
        for read in self.each():
            if isinstance(read, RunRecord):
                found.append(read)
            else:
                warnings.warn(f"skipped: {read}", RankstoneWarning, stacklevel=2)
        return sorted(found, key=_order)

    def each(self) -> Iterator[RunRecord | ResultsError]:
        """Yield the record of each file, by path, or the error if it is not a valid record."""
        for path in self._paths():
            try:
                record = self.load(path)
                if self.folder_of(record, path) == self.folder:
                    yield record
            except ResultsError as error:
                yield error

    def load(self, path: Path) -> RunRecord:
        """Return the record in the file `path`, upgraded to this version's schema.

        Raises:
            ResultsError: the file is missing, malformed, changed since it was written, or written
                by a newer Rankstone.
        """
        return from_json(content_of(path), path, changed=self._changed)

    def named(self, name: str) -> tuple[RunRecord, Path]:
        """Return the record in file `name`, or the one whose METHOD@TASK ends with or contains it.

        A successful record precedes a failure of the same cell. If two machines have successful
        records, an error is raised, whereas `cells` takes the newest: a single record is also
        requested for its speed and memory, and the name does not state the machine.

        Raises:
            ResultsError: the name matches no record, or several.
        """
        if Path(name).is_file():
            return self.load(Path(name)), Path(name)
        records: dict[str, list[RunRecord]] = {}
        for record in self.records():
            records.setdefault(f"{record.method.name}@{record.task.name}", []).append(record)
        found = named_among(name, records) or [key for key in records if name in key]
        if len(found) != 1:
            fault = f"matches {_some(found)}" if found else f"is not among: {_some(list(records))}"
            hint = "" if found else did_you_mean(name, records)
            raise ResultsError(
                f"record '{name}' {fault}.{hint} Name one file or one METHOD@TASK. ({self.folder})"
            )
        same = records[found[0]]
        good = [record for record in same if record.status == "ok"] or same
        if len(good) > 1:
            files = ", ".join(str(self.path(record)) for record in good)
            raise ResultsError(f"record '{name}' was measured on several machines: {files}.")
        return good[0], self.path(good[0])

    def all_named(self, name: str) -> list[Stored]:
        """Return all records of the method `name`, the successful ones if there are any; else the
        record `named` so."""
        stored = [] if "@" in name or Path(name).is_file() else self.stored()
        methods = named_among(name, {record.method.name for record, _ in stored})
        found = [one for one in stored if [one[0].method.name] == methods]
        return [one for one in found if one[0].status == "ok"] or found or [self.named(name)]

    def stored(self) -> list[Stored]:
        """Return every record of `records`, with its file."""
        return [(record, self.path(record)) for record in self.records()]

    def cells(self, *, machine: str | None = None) -> dict[Cell, Stored]:
        """Return the record that represents each (method, task), as the function `cells` does."""
        return cells(self.stored(), machine=machine)

    def side(self, name: str, *, label: str) -> dict[Cell, Stored]:
        """Return the cells of the folder `name`, else of the one method of that name, by task.

        The method is renamed `label`, so that two methods can be compared cell by cell. Empty if
        there is neither.
        """
        folder = Path(name).expanduser()
        if folder.is_dir():
            return ResultStore(folder).cells()
        stored = self.cells()
        full = named_among(name, {method for method, _ in stored})
        return {
            (label, task): one
            for (method, task), one in stored.items()
            if len(full) == 1 and method == full[0]
        }

    def folder_of(self, record: RunRecord, path: Path) -> Path:
        """Return the store of the record at `path`: this folder or one inside it.

        Raises:
            ResultsError: the path is not that of this record in any store.
        """
        expected = self.path(record)
        below = expected.relative_to(self.folder)
        if path.parts[-len(below.parts) :] == below.parts:
            return path.parents[len(below.parts) - 1]
        raise ResultsError(f"{path}: its record belongs to {expected}. Move it there.")

    def _paths(self) -> Iterator[Path]:
        for path in sorted(self.folder.rglob("*@*.json")):
            parts = path.relative_to(self.folder).parts
            if parts[0] != REFERENCE and not path.name.startswith("."):
                yield path

    def _cell(self, record: RunRecord) -> Path:
        """Return the path of a cell's files, without suffix."""
        name = f"{record.task.name}/{record.method.name}@{record.environment.machine}"
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise ResultsError(f"'{name}' cannot be a path below {self.folder}. Rename it.")
        return self.folder.joinpath(*parts)

    def _files_of(self, cell: Path) -> set[str]:
        """Return the names of the side files to which the cell's records refer."""
        names = set[str]()
        for slot in SLOTS:
            with contextlib.suppress(ResultsError):
                path = cell.with_name(cell.name + slot)
                files = from_json(content_of(path), path, changed=True).files
                names.update(files[kind] for kind in SUFFIXES if files[kind])
        return names

    def _sweep(self, cell: Path, superseded: set[str]) -> None:
        """Remove the files of a replaced record and leftovers of killed runs."""
        kept = self._files_of(cell)
        for path in cell.parent.iterdir():
            of_cell = path.name.lstrip(".").startswith(f"{cell.name}.")
            if not of_cell or path.name in kept or not path.name.endswith(_SWEPT):
                continue
            # Another process may have removed it already.
            with contextlib.suppress(FileNotFoundError):
                if path.name in superseded or time.time() - path.stat().st_mtime > ABANDONED_S:
                    path.unlink()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Convert an OSError into a ResultsError that states a remedy."""
        try:
            yield
        except OSError as error:
            raise ResultsError(
                f"{self.folder}: results cannot be written: {error.strerror or error}."
                " Free space or make it writable, or name another folder: --results DIR"
            ) from error


def _some(names: Sequence[str]) -> str:
    """Return the first names as text, with the number of others."""
    more = f", and {len(names) - LISTED} more (rankstone records ls)"
    return ", ".join(names[:LISTED]) + (more if len(names) > LISTED else "")


def recorded_name(name: str, known: Sequence[str], kind: str, folder: Path) -> str:
    """Return the full name of a method or task (`kind`) among those `known` from records.

    Raises:
        ResultsError: the name matches none, or several.
    """
    matches = named_among(name, known)
    if name in known:
        return name
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ResultsError(f"{kind} '{name}' is ambiguous: {', '.join(matches)}. Name one in full.")
    raise ResultsError(
        f"no record of the {kind} '{name}' in {folder}.{did_you_mean(name, known)}"
        f" There are: {', '.join(known) or 'none (rankstone run)'}."
    )


def content_of(path: Path) -> bytes:
    """Return the content of a record's file; ResultsError if it is not a regular file."""
    try:
        if not path.is_file():
            why = "not a file" if path.exists() else "no such file"
        elif path.stat().st_size > LARGEST_BYTES:
            why = "too large for a record"
        else:
            return path.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
    raise ResultsError(f"{path}: cannot be read: {why}. (rankstone records ls)")


def _place_all(staged: Mapping[str, Path], cell: Path, undo: contextlib.ExitStack) -> Files:
    """Copy the staged files beside the record; `undo` removes new ones."""
    placed: dict[str, str] = {}
    for kind in (kind for kind in SUFFIXES if kind in staged):
        digest = sha256_of(staged[kind])
        target = cell.with_name(f"{cell.name}.{digest[:_PREFIX]}{SUFFIXES[kind]}")
        if not target.exists():
            undo.callback(target.unlink, missing_ok=True)
        copy(staged[kind], target)
        placed |= {kind: target.name, f"{kind}_sha256": digest}
    return Files(**placed)


def _order(record: RunRecord) -> tuple[str, str, str, bool]:
    cell = (record.task.name, record.method.name, record.environment.machine)
    return (*cell, record.status != "ok")
