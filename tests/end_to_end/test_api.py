"""Cells that call APIs: secret keys, resumed runs, budgets, and prices of tokens."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("httpx2")

import rankstone
from rankstone.execution.reporting import Silent
from tests.api_servers import Api, embedding, serving
from tests.beir_layout import write_beir

KEY = "sk-secret-4711"
WORDS = ("fox", "bear", "river", "engine", "violin", "harbour", "glacier", "market", "orchard")
N = 3100
"""Documents: three shards, and 28."""
ENCODER = """
description = "d"
adapter = "api"
[parameters]
base_url = "{url}"
model_id = "words"
key_env = "WORDS_KEY"
batch_texts = 16
price = 3.0
"""
RERANKER = """
description = "d"
adapter = "two_stage"
members = ["lexical/bm25"]
[parameters]
depth = 5
[scorer]
adapter = "api_rerank"
[scorer.parameters]
base_url = "{url}"
model_id = "words"
key_env = "WORDS_KEY"
price = 3.0
"""


def text(i: int) -> str:
    return f"{WORDS[i % 9]} {WORDS[i // 9 % 9]} number{i}"


def write(place: Path, n: int) -> None:
    """Write a workspace with the two methods, and a collection of `n` documents and 9 queries."""
    documents = {f"d{i}": text(i) for i in range(n)}
    queries = {f"q{i}": f"{text(i)} {word}" for i, word in enumerate(WORDS)}
    judged = [(f"q{i}", f"d{i}") for i in range(9)]
    write_beir(place / "data" / "tiny" / "words", documents, queries, test=judged)
    (place / "benchmarks").mkdir()
    (place / "benchmarks" / "tiny.toml").write_text(
        '[tasks.words]\ndescription = "d"\nloader = "beir"\ndepth = 10\n'
        'measures = ["nDCG@10", "RR@10"]\n'
    )


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setenv("WORDS_KEY", KEY)
    with serving(Api(key=KEY)) as served:
        yield served


def define(place: Path, api: Api) -> None:
    for name, definition in (("api/words", ENCODER), ("api/reranked", RERANKER)):
        path = place / "runners" / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(definition.format(url=api.url))
    bm25 = Path(__file__).parents[2] / "runners" / "lexical" / "bm25.toml"
    (place / "runners" / "lexical").mkdir(exist_ok=True)
    shutil.copy(bm25, place / "runners" / "lexical")


def run(place: Path, *methods: str, **options: object) -> list[rankstone.RunRecord]:
    folders = {name: place / name for name in ("data", "cache", "results")}
    return rankstone.run(methods, "words", workspace=place, **folders, **options)  # type: ignore[arg-type]


def documents_sent(api: Api) -> list[str]:
    return [text for body in api.asked for text in body["input"] if len(body["input"]) > 9]


def total(record, name):
    phases = record["profile"]["phases"].values()
    return sum(phase[name] or 0 for phase in phases)


@pytest.mark.usefixtures("forked_cells")
def test_a_run_is_measured_paid_and_keeps_the_key(api, tmp_path, capsys):
    write(tmp_path, 60)
    define(tmp_path, api)
    encoded, reranked = run(tmp_path, "api/words", "api/reranked")
    assert (encoded.status, reranked.status) == ("ok", "ok")
    documents = np.array([embedding(text(i)) for i in range(60)])
    queries = np.array([embedding(f"{text(i)} {word}") for i, word in enumerate(WORDS)])
    cosine = queries @ documents.T / np.linalg.norm(documents, axis=1)
    best = 1 / (1 + (cosine > np.diag(cosine)[:, None] + 1e-9).sum(axis=1))
    measure = encoded.measures["RR@10"]
    assert measure.worst - 1e-9 <= np.where(best >= 0.1, best, 0).mean() <= measure.best + 1e-9
    assert reranked.measures["RR@10"].mean == 1  # all words of a query are in its document
    assert total(encoded, "billed_tokens") == 60 * 3 + 9 * 4
    assert total(encoded, "usd") == pytest.approx((60 * 3 + 9 * 4) * 3e-6)
    assert reranked.profile.phases["rerank"].billed_tokens > 0
    for record in (encoded, reranked):
        assert any("cannot be verified" in warning for warning in record.warnings)
    board = rankstone.leaderboard([encoded, reranked])
    assert set(board["billed_tokens"]) == {total(r, "billed_tokens") for r in (encoded, reranked)}
    assert encoded.method.description["url"] == api.url
    assert encoded.method.trained_on == reranked.method.trained_on == []  # not known
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in api.headers)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {".json", ".shard", ".parquet"} <= {path.suffix for path in written}
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in "".join(capsys.readouterr())


@pytest.mark.usefixtures("forked_cells")
def test_a_wrong_key_fails_in_one_line_and_is_in_no_file(api, tmp_path, monkeypatch):
    write(tmp_path, 20)
    define(tmp_path, api)
    monkeypatch.setenv("WORDS_KEY", "sk-wrong-0815")
    (record,) = run(tmp_path, "api/words")
    assert record.status == "failed"
    assert "401 Unauthorized" in record.error.message
    assert "'WORDS_KEY' is wrong" in record.error.message
    assert "\n" not in record.error.message
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if b"sk-wrong" in path.read_bytes()]


@pytest.mark.slow
def test_a_killed_run_resumes_at_the_first_missing_shard(api, tmp_path):
    write(tmp_path, N)
    define(tmp_path, api)

    def kill(answer):
        if len(documents_sent(api)) > 1100:
            for process in psutil.Process().children(recursive=True):
                process.kill()
        return answer

    api.change = kill
    (died,) = run(tmp_path, "api/words")
    assert (died.status, died.error.kind) == ("failed", "ProcessDied")
    before = len(documents_sent(api))
    api.change = None
    (record,) = run(tmp_path, "api/words")
    assert record.status == "ok"
    assert record.provenance.resumed
    again = documents_sent(api)[before:]
    assert sorted(again) == sorted(text(i) for i in range(1024, N))
    assert record.profile.phases["encode_documents"].billed_tokens == 3 * N


@pytest.mark.slow
def test_a_budget_holds_over_all_cells_and_keeps_finished_shards(api, tmp_path):
    write(tmp_path, N)
    define(tmp_path, api)
    (record,) = run(tmp_path, "api/words", budget_tokens=8000)
    assert record.status == "failed"
    assert "the next 1,024 texts take about" in record.error.message
    assert sum(len(t.split()) for body in api.asked for t in body["input"]) <= 8000
    assert set(documents_sent(api)) == {text(i) for i in range(2048)}
    api.asked.clear()
    folders = {name: tmp_path / name for name in ("data", "cache", "results", "workspace")}
    session = rankstone.Session(**{**folders, "workspace": tmp_path})
    plan = session.sweep(["api/words"], "words", budget_usd=0.03)
    (record,) = plan.run(Silent())
    assert record.status == "ok"
    assert set(documents_sent(api)) == {text(i) for i in range(2048, N)}
    assert plan.purse.spent.tokens == sum(len(t.split()) for b in api.asked for t in b["input"])


@pytest.mark.slow
def test_the_command_takes_a_budget(api, tmp_path):
    write(tmp_path, 60)
    define(tmp_path, api)
    folders = [f"--{name}={tmp_path / name}" for name in ("data", "cache", "results")]
    command = [sys.executable, "-m", "rankstone", "run", "api/words", "--on", "words", *folders]

    def ended(*more):
        place = f"--workspace={tmp_path}"
        return subprocess.run([*command, place, *more], capture_output=True, text=True, check=False)

    assert ended("--budget", "much").returncode == 2
    stopped = ended("--budget", "100tokens")
    assert stopped.returncode == 1
    assert "larger --budget" in "".join(stopped.stdout.split("\n"))
    done = ended("--budget", "0.05")
    assert done.returncode == 0, done.stderr
    assert "APIs: " in done.stderr
    assert KEY not in done.stdout + done.stderr + stopped.stdout + stopped.stderr
