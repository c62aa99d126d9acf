"""TREC's markup: `<DOC>` and `<top>` elements in files that are neither XML nor valid SGML.

Like other readers of these collections, this one scans for elements instead of parsing: the files
contain bare ampersands, unclosed tags and unquoted attributes. The file is streamed; only the text
of the current element is in memory.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from html.entities import html5
from pathlib import Path
from typing import NamedTuple

from rankstone.benchmarks.readers.lines import comment_bytes, fault
from rankstone.errors import DataError
from rankstone.text_files import BOM, DAMAGE, opened

BLOCK_BYTES = 1 << 20
LONGEST_CLOSING_TAG = 64
"""Maximum length in bytes of a closing tag, which may be split between two blocks."""
_MARKUP = re.compile(rb"<[^>]*>")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
# A tag starts with a letter: "a < b" is text.
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_ENTITY = re.compile(r"&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]*);")
TREC_ENTITIES = {"hyph": "-", "blank": " "}
"""Entities of the document type definitions of TREC disks 4 and 5; HTML lacks the first, and
decodes the other as a visible character."""
_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")


class Element(NamedTuple):
    """One element of the file."""

    line: int
    """Line of the opening tag."""
    attributes: dict[str, str]
    """Attributes by lower-case name."""
    content: str
    """Content between the tags, without comments."""


def elements(path: Path, names: tuple[str, ...], warnings: set[str]) -> Iterator[Element]:
    """Yield the elements with one of these `names` (case-insensitive), in file order.

    An element with bytes that are not UTF-8 is read as Latin-1 as a whole, with a single warning:
    TREC's older disks are in Latin-1, and so no character is lost.

    Raises:
        DataError: an element has no opening or closing tag, or there is text outside all elements
            (the message names file and line); or the file is truncated or damaged.
    """
    either = "|".join(names).encode()
    opening = re.compile(rb"<(?:%s)(\s[^<>]*)?>" % either, re.IGNORECASE)
    closing = re.compile(rb"</(?:%s)\s*>" % either, re.IGNORECASE)
    for line, piece in _pieces(path, opening, closing):
        yield _element(piece, line, opening, path, warnings)


def _pieces(
    path: Path, opening: re.Pattern[bytes], closing: re.Pattern[bytes]
) -> Iterator[tuple[int, bytes]]:
    """Yield the content up to each closing tag, with the line number of its start."""
    buffer, line, searched = b"", 1, 0
    for block in _blocks(path):
        buffer += block
        begin = 0
        while end := closing.search(buffer, searched):
            yield line, buffer[begin : end.start()]
            line += buffer.count(b"\n", begin, end.end())
            begin = searched = end.end()
        buffer = buffer[begin:]
        searched = max(0, len(buffer) - LONGEST_CLOSING_TAG)
    unclosed = opening.search(buffer)
    if unclosed:
        line += buffer.count(b"\n", 0, unclosed.start())
        raise fault(
            path, line, f"{unclosed[0].decode('latin-1')} is not closed before the file ends"
        )
    _refuse_text(buffer, path, line)


def _refuse_text(between: bytes, path: Path, line: int) -> None:
    """Raise DataError if `between`, which starts at `line`, contains more than markup and
    byte-order marks."""
    outside = _MARKUP.sub(lambda tag: b"\n" * tag[0].count(b"\n"), between).replace(BOM, b"")
    text = outside.lstrip()
    if text:
        line += outside.count(b"\n", 0, len(outside) - len(text))
        raise fault(
            path, line, f"text outside of all elements: {text[:40].decode('latin-1').rstrip()!r}"
        )


def _blocks(path: Path) -> Iterator[bytes]:
    n = 0
    with opened(path) as file:
        try:
            start, n_skipped = comment_bytes(file)
            yield b"\n" * n_skipped + start
            while block := file.read(BLOCK_BYTES):
                yield block
                n += len(block)
        except DAMAGE as error:
            raise DataError(
                f"{path}: truncated or damaged after {n:,} bytes: {error}. Fetch it again."
            ) from None


def _element(
    piece: bytes, line: int, opening: re.Pattern[bytes], path: Path, warnings: set[str]
) -> Element:
    start = opening.search(piece)
    if start is None:
        line += piece.count(b"\n")
        raise fault(path, line, "a closing tag without its opening tag")
    _refuse_text(piece[: start.start()], path, line)
    line += piece.count(b"\n", 0, start.start())
    second = opening.search(piece, start.end())
    if second:
        again = line + piece.count(b"\n", start.start(), second.start())
        raise fault(path, line, f"not closed before another begins in line {again}")
    return Element(
        line=line,
        attributes=attributes(_decode(start[1] or b"", path, line, warnings)),
        content=_COMMENT.sub(" ", _decode(piece[start.end() :], path, line, warnings)),
    )


def _decode(content: bytes, path: Path, line: int, warnings: set[str]) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        message = "not UTF-8: read as Latin-1"
        if not any(message in warning for warning in warnings):
            warnings.add(f"{path.name}, line {line}: {message}, here and wherever else it occurs")
        return content.decode("latin-1")


class Block(NamedTuple):
    """A range of an element's content that is enclosed by tags."""

    start: int
    """Offset of the opening tag."""
    end: int
    """Offset after the closing tag."""
    content: str


def blocks(content: str, tags: re.Pattern[str]) -> Iterator[Block]:
    """Yield the successive blocks between tags that match `tags` (from `tag_pattern`).

    A block ends with the closing tag of its name, or at the end of the content.
    """
    opening: re.Match[str] | None = None
    for tag in tags.finditer(content):
        closes, name = tag[1] == "/", tag[2].lower()
        if opening is None and not closes:
            opening = tag
        elif opening is not None and closes and name == opening[2].lower():
            yield Block(opening.start(), tag.end(), content[opening.end() : tag.start()])
            opening = None
    if opening is not None:
        yield Block(opening.start(), len(content), content[opening.end() :])


def tag_pattern(*names: str) -> re.Pattern[str]:
    """Return a pattern of the opening and closing tags with these names, case-insensitive."""
    return re.compile(rf"<(/?)({'|'.join(names)})(?:\s[^<>]*)?>", re.IGNORECASE)


def without(content: str, found: Iterable[Block]) -> str:
    """Return `content` with a blank in place of each block; blocks are in order and disjoint."""
    pieces, position = [], 0
    for block in found:
        pieces.append(content[position : block.start])
        position = block.end
    return " ".join([*pieces, content[position:]])


def attributes(text: str) -> dict[str, str]:
    """Parse `number="1" type=faceted` into values by lower-case name, with or without quotes."""
    return {
        found[1].lower(): plain(found[2] or found[3] or found[4] or "")
        for found in _ATTRIBUTE.finditer(text)
    }


def plain(content: str) -> str:
    """Return the content without tags, with entities resolved and white space stripped.

    Only entities that end in a semicolon are resolved, because older texts contain bare ampersands.
    Unknown entities are kept.
    """
    content = _CDATA.sub(lambda found: html.escape(found[1]), content)
    return _ENTITY.sub(_character, _TAG.sub(" ", content)).strip()


def _character(found: re.Match[str]) -> str:
    name = found[1]
    if name.startswith("#"):
        return html.unescape(found[0])
    return TREC_ENTITIES.get(name) or html5.get(f"{name};", found[0])
