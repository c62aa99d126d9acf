"""Progress of preparing a collection and running a cell, as displayed."""

from __future__ import annotations

import io
import json
import os
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from rankstone.cli.bars import Bars, Unit, duration, figures
from rankstone.execution import events as events_module
from rankstone.execution.events import EventStream
from tests.records import make_record


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (187, "3:07 min"), (7500, "2:05 h")],
)
def test_a_duration_has_seconds_minutes_or_hours(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("done", "total", "rate", "unit", "expected"),
    [
        (2000, 5183, 812.0, "items", "2,000/5,183  812/s  4 s left"),
        (2000, None, 812.0, "items", "2,000  812/s"),
        (0, 10, 0.0, "items", "0/10"),
        (12, 10, 1.0, "items", "12/10  1/s"),
        (1_500_000, 6_000_000, 1e6, "bytes", "1.5 MB/6.0 MB  1.0 MB/s  4 s left"),
    ],
)
def test_figures_show_counts_bytes_and_rates(
    done: int, total: int | None, rate: float, unit: Unit, expected: str
) -> None:
    assert figures(done, total, rate=rate, unit=unit) == expected


class Clock:
    """Clock that is advanced by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def log() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=80), out


def test_a_log_gets_a_line_now_and_then() -> None:
    """A download resumes at 4 of 10 MB and gains 1 MB in 5 s; documents follow."""
    clock, (console, out) = Clock(), log()
    with Bars(console, clock, label="") as bars:
        for done in range(4, 10):
            bars("set.zip", done * 1_000_000, 10_000_000)
            clock.now += 5
        for done in (100, 600, 1100):
            bars("b/c: documents", done, 2000)
            clock.now += 5
    assert out.getvalue().splitlines() == [
        "set.zip: 6.0 MB/10.0 MB  200.0 kB/s  20 s left",
        "set.zip: 8.0 MB/10.0 MB  200.0 kB/s  10 s left",
        "b/c: documents: 1,100/2,000  100/s  9 s left",
    ]


def test_a_resumed_phase_continues_and_a_second_member_restarts() -> None:
    clock, (console, out) = Clock(), log()
    with Bars(console, clock, label="") as bars:
        bars.started("m on t")
        bars("encode_documents", 0, 400)
        clock.now += 10
        bars("encode_documents", 100, 400)
        bars("index", 0, None)
        clock.now += 10
        bars("encode_documents", 0, None)
        bars("encode_documents", 200, 400)
        bars("encode_documents", 50, 400)
        clock.now += 10
        bars("encode_documents", 350, 400)
    assert out.getvalue().splitlines() == [
        "m on t  encode documents: 100/400  10/s  30 s left",
        "m on t  encode documents: 200/400  10/s  20 s left",
        "m on t  encode documents: 350/400  30/s  2 s left",
    ]


def screen(width: int = 80) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=True, width=width, color_system=None), out


def lines_on(out: io.StringIO) -> list[str]:
    lines = re.split(r"[\r\n]|\x1b\[[0-9;?]*[A-Za-z]", out.getvalue())
    return [line.strip() for line in lines if line.strip()]


def test_a_terminal_gets_one_line_that_fits() -> None:
    clock, (console, out) = Clock(), screen()
    with Bars(console, clock, label="") as bars:
        for done in (4_000_000, 4_100_000):
            bars("msmarco/passage: documents", done, 8_841_823)
            clock.now += 5
    (last,) = {line for line in lines_on(out) if "4,100,000" in line}
    assert last.startswith("msmarco/passage: documents")
    assert last.endswith("4,100,000/8,841,823  20,000/s  3:57 min left")
    assert len(last) <= 80


def test_a_terminal_shows_only_the_bar_of_the_current_work() -> None:
    clock, (console, out) = Clock(), screen(100)
    with Bars(console, clock, label="") as bars:
        bars.started("m on [t]")
        bars("encode_documents", 3, 10)
        clock.now += 65
        bars("index", 0, None)
        clock.now += 65
    last = lines_on(out)[-1]
    assert last.startswith("m on [t]  index")
    assert last.endswith("1:05 min")
    assert "encode" not in last


def report_a_cell(bars: Bars) -> None:
    bars("t/a: documents", 1, 2)
    bars.started("m on t/a")
    bars("encode_documents", 0, None)
    bars("encode_documents", 1, 2)
    bars("search", 0, None)
    bars.finished(make_record(method="m", task="t/a"), reused=False, seconds=1.5)


def test_a_sweep_is_drawn_by_the_same_bars() -> None:
    console, out = screen(100)
    with Bars(console) as bars:
        report_a_cell(bars)
    assert [line for line in lines_on(out) if line.startswith("✓ m on t/a")]
    console, out = log()
    with Bars(console) as bars:
        report_a_cell(bars)
    (line,) = out.getvalue().splitlines()
    assert line.startswith("✓ m on t/a")
    assert line.endswith("1.5 s")


def test_a_warning_of_the_data_is_printed_once_for_all_methods() -> None:
    console, out = log()
    warning = "[t]: 3 relevant documents are not in the corpus, such as 'd2'"
    with Bars(console) as bars:
        for method, more in (("a", ()), ("b", ("only of b",))):
            record = make_record(method=method, task="t", warnings=[warning, *more])
            bars.finished(record, reused=False, seconds=1.0)
    lines = out.getvalue().splitlines()
    assert [line for line in lines if not line.startswith("✓")] == [
        f"warning: {warning}",
        "warning: only of b",
    ]
    assert lines[1] == f"warning: {warning}"


def test_data_and_cells_are_labelled() -> None:
    clock, (console, out) = Clock(), log()
    with Bars(console, clock) as bars:
        for begin, work in ((None, "nq_dev.tsv"), ("m on t", "encode_queries")):
            if begin:
                bars.started(begin)
            for done in (1000, 11_000):
                bars(work, done, 21_000)
                clock.now += 10
        record = make_record(method="m", task="t")
        bars.finished(record, reused=True, seconds=0.1)
    lines = out.getvalue().splitlines()
    assert lines[:2] == [
        "prepare  nq_dev.tsv: 11.0 kB/21.0 kB  1.0 kB/s  10 s left",
        "m on t  encode queries: 11,000/21,000  1,000/s  10 s left",
    ]
    assert lines[2].startswith("✓ m on t")
    assert f"measured {record.provenance.finished[:10]}, reused" in lines[2]


def test_frequent_progress_is_thinned_but_beginnings_and_ends_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events_module, "time", SimpleNamespace(monotonic=Clock()))
    reading, writing = os.pipe()
    events = EventStream(writing)
    events.progress("search", 0, None)
    for done in (1, 2, 3):
        events.progress("search", done, 3)
    events.progress("search", 0, None)
    os.close(writing)
    with os.fdopen(reading) as lines:
        read = [json.loads(line) for line in lines if line.strip()]
    assert [(e["done"], e["total"]) for e in read] == [(0, None), (1, 3), (3, 3), (0, None)]
