"""Queries in the formats of TREC and similar collections.

* TREC: `<top> <num> Number: 301 <title> ... <desc> Description: ... </top>`, fields closed or not
* TREC-XML: `<topic number="1"> <query> ... </query> </topic>`, or text without fields
* JSON Lines, and lines `id<TAB>text`
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from rankstone.benchmarks.dataset import Query
from rankstone.benchmarks.readers.lines import fault
from rankstone.benchmarks.readers.rows import chosen, json_rows, kind_of, tsv_rows
from rankstone.benchmarks.readers.sgml import Element, elements, plain

TEXT_KEYS = ("text", "query", "title", "question", "contents")
TEXT_FIELDS = ("title", "query")
ID_FIELDS = ("num", "number", "id", "identifier", "qid")
SHORT = {"desc": "description", "narr": "narrative"}
KNOWN_FIELDS = {
    *TEXT_KEYS, *ID_FIELDS, *SHORT, *SHORT.values(),
    "head", "dom", "domain", "smry", "summary", "con", "concepts", "fac", "factors", "def", "nat",
}  # fmt: skip
"""Fields of TREC's topics, recognised anywhere; other fields must begin a line."""
STYLES = {
    "a", "b", "br", "code", "em", "font", "hr", "i", "p", "q", "s", "small", "span", "strong",
    "sub", "sup", "tt", "u",
}  # fmt: skip
"""HTML tags inside a text, which do not start a field."""
_OPENING = re.compile(r"<([A-Za-z][\w-]*)(?:\s[^<>]*)?>")
_BRACKETED = re.compile(r"<([A-Za-z][\w-]*)[^<>]*>")
_LABEL = re.compile(r"\s*(?:Number|Topic|Description|Narrative)\s*:\s*", re.IGNORECASE)
_LABELLED = {*ID_FIELDS, "title", "description", "narrative"}


def read_topics(path: Path, warnings: set[str], field: str | None) -> Iterator[tuple[int, Query]]:
    """Yield the queries of a topics file in any of the formats above, with their line numbers.

    Args:
        field: field, key or column that is the query, such as `description`; by default the title,
            or its equivalent in the file's format.

    Raises:
        DataError: an id, the field or the text is missing, or a line is malformed; the message
            names file and line.
    """
    kind = kind_of(path)
    if kind == "sgml":
        return _marked_up(path, warnings, field)
    keys = (field,) if field else TEXT_KEYS
    rows = json_rows(path, keys, warnings) if kind == "jsonl" else tsv_rows(path, keys)
    return ((row.line, Query(row.id, row.text)) for row in rows)


def _marked_up(path: Path, warnings: set[str], field: str | None) -> Iterator[tuple[int, Query]]:
    for element in elements(path, ("top", "topic"), warnings):
        fields = _fields(element.content)
        found = chosen({**element.attributes, **fields}, ID_FIELDS)
        if not found:
            raise fault(path, element.line, f"a topic without an id ({', '.join(ID_FIELDS)})")
        identifier = " ".join(found.split())
        yield element.line, Query(identifier, _text(element, fields, field, path))


def _text(element: Element, fields: Mapping[str, str], field: str | None, path: Path) -> str:
    wanted = (SHORT.get(field, field),) if field else TEXT_FIELDS
    bare = not fields and field is None
    text = _text_of(element.content) if bare else chosen(fields, wanted)
    if not text:
        where, has = "> or <".join(wanted), ", ".join(fields) or "no fields"
        raise fault(path, element.line, f"a topic without text in <{where}>; it has {has}")
    return " ".join(text.split())


def _fields(content: str) -> dict[str, str]:
    """Return the text of each field; a field that is not closed ends where the next one begins."""
    found: dict[str, str] = {}
    position = 0
    while opening := _tag(content, position, outside=True):
        tag = opening[1]
        end = _closing(tag, content, opening.end()) or _tag(content, opening.end())
        text = _text_of(content[opening.end() : end.start() if end else len(content)])
        name = SHORT.get(tag.lower(), tag.lower())
        found.setdefault(name, _LABEL.sub("", text, count=1) if _labelled(name, text) else text)
        position = len(content) if end is None else end.start()
    return found


def _tag(content: str, position: int, *, outside: bool = False) -> re.Match[str] | None:
    """Return the next tag that starts a field: outside of fields any tag, inside a known tag, or
    one that begins its line."""
    for found in _OPENING.finditer(content, position):
        name = found[1].lower()
        line = content[content.rfind("\n", 0, found.start()) + 1 : found.start()]
        if name in KNOWN_FIELDS or (name not in STYLES and (outside or not line.strip())):
            return found
    return None


def _closing(tag: str, content: str, position: int) -> re.Match[str] | None:
    return re.compile(rf"</{re.escape(tag)}\s*>", re.IGNORECASE).search(content, position)


def _text_of(content: str) -> str:
    """Return the plain text of a field. Unclosed tags such as `<iostream>`, and brackets without a
    tag, such as `<jo@example.org>`, are kept as text."""

    def kept(found: re.Match[str]) -> str:
        tag, name = found[0], found[1]
        styles = name.lower() in STYLES or _closing(name, content, found.end())
        marks = tag.endswith("/>") or (styles and _OPENING.fullmatch(tag))
        return tag if marks else html.escape(tag)

    return plain(_BRACKETED.sub(kept, content))


def _labelled(name: str, text: str) -> bool:
    return name in _LABELLED and _LABEL.match(text) is not None
