"""Links in citations: arXiv identifiers, DOIs and URLs."""

from __future__ import annotations

import re
from typing import NamedTuple

_LINK = re.compile(
    r"arXiv:(?P<arxiv>\d{4}\.\d{4,5}|[a-z-]+/\d{7})"
    r"|(?P<doi>\b10\.\d{4,9}/[^\s,;()]+)"
    r"|(?:https?://)?(?P<address>\b(?:[a-z0-9-]+\.)+[a-z]{2,}/[^\s,;()]+)",
    re.IGNORECASE,
)
_SITES = {
    "arxiv": "https://arxiv.org/abs/", "doi": "https://doi.org/", "address": "https://"
}  # fmt: skip


class Piece(NamedTuple):
    """Part of a citation; `url` is empty for plain text."""

    text: str
    url: str = ""


def linked(citation: str) -> list[Piece]:
    """Split the citation into plain and linked parts."""
    found, at = [], 0
    for match in _LINK.finditer(citation):
        found += [Piece(citation[at : match.start()]), Piece(match[0], _url(match))]
        at = match.end()
    return [piece for piece in (*found, Piece(citation[at:])) if piece.text]


def _url(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    return _SITES[kind] + match[kind]
