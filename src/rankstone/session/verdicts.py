"""Verdicts on measurements: of a version, a paper's claims, a published table."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rankstone.errors import DefinitionError
from rankstone.files import PathLike
from rankstone.session.runs import Missing, Runs
from rankstone.strict import chosen
from rankstone.workspace import several

if TYPE_CHECKING:
    from rankstone.leaderboards.gate import Judgement
    from rankstone.leaderboards.gates.rules import GateRules
    from rankstone.leaderboards.papers.claims import Result
    from rankstone.leaderboards.papers.tables import Reproduction
    from rankstone.leaderboards.shown import ShownList
    from rankstone.results.store import Found


@dataclass(frozen=True, kw_only=True)
class Verdicts(Runs):
    """The commands of a session that measure and judge."""

    def gate_ab(
        self,
        versions: tuple[str, str],
        methods: Sequence[str] | str,
        tasks: Sequence[str] | str,
        *,
        rounds: int,
        rules: PathLike | GateRules | None = None,
        report: Callable[[str], None] = lambda what: None,
    ) -> ShownList[Judgement]:
        """Measure two versions alternately and judge the second's costs by the first's.

        Args:
            versions: checkouts, or commits of the repository around the workspace.
            rounds: maximum number of rounds of a cell; a cell ends as soon as it is decided.
            rules: rules of cost; by default a median latency up to 1.1 times the first's passes.
            report: receives a line before each run.

        Raises: RankstoneError, if a version or a cell does not run.
        """
        from rankstone.execution.ab_comparison import Rounds, looks, measure_cells
        from rankstone.leaderboards.gate import judge_ratio
        from rankstone.leaderboards.gates.rules import AB_LEVEL, ab_rules
        from rankstone.leaderboards.pages.gate import page
        from rankstone.leaderboards.shown import ShownList

        if not methods or not tasks:
            raise DefinitionError("--ab needs what to run. Name it: --method METHOD --on TASK")
        bounds, level = ab_rules(rules), AB_LEVEL / len(looks(rounds))

        def judged(found: Rounds) -> list[Judgement]:
            load = statistics.median(found.load)
            sides = found.baseline, found.candidate
            return [judge_ratio(rule, *sides, level=level, load=load) for rule in bounds]

        given = (("--data", self.data), ("--cache", self.cache))
        measured = measure_cells(
            versions,
            several(methods),
            self.definitions.single_names(tasks),
            repository=self.definitions.root,
            rounds=rounds,
            decided=lambda found: all(one.verdict != "not shown" for one in judged(found)),
            arguments=tuple(str(part) for pair in given if pair[1] for part in pair),
            report=report,
        )
        every = (judgement for found in measured for judgement in judged(found))
        return ShownList(every, page, "judgement")

    def claims(
        self, names: Sequence[str] | str = (), *, missing: Missing = "run"
    ) -> tuple[ShownList[Result], Found]:
        """Test the claims `names`, or all, on the runs that they need.

        Args:
            missing: `run` measures cells without a record of today's definitions, code and data;
                `skip` uses only stored records, and reports other cells as not measured.

        Returns: the result of each claim, and the records by method and task. With `run`, a claim
        that needs an extra that is not installed is not tested.

        Raises: RankstoneError, before anything runs, if a name or a definition is wrong.
        """
        from rankstone.leaderboards.pages.claims import page
        from rankstone.leaderboards.papers.claims import ClaimSpec, evaluate_claim, untested
        from rankstone.leaderboards.shown import ShownList
        from rankstone.results.side_files import SCORED
        from rankstone.results.store import Cell

        definitions = self.definitions
        wanted = chosen(definitions.load(ClaimSpec, "leaderboards/claims"), several(names), "Claim")
        # Files scored before (`rankstone score`) have no definition; they can only be looked up.
        needed = {
            claim.name: {(m, t) for m, t in claim.cells() if not m.startswith(SCORED)}
            for claim in wanted
        }
        for method, task in set[Cell]().union(*needed.values()):
            definitions.method(method)
            definitions.task(task)
        lacking = self._lacking(set[Cell]().union(*needed.values()), missing)
        reasons = {
            name: lacking[min(absent)]
            for name, cells in needed.items()
            if (absent := lacking.keys() & {method for method, _ in cells})
        }
        runs = (cells for name, cells in needed.items() if name not in reasons)
        records = self._measured(set[Cell]().union(*runs), missing)
        found = [
            untested(claim, reasons[claim.name])
            if claim.name in reasons
            else evaluate_claim(claim, records, self._relevant)
            for claim in wanted
        ]
        return ShownList(found, functools.partial(page, records=records), "claim"), records

    def reproduce(
        self, tables: Sequence[str] | str = (), *, missing: Missing = "skip"
    ) -> ShownList[Reproduction]:
        """Compare the published `tables`, or all, with measured values.

        Args:
            missing: as in `claims`.

        Returns: each table with all its values: within, above, below, or not run with the reason.
        With `run`, the cells of a method that needs an extra that is not installed are not run.

        Raises: RankstoneError, before anything runs, if a name or a definition is wrong.
        """
        from rankstone.benchmarks.availability import is_available
        from rankstone.leaderboards.pages.papers import page
        from rankstone.leaderboards.papers import tables as papers
        from rankstone.leaderboards.shown import ShownList

        definitions, sources = self.definitions, self.sources
        every = definitions.load(papers.PaperSpec, "leaderboards/papers")
        wanted = chosen(every, several(tables), "Table")
        known = papers.Known.of(
            definitions.methods(definitions.method_names()),
            definitions.tasks,
            definitions.suites,
            {name for paper in wanted for name in paper.tasks},
            lambda task: is_available(task, sources),
        )
        for paper in wanted:
            papers.refuse_unknown_tasks(paper, known)
        cells = {cell for paper in wanted for cell in papers.needed(paper, known)}
        known = replace(known, lacking=self._lacking(cells, missing))
        records = self._measured({c for c in cells if c[0] not in known.lacking}, missing)
        found = [papers.reproduce_table(paper, records, known) for paper in wanted]
        return ShownList(found, functools.partial(page, every=bool(tables)), "published table")
