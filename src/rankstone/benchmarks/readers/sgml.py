"""TREC's markup: `<DOC>` and `<top>` elements in files that are neither XML nor quite SGML.

Elements are found with a scanner and not with a parser, as every reader of these collections does:
ampersands stand bare in them, tags are left open, and attributes lack quotes. The file is streamed;
of its text only the element being read is held.
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
from rankstone.text_files import DAMAGE, opened

BLOCK_BYTES = 1 << 20
LONGEST_CLOSING_TAG = 64
"""Bytes of the longest closing tag, which may be split between two blocks."""
_MARKUP = re.compile(rb"<[^>]*>")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
# A tag starts with a letter: "a < b" is text.
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_ENTITY = re.compile(r"&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]*);")
TREC_ENTITIES = {"hyph": "-", "blank": " "}
"""Entities of the document type definitions of TREC disks 4 and 5; HTML does not know the first
and takes the other for a visible sign."""
_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")


class Element(NamedTuple):
    """One element as it stands in the file."""

    line: int
    """Line of its opening tag."""
    attributes: dict[str, str]
    """Attributes by lower-cased name."""
    content: str
    """Between the tags, comments taken out."""


def elements(path: Path, names: tuple[str, ...], warnings: set[str]) -> Iterator[Element]:
    """The elements of any of these `names` (in any case), in file order.

    Bytes that are not UTF-8 make an element Latin-1 throughout, with one warning: TREC's older
    disks are, and so no character is lost.

    Raises:
        DataError: with file and line: an element is not closed or was not opened, or text stands
            outside of all elements; or the file is truncated or damaged.
    """
    either = "|".join(names).encode()
    opening = re.compile(rb"<(?:%s)(\s[^<>]*)?>" % either, re.IGNORECASE)
    closing = re.compile(rb"</(?:%s)\s*>" % either, re.IGNORECASE)
    for line, piece in _pieces(path, opening, closing):
        yield _element(piece, line, opening, path, warnings)


def _pieces(
    path: Path, opening: re.Pattern[bytes], closing: re.Pattern[bytes]
) -> Iterator[tuple[int, bytes]]:
    """Yield the content up to each closing tag, with the line number where it begins."""
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
    """Only markup may stand outside of the elements: `between` begins at `line`."""
    outside = _MARKUP.sub(lambda tag: b"\n" * tag[0].count(b"\n"), between)
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
        message = "not UTF-8: what is not is read as Latin-1"
        if not any(message in warning for warning in warnings):
            warnings.add(f"{path.name}, line {line}: {message}, here and wherever else it occurs")
        return content.decode("latin-1")


class Block(NamedTuple):
    """A stretch of an element's content that some tag marks."""

    start: int
    """Offset of its opening tag."""
    end: int
    """Offset behind its closing tag."""
    content: str


def blocks(content: str, tags: re.Pattern[str]) -> Iterator[Block]:
    """The blocks between tags that `tags` (of `tag_pattern`) matches, one after the other.

    A block ends with the closing tag of its name, or with the content.
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
    """Opening and closing tags of these names, in any case."""
    return re.compile(rf"<(/?)({'|'.join(names)})(?:\s[^<>]*)?>", re.IGNORECASE)


def without(content: str, found: Iterable[Block]) -> str:
    """Return `content` with a blank instead of each block; blocks are in order and disjoint."""
    pieces, position = [], 0
    for block in found:
        pieces.append(content[position : block.start])
        position = block.end
    return " ".join([*pieces, content[position:]])


def attributes(text: str) -> dict[str, str]:
    """`number="1" type=faceted` -> values by lower-cased name, with or without quotes."""
    return {
        found[1].lower(): plain(found[2] or found[3] or found[4] or "")
        for found in _ATTRIBUTE.finditer(text)
    }


def plain(content: str) -> str:
    """Content without tags, entities resolved, white space at both ends taken off.

    Only entities closed by a semicolon are resolved: older texts hold bare ampersands. Unknown
    entities stay as they are.
    """
    content = _CDATA.sub(lambda found: html.escape(found[1]), content)
    return _ENTITY.sub(_character, _TAG.sub(" ", content)).strip()


def _character(found: re.Match[str]) -> str:
    name = found[1]
    if name.startswith("#"):
        return html.unescape(found[0])
    return TREC_ENTITIES.get(name) or html5.get(f"{name};", found[0])
