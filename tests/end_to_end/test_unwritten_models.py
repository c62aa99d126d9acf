"""`rankstone` from an empty folder, with models and data without definitions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rankstone import Session
from rankstone.errors import MeasureError, ModelError, ResultsError
from tests.beir_layout import write_beir
from tests.conftest import ROOT
from tests.hub_server import hub
from tests.tiny_models import write_encoder
from tests.tiny_rerankers import write_cross_encoder
from tests.unit.test_unwritten_models import write_dense

pytest.importorskip("sentence_transformers")
COMMIT, OTHER = "1a2b3c4d" + "0" * 32, "5e6f7a8b" + "0" * 32
DOCUMENTS = ("the river", "a bear follows the fox", "which glacier", "the harbour", "fox and bear")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a collection and models, without a workspace."""
    folder = tmp_path_factory.mktemp("open")
    documents = {f"d{n}": text for n, text in enumerate(DOCUMENTS)}
    queries, judged = {"q0": "fox", "q1": "river"}, [("q0", "d1"), ("q1", "d0")]
    write_beir(folder / "tickets", documents, queries, test=judged)
    write_dense(folder / "mine")
    (folder / "cross").mkdir()
    write_cross_encoder(folder / "cross")
    write_encoder(folder / "gated")
    (folder / "gated" / "GATED").touch()
    (folder / "refused").mkdir()
    (folder / "refused" / "REFUSED").touch()
    return folder


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    repositories = {
        "org/dense": (COMMIT, place / "mine"),
        "org/cross": (OTHER, place / "cross"),
        "org/gated": (COMMIT, place / "gated"),
        "org/refused": (COMMIT, place / "refused"),
    }
    with hub(repositories) as found:
        yield found


def rankstone(
    place: Path, *arguments: str, endpoint: str = "http://127.0.0.1:9", offline: str = "0"
) -> subprocess.CompletedProcess[str]:
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("RANKSTONE_", "HF_"))}
    environment |= {
        "PYTHONPATH": str(ROOT / "src"), "RANKSTONE_CACHE": str(place / "cache"), "COLUMNS": "200",
        "HF_HOME": str(place / "hub"), "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": offline,
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "rankstone", *arguments], cwd=place, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_one_line_runs_models_of_the_hub(place: Path, address: str) -> None:
    done = rankstone(
        place, "run", "hf:org/dense", f"hf:org/cross@{OTHER}", "--candidates", "bm25",
        "--depth", "3", "--on", "./tickets", "--measures", "nDCG@2", endpoint=address,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    session = Session(workspace=place, results=place / "results", cache=place / "cache")
    records = [record for record, _ in session.records()]
    dense, cross = "hf/org/dense+revision-1a2b3c4d", "hf/org/cross+revision-5e6f7a8b"
    assert {r.method.name for r in records} == {dense, f"{cross}+candidates-lexical-bm25-3"}
    assert all("nDCG@2" in record.measures for record in records)
    # Offline with stored results, the same command runs nothing.
    again = rankstone(place, "run", "hf:org/dense", "--on", "./tickets", offline="1")
    assert "reused" in again.stderr, again.stderr
    # Measures that were not requested are computed from the stored runs.
    for record in session.with_measures(records, ["nDCG@1", "P@1"]):
        assert record.measures["nDCG@1"].mean == record.measures["P@1"].mean, "labels are 0 and 1"
    [compared] = session.compare("hf:org/dense", "hf:org/cross", measure="nDCG@1")
    assert (compared.than, compared.measure) == (dense, "nDCG@1")
    assert [record.method.name for record, _ in session.records(["hf:org/dense"])] == [dense]
    task = records[0].task.name
    assert session.records([f"hf:org/dense@{task}"]) == session.records([f"{dense}@{task}"])
    with pytest.raises(ResultsError):
        session.records(["hf:org/dense@stdlib/modules"])
    assert [fault for one in session.records() for fault in session.verify(*one)] == []
    with pytest.raises(MeasureError, match="nope"):
        session.sweep("bm25", str(place / "tickets"), measures=["nope@3"])
    with pytest.raises(MeasureError):
        session.with_measures(records, ["nDCG@5000"])


@pytest.mark.parametrize(
    ("name", "offline", "said"),
    [
        ("hf:org/unknown", True, "is not in the hub's cache, and HF_HUB_OFFLINE is set"),
        ("hf:org/unknown", False, "the hub has no such model"),
        ("hf:org/dense@nope", False, "no revision 'nope'"),
        ("hf:org/gated", False, "is gated. Accept its terms"),
        ("hf:org/refused", False, "the hub refuses your token (401). Sign in again"),
    ],
)
def test_models_that_cannot_be_had(
    address: str, name: str, offline: bool, said: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    constants = pytest.importorskip("huggingface_hub").constants
    for key, value in {"HF_HUB_OFFLINE": offline, "ENDPOINT": address,
                       "HF_HUB_CACHE": str(tmp_path)}.items():  # fmt: skip
        monkeypatch.setattr(constants, key, value)
    with pytest.raises(ModelError) as caught:
        Session().definitions.methods(name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_model_without_a_network_is_one_line(place: Path) -> None:
    done = rankstone(place, "run", "hf:org/unknown", "--on", "./tickets")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be reached" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
