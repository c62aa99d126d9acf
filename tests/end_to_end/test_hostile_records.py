"""Damaged or forged records stop no command; each is skipped with a warning, or harmless.

Forged records have a valid digest, so that the digest check accepts them.
"""

from __future__ import annotations

import functools
import hashlib
import json
import operator
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from rankstone.cli.app import app
from rankstone.errors import RankstoneWarning, ResultsError
from rankstone.results.serialise import to_json
from rankstone.results.store import ResultStore
from tests.records import make_record
from tests.site_records import store_with_runs

ROOT = Path(__file__).parents[2]
GOOD, OTHER, TASK = "lexical/bm25", "dense/wordllama-256", "stdlib/functions"
HUGE = 10**400

# Path of a field -> absurd values.
FIELDS: dict[str, tuple[Any, ...]] = {
    "measures": ([], None, {}, {"nDCG@10": None}, {"": {"mean": 0.1}}, {"nDCG@-1": {"mean": 0.1}},
                 {"💥" * 999: {"mean": 0.1}}, {"a\x1b[2Jb": {"mean": 0.1}}),
    "measures.nDCG@10.mean": ("0.5", 1e308, -1e308, -0.0, HUGE, None, [[]]),
    "measures.nDCG@10.low": (9e307, 2**62),
    "measures.nDCG@10.n": (0, -5, 2**62, 2**63),
    "queries.n": (-1, 2**62),
    "status": ("fine", "", 1),
    "error": ({"kind": "\x07", "message": "\x1b]0;x\x07\r\n", "traceback": "x" * 10**6},),
    "key": ("", "\x00"),
    "task.headline": ("AP@3", "", "\x00"),
    "task.sha256": ({}, {"corpus": "x"}, {"\u202e": ""}),
    "task.n_documents": (0, -1, 2**62),
    "task.text": ("{", "\x00"),
    "task.split": ("\u2028",),
    "policy.depth": (0, -7, 2**62),
    "policy.relevance": (-(2**62),),
    "method.parameters": ({"": {"": []}}, {"x": "\x1b[31m"}, {"a": [[[[[[1]]]]]]}),
    "method.description": ({"\x00": "\x00"}, {"licence": 3, "model": [], "files": 7}),
    "method.name": ("a\x00b", "\x1b[2J", "../../x", "/etc/passwd", "", ".", "x" * 5000, "a\nb"),
    "environment.machine": ("..", "a/b", "\x7f"),
    "environment.packages": ({"": ""}, {f"p{n}": "1" for n in range(3000)}),
    "environment.command": (["\x1b[2J"], [""] * 999),
    "environment.cores": (-1,),
    "environment.ram_bytes": (0, 2**62),
    "provenance.finished": ("", "yesterday", "9999-99-99T99:99:99Z", "\x00"),
    "profile.phases": ({}, {"": {"wall_s": 0.0}}, {"search": {"wall_s": -1.0}},
                       {"search": {"wall_s": 1e308}, "index": {"wall_s": 1e308}}),
    "profile.latency.total.p50_ms": (0.0, -1.0, 1e308, 5e-324),
    "profile.latency.total.p95_ms": (None,),
    "profile.latency.total.intervals": ({}, {"p50_ms": [1.0]}, {"x\n": [1, 2]}, {"p99_ms": [2, 1]}),
    "profile.latency.total.autocorrelation": (None, 7.0, "x"),
    "profile.latency.n": (0, -1),
    "profile.index.memory_bytes": (0, -1, 2**62, HUGE),
    "profile.peak_rss_bytes": (0, -1),
    "files.run": ("../x", "/etc/passwd", "", ".", "..", "a\x00b", 7),
    "files.per_query": ("../../secret", "missing"),
    "warnings": (["\x1b[2J" * 999], "text", [7]),
    "schema_version": (0, -1, 99, "4", True, None, 4.5),
}  # fmt: skip
TEXTS: dict[str, Callable[[str], bytes]] = {
    "deep list": lambda text: b"[" * 100_000,
    "deep object": lambda text: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep value": lambda text: text.replace('"k1": 0.9', '"k1": ' + "[" * 900 + "]" * 900).encode(),
    "beyond floats": lambda text: text.replace("0.3043", "1e999").encode(),
    "not a number": lambda text: text.replace("0.3043", "NaN").encode(),
    "long integer": lambda text: text.replace("0.3043", "9" * 9999).encode(),
    "lone surrogate": lambda text: text.replace("English", "\\ud800").replace(
        "english", "\\ud800").encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "not UTF-8": lambda text: text.encode().replace(b"english", b"\xff\xfe"),
    "empty": lambda text: b"",
    "zeros": lambda text: bytes(4096),
    "cut short": lambda text: text.encode()[:700],
    "twice": lambda text: (text + text).encode(),
    "edited": lambda text: text.replace("0.3043", "0.9900").encode(),
    "a list": lambda text: b"[1]",
    "null": lambda text: b"null",
}  # fmt: skip
SPECIAL: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "full device": lambda path: path.symlink_to("/dev/full"),
    "terminal": lambda path: path.symlink_to("/dev/tty"),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "folder": lambda path: path.mkdir(),
    "large": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
}


def signed(body: dict[str, Any]) -> bytes:
    content = {key: value for key, value in body.items() if key != "digest"}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return json.dumps({**content, "digest": digest}).encode()


def forged(number: int, field: str, value: Any) -> bytes:
    body = json.loads(to_json(make_record(f"hostile/{number}")))
    *parents, last = field.split(".")
    at = functools.reduce(operator.getitem, parents, body)
    at[last] = value
    if field.startswith("files."):
        body["files"][f"{last}_sha256"] = "0" * 64
    return signed(body)


def hostile() -> Iterator[Callable[[Path, int], object]]:
    """Yield functions that put a hostile record at a path."""
    for field, values in FIELDS.items():
        for value in values:
            yield lambda path, n, f=field, v=value: path.write_bytes(forged(n, f, v))
    for change in TEXTS.values():
        text = to_json(make_record("hostile/x"))
        yield lambda path, n, c=change, t=text: path.write_bytes(
            c(t.replace("hostile/x", f"hostile/{n}"))
        )
    for special in SPECIAL.values():
        yield lambda path, n, s=special: s(path)


EVERY = list(hostile())
UNREADABLE = range(len(EVERY) - len(TEXTS) - len(SPECIAL), len(EVERY))
EDITED = UNREADABLE[[*TEXTS].index("edited")]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store_with_runs(tmp_path / "results", [make_record(GOOD), make_record(OTHER)], tmp_path)
    return tmp_path / "results"


def put(results: Path, numbers: Iterable[int]) -> None:
    folder = results / "stdlib" / "functions" / "hostile"
    folder.mkdir(parents=True)
    for number in numbers:
        EVERY[number](folder / f"{number}@4be81c07.json", number)


FAST = (
    ("leaderboard",),
    ("leaderboard", "--format", "latex"),
    ("show", f"{GOOD}@{TASK}"),
    ("compare", GOOD, OTHER, "--on", TASK),
    ("gate", "--baseline", GOOD, "--candidate", OTHER),
    ("export", f"{GOOD}@{TASK}", "--to", "parquet", "-o", "{}/out"),
    ("records", "ls"),
)
SLOW = (
    ("leaderboard", "--format", "html"),
    ("report", "--format", "html"),
    ("report", "--baseline", GOOD, "-o", "{}/report.md"),
    ("site", "--pairs", "1", "-o", "{}/site"),
    ("claims", "--missing", "skip"),
    ("reproduce",),
)


def call(results: Path, *arguments: str) -> tuple[Result, str]:
    """Run a command; return its result, and the lines that warn about records."""
    given = [part.format(results.parent) for part in arguments]
    options = ("--results", str(results), "--workspace", str(ROOT))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RankstoneWarning)
        found = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*given, *options])
    assert isinstance(found.exception, type(None) | SystemExit), (arguments, found.exception)
    codes = (0, 1, 2) if "The gate is undecided" in found.output else (0, 1)
    assert found.exit_code in codes, (arguments, found.output)
    return found, "\n".join(str(warning.message) for warning in caught)


def test_a_hundred_hostile_records_stop_no_command(results: Path) -> None:
    assert len(EVERY) >= 100
    put(results, range(len(EVERY)))
    skipped = [call(results, *arguments)[1] for arguments in FAST]
    for number in UNREADABLE:
        assert f"hostile/{number}@4be81c07.json" in skipped[0]
    assert ResultStore(results).find(make_record(GOOD).key) is not None


@pytest.mark.slow
def test_they_stop_no_command_at_all(results: Path) -> None:
    put(results, range(len(EVERY)))
    for arguments in (*FAST, *SLOW):
        call(results, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(EVERY)))
def test_one_alone_stops_no_command(results: Path, number: int) -> None:
    put(results, [number])
    for arguments in FAST:
        call(results, *arguments)


def test_verify_names_each_and_fails(tmp_path: Path) -> None:
    numbers = [number for number in UNREADABLE if number != EDITED]  # it is said how it differs
    put(tmp_path, numbers)
    found, _ = call(tmp_path, "verify")
    assert found.exit_code == 1
    assert f"0 of {len(numbers)} records verified" in found.stdout
    for number in numbers:
        assert f"hostile/{number}@4be81c07.json" in found.stdout


def test_verify_fails_where_nothing_is_stored(tmp_path: Path) -> None:
    options = ("--results", str(tmp_path), "--workspace", str(ROOT))
    found = CliRunner().invoke(app, ["verify", *options])
    assert isinstance(found.exception, ResultsError)
    assert "no records to verify" in str(found.exception)


def test_records_are_listed_and_removed(results: Path) -> None:
    store = ResultStore(results)
    failed = store.write(make_record("dense/typo", status="failed"))
    store.write(make_record(OTHER, status="oom"))
    put(results, UNREADABLE)
    hostile = results / "stdlib" / "functions" / "hostile"
    rows = json.loads(call(results, "records", "ls", "--format", "json")[0].stdout)
    found = {(row["method"], row["status"]) for row in rows}
    assert found == {(GOOD, "ok"), (OTHER, "ok"), ("dense/typo", "failed"), (OTHER, "oom")}
    assert str(hostile) in call(results, "records", "ls")[0].stdout
    call(results, "records", "rm", "typo@stdlib/functions")
    assert not store.path(failed).exists()
    call(results, "records", "rm", "--failed")
    assert {p.name for p in hostile.parent.rglob("*.failed.json")} == set()
    good = store.path(make_record(GOOD))
    [folder] = [path for path in hostile.iterdir() if path.is_dir()]
    files = [str(path) for path in hostile.iterdir() if path != folder]
    call(results, "records", "rm", GOOD, *files)
    assert not list(good.parent.glob("bm25*"))
    assert list(hostile.iterdir()) == [folder]
    folder.rmdir()
    assert [record.method.name for record in store.records()] == [OTHER]
    for name in ("nothing", "functions", TASK):
        found = CliRunner().invoke(app, ["records", "rm", name, "--results", str(results)])
        assert f"no record of '{name}'" in str(found.exception)
