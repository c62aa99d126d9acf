"""Rankstone: the harness that retrieval research is measured with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["RankstoneError", "RunRecord", "__version__", "leaderboard", "run", "score", "verify"]

if TYPE_CHECKING:
    from rankstone.api import leaderboard, run, score, verify
    from rankstone.errors import RankstoneError
    from rankstone.results.record import RunRecord

_HOMES = {
    "RankstoneError": "rankstone.errors",
    "RunRecord": "rankstone.results.record",
    "leaderboard": "rankstone.api",
    "run": "rankstone.api",
    "score": "rankstone.api",
    "verify": "rankstone.api",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `import rankstone` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'rankstone' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
