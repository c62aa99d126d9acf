"""What claims and paper tables share: folders of definitions, names, and results kept beside them.

Results are committed as JSON with the digest of the definition that they are of, and pages are
rendered from both; a definition that was changed since makes its results stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rankstone.errors import DefinitionError, ResultsError, did_you_mean
from rankstone.results.record import RunRecord
from rankstone.results.store import Stored
from rankstone.strict import Spec, SpecT, build_spec, read_toml

Found = Mapping[tuple[str, str], Stored]
"""(method, task) -> its record, and where that is stored."""
Named = TypeVar("Named")


def load_folder(kind: type[SpecT], folder: Path) -> dict[str, SpecT]:
    """All definitions `<name>.toml` of `folder`, by name."""
    return {
        path.stem: build_spec(kind, {**read_toml(path), "name": path.stem}, path)
        for path in sorted(folder.glob("*.toml"))
    }


def chosen(known: Mapping[str, Named], names: Iterable[str], what: str) -> list[Named]:
    """Those `names`, each once, or all; DefinitionError with near names for an unknown one."""
    wanted = list(dict.fromkeys(names)) or list(known)
    for name in wanted:
        if name not in known:
            raise DefinitionError(
                f"{what} '{name}' is not defined.{did_you_mean(name, known)}"
                f" Defined: {', '.join(known) or 'none'}."
            )
    return [known[name] for name in wanted]


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
