"""Syntax trees of Python texts, as arrays."""

from __future__ import annotations

import ast
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rankstone.arrays import Ints

UNPARSED = (SyntaxError, ValueError, RecursionError, MemoryError)
"""Errors of `ast.parse`: invalid source, null bytes, and nesting that is too deep."""


class Trees(NamedTuple):
    """Nodes of the trees of several texts, one tree after another, each in pre-order."""

    kinds: list[str]
    """Class of each node, such as `Call`."""
    words: list[str]
    """Identifiers and constants in the node itself."""
    parents: Ints
    """Position of each node's parent, -1 for a root."""
    owners: Ints
    """Position of the text to which each node belongs; texts without a tree have none."""


def parsed(text: str) -> ast.Module | None:
    """Return the tree of a text, which may be indented; None if it is empty or not Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes
            tree = ast.parse(textwrap.dedent(text))
    except UNPARSED:
        return None
    return tree if tree.body else None


def trees_of(texts: Sequence[str]) -> Trees:
    """Return the trees of those texts that have one."""
    kinds, words, parents, owners = list[str](), list[str](), list[int](), list[int]()
    for owner, text in enumerate(texts):
        tree = parsed(text)
        start = len(kinds)
        for node, parent in _nodes(tree) if tree else ():
            kinds.append(type(node).__name__)
            words.append(_words(node))
            parents.append(parent if parent < 0 else start + parent)
            owners.append(owner)
    return Trees(kinds, words, np.array(parents, np.int64), np.array(owners, np.int64))


def _nodes(root: ast.AST) -> Iterator[tuple[ast.AST, int]]:
    """Yield (node, number of its parent) in pre-order, without the markers Load, Store and Del."""
    stack, number = [(root, -1)], 0
    while stack:
        node, parent = stack.pop()
        yield node, parent
        children = [c for c in ast.iter_child_nodes(node) if not isinstance(c, ast.expr_context)]
        stack += [(child, number) for child in reversed(children)]
        number += 1


def _words(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return _written(node.value)
    fields = (value for _, value in ast.iter_fields(node))
    listed = (value if isinstance(value, list) else [value] for value in fields)
    return " ".join(value for values in listed for value in values if isinstance(value, str))


def _written(value: Any) -> str:
    """Return a constant as text that tokenizers accept: without lone surrogates."""
    try:
        text = str(value)
    except ValueError:  # an integer of more digits than Python converts
        text = f"{value:x}"
    return text.encode("utf-8", "replace").decode("utf-8")


def known_kinds() -> list[str]:
    """Return the node classes of this interpreter."""
    classes, found = [ast.AST], set[str]()
    while classes:
        kind = classes.pop()
        found.add(kind.__name__)
        classes += kind.__subclasses__()
    return sorted(found)
