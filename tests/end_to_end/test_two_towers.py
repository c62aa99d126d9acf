"""A method with two checkpoints, run from the command line with local weights."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from typer.testing import CliRunner

import rankstone
from rankstone.cli.app import app
from rankstone.results.store import ResultStore
from tests import tiny_encoders as tiny
from tests.beir_layout import write_beir

pytestmark = pytest.mark.usefixtures("forked_cells")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace with AR2 and a tiny collection whose titles matter."""
    documents = {
        f"d{i}": {"title": title, "text": "of the river"}
        for i, title in enumerate(("fox", "bear", "dog", ""))
    }
    folder = tmp_path / "data" / "tiny" / "titles"
    write_beir(folder, documents, {"q": "the fox"}, test=[("q", "d0")])
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "tiny.toml").write_text(
        '[tasks.titles]\ndescription = "d"\nloader = "beir"\ndepth = 10\nmeasures = ["nDCG@10"]\n'
    )
    (tmp_path / "runners" / "dense").mkdir(parents=True)
    shutil.copy(ROOT / "runners" / "dense" / "ar2-nq.toml", tmp_path / "runners" / "dense")
    return tmp_path


def run(place: Path, towers: Path) -> rankstone.RunRecord:
    [record] = rankstone.run(
        "ar2-nq",
        "titles",
        workspace=place,
        data=place / "data",
        cache=place / "cache",
        results=place / "results",
        model_path=towers,
    )
    return record


def test_ar2_from_its_pickle_to_a_record(place: Path) -> None:
    tiny.ar2_pickle(place / "nq.pkl", place / "ernie")
    arguments = ["convert", "nq.pkl", "--like", "ernie", "--to", "towers"]
    places = [str(place / a) if a in ("nq.pkl", "ernie", "towers") else a for a in arguments]
    result = CliRunner().invoke(app, places)
    assert result.exit_code == 0, result.output
    assert result.output.count("written: ") == 2

    record = run(place, place / "towers")
    assert record.status == "ok", record.error
    assert record.task.text == "{title} [SEP] {text}"
    said = record.method.description
    assert said["files"]["model.safetensors"] != said["query_model"]["files"]["model.safetensors"]
    assert run(place, place / "towers").provenance == record.provenance, "not run again"

    # The same files at another path are the same method and the same cell.
    moved = place / "moved"
    (place / "towers").rename(moved)
    assert run(place, moved).provenance == record.provenance, "not run again"

    # Another query checkpoint with the same document checkpoint is another cell and another method:
    # neither record replaces the other, and none states the hub's revision.
    shutil.copytree(moved / "ctx_model", place / "others" / "question_model")
    shutil.copytree(moved / "ctx_model", place / "others" / "ctx_model")
    other = run(place, place / "others")
    assert other.key != record.key
    assert other.status == "ok"
    store = ResultStore(place / "results")
    names = {record.method.name, other.method.name}
    assert {one.method.name for one in store.records()} == names
    assert len(names) == 2
    assert all(re.fullmatch(r"dense/ar2-nq\+weights-[0-9a-f]{8}", name) for name in names)
    assert {one.method.description["revision"] for one in (record, other)} == {None}
