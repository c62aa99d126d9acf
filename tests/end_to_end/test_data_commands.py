"""`rankstone data`: output and exit code of each command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from rankstone.benchmarks.dataset import RawDataset, Sources
from rankstone.cli import app as cli
from rankstone.errors import DataError, MissingExtraError
from rankstone.leaderboards.document import Page
from rankstone.specs import TaskSpec

TOML = """\
[defaults]
loader = "beir"

[tasks.letters]
description = "d"
counts = { documents = 2, queries = 1, judgements = 1 }

[tasks.answered]
description = "d"
dataset = "t/letters"
judge = "answers"
measures = ["Accuracy@1"]
headline = "Accuracy@1"

[tasks.gone]
description = "d"
counts = { documents = 12345678 }

[tasks.private]
description = "d"
loader = "faulty_loaders:private"

[tasks.extra]
description = "d"
loader = "faulty_loaders:extra"

[tasks.remote]
description = "d"
loader = "faulty_loaders:remote"

[tasks.copied]
description = "d"
dataset = "t/letters"
loader = "faulty_loaders:remote"

[tasks.judged]
description = "d"
loader = "qrels"
source = { folder = "t/letters" }
counts = { queries = 1 }

[tasks.broken]
description = "d"
loader = "faulty_loaders:nothing"
"""
FILES = {
    "corpus.jsonl": '{"_id": "1", "text": "one"}\n{"_id": "2", "text": "two"}\n',
    "queries.jsonl": '{"_id": "asked", "text": "one?", "metadata": {"answers": ["one"]}}\n',
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\nasked\t1\t1\n",
}


def private(task: TaskSpec, sources: Sources) -> RawDataset:
    raise DataError(f"{task.name}: this collection is not public. Ask its owners.")


def extra(task: TaskSpec, sources: Sources) -> RawDataset:
    raise MissingExtraError(f"task '{task.name}'", "beir")


def remote(task: TaskSpec, sources: Sources) -> RawDataset:
    return RawDataset(
        documents=list, queries=list, judgements=lambda split: [], splits=list,
        fingerprint="1", source="https://example.org/set.zip",
    )  # fmt: skip


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


def write(folder: Path) -> Path:
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with tasks in every state, and a collection beside it."""
    loaders = ModuleType("faulty_loaders")
    loaders.__dict__.update(private=private, extra=extra, remote=remote)
    monkeypatch.setitem(sys.modules, "faulty_loaders", loaders)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "runners").mkdir()
    (tmp_path / "benchmarks" / "t.toml").write_text(TOML)
    write(tmp_path / "data" / "t" / "letters")
    write(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    for name in ("RANKSTONE_DATA", "RANKSTONE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> Outcome:
        options = ["--data", "data", "--cache", "cache"]
        monkeypatch.setattr(sys, "argv", ["rankstone", "data", *arguments, *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Outcome(int(str(ended.value.code or 0)), *capfd.readouterr())

    return call


def test_list_states_the_availability_of_every_task(run: Run) -> None:
    assert run("prepare", "letters").code == 0
    code, out, _ = run("list")
    rows = dict(line.split(None, 1) for line in out.splitlines() if line.startswith(" t/"))
    assert code == 0
    assert {name: " ".join(row.split()) for name, row in rows.items()} == {
        "t/letters": "2 1 1 prepared",
        "t/answered": "2 · answers available",
        "t/gone": "12,345,678 · · missing",
        "t/private": "· · · not public",
        "t/extra": "· · · extra missing",
        "t/remote": "· · · to fetch",
        "t/copied": "· · · available",
        "t/judged": "· 1 · judgements",
        "t/broken": "· · · see below",
    }
    assert "this collection is not public. Ask its owners." in out
    assert "pip install 'rankstone[beir]'" in out
    assert "module 'faulty_loaders' has no 'nothing'" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


def test_the_list_can_be_limited_to_named_tasks(run: Run) -> None:
    code, out, _ = run("list", "letters", "./mine")
    assert code == 0
    lines = [line for line in out.splitlines() if " t/" in line or " files/" in line]
    assert [line.split()[-1] for line in lines] == ["available"] * 2
    assert "t/gone" not in out
    assert "available found as files; the first run converts it" in " ".join(out.split())


def test_prepare_converts_once_and_reports_it(run: Run, place: Path) -> None:
    code, out, _ = run("prepare", "letters", "mine")
    assert code == 0
    assert out.count("2 documents, 1 queries, 1 judgements") == 2
    assert "already" not in out
    assert len(list((place / "cache" / "datasets").rglob("corpus.arrow"))) == 2
    assert run("prepare", "letters", "mine").out.count("already prepared") == 2


def test_a_task_judged_by_answers_has_no_judgements_to_count(run: Run) -> None:
    out = run("prepare", "answered").out
    assert "2 documents, 1 queries, judged by answers" in out
    assert "0 judgements" not in out
    row = next(line for line in run("list", "answered").out.splitlines() if " t/" in line)
    assert row.split()[1:] == ["2", "1", "answers", "prepared"]
    lines = run("verify", "answered").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["corpus", "queries", "answers"]


def test_prepare_shows_warnings(run: Run, place: Path) -> None:
    (place / "mine" / "qrels" / "test.tsv").write_text("asked\t1\t1\nasked\t[nowhere]\t1\n")
    assert "! files/mine" in run("prepare", "mine").out


def test_prepare_continues_after_a_fault_and_exits_with_2(run: Run) -> None:
    code, out, err = run("prepare", "gone", "zzz", "letters")
    assert code == 2
    assert "t/letters" in out
    assert "t/gone: no data found" in err
    assert "Task 'zzz' is not defined" in err


def test_a_single_fault_is_an_error_as_elsewhere(run: Run) -> None:
    for verb in ("prepare", "verify", "path", "stats"):
        code, out, err = run(verb, "private")
        assert (code, out) == (2, "")
        assert err.startswith("error: t/private: this collection is not public")


def test_path_prints_the_folder_and_nothing_else(run: Run, place: Path) -> None:
    code, out, err = run("path", "letters")
    assert (code, out) == (2, "")
    assert "letters: not prepared" in err
    assert "Run: rankstone data prepare letters" in err
    run("prepare", "letters")
    code, out, err = run("path", "letters")
    folder = Path(out.removesuffix("\n"))
    assert (code, err) == (0, "")
    assert (folder / "corpus.arrow").is_file()
    assert folder.is_relative_to(place / "cache")


def test_verify_hashes_and_lists_the_pins(run: Run) -> None:
    run("prepare", "letters", "mine")
    code, out, _ = run("verify", "letters", "mine")
    assert code == 0
    assert "t/letters  as written; pinned: documents, queries, judgements" in out
    assert "as written; pinned: nothing" in out
    digests = [line.split() for line in out.splitlines() if line.startswith("  ")]
    assert [name for name, _ in digests] == ["corpus", "queries", "judgements"] * 2
    assert digests[:3] == digests[3:]
    assert {len(digest) for _, digest in digests} == {64}


def test_data_that_are_not_prepared_cannot_be_verified(run: Run) -> None:
    code, _, err = run("verify", "letters")
    assert code == 2
    assert "not prepared" in err


@pytest.mark.parametrize("damage", ["content", "size", "footer", "meta", "deleted"])
@pytest.mark.parametrize("name", ["corpus.arrow", "splits/test/judgements.arrow"])
def test_verify_finds_damage_and_changes_nothing(
    run: Run, place: Path, damage: str, name: str
) -> None:
    run("prepare", "letters", "mine")
    path = next((place / "cache/datasets/t/letters").glob(f"*/{name}"))
    content = path.read_bytes()
    if damage == "deleted":
        path.unlink()
    elif damage == "meta":
        (path.parent / "meta.json").write_text("{")
    else:
        at = content.rindex(b"two" if name == "corpus.arrow" else b"asked")
        flipped = content[:at] + b"x" + content[at + 1 :]
        changed = {"size": content[:-9], "footer": content[:-40] + b"\0" * 40, "content": flipped}
        path.write_bytes(changed[damage])
    before = {p: p.read_bytes() for p in place.rglob("cache/**/*") if p.is_file()}
    code, out, _ = run("verify", "letters", "mine")
    assert code == 1
    assert out.startswith("✗ ")
    assert "damaged" in out or (damage == "content" and "changed since it was written" in out)
    assert "✓ files/mine" in out
    assert {p: p.read_bytes() for p in place.rglob("cache/**/*") if p.is_file()} == before


def test_verify_compares_with_pins_made_later(run: Run, place: Path) -> None:
    run("prepare", "letters")
    toml = place / "benchmarks" / "t.toml"
    toml.write_text(TOML.replace("documents = 2,", "documents = 3,"))
    code, out, _ = run("verify", "letters")
    assert code == 1
    assert "t/letters: expected 3 documents, found 2" in out


def test_stats_prints_what_the_statistics_render(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stats, view = ModuleType("rankstone.benchmarks.stats"), ModuleType("rankstone.cli.data_view")
    stats.statistics = lambda dataset: len(dataset.corpus)  # type: ignore[attr-defined]
    view.figures = lambda n: Page(blocks=(), title=f"{n} texts")  # type: ignore[attr-defined]
    for module in (stats, view):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    code, out, _ = run("stats", "mine")
    assert (code, out.strip()) == (0, "2 texts")
