"""Run the speed comparisons: every `bench_*.py` beside this file, or those whose name matches.

    python tests/speed/run.py [filter]

A bench module has a function `lines()` that yields
`speed <name> ratio=<r> goal=<op><g> peer=<what>`, with op `>=` or `<=`. Ratios come from
interleaved runs of both sides on this machine. Exit status 1 if a goal is missed.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Where the package `tests` lies, of which a bench may use what tests share."""
LINE = re.compile(r"speed \S+ ratio=(?P<ratio>\S+) goal=(?P<op>[<>]=)(?P<goal>\S+) peer=.+")


def lines_of(path: Path) -> Iterator[str]:
    """Yield the result lines of the bench module at `path`."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: cannot be loaded as a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Ray sends a class by the module that defines it
    spec.loader.exec_module(module)
    yield from module.lines()


def reached(line: str) -> bool:
    """Return True if a result line meets its own goal."""
    match = LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"not a result line: {line!r}")
    ratio, goal = float(match["ratio"]), float(match["goal"])
    return ratio >= goal if match["op"] == ">=" else ratio <= goal


def main(arguments: list[str]) -> int:
    wanted = arguments[0] if arguments else ""
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(ROOT))
    missed = False
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        if wanted not in path.stem:
            continue
        for line in lines_of(path):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            missed |= not reached(line)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
