"""Rankstone: the harness that retrieval research is measured with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "RankstoneError",
    "RunRecord",
    "Session",
    "__version__",
    "board",
    "claims",
    "compare",
    "export",
    "gate",
    "leaderboard",
    "report",
    "reproduce",
    "run",
    "score",
    "site",
    "verify",
]

if TYPE_CHECKING:
    from collections.abc import Callable

    from rankstone.errors import RankstoneError
    from rankstone.results.record import RunRecord
    from rankstone.session import Session, as_function

    board = as_function(Session.board)
    claims = as_function(Session.claims)
    compare = as_function(Session.compare)
    export = as_function(Session.export)
    gate = as_function(Session.gate)
    leaderboard = as_function(Session.leaderboard)
    report = as_function(Session.report)
    reproduce = as_function(Session.reproduce)
    run: Callable[..., list[RunRecord]]
    score = as_function(Session.score)
    site = as_function(Session.site)
    verify = as_function(Session.verify)

_HOMES = {"RankstoneError": "rankstone.errors", "RunRecord": "rankstone.results.record"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import rankstone` stays light.

    A name in lower case is the method of `Session` of that name, over a default session.
    """
    if name not in __all__:
        raise AttributeError(f"module 'rankstone' has no attribute '{name}'")
    import importlib

    home = importlib.import_module(_HOMES.get(name, "rankstone.session"))
    known = vars(home)
    found = known[name] if name in known else home.as_function(getattr(home.Session, name))
    globals()[name] = found
    return found
