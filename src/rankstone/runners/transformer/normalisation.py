"""Normalisation of texts before tokenisation, for models trained on normalised texts."""

from __future__ import annotations

from collections.abc import Mapping

ASCII_FORMS = {
    "": "".join(map(chr, (*range(0x01, 0x09), 0x0E, 0x0F, *range(0x11, 0x1C), 0xAD))),
    " ": "\u000b\u000c\u0085",
    "-": "\u2010\u2011\u2043\u2012\u2013\u2014\u2015\u2212\uff0d\u207b",
    '"': "\u201c\u201d\u201e\u201f",
    "'": "\u2018\u2019\u201a\u201b\u055a\ua78b\ua78c\uff07\u0060\u00b4\u2032\u2035",
    "''": "\u2033\u2036",
    "'''": "\u2034\u2037",
    "''''": "\u2057",
    "...": "\u2026",
    "/": "\u2044\u2215",
}
"""ASCII replacement -> the characters that it replaces."""
_TABLE = {ord(char): form for form, chars in ASCII_FORMS.items() for char in chars}


def straighten(text: str) -> str:
    """Drop control characters, and convert typographic dashes, quotes, primes and slashes to ASCII.

    These are the rules of Contriever's `normalize_text.py` (adapted from ChemDataExtractor).
    """
    return text.translate(_TABLE).replace(" . . . ", " ... ")


def replaced(text: str, strings: Mapping[str, str]) -> str:
    """Return `text` with the keys of `strings` replaced by their values, in order."""
    for old, new in strings.items():
        text = text.replace(old, new)
    return text
