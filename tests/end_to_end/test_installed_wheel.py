"""The built wheel in a separate environment: README verbatim, and every form of a name, from an
empty folder. The environment shares the libraries of this one and has Rankstone from the wheel.

pip downloads hatchling to build the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api_servers import Api, serving
from tests.conftest import ROOT
from tests.documents import pages
from tests.hub_server import hub
from tests.letters_collection import write_collection
from tests.tiny_rerankers import write_cross_encoder
from tests.unit.test_hub_data import write_lines
from tests.unit.test_unwritten_models import write_dense

pytest.importorskip("sentence_transformers")
pytest.importorskip("httpx2")
pytestmark = pytest.mark.slow
COMMIT = "1a2b3c4d" + "0" * 32
PACKED = {"src/rankstone": "rankstone"} | {
    name: f"rankstone/definitions/{name}" for name in ("benchmarks", "runners", "leaderboards")
}
Shell = Callable[..., str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT]
    subprocess.run(build, check=True)
    [found] = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def programs(wheel: Path) -> Path:
    """The folder of executables of an environment with the wheel."""
    folder = wheel.with_name("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))  # not its .pth files
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install"]
    subprocess.run([*pip, "--quiet", "--no-deps", "--no-index", wheel], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repositories of a model hub, under the names in README."""
    folder = tmp_path_factory.mktemp("hub")
    write_dense(folder / "BAAI" / "bge-small-en-v1.5")
    (folder / "cross-encoder" / "ms-marco-MiniLM-L6-v2").mkdir(parents=True)
    write_cross_encoder(folder / "cross-encoder" / "ms-marco-MiniLM-L6-v2")
    write_lines(folder / "mteb" / "scifact")
    write_dense(folder / "org" / "gated")
    (folder / "org" / "gated" / "GATED").touch()
    return folder


@pytest.fixture(scope="module")
def sh(programs: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Function that runs a command in bash where only Rankstone is installed."""
    home = tmp_path_factory.mktemp("home")
    strange = ("RANKSTONE_", "HF_", "GITHUB_", "GIT_", "PYTHONPATH", "VIRTUAL_ENV")
    environment = {n: v for n, v in os.environ.items() if not n.startswith(strange)} | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200",
        "RANKSTONE_CACHE": str(home / "cache"), "HF_HOME": str(home / "hub"),
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip

    def run(folder: Path, command: str, code: int = 0, **variables: str) -> str:
        done = subprocess.run(
            ["bash", "-e", "-c", command], cwd=folder, env=environment | variables,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    repositories = {f"{p.parent.name}/{p.name}": (COMMIT, p) for p in models.glob("*/*")}
    with hub(repositories) as environment["HF_ENDPOINT"]:
        yield run


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with serving(Api(key="sk-secret-4711")) as served:
        yield served


def test_the_wheel_holds_every_file(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    found = {
        f"{to}/{path.relative_to(ROOT / origin).as_posix()}"
        for origin, to in PACKED.items()
        for path in (ROOT / origin).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == found
    assert any(name.endswith("site/assets/site.js") for name in packed)


def test_the_readme_runs_as_printed(
    sh: Shell, models: Path, api: Api, tmp_path: Path, programs: Path
) -> None:
    where = sh(tmp_path, "python -c 'import rankstone; print(rankstone.__file__)'")
    assert where.startswith(str(programs.parent))
    (tmp_path / "my-model").symlink_to(models / "BAAI" / "bge-small-en-v1.5")
    [readme] = (page for page in pages() if page.path == "README.md")
    for block in readme.blocks:
        if block.title:
            (tmp_path / block.title).parent.mkdir(parents=True, exist_ok=True)
            text = block.text.replace("https://api.openai.com/v1", api.url)
            (tmp_path / block.title).write_text(text)
        for command in block.commands:
            if not command.startswith("pip "):  # 100 pairs take minutes
                sh(tmp_path, command.replace("--depth 100", "--depth 3 --limit-queries 3"))
    on = "--on ./data/mine/tickets"
    sh(tmp_path, f"rankstone run mine:search bm25 {on}")
    command = f"rankstone run api/mine {on} --budget 0.50"
    assert "Unset" not in sh(tmp_path, command, OPENAI_API_KEY=api.key)
    wrong = sh(tmp_path, f"{command} --set dimensions=8", 1, OPENAI_API_KEY="sk-wrong-4711")
    assert "OPENAI_API_KEY" in wrong
    assert not any("-4711" in path.read_text(errors="replace") for path in tmp_path.rglob("*.json"))


MINE = """
import numpy as np
import rankstone

class Mine(rankstone.Runner):
    def encode(self, texts, role):
        return np.array([[text.count(c) for c in "wxyz"] for text in texts], np.float32)

    def index(self, documents, context):
        return Found(np.concatenate(list(documents)))

class Found:
    def __init__(self, vectors):
        self.vectors = vectors

    def search(self, queries, k):
        scores = queries @ self.vectors.T
        docs = np.argsort(-scores, axis=1)[:, :k]
        return rankstone.Hits(docs, np.take_along_axis(scores, docs, axis=1))

if __name__ == "__main__":
    assert {record.status for record in rankstone.run([Mine()], "./tickets")} == {"ok"}
"""
FILES = "files:docs=tickets/corpus.jsonl,topics=tickets/queries.jsonl,qrels=tickets/qrels/test.tsv"
FORMS = [
    ("rankstone run bm25 --on ./tickets --measures nDCG@20", "nDCG@20"),
    ("rankstone run bm25 --on ./tickets --set k1=0.9 --name ours/bm25", "ours/bm25+definition-"),
    (f"rankstone run bm25 --on {FILES}", "files/corpus-"),
    ("rankstone run bm25 --on hf:mteb/scifact", "hf/mteb/scifact+revision-1a2b3c4d"),
    ("rankstone run bm25 --on ./tickets --as support", "own/support"),
    (f"rankstone run ./my.toml hf:BAAI/bge-small-en-v1.5@{COMMIT} --on ./tickets", "my+"),
    ("python mine.py", ""),
    ("rankstone run mine:Mine --on ./tickets", "python/Mine+"),
    ("rankstone leaderboard --on ./tickets --measures P@1", "P@1"),
    ("rankstone leaderboard --on support --format latex", "\\begin{tabular}"),
    ("rankstone records ls", "own/support"),
    ("rankstone records show bm25@own/support", "nDCG@10"),
    ("rankstone records label bm25@own/support 'As deployed'", ""),
    ("rankstone leaderboard --on support", "As deployed"),
    ("rankstone explain bm25@./tickets --published .95", "causes tried"),
    ("rankstone doctor", "Summary"),
    ("rankstone verify", ""),
    ("rankstone export --to trec -o runs", ""),
    ("rankstone import runs/*own_support.trec --from trec --on ./tickets --results x", "record:"),
    ("rankstone site -o site && test -s site/index.html", ""),
    ("rankstone records rm bm25@own/support", ""),
]


@pytest.fixture(scope="module")
def place(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    write_collection(folder / "tickets")
    (folder / "mine.py").write_text(MINE)
    model = f'id = "me/mine"\npath = "{models / "BAAI" / "bge-small-en-v1.5"}"'
    definition = f'description = "Mine."\nadapter = "dense"\n[model]\n{model}\n'
    (folder / "my.toml").write_text(definition)
    return folder


@pytest.mark.parametrize(("command", "expected"), FORMS)
def test_every_command_of_the_tour_works_from_the_wheel(
    sh: Shell, place: Path, command: str, expected: str
) -> None:
    """Commands run in one folder, each after the previous ones."""
    assert expected in sh(place, command)


BAD = [
    ("rankstone run hf:org/unknown --on ./tickets", "the hub has no such model"),
    ("HF_HUB_OFFLINE=1 rankstone run hf:org/unknown --on ./tickets", "HF_HUB_OFFLINE is set"),
    ("rankstone run hf:org/gated --on ./tickets", "is gated. Accept its terms"),
    ("rankstone run ./tickets --on ./tickets", "no weights in"),
    ("rankstone run locked:Locked --on ./tickets", "'Locked.lock', a lock, cannot be sent"),
    ("rankstone run same --on ./tickets --workspace two", "is ambiguous: a/same, b/same"),
]


@pytest.mark.parametrize(("command", "expected"), BAD)
def test_bad_input_is_one_line(sh: Shell, place: Path, command: str, expected: str) -> None:
    locked = "def __init__(self):\n        self.lock = threading.Lock()"
    source = MINE.replace("def encode", f"{locked}\n\n    def encode").replace("Mine", "Locked")
    (place / "locked.py").write_text(f"import threading\n{source}")
    for folder in ("a", "b"):
        (place / "two" / "runners" / folder).mkdir(parents=True, exist_ok=True)
        definition = 'description = "d"\nadapter = "bm25"\n'
        (place / "two" / "runners" / folder / "same.toml").write_text(definition)
    said = sh(place, command, 2)
    assert expected in said
    assert len(said.splitlines()) == 1
