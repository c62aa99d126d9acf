"""The definition that committed results of claims and paper tables were tested with.

Results are committed as JSON with the digest of the definition that they are of, and pages are
rendered from both; a definition that was changed since makes its results stale.
"""

from __future__ import annotations

from collections.abc import Mapping

from rankstone.errors import ResultsError
from rankstone.strict import Spec, SpecT


def as_tested(known: Mapping[str, SpecT], name: str, digest: str, what: str, mend: str) -> SpecT:
    """The definition `name`; ResultsError where it is no longer that of the results."""
    spec: Spec | None = known.get(name)
    if spec is None or spec.digest() != digest:
        raise ResultsError(
            f"{what} '{name}' is not defined as it was when it was tested. Test it anew: {mend}"
        )
    return known[name]
