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
    "Published systems, the definitions that run them in Rankstone, and the differences between"
    " these and the papers. The definitions are in runners/; the papers' claims and their tests are"
    " in leaderboards/claims.md. The command make reference writes this page."
)


def methods_of(system: Mapping[str, Any]) -> list[MethodSpec]:
    """Return the definitions that the patterns of a system name."""
    return [
        method
        for name, method in METHODS.items()
        if any(fnmatchcase(name, pattern) for pattern in system["definitions"])
    ]


def state(system: Mapping[str, Any]) -> str:
    """Return the number of its definitions that run, with and without released weights."""
    methods = methods_of(system)
    absent = [method.name for method in methods if method.weights == "unavailable"]
    runs = len(methods) - len(absent)
    parts = [f"{runs} run{'s' if runs == 1 else ''}"] if runs else []
    own = f"{len(absent)} run{'s' if len(absent) == 1 else ''} with your own weights"
    parts += [f"{own}: none were released"] if absent else []
    parts += [f"missing: {system['missing']}"] if "missing" in system else []
    return "; ".join(parts)


def deviations(system: Mapping[str, Any]) -> Iterator[str]:
    """Yield its differences from the paper, and the reasons why claims of it are not tested."""
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
    found = table(["system", "definitions", "state", "differences from the paper"], rows)
    return render(Page(title="Systems", blocks=(Paragraph(INTRODUCTION), found)), "markdown")


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
