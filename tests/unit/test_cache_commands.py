"""`rankstone cache ls | verify | rm`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from rankstone.cli import cache as cli_cache
from rankstone.cli.app import app
from rankstone.encodings.shards import Cost, note_use, write_shard
from rankstone.errors import DataError

KEYS = {"whole": "a" * 64, "partial": "ab" + "0" * 62, "foreign": "c" * 64}
ENGINE = {"engine": "torch 2.13.0", "precision": "fp32"}


def invoke(*arguments: str | Path, stdin: str | None = None) -> Result:
    terminal = CliRunner(env={"COLUMNS": "120"})
    return terminal.invoke(app, ["cache", *map(str, arguments)], input=stdin)


def fill(folder: Path, shards: int, of: int | None, *methods: str) -> None:
    folder.mkdir(parents=True)
    for part in range(shards):
        rep = np.full((4, 3), part, np.float32)
        cost = Cost(1.0, 1.0, None)
        write_shard(folder / f"{part:06d}.shard", rep, documents=4, cost=cost, truncation=None)
    for method in methods:
        use = {"method": method, "task": "beir/x"}
        note_use(folder, {"runner": ENGINE, "shards": of}, use)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    place = tmp_path / "cache"
    encodings = place / "encodings"
    fill(encodings / KEYS["whole"], 3, 3, "dense/minilm", "hybrid/rrf")
    fill(encodings / KEYS["partial"], 1, 3, "dense/e5")
    fill(encodings / KEYS["foreign"], 1, None)
    (encodings / "notes").mkdir()
    os.utime(encodings / KEYS["whole"] / "about.json", (1e9, 1e9))
    return place


def left(cache: Path) -> set[str]:
    return {path.name for path in (cache / "encodings").iterdir()} - {"notes"}


def test_ls_describes_each_key(cache: Path) -> None:
    found = invoke("ls", "--cache", cache)
    assert found.exit_code == 0
    rows = {row.split()[0]: row for row in found.stdout.splitlines() if row.strip()}
    whole, partial, foreign = (rows[key[:12]] for key in KEYS.values())
    for text in ("dense/minilm", "beir/x", "torch 2.13.0, fp32", " 3 ", "2001-09-"):
        assert text in whole
    assert "hybrid/rrf" in found.stdout
    assert "1/3" in partial
    assert "1/?" in foreign
    assert foreign.count("unknown") == 3
    assert found.stdout.index(KEYS["partial"][:12]) < found.stdout.index(KEYS["whole"][:12])
    total = sum(p.stat().st_size for p in (cache / "encodings").rglob("*") if p.is_file())
    assert f"3 keys, {total / 1000:.1f} kB in {cache / 'encodings'}" in found.stdout


@pytest.mark.parametrize("width", ["60", "100"])
def test_ls_keeps_names_whole(cache: Path, width: str) -> None:
    method = "engines/minilm-opensearch-graph"
    note_use(cache / "encodings" / KEYS["whole"], {}, {"method": method, "task": "code/x-y-z"})
    found = CliRunner(env={"COLUMNS": width}).invoke(app, ["cache", "ls", "--cache", str(cache)])
    lines = found.stdout.splitlines()[:-1]
    assert max(map(len, lines)) <= int(width)
    for name in (method, "hybrid/rrf", "code/x-y-z", "beir/x", KEYS["whole"][:12]):
        assert any(name in line for line in lines)


def test_an_empty_cache_and_a_wrong_one(tmp_path: Path) -> None:
    assert "0 keys" in invoke("ls", "--cache", tmp_path).stdout
    found = invoke("ls", "--cache", tmp_path / "typo")
    assert isinstance(found.exception, DataError)
    assert "typo: no such folder" in str(found.exception)


def test_verify_names_what_is_damaged(cache: Path) -> None:
    found = invoke("verify", "--cache", cache)
    assert found.exit_code == 0
    assert [line.split()[0] for line in found.stdout.splitlines()].count("partial") == 2
    victim = cache / "encodings" / KEYS["whole"] / "000001.shard"
    content = bytearray(victim.read_bytes())
    content[30] ^= 4
    victim.write_bytes(content)
    found = invoke("verify", "--cache", cache)
    assert found.exit_code == 1
    assert f"{victim}: its content does not match its digest" in found.stdout
    assert "1 damaged" in found.stdout
    assert invoke("verify", "e5", "--cache", cache).exit_code == 0
    assert invoke("verify", "rrf", "--cache", cache).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "gone"),
    [
        (["aaa"], {"whole"}),
        (["minilm"], {"whole"}),
        (["hybrid/rrf", KEYS["whole"]], {"whole"}),
        (["dense/e5", "c"], {"partial", "foreign"}),
        (["--partial"], {"partial", "foreign"}),
        (["--all"], {"whole", "partial", "foreign"}),
    ],
)
def test_rm_removes_what_is_named_and_states_the_bytes(
    cache: Path, arguments: list[str], gone: set[str]
) -> None:
    folders = [cache / "encodings" / KEYS[name] for name in gone]
    size = sum(path.stat().st_size for folder in folders for path in folder.iterdir())
    found = invoke("rm", *arguments, "--cache", cache)
    assert found.exit_code == 0
    assert left(cache) == {KEYS[name] for name in KEYS.keys() - gone}
    shown = f"{size} bytes" if size < 1000 else f"{size / 1000:.1f} kB"
    assert f"{shown} freed" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["minilmm"], r"neither a key nor a method of the cache\. Did you mean: dense/minilm\?"),
        (["a"], r"'a' is a prefix of several keys: ab0{10}, a{12}\. Give more digits"),
        (["dense"], r"neither a key nor a method"),
    ],
)
def test_names_that_mean_nothing_delete_nothing(
    cache: Path, arguments: list[str], said: str
) -> None:
    found = invoke("rm", *arguments, "--cache", cache)
    with pytest.raises(DataError, match=said):
        raise found.exception or AssertionError
    assert left(cache) == set(KEYS.values())


@pytest.mark.parametrize("arguments", [[], ["--all", "--partial"], ["x", "--all"]])
def test_rm_wants_exactly_one_choice(cache: Path, arguments: list[str]) -> None:
    assert invoke("rm", *arguments, "--cache", cache).exit_code == 2
    assert left(cache) == set(KEYS.values())


def test_rm_all_asks_for_confirmation_on_a_terminal(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(cli_cache.sys, "stdin", Terminal())
    asked: list[str] = []

    def refuse(text: str, *, abort: bool) -> None:
        asked.append(text)
        raise cli_cache.typer.Abort

    monkeypatch.setattr(cli_cache.typer, "confirm", refuse)
    for more in ([], ["--yes"]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["rankstone"])
            try:
                cli_cache.remove(
                    names=None, everything=True, partial=False, yes=bool(more), cache=cache
                )
            except cli_cache.typer.Abort:
                assert left(cache) == set(KEYS.values())
    assert len(asked) == 1
    assert asked[0].startswith("Delete 3 keys, ")
    assert left(cache) == set()
