"""The published figures of six real runs through `score`, with NIST's judgements alone."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import pytrec_eval
import zstandard
from typer.testing import CliRunner

from rankstone.cli.app import app
from rankstone.results.store import ResultStore
from rankstone.results.trec_run import read_run

PUBLISHED_NDCG_10 = {
    ("bm25-anserini", 19): 0.5058,
    ("bm25-anserini", 20): 0.4796,
    ("splade-pp-ed", 19): 0.7308,
    ("splade-pp-ed", 20): 0.7197,
    ("tas-b", 19): 0.7210,
    ("tas-b", 20): 0.6854,
}
# Binary measures of TREC DL need a label of 2; nDCG takes the labels as they are.
TREC_NAMES = {
    "AP": "map", "RR": "recip_rank", "R@100": "recall_100", "P@10": "P_10", "nDCG@10": "ndcg_cut_10"
}  # fmt: skip


@pytest.fixture(scope="module")
def official(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NIST's judgements as two plain files in TREC form."""
    folder = tmp_path_factory.mktemp("official")
    with (
        zstandard.open(data_folder / "msmarco" / "dl-pool.tar.zst", "rb") as packed,
        tarfile.open(fileobj=packed, mode="r|") as archive,
    ):
        for member in archive:
            if "/official-dl" in member.name:
                content = archive.extractfile(member)
                assert content is not None
                (folder / Path(member.name).name).write_bytes(content.read())
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scored")


def score(place: Path, data: Path, run: Path, *arguments: str) -> None:
    options = ["--data", str(data), "--cache", str(place / "cache"), "--results"]
    found = CliRunner().invoke(app, ["score", str(run), *arguments, *options, str(place / "r")])
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize(("system", "year"), PUBLISHED_NDCG_10)
def test_a_published_run_has_its_published_value_by_task_and_by_file(
    place: Path, data_folder: Path, official: Path, system: str, year: int
) -> None:
    file = data_folder / "runs" / f"{system}.dl{year}.trec.zst"
    qrels_file = official / f"official-dl{year}.txt"
    name = f"runs/{system}"
    score(place, data_folder, file, "--on", f"msmarco/dl{year}-judgements", "--name", name)
    score(place, data_folder, file, "--qrels", str(qrels_file), "--relevance", "2", "--name", name)
    found = [r for r in ResultStore(place / "r").records() if r.method.name == name]
    by_task, by_file = (
        next(r for r in found if r.task.name.startswith(task))
        for task in (f"msmarco/dl{year}-judgements", f"qrels/official-dl{year}-")
    )
    assert round(by_task.measures["nDCG@10"].mean, 4) == PUBLISHED_NDCG_10[system, year]
    assert by_task.task.sha256 == by_file.task.sha256
    assert by_task.measures["AP"] == by_file.measures["AP"]
    assert any("left out R@1000" in warning for warning in by_task.warnings)
    assert by_task.policy.depth == 100
    theirs = by_pytrec_eval(file, qrels_file)
    for measure, trec_name in TREC_NAMES.items():
        assert by_task.measures[measure].mean == pytest.approx(theirs[trec_name], abs=1e-9)


def by_pytrec_eval(file: Path, qrels_file: Path) -> dict[str, float]:
    qrels = pytrec_eval.parse_qrel(qrels_file.read_text().splitlines())
    lines = read_run(file)
    run: dict[str, dict[str, float]] = {}
    for query, document, score in zip(lines.query, lines.document, lines.score, strict=True):
        results = run.setdefault(lines.query_ids[query], {})
        results[lines.document_ids[document]] = float(score)
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {*TREC_NAMES.values()}, relevance_level=2)
    values = evaluator.evaluate(run)
    assert values.keys() == qrels.keys()
    return {
        name: sum(v[name] for v in values.values()) / len(qrels) for name in TREC_NAMES.values()
    }


def test_all_of_them_verify(place: Path, data_folder: Path) -> None:
    options = ["--data", str(data_folder), "--cache", str(place / "cache"), "--results"]
    found = CliRunner().invoke(app, ["verify", *options, str(place / "r")])
    assert found.exit_code == 0, found.output
    assert "12 of 12 records verified" in found.output
