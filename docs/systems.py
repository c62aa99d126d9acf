"""Writes systems.md beside this file, from systems.toml, the definitions and the claims:
python docs/systems.py"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rankstone.leaderboards.document import Page, Paragraph, table
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.papers.claims import ClaimSpec
from rankstone.specs import MethodSpec
from rankstone.workspace import Workspace

TARGET = Path(__file__).with_name("systems.md")
PLACE = Workspace.find(TARGET.parents[1])
SYSTEMS: list[dict[str, Any]] = tomllib.loads(TARGET.with_suffix(".toml").read_text())["systems"]
METHODS = {name: PLACE.method(name) for name in PLACE.method_names()}
CLAIMS = PLACE.load(ClaimSpec, "leaderboards/claims")
INTRODUCTION = (
    "Published systems, the definitions that run them here, and where these differ from the papers."
    " Definitions are in runners/, claims and what was found of them in leaderboards/claims.md."
    " make reference writes this page."
)


def methods_of(system: Mapping[str, Any]) -> list[MethodSpec]:
    """Return the definitions that the patterns of a system name."""
    return [
        method
        for name, method in METHODS.items()
        if any(fnmatchcase(name, pattern) for pattern in system["definitions"])
    ]


def state(system: Mapping[str, Any]) -> str:
    """Return how many of its definitions run with weights that can be had."""
    methods = methods_of(system)
    absent = [method.name for method in methods if method.weights == "unavailable"]
    runs = len(methods) - len(absent)
    parts = [f"{runs} run{'s' if runs == 1 else ''}"] if runs else []
    own = f"{len(absent)} run{'s' if len(absent) == 1 else ''} with your own weights"
    parts += [f"{own}: none were released"] if absent else []
    parts += [f"missing: {system['missing']}"] if "missing" in system else []
    return "; ".join(parts)


def deviations(system: Mapping[str, Any]) -> Iterator[str]:
    """Yield where it differs from its paper, and why claims of it are not tested."""
    if "deviates" in system:
        yield system["deviates"]
    for name in system["claims"]:
        claim = CLAIMS[name]
        yield from (
            f"{name}: {why.removesuffix('.')}." for why in (claim.differs, claim.untestable) if why
        )


def text() -> str:
    """Return the page of this checkout."""
    rows = [
        [
            system["name"],
            ", ".join(method.name for method in methods_of(system)),
            state(system),
            " ".join(deviations(system)),
        ]
        for system in SYSTEMS
    ]
    found = table(["system", "definitions", "state", "deviation"], rows)
    return render(Page(title="Systems", blocks=(Paragraph(INTRODUCTION), found)), "markdown")


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
