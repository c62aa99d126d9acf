"""Every check of every claim, on seeded records that satisfy and that violate its bound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankstone.leaderboards.papers.claims import CheckSpec, ClaimSpec, evaluate_claim
from rankstone.leaderboards.papers.stored_cells import Relevant
from rankstone.profiling.latency import summarise
from rankstone.results.per_query import write_latency, write_per_query
from rankstone.results.record import Phase, RunRecord
from rankstone.results.store import Found, ResultStore, Staged
from rankstone.results.trec_run import write_run
from rankstone.strict import load_folder
from tests.conftest import ROOT
from tests.records import make_record

CLAIMS = load_folder(ClaimSpec, ROOT / "leaderboards" / "claims")
CHECKS = [
    (claim, check, task)
    for claim in CLAIMS.values()
    for check in claim.checks
    for task in check.tasks or claim.tasks
]
NAMES = [f"{claim.name}-{n}" for n, (claim, _, _) in enumerate(CHECKS)]
QUERIES = [f"q{n}" for n in range(60)]
DEPTH = 40
PAD = 90_000
"""Documents from this position on are relevant to no query."""


def sign(check: CheckSpec) -> int:
    return 1 if check.bound[0] in ("at_least", "above") else -1


def best_at(depth: int, k: int) -> list[list[int]]:
    """Return rows whose own `k` documents end at rank `depth`; others are not relevant."""
    first = depth - k
    return [
        [row * 100 + at - first if first <= at < depth else PAD + row * DEPTH + at
         for at in range(DEPTH)]
        for row in range(len(QUERIES))
    ]  # fmt: skip


def shifted(shift: int) -> list[list[int]]:
    """Return rows of a query's own documents, starting at `shift`."""
    return [[100 * row + shift + at for at in range(DEPTH)] for row in range(len(QUERIES))]


def world(check: CheckSpec, side: int) -> dict[str, dict[str, Any]]:
    """Return role -> facts of its record, such that the check's value is above or below its
    bound."""
    bound = check.bound[1]
    match check.kind:
        case "difference":
            return {"of": {"mean": 0.5 + bound + side * 0.05}, "than": {"mean": 0.5}}
        case "widening":
            grown = {"of": {"mean": 0.3}, "than": {"mean": 0.5}}
            before = 0.4 + bound + side * 0.05
            return {**grown, "of_before": {"mean": before}, "than_before": {"mean": 0.6}}
        case "share":
            return {"of": {"mean": 0.4 * bound * (1 + side * 0.02)}, "than": {"mean": 0.4}}
        case "value":
            return {"of": {"mean": bound + side * 0.02}}
        case "ratio":
            return {"of": {"size": bound * (1 + side * 0.3)}, "than": {"size": 1.0}}
        case "overlap":
            mine, other = (0, 8) if side > 0 else (8, 0)
            assert check.k is not None
            mine, other = (n * check.k // 12 for n in (mine, other))
            return {"truth": {"run": shifted(0)}, "of": {"run": shifted(mine)},
                    "than": {"run": shifted(other)}}  # fmt: skip
        case "candidates":
            k = check.k or 1
            return {"truth": {"run": best_at(k, k)}, "than": {"run": best_at(30, k)},
                    "of": {"run": best_at(int(30 * bound) + side * 3, k)}}  # fmt: skip
        case "hubness":
            hub, fair = [[0, 1, 2]] * len(QUERIES), shifted(0)
            return {"of": {"run": hub if side > 0 else fair},
                    "than": {"run": fair if side > 0 else hub}}  # fmt: skip
        case "multiply-adds":
            return {"of": {"work": bound * (1 + side * 0.2)}}
        case "growth":
            base = 1.0 if check.than else 0.0
            return {"of": {"power": base + bound + side * 0.2}, "than": {"power": 1.0}}
    raise AssertionError(f"no seeded records of '{check.kind}'")


def seeded(folder: Path, check: CheckSpec, task: str, side: int) -> tuple[Found, Relevant]:
    """Return the records of one check, and the relevant documents."""
    records: Found = {}
    relevant = {query: [f"d{100 * row}"] for row, query in enumerate(QUERIES)}
    facts = world(check, side)
    for role, method in check.methods.items():
        for number, on in enumerate(check.tasks_of(role, task)):
            place, size = folder / f"{role}{number}", 512 * 2**number
            records[method, on] = stored(place, check, method, on, role, tokens=size, **facts[role])
    return records, lambda record: relevant


def stored(
    folder: Path, check: CheckSpec, method: str, task: str, role: str,
    *, mean: float = 0.5, size: float = 1.0, run: list[list[int]] | None = None, work: float = 0.05,
    power: float = 1.0, tokens: int = 512,
) -> tuple[RunRecord, Path]:  # fmt: skip
    folder.mkdir()
    noise = np.random.default_rng(7).normal(0, 0.01, len(QUERIES))
    names = {name for name in (check.measure, check.than_measure) if name} or {"nDCG@10"}
    read = (check.than_measure if role == "than" else None) or check.measure
    values = {n: np.full(len(QUERIES), 0.9) if n != read else mean + noise for n in sorted(names)}
    unseen = np.ones(len(QUERIES), dtype=bool)
    own = [task.partition("@fold")[2] + query for query in QUERIES]
    write_per_query(folder / "values", own, values, unseen)
    docs = np.array(run or shifted(0), dtype=np.int64)
    scores = -np.arange(docs.shape[1], dtype=np.float32) * np.ones((len(docs), 1), np.float32)
    write_run(folder / "run", QUERIES, docs, scores, lambda p: [f"d{i}" for i in p], tag="t")
    ms = np.random.default_rng(3).uniform(0.99, 1.01, 200) * size
    write_latency(folder / "ms", ms / 2, ms / 2)
    record = make_record(method, task)
    assert record.profile is not None
    assert record.profile.index is not None
    timed = summarise(ms / 2, ms / 2, warmup=0, threads=2, k=10)
    index = record.profile.index.model_copy(update={"memory_bytes": int(10**6 * size)})
    counted = record.profile.phases["search"].model_copy(update={"flops": 1e9 * size})
    grown = Phase(wall_s=1, cpu_s=1e-6 * 4 * tokens**power, items=4, tokens=4 * tokens)
    phases = {**record.profile.phases, "rerank": counted, "encode_documents": grown}
    profile = record.profile.model_copy(update={"latency": timed, "index": index, "phases": phases})
    n = record.task.n_documents
    assert n is not None
    described = {"multiply_adds": {"per_document": 0, "per_query": int(n * 384 * work)}}
    info = record.method.model_copy(
        update={"parameters": {"dims": [24, 384]}, "description": described}
    )
    store = ResultStore(folder / "results")
    written = store.write(
        record.model_copy(update={"method": info, "profile": profile}),
        Staged(run=folder / "run", per_query=folder / "values", latency=folder / "ms"),
    )
    return written, store.path(written)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rankstone.leaderboards.papers.checks.RESAMPLES", 60)


def alone(claim: ClaimSpec, check: CheckSpec, task: str) -> ClaimSpec:
    return claim.model_copy(update={"checks": (check,), "tasks": (task,)})


@pytest.mark.parametrize(("claim", "check", "task"), CHECKS, ids=NAMES)
def test_a_violation_is_found_and_its_opposite_holds(
    claim: ClaimSpec, check: CheckSpec, task: str, tmp_path: Path
) -> None:
    verdicts = []
    for side in (sign(check), -sign(check)):
        folder = tmp_path / str(side)
        folder.mkdir()
        records, relevant = seeded(folder, check, task, side)
        one = check.model_copy(update={"tasks": ()})
        result = evaluate_claim(alone(claim, one, task), records, relevant)
        verdicts.append(result.verdict)
        if side != sign(check):
            whole = evaluate_claim(claim, records, relevant)
            assert whole.verdict == "does not hold", "one violated check is enough"
    assert verdicts == ["holds", "does not hold"]


def test_equality_is_no_improvement(tmp_path: Path) -> None:
    """A claim of "better" does not hold for two methods with equal results."""
    strict = {
        (claim.name, check.kind): (claim, check, task)
        for claim, check, task in CHECKS
        if check.bound == ("above", 0.0) and check.kind in ("difference", "widening")
    }
    assert len(strict) > 6
    for n, (claim, check, task) in enumerate(strict.values()):
        folder = tmp_path / str(n)
        folder.mkdir()
        records = {
            (method, on): stored(folder / f"{role}{number}", check, method, on, role)
            for role, method in check.methods.items()
            for number, on in enumerate(check.tasks_of(role, task))
        }
        one = check.model_copy(update={"tasks": ()})
        result = evaluate_claim(alone(claim, one, task), records)
        assert result.verdict == "does not hold", claim.name


def answers(passages: list[set[str]], k: int) -> float:
    return float(any("answer" in words for words in passages[:k]))


def lists() -> Iterator[tuple[list[set[str]], list[set[str]]]]:
    """Yield ranked chunks, and the same with the next chunk of each document."""
    first, second, other = {"x"}, {"y"}, {"answer"}
    yield [first, other], [first | second, other]  # the answer is in the second best chunk
    yield [first, second], [first | other, second]  # it is in the continuation of the best


def test_at_equal_tokens_a_continuation_can_lose() -> None:
    """At equal k it cannot: a chunk with its continuation contains all answers of the chunk."""
    gains = [answers(continued, 1) - answers(alone, 2) for alone, continued in lists()]
    assert gains == [-1.0, 1.0]
    for check in CLAIMS["retro-continuation"].checks:
        assert (check.measure, check.than_measure) == ("Accuracy@1", "Accuracy@2")


def test_no_check_compares_nested_probes() -> None:
    """Reading more lists of an inverted file can only add results."""
    for claim, check, _ in CHECKS:
        assert not (check.of.startswith("ann/") and (check.than or "").startswith("ann/")), claim


def test_claims_of_papers_state_the_reported_result() -> None:
    for claim in CLAIMS.values():
        assert claim.control or all(check.reported for check in claim.checks), claim.name
        assert not claim.control or not any(check.reported for check in claim.checks), claim.name
