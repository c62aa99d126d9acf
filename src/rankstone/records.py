"""The stored records of a session: found, selected, labelled and removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from rankstone.catalogue import Catalogue, expanded
from rankstone.errors import ResultsError
from rankstone.files import PathLike
from rankstone.workspace import Methods, Tasks, Workspace, names_of, several

if TYPE_CHECKING:
    from rankstone.results.record import RunRecord
    from rankstone.results.selection import Filters, Selection
    from rankstone.results.store import ResultStore, Stored
    from rankstone.specs import MethodSpec

    Records = Sequence[str | MethodSpec | RunRecord] | str | MethodSpec | RunRecord


@dataclass(frozen=True, kw_only=True)
class StoredRecords(Catalogue):
    """The commands of a session that find, label and remove records."""

    @property
    def store(self) -> ResultStore:
        """The folder of the records, which may be absent."""
        return self._store(self.definitions)

    def records(self, names: Records = (), **filters: Unpack[Filters]) -> list[Stored]:
        """Return stored records with their files: the records `names`, or all, that pass `filters`.

        Args:
            names: files, parts of METHOD@TASK, or records as `run` returns them; one or several.

        Raises: ResultsError, if the named folder of records, a record, or a method or task of a
            filter is absent, or if the folder has records in folders inside it alone.
        """
        from rankstone.results.histories import refuse_several_stores

        store = self._present_store()
        found = [self._named(one, store) for one in alone_or_all(names)] or store.stored()
        if not found:
            refuse_several_stores(store.folder)
        return self._selection(**filters).of(found, store.folder)

    def _named(self, given: str | MethodSpec | RunRecord, store: ResultStore) -> Stored:
        from rankstone.results.record import RunRecord

        if isinstance(given, RunRecord):
            return given, store.path(given)
        return store.named(self._recorded(given)[0])

    def _all_named(self, names: Records, store: ResultStore) -> list[Stored]:
        """Return the records `names`, where a method stands for all its records."""
        from rankstone.results.record import RunRecord

        return [
            found
            for one in alone_or_all(names)
            for found in (
                [self._named(one, store)]
                if isinstance(one, RunRecord)
                else store.all_named(self._recorded(one)[0])
            )
        ]

    def all_records(
        self,
        names: Sequence[str] | str = (),
        *,
        changed: bool = False,
        **filters: Unpack[Filters],
    ) -> list[Stored | ResultsError]:
        """Return `records`, and for each file that is not a valid record, the reason.

        Args:
            names: as for `records`; a method stands for all its records.
            changed: also return records that were changed since they were written.

        Raises: ResultsError, as for `records`.
        """
        from rankstone.results.histories import refuse_several_stores
        from rankstone.results.store import ResultStore

        store = ResultStore(self._present_store().folder, changed=changed)
        if names:
            return list(self._all_named(names, store))
        every = [
            read if isinstance(read, ResultsError) else (read, store.path(read))
            for read in store.each()
        ]
        if not every:
            refuse_several_stores(store.folder)
        good = [one for one in every if not isinstance(one, ResultsError)]
        kept = {path for _, path in self._selection(**filters).of(good, store.folder)}
        return [one for one in every if isinstance(one, ResultsError) or one[1] in kept]

    def has_digest(self, path: PathLike) -> bool:
        """Return False for a record of an early version, which contains no digest of itself."""
        from rankstone.results.serialise import has_digest
        from rankstone.results.store import content_of

        return has_digest(content_of(Path(path)), Path(path))

    def remove_records(
        self, names: Sequence[str] | str = (), *, failed: bool = False
    ) -> list[Path]:
        """Delete stored records with the files beside them, and return their files.

        Args:
            names: methods, METHOD@TASK, or files, including invalid records; by default all
                records.
            failed: only delete failures.

        Raises: ResultsError, before anything is deleted, if a name has no record.
        """
        from rankstone.results.removal import chosen_files

        store = self._present_store()
        paths = chosen_files(store, self._recorded(names), failed=failed)
        for path in paths:
            store.remove(path)
        return paths

    def label_records(self, names: Sequence[str] | str, label: str | None) -> list[Path]:
        """Set or remove the label of stored records, and return their files.

        Boards show the label instead of the method's name. It is not part of a record's digest.

        Args:
            names: methods, METHOD@TASK, or files.

        Raises: ResultsError, before anything is written, if a name has no record.
        """
        from rankstone.results.removal import chosen_files

        store = self._present_store()
        paths = chosen_files(store, self._recorded(names))
        for path in paths:
            store.load(path)
        for path in paths:
            store.label(path, label)
        return paths

    def _recorded(self, methods: Methods) -> list[str]:
        """Return the names of methods as they are in records."""
        return [self.definitions.recorded(name) for name in names_of(methods)]

    def _store(self, definitions: Workspace) -> ResultStore:
        from rankstone.results.store import ResultStore

        return ResultStore(Path(self.results) if self.results is not None else definitions.results)

    def _present_store(self) -> ResultStore:
        """Return the folder of the records; ResultsError if it was named and does not exist."""
        if self.results is not None and not Path(self.results).is_dir():
            raise no_folder(self.results)
        return self.store

    def _selection(
        self,
        *,
        methods: Methods | None = None,
        on: Tasks | None = None,
        family: Sequence[str] | str | None = None,
        machine: Sequence[str] | str | None = None,
    ) -> Selection:
        """Return the filter of records that a command's options state."""
        from rankstone.results.selection import Selection

        definitions = self.definitions
        return Selection(
            methods=self._recorded(methods or ()),
            tasks={name: expanded(name, definitions) for name in names_of(on or ())},
            families=several(family or ()),
            machines=several(machine or ()),
        )


def alone_or_all(given: Any) -> list[Any]:
    """Return a record or a name, or several, as a list."""
    from rankstone.results.record import RunRecord

    return [given] if isinstance(given, RunRecord) else several(given)


def no_folder(folder: PathLike) -> ResultsError:
    return ResultsError(f"{folder}: no such folder. Name the folder of the records: --results DIR")
