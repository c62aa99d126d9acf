"""What claims and paper tables share: folders of definitions, names, and results kept beside them.

Results are committed as JSON with the digest of the definition that they are of, and pages are
rendered from both; a definition that was changed since makes its results stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rankstone.errors import ResultsError
from rankstone.results.record import RunRecord
from rankstone.results.store import Stored
from rankstone.strict import Spec, SpecT

Found = Mapping[tuple[str, str], Stored]
"""(method, task) -> its record, and where that is stored."""


def as_tested(known: Mapping[str, SpecT], name: str, digest: str, what: str, mend: str) -> SpecT:
    """The definition `name`; ResultsError where it is no longer that of the results."""
    spec: Spec | None = known.get(name)
    if spec is None or spec.digest() != digest:
        raise ResultsError(
            f"{what} '{name}' is not defined as it was when it was tested. Test it anew: {mend}"
        )
    return known[name]


def identity(record: RunRecord) -> dict[str, Any]:
    """Which run it was: enough to find it, or to see that it was another."""
    return {
        "status": record.status,
        "method": record.method.digest,
        "run": record.files.run_sha256,
        "machine": record.environment.machine,
        "commit": record.environment.git_commit,
        "finished": record.provenance.finished,
    }


def said(record: RunRecord) -> str:
    """Why the cell failed, in a line."""
    return (record.error.message if record.error else record.status).partition("\n")[0]
