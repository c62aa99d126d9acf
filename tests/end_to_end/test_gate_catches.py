"""Known regressions, seeded into real runs, each of which the gate must detect."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from bm25s.tokenization import _infer_stopwords

import rankstone
from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.execution import ab_comparison
from rankstone.leaderboards.gates.rules import CostRule, GateRules
from rankstone.results.side_files import side_file
from rankstone.results.store import ResultStore
from rankstone.results.trec_run import read_run, write_run
from rankstone.session import Session
from rankstone.specs import MethodSpec, TaskSpec
from rankstone.workspace import Workspace
from tests.beir_layout import write_beir
from tests.shared_cache import sharing

pytestmark = pytest.mark.usefixtures("forked_cells")

TASK, BM25 = "stdlib/functions", "lexical/bm25"
ROOT = Path(__file__).resolve().parents[2]
SPINNING = """
    def {name}({arguments}):
        import time
        start = time.perf_counter()
        found = self._{name}({values})
        stop = time.perf_counter() + {share} * (time.perf_counter() - start)
        while time.perf_counter() < stop:
            pass
        return found

    def _{name}("""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of unchanged BM25, and of BM25 with half of its stop words."""
    place = tmp_path_factory.mktemp("gate")
    base = Workspace.find(ROOT).method(BM25)
    words = sorted(_infer_stopwords("english"))[::2]
    half = {"name": "lexical/half", "parameters": {**base.parameters, "stopwords": words}}
    rankstone.run([base, base.model_copy(update=half)], TASK, results=place / "r")
    return place


def gate(place: Path, candidate: str, rules: GateRules | None = None):
    return rankstone.gate(BM25, candidate, results=place / "r", rules=rules)


def test_half_of_the_stop_words(measured: Path) -> None:
    (one,) = gate(measured, "lexical/half")
    assert one.verdict == "regression", one.detail


def test_a_shuffled_top_ten_of_a_twentieth_of_the_queries(measured: Path) -> None:
    stored = ResultStore(measured / "r").named(f"{BM25}@{TASK}")
    run = read_run(side_file(*stored, "run"))
    rng = np.random.default_rng(0)
    n, width = len(run.query_ids), np.bincount(run.query).max()
    docs = np.full((n, width), -1, dtype=np.int64)
    ends = np.searchsorted(run.query, np.arange(n + 1))
    for row in range(n):
        own = run.document[ends[row] : ends[row + 1]].copy()
        if row % 20 == 0:
            own[:10] = rng.permutation(own[:10])
        docs[row, : len(own)] = own
    scores = np.where(docs >= 0, -np.arange(width), -np.inf).astype(np.float32)
    ids = run.document_ids
    path = measured / "shuffled.trec.zst"
    write_run(path, run.query_ids, docs, scores, lambda p: [ids[i] for i in p], tag="t")
    rankstone.score(path, TASK, name="runs/shuffled", results=measured / "r")
    strict = GateRules.model_validate_json('{"quality": [{"allowance": 0.0}]}')
    (one,) = gate(measured, "runs/shuffled", strict)
    assert one.verdict == "regression", one.detail
    assert one.p < 0.01


def test_the_same_run_twice_passes(measured: Path) -> None:
    base = Workspace.find(ROOT).method(BM25).model_copy(update={"name": "lexical/again"})
    rankstone.run([base], TASK, results=measured / "r")
    (one,) = gate(measured, "lexical/again")
    assert one.verdict == "equivalent"
    assert one.candidate == one.baseline


PROMPT = "source code of "


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two documents per module, documentation and source; queries are names of modules.

    Only the source is relevant, which only the prompt states.
    """
    data = tmp_path_factory.mktemp("modules")
    task = Workspace.find(ROOT).task("stdlib/modules")
    dataset = open_dataset(task, Sources.find())
    judged = list(zip(dataset.judgements.query, dataset.judgements.document, strict=True))[:100]
    corpus, queries, qrels = {}, {}, []
    for query, position in judged:
        (name,) = dataset.corpus.ids(np.array([position]))
        (code,) = dataset.corpus.texts(int(position), int(position) + 1)
        told = f"Documentation of the module {name}: {dataset.query_texts[query]}"
        corpus[f"told{position}"] = told[:160]
        source = f"Source code of the module {name}: {code}"
        corpus[f"source{position}"] = source[:160]
        queries[f"q{query}"] = name
        qrels.append((f"q{query}", f"source{position}"))
    write_beir(data / "two" / "kinds", corpus, queries, test=qrels)
    return data


@pytest.mark.slow  # prompts reach vectors: test_checkpoints; drops are caught: above
def test_a_lost_prompt_fails_the_gate(modules: Path, tmp_path: Path) -> None:
    """The real weights of all-MiniLM, with and without the query prompt."""
    base = Workspace.find(ROOT).method("dense/all-minilm-l6-v2")

    def prompted(name: str, query: str) -> MethodSpec:
        parameters = {**base.parameters, "prompts": {"query": query, "document": ""}}
        return base.model_copy(update={"name": name, "parameters": parameters})

    task = TaskSpec(
        name="two/kinds", description="d", loader="beir",
        dataset="two/kinds",
    )  # fmt: skip
    kept = {"dense/whole": PROMPT, "dense/lost": ""}
    results = tmp_path / "r"
    rankstone.run(
        [prompted(name, query) for name, query in kept.items()], [task], data=modules,
        results=results, cache=sharing(tmp_path / "cache"), workspace=ROOT,
    )  # fmt: skip
    (lost,) = rankstone.gate("dense/whole", "dense/lost", results=results, workspace=ROOT)
    assert lost.verdict == "regression", lost.detail
    assert lost.baseline - lost.candidate > 0.02


def copied(folder: Path) -> Path:
    """Copy the code and the definitions; return the folder of the adapters."""
    for name in ("src", "runners", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name)
    return folder / "src" / "rankstone" / "runners"


def enlarged(folder: Path) -> Path:
    """Return a checkout whose BM25 states a gigabyte more for its index."""
    file = copied(folder) / "search" / "exact" / "bm25_index.py"
    code, size = file.read_text(), "return sys.getsizeof(self)"
    assert code.count(size) == 1
    file.write_text(code.replace(size, f"return {10**9} + sys.getsizeof(self)"))
    return folder


def slowed(folder: Path, share: float) -> Path:
    """Return a checkout whose BM25 is slower by `share`, in encoding and search."""
    runners = copied(folder)
    for file, name, arguments in (
        ("encoders/bm25.py", "encode", "self, texts, role"),
        ("search/exact/bm25_index.py", "search", "self, queries, k"),
    ):
        code = (runners / file).read_text()
        assert code.count(f"    def {name}(") == 1
        values = arguments.removeprefix("self, ")
        spun = SPINNING.format(name=name, arguments=arguments, values=values, share=share)[1:]
        (runners / file).write_text(code.replace(f"    def {name}(", spun))
    return folder


RULE = GateRules(quality=(), cost=(CostRule(figure="index", allowance=1.1),))
TURNS = [
    "warm-up, not counted: baseline", "warm-up, not counted: candidate",
    "round 1 of at most 2: baseline", "round 1 of at most 2: candidate",
    "round 2 of at most 2: candidate", "round 2 of at most 2: baseline",
]  # fmt: skip


def in_turns(tmp_path: Path) -> None:
    """Measure both versions in alternation on the smallest task."""
    told: list[str] = []
    session = Session(workspace=ROOT)
    (one,) = session.gate_ab(
        (str(ROOT), str(enlarged(tmp_path / "large"))), [BM25], ["stdlib/modules@first10"],
        rounds=2, rules=RULE, report=told.append,
    )  # fmt: skip
    assert told == TURNS
    assert one.candidate == one.baseline + 10**9
    assert one.verdict == "shown", one.detail
    assert "2 rounds" in one.detail


def test_versions_are_measured_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version has one process and one record for all its rounds."""
    monkeypatch.setattr(ab_comparison, "_run", cache(ab_comparison._run))
    in_turns(tmp_path)


@pytest.mark.slow
def test_every_round_is_a_run_of_its_own(tmp_path: Path) -> None:
    in_turns(tmp_path)


@pytest.mark.slow
def test_a_version_that_is_a_fifth_slower_is_shown_to_be(measured: Path, tmp_path: Path) -> None:
    """Forty rounds, because on a busy machine the ratio of one round varies by a fifth and more."""
    versions = str(ROOT), str(slowed(tmp_path / "slow", 0.2))
    slight = GateRules(quality=(), cost=(CostRule(figure="median latency", allowance=1.05),))
    (one,) = Session(workspace=ROOT).gate_ab(versions, [BM25], [TASK], rounds=40, rules=slight)
    assert one.verdict == "shown", one.detail
