"""The exception tree.

RankstoneError              faults that a user can correct; messages state what, where and how
├── DefinitionError         a TOML definition is wrong, or a name is not defined
├── DataError               a collection is missing, malformed, or not the one expected
│   ├── NetworkError        a download could not start or broke off; run again to resume
│   ├── SourceGoneError     the file is not, or no longer, available
│   └── ChecksumError       the downloaded file is not the expected one
├── MissingExtraError       a method needs an optional dependency that is not installed
├── ModelError              model files are missing or not the ones expected
├── DoesNotFitError         a cell needs more memory or disk than there is
├── AdapterError            a runner or an index broke its contract (NaN, positions out of range)
├── ApiError                a model API refused, failed permanently, or answered invalidly
│   ├── RefusedError        the server refused a request, which costs nothing
│   └── BudgetError         the next request could cost more than the budget of the run
├── EngineError             a search engine cannot be started or reached, or refused a request
│   └── UnreachableError    no response from the address of a search engine
├── ClusterError            a cluster cannot be reached, or its nodes cannot run a task
├── MeasureError            a measure is unknown, or deeper than the run
└── ResultsError            records cannot be read, written or upgraded
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable


class RankstoneError(Exception):
    """Base class of all errors whose message is meant for the user."""


class RankstoneWarning(UserWarning):
    """Warning that a number may be misleading, although nothing failed."""


class DefinitionError(RankstoneError):
    """A definition is wrong or missing; the message names file, key and correction."""


class DataError(RankstoneError):
    """A collection is missing, malformed, or differs from the pins of its definition."""


class NetworkError(DataError):
    """A server could not be reached, or the connection broke; received data is kept."""


class SourceGoneError(DataError):
    """The server has no such file, or denies access to it."""


class ChecksumError(DataError):
    """A file does not have its pinned size or digest."""


class MissingExtraError(RankstoneError):
    """A method needs an extra; the message contains the install command."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the extra '{extra}'. Install: pip install 'rankstone[{extra}]'"
        )
        self.what = what
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return (MissingExtraError, (self.what, self.extra))


def installed(*libraries: str) -> bool:
    """Return True if all `libraries` are installed; none is imported."""
    return all(importlib.util.find_spec(name) is not None for name in libraries)


def require(what: str, extra: str, *libraries: str) -> None:
    """Raise MissingExtraError unless all `libraries` of an extra needed by `what` are installed."""
    if not installed(*libraries):
        raise MissingExtraError(what, extra)


class ModelError(RankstoneError):
    """Model files are missing, or differ from the pins of the definition."""


class DoesNotFitError(RankstoneError):
    """A cell needs more memory or disk than available, and was not run."""


class AdapterError(RankstoneError):
    """A runner or an index broke its contract."""


class ApiError(RankstoneError):
    """A model API refused, failed permanently, or returned an invalid answer."""


class RefusedError(ApiError):
    """A server refused a request (4xx) or was not reached; there is no charge."""


class BudgetError(ApiError):
    """The next request could exceed the remaining budget."""


class EngineError(RankstoneError):
    """A search engine cannot be started or reached, has ended, or refused a request."""


class UnreachableError(EngineError):
    """No response from the address of a search engine, or not in time."""


class ClusterError(RankstoneError):
    """A Ray cluster cannot be reached, or its nodes cannot run a task."""


class MeasureError(RankstoneError):
    """A measure is unknown, or cannot be computed from this run."""


class ResultsError(RankstoneError):
    """Records cannot be read, written, or upgraded."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `" Did you mean: a, b?"`; an empty string if no known name is similar."""
    candidates = {option.lower(): option for option in known}
    stems = {option.rpartition("/")[2]: full for option, full in candidates.items()}
    near = [option for option in candidates if name.lower() in option.split()][:3]
    near += difflib.get_close_matches(name.lower(), [*candidates, *stems], n=3, cutoff=0.6)
    options = dict.fromkeys(candidates.get(match) or stems[match] for match in near)
    return f" Did you mean: {', '.join(options)}?" if options else ""
