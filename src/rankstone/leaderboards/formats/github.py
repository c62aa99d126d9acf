"""Page of a gate as GitHub workflow commands, for failed and undecided rules."""

from __future__ import annotations

from collections.abc import Mapping

from rankstone.leaderboards.document import Page

KINDS = {"fail": "error", "undecided": "warning", "incomparable": "warning"}


def draw(page: Page) -> str:
    return "".join(
        _command(kind, row) for row in page.rows if (kind := KINDS.get(str(row["outcome"])))
    )


def _command(kind: str, row: Mapping[str, object]) -> str:
    title = _escaped(f"{row['method']} on {row['task']}", ":,")
    text = _escaped(f"{row['rule']}: {row['detail']}")
    return f"::{kind} title={title}::{text}\n"


def _escaped(text: str, more: str = "") -> str:
    """Percent-encode as workflow commands require; `more` are further characters to encode."""
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
