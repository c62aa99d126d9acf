"""Pages for readers, and the blocks of code in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from tests.conftest import ROOT

BLOCK = re.compile(
    r"(?:<!-- (not run|slow): ([^>]+?) -->\n)?```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """A fenced block; with a title it is the content of that file."""

    mark: str
    """`not run`, `slow` or empty, from an HTML comment above the block."""
    reason: str
    language: str
    title: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Commands of a shell, one each, without comments."""
        lines = self.text.replace("\\\n", " ").splitlines() if self.language == "bash" else ()
        found = (re.sub(r"(^|\s+)#.*", "", line).strip() for line in lines)
        return [command for command in found if command]


class Page(NamedTuple):
    path: str
    text: str

    @property
    def blocks(self) -> list[Block]:
        return [Block(*found.groups(default="")) for found in BLOCK.finditer(self.text)]


def parse(command: str) -> None:
    """Parse a command of `rankstone` as the command line does, which ends where it is wrong."""
    from typer.main import get_command

    from rankstone.cli import app as command_line

    verb, *rest = command_line.with_lists(shlex.split(command)[1:])
    found = get_command(command_line.app).commands[verb]  # type: ignore[attr-defined]
    while hasattr(found, "commands"):
        found, rest = found.commands[rest[0]], rest[1:]
    found.make_context(command, rest)


def pages() -> Iterator[Page]:
    """Yield README, CONTRIBUTING and the pages of `docs/`."""
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))):
        yield Page(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
