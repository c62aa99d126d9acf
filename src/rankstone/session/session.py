"""The Python API: a `Session` knows the folders, and every command is a method of it."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from rankstone.files import PathLike
from rankstone.records import no_folder
from rankstone.session.explanations import Explanations
from rankstone.session.verdicts import Verdicts

if TYPE_CHECKING:
    from rankstone.leaderboards.site.build import Built
    from rankstone.leaderboards.site.model import Texts
    from rankstone.results.record import RunRecord
    from rankstone.results.selection import Filters


@dataclass(frozen=True, kw_only=True)
class Session(Explanations, Verdicts):
    """Folders that commands read and write; each call reads definitions and records again."""

    def site(
        self,
        output: PathLike,
        *,
        pairs: int = 5,
        history: PathLike | Sequence[PathLike] = (),
        **filters: Unpack[Filters],
    ) -> Built:
        """Write the stored records as a folder of static pages; an older site is replaced.

        A board with a table for each task (`apart = true`) has a page if the site has all tasks of
        the board. Texts of queries and documents are shown if their data is stored locally; nothing
        is downloaded.

        Args:
            output: the folder.
            pairs: number of best methods per data set; every two of them have a page.
            history: folders of results, or of such folders, with records of other commits. Pages
                of trends show the figures of each method over all these records.

        Raises: RankstoneError, if a record cannot be read, if `output` holds something other than
            a site, or if the extra `site` is not installed.
        """
        from rankstone.leaderboards.board_spec import TableSpec
        from rankstone.leaderboards.pages.board import apart
        from rankstone.leaderboards.site.build import build
        from rankstone.leaderboards.site.model import Texts, make_site
        from rankstone.results.histories import refuse_several_stores, stored_below
        from rankstone.scoring.text_lookup import look_up

        definitions, sources = self.definitions, self.sources
        store = self._store(definitions)
        if not store.folder.is_dir():
            raise no_folder(store.folder)
        stored = self._selection(**filters).of(store.stored(), store.folder)
        if not stored:
            refuse_several_stores(store.folder)

        def look(
            record: RunRecord, queries: Collection[str], documents: Collection[str]
        ) -> Texts | str:
            find_task = functools.partial(self.task_of, record)
            found = look_up(find_task, record, queries, documents, sources)
            return found if isinstance(found, str) else Texts(*found)

        names = {record.method.name for record, _ in stored}
        bases = {name.partition("+")[0] for name in names}  # names without suffixes
        methods, there = definitions.defined(names | bases), {r.task.name for r, _ in stored}
        boards = {
            name: apart(spec, stored, spec.tasks, methods, curves=False)
            for name, spec in definitions.load(TableSpec, "leaderboards").items()
            if spec.apart and {*spec.tasks} <= there
        }
        made = make_site(stored, methods, look, boards)
        suites = [definitions.suite(name) for name in definitions.suites]
        return build(
            made, Path(output).resolve(), suites=suites, best=pairs, history=stored_below(history)
        )
