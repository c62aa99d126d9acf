"""Every command with a method or task argument accepts the names that `run` accepts."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

import rankstone
from rankstone.cli.app import app
from rankstone.encodings.shards import Cost, note_use, write_shard
from rankstone.errors import MeasureError, RankstoneError, RankstoneWarning
from rankstone.strict import named_among
from tests.beir_layout import write_beir
from tests.unit.test_members import CODE, DENSE, write_dense

METHODS = {
    "bm25": "lexical/bm25",
    "hf:org/name": "hf/org/name+revision-1a2b3c4d",
    "hf:org/name@1a2b3c4d": "hf/org/name+revision-1a2b3c4d",
    "lucene:tiny": "lucene/tiny+index-9c0d1e2f",
    "./model": None,
    "./inner.toml": None,
    "names_of_mine:found": None,
}
"""Name on the command line -> recorded name; None: as named by `methods`."""
RECORDED = {
    "show": "show {m}@{t}",
    "explain": "explain {m}@{t} --published .5",
    "records show": "records show {m}@{t}",
    "records ls": "records ls --methods {m} --on {t}",
    "records label": "records label {m}@{t} mine",
    "leaderboard": "leaderboard --methods {m} --on {t}",
    "records rm": "records rm {m}@{t}",
    "verify": "verify {m}@{t}",
    "export": "export {m}@{t} --to trec --output out",
    "compare": "compare runs/other {m} --on {t}",
    "power": "power runs/other {m} --on {t}",
    "gate": "gate --baseline runs/other --candidate {m} --on {t}",
    "report": "report {m} --on {t}",
    "cache verify": "cache verify {m}",
    "cache rm": "cache rm {m}",
}
TASKS = {
    "import": "import run.trec --from trec --on {t} --name x",
    "score": "score run.trec --on {t}",
    "data prepare": "data prepare {t}",
    "data path": "data path {t}",
    "data verify": "data verify {t}",
    "data stats": "data stats {t}",
}
NO_NAMES = {
    "claims", "convert", "data list", "data export", "doctor", "init", "list", "records publish",
    "reproduce", "run", "plan", "load", "site", "cache ls",
}  # fmt: skip
"""Commands without methods and tasks of their own, and `run` with `plan` and `load`, its namesakes:
others are compared with `run`."""


def test_every_command_is_here() -> None:
    found = set()
    for name, command in get_command(app).commands.items():
        inner = getattr(command, "commands", None)
        found |= {name} if inner is None else {f"{name} {one}" for one in inner}
    assert found - NO_NAMES == RECORDED.keys() | TASKS.keys()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a collection, methods, and a record and encodings of each."""
    here = tmp_path_factory.mktemp("names")
    write_dense(here / "model", "weights")
    (here / "inner.toml").write_text(DENSE)
    (here / "names_of_mine.py").write_text(CODE)
    documents, queries = ({f"{kind}{n}": f"fox {n}" for n in range(12)} for kind in "cq")
    judged = [(f"q{n}", f"c{n}") for n in range(8)]
    write_beir(here / "tickets", documents, queries, test=judged)
    (here / "run.trec").write_text("".join(f"q{n} Q0 c{n % 5} 1 2.5 x\n" for n in range(8)))
    return here


@pytest.fixture
def here(filled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(filled)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for folder in ("RESULTS", "DATA", "CACHE"):
        monkeypatch.delenv(f"RANKSTONE_{folder}", raising=False)
    return filled


def session(here: Path) -> rankstone.Session:
    return rankstone.Session(results=here / "results", cache=here / "cache")


@pytest.fixture
def names(here: Path) -> dict[str, str]:
    """Return name on the command line -> recorded name, each with a record."""
    place = session(here)
    found = {m: name or place.definitions.methods(m)[0].name for m, name in METHODS.items()}
    if not (here / "results").exists():
        run = {
            f"q{n}": {f"c{(n % 4 + m) % 12}": 1.0 / (m + 1) for m in range(12)} for n in range(12)
        }
        for number, name in enumerate(dict.fromkeys([*found.values(), "runs/other"])):
            place.score(run, "./tickets", name=name)
            folder = here / "cache" / "encodings" / f"{number:064x}"
            folder.mkdir(parents=True)
            write_shard(folder / "000000.shard", np.zeros((8, 2), np.float32), documents=8,
                        cost=Cost(1.0, 1.0, None), truncation=None)  # fmt: skip
            note_use(folder, {"runner": {}, "shards": 1}, {"method": name, "task": "x"})
    return found


@contextlib.contextmanager
def restored(here: Path, *folders: str) -> Iterator[None]:
    for folder in folders:
        shutil.copytree(here / folder, here.parent / folder)
    yield
    for folder in folders:
        shutil.rmtree(here / folder)
        (here.parent / folder).rename(here / folder)


def invoke(here: Path, line: str) -> Result:
    options = {
        "results": ["--results", str(here / "results")],
        "cache": ["--cache", str(here / "cache")],
    }
    given = line.split()
    command = get_command(app)
    for word in given[:2]:
        command = getattr(command, "commands", {}).get(word, command)
    known = {parameter.name for parameter in command.params}
    more = [word for name, words in options.items() if name in known for word in words]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*given, *more])


@pytest.mark.parametrize("command", RECORDED)
def test_records_and_encodings_are_found_by_every_form(
    command: str, here: Path, names: dict[str, str]
) -> None:
    few = ("hf:org/name", "./inner.toml", "names_of_mine:found")
    for method in names if command == "show" else few:
        recorded = names[method]
        with restored(here, *(["results", "cache"] if command.endswith((" rm", " label")) else [])):
            done = invoke(here, RECORDED[command].format(m=method, t="./tickets"))
        assert not isinstance(done.exception, RankstoneError), f"{method}: {done.exception}"
        assert done.exit_code in ((0, 1, 2) if command == "gate" else (0,)), done.output
        label = recorded.partition("+")[0].rpartition("/")[2]
        assert command.startswith(("cache", "export")) or label in done.output


@pytest.mark.parametrize("command", TASKS)
def test_tasks_are_named_in_every_form(command: str, here: Path, names: dict[str, str]) -> None:
    for task in ("./tickets", "files:tickets", "tickets"):
        done = invoke(here, TASKS[command].format(t=task))
        assert done.exit_code == 0, f"{task}: {done.output} {done.exception}"


def test_the_name_of_a_record_is_a_task_to_run(here: Path, names: dict[str, str]) -> None:
    place = session(here)
    [task] = {record.task.name for record, _ in place.records()}
    again = place.score("run.trec", task, name="again")
    assert (again.task.name, again.task.source) == (task, str(here / "tickets"))
    assert [one.name for one in place.sweep("bm25", task).tasks] == [task]
    with pytest.raises(RankstoneError, match="not defined"):
        place.sweep("bm25", task[:-1])


def test_a_measure_too_deep_for_a_run_leaves_it_out(here: Path, names: dict[str, str]) -> None:
    place = session(here)
    short = place.score("run.trec", "./tickets", name="again")
    [(long, _)] = place.records("runs/other")
    with pytest.warns(RankstoneWarning, match="again on .*'P@7' needs 7"):
        same, more = place.with_measures([short, long], ["P@7"])
    assert same == short
    assert more.measures["P@7"].mean == pytest.approx(1 / 7), "the one relevant document is found"
    with pytest.raises(MeasureError, match="P@7"):
        place.with_measures([short], ["P@7"])


@pytest.mark.parametrize(
    ("name", "recorded", "found"),
    [
        ("bm25", ["lexical/bm25", "x/bm25+parameters-1"], ["lexical/bm25"]),
        ("bm25", ["lexical/bm25+parameters-1", "m25"], ["lexical/bm25+parameters-1"]),
        ("hf/a/b", ["hf/a/b+revision-1+parameters-2", "hf/a/bc+revision-1"],
         ["hf/a/b+revision-1+parameters-2"]),
        ("hf/a/b+revision-1", ["hf/a/b+revision-1+parameters-2", "hf/a/b+revision-12"],
         ["hf/a/b+revision-1+parameters-2"]),
        ("b@x/t", ["a/b+text-1@x/t", "a/b@y/t", "a/b+text-1@x/t@k5"], ["a/b+text-1@x/t"]),
        ("b@t", ["a/b@x/t", "a/bb@x/t"], ["a/b@x/t"]),
        ("b", ["a/c", "a/b/d"], []),
        ("a.b", ["a+b", "axb"], []),
    ],
)  # fmt: skip
def test_a_name_stands_for_the_recorded_names_that_end_in_it(
    name: str, recorded: list[str], found: list[str]
) -> None:
    assert named_among(name, recorded) == found
