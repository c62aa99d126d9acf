"""The answer matcher, case by case; all expected values are DPR's."""

from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pytest

from rankstone.benchmarks import answers as module
from rankstone.benchmarks.answers import match, tokens
from tests.dpr_rule import has_answer

CASES = [
    # accents: NFD makes them marks of their token
    ("Beyoncé sang", "Beyonce", False),
    ("Beyonce sang", "Beyoncé", False),
    ("Beyonce\u0301 sang", "BEYONCÉ", True),
    ("Wilhelm Conrad Röntgen", "Conrad Ro\u0308ntgen", True),
    ("in Ångström units", "\u212bngstr\u00f6m", True),
    # case
    ("THE UNITED STATES", "United states", True),
    ("a straße in Köln", "STRASSE", False),
    ("a STRAẞE in Köln", "straße", True),
    ("in İstanbul", "i\u0307stanbul", True),
    ("in İstanbul", "istanbul", False),
    ("ΟΔΟΣ", "οδος", True),
    ("ΟΔΟΣ'Α", "οδος", True),
    ("ΟΔΟΣ'Α", "οδοσ", False),
    ("Ⓐ", "ⓐ", True),
    # several tokens
    ("the small intestine of it", "small intestine", True),
    ("the small, intestine", "small intestine", False),
    ("intestine small", "small intestine", False),
    ("a a a b", "a a b", True),
    ("ab ab ac", "ab ac", True),
    ("a a", "a a a", False),
    ("new york city", "york", True),
    ("new yorkers", "york", False),
    # punctuation is a token of its own, with or without spaces around it
    ("Jennifer O'Neill", "O'Neill", True),
    ("Jennifer O'Neill", "ONeill", False),
    ("Destiny's Child", "Destiny 's Child", True),
    ("Ice-T", "Ice - T", True),
    ("Ice-T", "IceT", False),
    ("1,020–1,080 kg", "1,020 -- 1,080", False),
    ("(Oregon)", "( Oregon )", True),
    ("cost $100.", "$100", True),
    ("cost $100.", "100", True),
    ("cost 100.", "$100", False),
    ("...", "..", True),
    ("a_b", "a", True),
    # digits
    ("28.0.0.137", "28.0. 0.137", True),
    ("28.0", "28", True),
    ("280", "28", False),
    ("14th", "14", False),
    ("m² and ½", "m²", True),
    ("m² and ½", "½", True),
    ("Ⅳ", "ⅳ", True),
    # scripts without spaces: a run of letters is one token
    ("東京都 は", "東京都", True),
    ("東京都は", "東京", False),
    ("한국", "한", False),
    ("हिन्दी में", "हिन्दी", True),
    ("ﬁn", "fin", False),
    # invisible characters separate tokens
    ("a\0b", "a b", True),
    ("a\0b", "ab", False),
    ("co\u00adop", "co op", True),
    ("x\u200dy", "x y", True),
    ("x\u200by", "xy", False),
    ("a\u00a0b", "a b", True),
    ("a\nb\r\nc", "a b c", True),
    ("a\nb", "a\nb", True),
    ("\ue000a", "a", True),
    ("😀a👩\u200d🔬", "😀 a 👩 🔬", True),
    # empty answers and empty passages
    ("anything", "", True),
    ("", "", True),
    ("anything", " \u200b", True),
    ("", "a", False),
    ("\u200b", "a", False),
]


@pytest.mark.parametrize(("passage", "answer", "expected"), CASES)
def test_an_answer_is_a_run_of_whole_tokens(passage: str, answer: str, expected: bool) -> None:
    assert has_answer(passage, [answer]) is expected


def test_the_fast_matcher_agrees() -> None:
    rows = np.arange(len(CASES))
    found = match(
        [[answer] for _, answer, _ in CASES], rows, rows, lambda p: [CASES[n][0] for n in p]
    )
    assert found.tolist() == [expected for _, _, expected in CASES]


def test_one_answer_of_several_is_enough_and_none_is_never() -> None:
    assert has_answer("the b c", ["x", "b"])
    assert not has_answer("the b c", [])
    found = match([["x", "b"], []], np.array([0, 1]), np.array([0, 0]), lambda p: ["the b c"])
    assert found.tolist() == [True, False]


def test_the_tokens_of_a_sentence() -> None:
    assert tokens("Röntgen's 2nd—X-ray…\0(1895)") == [
        "ro\u0308ntgen", "'", "s", "2nd", "—", "x", "-", "ray", "…", "(", "1895", ")",
    ]  # fmt: skip


def test_lower_case_is_context_free_except_for_sigma() -> None:
    """The fast matcher's lower-casing relies on this, for all of Unicode."""
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if char != "Σ":
            assert f"a{char}\n".lower() == f"a{char.lower()}\n"
            assert f"{char}b".lower() == f"{char.lower()}b"
        assert char == "\n" or "\n" not in char.lower()


def test_every_pair_of_ascii_characters_has_the_same_tokens() -> None:
    """Compare the pattern for ASCII with the general one."""
    chars = [chr(code) for code in range(128)]
    for text in (first + second for first in chars for second in chars):
        assert [t.lower() for t in module.ASCII_TOKEN.findall(text)] == tokens(text)


def test_each_passage_is_read_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def passages(positions):
        read.extend(positions.tolist())
        return [f"word{p}" for p in positions]

    query = np.array([0, 0, 1, 1, 2])
    document = np.array([9, 3, 3, 7, 9])
    answers = [["word9"], ["word3", "word8"], ["word"]]
    found = match(answers, query, document, passages)
    assert found.tolist() == [True, False, True, False, False]
    assert read == [3, 7, 9]
    monkeypatch.setattr(module, "BLOCK", 2)
    assert match(answers, query, document, passages).tolist() == found.tolist()


def test_no_pairs_match_nothing() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert match([], nothing, nothing, lambda p: []).tolist() == []


def test_every_character_is_kept_dropped_or_a_token() -> None:
    """Compare with Unicode's categories, for every character that both know."""
    kinds = {"L": "run", "N": "run", "M": "run", "Z": "gap", "C": "gap"}
    wrong = []
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        category = unicodedata.category(char)
        if category in ("Cn", "Cs") or unicodedata.normalize("NFD", char) != char:
            continue
        expected = {"run": [f"a{char}a"], "gap": ["a", "a"]}.get(
            kinds.get(category[0], ""), ["a", char, "a"]
        )
        if tokens(f"a{char}a") != [t.lower() for t in expected]:
            wrong.append(hex(code))
    assert wrong == []
