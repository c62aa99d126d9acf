"""Queries in the forms that TREC and its kin hand them out in.

* TREC: `<top> <num> Number: 301 <title> ... <desc> Description: ... </top>`, fields closed or not
* TREC-XML: `<topic number="1"> <query> ... </query> </topic>`, or the text without any fields
* lines of JSON, and lines `id<TAB>text`
"""

from __future__ import annotations

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
_OPENING = re.compile(r"<([A-Za-z][\w-]*)(?:\s[^<>]*)?>")
_LABEL = re.compile(r"\s*(?:Number|Topic|Description|Narrative)\s*:\s*", re.IGNORECASE)
_LABELLED = {*ID_FIELDS, "title", "description", "narrative"}


def read_topics(path: Path, warnings: set[str], field: str | None) -> Iterator[tuple[int, Query]]:
    """The queries of a topics file in any of the forms above, each with its line number.

    Args:
        field: the field, key or column that is the query, such as `description`; None takes the
            title, or its equivalent in the file's form.

    Raises:
        DataError: with file and line: no id, no such field, no text, or a malformed line.
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
    text = plain(element.content) if bare else chosen(fields, wanted)
    if not text:
        where, has = "> or <".join(wanted), ", ".join(fields) or "no fields"
        raise fault(path, element.line, f"a topic without text in <{where}>; it has {has}")
    return " ".join(text.split())


def _fields(content: str) -> dict[str, str]:
    """Field name -> text; a field that is not closed ends where the next one begins."""
    found: dict[str, str] = {}
    position = 0
    while opening := _OPENING.search(content, position):
        tag = opening[1]
        closing = re.compile(rf"</{re.escape(tag)}\s*>", re.IGNORECASE)
        end = closing.search(content, opening.end()) or _OPENING.search(content, opening.end())
        text = plain(content[opening.end() : end.start() if end else len(content)])
        name = SHORT.get(tag.lower(), tag.lower())
        found.setdefault(name, _LABEL.sub("", text, count=1) if _labelled(name, text) else text)
        position = len(content) if end is None else end.start()
    return found


def _labelled(name: str, text: str) -> bool:
    return name in _LABELLED and _LABEL.match(text) is not None
