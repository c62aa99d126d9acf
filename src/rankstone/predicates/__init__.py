"""Predicates over columns of documents, in a small part of Python's syntax.

For example `year >= 2015 and (source in ["web", "news"] or not draft)`: comparisons of a column
with constants, joined by `and`, `or` and `not`. Strings are compared only by `==`, `!=` and `in`,
numbers below 2**53 by all operators. A document without a value passes no comparison of that
column, not even a negated one.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from rankstone.errors import DataError, DefinitionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Value = str | int | float | bool
Operator = Literal["==", "!=", "<", "<=", ">", ">="]
SYNTAX = 'Write for example: year >= 2015 and source in ["web", "news"]'
SIGNS: dict[type[ast.cmpop], Operator] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
NEGATED: dict[Operator, Operator] = {
    "==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<",
}  # fmt: skip
MIRRORED: dict[Operator, Operator] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
LARGEST = 2**53
"""Bound of numbers below which integers and float64 agree, because engines may use either."""
KINDS: dict[type, str] = {bool: "true or false", int: "numbers", float: "numbers", str: "strings"}


@dataclass(frozen=True)
class Comparison:
    """Comparison of a column with a constant; `!=` only for strings, `==` for all kinds."""

    column: str
    operator: Operator
    value: Value


@dataclass(frozen=True)
class Joined:
    """Predicates of which all (`and`), or at least one (`or`), must pass."""

    how: Literal["and", "or"]
    parts: tuple[Predicate, ...]


Predicate = Comparison | Joined


@dataclass(frozen=True, kw_only=True, eq=False)
class Where:
    """Documents among which a query searches."""

    predicate: Predicate
    passes: NDArray[np.bool_]
    """(n_documents,) True if the document passes."""


def parse(text: str) -> Predicate:
    """Return the predicate, with negations resolved so that engines need not support them.

    Raises:
        DefinitionError: the text is not a predicate; the message names the part that is invalid.
    """
    try:
        return _built(ast.parse(text.strip(), mode="eval").body, negated=False)
    except (SyntaxError, ValueError, RecursionError) as error:
        why = error.msg if isinstance(error, SyntaxError) else error
        raise DefinitionError(f"filter '{text}': {why}. {SYNTAX}") from None


def columns_of(predicate: Predicate) -> set[str]:
    """Return the names of the columns that the predicate compares."""
    if isinstance(predicate, Comparison):
        return {predicate.column}
    return set().union(*map(columns_of, predicate.parts))


def passing(predicate: Predicate, columns: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return (n,) flags of the rows of Arrow `columns` that pass.

    Raises:
        DataError: the column does not exist, or has values of another kind.
    """
    import numpy as np
    import pyarrow.compute as pc

    mask = pc.fill_null(_mask(predicate, columns), fill_value=False)
    found: NDArray[np.bool_] = np.asarray(mask.to_numpy(), dtype=np.bool_)
    return found


def kind_of(column: Any) -> type:
    """Return the Python type of the values of an Arrow column: bool, int, float or str."""
    import pyarrow.types as types

    tests = {bool: types.is_boolean, int: types.is_integer, float: types.is_floating}
    return next((kind for kind, test in tests.items() if test(column.type)), str)


def _built(node: ast.expr, *, negated: bool) -> Predicate:
    if isinstance(node, ast.BoolOp):
        parts = tuple(_built(part, negated=negated) for part in node.values)
        return _joined(isinstance(node.op, ast.And) != negated, parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _built(node.operand, negated=not negated)
    if isinstance(node, ast.Name):
        return Comparison(node.id, "==", not negated)
    if isinstance(node, ast.Compare):
        lefts = [node.left, *node.comparators]
        pairs = zip(lefts, node.ops, node.comparators, strict=False)
        return _joined(not negated, tuple(_compared(*pair, negated) for pair in pairs))
    raise _not_understood(node)


def _joined(every: bool, parts: tuple[Predicate, ...]) -> Predicate:
    return parts[0] if len(parts) == 1 else Joined("and" if every else "or", parts)


def _compared(left: ast.expr, sign: ast.cmpop, right: ast.expr, negated: bool) -> Predicate:
    if isinstance(sign, ast.In | ast.NotIn) and isinstance(left, ast.Name):
        inside = isinstance(sign, ast.In) != negated
        tests = [_test(left.id, "==" if inside else "!=", value) for value in _values(right)]
        return _joined(not inside, tuple(tests))
    named, other = (left, right) if isinstance(left, ast.Name) else (right, left)
    if type(sign) not in SIGNS or not isinstance(named, ast.Name):
        raise _not_understood(left if type(sign) in SIGNS else right)
    operator = SIGNS[type(sign)]
    operator = operator if named is left else MIRRORED.get(operator, operator)
    return _test(named.id, NEGATED[operator] if negated else operator, _value(other))


def _test(column: str, operator: Operator, value: Value) -> Predicate:
    if isinstance(value, bool | str) and operator not in ("==", "!="):
        raise ValueError(f"only numbers have an order, and {value!r} is none")
    if operator != "!=" or isinstance(value, str):
        return Comparison(column, operator, value)
    if isinstance(value, bool):
        return Comparison(column, "==", not value)
    return Joined("or", (Comparison(column, "<", value), Comparison(column, ">", value)))


def _values(node: ast.expr) -> list[Value]:
    if not isinstance(node, ast.List | ast.Tuple) or not node.elts:
        raise _not_understood(node)
    return [_value(part) for part in node.elts]


def _value(node: ast.expr) -> Value:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        raise _not_understood(node) from None
    if not isinstance(value, get_args(Value)) or _is_absurd(value):
        raise _not_understood(node)
    return value  # type: ignore[no-any-return]


def _is_absurd(value: Value) -> bool:
    if isinstance(value, str):
        value.encode()  # ValueError for a lone surrogate
        return "\0" in value
    return not abs(value) < LARGEST


def _not_understood(node: ast.expr) -> ValueError:
    return ValueError(f"'{ast.unparse(node)}' is not understood")


def _mask(predicate: Predicate, columns: Mapping[str, Any]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(predicate, Joined):
        join = pc.and_kleene if predicate.how == "and" else pc.or_kleene
        return functools.reduce(join, (_mask(part, columns) for part in predicate.parts))
    compare = {
        "==": pc.equal, "!=": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater,
        ">=": pc.greater_equal,
    }  # fmt: skip
    column = _column(predicate, columns)
    try:
        return compare[predicate.operator](column, predicate.value)
    except pa.ArrowInvalid as error:  # integers that float64 cannot represent
        raise DataError(
            f"column '{predicate.column}' cannot be compared with {predicate.value!r}: {error}."
        ) from None


def _column(test: Comparison, columns: Mapping[str, Any]) -> Any:
    if test.column not in columns:
        known = ", ".join(sorted(columns))
        raise DataError(f"there is no column '{test.column}'. The documents have: {known}.")
    column = columns[test.column]
    held, given = KINDS[kind_of(column)], KINDS[type(test.value)]
    if held != given:
        raise DataError(
            f"column '{test.column}' holds {held}, and the filter compares it with {test.value!r}."
        )
    return column
