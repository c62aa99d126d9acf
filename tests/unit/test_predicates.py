"""Predicates over columns, against Python's own evaluation and SQL's rule for unknown values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.errors import DataError, DefinitionError
from rankstone.predicates import Comparison, Joined, columns_of, parse, passing

YEARS, PRICES = [2010, 2015, 2016, 2016, 2020, 0], [0.5, 2.0, -1.0, 3.5, 2.0, 0.0]
SOURCES, DRAFTS = ["web", "news", "b'c", "", "web", "news"], [True, False, True, True, False, False]
COLUMNS = {
    name: pa.chunked_array([values[:2], values[2:]])
    for name, values in {"year": YEARS, "price": PRICES, "source": SOURCES, "draft": DRAFTS}.items()
}
UNKNOWN = {"year": pa.chunked_array([[None, 2016]]), "source": pa.chunked_array([[None, "web"]])}

numbers = st.sampled_from([2015, 2016, 0, 2.0, -1, 0.25])
texts = st.sampled_from(["web", "b'c", "", 'x"y'])
signs = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
leaves = st.one_of(
    st.builds("{} {} {!r}".format, st.sampled_from(["year", "price"]), signs, numbers),
    st.builds("{!r} {} {}".format, numbers, signs, st.sampled_from(["year", "price"])),
    st.builds("{!r} < year <= {!r}".format, numbers, numbers),
    st.builds("source {} {!r}".format, st.sampled_from(["==", "!="]), texts),
    st.builds("source {} {!r}".format, st.sampled_from(["in", "not in"]),
              st.lists(texts, min_size=1, max_size=3)),
    st.sampled_from(["draft", "draft == False", "draft != True"]),
)  # fmt: skip
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds("(not {})".format, inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
    ),
    max_leaves=6,
)


@given(trees)
@settings(max_examples=150, deadline=None)
def test_rows_pass_as_python_evaluates_them(text: str) -> None:
    rows = zip(YEARS, PRICES, SOURCES, DRAFTS, strict=True)
    names = ("year", "price", "source", "draft")
    expected = [bool(eval(text, {}, dict(zip(names, row, strict=True)))) for row in rows]
    assert passing(parse(text), COLUMNS).tolist() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("year >= 2000", [False, True]),
        ("not year >= 2000", [False, False]),
        ("year != 5", [False, True]),
        ('not (source == "news")', [False, True]),
        ('source not in ["news"]', [False, True]),
        ('source != "x" or year != 1', [False, True]),
    ],
)
def test_an_unknown_value_passes_nothing(text: str, expected: list[bool]) -> None:
    assert passing(parse(text), UNKNOWN).tolist() == expected


def test_negations_are_resolved() -> None:
    assert parse("not (year > 3 and draft)") == Joined(
        "or", (Comparison("year", "<=", 3), Comparison("draft", "==", False))
    )
    assert columns_of(parse("not (year > 3 and draft) or price == 1")) == {"year", "draft", "price"}
    assert passing(parse("year in (2010, 2020)"), COLUMNS).dtype == np.bool_


@pytest.mark.parametrize(
    "text",
    ["", "year >", "f(year)", "year == None", "year == price", "1 < 2", "year in []", "year is 3",
     'source > "a"', "draft < True", "year > 1e999", "year > 10**30", "'web' in source", "year + 1",
     "__import__('os')", "year == 3j", "lambda: 1", "2015", "not 3", "year > 1" + "0" * 400,
     f"year == {2**53}", r"source == '\ud800'", r"source == '\0'", "source.real == 1",
     "not " * 5000 + "draft", "(" * 300 + "draft" + ")" * 300],
)  # fmt: skip
def test_invalid_predicates_are_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="Write for example"):
        parse(text)


def test_errors_name_the_columns_and_their_kinds() -> None:
    with pytest.raises(DataError, match=r"no column 'yeer'\. The documents have: draft, price, so"):
        passing(parse("yeer > 3"), COLUMNS)
    with pytest.raises(DataError, match=r"'year' holds numbers, .* with 'x'"):
        passing(parse("year == 'x'"), COLUMNS)
    with pytest.raises(DataError, match=r"'year' holds numbers, .* with True"):
        passing(parse("year"), COLUMNS)


def test_integers_that_no_float_holds_are_not_compared_with_floats() -> None:
    stamps = {"stamp": pa.chunked_array([[2**60 + 1, 5]])}
    assert passing(parse("stamp > 5"), stamps).tolist() == [True, False]
    with pytest.raises(
        DataError, match=r"'stamp' cannot be compared with 5\.5: Integer value 1152"
    ):
        passing(parse("stamp > 5.5"), stamps)
