"""Preprocessing of texts before tokenisation."""

from __future__ import annotations

import unicodedata

import pytest

from rankstone.runners.transformer.normalisation import ASCII_FORMS, replaced, straighten


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("“it’s” \u2013 a \u2018fox’—no…", "\"it's\" - a 'fox'-no..."),
        ("5\u2032 6\u2033 7\u2034 8\u2057", "5' 6'' 7''' 8''''"),
        ("a\u000bb\u0085c", "a b c"),
        ("soft\u00adhyphen \u0007bell", "softhyphen bell"),
        ("1\u20442 . . . end", "1/2 ... end"),
        ("naïve 漢字 🙂\n\tx", "naïve 漢字 🙂\n\tx"),
    ],
)
def test_typographic_characters_become_ascii(text, form):
    assert straighten(text) == form
    assert straighten(form) == form


def test_no_letter_is_touched_but_the_saltillo():
    changed = "".join(ASCII_FORMS.values())
    assert [c for c in changed if unicodedata.category(c)[0] == "L"] == ["\ua78b", "\ua78c"]


def test_strings_are_replaced_in_their_order():
    assert replaced("abc", {"a": "b", "b": "c"}) == "ccc"
