"""Rankstone: a harness that measures retrieval methods."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

__version__ = "0.1.0"
__all__ = [
    "Hits",
    "RankstoneError",
    "RunRecord",
    "Runner",
    "Session",
    "__version__",
    "board",
    "claims",
    "compare",
    "composite",
    "explain",
    "export",
    "gate",
    "leaderboard",
    "load",
    "per_query",
    "plan",
    "plot",
    "power",
    "report",
    "reproduce",
    "run",
    "score",
    "site",
    "verify",
]

T = TypeVar("T")


def as_function(verb: Callable[..., T]) -> Callable[..., T]:
    """Return the method `verb` of a default session as a function.

    It also accepts the fields of `Session` as keywords.
    """

    @functools.wraps(verb)
    def function(*args: Any, **options: Any) -> T:
        from rankstone.session import Session

        folders = Session.__dataclass_fields__.keys()
        session = Session(**{name: options.pop(name) for name in folders & options.keys()})
        return verb(session, *args, **options)

    return function


if TYPE_CHECKING:
    from rankstone.errors import RankstoneError
    from rankstone.results.record import Planned, RunRecord
    from rankstone.runners.protocols import Defaults as Runner
    from rankstone.runners.protocols import Hits
    from rankstone.session import Session

    board = as_function(Session.board)
    claims = as_function(Session.claims)
    compare = as_function(Session.compare)
    composite = as_function(Session.composite)
    explain = as_function(Session.explain)
    export = as_function(Session.export)
    gate = as_function(Session.gate)
    leaderboard = as_function(Session.leaderboard)
    load = as_function(Session.load)
    power = as_function(Session.power)
    per_query = as_function(Session.per_query)
    plan: Callable[..., list[Planned]]
    plot = as_function(Session.plot)
    report = as_function(Session.report)
    reproduce = as_function(Session.reproduce)
    run: Callable[..., list[RunRecord]]
    score = as_function(Session.score)
    site = as_function(Session.site)
    verify = as_function(Session.verify)

_HOMES = {
    "Hits": ("rankstone.runners.protocols", "Hits"),
    "RankstoneError": ("rankstone.errors", "RankstoneError"),
    "RunRecord": ("rankstone.results.record", "RunRecord"),
    "Runner": ("rankstone.runners.protocols", "Defaults"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import rankstone` stays light.

    A lower-case name is the method of `Session` of that name, bound to a default session.
    """
    if name not in __all__:
        raise AttributeError(f"module 'rankstone' has no attribute '{name}'")
    module, attribute = _HOMES.get(name, ("rankstone.session", name))
    home = vars(importlib.import_module(module))
    found = home[attribute] if attribute in home else as_function(getattr(home["Session"], name))
    globals()[name] = found
    return found
