"""DPR's rule for passages that hold an answer, in its plain form."""

from collections.abc import Iterable

from rankstone.benchmarks.answers import tokens


def has_answer(passage: str, answers: Iterable[str]) -> bool:
    """Return True if the tokens of any of `answers` stand in a row in `passage`."""
    text = tokens(passage)
    for answer in map(tokens, answers):
        width = len(answer)
        if any(text[at : at + width] == answer for at in range(len(text) - width + 1)):
            return True
    return False
