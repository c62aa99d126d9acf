"""Reports that do not fit a record are failures; error texts are bounded, valid Unicode."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

import pytest

from rankstone.errors import AdapterError
from rankstone.execution.events import LONGEST_TEXT, EventStream, bounded, described, parsed
from rankstone.execution.process import LOG_BYTES, Limits, Outcome, _shorten, _tail, _Watch
from rankstone.progress import silent
from tests.records import make_record


def outcome(event: dict[str, Any]) -> Outcome:
    """Return the outcome of a cell that reported `event`."""
    command = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        watch = _Watch(child, Limits(), silent, log)
        try:
            return watch._reported(event)
        finally:
            child.kill()
            child.wait()
            watch.close()


def body() -> dict[str, Any]:
    record = make_record().model_dump(mode="json")
    names = ("task", "method", "environment", "measures", "queries", "truncation", "profile")
    return {name: record[name] for name in names}


def changed(*keys: str, value: Any) -> dict[str, Any]:
    """Return the body with `value` at the path `keys`."""
    whole = inner = body()
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return whole


def test_a_whole_report_is_a_measurement() -> None:
    assert outcome({"event": "result", "body": body()}).status == "ok"


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("profile", "index", "memory_bytes"), -5, "profile.index.memory_bytes"),
        (("measures", "nDCG@10", "mean"), float("nan"), "'measures.nDCG@10.mean' is not a finite"),
        (("method", "description"), {"n": 10**400}, "64 bits"),
        (("method", "description"), {"a": "\ud800"}, "surrogates"),
        (("method", "description"), json.loads("[" * 90 + "]" * 90), "too deeply"),
        (("method", "name"), "a\x1b[31m", "control characters"),
        (("profile",), None, "'profile'|NoneType"),
        (("truncation",), {"query": {"texts": -1}}, "greater than or equal"),
    ],
)
def test_a_report_that_no_record_holds_is_a_failure(
    keys: tuple[str, ...], value: Any, words: str
) -> None:
    found = outcome({"event": "result", "body": changed(*keys, value=value)})
    assert (found.status, found.measured) == ("failed", None)
    assert found.error is not None
    assert found.error.kind == "AdapterError"
    assert any(word in found.error.message for word in words.split("|")), found.error.message


@pytest.mark.parametrize("event", [{"event": "result"}, {"event": "error", "kind": 5}])
def test_a_report_with_nothing_in_it_is_a_failure(event: dict[str, Any]) -> None:
    assert outcome(event).status == "failed"


@pytest.mark.parametrize(
    "line", [b"5", b"[]", b"null", b'{"event": []}', b"{", b"[" * 100_000, b"\xff"]
)
def test_lines_that_are_no_events_are_none(line: bytes) -> None:
    assert parsed(line) is None


def test_an_event_stands_apart_from_what_was_written_before() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"half a line")
    EventStream(writing).emit({"event": "error", "kind": "failed"})
    os.close(writing)
    with io.FileIO(reading) as pipe:
        lines = pipe.readall().splitlines()
    assert [event for line in lines if (event := parsed(line))]


def test_an_immense_report_is_refused() -> None:
    with pytest.raises(AdapterError, match="bytes"):
        EventStream(-1).emit({"event": "result", "body": "x" * 70_000_000})


class SilentError(Exception):
    def __str__(self) -> str:
        raise SystemExit


def test_errors_are_described_whatever_they_do() -> None:
    assert described(SilentError())[:2] == (
        "SilentError",
        "SilentError: its text cannot be read (SystemExit)",
    )
    kind, message, trace = described(KeyError("\ud800" + "x" * 30_000_000))
    assert kind == "KeyError"
    assert trace is not None
    assert max(len(message.encode()), len(trace.encode())) < LONGEST_TEXT + 100
    assert bounded("as it is") == "as it is"


def test_a_long_log_takes_little_disk_and_keeps_its_end() -> None:
    with tempfile.TemporaryFile() as log:
        for _ in range(3):
            os.write(log.fileno(), b"x" * (LOG_BYTES // 2 + 4096))
            _shorten(log)
        os.write(log.fileno(), b"the end")
        assert os.fstat(log.fileno()).st_blocks * 512 < LOG_BYTES
        assert (_tail(log) or "").endswith("the end")
