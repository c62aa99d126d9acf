"""Text is safe in terminals and spreadsheets; failed output gives a one-line error."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rankstone.cli.bars import Bars
from rankstone.leaderboards.document import Cell, Column, Items, Page, Paragraph, Table
from rankstone.leaderboards.formats.render import FORMATS, render
from rankstone.leaderboards.formats.terminal import SafeConsole
from tests.records import make_record

ROOT = Path(__file__).parents[2]
HOSTILE = "a\x1b]0;title\x07\x1b[31m\x9b2J\x7f\u202eb\rc"
CONTROLS = [*map(chr, [*range(9), *range(11, 32), *range(127, 160)]), "\u202e", "\u2066"]


def page(text: str, value: float | str | None = None) -> Page:
    column = Column(heading=(text,), left=True)
    table = Table(columns=(column,), rows=((Cell(text=text, value=value),),), title=text)
    return Page(title=text, blocks=(Paragraph(text, lead=text), Items((text,)), table))


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_passes_control_characters_on(form: str) -> None:
    drawn = render(page(HOSTILE), form)
    assert [one for one in CONTROLS if one in drawn] == []


def test_json_keeps_the_value() -> None:
    (row,) = json.loads(render(page(HOSTILE), "json"))
    assert list(row.values())[1] == HOSTILE


def test_colours_remain_where_names_are_neutral() -> None:
    drawn = render(page(HOSTILE), "terminal", color=True)
    assert "\x1b[1m" in drawn
    assert "\x1b]" not in drawn
    assert "\x9b" not in drawn


def test_the_line_of_a_cell_is_neutral() -> None:
    record = make_record(status="failed")
    assert record.error is not None
    error = record.error.model_copy(update={"message": HOSTILE})
    out = io.StringIO()
    with Bars(SafeConsole(file=out, width=100)) as bars:
        bars.started("x")
        bars.finished(record.model_copy(update={"error": error}), reused=False, seconds=1)
    assert "]0;title" in out.getvalue()
    assert [one for one in CONTROLS if one in out.getvalue()] == []


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_a_cell_of_csv_is_no_formula(start: str) -> None:
    text = f"{start}cmd|' /C calc'!A0"
    head, row = csv.reader(io.StringIO(render(page(text), "csv")))
    assert head[1].startswith("'")
    assert row[0].startswith("'")
    assert row[1].startswith("'")


@pytest.mark.parametrize("value", [-0.5, "-0.5", "+1,234", "-1e-3", "-", "-12.5%", "plain"])
def test_figures_of_csv_are_as_they_were(value: float | str) -> None:
    assert next(csv.reader([render(page("x", value), "csv").splitlines()[1]]))[1] == str(value)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rankstone", *arguments, "--workspace", str(ROOT)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "100", **more}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("form", ["json", "terminal"])
def test_a_full_device_is_one_line(form: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("list", "published", "tas-b", "--format", form),
            stdout=full, stderr=subprocess.PIPE, env=environment(), text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: standard output: No space left on device"]


def test_a_closed_pipe_is_at_most_one_line() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command("list", "published", "--format", "json"),
        stdout=writing, stderr=subprocess.PIPE, env=environment(), text=True, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode in (1, 2)
    assert done.stderr.splitlines() in ([], ["error: standard output: Broken pipe"])


@pytest.mark.parametrize("form", ["json", "terminal"])
def test_an_ascii_terminal_gets_escapes(form: str) -> None:
    done = subprocess.run(
        command("list", "published", "tas-b", "--format", form),
        env=environment(PYTHONIOENCODING="ascii", LC_ALL="C"), capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
    if form == "json":
        assert json.loads(done.stdout)


def test_an_interrupt_while_importing_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(
        "import time\nprint('importing', flush=True)\ntime.sleep(60)"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    child = subprocess.Popen(
        command("list", "runners"), env=environment(PYTHONPATH=path), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "importing\n"
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=120)
    assert (child.returncode, err) == (130, "Interrupted.\n")


def test_a_closed_output_is_no_traceback() -> None:
    line = shlex.join(command("list", "published", "tas-b"))
    done = subprocess.run(
        ["sh", "-c", f"{line} >&-"], env=environment(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
