"""What is shown while a collection is prepared."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from rankstone.execution import preparing
from rankstone.execution.preparing import Preparing, duration, figures


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (187, "3:07 min"), (7500, "2:05 h")],
)
def test_time_left(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("what", "done", "total", "rate", "expected"),
    [
        ("b/c: documents", 2000, 5183, 812.0, "2,000/5,183  812/s  4 s left"),
        ("b/c: queries", 2000, None, 812.0, "2,000  812/s"),
        ("b/c: documents", 0, 10, 0.0, "0/10"),
        ("b/c: documents", 12, 10, 1.0, "12/10  1/s"),
        ("set.zip", 1_500_000, 6_000_000, 1e6, "1.5 MB/6.0 MB  1.0 MB/s  4 s left"),
    ],
)
def test_figures(what: str, done: int, total: int | None, rate: float, expected: str) -> None:
    assert figures(what, done, total, rate=rate) == expected


class Clock:
    """A `time` that goes on five seconds whenever it is asked."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 5.0
        return self._now


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that goes on at 4 of 10 MB and then gains 1 MB in 5 s, and documents after it."""
    monkeypatch.setattr(preparing, "time", Clock())
    out = io.StringIO()
    with Preparing(Console(file=out, width=80)) as bar:
        for done in range(4, 10):
            bar.draw("set.zip", done * 1_000_000, 10_000_000)
        for done in (100, 600, 1100):
            bar.draw("b/c: documents", done, 2000)
    assert out.getvalue().splitlines() == [
        "set.zip: 6.0 MB/10.0 MB  200.0 kB/s  20 s left",
        "set.zip: 8.0 MB/10.0 MB  200.0 kB/s  10 s left",
        "b/c: documents: 1,100/2,000  100/s  9 s left",
    ]


def test_a_terminal_gets_one_line_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "time", Clock())
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    with Preparing(console) as bar:
        for done in (4_000_000, 4_100_000):
            bar.draw("msmarco/passage: documents", done, 8_841_823)
    lines = re.split(r"[\r\n]|\x1b\[[0-9;?]*[A-Za-z]", out.getvalue())
    (last,) = {line.strip() for line in lines if "4,100,000" in line}
    assert last.startswith("msmarco/passage: documents")
    assert last.endswith("4,100,000/8,841,823  20,000/s  3:57 min left")
    assert len(last) <= 80
