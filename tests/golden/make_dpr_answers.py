"""Writes dpr_answers.json: what Pyserini's copy of DPR's matcher says of made-up passages.

    OPENAI_API_KEY=any python tests/golden/make_dpr_answers.py

Needs pyserini, whose import asks for that variable. Every string is made here.
"""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path

TARGET = Path(__file__).with_name("dpr_answers.json")
SEED, N_CASES = 0, 600
WORDS = (
    "May 18 2018 28.0.0.137 Röntgen Beyoncé beyonce BEYONCÉ naïve NAÏVE Straße STRASSE İstanbul "
    "istanbul ISTANBUL ΟΔΟΣ οδος ΣΑΣ Ångström ångström O'Neill Destiny's Ice-T B.D. R&B $100 20% "
    "14th 1,020–1,080 a_b 東京 東京都 한국 हिन्दी ไทย עברית العَرَبِيَّة ﬁn ½ m² Ⅳ ⓐ Ⓐ 😀 "
    "👩\u200d🔬 co\u00adop x\u200dy x\u200by nul\0nul tab\tword "
    "'quoted' \"double\" (paren) — – ... ' - the of in"
)
GAPS = (" ", " ", " ", " ", "", "\u00a0", "  ", "\n", "\u2003", "\0", "\ufeff", "-", "'", ", ", ".")


def text(rng: random.Random, n_words: int) -> str:
    words = WORDS.split(" ")
    return "".join(rng.choice(words) + rng.choice(GAPS) for _ in range(n_words))


def changed(rng: random.Random, answer: str) -> str:
    """The answer as another writer might have it."""
    changes = (
        str,
        str,
        str.upper,
        str.lower,
        str.title,
        str.strip,
        str.swapcase,
        lambda s: unicodedata.normalize("NFD", s),
        lambda s: unicodedata.normalize("NFC", s),
        lambda s: s.replace(" ", "\u00a0"),
        lambda s: s.replace("-", " - ").replace("'", " ' "),
    )
    return rng.choice(changes)(answer)


def cases(rng: random.Random) -> list[tuple[str, list[str]]]:
    """Passages with answers, many of them cut out of the passage."""
    made: list[tuple[str, list[str]]] = [("", []), ("", [""]), ("a", [" ", "b"]), ("a", [])]
    while len(made) < N_CASES:
        passage = text(rng, rng.randint(0, 12))
        answers = []
        for _ in range(rng.randint(1, 2)):
            start, length = rng.randint(0, len(passage)), rng.randint(1, 14)
            own = passage[start : start + length]
            answers.append(changed(rng, own if rng.random() < 0.7 else text(rng, 1)))
        made.append((passage, answers))
    return made


def main() -> None:
    import regex
    from pyserini.eval.evaluate_dpr_retrieval import SimpleTokenizer, has_answers

    tokenizer = SimpleTokenizer()
    rows = [
        [passage, answers, has_answers(passage, answers, tokenizer)]
        for passage, answers in cases(random.Random(SEED))
    ]
    head = {
        "oracle": "pyserini.eval.evaluate_dpr_retrieval.has_answers",
        "unicode": unicodedata.unidata_version,
        "regex": regex.__version__,
    }
    lines = ",\n".join(map(json.dumps, rows))
    TARGET.write_text(f'{json.dumps(head)[:-1]}, "cases": [\n{lines}\n]}}\n', encoding="ascii")


if __name__ == "__main__":
    main()
