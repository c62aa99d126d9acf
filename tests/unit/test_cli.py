from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rankstone.cli import app as command_line
from rankstone.cli.app import app
from rankstone.errors import ResultsError
from rankstone.leaderboards.formats.render import FORMATS
from rankstone.results.store import ResultStore
from tests.records import make_record
from tests.unit.test_documents import commands

ROOT = Path(__file__).parents[2]


def invoke(*arguments: str | Path) -> Result:
    terminal = CliRunner(env={"COLUMNS": "80"})
    return terminal.invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("command", ["", "data", "cache", "records", *commands()])
def test_help_is_whole_and_names_no_type_of_python(command: str) -> None:
    text = invoke(*command.split(), "--help").stdout
    assert not re.search(r"\.\.\.$", text.partition("\nCommands:")[2], re.MULTILINE), "shorten it"
    assert not re.search(r"--\S+ <(list|str|int|float|path)\b", text)


def test_results_that_are_no_folder_are_refused(tmp_path: Path) -> None:
    found = invoke("leaderboard", "--results", tmp_path / "typo")
    assert isinstance(found.exception, ResultsError)
    assert "typo: no such folder" in str(found.exception)


def test_a_board_without_records_says_how_to_get_them(tmp_path: Path) -> None:
    for suite in ([], ["--suite", "beir-13"]):
        found = invoke("leaderboard", "--results", tmp_path, "--workspace", ROOT, *suite)
        assert found.stdout.strip().startswith("No records. (")


def test_a_board_is_written_whole_or_refused(tmp_path: Path) -> None:
    board = tmp_path / "board.csv"
    arguments = ("leaderboard", "--results", tmp_path, "--format", "csv", "-o")
    assert invoke(*arguments, board).exit_code == 0
    assert board.read_text(encoding="utf-8").startswith("task,method,")
    for output in (tmp_path / "absent" / "board.csv", tmp_path):
        found = invoke(*arguments, output)
        assert isinstance(found.exception, ResultsError)
        assert f"{output}: cannot be written" in str(found.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["board.csv"]


def test_an_error_is_wrapped_in_the_terminal_to_its_end(tmp_path: Path) -> None:
    record = make_record(status="failed")
    assert record.error is not None
    error = record.error.model_copy(update={"message": "word " * 60 + "and the mend"})
    ResultStore(tmp_path).write(record.model_copy(update={"error": error}))
    found = invoke("leaderboard", "--results", tmp_path)
    assert "and the mend" in " ".join(found.stdout.split())
    assert max(map(len, found.stdout.splitlines())) <= 80


@pytest.mark.parametrize("text", ["adaptor = [1]", "[/not toml"])
def test_one_bad_definition_hides_no_runner(tmp_path: Path, text: str) -> None:
    for folder in ("benchmarks", "runners"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "runners" / "lexical" / "bad.toml").write_text(text)
    found = invoke("list", "runners", "--workspace", tmp_path)
    assert found.exit_code == 0
    said = " ".join(found.stdout.split())
    assert "lexical/bad error:" in said
    assert "lexical/bm25 " in said


def test_lists_are_filtered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rankstone.workspace.layers.packaged_definitions", lambda: tmp_path)
    runner, task = 'description = "{}"\nadapter = "{}"\n', '[tasks.{}]\ndescription = "{}"\n'
    for name, text in {
        "benchmarks/mine.toml": task.format("a", "Tickets of ours") + 'loader = "beir"\n',
        "benchmarks/other.toml": task.format("b", "Mails") + 'loader = "irds"\nsource.id = "m"\n',
        "benchmarks/suites.toml": '[suites.both]\ndescription = "d"\nmembers = ["mine/a"]',
        "runners/mine/m.toml": runner.format("BM25 on tickets", "bm25"),
        "runners/mined/m.toml": runner.format("BM25", "bm25"),
        "runners/mine/deep/v.toml": runner.format("Vectors", "dense"),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def listed(*arguments: str) -> list[str]:
        found = invoke("list", *arguments, "--json", "--workspace", tmp_path)
        return [row["name"] for row in json.loads(found.stdout)]

    assert listed("runners", "TICKETS") == ["mine/m"]
    assert listed("runners", "--family", "mine") == ["mine/deep/v", "mine/m"]
    assert listed("runners", "--kind", "bm25", "--family", "mine") == ["mine/m"]
    assert listed("benchmarks", "--family", "mine") == ["mine/a"]
    assert listed("benchmarks", "--kind", "irds") == ["other/b"]
    assert listed("benchmarks", "--kind", "suite") == ["both"]
    assert listed("benchmarks", "no such text") == []
    assert invoke("list", "published", "--family", "dense").exit_code == 2


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "command",
    [
        ("leaderboard", "--results", ROOT / "results/reference/demo"),
        ("claims", "funnel", "--missing", "skip", "--results", ROOT / "results/reference/search"),
        ("reproduce", "ance", "--missing", "skip"),
        ("list", "published", "tas-b"),
        ("data", "list", "beir-13"),
    ],
    ids=lambda command: command[0],
)
def test_commands_offer_the_same_formats(command: tuple[str | Path, ...], form: str) -> None:
    found = invoke(*command, "--workspace", ROOT, "--format", form)
    assert found.exit_code in (0, 1), found.output
    assert found.exception is None or isinstance(found.exception, SystemExit)
    assert found.stdout.endswith("\n")


def test_the_format_of_a_file_follows_from_its_suffix(tmp_path: Path) -> None:
    command = ("list", "benchmarks", "--workspace", ROOT, "-o")
    starts = {"a.md": "| name |", "a.csv": "name,kind", "a.json": "[", "a.html": "<!doctype html>"}
    for name, start in starts.items():
        assert invoke(*command, tmp_path / name).exit_code == 0
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)
    assert invoke(*command, tmp_path / "a.doc").exit_code == 2
    assert invoke(*command, tmp_path / "a.md", "--format", "terminal").exit_code == 2


def test_a_library_that_cannot_be_loaded_is_named_with_the_cause(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> None:
        raise ImportError("libblas.so.3: cannot open shared object file", name="faiss._swigfaiss")

    monkeypatch.setattr(command_line, "app", broken)
    assert command_line._run(["list"]) == 2
    assert capsys.readouterr().err == (
        "error: the library 'faiss' cannot be imported: libblas.so.3: cannot open shared object"
        " file. Reinstall it. (rankstone doctor)\n"
    )
