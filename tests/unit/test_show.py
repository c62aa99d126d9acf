"""What `rankstone show` says of a profile."""

from __future__ import annotations

import io

from rich.console import Console

from rankstone.leaderboards.pages.record import show_record
from rankstone.results.record import RunRecord
from tests.records import make_counted_record, make_record


def shown(record: RunRecord) -> str:
    console = Console(file=io.StringIO(), width=110)
    console.print(show_record(record))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_an_encoder_told() -> None:
    text = shown(make_counted_record())
    assert "encoded at 61.1% of the 410 GFLOP/s of this machine's matrix products" in text
    row = next(line for line in text.splitlines() if "encode documents" in line)
    assert {"1,004,311", "251", "870"} <= set(row.split())


def test_nothing_is_said_of_what_nobody_told() -> None:
    text = shown(make_record())
    assert "GFLOP" not in text
    assert "peak GPU" not in text
